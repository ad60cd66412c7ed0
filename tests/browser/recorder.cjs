// Follows a recorder's page as a person would, in headless Chromium, and prints what was seen as JSON.
// Arguments: the page's address, an address that lets the answer go on, Chromium's path.
const { chromium } = require("playwright-core");
const { source: axe } = require("axe-core");

const [address, release, executablePath] = process.argv.slice(2);

// What is wrong with a page for people who see or hear it in other ways.
async function faults(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run());
  return violations.map(({ id, nodes }) => `${page.url()}: ${id}: ${nodes[0].html}`);
}

async function run() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
  const page = await context.newPage();
  const seen = { console: [], faults: [] };
  const origins = new Set();
  page.on("console", (message) => seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(error.message));
  page.on("request", (request) => request.url().startsWith("data:") || origins.add(new URL(request.url()).origin));

  await page.goto(address);
  seen.topics = await page.locator("main td.gist").allTextContents();
  seen.sessions = await page.locator("main th a").allTextContents();
  seen.faults.push(...(await faults(page)));
  await page.locator("main th a").first().click();
  await page.waitForURL("**/s/*/");
  seen.exchanges = await page.locator("main th a").allTextContents();
  seen.faults.push(...(await faults(page)));
  await page.locator("main th a").first().click();
  await page.waitForFunction(() => document.querySelector("main").textContent.includes("Let m\u00e9 look"));
  seen.under_way = await page.locator("main strong").first().textContent();

  await fetch(release);
  await page.waitForFunction(() => document.querySelector("main strong").textContent === "complete");
  seen.finished = await page.locator("main strong").first().textContent();
  seen.calls = await page.locator("#answer ~ h3").allTextContents();
  seen.arguments = await page.locator("#answer ~ h3 + pre").allTextContents();
  seen.lanes = await page.locator(".lanes li").count();
  seen.prompt = await page.locator("section[aria-labelledby=prompt] p").textContent();
  seen.ways = await page.locator("nav.ways a").allTextContents();
  seen.diff = await page.locator(".diff ins").allTextContents();
  seen.faults.push(...(await faults(page)));
  await page.setViewportSize({ width: 360, height: 640 });
  seen.fits = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
  seen.origins = [...origins];
  await browser.close();
  console.log(JSON.stringify(seen));
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
