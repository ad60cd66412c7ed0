// Uses a report's page as a person would, in headless Chromium, and prints what was seen as JSON.
// Arguments: the page's path, Chromium's.
const { chromium } = require("playwright-core");
const { source: axe } = require("axe-core");

const [page_path, executablePath] = process.argv.slice(2);
const url = `file://${page_path}`;

const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

const visible = (page) => page.locator("#list > details:visible").count();

// What the Tab key reaches, from the beginning of the page to the first exchange.
async function stops(page) {
  const reached = [];
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      return element.id || element.value || element.getAttribute("aria-label") || element.textContent.trim();
    });
    const inList = await page.evaluate(() => document.activeElement.matches("#list summary"));
    if (inList) return [...reached, "exchange"];
    reached.push(stop);
  }
  return reached;
}

async function run() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
  const page = await context.newPage();
  const seen = { console: [], requests: [] };
  page.on("console", (message) => seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(error.message));
  page.on("request", (request) => request.url().startsWith("data:") || seen.requests.push(request.url().split("#")[0]));
  await page.goto(url);

  seen.charts = await page.locator("figure [role=img] svg polyline:not([stroke=\"#303030\"])").count();
  seen.made = await page.locator("header time").getAttribute("datetime");
  seen.stops = await stops(page);
  const folded = page.locator("#list > details").last();
  await folded.locator("summary").focus();
  const wasOpen = await folded.evaluate((details) => details.open);
  await page.keyboard.press("Enter");
  seen.toggled = (await folded.evaluate((details) => details.open)) !== wasOpen;
  seen.lanes = await folded.locator(".lanes li").count();

  seen.all = await visible(page);
  await page.selectOption("#verdict", "CHANGED");
  seen.changed = await visible(page);
  seen.shown = await page.locator("#shown").inputValue().catch(() => page.locator("#shown").textContent());
  seen.diff = await page.locator("#list details:visible .diff ins").allTextContents();
  await page.selectOption("#verdict", "");
  await page.fill("#search", "DEMO/001 read");
  seen.found = await visible(page);
  await page.fill("#search", "no such words");
  seen.none = await visible(page);
  // A link opens its exchange although the search hides it.
  await page.locator("main a").first().click();
  await page.waitForFunction(() => document.activeElement.matches("#list summary"));
  seen.linked = await page.evaluate(() => document.activeElement.textContent.includes("CHANGED"));

  seen.backgrounds = [await background(page)];
  await page.check("[name=scheme][value=dark]");
  seen.backgrounds.push(await background(page));
  await page.check("[name=scheme][value=system]");
  await page.emulateMedia({ colorScheme: "dark" });
  seen.backgrounds.push(await background(page));

  seen.faults = [];
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await page.click("#unfold");
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => axe.run());
    seen.faults.push(...violations.map(({ id, nodes }) => `${colorScheme}: ${id}: ${nodes[0].html}`));
  }
  await page.setViewportSize({ width: 360, height: 640 });
  seen.fits = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  await browser.close();
  console.log(JSON.stringify(seen));
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
