"""One meaning in one language: sums, measures, names, and what joins them.

Each function returns a phrase whose text is what Babel writes, up to invisible marks and
kinds of space.
"""

import datetime
import functools
import re
from collections.abc import Sequence
from typing import Any, Literal, cast

from attention_jax.data.cldr_locales import load_locale
from attention_jax.data.cldr_pieces import Phrase, Piece, around_number, clean, fill

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


@functools.cache
def relative(locale: str, unit: str, count: int) -> Phrase:
    """`count` units from now: "in 3 days"; for a negative count "3 days ago"."""
    from babel import dates

    delta = datetime.timedelta(seconds=count * _SECONDS[unit])
    text = dates.format_timedelta(
        delta,
        cast(Any, unit),
        threshold=float("inf"),
        add_direction=True,
        locale=load_locale(locale),
    )
    return around_number(text, "relation")


@functools.lru_cache(maxsize=1 << 16)
def money(locale: str, amount: float, currency: str) -> Phrase:
    """An amount with the currency's sign and its usual decimals: "$12.50"."""
    from babel import numbers

    return around_number(
        numbers.format_currency(amount, currency, locale=load_locale(locale)),
        "currency",
    )


@functools.lru_cache(maxsize=1 << 16)
def money_in_words(locale: str, amount: int, currency: str) -> Phrase:
    """An amount with the currency's name: "12 euros"."""
    from babel import numbers

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
    from babel import units

    return around_number(
        units.format_unit(value, unit, "long", locale=load_locale(locale)), "unit"
    )


def territory(locale: str, code: str) -> Phrase:
    """A country or territory: "France"."""
    return (Piece(clean(load_locale(locale).territories[code]), "name"),)


def language(locale: str, code: str) -> Phrase:
    """A language: "French"."""
    return (Piece(clean(load_locale(locale).languages[code]), "name"),)


def listing(locale: str, items: Sequence[Phrase], style: ListStyle) -> Phrase:
    """The items as CLDR lists them: "A, B, and C" ("standard"), "A or B" ("or")."""
    return fill(_list_template(locale, len(items), style), items)


def date_and_time(locale: str, date: Phrase, time: Phrase) -> Phrase:
    """A full date with a time of day: "Tuesday, March 5, 2024, 3:07 PM"."""
    return fill(_date_and_time_template(locale), (time, date))


@functools.cache
def _list_template(locale: str, size: int, style: ListStyle) -> tuple[str | int, ...]:
    from babel import lists

    slots = [chr(0xE000 + place) for place in range(size)]  # private use: in no pattern
    text = clean(lists.format_list(slots, style=style, locale=load_locale(locale)))
    return tuple(
        ord(part) - 0xE000 if "\ue000" <= part <= "\ue0ff" else part
        for part in re.split("([\ue000-\ue0ff])", text)
        if part
    )


@functools.cache
def _date_and_time_template(locale: str) -> tuple[str | int, ...]:
    from babel import dates

    pattern = str(
        dates.get_datetime_format("full", locale=load_locale(locale))
    ).replace("'", "")
    parts = re.split(r"\{([01])\}", clean(pattern))
    return tuple(
        int(part) if place % 2 else part for place, part in enumerate(parts) if part
    )
