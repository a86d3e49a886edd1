"""A trained run, loaded: translate with it, look at its attention."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from attention_jax.configuration import ExperimentConfig
from attention_jax.data.batches import Batch, eval_batches
from attention_jax.data.codec import TextCodec, load_codecs
from attention_jax.data.examples import encode_pairs, encode_sources
from attention_jax.data.pairs import Pair
from attention_jax.decoding.greedy import greedy_decode
from attention_jax.models.functional import Model, build_model
from attention_jax.training.checkpoint_reading import average_params, load_params
from attention_jax.training.run_directory import RunDirectory

# Array elements of a batch's weights [B, L, S]: longer sentences get fewer rows, and one
# whose own weights would not fit is refused.
_MAX_BATCH = 2**25
_MAX_SENTENCE = 2**28


class Translation(NamedTuple):
    """One translated sentence.

    Attributes:
      text: detokenised; "" for a blank sentence.
      source_tokens, target_tokens: the S and T words, as a reader wants to see them.
      weights: row t is the attention that target word t was predicted with.
    """

    text: str
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    weights: Float[np.ndarray, "T S"]


class SentenceAttention(NamedTuple):
    """What `plot_weights` takes, in another order: words and [T, S] weights."""

    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    weights: Float[np.ndarray, "T S"]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A configuration, its codecs, its model and one checkpoint's parameters."""

    config: ExperimentConfig
    params: Any
    model: Model
    source_codec: TextCodec
    target_codec: TextCodec

    def translate(self, sentences: Sequence[str]) -> list[str]:
        """The greedy translation of each sentence, in order; "" for a blank one.

        A sentence's translation depends on nothing else in `sentences`: its batch has a
        shape that is a function of its own length. Each such shape (widths 8, 16, 32, …)
        compiles once per process, seconds each.

        Raises:
          TypeError: `sentences` is one string, or one of them is not a string.
          ValueError: a sentence is too long for memory; names it.
        """
        texts = [""] * len(sentences)
        for index, translation in self._decode(sentences):
            texts[index] = translation.text
        return texts

    def decode(self, sentences: Sequence[str]) -> list[Translation]:
        """As `translate`, with the words and the attention of each."""
        nothing = Translation("", (), (), np.zeros((0, 0), np.float32))
        translations = [nothing] * len(sentences)
        for index, translation in self._decode(sentences):
            translations[index] = translation
        return translations

    def compile(self, sentences: Sequence[str]) -> None:
        """Compiles what translating these sentences needs, by translating a few."""
        shortest = {}
        for sentence in sentences:
            length = len(self.source_codec.tokens(sentence))
            shortest.setdefault(_width(length) if length else 0, sentence)
        self.translate(list(shortest.values()))

    def attend(self, source: str, target: str | None = None) -> SentenceAttention:
        """The attention over the words of `source` behind each word of `target`.

        Args:
          source: a sentence.
          target: a translation, whose words are forced on the decoder; by default the
            greedy translation, which may be empty.

        Returns:
          the words of both sides and weights [T, S]; EOS has no row.

        Raises:
          ValueError: the run has no attention, or a sentence given has no words.
        """
        if self.config.model.attention == "none":
            raise ValueError(
                "this run has no attention to show: its config.model.attention is none"
            )
        for name, text, codec in (
            ("source", source, self.source_codec),
            ("target", target, self.target_codec),
        ):
            if text is None and name == "target":
                continue
            if not codec.tokens(_check_text(name, text)):
                raise ValueError(f"{name} has no words: {text!r}")
        if target is None:
            translation = self.decode([source])[0]
            return SentenceAttention(
                translation.source_tokens,
                translation.target_tokens,
                translation.weights,
            )
        examples = encode_pairs(
            [Pair(source, target)], self.source_codec, self.target_codec
        )
        shape = (
            _width(int(examples.source_lengths[0])),
            _width(int(examples.target_lengths[0])),
        )
        [batch] = eval_batches(examples, 1, shape=shape)
        weights = np.asarray(_forced_weights(self.model, self.params, batch))[0]
        source_tokens = _shown(self.source_codec, source)
        target_tokens = _shown(self.target_codec, target)
        return SentenceAttention(
            source_tokens,
            target_tokens,
            weights[: len(target_tokens), : len(source_tokens)],
        )

    def _decode(self, sentences: Sequence[str]) -> Iterator[tuple[int, Translation]]:
        """(index, translation) of every sentence that has words, short ones first."""
        if isinstance(sentences, str):
            raise TypeError("sentences must be a sequence of strings, got one string")
        for index, sentence in enumerate(sentences):
            _check_text(f"sentences[{index}]", sentence)
        lengths = [len(self.source_codec.tokens(sentence)) for sentence in sentences]
        by_width: dict[int, list[int]] = {}
        for index in sorted(range(len(sentences)), key=lengths.__getitem__):
            if lengths[index]:
                by_width.setdefault(_width(lengths[index]), []).append(index)
        for width, indices in by_width.items():
            area = width * self._max_length(width)
            if area > _MAX_SENTENCE:
                raise ValueError(
                    f"sentence {indices[0] + 1} has {lengths[indices[0]]} tokens, too "
                    "many for one sentence"
                )
            rows = max(1, min(self.config.decoding.batch_size, _MAX_BATCH // area))
            for start in range(0, len(indices), rows):
                chunk = indices[start : start + rows]
                texts = [sentences[index] for index in chunk]
                yield from zip(chunk, self._decode_batch(texts, width, rows))

    def _decode_batch(
        self, sentences: Sequence[str], width: int, rows: int
    ) -> Iterator[Translation]:
        [batch] = eval_batches(
            encode_sources(sentences, self.source_codec), rows, shape=(width, 1)
        )
        decoded = greedy_decode(
            self.model,
            self.params,
            batch.source,
            batch.source_lengths,
            max_length=self._max_length(width),
        )
        words, lengths, weights = map(
            np.asarray, (decoded.tokens, decoded.lengths, decoded.weights)
        )
        for row, sentence in enumerate(sentences):
            source_tokens = _shown(self.source_codec, sentence)
            # The batch's limit is that of its width; the sentence's own may be lower.
            length = min(int(lengths[row]), self._max_length(len(source_tokens)))
            ids = words[row, :length].tolist()
            yield Translation(
                self.target_codec.decode(ids),
                source_tokens,
                tuple(
                    map(
                        self.target_codec.tokenizer.display,
                        self.target_codec.vocabulary.decode(ids),
                    )
                ),
                weights[row, :length, : len(source_tokens)].copy(),
            )

    def _max_length(self, source_length: int) -> int:
        decoding = self.config.decoding
        ratio, offset = decoding.max_length_ratio, decoding.max_length_offset
        return max(1, int(source_length * ratio) + offset)


# What `checkpoint` may be: the best one on dev, the last one, and the mean of the last
# `config.training.keep_checkpoints`.
CHECKPOINTS = ("best", "last", "average")


def load_run(workdir: str | os.PathLike[str], *, checkpoint: str = "best") -> Run:
    """The run in `workdir`, ready to translate.

    Args:
      workdir: what `experiments.train` was given.
      checkpoint: "best" on dev, by `config.training.best_by`; "last"; or "average", the
        mean of the parameters of the last `config.training.keep_checkpoints`.

    Raises:
      OSError: no such directory, no run in it, no checkpoint yet, or a user's file that
        the run needs is gone; names it.
      ValueError: `checkpoint` is none of these, or a file of the run is damaged.
    """
    if checkpoint not in CHECKPOINTS:
        choices = ", ".join(map(repr, CHECKPOINTS))
        raise ValueError(f"checkpoint must be one of {choices}, got {checkpoint!r}")
    directory = RunDirectory(workdir)
    if directory.path.is_file():
        raise NotADirectoryError(f"{directory.path} is a file, not a run directory")
    if not directory.path.is_dir():
        raise FileNotFoundError(f"there is no run directory {directory.path}")
    config = directory.load_config()
    if not directory.codecs_path.is_file():
        raise FileNotFoundError(
            f"the run in {directory.path} stopped while it was being set up: it has no "
            f"{directory.codecs_path.name}; the same training command starts it again"
        )
    source_codec, target_codec = load_codecs(directory.codecs_path)
    model = build_model(
        config.model, len(source_codec.vocabulary), len(target_codec.vocabulary)
    )
    path, like = (
        directory.checkpoints_path,
        jax.eval_shape(model.init, jax.random.key(0)),
    )
    if checkpoint == "average":
        params = average_params(path, like, last=config.training.keep_checkpoints)
    else:
        step = _last_step(directory) if checkpoint == "last" else None
        params = load_params(path, like, step=step)
    return Run(config, params, model, source_codec, target_codec)


def _last_step(directory: RunDirectory) -> int | None:
    """The last checkpoint's step: its folder's name; None before there is one."""
    folders = directory.checkpoints_path.glob("[0-9]*")
    return max(
        (int(path.name) for path in folders if path.name.isdigit()), default=None
    )


@functools.partial(jax.jit, static_argnums=0)
def _forced_weights(model: Model, params: Any, batch: Batch) -> jax.Array:
    return model.apply(params, batch).weights


def _check_text(name: str, text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string, got {text!r}")
    return text


def _width(length: int) -> int:
    """The array width for a sentence: the next power of two, at least 8."""
    return max(8, 1 << (length - 1).bit_length())


def _shown(codec: TextCodec, text: str) -> tuple[str, ...]:
    return tuple(codec.tokenizer.display(token.text) for token in codec.tokens(text))
