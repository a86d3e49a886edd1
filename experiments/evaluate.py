"""Measures runs on one of their splits: BLEU, chrF, TER, exact match, attention, speed.

    python -m experiments.evaluate --workdir=runs/cldr --split=test --output=cldr.json
    python -m experiments.evaluate --workdir=runs/bilinear --baseline=runs/none
    python -m experiments.evaluate --workdir=runs/seed0 --workdir=runs/seed1 --beam_size=5
    python -m experiments.evaluate --workdir=runs/cldr --beam_size=5 --baseline_search=greedy

--workdir may be given several times, and a folder of runs stands for those in it; all must
have the same sentences. Runs that differ in the seed alone get a row with their mean.
"""

import sys
import types
from typing import TYPE_CHECKING

from absl import flags

from attention_jax.errors import UserError
from experiments import (
    cli,
    evaluated_runs,
    evaluation_flags,
    known_links,
    run_flags,
)
from experiments.outputs import check_apart, check_output, check_picture
from experiments.tables import print_table

if TYPE_CHECKING:
    from attention_jax.data.pairs import Pair
    from attention_jax.evaluation.system_comparison import System
    from attention_jax.training.run_directory import RunDirectory


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    evaluated_runs.define_runs(flag_values)
    run_flags.define_split(flag_values)
    run_flags.define_checkpoint(flag_values)
    evaluation_flags.define_lengths(flag_values)
    known_links.define_links(flag_values)
    evaluation_flags.define_files(flag_values)
    run_flags.define_search(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Prints the tables and writes the files."""
    output = check_output(arguments.output)
    translations = check_output(arguments.translations, "translations")
    written = {n: getattr(arguments, n) for n in ("output", "translations", "figure")}
    check_apart(written, read={"alignments": arguments.alignments})
    edges = evaluation_flags.length_edges(arguments)
    if arguments.figure is not None:
        check_picture(arguments.figure)
    directories = evaluated_runs.run_directories(arguments)
    check_apart(written, runs=[run.directory.path for run in directories])
    known_links.check_links(arguments, [run.directory for run in directories])
    from attention_jax.atomic_write import write_json
    from attention_jax.evaluation import comparison_report, report
    from attention_jax.evaluation.evaluate import load_same_split, write_translations
    from attention_jax.evaluation.length_curves import plot_length_curves
    from attention_jax.evaluation.system_comparison import compare_systems
    from attention_jax.training.checkpoints import existing_steps

    pairs = load_same_split(
        [directory for _, directory, _ in directories],
        arguments.split,
        max_sentences=arguments.max_sentences,
    )
    known = known_links.KnownLinks(arguments, pairs)
    for run in directories:
        # Before any work, though each is read later.
        existing_steps(run.directory.checkpoints_path)
        config = run.directory.load_config()
        try:
            run_flags.with_search_of(config, arguments, search=run.search)
        except ValueError as error:
            raise UserError(f"{run.directory.path}: {error}") from error
    systems = []
    for number, run in enumerate(directories, 1):
        if len(directories) > 1:
            which = f"run {number} of {len(directories)}: {run.name}"
            print(which, file=sys.stderr, flush=True)
        systems.append(measure(*run, pairs, known, arguments))
    comparison = compare_systems(
        systems,
        baseline=evaluated_runs.has_baseline(arguments),
        edges=edges,
        bins=arguments.length_bins,
    )
    whose = arguments.workdir[0] if len(systems) == 1 else f"{len(systems)} runs"
    title = f"{whose}, {arguments.split}, {len(pairs):,} sentences"
    if len(systems) == 1:
        print_table(report.rows(systems[0].evaluation, systems[0].facts), title=title)
        print()
    unit = systems[0].config["data.source_tokenizer"]
    for table in comparison_report.tables(comparison, title=title, unit=unit):
        print_table(table.rows, head=table.head, title=table.title)
        print(*table.notes, "", sep="\n")
    if output:
        write_json(output, comparison.to_dict())
        print(f"wrote {output}")
    if translations:
        write_translations(
            translations, pairs, [system.evaluation for system in systems]
        )
        print(f"wrote {translations}")
    if arguments.figure:
        plot_length_curves(comparison.by_length, unit=unit, path=arguments.figure)
        print(f"wrote {arguments.figure}")


def measure(
    name: str,
    directory: "RunDirectory",
    search: str | None,
    pairs: "tuple[Pair, ...]",
    known: known_links.KnownLinks,
    arguments: types.SimpleNamespace,
) -> "System":
    """Translates the pairs with the run in `directory`, by `search` if it is given."""
    from attention_jax.evaluation.system_comparison import System
    from attention_jax.run import load_run
    from attention_jax.training.run_directory import config_to_dict, flatten

    run = load_run(directory.path, checkpoint=arguments.checkpoint)
    run = run_flags.with_search(run, arguments, search=search)
    if arguments.baseline_search is not None and search is None:
        name = evaluated_runs.with_search_named(name, run)
    evaluation, facts = known_links.evaluate_with_links(
        directory, run, pairs, known, arguments
    )
    return System(name, evaluation, facts, flatten(config_to_dict(run.config)))


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
