"""The report: what it shows, that text stays text, and how a real browser draws it."""

import base64
import html.parser
import io
import json
import math
import os
import re
import shutil

import numpy as np
import pytest
from fontTools import ttLib

from attention_jax.decoding.translate import NOTHING
from attention_jax.evaluation import fonts, html_report
from attention_jax.evaluation.compare import summarize
from attention_jax.evaluation.evaluate import evaluate, load_split, provenance
from attention_jax.evaluation.html_report import collect, encode_weights, render
from attention_jax.run import load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run

# Whatever a sentence holds must be read as text.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '<img src="x" onerror="window.hacked = 3">',
    "<!-- <script> \" ' ` & &lt; \\u003c {{ script }} {% raw %} \u2028 \u2029",
    "javascript:window.hacked=4",
    "\u202emirrored \u202e עברית العربية",
    "👩‍👩‍👧‍👦🇨🇳 𠮷",
    "w" * 10_000,
    "一" * 10_000,
)
WEIGHTS = np.array([[0.8, 0.15, 0.05], [0.0, 0.25, 0.75]], np.float32)
FIGURE = f"data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}"


def attention_map(weights, source, target):
    return encode_weights(
        NOTHING._replace(weights=weights, source_tokens=source, target_tokens=target)
    )


def sentence(number, **fields):
    return {
        "number": number,
        "source": f"我们 {number}",
        "reference": "we go",
        "translation": "we go",
        "chrf": 10.0 * number,
        "length": 3,
        "confidence": 0.5,
        "entropy": 0.3,
        "map": attention_map(WEIGHTS, ("我", "们", "去"), ("we", "go")),
        **fields,
    }


def report(**fields):
    """A report's contents, with three sentences; `fields` replace those of the contents."""
    return {
        "name": "tatoeba",
        "facts": [("data", "tatoeba, zh → en"), ("split", "test, 3 sentences")],
        "notes": [],
        "scores": [("BLEU", "28.01", "nrefs:1|case:lc|version:2.6.0")],
        "curves": FIGURE,
        "lengths": FIGURE,
        "sentences": [
            sentence(1, chrf=20.0, length=5),
            sentence(2, chrf=90.0, length=3),
            sentence(3, chrf=50.0, length=9, entropy=None, map=None),
        ],
        "maps_note": "",
        "statistics": [("entropy", "0.500", "spread, in nats")],
        "config": [("model.score", "bilinear")],
        "environment": [("commit", "0" * 40)],
        **fields,
    }


def hostile_report():
    """HOSTILE everywhere that a text from data, a config or a path can stand."""
    first = HOSTILE[1] + HOSTILE[2]
    return report(
        name=first,
        facts=[(text, text) for text in HOSTILE],
        notes=list(HOSTILE),
        scores=[(text, text, text) for text in HOSTILE],
        maps_note=first,
        sentences=[
            sentence(
                i,
                source=text,
                reference=text,
                translation=text,
                map=attention_map(WEIGHTS, (text, "b", first), (text, first)),
            )
            for i, text in enumerate(HOSTILE, 1)
        ],
        statistics=[(text, text, text) for text in HOSTILE],
        config=[(text, text) for text in HOSTILE],
        environment=[(text, text) for text in HOSTILE],
    )


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    directory = RunDirectory(tiny_run(tmp_path_factory))
    run = load_run(directory.path)
    pairs = load_split(directory, "test", max_sentences=12)
    evaluation = evaluate(run, pairs)
    facts = provenance(directory, run, split="test", checkpoint="best")
    summary = summarize(directory.path, name="tiny")
    return collect(run, summary, pairs, evaluation, facts), evaluation, pairs


def test_what_a_report_shows_is_what_was_measured(collected):
    contents, evaluation, pairs = collected
    assert len(contents["sentences"]) == 12
    for shown, found, pair, statistics in zip(
        contents["sentences"],
        evaluation.translations,
        pairs,
        evaluation.statistics,
        strict=True,
    ):
        assert (shown["source"], shown["reference"]) == (pair.source, pair.target)
        assert shown["translation"] == found.text
        assert shown["length"] == len(found.source_tokens)
        assert shown["entropy"] == statistics.entropy
        # The geometric mean over the words and the end.
        mean = math.exp(found.log_prob / (len(found.target_tokens) + 1))
        assert shown["confidence"] == pytest.approx(mean, abs=1e-4)
    assert contents["scores"][0][1] == f"{evaluation.metrics[0].score:.2f}"
    entropy = evaluation.attention.entropy
    assert contents["statistics"][0][1] == f"{entropy:.2f}"
    assert "</svg>" in base64.b64decode(contents["curves"].split(",")[1]).decode()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (-0.5, 0.5), (0, 3)])
def test_a_byte_is_a_weight_to_half_a_step(low, high):
    weights = np.random.default_rng(0).uniform(low, high, (5, 7))
    found = attention_map(weights, "abcdefg", "vwxyz")
    assert found["low"] <= 0 and found["high"] >= 1
    step = (found["high"] - found["low"]) / 255
    cells = np.frombuffer(base64.b64decode(found["weights"]), np.uint8)
    decoded = found["low"] + step * cells.reshape(5, 7)
    np.testing.assert_allclose(decoded, weights, atol=step / 2 + 1e-9)


def test_maps_are_embedded_in_order_while_there_is_room(tmp_path_factory, monkeypatch):
    directory = RunDirectory(tiny_run(tmp_path_factory))
    run = load_run(directory.path)
    pairs = load_split(directory, "test", max_sentences=6)
    evaluation = evaluate(run, pairs)
    sizes = [found.weights.size for found in evaluation.translations]
    monkeypatch.setattr(html_report, "MOST_CELLS", sum(sizes[:3]))
    maps = [s["map"] for s in html_report._sentences(run, pairs, evaluation)]
    assert all(one is not None for one in maps[:3])
    assert all(one is None for one in maps[3:])
    monkeypatch.setattr(html_report, "MOST_CELLS_OF_ONE", min(sizes) - 1)
    sentences = list(html_report._sentences(run, pairs, evaluation))
    assert all(one["map"] is None for one in sentences)
    note = html_report._maps_note(run, sentences, evaluation)
    assert note.startswith("6 of 6 attention maps were left out")


class Elements(html.parser.HTMLParser):
    """The names of a page's elements."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


def test_text_never_becomes_an_element():
    hostile = Elements(render(hostile_report()))
    page = render(report(notes=["a note"]))
    plain = Elements(page)
    assert not re.findall(r"https?://", page)
    assert set(hostile.found) == set(plain.found)
    assert hostile.found.count("script") == plain.found.count("script") == 2


def test_the_sentences_come_back_as_they_were():
    contents = hostile_report()
    found = re.search(r'id="data">(.*?)</script>', render(contents), re.DOTALL)
    assert json.loads(found.group(1)) == contents["sentences"]
    assert not re.search("[<>&]", found.group(1))
    # Half of a surrogate pair, which a file's name may have, can be written.
    render(report(name="\ud800")).encode("utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        render(report(sentences=[sentence(1, chrf=math.nan)]))


def font_of(page):
    found = re.search(r'url\("data:font/woff;base64,([^"]+)"', page)
    return ttLib.TTFont(io.BytesIO(base64.b64decode(found[1]))) if found else None


def test_the_page_brings_a_font_for_its_chinese_and_no_more():
    with font_of(render(report())) as font:
        assert {"我", "们"} <= {chr(code) for code in font.getBestCmap()}
        assert len(font.getBestCmap()) < 20
    latin = report(sentences=[sentence(1, source="we", map=None)])
    assert font_of(render(latin)) is None
    # Letters that it lacks are named.
    assert fonts.web_font("안녕 我🙂").missing == ("녕", "안")


PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}

# The lowest WCAG contrast of any text against what it stands on.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = colour => colour.slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = [Infinity, ""], seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !node.checkVisibility() || node.closest("script, noscript")) continue;
    seen += 1;
    const style = getComputedStyle(node);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    const found = ratio(rgba(colour), ground(node));
    if (found < worst[0]) worst = [found, text];
  }
  const cells = [...document.querySelectorAll(".map tbody td")]
    .map(cell => rgba(getComputedStyle(cell).backgroundColor));
  let span = 0;
  for (const one of cells) for (const other of cells) span = Math.max(span, ratio(one, other));
  return [...worst, seen, span];
}"""


browser_test = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if path is None or sync_playwright is None:
        reason = "needs chromium and the package playwright"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        arguments = ["--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report; afterwards asserts that it complained of nothing, asked for nothing."""
    contexts, problems, requests = [], [], []

    def open_report(data, *, viewport=DESKTOP, scheme="light"):
        file = tmp_path / f"report{len(contexts)}.html"
        file.write_text(render(data), "utf-8")
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(5_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("#sentences .browser, #sentences .controls")
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert problems == []
    asked = [url for url in requests if not url.startswith("data:")]
    assert asked == [
        (tmp_path / f"report{i}.html").as_uri() for i in range(len(contexts))
    ]


def fits(page) -> bool:
    return page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def order_of(page) -> list[str]:
    return page.locator("#list [role=option] bdi").all_text_contents()


@browser_test
def test_pointing_at_a_cell_reads_its_weight(opened):
    page = opened(report())
    page.select_option("#order", label="best chrF first")
    shares = page.locator(".map tbody td").evaluate_all(
        "cells => cells.map(cell => parseFloat(cell.style.getPropertyValue('--share')))"
    )
    np.testing.assert_allclose(shares, [80, 14.9, 5.1, 0, 25.1, 74.9], atol=0.06)
    page.locator(".map td[data-t='1'][data-s='2']").hover()
    assert page.locator(".map-readout").text_content() == "go attends to 去 with 0.75"
    assert page.locator(".map th.on").all_text_contents() == ["去", "go"]
    page.locator(".map td[data-t='0'][data-s='0']").hover()
    assert page.locator(".map-readout b").text_content() == "0.80"
    assert page.locator(".map td.line").count() == 4
    page.mouse.move(1, 1)
    assert page.locator(".map .on, .map .line, .map .here").count() == 0


@browser_test
def test_the_list_is_sorted_and_filtered(opened):
    page = opened(report())
    assert order_of(page) == ["我们 1", "我们 3", "我们 2"]
    for label, expected, beside in (
        ("best chrF first", "231", "chrF"),
        ("longest first", "312", "source tokens"),
        ("sharpest attention first", "123", "entropy, nats"),
        ("as in the data", "123", "number"),
    ):
        page.select_option("#order", label=label)
        assert order_of(page) == [f"我们 {number}" for number in expected], label
        assert page.locator(".count").text_content() == (
            f"3 sentences; beside each: {beside}"
        )
    assert page.locator("#list .number").all_text_contents() == ["1", "2", "3"]
    page.fill("#filter", " 我们 2")
    assert order_of(page) == ["我们 2"]
    assert (
        page.locator(".count").text_content() == "1 of 3 sentences; beside each: number"
    )
    page.fill("#filter", "nothing like it")
    assert "No sentence has this text" in page.locator("#detail").text_content()


@browser_test
def test_the_keyboard_reaches_sentences_and_weights(opened):
    page = opened(report())
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#list [aria-selected=true]")
    assert chosen.locator("bdi").text_content() == "我们 3"
    assert page.locator("#list").get_attribute(
        "aria-activedescendant"
    ) == chosen.get_attribute("id")
    assert page.locator(".no-map").is_visible()
    page.keyboard.press("End")
    page.locator(".map").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".map-readout").text_content() == "go attends to 去 with 0.75"


@browser_test
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@browser_test
def test_hostile_text_is_text(opened, viewport):
    page = opened(hostile_report(), viewport=viewport)
    assert fits(page)
    for number, text in enumerate(HOSTILE, 1):
        page.evaluate("id => document.getElementById(id).click()", f"sentence-{number}")
        assert page.locator("#detail dd").all_text_contents() == [text] * 3
        page.locator(".map td[data-t='0'][data-s='0']").hover()
        assert text in page.locator(".map-readout").text_content()
        assert fits(page), text[:40]
    assert page.locator("h1").text_content() == HOSTILE[1] + HOSTILE[2]
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.images.length") == 2
    assert page.evaluate("document.scripts.length") == 2


@browser_test
def test_markup_that_got_in_could_not_run_or_load(opened, browser, tmp_path):
    """The policy by itself, were a text ever taken for markup."""
    injected = (
        "<script>window.hacked = 1</script><img src='http://127.0.0.1:9/x' "
        "onerror='window.hacked = 2'><style>body { display: none }</style>"
    )
    file = tmp_path / "injected.html"
    file.write_text(render(report()).replace("<main>", f"<main>{injected}"), "utf-8")
    context = browser.new_context()
    page, requests = context.new_page(), []
    page.on("requestfinished", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").is_visible()
    assert [url for url in requests if url.startswith("http")] == []
    context.close()


def fonts_of(page, selector):
    """For each such element, the fonts that its text is drawn with."""
    protocol, found = page.context.new_cdp_session(page), []
    protocol.send("DOM.enable")
    protocol.send("CSS.enable")
    root = protocol.send("DOM.getDocument", {"depth": -1})["root"]["nodeId"]
    query = {"nodeId": root, "selector": selector}
    for node in protocol.send("DOM.querySelectorAll", query)["nodeIds"]:
        used = protocol.send("CSS.getPlatformFontsForNode", {"nodeId": node})
        found.append({font["familyName"] for font in used["fonts"]})
    return found


@browser_test
def test_the_text_drawn_first_has_its_font_too(opened):
    texts = ["白蚁吃木头。", "起床！", "他是谁？"]
    data = report(sentences=[sentence(i, source=t) for i, t in enumerate(texts)])
    page = opened(data)
    page.wait_for_function("document.fonts.status === 'loaded'")
    first, *others = fonts_of(page, "#list li bdi")
    assert len(others) == 2 and first == others[0] == others[1]
    heads = fonts_of(page, ".map thead th")
    assert len(heads) > 1 and all(head == first for head in heads if head)


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
@browser_test
def test_everything_can_be_read(opened, scheme):
    page = opened(report(), scheme=scheme)
    page.locator("summary").click()
    page.locator(".map td[data-t='1'][data-s='2']").hover()
    worst, text, seen, span = page.evaluate(CONTRAST)
    assert seen > 60
    assert worst >= 4.5, text
    assert span >= 4.5, "the strongest and the weakest cell"


@browser_test
def test_nothing_is_wider_than_a_phone(opened):
    long = tuple("abcdefghijkl" for _ in range(60))
    weights = np.full((60, 60), 1 / 60, np.float32)
    wide = sentence(1, map=attention_map(weights, long, long))
    for width in (360, 390):
        page = opened(report(sentences=[wide]), viewport={**PHONE, "width": width})
        page.locator("summary").click()
        assert fits(page)
        assert page.locator(".map").is_visible()


@browser_test
def test_what_is_missing_is_noted(opened):
    nothing = report(curves="", sentences=[], statistics=[], maps_note="No attention.")
    text = opened(nothing).locator("main").inner_text()
    for note in (
        "No attention.",
        "The run's directory has no metrics.",
        "There is no attention to measure.",
        "0 sentences",
    ):
        assert note in text
    nowhere = sentence(1, map=attention_map(np.zeros((2, 2)), ("a", "b"), ("c", "d")))
    page = opened(report(sentences=[nowhere]))
    assert "All weights are 0" in page.locator(".map-readout").text_content()
