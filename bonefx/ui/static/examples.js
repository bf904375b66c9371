// A click picks an example; so does `?example=...` in the page's address, once.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-id]");
  if (button) trigger("select", { id: button.dataset.id });
});
const linked = new URLSearchParams(window.location.search).get("example");
let opened = false;
watch("value", () => {
  if (linked && !opened && props.value.length > 0) {
    opened = true;
    trigger("select", { id: linked });
  }
});
