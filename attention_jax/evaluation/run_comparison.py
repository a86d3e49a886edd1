"""What several runs' directories say of them, side by side."""

import math
import os
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from attention_jax.errors import UserError, unknown_name
from attention_jax.evaluation.config_variation import (
    alike_but_for_seed,
    varying_fields,
    without_seed,
)
from attention_jax.evaluation.run_summary import RunSummary, summarize
from attention_jax.training.run_directory import RunDirectory

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
            raise UserError(f"the run {path} is given {parts.count(own)} times")
    names = []
    for own in parts:
        length = 1
        while [other[-length:] for other in parts].count(own[-length:]) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def seed_groups(runs: Sequence[RunSummary]) -> list[SeedGroup]:
    """The groups of runs that differ in `config.seed` alone, two finished ones or more each."""
    groups = []
    for indices in alike_but_for_seed([run.config for run in runs]):
        members = [runs[index] for index in indices]
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
                config=without_seed(members[0].config),
                parameters=members[0].parameters,
                mean={n: statistics.fmean(found) for n, found in known.items()},
                deviation={n: statistics.stdev(found) for n, found in known.items()},
            )
        )
    return groups
