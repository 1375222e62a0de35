// A shop from an empty folder to an order that came back in part, as docs/shop.md tells it: its very
// commands, its file and its sums, and everything else by clicking.

import { readFileSync } from "node:fs";
import { expect, testIn, type Page, type Visitor } from "./fixtures.ts";
import { Visitor as Somebody } from "./visitor.ts";

/** In a world that nobody has opened. */
const test = testIn("shop");

/** What the page in docs/ says. */
class Guide {
  readonly text = readFileSync("docs/shop.md", "utf8");

  /** Its file of products. */
  get file(): string {
    return this.text.match(/```text\n(sku,[^`]*)```/)![1];
  }

  /** The words of its command that looks so, as Docker hands them to the container. */
  command(looks: RegExp): string[] {
    const all = [...this.text.matchAll(/^docker compose exec(?: -T)? gateway gateway ([^<>#\n]*)/gm)].map(([, words]) => words.trim());
    const found = all.filter((words) => looks.test(words));
    expect(found, `docs/shop.md has one command that looks like ${looks}`).toHaveLength(1);
    return found[0].split(/\s+/);
  }

  /** A sum that whoever follows it compares with the screen. */
  sum(cents: number): string {
    const text = `$${(cents / 100).toFixed(2)}`;
    expect(this.text, "docs/shop.md names the sum").toContain(text);
    return text;
  }
}

const PASSWORDS = { ada: "nine quiet lanterns hum", carl: "ten patient otters row" };

async function signIn(page: Page, name: keyof typeof PASSWORDS) {
  await page.goto("/login");
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(PASSWORDS[name]);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page).toHaveURL("/");
}

/** What can be sold of a product, as the catalog says. */
const stock = (who: Visitor, name: string) => who.page.locator(".catalog-rows").getByRole("row", { name }).locator(".stock");
const total = (who: Visitor) => who.page.locator("#input .head .sum");
const after = (who: Visitor) => who.page.locator("#after-delivery");

/** The only order that waits for ada, opened. */
async function openWaiting(ada: Visitor) {
  await ada.visit("/admin");
  await ada.page.locator("#queue .queue a").click();
  await ada.live();
}

test("a shop is opened, sells, delivers, and takes back", async ({ shop, world }) => {
  const guide = new Guide();

  // Nobody is known, and nothing is sold.
  const ada = new Somebody("ada", await shop.stranger(), world);
  await ada.page.goto("/");
  await expect(ada.page).toHaveURL(/\/login/);
  await expect(ada.page.getByText("gateway init")).toBeVisible();
  const opened = world.command(guide.command(/^init /), `${PASSWORDS.ada}\n`);
  expect(opened, opened.wrong).toMatchObject({ status: 0 });
  expect(opened.said).toContain("ada is the shop's admin now");
  expect(opened.said).toContain("gateway catalog import");
  const again = world.command(["init", "eve", "--email", "eve@shop.example"], `${PASSWORDS.carl}\n`);
  expect(again.status, "a shop is opened once").not.toBe(0);
  expect(again.wrong).toContain("ada");

  await signIn(ada.page, "ada");
  await ada.live();
  await ada.visit("/zones");
  await expect(ada.page.getByLabel("Cost of shipping to Domestic")).toHaveValue("4.90");
  await expect(ada.page.getByLabel("Cost of shipping to International")).toHaveValue("19.00");

  // Carl comes by a link before there is anything to buy.
  await ada.visit("/people");
  await ada.page.getByLabel("User name").fill("carl");
  await ada.page.getByLabel("E-mail").fill("carl@example.com");
  await ada.page.getByRole("combobox", { name: "Role" }).selectOption("customer");
  await ada.page.getByRole("button", { name: "Add and show the link" }).click();
  const link = (await ada.page.locator("#once-secret").textContent())!;
  const carl = new Somebody("carl", await shop.stranger(), world);
  await carl.page.goto(link);
  await carl.page.getByLabel("New password").fill(PASSWORDS.carl);
  await carl.page.getByRole("button", { name: "Set the password" }).click();
  await expect(carl.page).toHaveURL("/login#main");
  await signIn(carl.page, "carl");
  await carl.visit("/products");
  await expect(carl.page.getByText("The shop is not open yet")).toBeVisible();

  // Each empty page leads on: products to the catalog, that to the import.
  await ada.visit("/products");
  await expect(ada.page.getByText("The catalog is empty")).toBeVisible();
  await ada.page.getByRole("link", { name: "Fill the catalog" }).click();
  await ada.live();
  await ada.page.locator(".empty").getByRole("link", { name: "Import a file" }).click();
  await ada.live();
  const file = ada.page.getByLabel("The file's text");
  const show = ada.page.getByRole("button", { name: "Show what would change" });
  await file.fill(guide.file.replace("39.90", "cheap"));
  await show.click();
  await expect(ada.page.locator(".wrong")).toContainText("Line 2, price");
  await expect(file).toHaveAttribute("aria-invalid", "true");
  await file.fill(guide.file);
  await show.click();
  await expect(ada.page.locator("#once-secret")).toContainText("2 new, 0 changed, 0 as they are");
  const dry = world.command(guide.command(/^catalog import - --dry-run$/), guide.file);
  expect(dry.said).toContain("Would be: 2 new, 0 changed, 0 as they were");
  await carl.page.reload();
  await expect(carl.page.getByText("The shop is not open yet"), "nothing is changed yet").toBeVisible();
  await carl.live();
  await ada.page.getByRole("button", { name: "Import", exact: true }).click();
  await expect(ada.page.getByRole("status").filter({ hasText: "The import is done" })).toContainText("2 new, 0 changed, 0 as they were");
  const same = world.command(guide.command(/^catalog import -$/), guide.file);
  expect(same.said, same.wrong).toContain("Imported: 0 new, 0 changed, 2 as they were");

  // It appears on Carl's page by itself. Three kettles and two pans to an address at home.
  await expect(carl.good("Kettle")).toContainText(guide.sum(3990));
  await expect(carl.good("Pan 24 cm")).toContainText(guide.sum(5400));
  await carl.add("Kettle", 3);
  await carl.add("Pan 24 cm", 2);
  await carl.go("Cart");
  await carl.checkOut({ zone: "Domestic", address: "1 Test Street\nSpringfield" });
  await carl.live();
  await expect(total(carl)).toContainText(guide.sum(23260));
  await carl.pay();
  await expect(carl.status).toContainText("Awaiting approval");

  // One pan is missing: the rest is approved and charged.
  await openWaiting(ada);
  await ada.page.getByText("Approve in part…").click();
  const part = ada.page.locator("details.ask[open]");
  await part.getByLabel(/^Pan 24 cm/).fill("1");
  await part.getByLabel("Reason").fill("the last pan is broken");
  await part.getByRole("button", { name: "Approve the rest" }).click();
  await expect(carl.status).toContainText("Delivered");
  await expect(total(carl)).toContainText(guide.sum(17860));
  await expect(carl.page.locator("#input")).toContainText("Taken out before shipping, not charged");
  const address = new URL(carl.page.url()).pathname;
  const id = decodeURIComponent(address.slice("/orders/".length));

  // Another order, approved as it is and sent abroad.
  await carl.visit("/products");
  await carl.add("Kettle", 1);
  await carl.go("Cart");
  await carl.checkOut({ zone: "International" });
  await carl.live();
  await expect(total(carl)).toContainText(guide.sum(5890));
  await carl.pay();
  await openWaiting(ada);
  await ada.page.getByRole("button", { name: "Approve", exact: true }).click();
  await expect(carl.status).toContainText("Delivered");
  await ada.visit("/catalog");
  await expect(stock(ada, "Kettle")).toHaveText("36");
  await expect(stock(ada, "Pan 24 cm")).toHaveText("14");

  // Two of the first order's kettles come back, one of them with a dent.
  await carl.visit(address);
  await carl.page.getByText("Return items…").click();
  const ask = carl.page.locator("#ask-return");
  await ask.getByLabel(/^Kettle/).fill("2");
  await ask.getByLabel("Reason").fill("too loud");
  await ask.getByRole("button", { name: "Ask for the return" }).click();
  await expect(after(carl)).toContainText("Waits for a decision");
  await ada.visit("/admin#returns");
  await ada.page.locator("#returns .queue a").click();
  await ada.live();
  await after(ada).getByRole("button", { name: /^Accept/ }).click();
  await expect(after(carl)).toContainText("On its way back");
  await after(ada).getByText("Take the parcel in…").click();
  const parcel = ada.page.locator("#return-1 details.ask");
  await parcel.getByRole("group", { name: "Damaged pieces" }).getByLabel(/^Kettle/).fill("1");
  await parcel.getByRole("button", { name: "Take it in" }).click();
  await expect(after(carl)).toContainText(`Refunded · ${guide.sum(7980)}`);
  await expect(carl.told(`${guide.sum(7980)} refunded`)).toBeVisible();
  await expect(carl.page.locator("#input .timeline")).toContainText("1 × Kettle can be sold again; 1 × Kettle damaged");
  await ada.visit("/catalog");
  await expect(stock(ada, "Kettle")).toHaveText("37");

  // What is kept of it: the ledger of the provider, the invoice, the files.
  const { payments } = await world.ledger(id);
  expect(payments[0].transactions[0]).toMatchObject({ captured_amount: 17860, refunded_amount: 7980 });
  await carl.page.getByRole("link", { name: "Invoice" }).click();
  await expect(carl.page.getByRole("row", { name: /^Total/ })).toContainText("$178.60");
  await expect(carl.page.getByRole("row", { name: /^Given back/ })).toContainText("$79.80");
  await ada.visit("/admin");
  const started = ada.page.waitForEvent("download");
  await ada.page.getByRole("link", { name: "Download as CSV" }).click();
  const [head, ...rows] = readFileSync(await (await started).path(), "utf8").trimEnd().split("\r\n").map((row) => row.split(","));
  const row = rows.find(([first]) => first === id)!;
  expect([row[head.indexOf("total")], row[head.indexOf("refunded")]]).toEqual(["178.60", "79.80"]);
  const exported = world.command(guide.command(/^catalog export$/));
  const imported = guide.file.replace("39.90,40", "39.90,37").replace("54.00,15", "54.00,14");
  expect(lines(exported.said), exported.wrong).toEqual(expect.arrayContaining(lines(imported).slice(1).map((line) => expect.stringContaining(line))));
});

/** Of a file, as it was written on whichever system. */
function lines(text: string): string[] {
  return text.trimEnd().split(/\r?\n/);
}
