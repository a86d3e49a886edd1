// One sentence's attention: a table of cells; pointer or arrow keys read a weight off.

function decodeWeights(map) {
  const bytes = atob(map.weights), range = map.high - map.low;
  return map.target.map((_, t) => map.source.map((_, s) =>
    map.low + range * bytes.charCodeAt(t * map.source.length + s) / 255));
}

function drawMap(map) {
  const weights = decodeWeights(map), cells = [], columns = [], rows = [];
  const readout = element("p", { class: "map-readout", "aria-live": "polite" });
  const table = element("table", {
    class: "map", tabindex: "0",
    "aria-label": "Attention weights: target words down, source words across. " +
      "Arrow keys read single weights.",
  });
  if (Math.max(map.source.length, map.target.length) > 24) table.classList.add("dense");
  const wide = map.source.some(word => [...word].length > 2);
  const heads = map.source.map(text => {
    const head = element("th", { scope: "col", class: wide ? "tall" : "" },
      element("span", { text, dir: "auto" }));
    columns.push(head);
    return head;
  });
  table.append(element("thead", {}, element("tr", {}, element("td"), ...heads)));
  const body = element("tbody");
  map.target.forEach((text, t) => {
    const head = element("th", { scope: "row" }, element("span", { text, dir: "auto" }));
    rows.push(head);
    cells.push(map.source.map((_, s) => {
      const cell = element("td", { "data-t": t, "data-s": s });
      const share = (weights[t][s] - map.low) / (map.high - map.low);
      cell.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
      return cell;
    }));
    body.append(element("tr", {}, head, ...cells[t]));
  });
  table.append(body);

  let at = null;
  const mark = on => {
    if (!at) return;
    const [t, s] = at;
    rows[t].classList.toggle("on", on);
    columns[s].classList.toggle("on", on);
    cells[t].forEach(cell => cell.classList.toggle("line", on));
    cells.forEach(row => row[s].classList.toggle("line", on));
    cells[t][s].classList.toggle("here", on);
  };
  const show = (t, s) => {
    mark(false);
    at = [t, s];
    mark(true);
    readout.replaceChildren(
      element("bdi", { class: "word", text: map.target[t] }), " looked at ",
      element("bdi", { class: "word", text: map.source[s] }), " with ",
      element("b", { text: weights[t][s].toFixed(2) }));
  };
  const clear = () => {
    mark(false);
    at = null;
    const empty = weights.every(row => row.every(weight => weight === 0));
    readout.textContent = empty
      ? "All weights are 0: this sentence looked nowhere."
      : "Point at a cell, or use the arrow keys, to read its weight.";
  };
  const point = event => {
    const cell = event.target.closest("td[data-t]");
    if (cell) show(Number(cell.dataset.t), Number(cell.dataset.s));
  };
  table.addEventListener("pointerover", point);
  table.addEventListener("click", point);
  table.addEventListener("pointerleave", clear);
  table.addEventListener("keydown", event => {
    const move = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[event.key];
    if (!move) return;
    event.preventDefault();
    const [t, s] = at ? [at[0] + move[0], at[1] + move[1]] : [0, 0];
    show(Math.min(Math.max(t, 0), rows.length - 1), Math.min(Math.max(s, 0), columns.length - 1));
    cells[at[0]][at[1]].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  clear();
  const scale = element("p", { class: "scale" },
    element("span", { text: short(map.low) }), element("i", { "aria-hidden": "true" }),
    element("span", { text: short(map.high) }), element("span", { class: "muted", text: "weight" }));
  return element("div", { class: "attention" }, readout,
    element("div", { class: "scroll" }, table), scale);
}
