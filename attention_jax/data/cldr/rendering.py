"""One meaning in one language: dates, sums, measures, names, and what joins them.

A phrase is labelled pieces of text; those of two languages with equal labels translate each
other. Its text is what Babel writes, up to invisible marks and kinds of space.
"""

import datetime
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from babel import Locale, dates, lists, numbers, units


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
    """Babel's text with plain spaces (CLDR has U+202F in "3:07 PM") and no invisible marks."""
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


def fill(template: str, items: Sequence[Phrase]) -> Phrase:
    """The template with item i, its labels prefixed by i, in place of each "{i}"."""
    phrase: list[Piece] = []
    for index, part in enumerate(re.split(r"\{(\d)\}", template)):
        if index % 2:
            for text, label in items[int(part)]:
                phrase.append(Piece(text, label and f"{part}.{label}"))
        elif part:
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


SECONDS = dict(dates.TIMEDELTA_UNITS)

# CLDR's pattern letters, and the part of a date or time that each expresses.
_PARTS = {"y": "year", "d": "day", "m": "minute", "G": ""}
_PARTS |= dict.fromkeys("ML", "month") | dict.fromkeys("Ec", "weekday")
_PARTS |= dict.fromkeys("hHKkabB", "hour")

load_locale = functools.cache(Locale.parse)


@functools.lru_cache(maxsize=1 << 16)
def relative(locale: str, count: int, unit: str) -> Phrase:
    """`count` units from now: "in 3 days"; for a negative count "3 days ago"."""
    text = dates.format_timedelta(
        datetime.timedelta(seconds=count * SECONDS[unit]),
        cast(Any, unit),
        threshold=float("inf"),
        add_direction=True,
        locale=load_locale(locale),
    )
    return around_number(text, "relation")


@functools.lru_cache(maxsize=1 << 16)
def money(locale: str, amount: float, currency: str, **form: Any) -> Phrase:
    """An amount with the currency's sign and its usual decimals: "$12.50"."""
    text = numbers.format_currency(amount, currency, locale=load_locale(locale), **form)
    return around_number(text, "currency")


def money_in_words(locale: str, amount: int, currency: str) -> Phrase:
    """An amount with the currency's name: "12 euros"."""
    return money(locale, amount, currency, format_type="name", currency_digits=False)


@functools.lru_cache(maxsize=1 << 16)
def measure(locale: str, value: float, unit: str) -> Phrase:
    """A quantity with its unit's name: "12.5 kilometers"."""
    text = units.format_unit(value, unit, "long", locale=load_locale(locale))
    return around_number(text, "unit")


def name(locale: str, table: str, code: str) -> Phrase:
    """What a locale calls something: of "territories" FR is "France"."""
    return (Piece(clean(getattr(load_locale(locale), table)[code]), "name"),)


def listing(locale: str, items: Sequence[Phrase], style: str) -> Phrase:
    """The items as CLDR lists them: "A, B, and C" ("standard"), "A or B" ("or")."""
    return fill(_list_template(locale, len(items), style), items)


@functools.cache
def _list_template(locale: str, size: int, style: Any) -> str:
    items = [f"{{{index}}}" for index in range(size)]
    return clean(lists.format_list(items, style=style, locale=load_locale(locale)))


def date_and_time(locale: str, date: Phrase, time: Phrase) -> Phrase:
    """A full date with a time of day: "Tuesday, March 5, 2024, 3:07 PM"."""
    pattern = str(dates.get_datetime_format("full", locale=load_locale(locale)))
    return fill(clean(pattern.replace("'", "")), (time, date))


@functools.cache
def format_fields(locale: str, format_name: str) -> tuple[tuple[str, str], ...]:
    """A date or time format as ("field", "MMMM") and ("chars", ", ") parts.

    `format_name` is "full" or "long" (dates), "short" (times), or a CLDR skeleton; () if
    the locale has no such skeleton or the format a field that is not rendered here.
    """
    known = load_locale(locale)
    formats = {name: known.date_formats[name] for name in ("full", "long")}
    formats |= {**known.datetime_skeletons, "short": known.time_formats["short"]}
    if format_name not in formats:
        return ()
    parts: list[tuple[str, str]] = []
    for kind, value in dates.tokenize_pattern(formats[format_name].pattern):
        if not isinstance(value, str):
            letter, repeats = value
            parts.append((kind, letter * repeats))
        elif parts and parts[-1][0] == "chars":  # quoted and unquoted text side by side
            parts[-1] = (kind, parts[-1][1] + value)
        else:
            parts.append((kind, value))
    rendered = all(kind == "chars" or part[0] in _PARTS for kind, part in parts)
    return tuple(parts) if rendered else ()


def moment(
    locale: str, value: datetime.date | datetime.time, format_name: str
) -> Phrase:
    """A date or a time of day in one of the formats of `format_fields`.

    Letters that touch a field without a space belong to its word: "3月", "5日".
    """
    return tuple(
        Piece(part if kind == "chars" else _field(locale, part, value), label)
        for kind, part, label in _labelled(locale, format_name)
    )


def _field(locale: str, field: str, value: Any) -> str:
    part = _PARTS[field[0]]
    example = datetime.datetime(2024, 1, 1)  # a Monday
    if part == "weekday":
        example += datetime.timedelta(value.weekday())
    elif part:
        example = cast(Any, example).replace(**{part: getattr(value, part)})
    return _field_at(locale, field, example)


@functools.cache
def _field_at(locale: str, field: str, moment: datetime.date) -> str:
    return clean(dates.DateTimeFormat(moment, load_locale(locale))[field])


@functools.cache
def _labelled(locale: str, format_name: str) -> tuple[tuple[str, str, str], ...]:
    """The format's parts with labels, literals cut where their letters touch a field."""
    parts = format_fields(locale, format_name)
    labels = [_PARTS[part[0]] if kind == "field" else "" for kind, part in parts]
    result: list[tuple[str, str, str]] = []
    for index, (kind, part) in enumerate(parts):
        if kind == "field":
            result.append((kind, part, labels[index]))
            continue
        part = clean(part)
        last = index + 1 == len(parts)
        after = _count_letters(part) if index else 0
        before = len(part)
        if not last and after < len(part):
            before -= _count_letters(part[::-1])
        cut = (
            (part[:after], labels[index - 1] if index else ""),
            (part[after:before], ""),
            (part[before:], "" if last else labels[index + 1]),
        )
        result += [("chars", text, label) for text, label in cut if text]
    return tuple(result)


def _count_letters(text: str) -> int:
    """The number of letters and combining marks that the text begins with."""
    categories = "".join(unicodedata.category(char)[0] for char in text)
    return len(text) - len(categories.lstrip("LM"))
