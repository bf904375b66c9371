// Starts the viewer: what it is made of is fetched once a value says where it lies. Gradio runs this, after choice.js,
// as one function body with `element`, `props`, `trigger` and `watch`.

const EVENTS = ["run", "check", "stop", "forget", "save"]; // Gradio (6.31) looks for their names here, in quotes
element.parentElement.style.padding = 0; // Gradio 6.31 gives it some, whatever its `padding` says
let begun = false;

async function begin() {
  if (begun || !props.value) return;
  begun = true;
  try {
    await visitor.parts(props.value.parts, element, tell, { props, watch });
    start();
  } catch (error) {
    begun = false;
    const message = element.querySelector("[data-part=message]");
    message.textContent = `The viewer cannot be opened now (${error.message}). Reload the page.`;
    message.hidden = false;
  }
}

function tell(event, data) {
  if (EVENTS.includes(event)) trigger(event, data);
}

watch("value", begin);
begin();
