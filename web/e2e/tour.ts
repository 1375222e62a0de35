// Every page of the console with something on it, for the tests that go through them all.

import { Person } from "./person.ts";
import type { World } from "./world.ts";

export interface Stop {
  /** A name for files and reports. */
  name: string;
  path: string;
  /** Who looks; nobody is signed in without. */
  person?: Person;
  /** Whether it stands without the console around it, and does not change by itself. */
  alone?: true;
  /** The status of the answer, when it is not 200. */
  status?: number;
}

/** Whether it is a page of the console of somebody who is signed in. */
export function isLive(stop: Stop): stop is Stop & { person: Person } {
  return Boolean(stop.person && !stop.status && !stop.alone);
}

export class Tour {
  readonly stops: Stop[];

  /** Has orders in every state, a full cart and a newcomer. */
  static async prepare(world: World): Promise<Tour> {
    const mark = process.pid.toString(36);
    const [carol, dave, newcomer] = ["carol", "dave", "newcomer"].map((name) => new Person(`${name}-${mark}`, world));
    const admin = new Person("admin", world);

    const delivered = await carol.quietlyOrder("P006", "delivered", { paid: true });
    await admin.api("POST", `/api/workflow/${delivered}/approve`, { approved: true });
    const refused = await dave.quietlyOrder("P019", "FAIL_SHIP", { paid: true });
    await admin.api("POST", `/api/workflow/${refused}/approve`, { approved: true });
    const rejected = await carol.quietlyOrder("P024", "rejected", { paid: true });
    await admin.api("POST", `/api/workflow/${rejected}/approve`, { approved: false, reason: "The address is not served" });
    const declined = await dave.quietlyOrder("P009", "declined");
    await dave.decline(declined);
    await dave.quietlyOrder("P012", "with-a-rather-long-order-id-as-some-systems-make-them-0123456789", { paid: true });
    const paid = await carol.quietlyOrder("P001", "paid", { paid: true });
    const pending = await carol.quietlyOrder("P002", "pending");
    await carol.quietlyAdd("P005", 2);
    await Promise.all([
      carol.until(delivered, "delivered"),
      carol.until(rejected, "rejected"),
      dave.until(refused, "shipping_failed"),
      dave.until(declined, "payment_failed"),
    ]);

    const sue = `sue-${mark}`;
    await admin.api("POST", "/api/people", { user: sue, email: `${sue}@example.com`, role: "support" });
    await admin.api("POST", "/api/account/tokens", { name: `nightly-report-${mark}`, scope: "read", days: 90 });

    const returned = await carol.quietlyOrder("P007", "returned", { paid: true });
    await admin.api("POST", `/api/workflow/${returned}/approve`, { approved: true });
    await carol.until(returned, "delivered");
    await carol.api("POST", `/api/orders/${returned}/returns`, { items: [{ sku: "P007", quantity: 1 }], reason: "The strap is too short for me" });
    await admin.api("POST", `/api/orders/${returned}/refunds`, { amount_cents: 500, reason: "It came late" });
    const old = `OLD-${mark}`;
    await admin.api("POST", "/api/catalog/products", { sku: old, name: "Folding ruler with a rather long name, 2 m", category: "Tools", price_cents: 1290, stock: 3 });
    await admin.api("POST", `/api/catalog/products/${old}/archive`, {});

    const order = (id: string) => `/orders/${id}`;
    return new Tour([
      { name: "login", path: "/login" },
      { name: "dashboard", path: "/", person: carol },
      { name: "products", path: "/products", person: carol },
      { name: "cart", path: "/cart", person: carol },
      { name: "orders", path: "/orders", person: carol },
      { name: "order-pending", path: order(pending), person: carol },
      { name: "order-paid", path: order(paid), person: carol },
      { name: "order-delivered", path: order(delivered), person: carol },
      { name: "order-rejected", path: order(rejected), person: carol },
      { name: "order-refused", path: order(refused), person: dave },
      { name: "order-declined", path: order(declined), person: dave },
      { name: "dashboard-empty", path: "/", person: newcomer },
      { name: "cart-empty", path: "/cart", person: newcomer },
      { name: "orders-empty", path: "/orders", person: newcomer },
      { name: "no-such-page", path: "/no-such-page", person: carol, status: 404 },
      { name: "admin-dashboard", path: "/", person: admin },
      { name: "admin", path: "/admin", person: admin },
      { name: "audit", path: "/audit", person: admin },
      { name: "admin-order", path: order(paid), person: admin },
      { name: "order-returned", path: order(returned), person: carol },
      { name: "admin-order-returned", path: order(returned), person: admin },
      { name: "catalog", path: "/catalog", person: admin },
      { name: "catalog-archived", path: "/catalog?show=archived", person: admin },
      { name: "product", path: "/catalog/P001", person: admin },
      { name: "product-archived", path: `/catalog/${old}`, person: admin },
      { name: "zones", path: "/zones", person: admin },
      { name: "import", path: "/import", person: admin },
      { name: "second-factor", path: "/account/factor", person: admin, alone: true },
      { name: "invoice", path: `${order(delivered)}/invoice`, person: carol, alone: true },
      { name: "packing-slip", path: `${order(delivered)}/packing-slip`, person: admin, alone: true },
      { name: "packing-slip-not-yet", path: `${order(paid)}/packing-slip`, person: admin, alone: true },
      { name: "people", path: "/people", person: admin },
      { name: "person", path: `/people/${sue}`, person: admin },
      { name: "account", path: "/account", person: admin },
      { name: "account-unknown", path: "/account", person: newcomer },
      { name: "new-password", path: `/password/new?user=${sue}` },
    ]);
  }

  private constructor(stops: Stop[]) {
    this.stops = stops;
  }

  /** The stops with a signed-in person, where things change by themselves. */
  get live(): (Stop & { person: Person })[] {
    return this.stops.filter(isLive);
  }
}
