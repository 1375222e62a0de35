// Which browser the end-to-end tests drive: one that the machine has, since none is downloaded.

import { existsSync } from "node:fs";

const USUAL_PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** A path, or undefined. */
export function findBrowser() {
  return [process.env.CHROMIUM_BIN, ...USUAL_PLACES].find((path) => path && existsSync(path));
}
