// Has the browser save each file that becomes this component's value. It is fetched, and not just linked: from
// another host (the app as an element of somebody's page) a link would open the file in place of the page.
watch("value", async () => {
  const { url, orig_name } = props.value ?? {};
  if (!url) return;
  const response = await fetch(url);
  if (!response.ok) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = orig_name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});
