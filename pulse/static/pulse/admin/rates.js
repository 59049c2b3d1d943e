// Says in words what a rate means while it is typed. The page says it without this module too,
// for what was saved; the server has the last word on what a rate is (pulse/core/quotas.py).

const SECOND_US = 1_000_000;
const UNITS_US = { s: SECOND_US, m: 60 * SECOND_US, h: 3600 * SECOND_US, d: 86400 * SECOND_US };
const UNIT_NAMES = new Map(
  Object.entries({
    s: ["s", "sec", "second", "seconds"],
    m: ["m", "min", "minute", "minutes"],
    h: ["h", "hour", "hours"],
    d: ["d", "day", "days"],
  }).flatMap(([unit, names]) => names.map((name) => [name, unit])),
);
const RATE = /^\s*([0-9]{1,12})\s*\/\s*([0-9]{0,6})\s*([A-Za-z]+)\s*$/;
const MAX_PERIOD_US = 366 * UNITS_US.d;
const MAX_COUNT = 1_000_000_000;
const MAX_LENGTH = 40;

const texts = JSON.parse(document.getElementById("pulse-rate-texts")?.textContent ?? "null");

const fill = (name, values) =>
  texts[name].replace(/%\((\w+)\)s/g, (_, key) => String(values[key]));

/** Read a rate as the server does: its count and period, or the name of what is wrong. */
export function parseRate(text) {
  const match = text.length <= MAX_LENGTH ? RATE.exec(text) : null;
  const unit = match && UNIT_NAMES.get(match[3].toLowerCase());
  if (!unit) return { error: "no_rate" };
  const count = Number(match[1]);
  const periodUs = Number(match[2] || 1) * UNITS_US[unit];
  if (count < 1) return { error: "no_count" };
  if (periodUs < SECOND_US) return { error: "no_period" };
  if (periodUs > MAX_PERIOD_US) return { error: "long_period" };
  if (count > MAX_COUNT || count > periodUs) return { error: "fast" };
  return { count, periodUs };
}

function sayRate(count, periodUs) {
  const unit = ["d", "h", "m", "s"].find((name) => periodUs % UNITS_US[name] === 0);
  const number = periodUs / UNITS_US[unit];
  return fill(number === 1 ? `one_${unit}` : `many_${unit}`, { count, number });
}

function sayDuration(us) {
  if (us < 1000) return texts.instant;
  const steps = [
    ["seconds", SECOND_US, 60 * SECOND_US],
    ["minutes", UNITS_US.m, UNITS_US.h],
    ["hours", UNITS_US.h, 2 * UNITS_US.d],
    ["days", UNITS_US.d, Infinity],
  ];
  const [name, unit] = steps.find(([, , end]) => us < end);
  return fill(name, { number: Number((us / unit).toPrecision(3)) });
}

/** Say what a limit means, or what is wrong with it. */
export function sayLimit(rate, burst, algorithm) {
  const found = parseRate(rate);
  if (found.error) return { error: `"${rate.trim().slice(0, MAX_LENGTH)}" ${texts[found.error]}` };
  const { count, periodUs } = found;
  const said = sayRate(count, periodUs);
  if (algorithm === "fixed_window") {
    if (burst) return { error: texts.no_burst };
    const limit = fill("window", { rate: said });
    return { words: fill("window_wait", { limit, wait: sayDuration(periodUs) }) };
  }
  const limit = fill("bucket", { rate: said, burst: Number(burst) || count });
  return { words: fill("bucket_wait", { limit, wait: sayDuration(Math.floor(periodUs / count)) }) };
}

function show(row) {
  const field = (name) => row.querySelector(`[data-pulse="${name}"]`);
  const place = field("words");
  const rate = field("rate");
  if (!place || !rate) return;
  place.setAttribute("aria-live", "polite");
  const said = rate.value.trim()
    ? sayLimit(rate.value, field("burst")?.value, field("algorithm")?.value)
    : { words: "" };
  place.textContent = said.error ?? said.words;
  place.classList.toggle("pulse-is-error", Boolean(said.error));
  rate.setAttribute("aria-invalid", String(Boolean(said.error)));
}

if (texts) {
  for (const name of ["input", "change"]) {
    document.addEventListener(name, ({ target }) => {
      const row = target.closest?.("tr");
      if (row && target.matches("[data-pulse]")) show(row);
    });
  }
  for (const rate of document.querySelectorAll('[data-pulse="rate"]')) {
    const row = rate.closest("tr");
    if (row && rate.value) show(row);
  }
}

// What came of a try is what one waits for; the admin would lead to the first field instead.
window.addEventListener("load", () => document.getElementById("pulse-tryout")?.focus());
