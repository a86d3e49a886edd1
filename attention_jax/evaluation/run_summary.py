"""The summary of one run's directory, whatever state the run is in."""

import dataclasses
import itertools
import json
import math
import os
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from attention_jax.atomic_write import read_json
from attention_jax.config import TrainingConfig
from attention_jax.training.loop import MINUTES, PATIENCE, STEPS, Progress
from attention_jax.training.run_directory import (
    RunDirectory,
    config_from_dict,
    config_to_dict,
    flatten,
)

# The numbers that a row of metrics must have to be one, by its event.
_NEEDED = {
    "train": ("step", "minutes", "loss", "tokens_per_second", "compilations"),
    "dev": ("step", "minutes", "loss", "bleu", "exact_match", "best_step"),
}


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
      name: distinguishes it from the other runs.
      path: its directory.
      config: its fields, with dotted names; {} if config.json cannot be read.
      split_hash: of the data's splits.
      figures: by name, None where the run's files do not have it. dev_loss is the lowest,
        dev_bleu the highest, exact_match the last; tokens_per_second is the mean over lines
        in which nothing was compiled, if there are any.
      finished: whether the same training command would train no further.
      notes: remarks, e.g. that it is unfinished or a file is damaged.
      rows: its metrics, those of each event in order.
    """

    name: str
    path: pathlib.Path
    config: dict[str, Any]
    split_hash: str | None
    figures: dict[str, float | None]
    finished: bool
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...] = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values, without the rows."""
        values = {**vars(self), "path": str(self.path), **self.figures}
        return {n: v for n, v in values.items() if n not in ("figures", "rows")}


def summarize(path: pathlib.Path, *, name: str) -> RunSummary:
    """The summary of the run in `path`; each file that cannot be read is a note."""
    directory, notes = RunDirectory(path), []

    def readable(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, ValueError) as error:
            notes.append(str(error).removeprefix(f"{directory.path}{os.sep}"))

    config = readable(lambda: config_from_dict(read_json(directory.config_path)))
    record = readable(directory.load_record) or {}
    sessions = record.get("sessions") or [{}]
    rows, damaged = read_metrics(directory.metrics_path)
    trained = [row for row in rows if row["event"] == "train"]
    dev = [row for row in rows if row["event"] == "dev"]
    step = max((row["step"] for row in rows), default=0)
    minutes = max((row["minutes"] for row in rows), default=None)
    ending = _ending(config and config.training, dev, step, minutes or 0.0)
    notes += [] if ending == "finished" else [ending]
    notes += [] if dev else ["no dev row yet"]
    if damaged:
        numbers = ", ".join(map(str, damaged[:3])) + ", …" * (len(damaged) > 3)
        notes.append(f"{directory.metrics_path.name}: damaged, line {numbers}")
    return RunSummary(
        name=name,
        path=directory.path,
        config=flatten(config_to_dict(config)) if config else {},
        split_hash=sessions[-1].get("split_hash"),
        figures={
            "parameters": sessions[-1].get("parameters"),
            "step": step,
            "minutes": minutes,
            "dev_loss": min(_finite(dev, "loss"), default=None),
            "dev_bleu": max(_finite(dev, "bleu"), default=None),
            "last_dev_bleu": dev[-1]["bleu"] if dev else None,
            "exact_match": dev[-1]["exact_match"] if dev else None,
            "tokens_per_second": _mean_speed(trained),
        },
        finished=not ending.startswith("unfinished"),
        notes=tuple(notes),
        rows=tuple(rows),
    )


def read_metrics(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The complete rows of metrics.jsonl, and the line numbers of the damaged ones.

    A last line without its newline, which is still being written or was cut short by a
    kill, is neither.
    """
    rows, damaged = [], []
    if not path.is_file():
        return rows, damaged
    lines = path.read_text("utf-8", errors="replace").split("\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            # The cross-entropy is drawn where a row has it; older ones do not.
            for name in (*_NEEDED[row["event"]], *{"cross_entropy"}.intersection(row)):
                # An integer of hundreds of digits overflows; infinite losses are kept.
                float(row[name])
                if isinstance(row[name], str | bool):
                    raise TypeError(f"line {number}: {name} is not a number")
            if not math.isfinite(row["step"]):
                raise ValueError(f"line {number}: step is not finite")
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            damaged.append(number)
        else:
            rows.append(row)
    return rows, damaged


def _finite(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if math.isfinite(row[name])]


def _mean_speed(trained: Sequence[dict[str, Any]]) -> float | None:
    """Over lines of equally many steps: as many tokens each, and so the harmonic mean."""
    pairs = itertools.pairwise([{"compilations": 0}, *trained])
    steady = [row for last, row in pairs if row["compilations"] <= last["compilations"]]
    speeds = [s for s in _finite(steady or trained, "tokens_per_second") if s > 0]
    return statistics.harmonic_mean(speeds) if speeds else None


def _ending(
    training: TrainingConfig | None,
    dev: Sequence[dict[str, Any]],
    step: int,
    minutes: float,
) -> str:
    """`finished`, why the run ended before its last step, or how far it is."""
    if training is None:
        return f"unfinished as far as is known: {step:,} steps"
    without_gain = sum(row["step"] > dev[-1]["best_step"] for row in dev)
    progress = Progress(minutes=minutes, without_gain=without_gain)
    reason = progress.reason_to_end(training, step)
    if reason == STEPS:
        return "finished"
    how = {PATIENCE: "stopped early", MINUTES: "stopped by max_minutes"}
    return f"{how.get(reason, 'unfinished')}: {step:,} of {training.steps:,} steps"
