"""What two locales can both express: their shared units, currencies and names."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from attention_jax.data.cldr.phrases import Phrase, assemble
from attention_jax.data.cldr.rendering import (
    RELATIVE_UNITS,
    format_fields,
    language,
    load_locale,
    measure,
    money,
    money_in_words,
    relative,
    territory,
)

# The currencies of most trade, and a few with names and signs of their own.
_CURRENCIES = (
    "USD EUR JPY GBP CNY AUD CAD CHF HKD SGD SEK KRW NOK NZD "
    "INR MXN TWD ZAR BRL DKK PLN THB ILS IDR CZK AED TRY HUF "
    "CLP SAR PHP MYR RUB UAH VND EGP NGN PKR KES ARS COP PEN"
)

# A phrase from a locale and a code.
Render = Callable[[str, str], Phrase]

_DATE_FORMATS = ("full", "long", "yMMMM", "MMMMd")


class Inventory(NamedTuple):
    """Codes that both locales have a name for, in a fixed order; any may be empty."""

    date_formats: tuple[str, ...]
    relative_units: tuple[str, ...]
    currencies: tuple[str, ...]
    currency_signs: tuple[str, ...]
    units: tuple[str, ...]
    territories: tuple[str, ...]
    languages: tuple[str, ...]


@functools.cache
def shared_inventory(source: str, target: str) -> Inventory:
    """What two Babel locales both localise, without source names that occur twice."""
    locales = (source, target)
    tables = [load_locale(name) for name in locales]

    def both(render: Render, codes: Iterable[str]) -> tuple[str, ...]:
        """The codes to keep, the first of those that read alike in the source language."""
        first_with: dict[str, str] = {}
        for code in codes:
            if all(_is_localised(render(locale, code), code) for locale in locales):
                first_with.setdefault(assemble(render(source, code))[0], code)
        return tuple(first_with.values())

    def keys(attribute: str, pattern: str) -> list[str]:
        shared = set.intersection(*(set(getattr(t, attribute)) for t in tables))
        return sorted(code for code in shared if re.fullmatch(pattern, code))

    units = keys("unit_display_names", "(?!.*(-person|-generic)$).*")
    return Inventory(
        tuple(
            name
            for name in _DATE_FORMATS
            if all(format_fields(locale, name) for locale in locales)
        ),
        both(lambda name, unit: relative(name, unit, 5), RELATIVE_UNITS),
        both(lambda name, code: money_in_words(name, 5, code), _CURRENCIES.split()),
        both(lambda name, code: money(name, 5.0, code), _CURRENCIES.split()),
        both(lambda name, unit: measure(name, 5, unit), units),
        both(territory, keys("territories", "[A-Z]{2}")),
        both(language, keys("languages", "[a-z]{2}")),
    )


def _is_localised(phrase: Phrase, code: str) -> bool:
    """Whether the phrase has words, and they are not the code that stands in for them.

    CLDR leaves gaps: Babel then writes "5 length-kilometer". A name with digits in it
    ("liters per 100 kilometers") could not be told from its number.
    """
    words = "".join(piece.text for piece in phrase if piece.label != "number").strip()
    numbers = [piece.text for piece in phrase if piece.label == "number"]
    is_code = code in words if "-" in code else code == words
    names_in_number = any(char.isalpha() for text in numbers for char in text)
    return bool(words) and not is_code and not names_in_number
