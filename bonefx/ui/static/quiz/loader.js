// The mode "Read it yourself", which `?quiz=` opens: its scripts and style are fetched when they are first wanted.

const EVENTS = ["begin", "ahead", "answer"]; // Gradio (6.31) looks for their names here, in quotes
let made = null;
const failure = document.createElement("p");
const address = () => new URLSearchParams(location.search);

function make() {
  const unfold = () => element.append(element.querySelector("template").content.cloneNode(true));
  return bonefx.parts(props.value.parts, element, tell, { props, watch }, unfold);
}

function tell(event, data) {
  if (EVENTS.includes(event)) trigger(event, data);
}

async function show(mode) {
  if (mode === "quiz") {
    document.dispatchEvent(new CustomEvent("bonefx:go", { detail: { id: "read" } }));
    try {
      await (made ??= make());
      failure.remove();
    } catch (error) {
      made = null;
      failure.textContent = `This cannot be opened now (${error.message}). Try again, or reload the page.`;
      element.append(failure);
    }
  }
  element.closest(".tabitem").classList.toggle("quizzing", mode === "quiz");
  document.dispatchEvent(new CustomEvent("bonefx:mode", { detail: { mode } }));
}

// Opens a mode of Read, "quiz", or with null none: the examples and uploads.
bonefx.mode = (mode) => {
  bonefx.write({ quiz: mode === "quiz" ? "1" : null }, true);
  show(mode);
};
addEventListener("popstate", () => show(address().has("quiz") ? "quiz" : null));
if (address().has("quiz")) setTimeout(() => show("quiz")); // once all scripts are there
