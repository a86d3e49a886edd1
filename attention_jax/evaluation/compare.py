"""Several runs side by side: where they differ, seeds averaged, differences tested."""

import collections
import dataclasses
import functools
import itertools
import json
import math
import os
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from attention_jax.atomic_write import read_json
from attention_jax.config import ExperimentConfig, TrainingConfig
from attention_jax.errors import UserError, unknown_name
from attention_jax.evaluation.evaluate import Evaluation
from attention_jax.evaluation.significance import (
    Estimate,
    LengthBin,
    bleu_by_length,
    equal_count_edges,
    paired_bootstrap,
)
from attention_jax.training.loop import MINUTES, PATIENCE, STEPS, Progress
from attention_jax.training.run_directory import (
    RunDirectory,
    config_from_dict,
    flatten,
)

# Of the figures of a RunSummary.
LOWER_IS_BETTER = {"dev_loss", "minutes"}
# The numbers that a row of metrics must have to be one, by its event.
_NEEDED = {
    "train": ("step", "minutes", "loss", "tokens_per_second", "compilations"),
    "dev": ("step", "minutes", "loss", "bleu", "exact_match", "best_step"),
}


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
      config: its fields, with dotted names; {} if config.json cannot be read.
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
        config=flatten(config) if config else {},
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


def varying_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The dotted names of the fields whose values differ; configs as `flatten` gives them."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [
        name
        for name in names
        if any(config.get(name) != configs[0].get(name) for config in configs)
    ]


def brief_fields(names: Sequence[str]) -> dict[str, str]:
    """The fields' short names: `score` for `model.score`, if no other field ends so.

    `data.seed` keeps its section, whatever `names` are: `seed` is another field.
    """
    known = {*flatten(ExperimentConfig()), *names}
    last = {name: name.rpartition(".")[2] for name in known}
    times = collections.Counter(last.values())
    return {name: last[name] if times[last[name]] == 1 else name for name in names}


def brief_values(values: Sequence[Any]) -> list[str]:
    """One field's values as text; paths without their folders where that is enough."""
    full = [str(value) for value in values]
    brief = [os.path.basename(text) or text for text in full]
    return brief if len({*brief}) == len({*full}) else full


class SeedGroup(NamedTuple):
    """Finished runs that differ in `config.seed` alone, one a seed.

    `mean` and `deviation`, the sample standard deviation, are of the figures that all have.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    mean: dict[str, float]
    deviation: dict[str, float]


def seed_groups(runs: Sequence[Any]) -> tuple[SeedGroup, ...]:
    """The groups of runs that differ in `config.seed` alone, of two finished seeds or more."""
    alike = collections.defaultdict(dict)
    for run in runs:
        if run.finished and "seed" in run.config:
            others = sorted((n, v) for n, v in run.config.items() if n != "seed")
            alike[repr(others)].setdefault(run.config["seed"], run)
    groups = []
    for by_seed in alike.values():
        chosen = list(by_seed.values())
        if len(chosen) < 2:
            continue
        values = {n: [run.figures.get(n) for run in chosen] for n in chosen[0].figures}
        known = {name: xs for name, xs in values.items() if None not in xs}
        groups.append(
            SeedGroup(
                tuple(run.name for run in chosen),
                tuple(by_seed),
                {name: statistics.fmean(xs) for name, xs in known.items()},
                {name: statistics.stdev(xs) for name, xs in known.items()},
            )
        )
    return tuple(groups)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs: RunSummaries, Systems, what has their name, config, figures, finished."""

    runs: tuple[Any, ...]

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """The dotted names of the configuration's fields in which the runs differ."""
        return tuple(varying_fields([run.config for run in self.runs if run.config]))

    @functools.cached_property
    def groups(self) -> tuple[SeedGroup, ...]:
        """Means over seeds."""
        return seed_groups(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values, without the rows of the runs' metrics."""
        return {
            "fields": list(self.fields),
            "runs": [run.to_dict() for run in self.runs],
            "groups": [group._asdict() for group in self.groups],
        }


def compare_runs(
    paths: Sequence[str | os.PathLike[str]], *, metric: str | None = None
) -> Comparison:
    """The runs in these directories, or in directories of runs, on the dev set.

    A run that has only begun, or whose files are damaged, has notes that say so.

    With `metric`, a figure of RunSummary, the best are first and those without it last.

    Raises:
      UserError: no path, or the same run twice; an UnknownNameError for another metric.
      OSError: a directory is not there, or holds no run.
    """
    directories = [one for path in paths for one in run_directories(path)]
    if not directories:
        raise UserError("paths is empty: there is no run to compare")
    named = zip(directories, brief_paths(directories), strict=True)
    runs = [summarize(path, name=name) for path, name in named]
    if metric is not None:
        if metric not in runs[0].figures:
            raise unknown_name("metric", metric, runs[0].figures)
        sign = 1 if metric in LOWER_IS_BETTER else -1
        known = {run.path: run.figures[metric] for run in runs}
        runs.sort(
            key=lambda run: (known[run.path] is None, sign * (known[run.path] or 0.0))
        )
    return Comparison(tuple(runs))


def run_directories(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The directory if it holds a run, else those in it that do; OSError if there is none."""
    directory = RunDirectory(path)
    if directory.exists():
        return [directory.path]
    if not directory.path.is_dir():
        raise FileNotFoundError(f"there is no run directory {directory.path}")
    inside = [p for p in sorted(directory.path.iterdir()) if RunDirectory(p).exists()]
    if not inside:
        raise FileNotFoundError(
            f"{directory.path} holds no run, nor a folder that does"
        )
    return inside


def brief_paths(paths: Sequence[pathlib.Path]) -> list[str]:
    """Each path's last parts, as many as distinguish it; UserError if two are the same."""
    parts = [path.resolve().parts for path in paths]
    for path, own in zip(paths, parts, strict=True):
        if parts.count(own) > 1:
            raise UserError(f"the run {path} is given {parts.count(own)} times")
    ends = [[own[-n:] for n in range(1, len(own) + 1)] for own in parts]
    times = collections.Counter(itertools.chain(*ends))
    return ["/".join(next(e for e in own if times[e] == 1)) for own in ends]


class System(NamedTuple):
    """A run that was evaluated; `facts` are its `provenance`, `config` is flattened."""

    name: str
    evaluation: Evaluation
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    finished = True

    @property
    def figures(self) -> dict[str, float | None]:
        """Metrics, sentences per second, statistics of attention and alignment rates."""
        found = self.evaluation
        figures: dict[str, float | None] = {m.name: m.score for m in found.metrics}
        figures["sentences_per_second"] = found.sentences_per_second
        if found.attention:
            figures |= dataclasses.asdict(found.attention)
        if found.aligned:
            figures |= found.aligned.rates
        return figures


@dataclasses.dataclass(frozen=True)
class SystemComparison(Comparison):
    """Systems on the same sentences, and BLEU by source length.

    `baseline` is the name of the first one if the others are tested against it, which
    gives `estimates` of each system and metric.
    """

    baseline: str | None
    estimates: tuple[Estimate, ...]
    by_length: tuple[LengthBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values; of one system its figures are at the top."""
        by_length = [
            {**one._asdict(), "bleu": [dataclasses.asdict(bleu) for bleu in one.bleu]}
            for one in self.by_length
        ]
        systems = []
        for run in self.runs:
            differs = {name: run.config.get(name) for name in self.fields}
            one = {"name": run.name, "differs": differs}
            systems.append(one | run.evaluation.to_dict() | run.facts)
        if len(systems) == 1:
            return {**systems[0], "by_length": by_length}
        return {
            "fields": list(self.fields),
            "systems": systems,
            "seeds": [group._asdict() for group in self.groups],
            "baseline": self.baseline,
            "estimates": [dataclasses.asdict(found) for found in self.estimates],
            "by_length": by_length,
        }


def compare_systems(
    systems: Sequence[System],
    *,
    baseline: bool = False,
    edges: Sequence[int] = (),
) -> SystemComparison:
    """The comparison of systems that were evaluated on the same sentences.

    Args:
      systems: one or more, of different names.
      baseline: whether the others are tested against the first one.
      edges: for `bleu_by_length`, in the first system's tokens; by default of six bins.

    Raises:
      ValueError: no systems, or two of one name.
      UserError: references that are not the same: the sentences differ, or how the runs
        spell them.
    """
    names = {system.name for system in systems}
    if not systems or len(names) < len(systems):
        raise ValueError(f"systems must have different names, got {', '.join(names)}")
    first = systems[0]
    references = first.evaluation.references
    for other in systems[1:]:
        if other.evaluation.references != references:
            raise UserError(
                f"{first.name} and {other.name} are measured against different "
                "references: other sentences, or config.data.lowercase differs"
            )
    lowercase = first.config["data.lowercase"]
    data = {"language": first.config["data.target_language"], "lowercase": lowercase}
    texts = {system.name: system.evaluation.hypotheses for system in systems}
    lengths = [len(one.source_tokens) for one in first.evaluation.translations]
    edges = edges or equal_count_edges(lengths, 6)
    return SystemComparison(
        tuple(systems),
        first.name if baseline else None,
        paired_bootstrap(texts, references, **data) if baseline else (),
        bleu_by_length(texts, references, lengths, edges=edges, **data),
    )
