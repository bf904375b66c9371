// What belongs to the whole page: files that are dropped or pasted, links inside of it, and keys in its bar.

// Which of the page's tabs is open: read, batch, metrics or about.
const NAMES = { Read: "read", Batch: "batch", Metrics: "metrics", About: "about" };
const bar = () => [...document.querySelectorAll("#tabs [role=tab]")].filter((tab) => tab.textContent.trim() in NAMES);
const openTab = () => NAMES[bar().find((tab) => tab.getAttribute("aria-selected") === "true")?.textContent.trim()] ?? "read";
const showTab = (id) => bar().find((tab) => NAMES[tab.textContent.trim()] === id)?.click();

// --- files -------------------------------------------------------------------------------------------------

function hand(files, input) {
  const transfer = new DataTransfer();
  for (const file of files) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

async function there(selector) {
  for (let tries = 0; tries < 100; tries++) {
    const found = document.querySelector(selector);
    if (found) return found;
    await new Promise((go) => setTimeout(go, 50));
  }
  return null;
}

async function toBatch(files) {
  showTab("batch");
  const input = await there("#batch-files input[type=file]");
  if (input) hand(files, input);
}

async function toRead(file) {
  const input = await there("#upload input[type=file]");
  if (input) hand([file], input);
}

// Several files on Read are too many for the viewer: the visitor decides.
function take(files) {
  if (files.length === 0) return;
  if (openTab() === "batch") toBatch(files);
  else if (files.length === 1) toRead(files[0]);
  else {
    const offer = { files: files.length, first: files[0].name, batch: () => toBatch(files), one: () => toRead(files[0]) };
    document.dispatchEvent(new CustomEvent("bonefx:offer", { detail: offer }));
  }
}

const takesFiles = () => ["read", "batch"].includes(openTab());
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
// A field of its own takes what is dropped on it.
const inField = (event) => event.target instanceof Element && event.target.closest("[data-testid=file-upload], .upload-container, #batch-files, input");

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault(); // else the browser opens the file in place of the page
  document.documentElement.classList.toggle("dropping", takesFiles());
});
for (const end of ["dragleave", "drop", "dragend"]) {
  document.addEventListener(end, (event) => {
    if (end !== "dragleave" || !event.relatedTarget) document.documentElement.classList.remove("dropping");
  }, true);
}
document.addEventListener("drop", (event) => {
  if (!hasFiles(event) || event.defaultPrevented) return;
  event.preventDefault();
  if (takesFiles() && !inField(event)) take([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0 && takesFiles()) {
    event.preventDefault();
    take(files);
  }
});

// The choice is made with the file, however long its way to the server is.
document.addEventListener("change", ({ target }) => {
  if (target instanceof Element && target.closest("#upload")) bonefx.upload = bonefx.numbered();
}, true);

// --- links and keys ----------------------------------------------------------------------------------------

// The page has a base address, against which "#there" with a query would load the page anew.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest('a[href^="#"]');
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey) return;
  const id = link.getAttribute("href").slice(1);
  if (id === "result") showTab("read");
  const target = id && document.getElementById(id);
  if (!target) return;
  event.preventDefault();
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.scrollIntoView({ block: id === "result" ? "nearest" : "start" });
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
});

document.addEventListener("keydown", (event) => bonefx.arrows(event, bar())?.click());

// Gradio's footer has its words twice: as text, and as what the picture beside it is.
there("footer .settings img").then(() => {
  for (const picture of document.querySelectorAll("footer img")) picture.alt = "";
});

// --- which tab the address names ---------------------------------------------------------------------------

let going = false; // the address leads, and does not follow
document.addEventListener("click", (event) => {
  const tab = event.target instanceof Element && event.target.closest("#tabs [role=tab]");
  const id = tab && NAMES[tab.textContent.trim()];
  if (id && !going) document.dispatchEvent(new CustomEvent("bonefx:tab", { detail: { id } }));
});
document.addEventListener("bonefx:go", async ({ detail }) => {
  await there("#tabs [role=tab]");
  going = true;
  if (openTab() !== detail.id) showTab(detail.id);
  going = false;
});
