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

# From a source's symbols, numbers below `config.symbols`, and the set of those that are
# "adjectives": for each target word the index of the source word that it is from.
Task = Callable[[Sequence[int], set[int]], list[int]]

synthetic_tasks: Registry[Task] = Registry("synthetic task")


def copy(source: Sequence[int], adjectives: set[int]) -> list[int]:
    """The same words in the same order."""
    return list(range(len(source)))


def reverse(source: Sequence[int], adjectives: set[int]) -> list[int]:
    """The same words from last to first."""
    return list(range(len(source)))[::-1]


def sort(source: Sequence[int], adjectives: set[int]) -> list[int]:
    """The same words in alphabetical order; equal words keep theirs."""
    return sorted(range(len(source)), key=source.__getitem__)


def lexicon(source: Sequence[int], adjectives: set[int]) -> list[int]:
    """Each word translated one to one; adjectives trade places with the next word.

    An adjective that another symbol follows, and that has not itself just traded places,
    comes after that symbol in the target.
    """
    order: list[int] = []
    while len(order) < len(source):
        index = len(order)
        if source[index] in adjectives and index + 1 < len(source):
            order += [index + 1, index]
        else:
            order.append(index)
    return order


for _task in (copy, reverse, sort, lexicon):
    synthetic_tasks.register(_task.__name__, _task, function=_task)


@register_data_source("synthetic")
def synthetic(config: DataConfig) -> Splits:
    """`config.num_pairs` pairs of the task `config.task`, split.

    Source sentences are distinct, their lengths spread evenly over [min_length,
    max_length] as far as there are enough sentences of each length.
    """
    task = synthetic_tasks.get(config.task)
    words = syllables(config.symbols)
    drawn = random.Random(f"lexicon {config.seed}")
    translation = drawn.sample(range(config.symbols), config.symbols)
    adjectives = set(drawn.sample(range(config.symbols), config.symbols // 2))
    # Two languages where words are translated, one where they are only moved.
    translated = [words[symbol][::-1] for symbol in translation]
    target_words = translated if task is lexicon else words
    rng = random.Random(config.seed)
    pairs = []
    for length, count in _counts(config).items():
        for number in _distinct(rng, config.symbols**length, count):
            source = [
                number // config.symbols**i % config.symbols for i in range(length)
            ]
            order = task(source, adjectives)
            texts = (
                " ".join(words[symbol] for symbol in source),
                " ".join(target_words[source[index]] for index in order),
            )
            spans = [[m.span() for m in re.finditer(r"\S+", text)] for text in texts]
            links = (
                Link(*spans[0][index], *span)
                for index, span in zip(order, spans[1], strict=True)
            )
            pairs.append(Pair(*texts, tuple(links)))
    rng.shuffle(pairs)
    return split_by_group(pairs, config.num_dev, config.num_test, config.seed)


def syllables(count: int) -> list[str]:
    """`count` distinct words of equal length, in alphabetical order: "ba", "be", ..."""
    letters = ("bcdfghjklmnpqrstvwxz", "aeiou")
    size = 1
    while 100**size < count:
        size += 1
    words = itertools.product(*letters * size)
    return ["".join(word) for word in itertools.islice(words, count)]


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
