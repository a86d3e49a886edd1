"use strict";
// Making elements. Text goes in by textContent alone: nothing here reads markup.

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// A table of rows of text; what stands in the first column is a row's heading.
function fillTable(table, head, rows, classes = []) {
  if (head.length) {
    const cells = head.map((text, i) =>
      element("th", { text, scope: "col", class: classes[i] || "" }));
    table.append(element("thead", {}, element("tr", {}, ...cells)));
  }
  table.append(element("tbody", {}, ...rows.map(row =>
    element("tr", {}, ...row.map((text, i) => i
      ? element("td", { text, class: classes[i] || "" })
      : element("th", { text, scope: "row" }))))));
}

function formatted(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

// Round steps of an axis: 1, 2 or 5 times a power of ten, about `number` of them.
function ticks(low, high, number) {
  const rough = (high - low) / number || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

function short(value) {
  if (Math.abs(value) >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(3)));
}
