"""Splits whose dev and test sets hold no token that training does not have."""

from collections.abc import Sequence

from attention_jax.config import DataConfig
from attention_jax.data.codec import lower_case
from attention_jax.data.pairs import Pair
from attention_jax.data.splits import Splits, split_by_group
from attention_jax.data.tokenization import Tokenizer, make_tokenizer

# Draws in which a trained tokenizer may turn out to have cut held-out text in a new way.
_MAX_ROUNDS = 20


def split_covered(pairs: Sequence[Pair], config: DataConfig) -> Splits:
    """`split_by_group`, with every token of dev and test somewhere in train.

    The first pair that has a token is kept for training. Where the tokens themselves are
    learnt from the training texts (subwords), the split is drawn again without the pairs
    that turned out to hold an unseen one, until none does.

    Raises:
      ValueError: the sizes cannot be had, or no such split was found.
    """
    sides = (("source", config.source_tokenizer), ("target", config.target_tokenizer))
    tokenizers = {}
    train_only: set[int] = set()
    for side, name in sides:
        texts = _texts(pairs, side, config)
        tokenizer = make_tokenizer(name, texts, subwords=config.subwords)
        tokenizers[side] = tokenizer.to_dict()
        train_only |= _first_occurrences(texts, tokenizer)
    for _ in range(_MAX_ROUNDS):
        splits = split_by_group(
            pairs, config.num_dev, config.num_test, config.seed, train_only=train_only
        )
        unseen: set[Pair] = set()
        for side, name in sides:
            texts = _texts(splits.train, side, config)
            learnt = make_tokenizer(name, texts, subwords=config.subwords)
            if learnt.to_dict() != tokenizers[side]:
                held_out = splits.dev + splits.test
                cut = map(learnt.tokenize, _texts(held_out, side, config))
                seen = {token.text for t in texts for token in learnt.tokenize(t)}
                unseen |= {
                    pair
                    for pair, tokens in zip(held_out, cut, strict=True)
                    if not seen.issuperset(token.text for token in tokens)
                }
        if not unseen:
            return splits
        train_only |= {i for i, pair in enumerate(pairs) if pair in unseen}
    raise ValueError(
        f"after {_MAX_ROUNDS} draws dev or test still has tokens that train has not: "
        "generate more pairs (--config.data.num_pairs) or learn fewer subwords"
    )


def _texts(pairs: Sequence[Pair], side: str, config: DataConfig) -> list[str]:
    texts = [getattr(pair, side) for pair in pairs]
    return [lower_case(text) for text in texts] if config.lowercase else texts


def _first_occurrences(texts: Sequence[str], tokenizer: Tokenizer) -> set[int]:
    """For each token, the index of the first text that has it."""
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        for token in tokenizer.tokenize(text):
            first.setdefault(token.text, index)
    return set(first.values())
