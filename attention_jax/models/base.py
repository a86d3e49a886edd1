"""What a model is to training, decoding and evaluation: pure functions of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

from attention_jax.types import Array, Float

# A nested dict of arrays with string keys.
Params = dict[str, Any]


class ModelOutput(NamedTuple):
    """The result of teacher forcing.

    Attributes:
      logits: of the next token at every step, float32.
      weights: the attention of every step over the source; 0 without attention.
    """

    logits: Float[Array, "B T W"]
    weights: Float[Array, "B T S"]


class Model(NamedTuple):
    """An encoder-decoder as pure functions; hashable, so it may be a static argument.

    Only the model looks into its memory, the encoded source, and its state, which the
    decoder carries from step to step: trees of arrays, every leaf [B, ...].

    Attributes:
      init: rng -> params, float32.
      apply: (params, batch, rng=None) -> ModelOutput: teacher forcing; dropout iff rng is
        given. Reads batch.source, .source_lengths and .target_inputs.
      encode: (params, source [B, S], source_lengths [B]) -> memory. A row of length 0 is a
        padding row.
      start: memory -> the decoder's first state.
      step: (params, memory, state, tokens [B]) ->
        (state, logits [B, W] float32, weights [B, S]).
    """

    init: Callable[[Array], Params]
    apply: Callable[..., ModelOutput]
    encode: Callable[[Params, Array, Array], Any]
    start: Callable[[Any], Any]
    step: Callable[[Params, Any, Any, Array], tuple[Any, Array, Array]]
