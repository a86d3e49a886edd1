"""Encoded pairs, packed end to end so that a batch is one gather."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int32, Int64

from attention_jax.data.codec import TextCodec
from attention_jax.data.pairs import Pair
from attention_jax.data.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """N sentence pairs as ids, without BOS and EOS.

    Attributes:
      source, target: every sentence's ids, end to end.
      source_starts, target_starts: where each sentence begins, and the end of the last.
      ids: what each is called in a batch: its place in the pairs it was made from.
    """

    source: Int32[np.ndarray, " source_tokens"]
    source_starts: Int64[np.ndarray, " starts"]
    target: Int32[np.ndarray, " target_tokens"]
    target_starts: Int64[np.ndarray, " starts"]
    ids: Int32[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def source_lengths(self) -> Int64[np.ndarray, " N"]:
        """Words in each source."""
        return np.diff(self.source_starts)

    @property
    def target_lengths(self) -> Int64[np.ndarray, " N"]:
        """Words in each target, and one for its EOS."""
        return np.diff(self.target_starts) + 1


def encode_pairs(
    pairs: Sequence[Pair], source_codec: TextCodec, target_codec: TextCodec
) -> Examples:
    """The pairs as ids, in order."""
    source = _pack(source_codec.encode(pair.source) for pair in pairs)
    target = _pack(target_codec.encode(pair.target) for pair in pairs)
    return Examples(*source, *target, np.arange(len(pairs), dtype=np.int32))


def encode_sources(sentences: Sequence[str], source_codec: TextCodec) -> Examples:
    """Sentences to translate: examples whose targets are empty."""
    tokens = [[token.text for token in source_codec.tokens(text)] for text in sentences]
    return encode_tokens(tokens, source_codec.vocabulary)


def encode_tokens(
    sentences: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> Examples:
    """As `encode_sources`, of sentences that are cut into tokens already."""
    source = _pack(vocabulary.encode(tokens) for tokens in sentences)
    target = _pack([] for _ in sentences)
    return Examples(*source, *target, np.arange(len(sentences), dtype=np.int32))


def _pack(
    sentences: Iterable[Sequence[int]],
) -> tuple[Int32[np.ndarray, " tokens"], Int64[np.ndarray, " starts"]]:
    sentences = list(sentences)
    starts = np.zeros(len(sentences) + 1, np.int64)
    np.cumsum([len(sentence) for sentence in sentences], out=starts[1:])
    flat = (word for sentence in sentences for word in sentence)
    return np.fromiter(flat, np.int32, count=int(starts[-1])), starts


def keep_short(examples: Examples, max_source: int, max_target: int) -> Examples:
    """The examples of at most so many words (EOS not counted); 0 is no limit.

    Their ids stay what they were.
    """
    for name, limit in (("max_source", max_source), ("max_target", max_target)):
        if limit < 0:
            raise ValueError(f"{name} must be at least 0, got {limit}")
    kept: Bool[np.ndarray, " N"] = np.ones(len(examples), bool)
    if max_source:
        kept &= examples.source_lengths <= max_source
    if max_target:
        kept &= examples.target_lengths - 1 <= max_target
    if kept.all():
        return examples
    rows = np.flatnonzero(kept)
    return Examples(
        *_take(examples.source, examples.source_starts, rows),
        *_take(examples.target, examples.target_starts, rows),
        examples.ids[rows],
    )


def _take(words, starts, rows):
    return _pack(words[starts[row] : starts[row + 1]].tolist() for row in rows)
