"""A benchmark's results as rows of text."""

from typing import Any

from attention_jax.benchmarking.comparison import SLOWER, Change
from attention_jax.benchmarking.results import (
    CASE_KEYS,
    COMPILED,
    MEASURED,
    UNSUPPORTED,
    case_name,
)
from attention_jax.benchmarking.workloads import WORKLOADS

Rows = list[tuple[str, ...]]


def workload_rows() -> Rows:
    """Every workload: name, shapes, scores, passes, tags."""
    rows: Rows = [("name", "[leading] shapes mask", "scores", "passes", "tags")]
    for workload in WORKLOADS:
        lists = (workload.scores, workload.passes, workload.tags)
        rows.append((workload.name, workload.describe(), *map(",".join, lists)))
    return rows


def case_title(case: dict[str, Any]) -> str:
    """What was computed, how much work it is, and what the machine could do."""
    return (
        f"{case_name(case)}: {case['flops'] / 1e9:.3g} GFLOP, "
        f"matmul peak {case['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"
    )


def case_rows(case: dict[str, Any]) -> Rows:
    """A row for each candidate that was measured, the fastest first."""
    header = (
        "candidate",
        "median",
        "quartiles",
        f"x {case['baseline']}",
        "of peak",
        "temporaries",
        "lower + compile",
        "error",
    )
    measured = [row for row in case["rows"] if "seconds" in row]
    measured.sort(key=lambda row: row["seconds"]["median"])
    return [header, *map(_measured_row, measured)]


def case_notes(case: dict[str, Any]) -> list[str]:
    """A line for each candidate that could not be measured; the unsupported share one."""
    others = [row for row in case["rows"] if "seconds" not in row]
    lines = [
        f"{row['candidate']}: {row['status']}: {row['reason']}"
        for row in others
        if row["status"] != UNSUPPORTED
    ]
    unsupported = [r["candidate"] for r in others if r["status"] == UNSUPPORTED]
    if unsupported:
        lines.append(f"not supported by {', '.join(unsupported)}")
    return lines


def _measured_row(row: dict[str, Any]) -> tuple[str, ...]:
    seconds = row["seconds"]
    quartiles = (seconds["low_quartile"], seconds["high_quartile"])
    memory = row["memory"]["bytes"]
    lowering, compiling = row["lowering_seconds"], row["compile_seconds"]
    compilation = [f"{s:.2f}" for s in (lowering, compiling) if s is not None]
    return (
        row["candidate"],
        milliseconds(seconds["median"]),
        "–".join(map(milliseconds, quartiles)),
        f"{row['ratio']:.2f}",
        f"{row['peak_fraction']:.1%}",
        "" if memory is None else size(memory),
        " + ".join(compilation) + " s" * bool(compilation),
        f"{row['error']:.0e}",
    )


def summary_lines(result: dict[str, Any]) -> list[str]:
    """A Markdown table, a row a case and a column a candidate: median and temporaries.

    Temporaries alone of what was only compiled; `*` where the process' growth told them.
    """
    measured = [
        {
            row["candidate"]: row
            for row in case["rows"]
            if row["status"] in (MEASURED, COMPILED)
        }
        for case in result["cases"]
    ]
    columns = list(dict.fromkeys(name for rows in measured for name in rows))
    lines = [f"| case | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for case, rows in zip(result["cases"], measured, strict=True):
        cells = [_summary_cell(rows[n]) if n in rows else "" for n in columns]
        lines.append(f"| {_short_name(case)} | {' | '.join(cells)} |")
    return lines


def _summary_cell(row: dict[str, Any]) -> str:
    memory = row["memory"]["bytes"]
    parts = [milliseconds(row["seconds"]["median"])] if "seconds" in row else []
    if memory is not None:
        parts.append(size(memory) + "*" * (row["memory"]["by"] == "resident"))
    return ", ".join(parts)


def _short_name(case: dict[str, Any]) -> str:
    """Its parts that are not what they usually are."""
    usual = {"normalizer": "softmax", "dtype": "float32"}
    parts = [case[key] for key in CASE_KEYS if case[key] != usual.get(key)]
    return " ".join(part.rpartition(":")[2] for part in parts)


def comparison_rows(changes: list[Change]) -> Rows:
    """A row for each change, the worst first."""
    rows: Rows = [("case", "new / old", "", "raw", "machine", "by", "candidate")]
    for change in changes:
        rows.append(
            (
                change.case,
                f"{change.normalized:.2f}",
                "SLOWER" if change.slower else "",
                f"{change.raw:.2f}",
                f"{change.machine:.2f}",
                change.yardstick,
                change.candidate,
            )
        )
    return rows


def comparison_summary(changes: list[Change]) -> str:
    """How many became slower, in one line."""
    slower = sum(change.slower for change in changes)
    if not changes:
        return "the two results have no case and implementation in common"
    return (
        f"{slower} of {len(changes)} slower by more than {SLOWER - 1:.0%} and the spread, "
        "the machine's own change taken out"
    )


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
