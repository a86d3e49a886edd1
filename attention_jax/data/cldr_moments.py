"""Dates and times of day, rendered field by field from CLDR's patterns."""

import datetime
import functools
import unicodedata

from attention_jax.data.cldr_locales import load_locale
from attention_jax.data.cldr_pieces import Phrase, Piece, clean

# CLDR's pattern letters: what a field expresses, and what it is computed from.
_FIELDS = {
    "y": ("year", "year"),
    "M": ("month", "month"),
    "L": ("month", "month"),
    "d": ("day", "day"),
    "E": ("weekday", "weekday"),
    "c": ("weekday", "weekday"),
    "h": ("hour", "hour"),
    "H": ("hour", "hour"),
    "K": ("hour", "hour"),
    "k": ("hour", "hour"),
    "a": ("hour", "hour"),
    "b": ("hour", "hour"),
    "B": ("hour", "hour"),
    "m": ("minute", "minute"),
    "G": ("", "era"),
}


@functools.cache
def format_fields(locale: str, format_name: str) -> tuple[tuple[str, str], ...]:
    """A date or time format as ("field", "MMMM") and ("chars", ", ") parts.

    `format_name` is "full" or "long" (dates), "short" (times), or a CLDR skeleton; () if
    the locale has no such skeleton or the format a field that is not rendered here.
    """
    from babel import dates

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
    rendered = all(kind == "chars" or part[0] in _FIELDS for kind, part in parts)
    return tuple(parts) if rendered else ()


@functools.cache
def _field(locale: str, field: str, value: int) -> str:
    """One field of a date or time, from any moment at which it has this value."""
    from babel.dates import DateTimeFormat

    moment: datetime.date | datetime.time
    match _FIELDS[field[0]][1]:
        case "year":
            moment = datetime.date(value, 1, 1)
        case "month":
            moment = datetime.date(2024, value, 1)
        case "weekday":
            moment = datetime.date(2024, 1, 1 + value)  # a Monday
        case "hour":
            moment = datetime.time(value)
        case "minute":
            moment = datetime.time(0, value)
        case _:
            moment = datetime.date(2024, 1, max(1, value))
    return clean(DateTimeFormat(moment, load_locale(locale))[field])


def moment(
    locale: str, value: datetime.date | datetime.time, format_name: str
) -> Phrase:
    """A date or a time of day in one of the formats of `format_fields`.

    Letters that touch a field without a space belong to its word: "3月", "5日".
    """
    values = {"era": 1}
    if isinstance(value, datetime.date):
        values |= {"year": value.year, "month": value.month, "day": value.day}
        values["weekday"] = value.weekday()
    else:
        values |= {"hour": value.hour, "minute": value.minute}
    return tuple(
        Piece(part, label)
        if kind == "chars"
        else Piece(_field(locale, part, values[_FIELDS[part[0]][1]]), label)
        for kind, part, label in _labelled(locale, format_name)
    )


@functools.cache
def _labelled(locale: str, format_name: str) -> tuple[tuple[str, str, str], ...]:
    """The format's parts with labels, literals cut where their letters touch a field."""
    result: list[tuple[str, str, str]] = []
    parts = format_fields(locale, format_name)
    for place, (kind, part) in enumerate(parts):
        if kind == "field":
            result.append((kind, part, _FIELDS[part[0]][0]))
            continue
        part = clean(part)
        after = _letters(part) if place else 0
        before = len(part)
        if place + 1 < len(parts) and after < len(part):
            before -= _letters(part[::-1])
        label_before = result[-1][2] if result else ""
        following = parts[place + 1][1] if place + 1 < len(parts) else ""
        label_after = _FIELDS[following[0]][0] if following else ""
        cut = (
            (part[:after], label_before),
            (part[after:before], ""),
            (part[before:], label_after),
        )
        result += [("chars", text, label) for text, label in cut if text]
    return tuple(result)


def _letters(text: str) -> int:
    """How many letters and combining marks the text begins with."""
    for position, char in enumerate(text):
        if unicodedata.category(char)[0] not in "LM":
            return position
    return len(text)
