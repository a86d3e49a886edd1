"""Phrases in any two languages, generated from CLDR's locale data with Babel.

Dates, times, relative times, sums of money, measures, countries and languages, alone and
joined: unlimited in number, with real reordering ("2024年3月5日星期二" is "Tuesday,
March 5, 2024"), and with a known word alignment: both sides are rendered part by part.
"""

import datetime
import random
from collections.abc import Callable, Sequence

from babel import Locale, UnknownLocaleError, localedata

from attention_jax.config import DataConfig
from attention_jax.data.cldr import rendering as render
from attention_jax.data.cldr.inventory import Inventory, shared_inventory
from attention_jax.data.cldr.phrases import Phrase, Piece, assemble, relabel
from attention_jax.data.cldr.rendering import moment
from attention_jax.data.pairs import Link, Pair
from attention_jax.data.sources import register_data_source
from attention_jax.data.splits import Splits, split_covered
from attention_jax.errors import UserError, unknown_name

# Renders one meaning, drawn once, in whichever locale it is called with.
Meaning = Callable[[str], Phrase]

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

    Raises:
      UserError: the locales do not share enough for that many distinct phrases; an
        UnknownNameError if a language is not a Babel locale, with the nearest.
    """
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
    """Distinct phrases with their alignment; no source phrase occurs twice.

    Args:
      source, target: Babel locale identifiers.
      num_pairs: their number.
      seed: equal seeds give equal pairs, and fewer pairs are the first of more.

    Raises:
      UserError: `num_pairs` is not positive, or more than the phrases that were found.
    """
    if num_pairs < 1:
        raise UserError(
            f"config.data.num_pairs must be at least 1 for cldr, got {num_pairs}"
        )
    rng = random.Random(seed)
    draw = _Drawing(shared_inventory(source, target), rng)
    found: dict[str, Pair] = {}
    fruitless = 0
    while len(found) < num_pairs and fruitless < _PATIENCE:
        fruitless += 1
        meaning = draw.meaning()
        pair = make_pair(meaning(source), meaning(target))
        if max(len(pair.source), len(pair.target)) > _MAX_CHARACTERS:
            continue
        if pair.source and pair.target and pair.source not in found:
            found[pair.source] = pair
            fruitless = 0
    if len(found) < num_pairs:
        raise UserError(
            f"config.data.num_pairs must be at most {len(found)}, the number of distinct "
            f"phrases found in {source} and {target}, got {num_pairs}"
        )
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
        self.inventory = inventory
        self.rng = rng
        quantities = {self.measure: 4, self.money: 4, self.money_in_words: 2}
        names = {self.territory: 3, self.language: 2}
        alone = {self.date: 8, self.time: 1, self.relative: 2, **quantities, **names}
        self._quantities = self._possible(quantities)
        self._names = self._possible(names)
        self._alone = self._possible(alone)
        joined = {self.date_and_time: 6}
        if self._quantities:
            joined[self.list_of_quantities] = 4
        if self._names:
            joined[self.list_of_names] = 5
        joined[self.joined] = 8
        self._all = {**self._alone, **joined}

    def meaning(self) -> Meaning:
        return self._one_of(self._all)()

    def _possible(self, weights: dict) -> dict:
        """The kinds for which the inventory is not empty."""
        needs = {
            self.date: self.inventory.date_formats,
            self.relative: self.inventory.relative_units,
            self.measure: self.inventory.units,
            self.money: self.inventory.currency_signs,
            self.money_in_words: self.inventory.currencies,
            self.territory: self.inventory.territories,
            self.language: self.inventory.languages,
        }
        return {kind: w for kind, w in weights.items() if needs.get(kind, True)}

    def _one_of(self, weights: dict):
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def _day(self) -> datetime.date:
        days = (_LAST_DAY - _FIRST_DAY).days
        return _FIRST_DAY + datetime.timedelta(self.rng.randrange(days + 1))

    def _clock(self) -> datetime.time:
        return datetime.time(self.rng.randrange(24), self.rng.randrange(60))

    def date(self) -> Meaning:
        formats = self.inventory.date_formats
        weights = [3, 1, 0.2, 0.1][: len(formats)]
        day, style = self._day(), self.rng.choices(formats, weights)[0]
        return lambda locale: moment(locale, day, style)

    def time(self) -> Meaning:
        clock = self._clock()
        return lambda locale: moment(locale, clock, "short")

    def date_and_time(self) -> Meaning:
        day, clock = self._day(), self._clock()
        return lambda locale: render.date_and_time(
            locale,
            moment(locale, day, "full"),
            moment(locale, clock, "short"),
        )

    def relative(self) -> Meaning:
        unit = self.rng.choice(self.inventory.relative_units)
        count = self.rng.randint(1, 99) * self.rng.choice((1, -1))
        return lambda locale: render.relative(locale, unit, count)

    def measure(self) -> Meaning:
        unit = self.rng.choice(self.inventory.units)
        value: float = self.rng.randint(1, 999)
        if self.rng.random() < 0.3:
            value = value / 10
        return lambda locale: render.measure(locale, value, unit)

    def money(self) -> Meaning:
        currency = self.rng.choice(self.inventory.currency_signs)
        cents = self.rng.randint(1, 10 ** self.rng.randint(3, 6))
        return lambda locale: render.money(locale, cents / 100, currency)

    def money_in_words(self) -> Meaning:
        currency = self.rng.choice(self.inventory.currencies)
        amount = self.rng.randint(1, 10 ** self.rng.randint(1, 4))
        return lambda locale: render.money_in_words(locale, amount, currency)

    def territory(self) -> Meaning:
        code = self.rng.choice(self.inventory.territories)
        return lambda locale: render.territory(locale, code)

    def language(self) -> Meaning:
        code = self.rng.choice(self.inventory.languages)
        return lambda locale: render.language(locale, code)

    def list_of_names(self) -> Meaning:
        kind = self._one_of(self._names)
        return self._listing([kind() for _ in range(self.rng.randint(2, 3))])

    def list_of_quantities(self) -> Meaning:
        kind = self._one_of(self._quantities)
        return self._listing([kind(), kind()])

    def _listing(self, items: Sequence[Meaning]) -> Meaning:
        styles: tuple[render.ListStyle, ...] = ("standard", "or")
        style = self.rng.choice(styles)
        return lambda locale: render.listing(
            locale, [item(locale) for item in items], style
        )

    def joined(self) -> Meaning:
        """Two phrases of different kinds, joined by a dash in any locale."""
        first = self._one_of(self._alone)
        others = {kind: w for kind, w in self._alone.items() if kind != first}
        items = [first(), self._one_of(others or self._alone)()]
        return lambda locale: (
            *relabel(items[0](locale), "0"),
            Piece(" – "),
            *relabel(items[1](locale), "1"),
        )


def parse_locale(field: str, name: str) -> str:
    """The identifier of the Babel locale that a user's "zh" or "pt-BR" means.

    Raises:
      UnknownNameError: Babel has no such locale; names `field` and the nearest match.
    """
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        known = localedata.locale_identifiers()
        error = unknown_name(f"{field} (a Babel locale)", name, sorted(known, key=len))
        message = str(error).split(" Known:")[0]
        raise type(error)(
            f"{message} Babel has {len(known)}: zh, en, pt_BR, ..."
        ) from None
