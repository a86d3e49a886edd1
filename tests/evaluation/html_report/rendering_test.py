import base64
import hashlib
import html.parser
import io
import json
import math
import re
import sys

import pytest
from fontTools import ttLib

from attention_jax.evaluation.html_report import render
from attention_jax.evaluation.html_report.rendering import to_json
from tests.evaluation.html_report.made_report import (
    HOSTILE,
    hostile_report,
    report,
    sentence,
)


class Elements(html.parser.HTMLParser):
    """The elements of a page and the text of each script and style."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts, self.attributes = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1] in ("script", "style"):
            self.texts.append((self.found[-1], data))


def test_text_never_becomes_an_element():
    assert Elements(render(hostile_report())).found == Elements(render(report())).found


def test_the_data_comes_back_as_they_were():
    data = hostile_report()
    page = render(data)
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1)
    assert json.loads(found) == json.loads(json.dumps(data.to_dict()))
    assert not re.search("[<>&\u2028\u2029]", found)


def test_half_a_surrogate_pair_can_be_written():
    text = to_json(["\ud800", *HOSTILE])
    assert json.loads(text.encode("utf-8")) == ["\ud800", *HOSTILE]


def test_the_policy_names_the_script_and_the_style_that_are_there():
    parsed = Elements(render(report()))
    policy = next(a["content"] for tag, a in parsed.attributes if "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    script = next(text for _, text in parsed.texts if '"use strict"' in text)
    style = next(text for tag, text in parsed.texts if tag == "style")
    for text, rule in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'", rule


def test_the_page_names_no_address():
    page = render(report())
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"']*", page))
    # The name of SVG's vocabulary, which is not fetched.
    assert {a for a in addresses if a.startswith("http")} == {
        "http://www.w3.org/2000/svg"
    }


def font_of(page):
    found = re.search(r'url\("data:font/woff;base64,([^"]+)"', page)
    return ttLib.TTFont(io.BytesIO(base64.b64decode(found[1]))) if found else None


def test_the_page_brings_a_font_for_its_chinese_and_no_more():
    with font_of(render(report())) as font:
        assert {"我", "们", "去"} <= {chr(code) for code in font.getBestCmap()}
        assert len(font.getBestCmap()) < 20
    latin = report(sentences=[sentence(1, source="we", map=None)], length_unit="words")
    assert font_of(render(latin)) is None


def test_without_the_font_package_the_readers_own_fonts_are_left(monkeypatch):
    monkeypatch.setitem(sys.modules, "pylopdf_fonts_zh_cn", None)
    page = render(report())
    assert font_of(page) is None and "我们 1" in page


def test_a_number_that_json_does_not_have():
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json([math.nan])
