// The second factor: set up by what the page shows, asked for after the password, and its end. The pages
// need no JavaScript, and are looked at in both themes and on a phone.

import { createHmac } from "node:crypto";
import AxeBuilder from "@axe-core/playwright";
import { expect, forgetCookies, test, unique, type Page } from "./fixtures.ts";

const PASSWORD = "eleven green kettles sing";

/** What an authenticator app shows, so many steps of half a minute from now. */
function code(secret: string, steps = 0): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replaceAll("-", "")].map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g)!.map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac("sha1", key).update(counter).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fff_ffff) % 1_000_000).padStart(6, "0");
}

/** Nothing for axe, nothing that scrolls sideways; and a picture of it. */
async function looksWell(page: Page, name: string) {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  expect(violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => `${node.target}: ${node.failureSummary}`) })), name).toEqual([]);
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), name).toBe(true);
  await page.screenshot({ path: `test-results/screens/factor-${name}.png`, animations: "disabled", fullPage: true });
}

async function password(page: Page, name: string) {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** On a phone the field of the app's codes has keys for digits alone, so recovery codes have their own. */
async function recover(page: Page, typed: string) {
  await page.getByText("Use a recovery code…").click();
  await page.getByLabel("Recovery code").fill(typed);
  await page.getByRole("button", { name: "Sign in with it" }).click();
}

async function type(page: Page, typed: string, button = "Sign in") {
  await page.getByLabel("Code", { exact: true }).filter({ visible: true }).fill(typed);
  await page.getByRole("button", { name: button, exact: true }).click();
}

const LOOKS = [
  { look: "light", options: {} },
  { look: "dark on a phone", options: { colorScheme: "dark", viewport: { width: 320, height: 700 } } },
  // Nothing can be asked of such a page, so it is not looked at.
  { look: "plain: without JavaScript", options: { javaScriptEnabled: false } },
] as const;

for (const { look, options } of LOOKS) {
  test(`a second factor from its set-up to its end, in ${look}`, async ({ shop }) => {
    const short = look.split(" ")[0];
    const hasScripts = !("javaScriptEnabled" in options);
    const looks = async (seen: Page, what: string) => {
      if (hasScripts || seen !== page) await looksWell(seen, `${short}-${what}`);
    };
    const name = `fay-${unique()}`;
    const admin = await shop.persona("admin");
    await admin.visit("/people");
    await admin.page.getByLabel("User name").fill(name);
    await admin.page.getByLabel("E-mail").fill(`${name}@example.com`);
    await admin.page.getByRole("combobox", { name: "Role" }).selectOption("support");
    await admin.page.getByRole("button", { name: "Add and show the link" }).click();
    const link = (await admin.page.locator("#once-secret").textContent())!;
    const [, secretOfLink] = link.split("#");

    const page = await shop.stranger(options);
    await page.goto(link);
    if (hasScripts) await expect(page.getByLabel(/^Code/)).toBeHidden();
    else await page.getByLabel(/^Code/).fill(secretOfLink);
    await page.getByLabel("New password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set the password" }).click();
    await password(page, name);
    await expect(page).toHaveURL("/");

    // Set up: the password again, what the app needs, a first code.
    await page.goto("/account");
    await page.getByRole("link", { name: "Set up a second factor" }).click();
    await looks(page, "begin");
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Set up" }).click();
    await expect(page.getByRole("alert")).toHaveText("The password is wrong.");
    await expect(page.getByLabel("Password")).toHaveAttribute("aria-invalid", "true");
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set up" }).click();
    const picture = page.getByRole("img", { name: /^QR code/ });
    await expect(picture).toBeVisible();
    // CSP lets it be drawn.
    if (hasScripts) expect(await picture.evaluate((img: HTMLImageElement) => img.naturalWidth)).toBeGreaterThan(100);
    const secret = (await page.locator("#secret").textContent())!.trim();
    await expect(page.getByRole("link", { name: "open it in the app" })).toHaveAttribute("href", new RegExp(`secret=${secret.replaceAll("-", "")}`));
    await looks(page, "qr");
    await type(page, code(secret, -9), "Switch on");
    await expect(page.getByRole("alert")).toContainText("The code is wrong");
    await type(page, code(secret), "Switch on");
    await expect(page.getByRole("heading", { name: "Recovery codes" })).toBeVisible();
    const recovery = (await page.locator("#once-secret").textContent())!.trim().split("\n");
    expect(recovery).toHaveLength(10);
    await looks(page, "recovery");
    await page.getByRole("link", { name: "Go on" }).click();
    await expect(page.getByText("10 recovery codes are left")).toBeVisible();
    await looks(page, "on");
    await page.goto("/account");
    await expect(page.locator("#input")).toContainText("10 recovery codes are left");
    await looks(page, "account");

    // Sign in: the password leads to the code, and that to where one was going.
    await forgetCookies(page);
    await page.goto("/orders?status=delivered");
    await password(page, name);
    await expect(page).toHaveURL("/login/code");
    const field = page.getByLabel("Code", { exact: true });
    await expect(field).toHaveAttribute("autocomplete", "one-time-code");
    await expect(field).toHaveAttribute("inputmode", "numeric");
    await looks(page, "code");
    // Half signed in is not signed in.
    await page.goto("/orders");
    await expect(page).toHaveURL(/\/login\?next=/);
    await page.goto("/login/code");
    await shop.watch.status(401, () => type(page, code(secret, -9)));
    await expect(page.getByRole("alert")).toContainText("The code is wrong");
    await expect(field).toHaveAttribute("aria-invalid", "true");
    await shop.watch.status(400, () => type(page, "12"));
    await expect(page.getByRole("alert")).toContainText("A code has 6 digits");
    await type(page, code(secret, 1).replace(/(...)(...)/, "$1 $2"));
    await expect(page).toHaveURL("/orders?status=delivered");

    // The phone is gone: a recovery code, once.
    await forgetCookies(page);
    await page.goto("/login");
    await password(page, name);
    await recover(page, recovery[0].toLowerCase());
    await expect(page).toHaveURL("/");
    await forgetCookies(page);
    await page.goto("/login");
    await password(page, name);
    await shop.watch.status(401, () => recover(page, recovery[0]));
    await expect(page.getByRole("alert")).toContainText("The code is wrong");
    await type(page, recovery[1]);
    await expect(page).toHaveURL("/");

    // Other recovery codes; then off, with one of them.
    await page.goto("/account/factor");
    await expect(page.getByText("8 recovery codes are left")).toBeVisible();
    await expect(page.getByText("2 wrong codes were tried")).toBeVisible();
    await page.getByText("New recovery codes…").click();
    await page.getByLabel("Password").filter({ visible: true }).fill("wrong");
    await type(page, recovery[2], "Make new recovery codes");
    // What did not work is open again.
    await expect(page.getByRole("alert")).toHaveText("The password is wrong.");
    await looks(page, "wrong");
    await page.getByLabel("Password").filter({ visible: true }).fill(PASSWORD);
    await type(page, recovery[2], "Make new recovery codes");
    const renewed = (await page.locator("#once-secret").textContent())!.trim().split("\n");
    await page.getByRole("link", { name: "Go on" }).click();
    await page.goto("/account/factor");
    await page.getByText("Switch off…").click();
    await page.getByLabel("Password").filter({ visible: true }).fill(PASSWORD);
    await type(page, renewed[0], "Switch off");
    await expect(page.getByRole("button", { name: "Set up" })).toBeVisible();

    // An admin takes one away.
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set up" }).click();
    await type(page, code((await page.locator("#secret").textContent())!.trim()), "Switch on");
    await expect(page.getByRole("heading", { name: "Recovery codes" })).toBeVisible();
    await admin.visit(`/people/${name}`);
    await admin.page.getByText("Take away…").click();
    await looks(admin.page, "admin");
    await admin.page.getByRole("button", { name: /^Take it away/ }).click();
    await expect(admin.page.getByText("None: the password alone lets them in.")).toBeVisible();
    await page.goto("/orders");
    await expect(page).toHaveURL(/\/login/);
    await password(page, name);
    await expect(page).toHaveURL("/orders");
  });
}
