"""What several runs' directories say of them, side by side."""

import collections
import dataclasses
import json
import math
import os
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from attention_jax.configuration import ExperimentConfig
from attention_jax.registry import unknown_name
from attention_jax.training.config_variation import varying_fields
from attention_jax.training.json_files import read_json
from attention_jax.training.run_directory import RunDirectory
from attention_jax.training.stored_config import config_to_dict, flatten

# What a row of metrics must have to be one, by its event.
_NEEDED = {
    "train": ("step", "minutes", "loss", "tokens_per_second", "compilations"),
    "dev": ("step", "minutes", "loss", "bleu", "exact_match", "best_step"),
}


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One run. A figure is None where the run does not say it.

    Attributes:
      name: the end of its path, as much as tells it from the other runs.
      path: its directory.
      config: its fields, with dotted names; {} if config.json cannot be read.
      parameters: how many the model has.
      step: steps done, by the last row of metrics.
      minutes: of training until then.
      dev_loss: the lowest, nats per token.
      dev_bleu: the highest.
      last_dev_bleu: the one measured last.
      exact_match: percentage of dev sentences, measured last.
      tokens_per_second: the mean over steps; lines in which something was compiled do not
        count, unless there are no others.
      finished: whether the same training command would train no further.
      notes: what else must be said of it, e.g. that it is unfinished.
      rows: its metrics, those of each event in order.
    """

    name: str
    path: pathlib.Path
    config: dict[str, Any]
    parameters: int | None
    step: int
    minutes: float | None
    dev_loss: float | None
    dev_bleu: float | None
    last_dev_bleu: float | None
    exact_match: float | None
    tokens_per_second: float | None
    finished: bool
    notes: tuple[str, ...]
    rows: tuple[dict[str, Any], ...] = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values, without the rows."""
        fields = dataclasses.fields(self)
        values = {f.name: getattr(self, f.name) for f in fields if f.name != "rows"}
        return {**values, "path": str(self.path), "notes": list(self.notes)}


# Figures that can be averaged and sorted by, and whether more of it is better.
METRICS = {
    "dev_loss": False,
    "dev_bleu": True,
    "last_dev_bleu": True,
    "exact_match": True,
    "tokens_per_second": True,
    "minutes": False,
}


class SeedGroup(NamedTuple):
    """Runs that differ in the seed alone.

    Attributes:
      names: of those that are averaged: finished, one a seed; two or more.
      seeds: theirs.
      left_out: how many are not averaged: unfinished, or of a seed already counted.
      config: the fields that they share.
      parameters: of each.
      mean, deviation: of each metric that all of them have; the sample standard deviation.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    left_out: int
    config: dict[str, Any]
    parameters: int | None
    mean: dict[str, float]
    deviation: dict[str, float]


class Comparison(NamedTuple):
    """Several runs: `fields` are those in which they differ, by their dotted names."""

    runs: tuple[RunSummary, ...]
    fields: tuple[str, ...]
    groups: tuple[SeedGroup, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values, without the runs' metrics."""
        return {
            "fields": list(self.fields),
            "runs": [run.to_dict() for run in self.runs],
            "groups": [group._asdict() for group in self.groups],
        }


def compare_runs(paths: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Reads the runs in these directories; a directory of runs stands for those in it.

    Reads what is there: a run that has only begun, was cut off, or whose files are damaged
    has a row too, and notes that say so.

    Raises:
      ValueError: no path, or the same run twice.
      OSError: a directory is not there, or holds no run.
    """
    directories = [one for path in paths for one in run_directories(path)]
    if not directories:
        raise ValueError("paths is empty: there is no run to compare")
    names = brief_paths(directories)
    runs = [
        summarize(path, name=name)
        for path, name in zip(directories, names, strict=True)
    ]
    fields = varying_fields([run.config for run in runs if run.config])
    return Comparison(tuple(runs), tuple(fields), tuple(seed_groups(runs)))


def sort_runs(comparison: Comparison, metric: str) -> Comparison:
    """The comparison with its runs from the best to the worst; those without it last.

    Raises:
      UnknownNameError: `metric` is none of METRICS.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    sign = -1 if METRICS[metric] else 1

    def rank(run: RunSummary) -> float:
        value = getattr(run, metric)
        return math.inf if value is None else sign * value

    return comparison._replace(runs=tuple(sorted(comparison.runs, key=rank)))


def run_directories(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The directory if it holds a run, else those in it that do, by name.

    Raises:
      OSError: neither it nor a directory in it holds a run.
    """
    directory = RunDirectory(path)
    if directory.exists():
        return [directory.path]
    if directory.path.is_file():
        raise NotADirectoryError(f"{directory.path} is a file, not a run's directory")
    if not directory.path.is_dir():
        raise FileNotFoundError(f"there is no run directory {directory.path}")
    inside = [p for p in sorted(directory.path.iterdir()) if RunDirectory(p).exists()]
    if not inside:
        raise FileNotFoundError(
            f"{directory.path} holds no run: neither it nor a folder in it has a "
            f"{directory.config_path.name}"
        )
    return inside


def brief_paths(paths: Sequence[pathlib.Path]) -> list[str]:
    """Each path's last parts, as many as tell it from the others.

    Raises:
      ValueError: two of them are the same.
    """
    parts = [path.resolve().parts for path in paths]
    for path, own in zip(paths, parts, strict=True):
        if parts.count(own) > 1:
            raise ValueError(f"the run {path} is given {parts.count(own)} times")
    names = []
    for own in parts:
        length = 1
        while [other[-length:] for other in parts].count(own[-length:]) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def summarize(path: pathlib.Path, *, name: str) -> RunSummary:
    """What the files of the run in `path` say; what they cannot say is a note."""
    directory, notes = RunDirectory(path), []

    def readable(file: pathlib.Path) -> dict[str, Any]:
        try:
            found = read_json(file)
            if isinstance(found, dict):
                return found
            notes.append(f"{file.name}: damaged, not an object")
        except (OSError, ValueError) as error:
            notes.append(str(error).removeprefix(f"{directory.path}{os.sep}"))
        return {}

    config = flatten(readable(directory.config_path))
    if config:
        # A run older than a field was made as the field's default makes it.
        config = flatten(config_to_dict(ExperimentConfig())) | config
    sessions = readable(directory.record_path).get("sessions") or [{}]
    rows, damaged = read_metrics(directory.metrics_path)
    trained = [row for row in rows if row["event"] == "train"]
    dev = [row for row in rows if row["event"] == "dev"]
    step = max((row["step"] for row in rows), default=0)
    minutes = max((row["minutes"] for row in rows), default=None)
    ending = _ending(config, dev, step, minutes or 0.0)
    if ending != "finished":
        notes.append(ending)
    if not dev:
        notes.append("no dev row yet")
    if damaged:
        numbers = ", ".join(map(str, damaged[:3])) + ", …" * (len(damaged) > 3)
        notes.append(f"{directory.metrics_path.name}: damaged, line {numbers}")
    return RunSummary(
        name=name,
        path=directory.path,
        config=config,
        parameters=sessions[-1].get("parameters"),
        step=step,
        minutes=minutes,
        dev_loss=min(_finite(dev, "loss"), default=None),
        dev_bleu=max(_finite(dev, "bleu"), default=None),
        last_dev_bleu=dev[-1]["bleu"] if dev else None,
        exact_match=dev[-1]["exact_match"] if dev else None,
        tokens_per_second=_mean_speed(trained),
        finished=not ending.startswith("unfinished"),
        notes=tuple(notes),
        rows=tuple(rows),
    )


def read_metrics(path: pathlib.Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows of metrics.jsonl that are whole, and the numbers of the lines that are not.

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
            needed = _NEEDED[row["event"]]
            if not all(isinstance(row[name], int | float) for name in needed):
                raise TypeError(f"line {number}: a field is no number")
        except (ValueError, TypeError, KeyError):
            damaged.append(number)
        else:
            rows.append(row)
    return rows, damaged


def seed_groups(runs: Sequence[RunSummary]) -> list[SeedGroup]:
    """The groups of runs that differ in `config.seed` alone, two finished ones or more each."""
    alike = collections.defaultdict(list)
    for run in runs:
        if "seed" in run.config:
            alike[repr(sorted(_without_seed(run.config).items()))].append(run)
    groups = []
    for members in alike.values():
        by_seed = {}
        for run in members:
            if run.finished:
                by_seed.setdefault(run.config["seed"], run)
        if len(by_seed) < 2:
            continue
        whole = list(by_seed.values())
        values = {name: [getattr(run, name) for run in whole] for name in METRICS}
        known = {name: found for name, found in values.items() if None not in found}
        groups.append(
            SeedGroup(
                names=tuple(run.name for run in whole),
                seeds=tuple(by_seed),
                left_out=len(members) - len(whole),
                config=_without_seed(members[0].config),
                parameters=members[0].parameters,
                mean={n: statistics.fmean(found) for n, found in known.items()},
                deviation={n: statistics.stdev(found) for n, found in known.items()},
            )
        )
    return groups


def _without_seed(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "seed"}


def _finite(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if math.isfinite(row[name])]


def _mean_speed(trained: Sequence[dict[str, Any]]) -> float | None:
    """Over lines of equally many steps: as many tokens each, and so the harmonic mean."""
    before = [0, *(row["compilations"] for row in trained)]
    compiled = [
        row["compilations"] > last
        for row, last in zip(trained, before[:-1], strict=True)
    ]
    steady = [r for r, c in zip(trained, compiled, strict=True) if not c] or trained
    speeds = [s for s in _finite(steady, "tokens_per_second") if s > 0]
    return statistics.harmonic_mean(speeds) if speeds else None


def _ending(
    config: dict[str, Any], dev: Sequence[dict[str, Any]], step: int, minutes: float
) -> str:
    """`finished`, why the run ended before its last step, or how far it is."""
    steps = config.get("training.steps")
    limit = config.get("training.max_minutes", 0.0)
    patience = config.get("training.early_stopping_patience", 0)
    if steps is None:
        return f"unfinished as far as is known: {step:,} steps"
    if step >= steps:
        return "finished"
    of = f"{step:,} of {steps:,} steps"
    waited = sum(row["step"] > dev[-1]["best_step"] for row in dev) if dev else 0
    if 0 < patience <= waited:
        return f"stopped early: {of}"
    if 0 < limit <= minutes:
        return f"stopped by max_minutes: {of}"
    return f"unfinished: {of}"
