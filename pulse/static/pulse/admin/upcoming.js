// Says what comes next of a schedule or a window while it is typed. The page says it without this
// module too, for what was saved; the server alone knows when a cron expression comes.

const WAIT_MS = 250;

function show(place, { moments, problem }) {
  const error = place.querySelector(".pulse-is-error");
  error.textContent = problem;
  place.querySelector("ol").replaceChildren(
    ...moments.map((moment) => {
      const item = document.createElement("li");
      item.textContent = moment;
      return item;
    }),
  );
}

function watch(place) {
  const form = place.closest("form");
  const fields = [...form.querySelectorAll("[data-pulse-upcoming]")];
  let timer;
  let asked;

  async function ask() {
    asked?.abort();
    asked = new AbortController();
    const address = new URL(place.dataset.address, document.baseURI);
    for (const field of fields) address.searchParams.set(field.dataset.pulseUpcoming, field.value);
    try {
      const answer = await fetch(address, {
        signal: asked.signal,
        headers: { Accept: "application/json" },
      });
      if (answer.ok) show(place, await answer.json());
    } catch (error) {
      // Overtaken by the next one, or the network is away: what was said stays.
      if (error.name !== "AbortError") place.setAttribute("aria-busy", "false");
    }
  }

  place.setAttribute("aria-live", "polite");
  for (const field of fields) {
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, WAIT_MS);
    });
  }
}

for (const place of document.querySelectorAll('[data-pulse="upcoming"]')) watch(place);
