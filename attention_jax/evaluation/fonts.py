"""Which installed fonts draw a text, and what to write where none does.

Matplotlib draws an empty box, and warns, for a character that its font lacks. Here the
characters are looked up in the fonts' own tables first: the caller gets a family list that
covers them, and the spelling of whatever is left over.
"""

import contextlib
import functools
import io
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
        if text.isspace():
            return "".join(self._escape("␣") for _ in text)
        return "".join(
            " " if character.isspace() else self._escape(character)
            for character in text
        )

    def note(self) -> str:
        """A line that explains the spelling; empty when every character is covered."""
        if not self.missing:
            return ""
        named = [
            f"U+{ord(character):04X} ({unicodedata.name(character, 'unnamed')})"
            for character in sorted(self.missing)
        ]
        rest = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return f"No installed font draws {', '.join(named[:3])}{rest}."

    def _escape(self, character: str) -> str:
        return f"[U+{ord(character):04X}]" if character in self.missing else character


def lettering(texts: Iterable[str]) -> Lettering:
    """The fonts that draw every character of `texts`, and the characters that none does.

    The fonts that come with the package (Noto Sans SC, then Matplotlib's DejaVu Sans) are
    preferred, so that figures look the same everywhere; the system's are searched only for
    what those lack. Control and format characters are never drawn: they count as missing.

    Cost: reading the table of each font searched, once per process.
    """
    # What `spell` makes of white space is what must be covered.
    wanted = {
        character if not character.isspace() else "␣" if text.isspace() else " "
        for text in texts
        for character in text
    }
    missing = {character for character in wanted if not character.isprintable()}
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


def web_font(text: str) -> bytes:
    """A WOFF file that draws the East Asian characters of `text`: the bundled font's own.

    Empty where there are none, or the font's package is not installed. About 170 bytes a
    character.
    """
    from fontTools import subset

    path = _bundled_path()
    wanted = set(map(ord, _east_asian(text)))
    if path is None or not wanted:
        return b""
    options = subset.Options(
        flavor="woff", layout_features=[], hinting=False, name_IDs=[]
    )
    with subset.load_font(str(path), options) as font:
        if not wanted.intersection(font.getBestCmap() or ()):
            return b""
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=wanted)
        subsetter.subset(font)
        file = io.BytesIO()
        subset.save_font(font, file, options)
    return file.getvalue()


def not_in_web_font(text: str) -> frozenset[str]:
    """The East Asian letters of `text` that `web_font` does not draw, as Korean ones.

    Whether they are readable depends on the fonts of whoever reads.
    """
    from fontTools import ttLib

    letters = frozenset(
        character
        for character in _east_asian(text)
        if unicodedata.category(character).startswith("L")
        and unicodedata.east_asian_width(character) in "WFH"
    )
    path = _bundled_path()
    if path is None or not letters:
        return letters
    with ttLib.TTFont(str(path), lazy=True) as font:
        return letters - set(map(chr, font.getBestCmap() or ()))


def _east_asian(text: str) -> frozenset[str]:
    return frozenset(character for character in text if character >= _EAST_ASIAN)


def _families() -> Iterator[str]:
    """Families in order of preference."""
    bundled = _bundled_family()
    preferred = (*([bundled] if bundled else []), "DejaVu Sans")
    yield from preferred
    yield from (family for family in _system_families() if family not in preferred)


def _system_families() -> list[str]:
    from matplotlib import font_manager

    upright = {
        entry.name
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }
    return sorted(family for family in upright if not _UNFIT.match(family))


@functools.cache
def _bundled_family() -> str | None:
    """The family of the Chinese font from its package, made known to Matplotlib."""
    from matplotlib import font_manager

    path = str(_bundled_path() or "")
    if not path:
        return None
    if all(entry.fname != path for entry in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(path)
    return font_manager.get_font(path).family_name


def _bundled_path() -> pathlib.Path | None:
    # A distribution may leave the font package out and rely on the system's fonts.
    with contextlib.suppress(ImportError):
        import pylopdf_fonts_zh_cn

        return pathlib.Path(pylopdf_fonts_zh_cn.sans_path())
    return None


@functools.cache
def _characters(family: str) -> frozenset[str]:
    """The characters that the file which Matplotlib takes for `family` has a glyph for."""
    from fontTools import ttLib
    from matplotlib import font_manager

    try:
        path = font_manager.findfont(
            font_manager.FontProperties(family=family), fallback_to_default=False
        )
        if not font_manager.get_font(path).scalable:
            return frozenset()
        # A collection (.ttc) holds several fonts in one file.
        with ttLib.TTFont(
            str(path), fontNumber=getattr(path, "face_index", 0), lazy=True
        ) as font:
            return frozenset(map(chr, font.getBestCmap() or ()))
    except (OSError, ValueError, RuntimeError, ttLib.TTLibError):
        # A broken font on the machine must not keep the others from being used.
        return frozenset()
