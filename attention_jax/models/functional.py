"""From a configuration to pure functions of a plain dict of parameters."""

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax import errors
from attention_jax.attention import attention
from attention_jax.config import ModelConfig, check_fields
from attention_jax.errors import UserError, named
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.models.encoder_decoder import EncoderDecoder, ModelOutput
from attention_jax.models.memory import DecoderState, Memory
from attention_jax.models.readouts import readouts
from attention_jax.models.recurrent import cells
from attention_jax.models.wirings import wirings
from attention_jax.types import Array

Params = dict[str, Any]


class Model(NamedTuple):
    """An encoder-decoder as pure functions; hashable, so it may be a static argument.

    Attributes:
      init: rng -> params, a nested dict of float32 arrays with string keys.
      apply: (params, batch, rng=None) -> ModelOutput: teacher forcing; dropout iff rng is
        given. Reads batch.source, .source_lengths and .target_inputs.
      encode: (params, source [B, S], source_lengths [B]) -> Memory, every leaf [B, ...].
      start: memory -> the decoder's first state, every leaf [B, ...].
      step: (params, memory, state, words [B]) ->
        (state, logits [B, W] float32, weights [B, S]).
    """

    init: Callable[[Array], Params]
    apply: Callable[..., ModelOutput]
    encode: Callable[[Params, Array, Array], Memory]
    start: Callable[[Memory], DecoderState]
    step: Callable[
        [Params, Memory, DecoderState, Array], tuple[DecoderState, Array, Array]
    ]


def check_config(config: ModelConfig) -> None:
    """Returns if such a model can be built, having executed the score's own file, if any.

    Raises:
      UserError: names the field.
    """
    lookups: dict[str, Callable[[str], Any]] = {
        "attention": wirings.get,
        "score": get_score,
        "normalizer": get_normalizer,
        "cell": cells.get,
        "readout": readouts.get,
    }
    for field, look_up in lookups.items():
        with named(f"config.model.{field}"):
            look_up(getattr(config, field))
    try:
        # Takes no memory before its parameters are drawn.
        build_model(config, 1, 1)
    except UserError as error:
        # Its messages begin with the field's name inside the model's section.
        raise UserError(f"config.{error}") from error


def build_model(
    config: ModelConfig, source_vocabulary: int, target_vocabulary: int
) -> Model:
    """The model that `config` describes.

    Equal arguments return the same `Model`, so that a function jitted over it compiles
    once.

    Args:
      config: see `ModelConfig`.
      source_vocabulary: number of source token ids. target_vocabulary: of target ids.

    Raises:
      UnknownNameError: no such wiring, cell, readout, score or normaliser.
      ValueError: a size below 1, a dropout rate outside [0, 1), a score or a normaliser
        that raises or does not take decoder states against encoder states, a readout
        that cannot be tied.
    """
    _check_numbers(config, source_vocabulary, target_vocabulary)
    wiring = wirings.get(config.attention)
    score = get_score(config.score)
    normalizer = get_normalizer(config.normalizer)
    if wiring.attends:
        _check_score(config, score, normalizer)
    _check_tied(config)
    # The registered entries are part of the identity: a name may be registered anew.
    entries = (wiring, cells.get(config.cell), readouts.get(config.readout))
    fields = {**vars(config), "score": score, "normalizer": normalizer}
    return _build(tuple(fields.items()), entries, source_vocabulary, target_vocabulary)


@functools.lru_cache(maxsize=64)
def _build(
    fields: tuple[tuple[str, Any], ...],
    entries: tuple[Any, ...],
    source_vocabulary: int,
    target_vocabulary: int,
) -> Model:
    del entries
    config = ModelConfig(**dict(fields))

    def make(rng: Array) -> tuple[Any, Any]:
        module = EncoderDecoder(
            config, source_vocabulary, target_vocabulary, rngs=nnx.Rngs(params=rng)
        )
        return nnx.split(module)

    graphdef, _ = jax.eval_shape(make, jax.random.key(0))

    def module_with(params: Params) -> EncoderDecoder:
        return nnx.merge(graphdef, params)

    # Not jitted: one compilation per kind of shape is cheaper than one of everything.
    def init(rng: Array) -> Params:
        return nnx.to_pure_dict(make(rng)[1])

    def apply(params: Params, batch: Any, rng: Array | None = None) -> ModelOutput:
        return module_with(params)(batch, rng)

    def encode(params: Params, source: Array, source_lengths: Array) -> Memory:
        return module_with(params).encode(source, source_lengths)

    def start(memory: Memory) -> DecoderState:
        return memory.state

    def step(
        params: Params, memory: Memory, state: DecoderState, words: Array
    ) -> tuple[DecoderState, Array, Array]:
        return module_with(params).step(memory, state, words)

    return Model(init, apply, encode, start, step)


def _check_numbers(
    config: ModelConfig, source_vocabulary: int, target_vocabulary: int
) -> None:
    check_fields(config, "model")
    vocabularies = {
        "source_vocabulary": source_vocabulary,
        "target_vocabulary": target_vocabulary,
    }
    for name, size in vocabularies.items():
        if size < 1:
            raise UserError(f"{name} must be at least 1, got {size}")


def _check_score(config: ModelConfig, score: Any, normalizer: Any) -> None:
    """Runs the score on abstract states of the configured widths."""
    source_size = (2 if config.bidirectional else 1) * config.encoder_size
    extra = {"alignment_size": config.alignment_size} if config.alignment_size else {}

    def run(query_size: int) -> Array:
        params = init_score_params(
            jax.random.key(0),
            score,
            query_size=query_size,
            key_size=source_size,
            **extra,
        )
        states = jnp.zeros((1, 2, source_size))
        return attention(
            jnp.zeros((1, 1, query_size)),
            states,
            states,
            score=score,
            normalizer=normalizer,
            params=params,
        ).context

    try:
        jax.eval_shape(functools.partial(run, config.decoder_size))
    except Exception as error:
        by_user = bool(errors.error_location(error))
        if not by_user and not isinstance(error, TypeError | ValueError):
            raise
        told = (
            f"raised {errors.format_error(error)}"
            if by_user
            else errors.first_line(error)
        )
        field = "normalizer" if _came_by(error, normalizer.function) else "score"
        what = f"model.{field}={getattr(config, field)}"
        if _works(functools.partial(run, source_size)):
            wide = f"model.encoder_size={config.encoder_size}"
            if config.bidirectional:
                wide = f"2 x {wide} = {source_size}"
            what += (
                " does not take queries of width "
                f"model.decoder_size={config.decoder_size} with keys of the encoder's "
                f"output width {wide}:{' it' * by_user}"
            )
        elif not by_user:
            what += ":"
        raise UserError(f"{what} {told}") from error


def _works(run: Callable[[], Array]) -> bool:
    try:
        jax.eval_shape(run)
    except Exception:  # noqa: BLE001 - whatever a user's function raises
        return False
    return True


def _came_by(error: BaseException, function: Any) -> bool:
    """Whether the body of `function` was being executed when `error` was raised."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return any(f.f_code is code for f, _ in traceback.walk_tb(error.__traceback__))


def _check_tied(config: ModelConfig) -> None:
    size = config.readout_size or config.decoder_size
    if config.tied_embeddings and (
        config.readout != "tanh" or size != config.embedding_size
    ):
        raise UserError(
            "model.tied_embeddings needs model.readout=tanh with model.readout_size="
            f"model.embedding_size={config.embedding_size}, but got "
            f"model.readout={config.readout} and model.readout_size="
            f"{config.readout_size}"
            + ("" if config.readout_size else f" (the decoder's {size})")
        )
