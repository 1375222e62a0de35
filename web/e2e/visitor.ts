// Somebody at a browser, and what they do in the shop: by clicking and typing, as people do.

import { expect, type BrowserContext, type Locator, type Page } from "@playwright/test";
import { Person } from "./person.ts";
import type { World } from "./world.ts";

export interface Checkout {
  /** The order's id; without one the shop makes it. */
  orderId?: string;
  zone?: string;
  address?: string;
}

export class Visitor extends Person {
  readonly context: BrowserContext;
  readonly page: Page;

  constructor(name: string, page: Page, world: World) {
    super(name, world);
    this.page = page;
    this.context = page.context();
  }

  /** The same person at another window of the same browser. */
  async window(): Promise<Visitor> {
    return new Visitor(this.name, await this.context.newPage(), this.world);
  }

  /** Goes to a page and waits until it is live. */
  async visit(path: string) {
    await this.page.goto(path);
    await this.live();
  }

  /** Waits until the page is kept right, by whichever window's connection. */
  async live() {
    await expect(this.page.locator("html[data-live]")).toBeAttached();
  }

  /** Goes to a page by the navigation, and waits until it is live. */
  async go(name: "Dashboard" | "Products" | "Cart" | "Orders" | "Admin") {
    const loaded = this.page.waitForEvent("load");
    await this.page.locator("#nav").getByRole("link", { name: new RegExp(`^${name}`) }).click();
    await loaded;
    await this.live();
  }

  tab(name: "Input" | "Output"): Locator {
    return this.page.getByRole("navigation", { name: "View" }).getByRole("link", { name });
  }

  /** The card of a product on the page of products. */
  good(name: string): Locator {
    return this.page.locator("#product-list li").filter({ has: this.page.getByRole("heading", { name, exact: true }) });
  }

  /** Puts a product into the cart and sees it there. */
  async add(name: string, quantity = 1) {
    const good = this.good(name);
    await good.getByLabel(`Quantity of ${name}`).fill(String(quantity));
    await good.getByRole("button", { name: `Add to cart ${name}` }).click();
    await expect(this.toast).toContainText("added", { ignoreCase: true });
  }

  /** Fills in the checkout on the page of the cart and sends it; ends on the order's page. */
  async checkOut({ orderId, zone = "Domestic", address = "1 Test Street\nSpringfield" }: Checkout = {}) {
    const { page } = this;
    await page.getByRole("radio", { name: zone }).check();
    await page.getByLabel("Address").fill(address);
    if (orderId) {
      const id = page.getByLabel("Your own order id");
      if (!(await id.isVisible())) await page.getByText("Order id", { exact: true }).click();
      await id.fill(orderId);
    }
    await page.getByRole("button", { name: "Check out" }).click();
    await page.waitForURL("**/orders/*");
  }

  /** Buys one piece of a product, up to the payment that waits. Answers the order's id. */
  async order(product: string, { orderId, ...rest }: Checkout & { orderId: string }): Promise<string> {
    await this.visit("/products");
    await this.add(product);
    await this.visit("/cart");
    await this.checkOut({ orderId, ...rest });
    return `${this.name}.${orderId}`;
  }

  /** Pays on the provider's page. */
  async pay() {
    await this.#atTheProvider(/^Pay /, "Paid.");
  }

  /** Declines on the provider's page. */
  async decline() {
    await this.#atTheProvider("Decline", "Declined: insufficient funds.");
  }

  async #atTheProvider(button: string | RegExp, answer: string) {
    const opening = this.page.waitForEvent("popup");
    await this.page.getByRole("link", { name: /^Pay \$/ }).click();
    const provider = await opening;
    await provider.getByRole("button", { name: button }).click();
    await expect(provider.getByRole("status")).toContainText(answer);
    await provider.close();
  }

  /** The state of the order on its page, in a word. */
  get status(): Locator {
    return this.page.locator("#input .head .chip");
  }

  get toast(): Locator {
    return this.page.locator("#toast");
  }

  get notifications(): Locator {
    return this.page.locator("#notifications li");
  }

  /** A notification with this text. */
  told(text: string | RegExp): Locator {
    return this.notifications.filter({ hasText: text }).first();
  }

  /** The link to the cart, which says how many pieces are in it. */
  get cartCount(): Locator {
    return this.page.locator("#nav").getByRole("link", { name: /^Cart/ });
  }

  /** An order in the admin's queue. */
  waiting(orderId: string): Locator {
    return this.page.locator(`[id="decide-${orderId}"]`);
  }

  /** Makes the page think that it is looked at, or not. */
  async look(hidden: boolean) {
    await this.page.evaluate((isHidden) => {
      Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
      Object.defineProperty(document, "visibilityState", { value: isHidden ? "hidden" : "visible", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  }

  /** Marks this document: a reload would forget it. */
  async mark() {
    await this.page.evaluate(() => void Object.assign(window, { marked: true }));
  }

  /** Whether the document is still the one that was marked. */
  async isMarked(): Promise<boolean> {
    return this.page.evaluate(() => "marked" in window);
  }
}
