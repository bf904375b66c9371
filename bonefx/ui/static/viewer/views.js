// The tabs of the viewer: views of one result. On a phone one pane shows at a time, by the letters of the models,
// and "Both" is what the two agree on.

const PHONE = 560; // CSS pixels of the stage

const isPhone = () => part("viewer").clientWidth > 0 && part("viewer").clientWidth < PHONE;

const compared = () => (state.value?.panes ?? []).map((pane) => pane.id);

// Where there are more than two models, the visitor says which two stand side by side.
function comparedPair(value) {
  const known = (id) => value.panes.some((pane) => pane.id === id);
  return state.pair?.every(known) ? state.pair : value.agreement.of;
}

function makePairs(value) {
  const ids = value.agreement ? value.panes.map((pane) => pane.id) : [];
  const title = (id) => value.panes.find((pane) => pane.id === id).title;
  const pairs = ids.flatMap((first, i) => ids.slice(i + 1).map((second) => [first, second]));
  part("pair").hidden = pairs.length < 2;
  if (pairs.length < 2) return;
  const chosen = comparedPair(value).join();
  const options = pairs.map((pair) => make("option", { value: pair.join(), selected: pair.join() === chosen }, pair.map(title).join(" and ")));
  part("pair").replaceChildren(...options);
}

part("pair").addEventListener("change", ({ target }) => {
  state.pair = target.value.split(",");
  makePanes(state.value);
  showView();
  filter();
  showSwitches();
});

function viewNames() {
  return [
    ...(compared().length > 1 ? [{ id: "compare", name: "Compare" }] : []),
    ...models.map(({ data, look }) => ({ id: data.id, name: data.title, short: look.tag })),
    ...(agreement ? [{ id: "agreement", name: "Agreement", short: "Both" }] : []),
  ];
}

// The view that shows: the chosen one, or what stands for it.
function shownView() {
  const names = viewNames().map(({ id }) => id);
  const view = names.includes(state.view) ? state.view : (names[0] ?? "compare");
  return view === "compare" && isPhone() && agreement ? "agreement" : view;
}

function comparedModels() {
  const ids = agreement ? agreement.of : compared();
  return models.filter(({ data }) => ids.includes(data.id));
}

function visiblePanes() {
  const view = shownView();
  if (view === "compare") return comparedModels();
  if (view === "agreement") return [agreement];
  return models.filter(({ data }) => data.id === view);
}

// The models that the table and the sentence are about.
function visibleModels() {
  return shownView() === "agreement" ? agreement.pair : visiblePanes();
}

function makeViews() {
  const tabs = viewNames().map(({ id, name, short }) => {
    const tab = make("button", { type: "button", role: "tab", id: `view-${id}`, "data-view": id, "aria-controls": "stage" });
    tab.append(make("span", { class: "long" }, name), make("span", { class: "short" }, short ?? ""));
    if (!short) tab.classList.add("wide");
    tab.addEventListener("click", () => chooseView(id, true));
    return tab;
  });
  part("views").replaceChildren(...tabs);
  part("stage").id = "stage";
}

function chooseView(id, said) {
  state.view = id;
  if (said) writeAddress({ tab: id === "compare" ? null : id }, true);
  showView();
  if (state.value) filter();
}

function showView() {
  const phone = isPhone();
  part("viewer").classList.toggle("phone", phone);
  const view = shownView();
  const shown = visiblePanes();
  for (const pane of panes) pane.section.hidden = !shown.includes(pane);
  part("panes").style.setProperty("--columns", Math.max(1, shown.length));
  for (const tab of part("views").children) {
    const on = tab.dataset.view === view;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    if (on) part("stage").setAttribute("aria-labelledby", tab.id);
  }
  fitWhereFitted();
}

part("views").addEventListener("keydown", (event) => {
  const tabs = [...part("views").children].filter((tab) => tab.offsetParent !== null);
  visitor.arrows(event, tabs)?.click();
});
