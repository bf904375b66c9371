// What the server says while it works, and what went wrong: the viewer shows it.
watch("value", () => document.dispatchEvent(new CustomEvent("bonefx:news", { detail: props.value ?? {} })));
