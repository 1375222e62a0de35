// People: one comes by a link, looks after one's own account, and the admin after all of them.

import { expect, test, unique, type Page } from "./fixtures.ts";

const FIRST = "eleven green kettles sing";
const SECOND = "twelve blue ladders hum";

async function signIn(page: Page, name: string, password: string) {
  await page.goto("/login");
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page).toHaveURL("/");
}

/** Fills in what somebody new is. */
async function addPerson(page: Page, name: string, role = "support") {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("E-mail").fill(`${name}@example.com`);
  await page.getByRole("combobox", { name: "Role" }).selectOption(role);
  await page.getByRole("button", { name: "Add and show the link" }).click();
}

/** Sets the password by a link, as whoever has got it. */
async function follow(page: Page, link: string, password: string) {
  await page.goto(link);
  await expect(page.getByLabel(/^Code/)).toBeHidden();
  await page.getByLabel("New password").fill(password);
  await page.getByRole("button", { name: "Set the password" }).click();
}

const once = (page: Page) => page.locator("#once-secret");

test("somebody comes by a link, and looks after their account", async ({ shop }) => {
  const name = `sue-${unique()}`;
  const admin = await shop.persona("admin");
  await admin.visit("/people");
  await addPerson(admin.page, name);
  await expect(once(admin.page)).toContainText(`/password/new?user=${name}#`);
  const link = (await once(admin.page).textContent())!;
  // The list has them at once, and the form is empty again; the link stays in sight.
  const row = admin.page.getByRole("row", { name: new RegExp(name) });
  await expect(row).toContainText("No password");
  await expect(admin.page.getByLabel("User name")).toHaveValue("");
  await admin.page.mouse.wheel(0, 2_000);
  await expect(once(admin.page)).toBeInViewport();

  const laptop = await shop.stranger();
  await follow(laptop, link, FIRST);
  await expect(laptop).toHaveURL("/login#main");
  await signIn(laptop, name, FIRST);
  await expect(row).toContainText("Active");
  // It works once.
  const late = await shop.stranger();
  await shop.watch.status(410, () => follow(late, link, SECOND));
  await expect(late.getByRole("alert")).toContainText("does not work any more");

  await laptop.getByRole("button", { name: `Account: ${name}` }).click();
  await laptop.getByRole("link", { name: "Your account" }).click();
  await expect(laptop.getByRole("row", { name: /This browser/ })).toHaveCount(1);

  // Signed in elsewhere is seen here, and ends from here.
  const phone = await shop.stranger();
  await signIn(phone, name, FIRST);
  const other = laptop.locator(".access-rows").getByRole("button", { name: /^Sign out/ });
  await expect(other).toHaveCount(1);
  await other.click();
  await expect(other).toHaveCount(0);
  await expect(phone).toHaveURL(/\/login/);

  // What is wrong stands at its field.
  const old = laptop.getByLabel("Old password");
  await old.fill(SECOND);
  await laptop.getByLabel("New password").fill(SECOND);
  await laptop.getByRole("button", { name: "Change the password" }).click();
  await expect(laptop.getByText("the old password is wrong", { exact: false }).last()).toBeVisible();
  await expect(old).toHaveAttribute("aria-invalid", "true");
  await expect(old).toBeFocused();
  await old.fill(FIRST);
  await laptop.getByLabel("New password").press("Enter");
  await expect(laptop.locator("#toast")).toContainText("Your password is changed");
  await expect(old).toHaveValue("");

  // A token is shown until the next action.
  await laptop.getByLabel("Name").fill("ci");
  await laptop.getByRole("button", { name: "Make a token" }).click();
  await expect(once(laptop)).toContainText("waybill_");
  await laptop.locator("#once").getByRole("button", { name: "Copy" }).click();
  await expect(laptop.locator("#announce")).toHaveText("Copied");
  const token = laptop.locator("tr[id^=token-]").filter({ hasText: "Reads only" });
  await expect(token).toContainText("never used");
  await token.getByText("Revoke…").click();
  await token.getByRole("button", { name: /^Revoke the token/ }).click();
  await expect(token).toHaveCount(0);
  await expect(once(laptop)).toHaveCount(0);
});

test("an admin changes a role, disables and enables, and not themselves", async ({ shop }) => {
  const name = `ann-${unique()}`;
  const admin = await shop.persona("admin");
  const { page } = admin;
  await admin.visit("/people");
  await addPerson(page, name, "customer");
  const link = (await once(page).textContent())!;
  const ann = await shop.stranger();
  await follow(ann, link, FIRST);
  await signIn(ann, name, FIRST);

  await page.getByRole("link", { name, exact: true }).click();
  await admin.live();
  await expect(page.locator(".access-rows")).toContainText("Chrome");
  await page.getByRole("combobox", { name: /^Role of/ }).selectOption("approver");
  await page.getByRole("button", { name: "Change the role" }).click();
  await expect(ann).toHaveURL(/\/login/);
  await expect(page.getByText("Signed in nowhere", { exact: true })).toBeVisible();
  await signIn(ann, name, FIRST);
  await expect(ann.locator("#nav").getByRole("link", { name: /^Approvals/ })).toBeVisible();

  await page.getByText("Disable…").click();
  await page.getByRole("button", { name: `Disable ${name}` }).click();
  await expect(page.locator(".head .chip")).toHaveText("Disabled");
  await expect(ann).toHaveURL(/\/login/);
  await page.getByText("Enable…").click();
  await page.getByRole("button", { name: `Enable ${name}` }).click();
  await expect(page.locator(".head .chip")).toHaveText("Active");

  // Found by a part of the address; with nobody found it says so.
  await page.goto(`/people?q=${name}%40example`);
  await expect(page.getByText("1 person for")).toBeVisible();
  await admin.visit("/people");
  await page.getByLabel("Search people").fill("no-such-person");
  await expect(page.getByText("Nobody matches", { exact: true })).toBeVisible();

  await page.goto("/people/admin");
  await expect(page.getByText("This is you.")).toBeVisible();
  await expect(page.getByText("Disable…")).toHaveCount(0);
});

test("people without JavaScript: a secret has a page of its own", async ({ shop }) => {
  const without = { javaScriptEnabled: false };
  const name = `zoe-${unique()}`;
  const { page } = await shop.persona("admin", without);
  await page.goto("/people");
  await addPerson(page, name);
  const link = (await once(page).textContent())!;
  await page.getByRole("link", { name: "Go on" }).click();
  await expect(page).toHaveURL("/people");
  await expect(page.getByRole("row", { name: new RegExp(name) })).toBeVisible();

  const zoe = await shop.stranger(without);
  await zoe.goto(link);
  await expect(zoe.getByLabel("User name")).toHaveValue(name);
  await zoe.getByLabel(/^Code/).fill("0".repeat(64));
  await zoe.getByLabel("New password").fill(FIRST);
  const set = zoe.getByRole("button", { name: "Set the password" });
  await shop.watch.status(410, () => set.click());
  await expect(zoe.getByRole("alert")).toBeVisible();
  await expect(zoe.getByLabel("User name")).toHaveValue(name);
  await zoe.getByLabel(/^Code/).fill(link.split("#")[1]);
  await zoe.getByLabel("New password").fill(FIRST);
  await set.click();
  await signIn(zoe, name, FIRST);

  await zoe.goto("/account");
  await zoe.getByLabel("Name").fill("ci");
  await zoe.getByRole("button", { name: "Make a token" }).click();
  await expect(once(zoe)).toContainText("waybill_");
  await zoe.getByRole("link", { name: "Go on" }).click();
  await expect(zoe).toHaveURL("/account");
  await zoe.getByText("Revoke…").click();
  await zoe.getByRole("button", { name: /^Revoke the token/ }).click();
  await expect(zoe.getByText("No API tokens")).toBeVisible();
  await zoe.getByLabel("Old password").fill(FIRST);
  await zoe.getByLabel("New password").fill(SECOND);
  await zoe.getByRole("button", { name: "Change the password" }).click();
  await expect(zoe).toHaveURL("/account");
});
