// The filmstrip: "+ Your X-ray", and the examples. Its value is what ExampleFiles.strip makes. A click picks an
// example, and so does `?example=...` in the page's address. The viewer says which one is on the screen.

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const buttons = new Map(); // by example id

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw() {
  const { sheet, size, examples } = props.value;
  const groups = new Map();
  buttons.clear();
  examples.forEach(({ id, title, short, region }, i) => {
    if (!groups.has(region)) groups.set(region, make("div", { class: "group", role: "group", "aria-label": region }));
    const picture = make("span", { class: "picture" });
    picture.style.backgroundImage = `url("${encodeURI(decodeURI(sheet.url))}")`;
    picture.style.backgroundPosition = `${(-i * size[0]) / 2}px 0`;
    const button = make(
      "button",
      { type: "button", role: "option", "data-id": id, title, "aria-label": `${short}: ${title}`, tabindex: -1 },
      picture,
      make("span", {}, short),
    );
    button.addEventListener("click", () => pick(id));
    buttons.set(id, button);
    groups.get(region).append(button);
  });
  part("examples").replaceChildren(...groups.values());
  mark(globalThis.bonefx?.shown ?? examples[0].id);
}

function mark(id) {
  for (const [each, button] of buttons) {
    button.setAttribute("aria-selected", each === id);
    button.tabIndex = each === id ? 0 : -1;
  }
  const [chosen, strip] = [buttons.get(id), element.querySelector(".filmstrip")];
  if (chosen) { // brought into view sideways; the page itself does not move
    const [own, all] = [chosen.getBoundingClientRect(), strip.getBoundingClientRect()];
    if (own.right > all.right - 20) strip.scrollLeft += own.right - all.right + 80;
    else if (own.left < all.left + 20) strip.scrollLeft -= all.left - own.left + 80;
  }
  if (!buttons.has(id)) buttons.values().next().value.tabIndex = 0; // so that Tab finds them
}

async function pick(id, quiet = false) {
  mark(id);
  await bonefx.started;
  trigger("pick", { id, choice: bonefx.numbered(id, quiet) });
}

document.addEventListener("bonefx:shown", ({ detail }) => mark(detail.example));
document.addEventListener("bonefx:wanted", ({ detail }) => mark(detail.example));
document.addEventListener("bonefx:pick", ({ detail }) => pick(detail.example, true));

part("examples").addEventListener("keydown", (event) => {
  bonefx.arrows(event, [...buttons.values()]);
});
part("drop").addEventListener("click", () => document.querySelector("#upload input[type=file]")?.click());

part("quiz").addEventListener("click", () => bonefx.mode("quiz"));

draw();
watch("value", draw);
const linked = new URLSearchParams(location.search).get("example");
if (linked && linked !== props.value.examples[0].id) setTimeout(() => pick(linked, true)); // once there is a bonefx
