"""What checking a score found: a result a check, and the report of them all."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
NOTED = "noted"


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
      name: the check's.
      status: "passed"; "failed", a promise is broken; "noted", nothing is broken but the
        user should know; "skipped", it does not apply or needs what another check found
        missing.
      found: what was seen, one line.
      advice: what to do about it; "" if there is nothing to do.
    """

    name: str
    status: str
    found: str
    advice: str = ""


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
        """`mine: 21 passed, 1 failed (shape), 4 skipped`."""
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
        names = max((len(r.name) for r in self.results), default=0)
        lines = [self.summary]
        for name, status, found, advice in self.rows():
            lines.append(f"  {name:{names}}  {status:7}  {found}")
            if advice:
                lines.append(f"  {'':{names}}  {'':7}  -> {advice}")
        return "\n".join(lines)
