"""One meaning in one language: dates, sums, measures, names, and what joins them.

Each function returns a phrase whose text is what Babel writes, up to invisible marks and
kinds of space.
"""

import datetime
import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, cast

from babel import Locale, dates, lists, numbers, units

from attention_jax.data.cldr.phrases import Phrase, Piece, around_number, clean, fill

ListStyle = Literal["standard", "or"]

_SECONDS = {
    "year": 365 * 86_400,
    "month": 30 * 86_400,
    "week": 7 * 86_400,
    "day": 86_400,
    "hour": 3_600,
    "minute": 60,
    "second": 1,
}
RELATIVE_UNITS = tuple(_SECONDS)

# CLDR's pattern letters, by the part of a date or time that they express.
_LETTERS = {
    "year": "y",
    "month": "ML",
    "day": "d",
    "weekday": "Ec",
    "hour": "hHKkabB",
    "minute": "m",
    "era": "G",
}
_PARTS = {letter: part for part, letters in _LETTERS.items() for letter in letters}

load_locale = functools.cache(Locale.parse)


@functools.cache
def relative(locale: str, unit: str, count: int) -> Phrase:
    """`count` units from now: "in 3 days"; for a negative count "3 days ago"."""
    text = dates.format_timedelta(
        datetime.timedelta(seconds=count * _SECONDS[unit]),
        cast(Any, unit),
        threshold=float("inf"),
        add_direction=True,
        locale=load_locale(locale),
    )
    return around_number(text, "relation")


@functools.lru_cache(maxsize=1 << 16)
def money(locale: str, amount: float, currency: str) -> Phrase:
    """An amount with the currency's sign and its usual decimals: "$12.50"."""
    text = numbers.format_currency(amount, currency, locale=load_locale(locale))
    return around_number(text, "currency")


@functools.lru_cache(maxsize=1 << 16)
def money_in_words(locale: str, amount: int, currency: str) -> Phrase:
    """An amount with the currency's name: "12 euros"."""
    text = numbers.format_currency(
        amount,
        currency,
        locale=load_locale(locale),
        format_type="name",
        currency_digits=False,
    )
    return around_number(text, "currency")


@functools.lru_cache(maxsize=1 << 16)
def measure(locale: str, value: float, unit: str) -> Phrase:
    """A quantity with its unit's name: "12.5 kilometers"."""
    text = units.format_unit(value, unit, "long", locale=load_locale(locale))
    return around_number(text, "unit")


def territory(locale: str, code: str) -> Phrase:
    """A country or territory: "France"."""
    return (Piece(clean(load_locale(locale).territories[code]), "name"),)


def language(locale: str, code: str) -> Phrase:
    """A language: "French"."""
    return (Piece(clean(load_locale(locale).languages[code]), "name"),)


def listing(locale: str, items: Sequence[Phrase], style: ListStyle) -> Phrase:
    """The items as CLDR lists them: "A, B, and C" ("standard"), "A or B" ("or")."""
    return fill(_list_template(locale, len(items), style), items)


@functools.cache
def _list_template(locale: str, size: int, style: ListStyle) -> tuple[str | int, ...]:
    # Private-use characters stand for the items: no pattern contains them.
    items = [chr(0xE000 + index) for index in range(size)]
    text = clean(lists.format_list(items, style=style, locale=load_locale(locale)))
    return tuple(
        ord(part) - 0xE000 if "\ue000" <= part <= "\ue0ff" else part
        for part in re.split("([\ue000-\ue0ff])", text)
        if part
    )


def date_and_time(locale: str, date: Phrase, time: Phrase) -> Phrase:
    """A full date with a time of day: "Tuesday, March 5, 2024, 3:07 PM"."""
    return fill(_date_and_time_template(locale), (time, date))


@functools.cache
def _date_and_time_template(locale: str) -> tuple[str | int, ...]:
    pattern = str(dates.get_datetime_format("full", locale=load_locale(locale)))
    parts = re.split(r"\{([01])\}", clean(pattern.replace("'", "")))
    return tuple(
        int(part) if index % 2 else part for index, part in enumerate(parts) if part
    )


@functools.cache
def format_fields(locale: str, format_name: str) -> tuple[tuple[str, str], ...]:
    """A date or time format as ("field", "MMMM") and ("chars", ", ") parts.

    `format_name` is "full" or "long" (dates), "short" (times), or a CLDR skeleton; () if
    the locale has no such skeleton or the format a field that is not rendered here.
    """
    if format_name in ("full", "long"):
        pattern = dates.get_date_format(format_name, locale=load_locale(locale)).pattern
    elif format_name == "short":
        pattern = dates.get_time_format(format_name, locale=load_locale(locale)).pattern
    else:
        skeletons = load_locale(locale).datetime_skeletons
        if format_name not in skeletons:
            return ()
        pattern = skeletons[format_name].pattern
    parts: list[tuple[str, str]] = []
    for kind, value in dates.tokenize_pattern(pattern):
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


def _field(locale: str, field: str, value: datetime.date | datetime.time) -> str:
    part = _PARTS[field[0]]
    if part == "era":
        return _field_at(locale, field, datetime.date(2024, 1, 1))
    if part == "weekday" and isinstance(value, datetime.date):  # from a Monday on
        day = datetime.date(2024, 1, 1 + value.weekday())
        return _field_at(locale, field, day)
    moment: Any = datetime.datetime(2024, 1, 1)
    return _field_at(locale, field, moment.replace(**{part: getattr(value, part)}))


@functools.cache
def _field_at(locale: str, field: str, moment: datetime.date) -> str:
    return clean(dates.DateTimeFormat(moment, load_locale(locale))[field])


@functools.cache
def _labelled(locale: str, format_name: str) -> tuple[tuple[str, str, str], ...]:
    """The format's parts with labels, literals cut where their letters touch a field."""
    parts = format_fields(locale, format_name)
    labels = [_label(part) if kind == "field" else "" for kind, part in parts]
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


def _label(field: str) -> str:
    part = _PARTS[field[0]]
    return "" if part == "era" else part


def _count_letters(text: str) -> int:
    """The number of letters and combining marks that the text begins with."""
    for position, char in enumerate(text):
        if unicodedata.category(char)[0] not in "LM":
            return position
    return len(text)
