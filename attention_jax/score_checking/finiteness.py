"""Is it finite, with a finite gradient, at zero vectors and at large ones."""

import jax.numpy as jnp
import numpy as np

from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    noted,
    passed,
)
from attention_jax.score_checking.point import (
    Point,
    as_dtype,
    parts,
    zero_points,
)
from attention_jax.score_checking.subject import Subject

LARGE = 1e4


@check(
    "finite",
    "Ordinary vectors have finite scores.",
    advice="look for a logarithm or root of a negative number, or an overflowing power",
    needs=("shape", "floating"),
)
def finite(subject: Subject) -> Outcome:
    """Values at generic arguments."""
    scores = _values(subject, subject.point())
    wrong = _wrong(scores)
    if wrong:
        return failed(f"{wrong} among {[float(f'{e:.3g}') for e in scores]}")
    if np.isneginf(scores).any():
        return noted(
            "minus infinity",
            "to forbid a key pass a mask, such as masks.by_position: it also defines a "
            "query with no key left",
        )
    return passed("for ordinary vectors")


@check(
    "large inputs",
    "Notes whether vectors of 10,000s overflow float32.",
    needs=("finite",),
)
def large_inputs(subject: Subject) -> Outcome:
    """Values at large float32 arguments."""
    point = as_dtype(subject.point(), jnp.float32)
    query, keys = LARGE * point.query, LARGE * point.keys
    scores = _values(subject, point._replace(query=query, keys=keys))
    if not np.isfinite(scores).all():
        return noted(
            f"not finite in float32 for vectors of {LARGE:,.0f}s",
            "an exp or a high power: normalise or bound what goes into it if vectors may "
            "be large",
        )
    return passed(f"finite in float32 for vectors of {LARGE:,.0f}s")


@check(
    "zero vectors",
    "Zero vectors, which pad keys and fill blocks of queries, have finite scores and "
    "gradients.",
    advice="a root, a norm or a division by one is not differentiable at 0: with jnp.where "
    "replace its argument there before it and its result after it, as cosine does in "
    "attention_jax/scores.py",
    needs=("pure", "finite"),
)
def zero_vectors(subject: Subject) -> Outcome:
    """A zero query, zero keys and both."""
    points = zero_points(subject.point())
    for name, point in points.items():
        wrong = _wrong(_values(subject, point))
        if wrong:
            return failed(f"the score is {wrong} for {name}")
        for part, value in parts(subject.gradient(point).gradient):
            if not np.isfinite(value).all():
                return failed(f"the gradient by {part} is not finite for {name}")
    return passed(f"finite for {', '.join(points)}")


def _values(subject: Subject, point: Point) -> np.ndarray:
    return np.asarray(subject.compiled(point)).astype(np.float64)


def _wrong(scores: np.ndarray) -> str:
    """What no score may be: minus infinity may, forbidding a key."""
    if np.isnan(scores).any():
        return "NaN"
    return "infinity" if np.isposinf(scores).any() else ""
