// Learning curves: one small chart each, read off with the pointer or the arrow keys.

const CHART = { width: 340, height: 190, left: 42, right: 18, top: 12, bottom: 26 };

function drawCurve(curve) {
  const known = curve.x.map((x, i) => [x, curve.y[i]]).filter(p => p[1] !== null);
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const figure = element("figure", { class: "chart" },
    element("figcaption", {}, element("b", { text: curve.title }), readout));
  if (!known.length) {
    readout.textContent = "no finite value";
    return figure;
  }
  const { width, height, left, right, top, bottom } = CHART;
  const values = known.map(p => p[1]);
  const isShare = curve.title.includes("BLEU");
  const highX = Math.max(...curve.x) || 1;
  let low = isShare ? 0 : Math.min(...values), high = Math.max(...values);
  if (high - low < 1e-9) high = low + 1;
  const room = (high - low) * 0.06;
  low -= isShare ? 0 : room;
  high += room;
  const px = x => left + (width - left - right) * x / highX;
  const py = y => height - bottom - (height - top - bottom) * (y - low) / (high - low);
  const picture = drawing("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0",
    "aria-label": `${curve.title}: ${short(values[0])} first, ` +
      `${short(values[values.length - 1])} last, over ${short(highX)} steps`,
  });
  for (const tick of ticks(low, high, 4)) {
    picture.append(
      drawing("line", { x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: "grid" }),
      drawing("text", { x: left - 7, y: py(tick) + 3.5, class: "tick end" }, short(tick)));
  }
  for (const tick of ticks(0, highX, 4))
    picture.append(drawing("text", { x: px(tick), y: height - 8, class: "tick middle" }, short(tick)));
  const path = known.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`);
  const line = drawing("path", { d: path.join(""), class: "curve" });
  const rule = drawing("line", { y1: top, y2: height - bottom, class: "rule" });
  const dot = drawing("circle", { r: 3.6, class: "dot" });
  picture.append(line, rule, dot);
  let at = known.length - 1;
  const show = index => {
    at = Math.min(Math.max(index, 0), known.length - 1);
    const [x, y] = known[at];
    rule.setAttribute("x1", px(x));
    rule.setAttribute("x2", px(x));
    dot.setAttribute("cx", px(x));
    dot.setAttribute("cy", py(y));
    readout.textContent = `${y.toFixed(isShare ? 2 : 3)} at step ${x.toLocaleString("en")}`;
  };
  picture.addEventListener("pointermove", event => {
    const box = picture.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width;
    let best = 0;
    known.forEach((p, i) => {
      if (Math.abs(px(p[0]) - x) < Math.abs(px(known[best][0]) - x)) best = i;
    });
    show(best);
  });
  picture.addEventListener("pointerleave", () => show(known.length - 1));
  picture.addEventListener("keydown", event => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) {
      event.preventDefault();
      show(at + move);
    }
  });
  show(at);
  figure.append(picture);
  return figure;
}
