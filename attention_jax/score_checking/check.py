"""What a check is: a named promise, a function that looks whether it is kept."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from attention_jax.score_checking.report import FAILED, NOTED, PASSED, SKIPPED
from attention_jax.score_checking.subject import Subject


class Outcome(NamedTuple):
    """What a check's function returns: a `CheckResult` without the name."""

    status: str
    found: str
    advice: str = ""


def passed(found: str) -> Outcome:
    """The promise is kept."""
    return Outcome(PASSED, found)


def failed(found: str, advice: str = "") -> Outcome:
    """The promise is broken; without advice of its own, the check's."""
    return Outcome(FAILED, found, advice)


def noted(found: str, advice: str = "") -> Outcome:
    """Nothing is broken, but the user should know."""
    return Outcome(NOTED, found, advice)


def skipped(found: str) -> Outcome:
    """The check does not apply."""
    return Outcome(SKIPPED, found)


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
      name: what reports and `checks=` call it.
      promise: what a score that passes it does, one sentence.
      advice: what to do if it fails, unless its function knows better.
      function: (subject) -> Outcome; whatever it raises is a failure, told with the line
        of the user's file.
      needs: the names of checks that must not have failed; what it would say after them
        would only repeat them.
      costs: whether it describes speed and memory, which are those of the user's settings
        rather than of float64.
      slow: whether `timing=False` leaves it out.
    """

    name: str
    promise: str
    advice: str
    function: Callable[[Subject], Outcome]
    needs: tuple[str, ...] = ()
    costs: bool = False
    slow: bool = False


def check(
    name: str,
    promise: str,
    *,
    advice: str = "",
    needs: tuple[str, ...] = (),
    costs: bool = False,
    slow: bool = False,
) -> Callable[[Callable[[Subject], Outcome]], Check]:
    """Makes a `Check` of the decorated function."""

    def decorate(function: Callable[[Subject], Outcome]) -> Check:
        return Check(name, promise, advice, function, needs, costs, slow)

    return decorate
