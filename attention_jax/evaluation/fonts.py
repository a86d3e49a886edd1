"""Fonts: which installed ones draw a text, and which characters none draws.

Matplotlib draws an empty box, and warns, for a character that its fonts lack.
"""

import base64
import functools
import io
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import pylopdf_fonts_zh_cn

_BUNDLED = str(pylopdf_fonts_zh_cn.sans_path())
# Where Chinese, Japanese and Korean begin; a browser has fonts for what is before.
_EAST_ASIAN = "\u2e80"
# Fonts whose tables claim characters that they do not draw as text: boxes, mathematical
# pieces under borrowed code points, and bitmaps that Matplotlib cannot scale.
_UNFIT = re.compile(r"Last Resort|cm[a-z]+\d+$|STIX(NonUnicode|Size)|.*Color ?Emoji")


class Lettering(NamedTuple):
    """How to draw some texts: `families` in order of preference; `missing` in none."""

    families: tuple[str, ...]
    missing: frozenset[str]

    def spell(self, text: str) -> str:
        """`text` with every missing character as its code point: 🙂 -> [U+1F642].

        A text of white space alone becomes ␣; other white space becomes plain spaces.
        """
        return "".join(
            f"[U+{ord(char):04X}]" if char in self.missing else char
            for char in _plain(text)
        )

    def note(self) -> str:
        """A line that explains the spelling; empty when every character is covered."""
        named = [
            f"U+{ord(char):04X} ({unicodedata.name(char, 'unnamed')})"
            for char in sorted(self.missing)
        ]
        rest = f" and {len(named) - 3} more" * (len(named) > 3)
        return f"No installed font draws {', '.join(named[:3])}{rest}." * bool(named)

    def rc(self, size: float) -> dict[str, Any]:
        """Matplotlib's settings for texts in these fonts, as `rc_context` takes them."""
        return {
            "font.family": list(self.families),
            "font.size": size,
            "text.parse_math": False,
        }


def lettering(texts: Iterable[str]) -> Lettering:
    """The fonts that draw every character of `texts`, and the characters that none does.

    The fonts that come with the package (Noto Sans SC, then Matplotlib's DejaVu Sans) are
    preferred, so that figures look the same everywhere; the system's are searched only for
    what those lack. Control and format characters count as missing.
    """
    wanted = {char for text in texts for char in _plain(text)}
    missing = {char for char in wanted if not char.isprintable()}
    wanted -= missing
    families = []
    for family in _families():
        # At least one family, also for a text that has no drawable character.
        if families and not wanted:
            break
        covered = wanted & _characters(family)
        if covered or not families:
            families.append(family)
        wanted -= covered
    return Lettering(tuple(families), frozenset(missing | wanted))


def _plain(text: str) -> str:
    """The text with plain spaces for its white space; ␣ where it has nothing else."""
    space = "␣" if text.isspace() else " "
    return "".join(space if char.isspace() else char for char in text)


class WebFont(NamedTuple):
    """A font for a page: `url`, "" if there is none, and the letters that it lacks."""

    url: str
    missing: tuple[str, ...]


def web_font(text: str) -> WebFont:
    """A WOFF font as a data URL that draws the East Asian characters of `text`.

    It is a part of the bundled font, about 170 bytes a character. Whether the letters that
    it lacks, Korean ones for example, are readable depends on the reader's own fonts.
    """
    from fontTools import subset

    wanted = {char for char in text if char >= _EAST_ASIAN}
    if not wanted:
        return WebFont("", ())
    given = {"flavor": "woff", "layout_features": [], "hinting": False, "name_IDs": []}
    options = subset.Options(**given)
    with subset.load_font(_BUNDLED, options) as font:
        known = wanted.intersection(map(chr, font.getBestCmap() or ()))
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=set(map(ord, known)))
        subsetter.subset(font)
        file = io.BytesIO()
        subset.save_font(font, file, options)
    missing = (
        char
        for char in sorted(wanted - known)
        if unicodedata.category(char).startswith("L")
        and unicodedata.east_asian_width(char) in "WFH"
    )
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return WebFont(f"data:font/woff;base64,{encoded}" * bool(known), tuple(missing))


def _families() -> list[str]:
    """Families in order of preference."""
    preferred = [_bundled_family(), "DejaVu Sans"]
    return list(dict.fromkeys([*preferred, *_system_families()]))


def _system_families() -> list[str]:
    from matplotlib import font_manager

    upright = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }
    return sorted(family for family in upright if not _UNFIT.match(family))


@functools.cache
def _bundled_family() -> str:
    """The family of the bundled Chinese font, made known to Matplotlib."""
    from matplotlib import font_manager

    font_manager.fontManager.addfont(_BUNDLED)
    return font_manager.get_font(_BUNDLED).family_name


@functools.cache
def _characters(family: str) -> frozenset[str]:
    """The characters that the font file which Matplotlib takes for `family` draws."""
    from matplotlib import font_manager

    try:
        path = font_manager.findfont(family, fallback_to_default=False)
        font = font_manager.get_font(path)
    except (OSError, ValueError, RuntimeError):
        # A broken font on the machine must not keep the others from being used.
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
