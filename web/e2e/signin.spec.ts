// Who one is: the demo's people, a password, the way back to where one wanted to go.

import { expect, test } from "./fixtures.ts";

test("one click to be somebody, another to be somebody else", async ({ shop }) => {
  const { page } = await shop.persona("bob");
  await page.getByRole("button", { name: "Account: bob" }).click();
  await page.getByRole("button", { name: "Be admin" }).click();
  await expect(page.getByRole("button", { name: "Account: admin" })).toBeVisible();
  await page.locator("#nav").getByRole("link", { name: /^Admin/ }).click();
  await expect(page.getByRole("heading", { name: "Waiting for your decision" })).toBeVisible();
  await page.getByRole("button", { name: "Account: admin" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.goto("/orders");
  await expect(page).toHaveURL(/\/login\?/);
});

test("a password, and back to where one wanted to go", async ({ shop }) => {
  const page = await shop.stranger();
  await page.goto("/orders?status=delivered");
  await page.getByLabel("User name").fill("alice");
  await page.getByLabel("Password").fill("wrong");
  await shop.watch.status(401, () => page.getByRole("button", { name: "Sign in", exact: true }).click());
  await expect(page.getByText("User name or password is wrong")).toBeVisible();
  await page.goto("/orders?status=delivered");
  await page.getByLabel("User name").fill("alice");
  await page.getByLabel("Password").fill("alice-demo");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page).toHaveURL("/orders?status=delivered");
});

test("a customer has no page of the staff, and is told so", async ({ shop }) => {
  const alice = await shop.customer("alice");
  await alice.visit("/");
  await expect(alice.page.locator("#nav").getByRole("link", { name: "Admin" })).toHaveCount(0);
  await shop.watch.status(403, () => alice.page.goto("/admin"));
  await expect(alice.page.getByText("This is for staff")).toBeVisible();
  await alice.page.getByRole("link", { name: "Dashboard" }).click();
  await expect(alice.page.getByRole("heading", { name: "Dashboard" })).toBeVisible();
});
