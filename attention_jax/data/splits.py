"""Train, dev and test pairs that share no sentence."""

import dataclasses
import hashlib
import itertools
import json
import random
import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

from attention_jax.config import DataConfig
from attention_jax.data.codec import UNK, build_codecs
from attention_jax.data.pairs import Pair
from attention_jax.data.tokenization import Tokenizer, lower_case, tokenizers
from attention_jax.errors import UserError

_SIDES = ("source", "target")
# Draws in which a trained tokenizer may turn out to cut dev or test text in a new way.
_MAX_ROUNDS = 20


class Splits(NamedTuple):
    """The pairs of an experiment, and a report of how they were made."""

    train: tuple[Pair, ...]
    dev: tuple[Pair, ...]
    test: tuple[Pair, ...]
    report: dict[str, int | str]


def sentence_key(text: str) -> str:
    """The form in which two sentences are compared: equal ones may not be split.

    Width and compatibility variants (NFKC), case, white space and punctuation at either
    end do not count. A sentence of nothing but punctuation keeps it.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    edges = {char for char in folded if unicodedata.category(char)[0] == "P"}
    return folded.strip(" " + "".join(edges)) or folded


def split_by_group(
    pairs: Sequence[Pair],
    num_dev: int,
    num_test: int,
    seed: int,
    *,
    train_only: Collection[int] = (),
) -> Splits:
    """Random splits between which no source and no target sentence is shared.

    Pairs that share either sentence (by `sentence_key`) are connected; a connected
    component goes into one split as a whole. A component larger than a twentieth of a split
    is drawn for it only when nothing else fills the split. Components of the pairs with the
    indices `train_only` may only be trained on.

    Raises:
      UserError: no choice of components that was tried has exactly these sizes.
    """
    if num_dev + num_test > len(pairs):
        raise UserError(
            "config.data.num_dev + config.data.num_test must be at most the number of "
            f"pairs, {len(pairs)}; got {num_dev} + {num_test}"
        )
    groups = connected_groups(pairs)
    only = set(train_only)
    free = [group for group in groups if only.isdisjoint(group)]
    random.Random(seed).shuffle(free)
    test, free = _draw(free, num_test, "test")
    dev, _ = _draw(free, num_dev, "dev")
    drawn = {*dev, *test}
    train = [index for index in range(len(pairs)) if index not in drawn]
    random.Random(seed + 1).shuffle(train)
    report: dict[str, int | str] = {"pairs": len(pairs), "groups": len(groups)}
    report["largest group"] = max(map(len, groups), default=0)
    parts = [tuple(pairs[index] for index in part) for part in (train, dev, test)]
    return Splits(parts[0], parts[1], parts[2], report)


def connected_groups(pairs: Sequence[Pair]) -> list[list[int]]:
    """Indices of the pairs, by connected component, in order of their first pair."""
    group_of = [[index] for index in range(len(pairs))]
    first_with: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(pairs):
        for side in _SIDES:
            key = (side, sentence_key(getattr(pair, side)))
            other = first_with.setdefault(key, index)
            small, large = sorted((group_of[other], group_of[index]), key=len)
            if small is not large:
                large.extend(small)
                for member in small:
                    group_of[member] = large
    return sorted(sorted(group) for group in {id(g): g for g in group_of}.values())


def _draw(
    groups: list[list[int]], size: int, name: str
) -> tuple[list[int], list[list[int]]]:
    """Complete groups of `size` pairs in total, and the groups left over."""
    orders = groups, sorted(groups, key=len, reverse=True)
    for limit, order in itertools.product((max(1, size // 20), size), orders):
        drawn: list[int] = []
        left = []
        for group in order:
            if len(group) <= min(limit, size - len(drawn)):
                drawn.extend(group)
            else:
                left.append(group)
        if len(drawn) == size:
            return drawn, left
    raise UserError(
        f"the {name} split needs exactly {size} pairs, and the {len(groups)} groups of "
        "connected pairs left to draw from do not add up to that: "
        f"ask for fewer (--config.data.num_{name}) or give more pairs"
    )


def split_covered(pairs: Sequence[Pair], config: DataConfig) -> Splits:
    """`split_by_group`, with every token of dev and test also in train.

    The first pair that has a token is kept for training. Where the tokens themselves are
    learnt from the training texts (subwords), the split is drawn again without the pairs
    that turned out to hold an unseen one, until there are none.
    """
    config = dataclasses.replace(config, min_frequency=1, max_vocabulary=0)
    train_only: set[int] = set()
    learnt = False
    for side in _SIDES:
        texts, tokenizer = _train_tokenizer(config, pairs, side)
        learnt |= tokenizer.to_dict() != {"name": tokenizer.name}
        first: dict[str, int] = {}
        for index, text in enumerate(texts):
            for token in tokenizer.tokenize(text):
                first.setdefault(token.text, index)
        train_only |= set(first.values())
    for _ in range(_MAX_ROUNDS):
        splits = split_by_group(
            pairs, config.num_dev, config.num_test, config.seed, train_only=train_only
        )
        unseen: set[Pair] = set()
        codecs = build_codecs(config, splits.train) if learnt else ()
        for side, codec in zip(_SIDES, codecs, strict=False):
            rest = splits.dev + splits.test
            unseen |= {p for p in rest if UNK in codec.encode(getattr(p, side))}
        if not unseen:
            return splits
        train_only |= {i for i, pair in enumerate(pairs) if pair in unseen}
    raise UserError(
        f"after {_MAX_ROUNDS} draws dev or test still has tokens that train does not: "
        "generate more pairs (--config.data.num_pairs) or learn fewer subwords"
    )


def _train_tokenizer(
    config: DataConfig, pairs: Sequence[Pair], side: str
) -> tuple[list[str], Tokenizer]:
    """A side's texts, as they are cut, and its tokenizer."""
    texts = [getattr(pair, side) for pair in pairs]
    if config.lowercase:
        texts = [lower_case(text) for text in texts]
    name = getattr(config, f"{side}_tokenizer")
    return texts, tokenizers.get(name).train(texts, subwords=config.subwords)


def find_leaks(splits: Splits) -> list[tuple[str, str, str, str]]:
    """Each sentence that is, on the same side, in two splits: side, splits, its key."""
    leaks = []
    for side in _SIDES:
        keys = {
            name: {sentence_key(getattr(pair, side)) for pair in getattr(splits, name)}
            for name in ("train", "dev", "test")
        }
        for first, second in itertools.combinations(keys, 2):
            shared = sorted(keys[first] & keys[second])
            leaks += [(side, first, second, sentence) for sentence in shared]
    return leaks


def split_hash(splits: Splits) -> str:
    """SHA-256, in hex, over every pair's texts and the split it is in, in order."""
    digest = hashlib.sha256()
    for name in ("train", "dev", "test"):
        for pair in getattr(splits, name):
            line = json.dumps([name, pair.source, pair.target], ensure_ascii=True)
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()
