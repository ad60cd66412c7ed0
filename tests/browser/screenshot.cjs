// Takes README's picture of a report's page: what changed, the curves, and the first changed exchange, in light colours.
// Arguments: the page's path, Chromium's, the picture's.
const { chromium } = require("playwright-core");

const [page_path, executablePath, path] = process.argv.slice(2);

async function run() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1120, height: 900 }, colorScheme: "light" });
  await page.goto(`file://${page_path}`);
  await page.selectOption("#verdict", "CHANGED");
  const changed = page.locator("#list > details:visible").first();
  await changed.evaluate((details) => { details.open = true; });
  const end = await changed.evaluate((details) => details.getBoundingClientRect().bottom + window.scrollY);
  await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width: 1120, height: Math.ceil(end) + 10 } });
  await browser.close();
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
