// The page, section by section, from the data that stands in it.

function page(data) {
  const place = id => document.getElementById(id);
  const missing = text => element("p", { class: "muted", text });
  document.title = `${data.name}: run report`;
  place("name").textContent = data.name;
  for (const [name, value] of data.facts)
    place("facts").append(element("div", {}, element("dt", { text: name }), element("dd", { text: value })));
  place("notes").append(...data.notes.map(text => element("li", { text })));
  for (const score of data.scores.slice(0, 4))
    place("headline").append(element("div", {},
      element("b", { text: score.value }), element("span", { class: "muted", text: score.name })));
  if (data.scores.length)
    fillTable(place("scores"), ["measure", "score", "how it was measured"],
      data.scores.map(s => [s.name, s.value, s.signature]), ["", "number", "code"]);
  else place("headline").replaceWith(missing("Nothing was measured."));

  place("maps-note").textContent = data.maps_note;
  if (data.sentences.length)
    place("sentences").append(...drawSentences(data.sentences,
      data.sentences.some(s => s.entropy !== null)));
  else place("sentences").append(missing("No sentence was translated."));

  if (data.curves.length) place("curves").append(...data.curves.map(drawCurve));
  else place("curves").append(missing("The run's directory has no metrics."));
  if (data.lengths.length) place("lengths").append(drawLengths(data.lengths, data.length_unit));
  else place("lengths").append(missing("There is nothing to measure by length."));
  if (data.statistics.length)
    fillTable(place("statistics"), ["statistic", "mean", "what it is"],
      data.statistics.map(s => [s.name, formatted(s.value, 3), s.meaning]), ["", "number", ""]);
  else place("statistics").replaceWith(missing("There is no attention to measure."));
  fillTable(place("environment"), [], data.environment, ["", "code"]);
  fillTable(place("config"), [], data.config, ["", "code"]);
  place("config-summary").textContent = `${data.config.length} fields`;
  // Paper shows what a screen folds away.
  addEventListener("beforeprint", () =>
    document.querySelectorAll("details").forEach(one => { one.open = true; }));
}

// A browser keeps what it has shaped before a font was there: the page is drawn with its own.
const draw = () => page(JSON.parse(document.getElementById("data").textContent));
document.fonts.load("1rem Report").then(draw, draw);
