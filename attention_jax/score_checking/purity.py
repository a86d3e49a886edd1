"""Is it a function of its arguments: nothing remembered, drawn, printed or called back."""

import dataclasses
from typing import Any

import jax

from attention_jax.score_checking import agreement, hidden_state, programs
from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    noted,
    passed,
)
from attention_jax.score_checking.subject import Subject

KEEPS = "it keeps an array of one call, traced, beyond that call"
KEEP_NOTHING = "keep no array outside the function; return what is needed later"
RANDOM = {"random_bits", "threefry2x32", "rng_uniform", "rng_bit_generator"}


@check(
    "pure",
    "Equal arguments give equal scores: no global state, no host callbacks, no random "
    "numbers of its own, nothing kept from one call to the next.",
    advice="what varies must be an argument: declare it in params, or bind a constant with "
    "functools.partial",
    needs=("traces",),
)
def pure(subject: Subject) -> Outcome:
    """Traces and calls it twice and looks at what differs."""
    subject = _without_jit(subject)
    point = subject.point()
    subject.call(point)
    # Only now, so that a table filled on the first call is no change.
    before = hidden_state.snapshot(subject.score)
    first = subject.call(point)
    try:
        with jax.checking_leaks():
            program = subject.jaxpr(point)
        again = subject.jaxpr(point)
        second = subject.call(point)
    except jax.errors.UnexpectedTracerError:
        return failed(KEEPS, KEEP_NOTHING)
    except Exception as error:
        # checking_leaks raises a bare Exception.
        if "Leaked" not in str(error):
            raise
        return failed(KEEPS, KEEP_NOTHING)
    changed = hidden_state.changed(before, hidden_state.snapshot(subject.score))
    if changed:
        return failed(f"a call changes {', '.join(changed)}")
    callbacks = sorted(n for n in programs.primitive_names(program) if _calls_back(n))
    if callbacks or program.effects:
        return failed(
            f"it calls back to Python: {', '.join(callbacks or map(str, program.effects))}",
            "compute with jnp; take jax.debug.print out when done",
        )
    if programs.text(program) != programs.text(again):
        return failed(
            "traced twice, it is two different programs: it reads something that changes, "
            "such as a counter, the time or random numbers"
        )
    if agreement.distance(second, first) > 0:
        return failed("called twice with equal arguments, its scores differ")
    if RANDOM & programs.primitive_names(program):
        return noted(
            "it draws random numbers, the same ones on every call",
            "draw them once, outside, if they are meant to be a constant",
        )
    return passed("equal calls and traces are equal")


def _calls_back(primitive: str) -> bool:
    return "callback" in primitive or primitive in ("debug_print", "infeed", "outfeed")


def _without_jit(subject: Subject) -> Subject:
    """The subject with the user's own @jax.jit taken off, which would remember its trace."""
    function: Any = subject.score.function
    if not (hasattr(function, "lower") and hasattr(function, "__wrapped__")):
        return subject
    score = dataclasses.replace(subject.score, function=function.__wrapped__)
    return dataclasses.replace(subject, score=score)
