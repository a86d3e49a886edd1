"""A benchmark's result file: reading it, printing it, comparing it with an older one.

schema, version          "attention_jax.benchmark", 1
complete                 false while cases are missing
command, settings        how it was made
environment              versions, commit, device, system, processors
peers                    each baseline: its version, or why it is unavailable
cases                    one for each workload x score x normaliser x dtype x pass:
  shapes                 leading axes, T, S, Q, K, V, the mask, key lengths
  flops                  useful operations, by the formula of `workloads.flops`
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
    memory               bytes beside arguments and results, and whose figure: "xla", or
                             "resident" for the growth of the process in one call
    xla                  XLA's own figures; see `candidates.xla_facts`
"""

import json
import os
import pathlib
import statistics
from typing import Any, NamedTuple

from tabulate import tabulate

from attention_jax.errors import UserError

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
# Slower by more than this, and by more than the spread, is reported.
SLOWER = 1.1


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A result that `benchmark` made and someone wrote to a file.

    Raises:
      UserError: the file cannot be read, or is not a result of this version.
    """
    try:
        result = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise UserError(f"{str(path)!r} is not a benchmark's result")
    if result.get("version") != VERSION:
        raise UserError(
            f"{str(path)!r} is of version {result.get('version')}; this program reads "
            f"version {VERSION}"
        )
    return result


def case_name(case: dict[str, Any]) -> str:
    """What identifies a case, in one line."""
    return " ".join(case[key] for key in CASE_KEYS)


def wrong_rows(result: dict[str, Any]) -> list[str]:
    """The implementations of ours that were wrong or raised, a sentence each."""
    return [
        f"{row['candidate']} on {case_name(case)}: {row['reason']}"
        for case in result["cases"]
        for row in case["rows"]
        if row["ours"] and row["status"] in (WRONG, FAILED)
    ]


def case_table(case: dict[str, Any]) -> str:
    """A table of what was measured, the fastest first, and why the rest was not."""
    head = (
        f"candidate|median|quartiles|x {case['baseline']}|of peak|temporaries|compile"
    )
    measured = [row for row in case["rows"] if "seconds" in row]
    measured.sort(key=lambda row: row["seconds"]["median"])
    rows = []
    for row in measured:
        seconds, compiling = row["seconds"], row["compile_seconds"]
        quartiles = (seconds["low_quartile"], seconds["high_quartile"])
        rows.append(
            (
                row["candidate"],
                milliseconds(seconds["median"]),
                "–".join(map(milliseconds, quartiles)),
                f"{row['ratio']:.2f}",
                f"{row['peak_fraction']:.1%}",
                _memory(row),
                "" if compiling is None else f"{compiling:.2f} s",
            )
        )
    peak = f"matmul peak {case['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"
    lines = [f"{case_name(case)}: {case['flops'] / 1e9:.3g} GFLOP, {peak}"]
    if rows:
        align = ("left", *["right"] * 6)
        lines.append(
            tabulate(rows, head.split("|"), disable_numparse=True, colalign=align)
        )
    for row in case["rows"]:
        if row["status"] != MEASURED:
            lines.append(f"{row['candidate']}: {row['status']}: {row['reason']}")
    return "\n".join(lines) + "\n"


def summary_table(result: dict[str, Any]) -> str:
    """A Markdown table, a row a case and a column a candidate: median and temporaries.

    Temporaries alone of what was only compiled; `*` where the process' growth gave them.
    """
    usual = {"normalizer": "softmax", "dtype": "float32"}
    measured = [
        {r["candidate"]: r for r in case["rows"] if r["status"] in (MEASURED, COMPILED)}
        for case in result["cases"]
    ]
    columns = list(dict.fromkeys(name for rows in measured for name in rows))
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for case, rows in zip(result["cases"], measured, strict=True):
        parts = [case[key] for key in CASE_KEYS if case[key] != usual.get(key)]
        name = " ".join(part.rpartition(":")[2] for part in parts)
        cells = [_summary_cell(rows[n]) if n in rows else "" for n in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _summary_cell(row: dict[str, Any]) -> str:
    parts = [milliseconds(row["seconds"]["median"])] if "seconds" in row else []
    return ", ".join([*parts, _memory(row)] if _memory(row) else parts)


def _memory(row: dict[str, Any]) -> str:
    known = row["memory"]["bytes"]
    if known is None:
        return ""
    return size(known) + "*" * (row["memory"]["by"] == "resident")


def milliseconds(seconds: float) -> str:
    """With three digits: 0.123 ms, 12.3 ms, 1,230 ms."""
    value = seconds * 1e3
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} ms"


def size(number: float) -> str:
    """Bytes as kB, MB or GB (powers of 1,000)."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


class Change(NamedTuple):
    """The change of one implementation of ours on one case, new against old.

    Attributes:
      case: the case's name. candidate: the implementation's.
      raw: new median / old median.
      machine: how much slower the machine itself was: the median of the baselines' new /
        old on this case, or old / new matmul peak where they have no baseline of one
        version in common.
      measured_by: "baselines" or "matmul peak".
      slower: raw / machine exceeds SLOWER and the quartiles do not overlap.
    """

    case: str
    candidate: str
    raw: float
    machine: float
    measured_by: str
    slower: bool

    @property
    def normalized(self) -> float:
        """New / old, divided by the machine's own change."""
        return self.raw / self.machine


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The changes of every case and implementation that both measured, worst first."""
    before = {_key(case): case for case in old["cases"]}
    same_version = {
        name
        for name, found in new["peers"].items()
        if "version" in found and found == old["peers"].get(name)
    }
    changes = []
    for case in new["cases"]:
        if _key(case) in before:
            changes += _changes(before[_key(case)], case, same_version)
    return sorted(changes, key=lambda change: -change.normalized)


def _key(case: dict[str, Any]) -> str:
    # A workload whose shapes were changed is another workload.
    return f"{case_name(case)} {sorted(case['shapes'].items())}"


def _changes(
    old: dict[str, Any], new: dict[str, Any], same_version: set[str]
) -> list[Change]:
    before, after = (
        {row["candidate"]: row["seconds"] for row in case["rows"] if "seconds" in row}
        for case in (old, new)
    )
    common = [name for name in after if name in before]
    ratios = {name: after[name]["median"] / before[name]["median"] for name in common}
    machine = old["peak_flops_per_second"] / new["peak_flops_per_second"]
    measured_by = "matmul peak"
    if others := [ratio for name, ratio in ratios.items() if name in same_version]:
        machine, measured_by = statistics.median(others), "baselines"
    ours = {row["candidate"] for row in new["rows"] if row["ours"]}
    changes = []
    for name in (name for name in common if name in ours):
        low, high = after[name]["low_quartile"], before[name]["high_quartile"]
        slower = ratios[name] / machine > SLOWER and low / machine > high
        changes.append(
            Change(case_name(new), name, ratios[name], machine, measured_by, slower)
        )
    return changes


def comparison_table(changes: list[Change]) -> str:
    """A table with a row for each change, and how many became slower."""
    if not changes:
        return "the two results have no case and implementation in common"
    rows = [
        (
            change.case,
            f"{change.normalized:.2f}",
            "SLOWER" * change.slower,
            f"{change.raw:.2f}",
            f"{change.machine:.2f}",
            change.measured_by,
            change.candidate,
        )
        for change in changes
    ]
    head = ("case", "new / old", "", "raw", "machine", "by", "candidate")
    slower = sum(change.slower for change in changes)
    return (
        tabulate(rows, head, disable_numparse=True)
        + f"\n{slower} of {len(changes)} slower by more than {SLOWER - 1:.0%} and the "
        "spread, relative to the machine's own change"
    )
