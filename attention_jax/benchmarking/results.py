"""A benchmark's result file: what is in it, and reading one back.

schema, version          "attention_jax.benchmark", 1
complete                 false while cases are missing
command, settings        how it was made
environment              versions, commit, device, system, processors
peers                    each asked for: its version, or why it is unavailable
cases                    one for each workload x score x normaliser x dtype x pass:
  shapes                 leading axes, T, S, Q, K, V, the mask, key lengths
  flops                  useful operations, by the formula of `cases.flops`
  peak_flops_per_second  the best square matmul measured right before or after
  baseline, tolerance    what ratios are to; the largest relative error that passes
  rows                   one for each candidate:
    candidate, ours      its name; whether it is an implementation of this project
    status, reason       measured, compiled (only: `repeats` was 0), wrong, unsupported, over
                             budget or failed; why
    error                largest error over the largest expected magnitude; null if
                             something is not finite
    lowering_seconds, compile_seconds
    seconds              median, quartiles, min and samples of run time
    ratio                median over rounds of run time / baseline's
    peak_fraction        flops / median / peak
    memory               bytes beside arguments and results; who said so: "xla", or
                         "resident" for the growth of the process in one call
    xla                  XLA's own figures; see `candidates.xla_facts`
"""

import json
import os
import pathlib
from typing import Any

SCHEMA = "attention_jax.benchmark"
VERSION = 1

# Statuses of a row.
MEASURED = "measured"
COMPILED = "compiled"
WRONG = "wrong"
UNSUPPORTED = "unsupported"
OVER_BUDGET = "over budget"
FAILED = "failed"

CASE_KEYS = ("workload", "score", "normalizer", "dtype", "pass")


def case_name(case: dict[str, Any]) -> str:
    """What identifies a case, in one line."""
    return " ".join(case[key] for key in CASE_KEYS)


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A result that `benchmark` made and someone wrote to a file.

    Raises:
      ValueError: it is no such file, or of another version. OSError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise ValueError(f"{str(path)!r} is not a benchmark's result")
    if result.get("version") != VERSION:
        raise ValueError(
            f"{str(path)!r} is of version {result.get('version')}; this program reads "
            f"version {VERSION}"
        )
    return result


def wrong_rows(result: dict[str, Any]) -> list[str]:
    """Which of our own implementations failed the gate or raised, a sentence each."""
    return [
        f"{row['candidate']} on {case_name(case)}: {row['reason']}"
        for case in result["cases"]
        for row in case["rows"]
        if row["ours"] and row["status"] in (WRONG, FAILED)
    ]
