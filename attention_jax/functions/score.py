"""What a score function is, how one is registered, found and called."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.functions import import_reference, static_args
from attention_jax.functions.params import AXES, Param, declare, initialize
from attention_jax.functions.registry import Registry
from attention_jax.types import Array

POSITION_ARGUMENTS = ("query_position", "key_positions", "key_length")
# A tuple of scalars: where in the leading axes of the call the query is.
LEADING_INDICES = "leading_indices"

scores: "Registry[Score]" = Registry("score")


@dataclasses.dataclass(frozen=True)
class _Number:
    """Stands for a number that each query is passed its own of, under this name."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Score(static_args.ByIdentity):
    """A score function e = score(q, k_1..k_S), with what it declares.

    Calling it calls the function. Two are equal if the function, the declaration and the
    hyper-parameters are, so that a jitted function does not trace an equal score twice.

    Attributes:
      function: (query [Q], prepared keys [S, ...], **params) -> scores [S].
      params: the learned parameters, (name, Param) each.
      prepare: (keys [S, K], **params) -> what the function receives as keys, or None.
      positions: whether the function takes query_position, key_positions, key_length.
      hyper: bound hyper-parameters, frozen by value.
      block_sparse: whether kernels may leave out masked keys; see `register_score`.
      leading_indices: whether the function takes `leading_indices`.
      numbers: a combinator's numbers that differ along leading axes, by the name under
        which the kernels pass each query its own.
    """

    function: Callable[..., Array]
    params: tuple[tuple[str, Param], ...] = ()
    prepare: Callable[..., Any] | None = None
    positions: bool = False
    hyper: static_args.Hyperparameters = ()
    block_sparse: bool = False
    leading_indices: bool = False
    numbers: static_args.Hyperparameters = ()

    def __post_init__(self):
        if not callable(self.function):
            raise TypeError(
                f"a score must be a function of (query, keys), not {self.function!r}"
            )
        static_args.copy_identity(self, self.function)
        _check_signature(self)

    def __call__(self, query: Any, keys: Any, **arguments: Any) -> Array:
        if self.hyper:
            bound = static_args.thaw(self.hyper)
            for name, value in bound.items():
                if isinstance(value, _Number):
                    bound[name] = arguments.pop(value.name)
            arguments = {**bound, **arguments}
        return self.function(query, keys, **arguments)

    def __repr__(self) -> str:
        return static_args.describe(self.name, self.hyper)

    @property
    def name(self) -> str:
        """The function's name, without hyper-parameters."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def param_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.params)

    @property
    def param_ndims(self) -> dict[str, int]:
        """The number of each parameter's own axes; what precedes them is leading."""
        return {name: len(param.axes) for name, param in self.params}


def register_score(
    function: Callable[..., Array] | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, str | Param] | None = None,
    prepare: Callable[..., Any] | None = None,
    positions: bool = False,
    block_sparse: bool = False,
) -> Any:
    """Registers a function of one query and its S keys under its own name.

        @register_score(params={"w": "QK"})
        def mine(query, keys, *, w):      # [Q], [S, K] -> [S]
            return keys @ (query @ w)

    Args:
      function: (query [Q], keys [S, K], *, params..., hyper-parameters...) -> [S], pure.
      name: what to call it; the function's name if not given.
      params: learned parameters by keyword, as axis letters ("QK") or a `Param`.
      prepare: (keys, **params) -> everything that does not depend on the query; the
        function then receives its result in place of the keys. Row i of the result may
        depend on key i alone.
      positions: the function also takes query_position (scalar int), key_positions
        ([S] int) and key_length (1 + the largest position this query may attend to).
      block_sparse: e_i depends on q, k_i and the positions alone, not on the other keys,
        how many there are or i itself, so that a kernel may leave out the keys that a
        block of queries does not attend to. What `check_score` calls "own key".

    Returns:
      The `Score`, which is called like the function.

    Registering a function of the same module and name again, as a notebook cell run twice
    does, replaces the entry: from then on the name means the new function. A `Score`, a
    model or a compiled function made before keeps the old one.

    Raises:
      DuplicateNameError: another function has the name.
      ValueError: the declaration and the signature disagree.
      TypeError: `function` is not callable, or `params` no mapping.
    """

    declared = declare(params)

    def decorate(function: Callable[..., Array]) -> Score:
        score = Score(function, declared, prepare, positions, block_sparse=block_sparse)
        return scores.register(name or score.name, score, function=function)

    return decorate if function is None else decorate(function)


def score_names() -> tuple[str, ...]:
    """The registered score functions' names, in order of registration."""
    return scores.names()


def get_score(score: Any) -> Score:
    """The `Score` that `score` stands for.

    Args:
      score: a registered name, a function (registered or not; partials bind
        hyper-parameters), `package.module:function` or `path/file.py:function`.

    Raises:
      UnknownNameError: no such name, module, file or function; a LookupError that lists
        what there is.
      TypeError: `score` is none of these, or a hyper-parameter has no value to compare.
    """
    if isinstance(score, Score):
        return score
    if isinstance(score, str):
        if score in scores.entries:
            return scores.entries[score]
        if import_reference.is_reference(score):
            return get_score(import_reference.load_reference("score", score))
        return scores.get(score)
    if isinstance(score, functools.partial):
        function, keywords = static_args.unwrap_partial(score)
        if callable(function) and not isinstance(function, Score | functools.partial):
            return _bare(function, keywords)
        return bind(get_score(function), **keywords)
    if callable(score):
        return _bare(score, {})
    raise TypeError(
        "score must be a name, a function, 'package.module:function' or "
        f"'path/file.py:function', not {type(score).__name__}"
    )


def _bare(function: Callable[..., Array], keywords: Mapping[str, Any]) -> Score:
    """The score of a function that is none yet, with `keywords` bound."""
    # register_score(f, ...) without rebinding f leaves the bare function behind.
    for entry in scores.entries.values():
        if entry.function is function and not entry.hyper:
            return bind(entry, **keywords) if keywords else entry
    name = getattr(function, "__name__", repr(function))
    return Score(function, hyper=static_args.freeze(keywords, owner=f"score {name!r}"))


def bind(score: Score, **hyperparameters: Any) -> Score:
    """`score` with hyper-parameters fixed; what `functools.partial` means for a score."""
    for name in hyperparameters:
        if name in score.param_names:
            raise ValueError(
                f"{name!r} is a learned parameter of the score {score.name!r}: "
                "pass it in params, not as a hyper-parameter"
            )
    frozen = static_args.freeze(
        {**static_args.thaw(score.hyper), **hyperparameters},
        owner=f"score {score.name!r}",
    )
    return dataclasses.replace(score, hyper=frozen)


def wrap(
    score: Any,
    function: Callable[..., Array],
    *,
    positions: bool = False,
    block_sparse: bool = False,
    leading_indices: bool = False,
    numbers: Mapping[str, Any] | None = None,
    **hyperparameters: Any,
) -> Score:
    """A combinator's result: `function` around `score`, which keeps its declaration.

    Args:
      score: the inner score, anything `get_score` takes.
      function: (query, prepared keys, *, score, hyper-parameters..., **arguments) -> [S];
        it calls the inner score by `call_inner(score, query, keys, arguments)`.
      positions: whether `function` itself needs the positions.
      block_sparse: whether `function` keeps that promise of `register_score`.
      leading_indices: whether `function` takes `leading_indices`, a tuple of scalars:
        where the query is in the leading axes of the call.
      numbers: hyper-parameters given as a number each or as arrays of them whose axes
        broadcast with the leading axes of the call, such as one a head.
      **hyperparameters: the others, the same everywhere.
    """
    inner = get_score(score)
    owner = f"combinator {function.__name__!r}"
    everywhere = {"score": inner, **hyperparameters}
    differing = dict(inner.numbers)
    for name, value in static_args.freeze(numbers or {}, owner=owner):
        if np.ndim(static_args.thaw(((name, value),))[name]):
            # A name of its own: an inner score may have numbers too.
            number = _Number(f"{name}.{len(differing)}")
            differing[number.name] = value
            everywhere[name] = number
        else:
            everywhere[name] = (numbers or {})[name]
    return dataclasses.replace(
        inner,
        function=function,
        hyper=static_args.freeze(everywhere, owner=owner),
        positions=positions or inner.positions,
        block_sparse=block_sparse and inner.block_sparse,
        leading_indices=leading_indices or inner.leading_indices,
        numbers=tuple(differing.items()),
    )


def call_inner(
    score: Score, query: Array, keys: Any, arguments: Mapping[str, Any]
) -> Array:
    """Calls `score`, leaving out the positions and indices it did not ask for."""
    taken = dict(arguments)
    if not score.positions:
        for name in POSITION_ARGUMENTS:
            taken.pop(name, None)
    if not score.leading_indices:
        taken.pop(LEADING_INDICES, None)
    return score(query, keys, **taken)


def init_score_params(
    rng: Array,
    score: Any,
    *,
    query_size: int,
    key_size: int,
    dtype: Any = jnp.float32,
    **sizes: int,
) -> dict[str, Array]:
    """Initial values of a score's learned parameters; {} if it has none.

    Args:
      rng: a PRNG key.
      score: anything `get_score` takes.
      query_size: Q.
      key_size: K.
      dtype: of the parameters.
      **sizes: `alignment_size` (A, default: the key size), `value_size` (V).

    Raises:
      ValueError: a size is unknown, missing or below 1.
      TypeError: rng is not a PRNG key, or dtype not floating-point.
    """
    rng = _key(rng)
    try:
        kind = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype must be a dtype, not {dtype!r}") from error
    if not jnp.issubdtype(kind, jnp.floating):
        raise TypeError(f"dtype must be floating-point, not {kind}")
    score = get_score(score)
    known = {argument: letter for letter, (_, argument) in AXES.items()}
    lengths = {"Q": query_size, "K": key_size, "A": key_size}
    for argument, size in sizes.items():
        if argument not in known:
            raise ValueError(f"unknown size {argument!r}; sizes are {', '.join(known)}")
        lengths[known[argument]] = size
    for letter in sorted(set("".join(param.axes for _, param in score.params))):
        argument = AXES[letter][1]
        if letter not in lengths:
            raise ValueError(f"the score {score.name!r} needs {argument}")
        size = lengths[letter]
        whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if not whole or size < 1:
            raise ValueError(f"{argument} must be an integer >= 1, not {size!r}")
    return initialize(rng, score.params, lengths, kind)


def _key(rng: Any) -> Array:
    """A PRNG key, typed or raw."""
    dtype = getattr(rng, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if (typed and rng.ndim == 0) or (dtype == np.uint32 and rng.ndim == 1):
        return rng
    raise TypeError(f"rng must be a PRNG key, such as jax.random.key(0), not {rng!r}")


def _check_signature(score: Score) -> None:
    """The declaration names exactly the keyword arguments without a default."""
    try:
        signature = inspect.signature(score.function)
    except (TypeError, ValueError):
        return
    arguments = signature.parameters.values()
    data = [
        a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)
    ]
    taken = 2 if any(a.kind is a.VAR_POSITIONAL for a in arguments) else len(data)
    needed = sum(a.default is a.empty for a in data)
    if taken < 2 or needed > 2:
        raise ValueError(
            f"the score {score.name!r} must take (query, keys) by position, and what "
            f"else it takes by keyword, after a *; its signature is {signature}"
        )
    if any(a.kind is a.VAR_KEYWORD for a in arguments):
        return
    keywords = {a.name: a for a in arguments if a.kind is a.KEYWORD_ONLY}
    given = {*score.param_names, *(name for name, _ in score.hyper)}
    if score.positions:
        given |= set(POSITION_ARGUMENTS)
    if score.leading_indices:
        given.add(LEADING_INDICES)
    for name in sorted(given - set(keywords)):
        raise ValueError(
            f"the score {score.name!r} is given {name!r}, "
            "but its signature has no such keyword-only argument"
        )
    for name, argument in keywords.items():
        if argument.default is argument.empty and name not in given:
            hint = (
                "declare it with register_score(positions=True)"
                if name in POSITION_ARGUMENTS
                else f"declare it with register_score(params={{{name!r}: ...}}), "
                "bind it with functools.partial, or give it a default"
            )
            raise ValueError(f"the score {score.name!r} takes {name!r}: {hint}")
