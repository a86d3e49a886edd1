"""Is it the same function under jit and vmap, and compiled once."""

import copy
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from attention_jax.functions.score import Score, get_score
from attention_jax.score_checking.agreement import distance, tolerance
from attention_jax.score_checking.check import Outcome, check, failed, passed
from attention_jax.score_checking.point import Point
from attention_jax.score_checking.quick_jit import quick_jit
from attention_jax.score_checking.subject import Subject

QUERIES, SEQUENCES = 3, 2


@check(
    "jit",
    "Compiled, it gives what it gives called directly.",
    advice="something is decided while tracing; use jnp functions of the arguments alone",
    needs=("pure", "shape"),
)
def jit(subject: Subject) -> Outcome:
    """Eager against compiled."""
    point = subject.point()
    off = distance(subject.compiled(point), subject.call(point))
    if off > tolerance(subject.precision):
        return failed(f"off by a relative {off:.1e}")
    return passed(f"within {off:.0e}")


@check(
    "vmap",
    "Over many queries and sequences at once it gives what a loop over them gives.",
    advice="something in it has a batching rule of its own, a custom_vmap, callback or kernel, "
    "that disagrees with it",
    needs=("pure", "shape"),
)
def vmap(subject: Subject) -> Outcome:
    """Queries inside, sequences outside, as the kernels do it."""
    points = [subject.point(draw=draw) for draw in range(max(QUERIES, SEQUENCES))]
    queries = jnp.stack([point.query for point in points[:QUERIES]])
    keys = jnp.stack([point.keys for point in points[:SEQUENCES]])
    rest: dict[str, Any] = dict.fromkeys(Point._fields)
    over_queries = jax.vmap(subject.call, (Point(**rest | {"query": 0}),))
    over_both = jax.vmap(over_queries, (Point(**rest | {"keys": 0}),))
    together = quick_jit(over_both)(points[0]._replace(query=queries, keys=keys))
    looped = [
        [subject.compiled(points[0]._replace(query=q, keys=k)) for q in queries]
        for k in keys
    ]
    off = distance(together, jnp.asarray(looped))
    if off > tolerance(subject.precision):
        return failed(f"off by a relative {off:.1e}")
    return passed(f"{SEQUENCES} sequences of {QUERIES} queries, within {off:.0e}")


@check(
    "compiles once",
    "Named or built again with equal hyper-parameters it is an equal score, and a second "
    "call does not trace again.",
    advice="bind numbers, strings, tuples, arrays or functions, or give the hyper-"
    "parameter's class __eq__ and __hash__ (a frozen dataclass has them)",
    needs=("shape",),
)
def compiles_once(subject: Subject) -> Outcome:
    """The score made once more, and called with other arrays of the same shapes."""
    again = _made_again(subject)
    for (name, first), (_, second) in zip(
        subject.score.hyper, again.hyper, strict=True
    ):
        if first != second or hash(first) != hash(second):
            return failed(f"{name}={first!r} is not equal to an equal one made again")
    if again != subject.score or hash(again) != hash(subject.score):
        return failed(
            "the same reference gives a different score each time",
            "define the function once, at the top of its module",
        )
    subject.compiled(subject.point())
    before = len(subject.traces)
    subject.compiled(subject.point(draw=1), again)
    if len(subject.traces) > before:
        return failed("a second call with arrays of the same shapes was traced again")
    return passed("a second call does not trace")


def _made_again(subject: Subject) -> Score:
    reference = subject.reference
    if isinstance(reference, functools.partial):
        reference = functools.partial(reference.func, **reference.keywords)
    again = get_score(reference)
    try:
        return dataclasses.replace(again, hyper=copy.deepcopy(again.hyper))
    except TypeError:
        return (
            again  # A hyper-parameter that cannot be copied is not made twice either.
        )
