"""What a normaliser is, how one is registered, found and called."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions import import_reference, static_args
from attention_jax.functions.registry import Registry
from attention_jax.types import Array, Bool, Float

normalizers: "Registry[Normalizer]" = Registry("normalizer")


@dataclasses.dataclass(frozen=True, eq=False)
class Normalizer(static_args.ByIdentity):
    """A function from scores to weights along the last axis, and its hyper-parameters.

    Calling it applies the function with two promises kept here, once, for every
    normaliser, a user's own too: a masked entry's score is never read and its weight is 0;
    a row with nothing to attend to has weights 0 and gradient 0.

    Attributes:
      function: (scores, where) -> weights.
      ratio: scores -> (numerators [..., S], denominators [..., 1]) whose quotient the
        weights are, or None. A score of −inf is a masked one.
      hyper: bound hyper-parameters, frozen by value.
      block_sparse: whether kernels may leave out masked entries; see
        `register_normalizer`.
    """

    function: Callable[..., Array]
    ratio: Callable[..., tuple[Array, Array]] | None = None
    hyper: static_args.Hyperparameters = ()
    block_sparse: bool = False

    def __post_init__(self):
        static_args.copy_identity(self, self.function)
        _check_signature(self)

    def __call__(
        self, scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
    ) -> Float[Array, "... S"]:
        if scores.shape[-1] == 0:
            return scores
        if where is None:
            return self._weights(scores, None)
        where = jnp.broadcast_to(where, scores.shape)
        weights = self._weights(*_without_empty_rows(scores, where))
        return jnp.where(where, weights, 0)

    def as_ratio(
        self, scores: Float[Array, "... S"], where: Bool[Array, "... S"] | None = None
    ) -> tuple[Float[Array, "... S"], Float[Array, "... 1"] | None]:
        """Numerators and denominators whose quotient the weights are.

        Averaging the numerators and dividing V numbers a row instead of S is cheaper, in
        the derivative too. A normaliser that declares no `ratio` has no denominators.
        """
        if self.ratio is None or scores.shape[-1] == 0:
            return self(scores, where), None
        if where is None:
            return self._bound(self.ratio)(scores)
        return self._bound(self.ratio)(jnp.where(where, scores, -jnp.inf))

    def _weights(self, scores: Array, where: Array | None) -> Array:
        """What the function returns, checked."""
        weights = self._bound(self.function)(scores, where)
        owner = f"the normalizer {self.name!r} must return"
        if not isinstance(weights, jax.Array | np.ndarray):
            raise TypeError(
                f"{owner} an array of weights, but returned {type(weights).__name__}"
            )
        if weights.shape != scores.shape:
            raise ValueError(
                f"{owner} a weight for each score, {list(scores.shape)}, "
                f"but returned {list(weights.shape)}"
            )
        if not jnp.issubdtype(weights.dtype, jnp.floating):
            raise TypeError(
                f"{owner} floating-point weights, but returned {weights.dtype}"
            )
        return jnp.asarray(weights)

    def _bound(self, function: Callable) -> Callable:
        if not self.hyper:
            return function
        return functools.partial(function, **static_args.thaw(self.hyper))

    def __repr__(self) -> str:
        return static_args.describe(self.name, self.hyper)

    @property
    def name(self) -> str:
        """The function's name, without hyper-parameters."""
        return getattr(self.function, "__name__", type(self.function).__name__)


def _check_signature(normalizer: Normalizer) -> None:
    """It can be called with (scores, where) and its hyper-parameters."""
    try:
        signature = inspect.signature(normalizer.function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None, **static_args.thaw(normalizer.hyper))
    except TypeError as error:
        raise ValueError(
            f"the normalizer {normalizer.name!r} must take (scores, where) by position, "
            f"and hyper-parameters that have a value by keyword: {error}; its signature "
            f"is {signature}"
        ) from error


def _without_empty_rows(scores: Array, where: Array) -> tuple[Array, Array]:
    """Masked scores as 0, and an empty row as a full row of zeros.

    The weights of such a row are discarded afterwards: no function has to survive a sum or
    a maximum of nothing, and no NaN can come back through its derivative.
    """
    empty = ~jnp.any(where, axis=-1, keepdims=True)
    return jnp.where(where, scores, 0), where | empty


def register_normalizer(
    function: Callable[..., Array] | None = None,
    *,
    name: str | None = None,
    ratio: Callable[..., tuple[Array, Array]] | None = None,
    block_sparse: bool = False,
) -> Any:
    """Registers `function(scores [..., S], where [..., S] or None, *, ...) -> weights`.

    The function may assume that every row has an entry to attend to and that masked
    scores are finite (they are 0); what it returns at masked entries is discarded.

    Args:
      function: the normaliser.
      name: what to call it; the function's name if not given.
      ratio: optional, for speed: (scores, *, ...) -> numerators [..., S] and denominators
        [..., 1], with weights = numerators / denominators. Masked scores are −inf there and
        must get numerators 0; denominators must not be 0, in a row of them only either.
      block_sparse: the weights stay the same where masked entries are left out, which a
        function that reads S, the number of entries, cannot promise. Kernels may then
        leave out the keys that a block of queries does not attend to.

    Returns:
      The `Normalizer`, which is called like the function.

    Raises:
      DuplicateNameError: another function has the name.
      ValueError: the function does not take (scores, where).
    """

    def decorate(function: Callable[..., Array]) -> Normalizer:
        normalizer = Normalizer(function, ratio, block_sparse=block_sparse)
        return normalizers.register(
            name or normalizer.name, normalizer, function=function
        )

    return decorate if function is None else decorate(function)


def normalizer_names() -> tuple[str, ...]:
    """The registered normalisers' names, in order of registration."""
    return normalizers.names()


def get_normalizer(normalizer: Any) -> Normalizer:
    """The `Normalizer` that `normalizer` stands for; the forms are `get_score`'s.

    Raises:
      UnknownNameError: no such name, module, file or function; lists what there is.
      TypeError: `normalizer` is none of these.
      ValueError: it cannot be called with (scores, where) and its hyper-parameters.
    """
    if isinstance(normalizer, Normalizer):
        return normalizer
    if isinstance(normalizer, str):
        if normalizer in normalizers.entries:
            return normalizers.entries[normalizer]
        if import_reference.is_reference(normalizer):
            return get_normalizer(
                import_reference.load_reference("normalizer", normalizer)
            )
        return normalizers.get(normalizer)
    if isinstance(normalizer, functools.partial):
        function, keywords = static_args.unwrap_partial(normalizer)
        inner = get_normalizer(function)
        merged = {**static_args.thaw(inner.hyper), **keywords}
        owner = f"normalizer {inner.name!r}"
        return dataclasses.replace(inner, hyper=static_args.freeze(merged, owner=owner))
    if callable(normalizer):
        return Normalizer(normalizer)
    raise TypeError(
        "normalizer must be a name, a function, 'package.module:function' or "
        f"'path/file.py:function', not {type(normalizer).__name__}"
    )
