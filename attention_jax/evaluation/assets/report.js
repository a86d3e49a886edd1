"use strict";
// The sentences and their attention, from the JSON in the page. Text goes in by textContent
// alone: nothing here reads markup.

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

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
      element("bdi", { class: "word", text: map.target[t] }), " attends to ",
      element("bdi", { class: "word", text: map.source[s] }), " with ",
      element("b", { text: weights[t][s].toFixed(2) }));
  };
  const clear = () => {
    mark(false);
    at = null;
    const empty = weights.every(row => row.every(weight => weight === 0));
    readout.textContent = empty
      ? "All weights are 0: this sentence attends to nothing."
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
    element("span", { text: map.low.toPrecision(3) }), element("i", { "aria-hidden": "true" }),
    element("span", { text: map.high.toPrecision(3) }), element("span", { class: "muted", text: "weight" }));
  return element("div", { class: "attention" }, readout,
    element("div", { class: "scroll" }, table), scale);
}
// The list of sentences, its order and its filter, and the sentence that is chosen.

// What a sentence can be ordered by, which then stands beside it.
const CHRF = { name: "chrF", of: s => s.chrf, digits: 0 };
const LENGTH = { name: "source tokens", of: s => s.length, digits: 0 };
const CONFIDENCE = { name: "confidence", of: s => s.confidence, digits: 2 };
const ENTROPY = { name: "entropy, nats", of: s => s.entropy, digits: 2 };
const NUMBER = { name: "number", of: s => s.number, digits: 0 };
const ORDERS = [
  ["worst chrF first", CHRF, 1],
  ["best chrF first", CHRF, -1],
  ["longest first", LENGTH, -1],
  ["shortest first", LENGTH, 1],
  ["most confident first", CONFIDENCE, -1],
  ["least confident first", CONFIDENCE, 1],
  ["sharpest attention first", ENTROPY, 1],
  ["most spread attention first", ENTROPY, -1],
  ["as in the data", NUMBER, 1],
];

function drawSentences(sentences, hasAttention) {
  const orders = ORDERS.filter(([name]) => hasAttention || !name.includes("attention"));
  const order = element("select", { id: "order" },
    ...orders.map(([text], i) => element("option", { text, value: i })));
  const filter = element("input", {
    id: "filter", type: "search", placeholder: "any text", autocomplete: "off", spellcheck: "false",
  });
  const count = element("p", { class: "muted count", "aria-live": "polite" });
  const list = element("ul", { role: "listbox", tabindex: "0", "aria-label": "Sentences", id: "list" });
  const detail = element("article", { class: "detail", id: "detail", "aria-live": "off" });
  const items = new Map(sentences.map(sentence => [sentence, listItem(sentence)]));
  const texts = new Map(sentences.map(s =>
    [s, `${s.source}\n${s.translation}\n${s.reference}`.toLowerCase()]));
  let shown = [], chosen = null;

  const choose = (sentence, scroll) => {
    if (chosen) items.get(chosen).setAttribute("aria-selected", "false");
    chosen = sentence;
    if (!chosen) {
      list.removeAttribute("aria-activedescendant");
      detail.replaceChildren(element("p", { class: "muted", text: "No sentence has this text." }));
      return;
    }
    const item = items.get(chosen);
    item.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", item.id);
    if (scroll) {
      const above = item.offsetTop, below = above + item.offsetHeight;
      if (above < list.scrollTop) list.scrollTop = above;
      else if (below > list.scrollTop + list.clientHeight) list.scrollTop = below - list.clientHeight;
    }
    detail.replaceChildren(...sentenceDetail(chosen));
  };
  const update = () => {
    const wanted = filter.value.trim().toLowerCase();
    const [, figure, sign] = orders[Number(order.value)];
    // Sentences without the figure come last, whatever the direction.
    const rank = s => figure.of(s) === null ? Infinity : sign * figure.of(s);
    shown = sentences.filter(s => texts.get(s).includes(wanted))
      .sort((a, b) => (rank(a) > rank(b)) - (rank(a) < rank(b)) || a.number - b.number);
    for (const sentence of shown) {
      const value = figure.of(sentence);
      items.get(sentence).lastChild.textContent = value === null ? "–" : value.toFixed(figure.digits);
    }
    list.replaceChildren(...shown.map(s => items.get(s)));
    const all = sentences.length.toLocaleString("en");
    const found = shown.length === sentences.length ? all : `${shown.length.toLocaleString("en")} of ${all}`;
    count.textContent = `${found} sentences; beside each: ${figure.name}`;
    list.scrollTop = 0;
    choose(shown[0] || null, false);
  };
  list.addEventListener("click", event => {
    const item = event.target.closest("[role=option]");
    if (item) choose(sentences[Number(item.dataset.number) - 1], false);
  });
  list.addEventListener("keydown", event => {
    const move = { ArrowUp: -1, ArrowDown: 1, PageUp: -8, PageDown: 8,
      Home: -Infinity, End: Infinity }[event.key];
    if (!move || !shown.length) return;
    event.preventDefault();
    const next = Math.min(Math.max(shown.indexOf(chosen) + move, 0), shown.length - 1);
    choose(shown[next], true);
  });
  order.addEventListener("change", update);
  filter.addEventListener("input", update);
  update();
  const controls = element("div", { class: "controls" },
    element("span", {}, element("label", { text: "Order", for: "order" }), order),
    element("span", {}, element("label", { text: "Filter", for: "filter" }), filter), count);
  return [controls, element("div", { class: "browser" }, list, detail)];
}

function listItem(sentence) {
  const text = [...sentence.source].slice(0, 120).join("");
  return element("li", {
    role: "option", "aria-selected": "false", id: `sentence-${sentence.number}`,
    "data-number": sentence.number,
  }, element("bdi", { text }), element("span", { class: "number muted" }));
}

function sentenceDetail(sentence) {
  const line = (name, text) => [element("dt", { text: name }),
    element("dd", { dir: "auto", text: text || "(nothing)", class: text ? "" : "muted" })];
  const figures = [
    `chrF ${sentence.chrf.toFixed(1)}`, `${sentence.length} source tokens`,
    `confidence ${sentence.confidence.toFixed(2)}`,
  ];
  if (sentence.entropy !== null) figures.push(`entropy ${sentence.entropy.toFixed(2)} nats`);
  return [
    element("h3", { class: "muted", text: `Sentence ${sentence.number.toLocaleString("en")}` }),
    element("dl", { class: "texts" }, ...line("source", sentence.source),
      ...line("translation", sentence.translation), ...line("reference", sentence.reference)),
    element("p", { class: "figures muted", text: figures.join("  ·  ") }),
    sentence.map ? drawMap(sentence.map)
      : element("p", { class: "muted no-map", text: "No attention map for this sentence." }),
  ];
}

// A browser keeps what it has shaped before a font was there: sentences wait for their own.
function draw() {
  const sentences = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("sentences");
  place.append(...drawSentences(sentences, sentences.some(s => s.entropy !== null)));
}
document.fonts.load("1rem Report").then(draw, draw);
// Paper shows what a screen folds away.
addEventListener("beforeprint", () =>
  document.querySelectorAll("details").forEach(one => { one.open = true; }));
