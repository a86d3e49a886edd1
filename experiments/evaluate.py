"""Measures runs on one of their splits: BLEU, chrF, TER, exact match, attention, speed.

    python -m experiments.evaluate --workdir=runs/cldr --split=test --output=cldr.json
    python -m experiments.evaluate --workdir=runs/bilinear --baseline=runs/none
    python -m experiments.evaluate --workdir=runs/seed0 --workdir=runs/seed1 --beam_size=5
    python -m experiments.evaluate --workdir=runs/cldr --beam_size=5 --baseline_search=greedy

--workdir may be given several times, and a folder of runs stands for those in it; all must
have the same sentences. Runs that differ in the seed alone get a row with their mean.
"""

import pathlib
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

import attention_jax
from attention_jax import evaluation
from attention_jax.atomic_write import write_json
from attention_jax.errors import UserError, named
from attention_jax.training.checkpoints import existing_steps
from attention_jax.training.run_directory import RunDirectory, config_to_dict, flatten
from experiments import cli, run_flags
from experiments.gold_alignments import (
    GoldAlignments,
    check_alignments,
    define_alignments,
)
from experiments.outputs import check_apart, check_output, check_picture, print_table

if TYPE_CHECKING:
    from attention_jax.evaluation.compare import System

_TEXTS = {
    "baseline": "The run that the others are tested against, by paired bootstrap.",
    "output": "A JSON file for the figures.",
    "figure": "BLEU by source length: a .png, .pdf or .svg file.",
    "translations": (
        "A file for source, reference and each run's translation, tabs between."
    ),
}


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "A run's directory, or a folder of such; may be repeated.",
        flag_values=flag_values,
    )
    for name, text in _TEXTS.items():
        flags.DEFINE_string(name, None, text, flag_values=flag_values)
    flags.DEFINE_enum(
        "baseline_search",
        None,
        ["greedy", "beam", "sample"],
        "The search of the baseline, which is then the run itself unless --baseline is "
        "given. Flags about one search are the others' alone.",
        flag_values=flag_values,
    )
    run_flags.define_max_sentences(flag_values, 0)
    run_flags.define_split(flag_values)
    run_flags.define_checkpoint(flag_values)
    flags.DEFINE_list(
        "length_edges",
        [],
        "BLEU by source length: the longest length of each bin but the last, 5,10,20; "
        "by default 6 bins of about as many sentences each.",
        flag_values=flag_values,
    )
    define_alignments(flag_values)
    run_flags.define_search(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the tables and writes the files."""
    output = check_output(arguments.output)
    translations = check_output(arguments.translations, "translations")
    written = {n: getattr(arguments, n) for n in ("output", "translations", "figure")}
    check_apart(written, read={"alignments": arguments.alignments})
    edges = length_edges(arguments.length_edges)
    if arguments.figure is not None:
        check_picture(arguments.figure)
    runs = runs_to_measure(arguments)
    directories = [run.directory for run in runs]
    check_apart(written, runs=[directory.path for directory in directories])
    check_alignments(arguments, directories)
    pairs = evaluation.evaluate.load_same_split(
        directories, arguments.split, max_sentences=arguments.max_sentences
    )
    gold = GoldAlignments(arguments, pairs)
    for run in runs:
        # Before any work, though each is read later.
        existing_steps(run.directory.checkpoints_path)
        with named(str(run.directory.path)):
            run_flags.with_search_of(
                run.directory.load_config(), arguments, search=run.search
            )
    systems = []
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            which = f"run {number} of {len(runs)}: {run.name}"
            print(which, file=sys.stderr, flush=True)
        systems.append(measure(run, gold, arguments))
    tested = bool(arguments.baseline or arguments.baseline_search)
    comparison = evaluation.compare.compare_systems(
        systems, baseline=tested, edges=edges
    )
    first = systems[0]
    whose = arguments.workdir[0] if len(systems) == 1 else f"{len(systems)} runs"
    title = f"{whose}, {arguments.split}, {len(pairs):,} sentences"
    if len(systems) == 1:
        rows = evaluation.tables.evaluation_rows(first.evaluation, first.facts)
        print_table(rows, title=title)
        print()
    unit = first.config["data.source_tokenizer"]
    for table in evaluation.tables.system_tables(comparison, title=title, unit=unit):
        print_table(table.rows, head=table.head, title=table.title)
        print(*table.notes, "", sep="\n")
    if output:
        write_json(output, comparison.to_dict())
    if translations:
        found = [system.evaluation for system in systems]
        evaluation.evaluate.write_translations(translations, pairs, found)
    if arguments.figure:
        evaluation.curves.plot_length_curves(
            comparison.by_length, unit=unit, path=arguments.figure
        )
    for path in filter(None, written.values()):
        print(f"wrote {path}")


class NamedRun(NamedTuple):
    """A run to measure; `search` is its own where the flags do not say it."""

    name: str
    directory: RunDirectory
    search: str | None = None


def measure(
    run: NamedRun, gold: GoldAlignments, arguments: types.SimpleNamespace
) -> "System":
    """The system that the run is, by its own search or by `run.search`."""
    loaded = attention_jax.load_run(run.directory.path, checkpoint=arguments.checkpoint)
    loaded = run_flags.with_search(loaded, arguments, search=run.search)
    name = run.name
    if arguments.baseline_search and run.search is None:
        name = f"{name}, {evaluation.tables.describe_search(loaded.config.decoding)}"
    found, facts = gold.evaluate(run.directory, loaded)
    config = flatten(config_to_dict(loaded.config))
    return evaluation.compare.System(name, found, facts, config)


def length_edges(given: Sequence[str]) -> list[int]:
    """The edges that --length_edges names: integers that increase."""
    edges = [int(edge) for edge in given if edge.isdecimal()]
    if len(edges) < len(given) or edges != sorted({*edges}):
        raise UserError(
            "--length_edges takes integers that increase, as in 5,10,20; got "
            f"{','.join(given)!r}"
        )
    return edges


def runs_to_measure(arguments: types.SimpleNamespace) -> list[NamedRun]:
    """The runs that the flags name, the baseline first if there is one.

    Raises:
      UserError: a run is given twice, or a baseline that is no other system.
      OSError: a directory is not there, or holds no run.
    """
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

    def decoding(path: pathlib.Path, search: str | None) -> object:
        config = RunDirectory(path).load_config()
        return run_flags.with_search_of(config, arguments, search=search).decoding

    # A folder of runs may hold the baseline too, which is another system if it searches
    # otherwise by the flags.
    paths = [
        path
        for path in paths
        if path not in baseline or decoding(path, None) != decoding(path, search)
    ]
    if not paths:
        raise UserError(
            "the baseline is the run itself, searched alike: --baseline takes another "
            "run, and --baseline_search another search"
        )
    distinct = list(dict.fromkeys([*baseline, *paths]))
    brief = evaluation.compare.brief_paths(distinct)
    names = dict(zip(distinct, brief, strict=True))
    suffix = f", {search}" if search else ""
    first = [NamedRun(names[p] + suffix, RunDirectory(p), search) for p in baseline]
    return first + [NamedRun(names[path], RunDirectory(path)) for path in paths]


def _expand(paths: Sequence[str]) -> list[pathlib.Path]:
    """Each path, or the runs in it, without symbolic links."""
    if "" in paths:
        raise UserError("--workdir and --baseline take a directory, got an empty one")
    found = map(evaluation.compare.run_directories, paths)
    return [run.resolve() for runs in found for run in runs]


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
