// Sign-in at an identity provider: a real one (npm `oidc-provider`), a process of its own on another
// host (localhost) than the shop (127.0.0.1), in a real browser.

import AxeBuilder from "@axe-core/playwright";
import type { BrowserContext, BrowserContextOptions, Page } from "@playwright/test";
import { Company, type Gateway } from "./oidc/company.ts";
import { expect, forgetCookies, test as base, unique } from "./fixtures.ts";

/** Browsers at the company: what they do is not watched as in the shop's own tests, since they leave it. */
const test = base.extend<{ open: (gateway: Gateway, options?: BrowserContextOptions) => Promise<Page> }>({
  open: async ({ browser }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (gateway, options) => {
      const context = await browser.newContext({ baseURL: gateway.url, ...options });
      contexts.push(context);
      return context.newPage();
    });
    await Promise.all(contexts.map((context) => context.close()));
  },
});

/** Runs a test at a company of its own. */
async function at(company: Company, story: () => Promise<void>) {
  try {
    await story();
  } finally {
    await company.end();
  }
}

const button = (page: Page) => page.getByRole("link", { name: "Sign in with Example Corp" });
const message = (page: Page) => page.getByRole("alert");
const role = (page: Page) => page.locator("#nav .role");

/** Goes to the provider and signs in there. */
async function signIn(page: Page, name: string) {
  await button(page).click();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Go on" }).click();
}

const sessionOf = async (page: Page) => (await page.context().cookies()).find(({ name }) => name === "waybill_session");

test("groups say what somebody may do, anew with each sign-in", async ({ world, open }) => {
  const ann = `ann-${unique()}`;
  const company = await Company.of(world, { [ann]: ["staff", "shop-approvers"] });
  await at(company, async () => {
    const gateway = await company.gateway();
    const page = await open(gateway);
    await page.goto("/admin");
    await expect(page).toHaveURL(/\/login\?next=%2Fadmin/);
    await signIn(page, ann);
    await expect(page).toHaveURL(`${gateway.url}/admin`);
    await expect(page.getByRole("heading", { name: "Waiting for your decision" })).toBeVisible();
    await expect(role(page)).toHaveText("approver");
    const cookie = (await page.context().cookies()).find(({ name }) => name === "waybill_session")!;
    expect([cookie.httpOnly, cookie.sameSite]).toEqual([true, "Lax"]);
    expect((await page.context().cookies()).map(({ name }) => name)).not.toContain("waybill_sign_in");

    // The same person, at another browser, in other groups by now.
    await company.is({ people: { [ann]: ["shop-support"] } });
    const other = await open(gateway);
    await other.goto("/login");
    await signIn(other, ann);
    await expect(role(other)).toHaveText("support");
    // Another role: signed out where they had the old one, whose page says so by itself.
    await expect(page).toHaveURL(/\/login/);
    await page.goto("/orders");
    await expect(page).toHaveURL(/\/login\?next=%2Forders/);
    await company.is({ people: { [ann]: [] } });
    await other.goto("/login/oidc?next=/orders");
    await expect(other).toHaveURL(`${gateway.url}/orders`);
    await expect(role(other)).toHaveText("customer");
    await other.getByRole("button", { name: `Account: ${ann}` }).click();
    await other.getByRole("button", { name: "Sign out" }).click();
    await expect(button(other)).toBeVisible();
    const { violations } = await new AxeBuilder({ page: other }).setLegacyMode().analyze();
    expect(violations.map(({ id }) => id)).toEqual([]);
    // At the provider they are signed in still, unless they sign out there, too.
    await button(other).click();
    await expect(role(other)).toHaveText("customer");
    await other.getByRole("button", { name: `Account: ${ann}` }).click();
    await other.getByRole("button", { name: "Sign out" }).click();
    await other.getByRole("link", { name: "Sign out of Example Corp, too" }).click();
    await other.getByRole("button", { name: "Yes" }).click();
    await expect(other).toHaveURL(`${gateway.url}/login`);
    await expect(other.getByText("You are signed out here")).toHaveCount(0);
    await button(other).click();
    await expect(other.getByLabel("Name")).toBeVisible();
    expect(gateway.log()).not.toMatch(/code=|id_token|access_token/);
  });
});

test("what was not begun in this browser, or was used, signs nobody in", async ({ world, open }) => {
  const ivy = `ivy-${unique()}`;
  const company = await Company.of(world, { [ivy]: ["shop-approvers"] });
  await at(company, async () => {
    const gateway = await company.gateway();
    const page = await open(gateway);
    await page.goto("/login");
    const callback = page.waitForRequest((request) => request.url().includes("/login/oidc/callback"));
    await button(page).click();
    await page.getByLabel("Name").fill(ivy);
    const begun = (await page.context().cookies(gateway.url)).find(({ name }) => name === "waybill_sign_in")!;
    expect([begun.httpOnly, begun.sameSite]).toEqual([true, "Lax"]);
    await page.getByRole("button", { name: "Go on" }).click();
    await expect(role(page)).toHaveText("approver");
    const used = (await callback).url();

    // Another browser, with the code but without the sign-in.
    const other = await open(gateway);
    expect((await other.goto(used))!.status()).toBe(400);
    await expect(message(other)).toContainText("begun in another browser");
    expect(await sessionOf(other)).toBeUndefined();

    // The same code once more, with all that belongs to it.
    await other.context().addCookies([begun]);
    expect((await other.goto(used))!.status()).toBe(400);
    await expect(message(other)).toContainText("does not take the code");
    expect(await sessionOf(other)).toBeUndefined();

    // A code of one's own under somebody else's sign-in, and a sign-in that was changed.
    await other.context().addCookies([begun]);
    expect((await other.goto(used.replace(/state=[^&]*/, "state=mine")))!.status()).toBe(400);
    await other.context().addCookies([{ ...begun, value: begun.value.replace(/nonce=./, "nonce=x") }]);
    expect((await other.goto(used))!.status()).toBe(400);
    await other.context().addCookies([begun]);
    expect((await other.goto(used.replace(/iss=[^&]*/, "iss=https%3A%2F%2Fevil.example")))!.status()).toBe(400);
    await expect(message(other)).toContainText("another identity provider");
    expect(await sessionOf(other)).toBeUndefined();

    // What an error says is a stranger's: none of it is shown.
    await other.goto("/login?next=/cart");
    await button(other).click();
    await other.getByRole("button", { name: "Refuse" }).click();
    await expect(message(other)).toContainText("The identity provider says no");
    await expect(other.getByText("<b>no</b>")).toHaveCount(0);
    await expect(button(other)).toHaveAttribute("href", "/login/oidc?next=%2Fcart");
    const api = await other.request.get("/login/oidc/callback?error=%3Cscript%3E", { headers: { accept: "application/json" } });
    expect([api.status(), (await api.json()).type]).toEqual([400, "urn:waybill:problem:sign_in_failed"]);
    // It leads nowhere but into the shop.
    for (const away of ["https://evil.example", "//evil.example", "/\\evil.example"]) {
      await page.goto(`/login/oidc?next=${encodeURIComponent(away)}`);
      await expect(page).toHaveURL(`${gateway.url}/`);
    }
  });
});

test("a token that is not the provider's, or not for this sign-in, is refused", async ({ world, open }) => {
  const carol = `carol-${unique()}`;
  const company = await Company.of(world, { [carol]: ["shop-approvers"] });
  await at(company, async () => {
    const gateway = await company.gateway();
    const page = await open(gateway);
    await page.goto("/login");
    for (const [evil, why] of [
      ["nonce", "another nonce"], ["no nonce", "another nonce"], ["audience", "another client"], ["issuer", "another issuer"],
      ["expired", "it has expired"], ["access token", "another ID token"], ["signature", "its signature is wrong"],
      ["unknown key", "no key of the provider fits"], ["secret as key", "its signature is wrong"], ["unsigned", "its signature is wrong"],
      ["garbage", "cannot be read"], ["userinfo", "userinfo is about somebody else"],
    ]) {
      await company.is({ evil });
      await forgetCookies(page);
      await page.goto("/login");
      await signIn(page, carol);
      await expect(message(page), evil).toContainText("cannot be trusted");
      expect(await sessionOf(page), evil).toBeUndefined();
      // The log says why, and nothing of the token.
      expect(gateway.log().split("\n").filter((line) => line.includes("/login/oidc/callback") || line.includes("identity")).join("\n"), evil).toMatch(new RegExp(why));
    }
    expect(gateway.log()).not.toContain("eyJ");
    expect(gateway.log()).not.toContain("<script>");
    await company.is({ evil: null });
    await page.goto("/login");
    await button(page).click();
    await expect(role(page)).toHaveText("approver");
  });
});

test("the provider has a new key, or is away: nothing else is", async ({ world, open }) => {
  const [dan, local] = [`dan-${unique()}`, `local-${unique()}`];
  const company = await Company.of(world, { [dan]: ["shop-support"] });
  await at(company, async () => {
    await company.is({ away: true });
    // It starts without the provider, and lets people with passwords in.
    const gateway = await company.gateway();
    const password = "seventeen small boats";
    expect(company.command(["user", "create", local, "--email", `${local}@example.com`], `${password}\n`)).toMatchObject({ status: 0 });
    const page = await open(gateway);
    await page.goto("/login?next=/cart");
    await button(page).click();
    await expect(message(page)).toContainText("The identity provider does not answer");
    await expect(button(page)).toHaveAttribute("href", "/login/oidc?next=%2Fcart");
    await page.getByLabel("User name").fill(local);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(page).toHaveURL(`${gateway.url}/cart`);
    await forgetCookies(page);

    await company.is({ away: false });
    const signedIn = async (who: Page) => {
      await who.goto("/login");
      await button(who).click();
      if (await who.getByLabel("Name").isVisible()) {
        await who.getByLabel("Name").fill(dan);
        await who.getByRole("button", { name: "Go on" }).click();
      }
    };
    await expect(async () => {
      await signedIn(page);
      await expect(role(page)).toHaveText("support", { timeout: 2_000 });
    }).toPass();

    // The keys are known by now, and another one signs.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await company.is({ rotated: true });
    const other = await open(gateway);
    await signedIn(other);
    await expect(role(other)).toHaveText("support");

    // Away between the two halves of a sign-in.
    const third = await open(gateway);
    await third.goto("/login?next=/cart");
    await button(third).click();
    await company.is({ away: "/token" });
    const answer = third.waitForResponse((response) => response.url().includes("/login/oidc/callback"));
    await third.getByLabel("Name").fill(dan);
    await third.getByRole("button", { name: "Go on" }).click();
    expect((await answer).status()).toBe(503);
    await expect(message(third)).toContainText("The identity provider does not answer");
    await expect(button(third)).toHaveAttribute("href", "/login/oidc?next=%2Fcart");
    await page.goto("/orders");
    await expect(page).toHaveURL(`${gateway.url}/orders`);
    await company.is({ away: false });

    // Another process finishes what one has begun.
    const fourth = await open(gateway);
    await fourth.goto("/login?next=/cart");
    await button(fourth).click();
    await fourth.getByLabel("Name").fill(dan);
    await gateway.startAgain();
    await fourth.getByRole("button", { name: "Go on" }).click();
    await expect(fourth).toHaveURL(`${gateway.url}/cart`);
    await expect(role(fourth)).toHaveText("support");
    gateway.stop();
  });
});

test("an account of before is taken over by nobody, until an admin binds it", async ({ world, open }) => {
  const [eve, odd] = [`eve-${unique()}`, `odd-${unique()}`];
  const company = await Company.of(world, { [eve]: ["shop-approvers"], [odd]: [], stranger: [] }, 2);
  await at(company, async () => {
    const gateway = await company.gateway({ OIDC_ROLES: "shop-approvers=approver,shop-support=support,buyers=customer", OIDC_DEFAULT_ROLE: "none" });
    expect(company.command(["user", "create", eve, "--email", `${eve}@example.com`], "seventeen small boats\n")).toMatchObject({ status: 0 });
    const page = await open(gateway);
    await page.goto("/login");
    await signIn(page, eve);
    await expect(message(page)).toContainText(`The user ${eve} here is not bound`);
    expect(await sessionOf(page)).toBeUndefined();

    expect(company.command(["user", "bind", eve, eve])).toMatchObject({ status: 0 });
    await page.goto("/login");
    await button(page).click();
    await expect(role(page)).toHaveText("approver");

    // The name belongs to somebody else there by now.
    await company.is({ claims: { [odd]: { preferred_username: eve } }, people: { [odd]: ["shop-approvers"] } });
    const other = await open(gateway);
    await other.goto("/login");
    await signIn(other, odd);
    await expect(message(other)).toContainText(`The user ${eve} here is not bound`);

    // A name that is none here, no group, an account that is disabled.
    await company.is({ claims: { [odd]: { preferred_username: `${odd}@example.com` } } });
    await other.goto("/login/oidc");
    await expect(message(other)).toContainText(`'${odd}@example.com'`);
    await company.is({ claims: {}, people: { [odd]: ["strangers"] } });
    await other.goto("/login/oidc");
    await expect(message(other)).toContainText("none of the groups");
    await company.is({ people: { [odd]: ["buyers"], [eve]: ["shop-approvers"] } });
    await other.goto("/login/oidc");
    await expect(role(other)).toHaveText("customer");
    expect(company.command(["user", "disable", odd])).toMatchObject({ status: 0 });
    // The open page leaves by itself.
    await expect(other).toHaveURL(/\/login/);
    await other.goto("/login/oidc");
    await expect(message(other)).toContainText("disabled");
  });
});

for (const { look, ...options } of [
  { look: "light", colorScheme: "light", viewport: { width: 1440, height: 900 } },
  { look: "dark on a phone", colorScheme: "dark", viewport: { width: 320, height: 640 } },
] as const) {
  test(`with passwords off there is one way in, without JavaScript too, in ${look}`, async ({ world, open }) => {
    const fay = `fay-${unique()}`;
    const company = await Company.of(world, { [fay]: [] });
    await at(company, async () => {
      const gateway = await company.gateway({ PASSWORDS: "off", OIDC_NAME: "The Example Corporation of Springfield & Daughters" });
      const password = "seventeen small boats";
      const local = `${fay}-local`;
      expect(company.command(["user", "create", local, "--email", `${local}@example.com`], `${password}\n`)).toMatchObject({ status: 0 });
      const refused = await fetch(`${gateway.url}/login`, {
        method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify({ username: local, password }),
      });
      expect([refused.status, refused.headers.get("set-cookie")]).toEqual([403, null]);
      expect((await refused.json()).detail).toContain("PASSWORDS=off");

      const seen = await open(gateway, options);
      for (const path of ["/login", "/login/oidc/callback"]) {
        await seen.goto(path);
        await expect(seen.getByLabel("Password")).toHaveCount(0);
        const { violations } = await new AxeBuilder({ page: seen }).setLegacyMode().analyze();
        expect(violations.map(({ id, nodes }) => ({ id, where: nodes.map(({ target }) => target) })), path).toEqual([]);
        expect(await seen.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), path).toBe(true);
      }
      const page = await open(gateway, { ...options, javaScriptEnabled: false });
      await page.goto("/cart");
      await page.getByRole("link", { name: /^Sign in with The Example Corporation/ }).click();
      await page.getByLabel("Name").fill(fay);
      await page.getByRole("button", { name: "Go on" }).click();
      await expect(page).toHaveURL(`${gateway.url}/cart`);
    });
  });
}
