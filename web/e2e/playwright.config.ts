// `just e2e`: the console in a real browser, against real processes. Each worker has a world of its
// own (world.ts); everything about requests, errors and policies is watched in every test (watch.ts).

import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "../../test-results",
  fullyParallel: true,
  forbidOnly: true,
  retries: 0,
  workers: 2,
  timeout: 240_000,
  expect: { timeout: 15_000 },
  reporter: "list",
  use: { actionTimeout: 20_000, navigationTimeout: 30_000, trace: "off", screenshot: "only-on-failure", locale: "en-US", timezoneId: "UTC" },
});
