// BLEU of short and long sentences: a bar each, its 95 % interval a thin line.

function drawLengths(rows, unit) {
  const highest = Math.max(...rows.map(row => row.high), 1);
  const table = element("table", { class: "bars" });
  const body = rows.map(row => {
    const track = element("div", { class: "track", "aria-hidden": "true" });
    const bar = element("div", { class: "bar" });
    const interval = element("div", { class: "interval" });
    bar.style.setProperty("width", `${100 * row.bleu / highest}%`);
    interval.style.setProperty("left", `${100 * row.low / highest}%`);
    interval.style.setProperty("width", `${100 * (row.high - row.low) / highest}%`);
    track.append(bar, interval);
    return element("tr", {},
      element("th", { scope: "row", text: row.name }),
      element("td", { class: "number", text: row.sentences.toLocaleString("en") }),
      element("td", { class: "wide" }, track),
      element("td", { class: "number" },
        element("b", { text: row.bleu.toFixed(1) }),
        element("span", { class: "muted", text: ` ${row.low.toFixed(1)}–${row.high.toFixed(1)}` })));
  });
  table.append(
    element("thead", {}, element("tr", {},
      element("th", { scope: "col", text: unit }),
      element("th", { scope: "col", class: "number", text: "sentences" }),
      element("th", {}),
      element("th", { scope: "col", class: "number", text: "BLEU, 95 %" }))),
    element("tbody", {}, ...body));
  return table;
}
