// What several rounds come to: kept in this browser only, and forgotten at a button.

const SHELF = "bonefx.quiz";

function remembered() {
  const blank = { rounds: [], site: {}, difficulty: {}, images: 0, false_alarms: 0, played: [] };
  try {
    return { ...blank, ...JSON.parse(localStorage.getItem(SHELF) ?? "{}") };
  } catch {
    return blank; // a browser that keeps nothing, or something of another kind
  }
}

function remember(round, tally) {
  const kept = remembered();
  if (kept.rounds.includes(round)) return kept;
  for (const table of ["site", "difficulty"]) {
    for (const [name, [found, lesions]] of Object.entries(tally[table])) {
      const row = (kept[table][name] ??= [0, 0]);
      row[0] += found;
      row[1] += lesions;
    }
  }
  kept.images += tally.images;
  kept.false_alarms += tally.false_alarms;
  kept.played = [...new Set([...kept.played, ...tally.played])];
  kept.rounds = [...kept.rounds, round];
  try {
    localStorage.setItem(SHELF, JSON.stringify(kept));
  } catch {
    return kept; // it is shown, and not kept
  }
  return kept;
}

function showHistory(place, kept) {
  place.hidden = kept.rounds.length === 0;
  if (place.hidden) return place.replaceChildren();
  const table = (caption, rows) => {
    const body = Object.entries(rows).map(([name, [found, lesions]]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "number" }, `${found} of ${lesions}`)));
    return make("table", {}, make("caption", { class: "small" }, caption), make("tbody", {}, ...body));
  };
  const forget = make("button", { type: "button" }, "Forget all rounds");
  forget.addEventListener("click", () => {
    localStorage.removeItem(SHELF);
    showHistory(place, remembered());
    announce("Forgotten.");
  });
  const alarms = (kept.false_alarms / kept.images).toFixed(1);
  place.replaceChildren(
    make("h3", {}, `All your rounds: ${kept.rounds.length}`),
    make("p", {}, `${kept.images} cases, ${alarms} false alarms per image. Fractures found:`),
    make("div", { class: "tables" }, table("By part of the arm", kept.site), table("By how hard they are to see", kept.difficulty)),
    make("p", { class: "small" }, "Kept in this browser only."),
    forget,
  );
}
