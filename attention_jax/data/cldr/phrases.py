"""Phrases: labelled pieces of text, aligned between languages by their labels.

A piece's label says which part of the meaning it expresses; the pieces of two languages
with equal labels translate each other.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """Some text, and the part of the meaning it expresses ("" for none)."""

    text: str
    label: str = ""


Phrase = tuple[Piece, ...]

_DIGITS = re.compile(r"\d(?:.*\d)?", re.DOTALL)

# Directional and other invisible marks, but not the joiners that spelling needs.
_INVISIBLE = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def clean(text: str) -> str:
    """Babel's text with plain spaces and without invisible marks.

    CLDR separates "3:07" and "PM" by U+202F and groups digits by U+00A0; a tokenizer
    and a reader see only that there is a space.
    """
    return _SPACES.sub(" ", _INVISIBLE.sub("", text))


def assemble(phrase: Iterable[Piece]) -> tuple[str, dict[str, list[tuple[int, int]]]]:
    """The phrase as text, and for each label the spans [start, end) that have it.

    White space never begins or ends the text or a span, and never doubles.
    """
    text = ""
    spans: dict[str, list[tuple[int, int]]] = {}
    for piece in phrase:
        added = piece.text
        if not text or text.endswith(" "):
            added = added.lstrip(" ")
        start = len(text) + len(added) - len(added.lstrip(" "))
        text += added
        end = len(text.rstrip(" "))
        if piece.label and end > start:
            known = spans.setdefault(piece.label, [])
            if known and known[-1][1] == start:
                start = known.pop()[0]
            known.append((start, end))
    return text.rstrip(" "), spans


def relabel(phrase: Phrase, prefix: str) -> Phrase:
    """The phrase as part `prefix` of a larger one."""
    return tuple(Piece(p.text, p.label and f"{prefix}.{p.label}") for p in phrase)


def fill(template: tuple[str | int, ...], items: Sequence[Phrase]) -> Phrase:
    """The template with item i in place of each number i."""
    phrase: list[Piece] = []
    for part in template:
        if isinstance(part, int):
            phrase += relabel(items[part], str(part))
        else:
            phrase.append(Piece(part))
    return tuple(phrase)


def around_number(text: str, label: str) -> Phrase:
    """The text with its number labelled "number" and the rest labelled `label`."""
    text = clean(text)
    number = _DIGITS.search(text)
    if number is None:
        return (Piece(text, label),)
    before, after = text[: number.start()], text[number.end() :]
    pieces = (Piece(before, label), Piece(number[0], "number"), Piece(after, label))
    return tuple(piece for piece in pieces if piece.text)
