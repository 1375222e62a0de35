// Somebody the shop knows, past all pages: what a test needs to be so before it begins to click.

import { expect } from "@playwright/test";
import type { World } from "./world.ts";

export class Person {
  /** As the shop knows them. */
  readonly name: string;
  readonly world: World;

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
  }

  /** Asks the shop's API as this person. */
  async api(method: "GET" | "POST", path: string, body?: unknown): Promise<any> {
    const answer = await fetch(`${this.world.gateway}${path}`, {
      method,
      headers: { "x-user-id": this.name, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /** What `path` is as a Markdown document. */
  async markdown(path: string): Promise<string> {
    const answer = await fetch(`${this.world.gateway}${path}`, { headers: { "x-user-id": this.name, accept: "text/markdown" } });
    return answer.text();
  }

  /** Puts something into the cart. */
  async quietlyAdd(sku: string, quantity = 1) {
    const { id } = await this.world.product(sku);
    await this.api("POST", "/api/cart/add", { product_id: id, quantity });
  }

  /** Places an order; with `paid` it waits for the admin. Answers its id. */
  async quietlyOrder(sku: string, orderId: string, { paid = false } = {}): Promise<string> {
    await this.quietlyAdd(sku);
    const id = `${this.name}.${orderId}`;
    const placed = await this.api("POST", "/api/checkout", { order_id: orderId, zone: "Domestic", shipping_address: "1 Test Street" });
    if (!paid) return id;
    await this.#callback(id, { transaction_id: `txn-${id}`, amount: placed.total_cents, status: "success" });
    await this.until(id, "awaiting_approval");
    return id;
  }

  /** As when the payment is declined. */
  async decline(orderId: string) {
    await this.#callback(orderId, { transaction_id: "", amount: 0, status: "failed" });
  }

  /** What the payment provider tells the shop, once the shop waits for it. */
  async #callback(orderId: string, said: object) {
    const payment = async () => (await this.api("GET", `/api/orders/${orderId}`)).payment;
    await expect.poll(async () => (await payment()).awakeable_id).toBeTruthy();
    await this.api("POST", "/api/payment/callback", { awakeable_id: (await payment()).awakeable_id, ...said });
  }

  /** Waits until the order has a status. */
  async until(orderId: string, status: string) {
    await expect.poll(async () => (await this.api("GET", `/api/orders/${orderId}`)).status).toBe(status);
  }
}
