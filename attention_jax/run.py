"""A trained run, loaded: translate with it, look at its attention."""

import dataclasses
import os
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.codec import load_codecs
from attention_jax.data.pairs import Pair
from attention_jax.decoding.base import integer
from attention_jax.decoding.searches import (
    check_config,
    check_n_best,
    implied_search,
    searches,
)
from attention_jax.decoding.translate import (
    NOTHING,
    Translation,
    Translator,
    decode_sentences,
    force_pairs,
    longest_sentence,
    plan,
)
from attention_jax.errors import UserError, unknown_name
from attention_jax.models import build_model
from attention_jax.models.attention_wiring import attends
from attention_jax.training.checkpoints import existing_steps, load_params
from attention_jax.training.run_directory import RunDirectory


class SentenceAttention(NamedTuple):
    """The tokens of both sides and the attention between them, as `plot_weights` shows it."""

    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    weights: Float[np.ndarray, "T S"]


def with_decoding(config: ExperimentConfig, **fields: Any) -> ExperimentConfig:
    """As `Run.with_decoding`, of a run's configuration."""
    known = [field.name for field in dataclasses.fields(DecodingConfig)]
    for name in fields:
        if name not in known:
            raise unknown_name("field of config.decoding", name, known)
    search = fields.get("search")
    if len(fields) < len(known) and search in (None, *searches.names()):
        search = implied_search(fields, search)
    fields["search"] = config.decoding.search if search is None else search
    decoding = dataclasses.replace(config.decoding, **fields)
    check_config(decoding, config.model)
    return dataclasses.replace(config, decoding=decoding)


class Run(Translator):
    """A configuration, its codecs, its model and one checkpoint's parameters.

    Attributes: `config`, `params`, `model`, `source_codec`, `target_codec`.
    """

    def with_decoding(self, **fields: Any) -> "Run":
        """The same run with other fields of `config.decoding`.

            run.with_decoding(beam_size=5, length_penalty="gnmt")

        A field that is about one search implies it, here `beam`; all of them together are
        a configuration, whose `search` says it.

        Raises:
          UserError: no such field or name, a value out of its range, or fields about two
            searches; names the field.
        """
        return dataclasses.replace(self, config=with_decoding(self.config, **fields))

    def translate(self, sentences: Sequence[str], *, first_id: int = 0) -> list[str]:
        """The best translation of each sentence, in order; "" for a blank one.

        How it is searched for is in `config.decoding`; see `with_decoding`. A sentence's
        translation depends on nothing else in `sentences`. Each width of sentences (8, 16,
        32, …) compiles once per process, seconds each.

        Args:
          sentences: any number of them.
          first_id: what the first one draws by where the search is `sample`; the others
            count on from it. From 0 on; modulo 2³².

        Raises:
          TypeError: `sentences` is one string, or one of them is not a string.
          UserError: a sentence is too long for memory; names it.
        """
        return [best.text for best in self.decode(sentences, first_id=first_id)]

    def decode(
        self, sentences: Sequence[str], *, first_id: int = 0
    ) -> list[Translation]:
        """As `translate`, with the tokens, the attention and the score of each."""
        return [one for [one] in self.decode_n_best(sentences, 1, first_id=first_id)]

    def decode_n_best(
        self, sentences: Sequence[str], n_best: int, *, first_id: int = 0
    ) -> list[list[Translation]]:
        """The n_best translations of each sentence, the best first.

        The search `beam` gives at most its beam_size, and fewer where it finds no more;
        `sample` draws n_best times, with repetitions; `greedy` gives one.

        Raises:
          UserError: n_best is below 1 or more than the search gives.
        """
        n_best = check_n_best(self.config.decoding, n_best)
        first_id, sentences = integer("first_id", first_id), _check_sentences(sentences)
        found = dict(decode_sentences(self, sentences, n_best, first_id))
        return [found.get(index, [NOTHING]) for index in range(len(sentences))]

    def force(self, pairs: Sequence[Pair]) -> list[Translation]:
        """The attention and the log-probability of each pair's target.

        The target's tokens are forced on the decoder (teacher forcing). `text` is the target
        as the run's codec spells it. A pair whose source is blank gives a blank translation.
        """
        found = dict(force_pairs(self, pairs))
        return [found.get(index, NOTHING) for index in range(len(pairs))]

    def compile(self, sentences: Sequence[str], n_best: int = 1) -> int:
        """Compiles what translating these sentences needs, and returns the number of shapes.

        Shapes compiled before cost no time.
        """
        n_best = check_n_best(self.config.decoding, n_best)
        sentences = _check_sentences(sentences)
        lengths = [len(self.source_codec.tokens(text)) for text in sentences]
        batches = plan(self, lengths, n_best)
        one_each = {width: indices[0] for width, _, _, indices in batches}
        self.decode_n_best([sentences[i] for i in one_each.values()], n_best)
        return len(one_each)

    def longest_sentence(self, n_best: int = 1) -> int:
        """The most tokens of a sentence that this search has memory for; 0: none."""
        return longest_sentence(self, check_n_best(self.config.decoding, n_best))

    def attend(self, source: str, target: str | None = None) -> SentenceAttention:
        """The attention over the tokens of `source` behind each token of `target`.

        Args:
          source: a sentence.
          target: a translation, whose tokens are forced on the decoder; by default what
            `translate` finds, which may be empty.

        Returns:
          the tokens of both sides and weights [T, S]; EOS has no row.

        Raises:
          UserError: the run has no attention, or a sentence given has no words.
        """
        self.check_attends()
        if not self.source_codec.tokens(source):
            raise UserError(f"source has no words: {source!r}")
        if target is None:
            [found] = self.decode([source])
        elif self.target_codec.tokens(target):
            [found] = self.force([Pair(source, target)])
        else:
            raise UserError(f"target has no words: {target!r}")
        return SentenceAttention(*found[1:4])

    @property
    def attends(self) -> bool:
        """Whether the run has attention."""
        return attends(self.config.model)

    def check_attends(self) -> None:
        """Raises UserError unless the run has attention."""
        if not self.attends:
            raise UserError(
                "this run has no attention to show: its config.model.attention is "
                f"{self.config.model.attention}"
            )


# What `checkpoint` may be: the best one on dev or the last one.
CHECKPOINTS = ("best", "last")


def load_run(workdir: str | os.PathLike[str], *, checkpoint: str = "best") -> Run:
    """The run in `workdir`, ready to translate.

    `checkpoint` is "best" on dev, by `config.training.best_by`, or "last".

    Raises:
      OSError: no such directory, no run in it, no checkpoint yet, or a user's file that
        the run needs is gone; names it.
      UserError: `checkpoint` is none of these, or a file of the run is damaged.
    """
    if checkpoint not in CHECKPOINTS:
        raise UserError(f"checkpoint must be one of {CHECKPOINTS}, got {checkpoint!r}")
    directory = RunDirectory(workdir)
    if not directory.path.is_dir():
        raise FileNotFoundError(f"there is no run directory {directory.path}")
    config = directory.load_config()
    if not directory.codecs_path.is_file():
        raise FileNotFoundError(
            f"the run in {directory.path} stopped while it was being set up: it has no "
            f"{directory.codecs_path.name}; the same training command starts it again"
        )
    codecs = load_codecs(directory.codecs_path)
    model = build_model(config.model, *[len(codec.vocabulary) for codec in codecs])
    path = directory.checkpoints_path
    like = jax.eval_shape(model.init, jax.random.key(0))
    step = existing_steps(path)[-1] if checkpoint == "last" else None
    params = load_params(path, like, step=step, best_by=config.training.best_by)
    return Run(config, params, model, *codecs)


def _check_sentences(given: Any) -> list[str]:
    """A list of what may be any iterable of strings, but is not one string itself."""
    sentences = list(given)
    if isinstance(given, str) or not all(isinstance(text, str) for text in sentences):
        shown = reprlib.repr(given)
        raise TypeError(f"sentences must be a sequence of strings, got {shown}")
    return sentences
