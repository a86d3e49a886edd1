"""Phrases in any two languages, generated from CLDR's locale data with Babel.

Dates, times, relative times, sums of money, measures, countries and languages, alone and
joined: unlimited in number, with real reordering ("2024年3月5日星期二" is "Tuesday,
March 5, 2024"), and with a known word alignment: both sides are rendered part by part.
"""

import dataclasses
import datetime
import functools
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

from babel import Locale, UnknownLocaleError, localedata

from attention_jax.config import DataConfig
from attention_jax.data.cldr import rendering as render
from attention_jax.data.cldr.rendering import Phrase, assemble, moment
from attention_jax.data.pairs import Link, Pair
from attention_jax.data.sources import register_data_source
from attention_jax.data.splits import Splits, split_covered
from attention_jax.errors import UnknownNameError, UserError, unknown_name

# Renders one meaning, drawn once, in whichever locale it is called with.
Meaning = Callable[[str], Phrase]
# Codes that both locales have a name for, by kind, in a fixed order; any may be empty.
Inventory = dict[str, tuple[str, ...]]

# The currencies of most trade, and a few with names and signs of their own.
_CURRENCIES = (
    "USD EUR JPY GBP CNY AUD CAD CHF HKD SGD SEK KRW NOK NZD "
    "INR MXN TWD ZAR BRL DKK PLN THB ILS IDR CZK AED TRY HUF "
    "CLP SAR PHP MYR RUB UAH VND EGP NGN PKR KES ARS COP PEN"
)
# How often each kind is drawn, by the entry of the inventory that it needs.
_QUANTITIES: dict[str, float] = {"units": 4, "currency_signs": 4, "currencies": 2}
_NAMES: dict[str, float] = {"territories": 3, "languages": 2}
_DATES: dict[str, float] = {"date_formats": 8, "time_formats": 1, "relative_units": 2}
# How a number of something is rendered, by the entry of the inventory that it is from.
_RENDER: dict[str, Callable[[str, Any, str], Phrase]] = {
    "relative_units": render.relative,
    "currencies": render.money_in_words,
    "currency_signs": render.money,
    "units": render.measure,
}
_FIRST_DAY = datetime.date(1950, 1, 1)
_LAST_DAY = datetime.date(2049, 12, 31)
_MAX_CHARACTERS = 90
# Draws in a row that yield nothing new before the space counts as exhausted.
_PATIENCE = 20_000


@register_data_source("cldr")
def cldr(config: DataConfig) -> Splits:
    """`config.num_pairs` phrases in two Babel locales, split.

    The splits share no phrase on either side, and every token of dev and test, under the
    configured tokenizers, occurs in the training pairs before `config.num_train`.
    """
    return _splits(dataclasses.astuple(config))


# Training, evaluation and figures in one process ask for the same phrases.
@functools.lru_cache(maxsize=1)
def _splits(fields: tuple[Any, ...]) -> Splits:
    config = DataConfig(*fields)
    pairs = generate_pairs(
        parse_locale("config.data.source_language", config.source_language),
        parse_locale("config.data.target_language", config.target_language),
        config.num_pairs,
        seed=config.seed,
    )
    return split_covered(pairs, config)


def generate_pairs(
    source: str, target: str, num_pairs: int, *, seed: int
) -> list[Pair]:
    """Distinct phrases in two Babel locales, with their alignment.

    No source phrase occurs twice. Equal seeds give equal pairs, and fewer pairs are the
    first of more.
    """
    drawing = _Drawing(shared_inventory(source, target), random.Random(seed))
    found: dict[str, Pair] = {}
    fruitless = 0
    while len(found) < num_pairs:
        if fruitless == _PATIENCE:
            raise UserError(
                f"config.data.num_pairs must be at most {len(found)}, the number of "
                f"distinct phrases found in {source} and {target}, got {num_pairs}"
            )
        meaning = drawing.meaning()
        pair = make_pair(meaning(source), meaning(target))
        lengths = len(pair.source), len(pair.target)
        fits = 0 < min(lengths) and max(lengths) <= _MAX_CHARACTERS
        fruitless = 0 if fits and pair.source not in found else fruitless + 1
        if not fruitless:
            found[pair.source] = pair
    return list(found.values())


def make_pair(source: Phrase, target: Phrase) -> Pair:
    """The two phrases as texts, and a link between pieces with equal labels."""
    source_text, source_spans = assemble(source)
    target_text, target_spans = assemble(target)
    links = [
        Link(*source_span, *target_span)
        for label, spans in target_spans.items()
        for target_span in spans
        for source_span in source_spans.get(label, ())
    ]
    return Pair(source_text, target_text, tuple(links))


class _Drawing:
    """Draws meanings that both locales of an inventory can express."""

    def __init__(self, inventory: Inventory, rng: random.Random):
        self.inventory, self.rng = inventory, rng

        def possible(weights: dict[str, float]) -> dict[str, float]:
            return {kind: w for kind, w in weights.items() if inventory[kind]}

        self._quantities, self._names = possible(_QUANTITIES), possible(_NAMES)
        self._alone = possible(_DATES | _QUANTITIES | _NAMES)
        self._all = {**self._alone, "date and time": 6}
        if self._quantities:
            self._all["list of quantities"] = 4
        if self._names:
            self._all["list of names"] = 5
        self._all["joined"] = 8

    def meaning(self) -> Meaning:
        """A phrase of one kind, or two or three of them joined."""
        kind = self._one_of(self._all)
        if kind in self._alone:
            return self.alone(kind)
        if kind == "date and time":
            day, clock = self._day(), self._clock()
            return lambda locale: render.date_and_time(
                locale, moment(locale, day, "full"), moment(locale, clock, "short")
            )
        if kind == "joined":  # two of different kinds, by a dash in any locale
            first = self._one_of(self._alone)
            others = {kind: w for kind, w in self._alone.items() if kind != first}
            items = [self.alone(first), self.alone(self._one_of(others or self._alone))]
            return lambda locale: render.fill("{0} – {1}", [i(locale) for i in items])
        names = kind == "list of names"
        kind = self._one_of(self._names if names else self._quantities)
        count = self.rng.randint(2, 3) if names else 2
        items = [self.alone(kind) for _ in range(count)]
        style = self.rng.choice(("standard", "or"))
        return lambda locale: render.listing(locale, [i(locale) for i in items], style)

    def alone(self, kind: str) -> Meaning:
        """A phrase about one of the inventory's codes of a kind."""
        rng, codes = self.rng, self.inventory[kind]
        if kind == "date_formats":
            day, weights = self._day(), [3, 1, 0.2, 0.1][: len(codes)]
            style = rng.choices(codes, weights)[0]
            return lambda locale: moment(locale, day, style)
        if kind == "time_formats":
            clock = self._clock()
            return lambda locale: moment(locale, clock, codes[0])
        code = rng.choice(codes)
        if kind in _NAMES:
            return lambda locale: render.name(locale, kind, code)
        if kind == "relative_units":
            number: float = rng.randint(1, 99) * rng.choice((1, -1))
        elif kind == "units":
            number = rng.randint(1, 999)
            number = number / 10 if rng.random() < 0.3 else number
        elif kind == "currency_signs":
            number = rng.randint(1, 10 ** rng.randint(3, 6)) / 100
        else:
            number = rng.randint(1, 10 ** rng.randint(1, 4))
        return lambda locale: _RENDER[kind](locale, number, code)

    def _one_of(self, weights: dict[str, float]) -> str:
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def _day(self) -> datetime.date:
        days = (_LAST_DAY - _FIRST_DAY).days
        return _FIRST_DAY + datetime.timedelta(self.rng.randrange(days + 1))

    def _clock(self) -> datetime.time:
        return datetime.time(self.rng.randrange(24), self.rng.randrange(60))


@functools.cache
def shared_inventory(source: str, target: str) -> Inventory:
    """What two Babel locales both localise, without source names that occur twice."""
    locales = (source, target)
    tables = [render.load_locale(name) for name in locales]

    def both(kind: str, codes: Iterable[str]) -> tuple[str, ...]:
        """The codes to keep, the first of those that read alike in the source language."""

        def rendered(locale: str, code: str) -> Phrase:
            if kind in _NAMES:
                return render.name(locale, kind, code)
            return _RENDER[kind](locale, 5, code)

        first_with: dict[str, str] = {}
        for code in codes:
            if all(_is_localised(rendered(locale, code), code) for locale in locales):
                first_with.setdefault(assemble(rendered(source, code))[0], code)
        return tuple(first_with.values())

    def keys(attribute: str, pattern: str) -> list[str]:
        shared = set.intersection(*(set(getattr(t, attribute)) for t in tables))
        return sorted(code for code in shared if re.fullmatch(pattern, code))

    candidates: dict[str, Iterable[str]] = {
        "relative_units": render.SECONDS,
        "currencies": _CURRENCIES.split(),
        "currency_signs": _CURRENCIES.split(),
        "units": keys("unit_display_names", "(?!.*(-person|-generic)$).*"),
        "territories": keys("territories", "[A-Z]{2}"),
        "languages": keys("languages", "[a-z]{2}"),
    }
    date_formats = tuple(
        name
        for name in ("full", "long", "yMMMM", "MMMMd")
        if all(render.format_fields(locale, name) for locale in locales)
    )
    return {
        "date_formats": date_formats,
        "time_formats": ("short",),
        **{kind: both(kind, codes) for kind, codes in candidates.items()},
    }


def _is_localised(phrase: Phrase, code: str) -> bool:
    """Whether the phrase has words, and they are not the code that stands in for them.

    CLDR leaves gaps: Babel then writes "5 length-kilometer". A name with digits in it
    ("liters per 100 kilometers") could not be told from its number.
    """
    words = "".join(piece.text for piece in phrase if piece.label != "number").strip()
    numbers = "".join(piece.text for piece in phrase if piece.label == "number")
    is_code = code in words if "-" in code else code == words
    return bool(words) and not is_code and not any(map(str.isalpha, numbers))


def parse_locale(field: str, name: str) -> str:
    """The identifier of the Babel locale that a user's "zh" or "pt-BR" means."""
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        known = sorted(localedata.locale_identifiers(), key=len)
        error = unknown_name(f"{field} (a Babel locale)", name, known)
        raise UnknownNameError(str(error).partition(" Known:")[0]) from None
