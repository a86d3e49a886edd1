"""Generated languages: copy, reverse, sort, and a lexicon with reordering.

Words are syllables, so `config.source_tokenizer` and `config.target_tokenizer` should be
"words": lengths are counted in those. The alignment is known.
"""

import itertools
import random
import re
from collections.abc import Callable, Sequence

from attention_jax.config import DataConfig
from attention_jax.data.pairs import Link, Pair
from attention_jax.data.sources import register_data_source
from attention_jax.data.splits import Splits, split_by_group
from attention_jax.errors import UserError
from attention_jax.functions.registry import Registry

# Source symbols -> target symbols, and for each target word the source word it is from.
# Symbols are numbers below `symbols`; a task draws its constants from the seed.
Translate = Callable[[Sequence[int]], tuple[list[int], list[int]]]
Task = Callable[[int, int], Translate]

synthetic_tasks: Registry[Task] = Registry("synthetic task")


def register_synthetic_task(name: str) -> Callable[[Task], Task]:
    """Decorator: registers a function (symbols, seed) → `Translate` as a task."""

    def register(function: Task) -> Task:
        return synthetic_tasks.register(name, function, function=function)

    return register


@register_synthetic_task("copy")
def copy(symbols: int, seed: int) -> Translate:
    """The same words in the same order."""
    del symbols, seed
    return lambda source: (list(source), list(range(len(source))))


@register_synthetic_task("reverse")
def reverse(symbols: int, seed: int) -> Translate:
    """The same words from last to first."""
    del symbols, seed
    return lambda source: (list(source[::-1]), list(range(len(source)))[::-1])


@register_synthetic_task("sort")
def sort(symbols: int, seed: int) -> Translate:
    """The same words in alphabetical order; equal words keep theirs."""
    del symbols, seed

    def translate(source: Sequence[int]) -> tuple[list[int], list[int]]:
        order = sorted(range(len(source)), key=source.__getitem__)
        return [source[index] for index in order], order

    return translate


@register_synthetic_task("lexicon")
def lexicon(symbols: int, seed: int) -> Translate:
    """Each word translated one to one; some, like adjectives, trade places with the next.

    A fixed random half of the symbols are "adjectives": one that another symbol follows,
    and that has not itself just traded places, comes after that symbol in the target.
    """
    rng = random.Random(f"lexicon {seed}")
    translation = rng.sample(range(symbols), symbols)
    moves = set(rng.sample(range(symbols), symbols // 2))

    def translate(source: Sequence[int]) -> tuple[list[int], list[int]]:
        order: list[int] = []
        while len(order) < len(source):
            index = len(order)
            if source[index] in moves and index + 1 < len(source):
                order += [index + 1, index]
            else:
                order.append(index)
        return [translation[source[index]] for index in order], order

    return translate


@register_data_source("synthetic")
def synthetic(config: DataConfig) -> Splits:
    """`config.num_pairs` pairs of the task `config.task`, split.

    Source sentences are distinct, their lengths spread evenly over [min_length,
    max_length] as far as there are enough sentences of each length.

    Raises:
      UserError: there are fewer sentences than pairs; an UnknownNameError if there is no
        such task.
    """
    translate = synthetic_tasks.get(config.task)(config.symbols, config.seed)
    source_words = syllables(config.symbols)
    # Two languages where words are translated, one where they are only moved.
    if config.task == "lexicon":
        target_words = [word[::-1] for word in source_words]
    else:
        target_words = source_words
    rng = random.Random(config.seed)
    pairs = []
    for length, count in _counts(config).items():
        for number in _distinct(rng, config.symbols**length, count):
            source = _digits(number, config.symbols, length)
            target, origin = translate(source)
            pairs.append(
                _pair(
                    [source_words[symbol] for symbol in source],
                    [target_words[symbol] for symbol in target],
                    origin,
                )
            )
    rng.shuffle(pairs)
    return split_by_group(pairs, config.num_dev, config.num_test, config.seed)


def syllables(count: int) -> list[str]:
    """`count` distinct words of equal length, in alphabetical order: "ba", "be", ..."""
    consonants, vowels = "bcdfghjklmnpqrstvwxz", "aeiou"
    size = 1
    while (len(consonants) * len(vowels)) ** size < count:
        size += 1
    letters = (consonants, vowels) * size
    return [
        "".join(word) for word in itertools.islice(itertools.product(*letters), count)
    ]


def _counts(config: DataConfig) -> dict[int, int]:
    """How many pairs of each length: as even as the number of sentences allows."""
    lengths = range(config.min_length, config.max_length + 1)
    space = sum(config.symbols**length for length in lengths)
    if config.num_pairs > space:
        raise UserError(
            f"config.data.num_pairs must be at most {space}, the number of sentences of "
            f"{config.min_length} to {config.max_length} words out of {config.symbols}, "
            f"got {config.num_pairs}"
        )
    counts = {}
    left = config.num_pairs
    for done, length in enumerate(lengths):  # the rarest lengths first
        counts[length] = min(config.symbols**length, left // (len(lengths) - done))
        left -= counts[length]
    return counts


def _distinct(rng: random.Random, below: int, count: int) -> list[int]:
    """`count` distinct numbers in [0, below)."""
    if below <= 4 * count:
        return rng.sample(range(below), count)
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[rng.randrange(below)] = None
    return list(drawn)


def _digits(number: int, base: int, length: int) -> list[int]:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, base)
        digits.append(digit)
    return digits


def _pair(source: list[str], target: list[str], origin: list[int]) -> Pair:
    texts = " ".join(source), " ".join(target)
    source_spans, target_spans = (
        [match.span() for match in re.finditer(r"\S+", text)] for text in texts
    )
    links = [
        Link(*source_spans[index], *span)
        for index, span in zip(origin, target_spans, strict=True)
    ]
    return Pair(*texts, tuple(links))
