// Reads an answer while it streams, in headless Chromium, and prints what was seen as JSON.
// Arguments: the page's address, an address that lets the answer go on each time, Chromium's path.
const { chromium } = require("playwright-core");

const [address, release, executablePath] = process.argv.slice(2);

// What a reader has in hand.
const inHand = (page) =>
  page.evaluate(() => {
    const box = document.querySelector("#answer ~ pre");
    return {
      scrolled: box.scrollTop,
      is_at_end: box.scrollHeight - box.scrollTop - box.clientHeight < 2,
      is_focused: document.activeElement === box,
      selected: getSelection().toString(),
    };
  });

const until = (page, words) =>
  page.waitForFunction((words) => document.querySelector("main").textContent.includes(words), words);

// Tells the page that it is seen, or that it is not: headless pages always are.
const see = (page, state) =>
  page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);

const says = (page, words) =>
  page.waitForFunction((words) => document.getElementById("following").value === words, words);

async function run() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const seen = { console: [] };
  page.on("console", (message) => seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(error.message));

  await page.goto(`${address}s/s/1/`);
  await until(page, "first 299");
  await page.evaluate(() => {
    const box = document.querySelector("#answer ~ pre");
    box.focus();
    box.scrollTop = 500;
    getSelection().setBaseAndExtent(box.firstChild, 0, box.firstChild, "first 0".length);
  });
  seen.before = await inHand(page);
  await fetch(release);
  await until(page, "second 299");
  seen.after = await inHand(page);

  await page.evaluate(() => {
    const box = document.querySelector("#answer ~ pre");
    box.scrollTop = box.scrollHeight;
  });
  await fetch(release);
  await until(page, "third 299");
  seen.at_end = (await inHand(page)).is_at_end;

  await see(page, "hidden");
  await says(page, "paused");
  await fetch(release);
  await see(page, "visible");
  await until(page, "fourth 299");
  await says(page, "live");
  await fetch(release);
  await page.waitForFunction(() => document.querySelector("main strong").textContent === "complete");
  seen.last = await inHand(page);
  await browser.close();
  console.log(JSON.stringify(seen));
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
