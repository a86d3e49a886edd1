"""A benchmark's result file: reading it and printing it.

schema, version      "attention_jax.benchmark", 1
complete             false while cases are missing
command, settings    how it was made
environment          versions, commit, device, system, processors
peers                each baseline: its version, or why it is unavailable
cases                one for each workload x score x normaliser x dtype x pass:
  shapes, baseline   the workload's shapes and mask; what ratios are to
  tolerance          the largest relative error that passes
  rows               one for each candidate, `ours` if it is of this project:
    status, reason   measured, wrong, unsupported or failed; why
    error            largest over the largest expected magnitude; null if not finite
    seconds, ratio   median, quartiles, min and samples; median over rounds of time / baseline's
    compile_seconds
    memory           bytes beside arguments and results by XLA's figure, "xla"

Older files have rows that were only compiled, and "resident" memory, of the process.
"""

import os
import pathlib
from typing import Any

from attention_jax.atomic_write import read_json
from attention_jax.errors import UserError

SCHEMA = "attention_jax.benchmark"
VERSION = 1

# Statuses of a row.
MEASURED = "measured"
WRONG = "wrong"
UNSUPPORTED = "unsupported"
FAILED = "failed"

CASE_KEYS = ("workload", "score", "normalizer", "dtype", "pass")


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A result of `benchmark`, from a file; UserError if it is none of this version."""
    try:
        result = read_json(pathlib.Path(path))
    except OSError as error:
        raise UserError(f"{str(path)!r}: {error.strerror}") from error
    found = result if isinstance(result, dict) else {}
    if (found.get("schema"), found.get("version")) != (SCHEMA, VERSION):
        raise UserError(f"{path} is not a benchmark's result of version {VERSION}")
    return found


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
    """A line a candidate, the fastest first, and why the rest was not measured."""
    lines = [f"{case_name(case)}:"]
    measured = [row for row in case["rows"] if "seconds" in row]
    for row in sorted(measured, key=lambda row: row["seconds"]["median"]):
        names = ("median", "low_quartile", "high_quartile")
        median, low, high = (_milliseconds(row["seconds"][name]) for name in names)
        figures = [
            f"{median} ({low}–{high})",
            f"{row['ratio']:.2f} x {case['baseline']}",
        ]
        if memory := _memory(row):
            figures.append(f"{memory} of temporaries")
        if row["compile_seconds"] is not None:
            figures.append(f"compiled in {row['compile_seconds']:.2f} s")
        lines.append(f"{row['candidate']:12} {', '.join(figures)}")
    lines += [
        f"{row['candidate']}: {row['status']}: {row['reason']}"
        for row in case["rows"]
        if row["status"] != MEASURED
    ]
    return "\n".join(lines) + "\n"


def summary_table(result: dict[str, Any]) -> str:
    """A Markdown table, a row a case and a column a candidate: median and temporaries.

    Older files: temporaries alone of what was only compiled, `*` where the process' growth
    gave them.
    """
    usual = {"normalizer": "softmax", "dtype": "float32"}
    columns: dict[str, None] = {}
    table = []
    for case in result["cases"]:
        parts = [case[key] for key in CASE_KEYS if case[key] != usual.get(key)]
        name = " ".join(part.rpartition(":")[2] for part in parts)
        cells = {
            row["candidate"]: _summary_cell(row)
            for row in case["rows"]
            if row["status"] in (MEASURED, "compiled")
        }
        columns |= dict.fromkeys(cells)
        table.append((name, cells))
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, cells in table:
        row = (cells.get(column, "") for column in columns)
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join(lines)


def _summary_cell(row: dict[str, Any]) -> str:
    time = _milliseconds(row["seconds"]["median"]) if "seconds" in row else ""
    return ", ".join(filter(None, (time, _memory(row))))


def _memory(row: dict[str, Any]) -> str:
    """Bytes as B, kB, MB or GB (powers of 1,000)."""
    number = row["memory"]["bytes"]
    if number is None:
        return ""
    mark = "*" * (row["memory"]["by"] == "resident")
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}{mark}"
        number /= 1000
    return f"{number:.3g} GB{mark}"


def _milliseconds(seconds: float) -> str:
    """With three digits: 0.123 ms, 12.3 ms, 1,230 ms."""
    value = seconds * 1e3
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} ms"
