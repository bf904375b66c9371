// A click picks an example; so does `?example=...` in the page's address, once.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-id]");
  if (!button) return;
  trigger("select", { id: button.dataset.id });
  // On a phone the examples fill the screen: what happens now happens below it.
  if (matchMedia("(max-width: 640px)").matches) document.querySelector(".state")?.scrollIntoView();
});
function makeExample({ id, picture, title }) {
  const [item, button, image, name] = ["li", "button", "img", "span"].map((tag) => document.createElement(tag));
  Object.assign(button, { type: "button" }).dataset.id = id;
  Object.assign(image, { src: picture, alt: "", width: 72, height: 72 });
  name.textContent = title;
  button.append(image, name);
  item.append(button);
  return item;
}
const linked = new URLSearchParams(window.location.search).get("example");
let opened = false;
watch("value", () => {
  element.querySelector("ul").replaceChildren(...props.value.map(makeExample));
  if (linked && !opened && props.value.length > 0) {
    opened = true;
    trigger("select", { id: linked });
  }
});
