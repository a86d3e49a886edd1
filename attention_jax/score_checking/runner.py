"""`check_score`: every check of a score, each on its own."""

import contextlib
import dataclasses
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from attention_jax import errors
from attention_jax.errors import unknown_name
from attention_jax.functions.score import Score, get_score
from attention_jax.functions.static_args import ArrayValue
from attention_jax.score_checking.catalogue import CHECKS, check_names, with_needs
from attention_jax.score_checking.check import Check
from attention_jax.score_checking.report import (
    FAILED,
    NOTED,
    SKIPPED,
    CheckResult,
    ScoreReport,
)
from attention_jax.score_checking.subject import Sizes, Subject

# Feature sizes where none are given: different from each other but for Q = K, and a
# model's, which cost is told of.
SMALL = Sizes(query_size=6, key_size=6, alignment_size=4, value_size=5)
REALISTIC = Sizes(query_size=64, key_size=64, alignment_size=64, value_size=64)
LONGEST_NAME = 80


def check_score(
    score: Any,
    *,
    query_size: int | None = None,
    key_size: int | None = None,
    alignment_size: int | None = None,
    value_size: int | None = None,
    checks: Sequence[str] | None = None,
    timing: bool = True,
    seed: int = 0,
) -> ScoreReport:
    """Whether a score function keeps every promise that attention relies on.

        print(check_score("mine.py:manhattan"))

    Tries it on small random arrays: shapes, dtypes, purity, gradients by finite
    differences, independence from other and masked keys, vmap and jit, chunks, compiling
    once; and tells its memory and time beside `additive`. What a check finds is told, not
    raised, an exception of the score with the line of the user's file.

    Args:
      score: anything `get_score` takes: a name, a function, `module:function`,
        `file.py:function`, a partial, a combinator's result. Learned parameters are drawn
        by `init_score_params`.
      query_size: Q, for a score that needs a certain one; by default small, and another
        pair of sizes is tried too.
      key_size: K; of the two sizes, one that is not given is the other's.
      alignment_size: A. value_size: V; both for the params that are declared with them.
      checks: names of those to run, with what they need; all if not given.
      timing: whether to compile and time it at a model's sizes, the slowest check.
      seed: of the arrays.

    Returns:
      A `ScoreReport`: `.ok`, `.failed`, `.rows()`; printed, a table.

    Raises:
      UnknownNameError: no such score or check; a LookupError that lists what there is.
      TypeError, ValueError: `score` is none of the above or does not fit its declaration,
        or a size is no whole number from 1.
    """
    found = get_score(score)
    given = {
        # One of the two given is both.
        "query_size": key_size if query_size is None else query_size,
        "key_size": query_size if key_size is None else key_size,
        "alignment_size": alignment_size,
        "value_size": value_size,
    }
    subject = Subject(
        score,
        found,
        sizes=_sizes(SMALL, given),
        cost_sizes=_sizes(REALISTIC, given),
        seed=seed,
    )
    results: list[CheckResult] = []
    unmet: dict[str, str] = {}
    for check in _chosen(checks, timing):
        results.append(_result(check, subject, unmet))
    return ScoreReport(_shown(found), dataclasses.asdict(subject.sizes), tuple(results))


def _shown(score: Score) -> str:
    """The score with its hyper-parameters, unless these are long or arrays."""
    arrays = any(isinstance(value, ArrayValue) for _, value in score.hyper)
    long = arrays or len(repr(score)) > LONGEST_NAME
    return f"{score.name}(...)" if long else repr(score)


def _sizes(default: Sizes, given: dict[str, int | None]) -> Sizes:
    for name, size in given.items():
        whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
        if size is not None and not (whole and size >= 1):
            raise ValueError(f"{name} must be a whole number from 1, not {size!r}")
    taken = {name: int(size) for name, size in given.items() if size is not None}
    return dataclasses.replace(default, **taken)


def _chosen(names: Sequence[str] | None, timing: bool) -> list[Check]:
    """The checks to run, in order."""
    if isinstance(names, str):
        names = (names,)
    for name in names or ():
        if name not in check_names():
            raise unknown_name("check", name, check_names())
    wanted = with_needs(set(check_names() if names is None else names))
    return [c for c in CHECKS if c.name in wanted and (timing or not c.slow)]


def _result(check: Check, subject: Subject, unmet: dict[str, str]) -> CheckResult:
    """Runs one check, unless one that it needs was not passed.

    `unmet` holds, for each check that failed or was left out for it, the one that failed;
    this check is added if it is another.
    """
    blocking = [unmet[need] for need in check.needs if need in unmet]
    if blocking:
        unmet[check.name] = blocking[0]
        return CheckResult(check.name, SKIPPED, f"after {blocking[0]}")
    try:
        with contextlib.nullcontext() if check.costs else _exact():
            status, found, advice = check.function(subject)
    # Whatever a user's function raises is what was found. sys.exit is no Exception.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        status = NOTED if check.costs else FAILED
        found, advice = errors.format_error(error), ""
    if status == FAILED:
        unmet[check.name] = check.name
        advice = advice or check.advice
    return CheckResult(check.name, status, found, advice)


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """float64 at full precision, whatever the user's settings; NaN is put in on purpose."""
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("highest"),
        jax.debug_nans(False),
        jax.debug_infs(False),
        jax.disable_jit(False),
    ):
        yield
