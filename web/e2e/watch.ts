// What no test may see: a request to another origin, an error in the console or on the page, a
// violation of the content security policy. Watched in every page of every test.

import type { BrowserContext, ConsoleMessage, Page, Request } from "@playwright/test";

/** What Chromium says in the console when the network or the server is gone. */
const OUTAGE = /^Failed to load resource: (net::ERR_\w+|the server responded with a status of 50[234])/;

/** What Datastar throws when a write cannot be sent; app.js tells the person. */
const GIVEN_UP = /^FetchFailed\b/;

export class Watch {
  readonly complaints: string[] = [];
  #shop: string[];
  #provider: string;
  #inOutage = false;
  #expectedStatuses: number[] = [];
  #underWay = new Map<Request, number>();

  constructor(shop: string, provider: string) {
    this.#shop = [shop];
    this.#provider = provider;
  }

  async over(context: BrowserContext) {
    context.on("request", (request) => this.#request(request));
    context.on("requestfinished", (request) => this.#underWay.delete(request));
    context.on("requestfailed", (request) => this.#underWay.delete(request));
    context.on("console", (message) => this.#console(message));
    context.on("weberror", (error) => this.#uncaught(error.error()));
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`CSP report: ${event.violatedDirective} blocked ${event.blockedURI || "inline"} at ${event.sourceFile}:${event.lineNumber}`);
      });
    });
  }

  /** While this runs, pages may say in the console that they cannot reach the shop. */
  async outage<T>(during: () => Promise<T>): Promise<T> {
    this.#inOutage = true;
    try {
      return await during();
    } finally {
      this.#inOutage = false;
    }
  }

  /**
   * The shop is expected to answer this with that status, once. Chromium may say so in the console
   * after the answer is on the screen: what is expected stays expected until it has been said.
   */
  async status<T>(status: number, during: () => Promise<T>): Promise<T> {
    this.#expectedStatuses.push(status);
    return during();
  }

  /** What pages have asked for and do not have yet, but for streams: what a test waits for in vain. */
  async underWay(): Promise<string> {
    const now = Date.now();
    const lines = [...this.#underWay].map(async ([request, since]) => {
      const response = await Promise.race([request.response(), new Promise<null>((none) => setTimeout(none, 100, null))]);
      const { pathname } = new URL(request.url());
      // Chromium does not say how the streams of a page end that is left.
      if (response && pathname === "/stream/pages") return null;
      return `${request.method()} ${pathname} for ${((now - since) / 1000).toFixed(1)} s: ${response ? response.status() : "no answer"}`;
    });
    return (await Promise.all(lines)).filter((line) => line !== null).join("\n") || "none";
  }

  shopIsAlsoAt(origin: string) {
    this.#shop.push(origin);
  }

  #request(request: Request) {
    this.#underWay.set(request, Date.now());
    const url = new URL(request.url());
    if (url.protocol === "data:" || this.#shop.includes(url.origin)) return;
    // The payment provider's page is a site of its own: one may go there, and it may ask itself.
    if (url.origin === this.#provider && (request.isNavigationRequest() || isOn(request, this.#provider))) return;
    this.complaints.push(`a request left the origin: ${request.method()} ${request.url()}`);
  }

  #uncaught(error: Error) {
    if (this.#inOutage && GIVEN_UP.test(error.message)) return;
    this.complaints.push(`uncaught: ${error.stack}`);
  }

  #console(message: ConsoleMessage) {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const text = message.text();
    if (this.#inOutage && OUTAGE.test(text)) return;
    const expected = this.#expectedStatuses.findIndex((status) => text.includes(`responded with a status of ${status}`));
    if (expected >= 0) {
      this.#expectedStatuses.splice(expected, 1);
      return;
    }
    const { url, lineNumber } = message.location();
    this.complaints.push(`console ${message.type()}: ${text} (${url}:${lineNumber}, on ${message.page()?.url()})`);
  }
}

function isOn(request: Request, origin: string): boolean {
  const frame = request.frame();
  return new URL((frame.page() as Page).url()).origin === origin;
}
