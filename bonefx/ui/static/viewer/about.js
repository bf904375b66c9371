// What is said beside the picture: what it is, which weights looked at it, what is waited for.

function showAbout() {
  const { title = "", weights = "", demo = false, done = false, deletable = false } = about();
  part("title").textContent = title;
  part("warning").textContent = about().warning ?? "";
  part("warning").hidden = !about().warning;
  part("invite").hidden = Boolean(image());
  for (const name of ["findings-card", "weights-card", "results", "formats", "legend"]) part(name).hidden = !done;
  part("take-card").hidden = !done && !deletable;
  part("own").hidden = !deletable;
  part("dicom").hidden = !about().dicom;
  part("privacy").textContent = about().privacy ?? "";
  part("weights").replaceChildren(...(demo ? [make("b", {}, "Demo weights. ")] : []), weights);
  part("details").replaceChildren(...(about().details ?? []).map(detailOf));
  part("legend").textContent = models.some(({ graded }) => graded) && state.point !== null
    ? "Solid: stronger marks. Dashed: weaker ones."
    : "All marks are solid where scores are set by hand.";
}

// The models do not run for the picture that is shown, and have not: the visitor may want them to.
function showStopped(stopped) {
  state.stopped = stopped;
  part("again").hidden = !stopped || Boolean(about().done);
  showVerdict();
}

function detailOf({ name, facts, notes, error }) {
  const rows = facts.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, value)]);
  const words = [...(error ? [error] : []), ...notes].map((text) => make("p", {}, text));
  return make("section", { class: "weights" }, make("h4", {}, name), make("dl", {}, ...rows), ...words);
}

// --- news --------------------------------------------------------------------------------------------------

// One message lies over the picture: what is waited for, or what went wrong, with what can be done about it.
function tell(words, buttons = [], kind = "") {
  const box = part("news");
  box.className = "news " + kind;
  box.hidden = !words;
  const nodes = buttons.map(([text, act]) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", act);
    return button;
  });
  const [said, ...old] = box.childNodes;
  const same = old.map((node) => node.textContent).join() === nodes.map((node) => node.textContent).join();
  // While it only counts on, its button stays the same one: a new one would lose focus and click.
  if (said && same && kind === "waiting") said.textContent = words;
  else box.replaceChildren(make("p", { role: kind === "wrong" ? "alert" : "status" }, words), ...nodes);
}

const dismiss = ["Close", () => tell("")];
const again = ["Run again", () => run("run")];

function run(kind) {
  const choice = visitor.count();
  state.ran = choice;
  showStopped(false);
  tell("Waiting for the models", [["Cancel", cancel]], "waiting");
  if (kind === "check") trigger("check", { choice });
  else trigger("run", { choice });
}

function cancel() {
  trigger("stop", { choice: visitor.count() });
  showStopped(true);
  tell(about().done ? "Cancelled. The result that is shown is the one from before." : "Cancelled.", [again, dismiss]);
}

function hear({ choice, waiting, error, done }) {
  if (choice !== visitor.number) return;
  if (waiting) return tell(waiting, [["Cancel", cancel]], "waiting");
  if (error) {
    if (!state.value) takeValue(props.value); // what the address asked for is not there
    const { name } = about();
    const shown = name ? ` On the screen is still ${name}.` : "";
    part("stage").classList.remove("opening");
    showStopped(Boolean(image()));
    tell(error + shown, [...(about().done || !image() ? [] : [again]), dismiss], "wrong");
    document.dispatchEvent(new CustomEvent("bonefx:shown", { detail: { example: about().example } }));
  } else tell(done ?? "", done ? [dismiss] : []);
}
document.addEventListener("bonefx:news", ({ detail }) => hear(detail));

document.addEventListener("bonefx:offer", ({ detail: { files, first, batch, one } }) => {
  const close = (act) => () => (tell(""), act());
  tell(`${files} files are a batch. The viewer shows one at a time.`, [
    ["Open all in Batch", close(batch)],
    [`Read only ${first}`, close(one)],
    dismiss,
  ]);
});

// A choice has been made: what it leads to is on its way.
function opening(example) {
  tell("");
  showStopped(false);
  part("stage").classList.add("opening");
  document.dispatchEvent(new CustomEvent("bonefx:wanted", { detail: { example } }));
}
visitor.opening = opening;

let hinting = 0;
function hint(words) {
  const box = part("hint");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(hinting);
  hinting = setTimeout(() => (box.hidden = true), 1500);
}
