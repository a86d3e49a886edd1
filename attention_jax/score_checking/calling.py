"""Can it be called: parameters, shapes, dtypes, feature sizes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax import errors
from attention_jax.score_checking import programs
from attention_jax.score_checking.agreement import distance
from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    noted,
    passed,
)
from attention_jax.score_checking.subject import LENGTH, LENGTHS, Sizes, Subject

CONCRETE_ERRORS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@check(
    "parameters",
    "init_score_params gives finite floating-point arrays of the declared shapes, equal "
    "for equal rng.",
    advice="an initialiser of Param is (rng, shape, dtype) -> array of that shape",
)
def parameters(subject: Subject) -> Outcome:
    """Initial values against their declaration."""
    for name, param in subject.score.params:
        value, shape = subject.initial[name], subject.sizes.of(param.axes)
        if not hasattr(value, "dtype") or np.shape(value) != shape:
            return failed(f"{name} starts as {_shown(value)} rather than {list(shape)}")
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return failed(f"{name} starts as {value.dtype}, which has no gradient")
        if not np.isfinite(value).all():
            return failed(f"{name} starts with NaN or infinity")
    if not _repeatable(subject):
        return failed("they start differently for equal rng", "draw from rng alone")
    listed = [f"{name} [{', '.join(p.axes)}]" for name, p in subject.score.params]
    return passed(", ".join(listed) or "declares none")


def _repeatable(subject: Subject) -> bool:
    """Whether two draws with one rng are equal."""
    rng = jax.random.key(subject.seed)
    try:
        first, second = (
            programs.text(jax.make_jaxpr(lambda r: subject.initial_params(r))(rng))
            for _ in range(2)
        )
        return first == second
    except Exception:  # noqa: BLE001 - an initialiser need not be traceable
        draws = (subject.initial_params(rng) for _ in range(2))
        return distance(*draws) == 0


@check(
    "runs",
    "Called with a query [Q], keys [S, K] and its parameters, it returns one array.",
    advice="correct that line; if it needs certain feature sizes, give query_size=, "
    "key_size= and alignment_size=",
    needs=("parameters",),
)
def runs(subject: Subject) -> Outcome:
    """One eager call on float64 arrays."""
    result = subject.call(subject.point())
    if not isinstance(result, jax.Array | np.ndarray):
        return failed(
            f"it returned {_shown(result)}",
            "return one array of scores, one for each key",
        )
    sizes = subject.sizes
    return passed(f"query [{sizes.query_size}], keys [{LENGTH}, {sizes.key_size}]")


@check(
    "traces",
    "It can be traced, which jit, grad and vmap need.",
    advice="use jnp functions of whole arrays throughout",
    needs=("runs",),
)
def traces(subject: Subject) -> Outcome:
    """A trace for every length."""
    try:
        for length in LENGTHS:
            subject.jaxpr(subject.point(length))
    except CONCRETE_ERRORS as error:
        return failed(
            errors.format_error(error),
            "float(), int(), if and NumPy need numbers, which a traced array is not: "
            "use jnp functions, and jnp.where in place of if",
        )
    return passed("under jit")


@check(
    "shape",
    "It returns [S], one score for each key, for any S from 1.",
    advice="reduce over the features alone, axis=-1",
    needs=("traces",),
)
def shape(subject: Subject) -> Outcome:
    """Shapes at several lengths."""
    for length in LENGTHS:
        found = subject.shape(length)
        if found.shape != (length,):
            return failed(f"{length} keys gave {list(found.shape)}, not [{length}]")
    return passed(f"[S] for S = {', '.join(map(str, LENGTHS))}")


@check(
    "no keys",
    "For S = 0 it returns [0].",
    advice="a reduction over keys needs initial= or a guard; none is needed at all where "
    "each key is scored on its own",
    needs=("shape",),
)
def no_keys(subject: Subject) -> Outcome:
    """The shape for no keys."""
    found = subject.shape(0)
    if found.shape != (0,):
        return failed(f"0 keys gave {list(found.shape)}")
    return passed("[0]")


@check(
    "floating",
    "Its scores are floating-point.",
    advice="scores need a gradient: compute them in floating point, or end with "
    ".astype(query.dtype)",
    needs=("traces",),
)
def floating(subject: Subject) -> Outcome:
    """The kind of the result's dtype."""
    dtype = subject.shape().dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        return failed(f"it returned {dtype}")
    return passed("floating-point")


@check(
    "dtype",
    "float32 stays float32 and float64 float64; bfloat16 and float16 are noted.",
    advice="give constants no dtype or query.dtype, and convert back what is computed in "
    "another",
    needs=("floating",),
)
def dtype(subject: Subject) -> Outcome:
    """The result's dtype for each dtype of the arguments."""
    with jax.enable_x64(False):
        found = {"float32": subject.shape(dtype=jnp.float32).dtype}
    found["float64"] = subject.shape().dtype
    wrong = [f"{given} became {came}" for given, came in found.items() if given != came]
    if wrong:
        return failed(", ".join(wrong))
    notes = []
    if subject.precision != "float64":
        notes.append(f"float64 passes through {subject.precision}, which loses digits")
    for name in ("bfloat16", "float16"):
        try:
            came = subject.shape(dtype=jnp.dtype(name)).dtype
        except Exception as error:  # noqa: BLE001 - only noted
            notes.append(f"{name} raises {errors.format_error(error)}")
            continue
        if came != name:
            notes.append(f"{name} became {came}")
    came = subject.shape(dtype=jnp.float32).dtype
    if came != "float32":
        notes.append(f"float32 became {came} under jax_enable_x64")
    if notes:
        return noted(
            "; ".join(notes),
            "harmless in attention, which computes in float32 or float64; else give "
            "constants query.dtype",
        )
    return passed("float32, float64, bfloat16, float16 are kept")


@check(
    "sizes",
    "Notes whether query and key sizes may differ.",
    needs=("shape",),
)
def sizes(subject: Subject) -> Outcome:
    """Another pair of feature sizes: unequal if these are equal, equal if not."""
    given = subject.sizes
    equal = given.query_size == given.key_size
    other = dataclasses.replace(given, key_size=given.query_size + equal)
    here, there = _pair(given), _pair(other)
    try:
        came = dataclasses.replace(subject, sizes=other).shape().shape
        reason = f"the scores are {list(came)}" * (came != (LENGTH,))
    except Exception as error:  # noqa: BLE001 - only noted
        reason = errors.format_error(error)
    if not reason:
        return passed(f"{here} and {there}")
    if not equal:
        return noted(f"{here}, but not {there}: {reason}")
    return noted(
        f"{here}, but not {there}: {reason}",
        "a model needs a decoder as wide as the encoder's output; a learned "
        'params={"w": "QK"} lifts that',
    )


def _pair(sizes: Sizes) -> str:
    return f"Q = {sizes.query_size}, K = {sizes.key_size}"


def _shown(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{list(value.shape)}"
    return f"{type(value).__name__}"
