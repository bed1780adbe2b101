// Reads out the values under the pointer. The page says everything without it.
for (const plot of document.querySelectorAll("svg.plot[data-cursor]")) {
  const hits = [...plot.querySelectorAll(".hit")];
  // The values are read out below the plot, so their tooltips go.
  for (const hit of hits) {
    hit.dataset.text = hit.textContent;
    hit.replaceChildren();
  }
  const cursor = plot.querySelector(".cursor");
  const readout = document.createElement("output");
  readout.className = "readout";
  readout.setAttribute("aria-live", "off");
  plot.after(readout);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
    const distance = (hit) => Math.abs(hit.cx.baseVal.value - x);
    const nearest = hits.reduce((best, hit) => (best && distance(best) <= distance(hit) ? best : hit), null);
    if (!nearest) return;
    const at = nearest.cx.baseVal.value;
    cursor.setAttribute("d", `M${at} ${plot.dataset.top}V${plot.dataset.bottom}`);
    readout.textContent = hits
      .filter((hit) => hit.cx.baseVal.value === at)
      .map((hit) => hit.dataset.text)
      .join("\n");
  });
  plot.addEventListener("pointerleave", () => {
    cursor.removeAttribute("d");
    readout.textContent = "";
  });
}
