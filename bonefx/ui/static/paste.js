// A picture in the clipboard goes the same way as a dropped file.
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files?.[0];
  const input = document.querySelector("#upload input[type=file]");
  if (!file || !input) return;
  const transfer = new DataTransfer();
  transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
