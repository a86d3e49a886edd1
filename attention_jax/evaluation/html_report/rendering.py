"""A report's data as one HTML page that can run no script and load nothing but its own.

Text from data is in the page once, as JSON in which no character is left that markup is
made of; the page's script writes it by `textContent`. Should any of it become markup even
so, the Content-Security-Policy lets only the script and the style with these hashes run.
"""

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any

from attention_jax.evaluation.fonts import web_font
from attention_jax.evaluation.html_report.report_data import ReportData

_SCRIPTS = (
    "elements.js",
    "curves.js",
    "lengths.js",
    "maps.js",
    "sentences.js",
    "page.js",
)
_ASSETS = resources.files("attention_jax.evaluation.html_report") / "assets"
# What ends a script element or begins a comment; line ends of JavaScript that are none of
# JSON; halves of surrogate pairs, which UTF-8 cannot spell.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render(data: ReportData) -> str:
    """The page, in full: no other file, no font and no network is needed to read it."""
    data_text = to_json(data.to_dict())
    style = _asset("page.css") + _font_face(data_text)
    script = "\n".join(map(_asset, _SCRIPTS))
    policy = (
        "default-src 'none'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_source(script)}; style-src {_source(style)}"
    )
    parts = {
        "policy": policy,
        "style": style,
        "data": data_text,
        "script": script,
    }
    # One pass: a placeholder's look-alike in the data stays what it is.
    return re.sub(
        r"\{\{(\w+)\}\}", lambda found: parts[found.group(1)], _asset("page.html")
    )


def to_json(value: Any) -> str:
    """JSON without any character that could end or open an HTML element.

    Raises:
      ValueError: a number that JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _font_face(text: str) -> str:
    """The style that brings the font for the East Asian characters of `text`."""
    font = base64.b64encode(web_font(text)).decode("ascii")
    source = f'url("data:font/woff;base64,{font}") format("woff")'
    return f'@font-face {{ font-family: "Report"; src: {source}; }}\n' if font else ""


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text("utf-8")


def _source(text: str) -> str:
    """The policy's name for exactly this text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
