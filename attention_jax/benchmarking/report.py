"""A benchmark's results as rows of text."""

from typing import Any

from attention_jax.benchmarking.workloads import WORKLOADS


def workload_rows() -> list[tuple[str, ...]]:
    """Every workload: name, shapes, scores, tags."""
    rows: list[tuple[str, ...]] = [("name", "shapes", "scores", "passes", "tags")]
    for workload in WORKLOADS:
        rows.append(
            (
                workload.name,
                workload.describe(),
                ",".join(workload.scores),
                ",".join(workload.passes),
                ",".join(workload.tags),
            )
        )
    return rows


def case_title(case: dict[str, Any]) -> str:
    """What was computed, how much work it is, and what the machine could do."""
    names = ("workload", "score", "normalizer", "dtype", "pass")
    return (
        " ".join(case[name] for name in names)
        + f": {case['flops'] / 1e9:.3g} GFLOP, "
        + f"matmul peak {case['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"
    )


def case_rows(case: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each candidate, the fastest first, what could not be measured last."""
    header = (
        "candidate",
        "median",
        "quartiles",
        f"/ {case['baseline']}",
        "of peak",
        "temporaries",
        "lower + compile",
        "error",
    )
    measured = [row for row in case["rows"] if "seconds" in row]
    others = [row for row in case["rows"] if "seconds" not in row]
    measured.sort(key=lambda row: row["seconds"]["median"])
    rows = [header, *map(_measured_row, measured)]
    for row in others:
        cells = (row["candidate"], row["status"], row["reason"])
        rows.append(cells + ("",) * (len(header) - len(cells)))
    return rows


def _measured_row(row: dict[str, Any]) -> tuple[str, ...]:
    seconds = row["seconds"]
    quartiles = (seconds["low_quartile"], seconds["high_quartile"])
    memory = (row["xla"] or {}).get("temp_bytes", row["resident_bytes"])
    lowering, compiling = row["lowering_seconds"], row["compile_seconds"]
    return (
        row["candidate"],
        milliseconds(seconds["median"]),
        "–".join(map(milliseconds, quartiles)),
        f"{row['ratio']:.2f}",
        f"{row['peak_fraction']:.1%}",
        "" if memory is None else size(memory),
        "" if lowering is None else f"{lowering:.2f} + {compiling:.2f} s",
        f"{row['error']:.0e}",
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
