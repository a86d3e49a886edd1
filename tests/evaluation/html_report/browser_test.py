"""The report in a real browser: what is shown, and that nothing else happens."""

import os
import shutil

import numpy as np
import pytest

from attention_jax.evaluation.html_report import render
from attention_jax.evaluation.html_report.attention_maps import attention_map
from tests.evaluation.html_report.made_report import (
    EMPTY,
    HOSTILE,
    hostile_report,
    report,
    sentence,
)

pytestmark = pytest.mark.browser

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
        page.wait_for_function("document.getElementById('config-summary').textContent")
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


def test_pointing_at_a_cell_reads_its_weight(opened):
    page = opened(report())
    page.select_option("#order", label="best chrF first")
    page.locator(".map td[data-t='1'][data-s='2']").hover()
    assert page.locator(".map-readout").text_content() == "go looked at 去 with 0.75"
    assert page.locator(".map th.on").all_text_contents() == ["去", "go"]
    page.locator(".map td[data-t='0'][data-s='0']").hover()
    assert page.locator(".map-readout b").text_content() == "0.80"
    assert page.locator(".map td.line").count() == 4
    page.mouse.move(1, 1)
    assert page.locator(".map .on, .map .line, .map .here").count() == 0


def test_brighter_weights_are_nearer_to_the_strong_colour(opened):
    page = opened(report())
    shares = page.locator(".map tbody td").evaluate_all(
        "cells => cells.map(cell => parseFloat(cell.style.getPropertyValue('--share')))"
    )
    expected = [80.0, 14.9, 5.1, 0.0, 25.1, 74.9]
    np.testing.assert_allclose(shares, expected, atol=0.06)


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
    assert page.locator(".map-readout").text_content() == "go looked at 去 with 0.75"
    page.locator(".chart svg").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".readout").first.text_content() == "4.000 at step 1"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
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
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.scripts.length") == 2


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


def test_the_policy_lets_the_pages_own_font_in(opened):
    faces = opened(report()).evaluate(
        "document.fonts.load('16px Report', '我').then(faces => faces.map(f => f.status))"
    )
    assert faces == ["loaded"]


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


def test_the_text_drawn_first_has_its_font_too(opened):
    texts = ["白蚁吃木头。", "起床！", "他是谁？"]
    data = report(sentences=[sentence(i, source=t) for i, t in enumerate(texts)])
    page = opened(data)
    page.wait_for_function("document.fonts.status === 'loaded'")
    first, *others = fonts_of(page, "#list li bdi")
    assert len(others) == 2 and first == others[0] == others[1]
    heads = fonts_of(page, ".map thead th")
    assert len(heads) > 1 and all(head == first for head in heads if head)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(opened, scheme):
    page = opened(report(), scheme=scheme)
    page.locator("summary").click()
    page.locator(".map td[data-t='1'][data-s='2']").hover()
    worst, text, seen, span = page.evaluate(CONTRAST)
    assert seen > 60
    assert worst >= 4.5, text
    assert span >= 4.5, "the strongest and the weakest cell"


def test_nothing_is_wider_than_a_phone(opened):
    long = tuple("abcdefghijkl" for _ in range(60))
    weights = np.full((60, 60), 1 / 60, np.float32)
    wide = sentence(1, map=attention_map(weights, long, long))
    for width in (360, 390):
        page = opened(report(sentences=[wide]), viewport={**PHONE, "width": width})
        page.locator("summary").click()
        assert fits(page)
        assert page.locator(".map").is_visible()


def test_what_is_missing_is_said(opened):
    page = opened(EMPTY)
    text = page.locator("main").inner_text()
    for sentence_ in (
        "Nothing was measured.",
        "No sentence was translated.",
        "The run's directory has no metrics.",
        "There is nothing to measure by length.",
        "There is no attention to measure.",
    ):
        assert sentence_ in text
    nowhere = sentence(1, map=attention_map(np.zeros((2, 2)), ("a", "b"), ("c", "d")))
    page = opened(report(sentences=[nowhere]))
    assert "All weights are 0" in page.locator(".map-readout").text_content()
