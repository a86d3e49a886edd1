"""From a configuration to pure functions of a plain dict of parameters."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from attention_jax import errors
from attention_jax.attention import attention
from attention_jax.config import ModelConfig, check_fields
from attention_jax.errors import UserError, named, unknown_name
from attention_jax.functions.normalizer import get_normalizer
from attention_jax.functions.score import get_score, init_score_params
from attention_jax.models.attention_wiring import wirings
from attention_jax.models.base import Model, Params
from attention_jax.models.encoder_decoder import READOUTS, EncoderDecoder
from attention_jax.nn.recurrent import cells
from attention_jax.types import Array


def check_config(config: ModelConfig) -> None:
    """Returns if such a model can be built, having executed the score's own file, if any.

    Otherwise a UserError names the field.
    """
    try:
        # Takes no memory before its parameters are drawn.
        build_model(config, 1, 1)
    except UserError as error:
        # Its messages begin with the field's name inside the model's section.
        raise type(error)(f"config.{error}") from error


def build_model(
    config: ModelConfig, source_vocabulary: int, target_vocabulary: int
) -> Model:
    """The model that `config` describes.

    Equal arguments return the same `Model`, so that a function jitted over it compiles
    once.

    Raises:
      UnknownNameError: no such wiring, cell, readout, score or normaliser.
      UserError: a size below 1, a dropout rate outside [0, 1), a score or a normaliser
        that raises or does not take decoder states against encoder states, a readout
        that cannot be tied.
    """
    check_fields(config, "model")
    found = {}
    for field, look_up in _LOOKUPS.items():
        with named(f"model.{field}"):
            found[field] = look_up(getattr(config, field))
    score, normalizer = found["score"], found["normalizer"]
    if found["attention"].attends:
        _check_score(config, score, normalizer)
    size = config.readout_size or config.decoder_size
    fits = config.readout == "tanh" and size == config.embedding_size
    if config.tied_embeddings and not fits:
        raise UserError(
            "model.tied_embeddings needs model.readout=tanh with model.readout_size="
            f"model.embedding_size={config.embedding_size}, got "
            f"model.readout={config.readout} of size {size}"
        )
    # The registered entries are part of the identity: a name may be registered anew.
    fields = {**vars(config), "score": score, "normalizer": normalizer}
    entries = tuple(found.values())
    return _build(tuple(fields.items()), entries, source_vocabulary, target_vocabulary)


def _readout(name: str) -> bool:
    if name not in READOUTS:
        raise unknown_name("readout", name, READOUTS)
    return READOUTS[name]


_LOOKUPS: dict[str, Callable[[Any], Any]] = {
    "attention": wirings.get,
    "score": get_score,
    "normalizer": get_normalizer,
    "cell": cells.get,
    "readout": _readout,
}


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

    def model(params: Params) -> EncoderDecoder:
        return nnx.merge(graphdef, params)

    return Model(
        # Not jitted: one compilation per kind of shape is cheaper than one of everything.
        init=lambda rng: nnx.to_pure_dict(make(rng)[1]),
        apply=lambda params, batch, rng=None: model(params)(batch, rng),
        encode=lambda params, source, lengths: model(params).encode(source, lengths),
        start=lambda memory: memory.state,
        step=lambda params, memory, state, tokens: model(params).decoder.step(
            memory, state, tokens
        ),
    )


def _check_score(config: ModelConfig, score: Any, normalizer: Any) -> None:
    """Runs the score, then the normaliser too, on abstract states of these widths."""
    source_size = (2 if config.bidirectional else 1) * config.encoder_size
    sizes = {"query_size": config.decoder_size, "key_size": source_size}
    sizes["alignment_size"] = config.alignment_size or source_size

    def attend_with(normalizer: Any) -> Array:
        params = init_score_params(jax.random.key(0), score, **sizes)
        query, keys = (jnp.zeros((1, 2, sizes[n])) for n in ("query_size", "key_size"))
        how = {"score": score, "normalizer": normalizer, "params": params}
        return attention(query, keys, keys, **how).context

    for field, one in (("score", "softmax"), ("normalizer", normalizer)):
        try:
            jax.eval_shape(functools.partial(attend_with, one))
        except (Exception, SystemExit) as error:
            message = f"model.{field}={getattr(config, field)}"
            if errors.error_location(error):
                message += f" raised {errors.format_error(error)}"
            elif isinstance(error, TypeError | ValueError):
                message += f": {errors.first_line(error)}"
            else:
                raise
            if field == "score" and config.decoder_size != source_size:
                message += (
                    f" (queries have width model.decoder_size={config.decoder_size}, "
                    f"keys the encoder's output width {'2 x ' * config.bidirectional}"
                    f"model.encoder_size={config.encoder_size} = {source_size})"
                )
            raise UserError(message) from error
