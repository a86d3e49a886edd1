"""Measures runs on one of their splits: BLEU, chrF, TER, exact match, attention, speed.

    python -m experiments.evaluate --workdir=runs/cldr --split=test --output=cldr.json
    python -m experiments.evaluate --workdir=runs/bilinear --baseline=runs/none
    python -m experiments.evaluate --workdir=runs/seed0 --workdir=runs/seed1 --beam_size=5
    python -m experiments.evaluate --workdir=runs/cldr --beam_size=5 --baseline_search=greedy

--workdir may be given several times, and a folder of runs stands for those in it; all must
have the same sentences. Runs that differ in the seed alone get a row with their mean.
"""

import dataclasses
import pathlib
import sys
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

import attention_jax
from attention_jax import evaluation
from attention_jax.atomic_write import write_json
from attention_jax.config import ExperimentConfig
from attention_jax.errors import UserError, named
from attention_jax.training.checkpoints import existing_steps
from attention_jax.training.run_directory import RunDirectory, flatten
from experiments import cli, run_flags
from experiments.outputs import check_files, print_table

TEXTS = {
    "baseline": "The run that the others are tested against, by paired bootstrap.",
    "output": "A JSON file for the figures.",
    "figure": "BLEU by source length: a .png, .pdf or .svg file.",
    "translations": "A file: source, reference, each run's translation, tabs between.",
}
FILES = ("output", "translations", "figure")


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    given: dict[str, Any] = {"flag_values": flag_values}
    text = "A run's directory, or a folder of such; may be repeated."
    flags.DEFINE_multi_string("workdir", None, text, **given)
    for name, text in TEXTS.items():
        flags.DEFINE_string(name, None, text, **given)
    text = (
        "The search of the baseline, which is then the run itself unless --baseline is "
        "given. Flags about one search are the others' alone."
    )
    searches = ["greedy", "beam", "sample"]
    flags.DEFINE_enum("baseline_search", None, searches, text, **given)
    text = (
        "BLEU by source length: the longest length of each bin but the last, 5,10,20; "
        "by default 6 bins of about as many sentences each."
    )
    flags.DEFINE_list("length_edges", [], text, **given)
    run_flags.define_split(flag_values, most=0)
    run_flags.define_run(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the tables and writes the files."""
    read = {"alignments": arguments.alignments}
    check_files(arguments, *FILES, picture="figure", read=read)
    edges = length_edges(arguments.length_edges)
    runs = runs_to_measure(arguments)
    directories = [run.directory for run in runs]
    check_files(arguments, *FILES, runs=[one.path for one in directories])
    pairs = evaluation.evaluate.load_same_split(
        directories, arguments.split, max_sentences=arguments.max_sentences
    )
    gold = run_flags.read_gold(arguments, directories, pairs)
    for directory in directories:
        # Before any work, though each is read later.
        existing_steps(directory.checkpoints_path)
    systems = []
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            which = f"run {number} of {len(runs)}: {run.name}"
            print(which, file=sys.stderr, flush=True)
        path = run.directory.path
        loaded = attention_jax.load_run(path, checkpoint=arguments.checkpoint)
        loaded = dataclasses.replace(loaded, config=run.config)
        found = run_flags.measure(arguments, run.directory, loaded, pairs, gold)
        config = flatten(run.config)
        systems.append(evaluation.compare.System(run.name, *found, config))
    tested = bool(arguments.baseline or arguments.baseline_search)
    comparison = evaluation.compare.compare_systems(
        systems, baseline=tested, edges=edges
    )
    first = systems[0]
    whose = arguments.workdir[0] if len(systems) == 1 else f"{len(systems)} runs"
    title = f"{whose}, {arguments.split}, {len(pairs):,} sentences"
    if len(systems) == 1:
        rows = evaluation.tables.evaluation_rows(first.evaluation, first.facts)
        print_table(title, rows)
        print()
    unit = first.config["data.source_tokenizer"]
    for table in evaluation.tables.system_tables(comparison, title=title, unit=unit):
        print_table(*table)
        print()
    if arguments.output:
        write_json(pathlib.Path(arguments.output), comparison.to_dict())
    if arguments.translations:
        measured = [system.evaluation for system in systems]
        evaluation.evaluate.write_translations(arguments.translations, pairs, measured)
    if arguments.figure:
        evaluation.curves.plot_length_curves(
            comparison.by_length, unit=unit, path=arguments.figure
        )
    for path in filter(None, (getattr(arguments, name) for name in FILES)):
        print(f"wrote {path}")


def length_edges(given: Sequence[str]) -> list[int]:
    """The edges that --length_edges names: integers that increase."""
    edges = [int(edge) for edge in given if edge.isdecimal()]
    if len(edges) < len(given) or edges != sorted({*edges}):
        message = "--length_edges takes integers that increase, as in 5,10,20; got "
        raise UserError(message + repr(",".join(given)))
    return edges


class NamedRun(NamedTuple):
    """A run to measure; its configuration says how it is searched."""

    name: str
    directory: RunDirectory
    config: ExperimentConfig


def runs_to_measure(arguments: types.SimpleNamespace) -> list[NamedRun]:
    """The runs that the flags name, the baseline first if there is one."""
    search = arguments.baseline_search
    paths = _expand(arguments.workdir)
    with named("--workdir"):
        evaluation.compare.brief_paths(paths)
    baseline = paths if search is not None else []
    if arguments.baseline is not None:
        baseline = _expand([arguments.baseline])
    if len(baseline) > 1:
        raise UserError(
            f"the baseline must be one run, and there are {len(baseline)}; name it by "
            "--baseline"
        )
    distinct = list(dict.fromkeys([*baseline, *paths]))
    brief = evaluation.compare.brief_paths(distinct)
    names = dict(zip(distinct, brief, strict=True))

    def named_run(path: pathlib.Path, search: str | None) -> NamedRun:
        directory = RunDirectory(path)
        with named(str(path)):
            config = run_flags.with_search(
                directory.load_config(), arguments, search=search
            )
        name = names[path]
        if arguments.baseline_search:
            describe = evaluation.tables.describe_search
            name += f", {search or describe(config.decoding)}"
        return NamedRun(name, directory, config)

    first = [named_run(path, search) for path in baseline]
    # A folder of runs may hold the baseline too, which is another system if it searches
    # otherwise by the flags.
    others = [
        one
        for one in (named_run(path, None) for path in paths)
        if one.directory.path not in baseline or one.config != first[0].config
    ]
    if not others:
        raise UserError(
            "the baseline is the run itself, searched alike: --baseline takes another "
            "run, and --baseline_search another search"
        )
    return first + others


def _expand(paths: Sequence[str]) -> list[pathlib.Path]:
    """Each path, or the runs in it, without symbolic links."""
    if "" in paths:
        raise UserError("--workdir and --baseline take a directory, got an empty one")
    found = map(evaluation.compare.run_directories, paths)
    return [run.resolve() for runs in found for run in runs]


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
