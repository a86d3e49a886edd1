"""Batches of few fixed shapes, each a pure function of the seed and the step."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from attention_jax.data.buckets import Shape, assign_buckets, bucket_shapes
from attention_jax.data.examples import Examples
from attention_jax.data.vocabulary import BOS, EOS, PAD


class Batch(NamedTuple):
    """B sentence pairs, padded with PAD. A filler row is all PAD, of length 0 and id −1.

    Attributes:
      source: the source's words.
      source_lengths: how many they are.
      target_inputs: BOS and the target's words.
      target_outputs: the target's words and EOS.
      target_lengths: words + 1, for EOS.
      example_ids: which example each row is.
    """

    source: Int32[np.ndarray, "B S"]
    source_lengths: Int32[np.ndarray, " B"]
    target_inputs: Int32[np.ndarray, "B T"]
    target_outputs: Int32[np.ndarray, "B T"]
    target_lengths: Int32[np.ndarray, " B"]
    example_ids: Int32[np.ndarray, " B"]


def make_batch(
    examples: Examples, rows: Int64[np.ndarray, " n"], *, batch_size: int, shape: Shape
) -> Batch:
    """The given examples as one batch, filled up to `batch_size` with filler rows."""
    filled = np.zeros(batch_size, bool)
    filled[: len(rows)] = True
    source, source_lengths = _gather(
        examples.source, examples.source_starts, rows, batch_size, shape[0]
    )
    # One column more than the words need, so that BOS or EOS fits beside them.
    words, num_words = _gather(
        examples.target, examples.target_starts, rows, batch_size, shape[1]
    )
    target_inputs = np.full_like(words, PAD)
    target_inputs[:, 1:] = words[:, :-1]
    target_inputs[filled, 0] = BOS
    target_outputs = words
    target_outputs[filled, num_words[filled]] = EOS
    ids = np.full(batch_size, -1, np.int32)
    ids[: len(rows)] = examples.ids[rows]
    target_lengths = num_words + filled.astype(np.int32)
    return Batch(
        source, source_lengths, target_inputs, target_outputs, target_lengths, ids
    )


def _gather(words, starts, rows, batch_size: int, width: int):
    """[B, width] words of the rows, PAD behind and below; [B] their numbers."""
    lengths = np.zeros(batch_size, np.int32)
    lengths[: len(rows)] = starts[rows + 1] - starts[rows]
    first = np.zeros(batch_size, np.int64)
    first[: len(rows)] = starts[rows]
    columns = np.arange(width)[None, :]
    real = columns < lengths[:, None]
    padded = np.full((batch_size, width), PAD, np.int32)
    padded[real] = words[(first[:, None] + columns)[real]]
    return padded, lengths


class TrainBatches:
    """An endless sequence of training batches: `at(step)` for any step, in any order.

    Every epoch has each example once, in batches of examples that share a shape, drawn
    and ordered anew from (seed, epoch). A shape's last batch is completed with filler rows.

    Args:
      examples: what to train on; at least one.
      batch_size: rows in a batch.
      seed: of the order.
      num_buckets: at most so many distinct shapes.

    Attributes:
      shapes: the (source, target) widths that occur.
      steps_per_epoch: batches in an epoch.
      padding_share: the share of the arrays' places, source and target together, that
        hold neither word nor EOS, filler rows included.
    """

    def __init__(
        self, examples: Examples, *, batch_size: int, seed: int, num_buckets: int = 4
    ):
        if len(examples) == 0:
            raise ValueError("examples is empty: there is nothing to train on")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        lengths = np.stack([examples.source_lengths, examples.target_lengths], axis=1)
        shapes = bucket_shapes(lengths, num_buckets)
        buckets = assign_buckets(lengths, shapes)
        self.shapes = tuple(shapes[index] for index in np.unique(buckets))
        self._members = [np.flatnonzero(buckets == b) for b in np.unique(buckets)]
        batches = [-(-len(rows) // batch_size) for rows in self._members]
        self.steps_per_epoch = sum(batches)
        self._bucket_of = np.repeat(np.arange(len(batches)), batches)
        self._place_of = np.concatenate([np.arange(count) for count in batches])
        places = sum(
            count * batch_size * sum(shape)
            for count, shape in zip(batches, self.shapes, strict=True)
        )
        self.padding_share = 1.0 - int(lengths.sum()) / places
        self._epoch = functools.lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, epoch: int):
        rng = np.random.default_rng([self.seed, epoch])
        rows = [rng.permutation(members) for members in self._members]
        return rows, rng.permutation(self.steps_per_epoch)

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0: the same however one gets there."""
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}")
        epoch, place = divmod(step, self.steps_per_epoch)
        rows, order = self._epoch(epoch)
        bucket = int(self._bucket_of[order[place]])
        start = int(self._place_of[order[place]]) * self.batch_size
        return make_batch(
            self.examples,
            rows[bucket][start : start + self.batch_size],
            batch_size=self.batch_size,
            shape=self.shapes[bucket],
        )


def eval_batches(
    examples: Examples, batch_size: int, *, shape: Shape | None = None
) -> list[Batch]:
    """The examples in their order, all batches of one shape, the last one filled up.

    Args:
      examples: what to evaluate on or translate; none gives no batch.
      batch_size: rows in a batch.
      shape: widths to pad to; the longest source and target by default.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if len(examples) == 0:
        return []
    longest = (
        max(1, int(examples.source_lengths.max())),
        int(examples.target_lengths.max()),
    )
    shape = shape or longest
    if shape[0] < longest[0] or shape[1] < longest[1]:
        raise ValueError(f"shape must be at least {longest}, got {shape}")
    rows = np.arange(len(examples))
    return [
        make_batch(
            examples, rows[start:][:batch_size], batch_size=batch_size, shape=shape
        )
        for start in range(0, len(examples), batch_size)
    ]
