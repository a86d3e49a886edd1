"""`check_score`: whether a score function keeps the promises that attention relies on."""

import collections
import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from attention_jax.errors import UserError, unknown_name
from attention_jax.testing.checks import (
    CHECKS,
    FAILED,
    NOTED,
    PASSED,
    SKIPPED,
    CheckResult,
    check_names,
    run_check,
)
from attention_jax.testing.subject import Subject


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """What `check_score` returns; `print` shows it as a table.

    Attributes:
      score: the score, as it shows itself.
      sizes: the feature sizes that it was checked at, by argument of `check_score`.
      results: one of each check, in the order they ran.
    """

    score: str
    sizes: Mapping[str, int]
    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The results of the checks that failed."""
        return tuple(r for r in self.results if r.status == FAILED)

    @property
    def summary(self) -> str:
        """`mine: 16 passed, 1 failed (shape), 4 skipped`."""
        counts = collections.Counter(result.status for result in self.results)
        parts = [
            f"{counts[status]} {status}"
            + f" ({', '.join(r.name for r in self.failed)})" * (status == FAILED)
            for status in (PASSED, FAILED, NOTED, SKIPPED)
            if counts[status]
        ]
        return f"{self.score}: {', '.join(parts)}"

    def rows(self) -> list[tuple[str, str, str, str]]:
        """A row a check: name, status, what was found, what to do about it."""
        return [(r.name, r.status, r.found, r.advice) for r in self.results]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "score": self.score,
            "ok": self.ok,
            "sizes": dict(self.sizes),
            "checks": [dataclasses.asdict(result) for result in self.results],
        }

    def __str__(self) -> str:
        width = max((len(r.name) for r in self.results), default=0)
        text = self.summary
        for name, status, found, advice in self.rows():
            text += f"\n  {name:{width}}  {status:7}  {found}"
            text += f"\n  {'':{width}}  {'':7}  -> {advice}" * bool(advice)
        return text


def check_score(
    score: Any,
    *,
    query_size: int | None = None,
    key_size: int | None = None,
    alignment_size: int | None = None,
    value_size: int | None = None,
    checks: Sequence[str] | None = None,
    seed: int = 0,
) -> ScoreReport:
    """A report of which promises that attention relies on a score function keeps.

        print(check_score("mine.py:manhattan"))

    Tries it on small random arrays: shapes, dtypes, purity, gradients by finite
    differences, independence from other and masked keys, vmap and jit, chunks, compiling
    once. What a check finds is reported, not raised, an exception of the score with the
    line of the user's file.

    Args:
      score: anything `get_score` takes: a name, a function, `module:function`,
        `file.py:function`, a partial, a combinator's result. Learned parameters are drawn
        by `init_score_params`.
      query_size: Q, for a score that needs a certain one; small by default.
      key_size: K; of the two sizes, one that is not given is the other's.
      alignment_size: A, for params that are declared with it.
      value_size: V, for params that are declared with it.
      checks: names of those to run, with what they need; all if not given.
      seed: of the arrays.

    Returns:
      A `ScoreReport`: `.ok`, `.failed`, `.rows()`; printed, a table.

    Raises:
      UnknownNameError: no such score or check; a LookupError that lists what there is.
      TypeError, ValueError: `score` is none of the above or does not fit its declaration,
        or a size is not an integer from 1.
    """
    given = {
        # One of the two given is both.
        "query_size": key_size if query_size is None else query_size,
        "key_size": query_size if key_size is None else key_size,
        "alignment_size": alignment_size,
        "value_size": value_size,
    }
    given = {name: size for name, size in given.items() if size is not None}
    for name, size in given.items():
        if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
            raise UserError(f"{name} must be an integer of at least 1, got {size!r}")
    names = check_names() if checks is None else checks
    wanted = {names} if isinstance(names, str) else {*names}
    for name in wanted - {*check_names()}:
        raise unknown_name("check", name, check_names())
    for check in reversed(CHECKS):
        wanted |= {*check.needs} if check.name in wanted else set()
    subject = Subject(score, given_sizes=given, seed=seed)
    results: list[CheckResult] = []
    # What needs a check that failed is left out for that one.
    unmet: dict[str, str] = {}
    for check in [one for one in CHECKS if one.name in wanted]:
        blocking = [unmet[need] for need in check.needs if need in unmet]
        if blocking:
            result = CheckResult(check.name, SKIPPED, f"after {blocking[0]}")
        else:
            result = run_check(check, subject)
        if blocking or result.status == FAILED:
            unmet[check.name] = [*blocking, check.name][0]
        results.append(result)
    shown = repr(subject.score)
    if len(shown) > 80:
        shown = f"{subject.score.name}(...)"
    return ScoreReport(shown, subject.sizes, tuple(results))
