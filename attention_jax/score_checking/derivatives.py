"""Are its derivatives right: against finite differences, to first and second order."""

import functools

import numpy as np

from attention_jax import errors
from attention_jax.score_checking.check import (
    Outcome,
    check,
    failed,
    noted,
    passed,
)
from attention_jax.score_checking.point import Data, parts
from attention_jax.score_checking.probe import (
    forward_mode,
    moved,
    random_direction,
    second_order,
)
from attention_jax.score_checking.quick_jit import quick_jit
from attention_jax.score_checking.subject import Subject

# (step, tolerance) of central differences, by the precision that the score computes in.
STEPS = {"float64": (1e-5, 1e-5), "float32": (1e-2, 5e-2)}
HALF_PRECISION = (1e-1, 0.5)
# Points at which a kink is ruled out by chance.
DRAWS = 3


@check(
    "gradients",
    "Its gradients by query, keys and every parameter agree with finite differences.",
    advice="unless a stop_gradient or custom derivative means it so: argmax, rounding and "
    "casts to integers have gradient 0, and a custom rule may be wrong",
    needs=("pure", "finite"),
)
def gradients(subject: Subject) -> Outcome:
    """Derivatives along a direction in each part.

    At a kink, of abs or max, the two rightly differ; no kink is at several random points.
    """
    found: dict[str, tuple[float, float, float]] = {}
    _, allowed = _step(subject)
    for draw in range(DRAWS):
        found = _errors(subject, draw)
        if all(off <= allowed for off, _, _ in found.values()):
            break
    else:
        wrong = [
            f"by {part} {came:.4g}, finite differences {expected:.4g}"
            for part, (off, came, expected) in found.items()
            if not off <= allowed
        ]
        return failed("; ".join(wrong))
    unused = [
        part
        for part, (_, came, _) in found.items()
        if came == 0 and part in subject.params
    ]
    if unused:
        return noted(
            f"the gradient by {', '.join(unused)} is 0: it would not be learned",
            "use the parameter, or do not declare it",
        )
    off = max(off for off, _, _ in found.values())
    return passed(f"{', '.join(found)}: within {off:.0e}")


def _errors(subject: Subject, draw: int) -> dict[str, tuple[float, float, float]]:
    """For each part: how far off, the derivative, and by finite differences."""
    point = subject.point(draw=draw)
    step, _ = _step(subject)
    here = subject.gradient(point)
    found = {}
    for part, gradient in parts(here.gradient):
        direction = random_direction(point.data, seed=draw, part=part)
        above = subject.gradient(moved(point, direction, step)).total
        below = subject.gradient(moved(point, direction, -step)).total
        expected = float(above - below) / (2 * step)
        came = float(np.sum(gradient * dict(parts(direction))[part]))
        size = float(np.linalg.norm(gradient))
        scale = max(abs(expected), size, 1e-5 * abs(float(here.total)))
        off = abs(came - expected)
        found[part] = (off / scale if off else 0.0, came, expected)
    return found


@check(
    "higher orders",
    "Notes whether forward mode and second derivatives work.",
    needs=("gradients",),
)
def higher_orders(subject: Subject) -> Outcome:
    """Forward mode by lowering it, second order by differences of the gradient."""
    point = subject.point()
    direction = random_direction(point.data, seed=0)
    try:
        forward_mode(subject.call, point)
        second = quick_jit(functools.partial(second_order, subject.call))
        change = second(point, direction).gradient
    except Exception as error:  # noqa: BLE001 - only noted
        return noted(
            f"not there: {errors.format_error(error)}",
            "write a derivative rule with jax.custom_jvp, which gives every mode and order",
        )
    step, allowed = _step(subject)
    above = subject.gradient(moved(point, direction, step)).gradient
    below = subject.gradient(moved(point, direction, -step)).gradient
    off = max(
        _relative(came, (high - low) / (2 * step))
        for came, high, low in _aligned(change, above, below)
    )
    if not off <= 10 * allowed:
        return noted(
            f"second derivatives are a relative {off:.1e} off finite differences",
            "it matters only where gradients are differentiated again",
        )
    return passed(f"forward mode; second order within {off:.0e}")


def _aligned(*many: Data) -> list[tuple[np.ndarray, ...]]:
    """The parts of several data side by side."""
    columns = [[value for _, value in parts(data)] for data in many]
    return list(zip(*columns, strict=True))


def _relative(came: np.ndarray, expected: np.ndarray) -> float:
    scale = max(float(np.max(np.abs(expected), initial=0)), 1.0)
    return float(np.max(np.abs(came - expected), initial=0)) / scale


def _step(subject: Subject) -> tuple[float, float]:
    return STEPS.get(str(subject.precision), HALF_PRECISION)
