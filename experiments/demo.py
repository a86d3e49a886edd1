"""Trains a Chinese-English translator of built-in phrases, measures it, draws it.

    python -m experiments.demo

The same command again reuses the finished run, or resumes one that was interrupted.
"""

import pathlib
import shlex
import sys
import types

from absl import flags

import attention_jax
from attention_jax.atomic_write import write_json
from attention_jax.training.run_directory import RunDirectory
from experiments import cli
from experiments.config_flags import load_config
from experiments.outputs import print_table
from experiments.progress import watch

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "cldr_zh_en.py"
NUM_SHOWN = 8
NUM_DRAWN = 4


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir and --seed."""
    flags.DEFINE_string(
        "workdir", "runs/demo", "The run's directory.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "seed",
        0,
        "Of parameters and batch order.",
        lower_bound=0,
        flag_values=flag_values,
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Trains, evaluates, shows and draws."""
    # Imported here: all that trains and measures takes a second.
    from attention_jax.evaluation import alignment, evaluate, plots, tables
    from attention_jax.experiment import run_experiment

    directory = RunDirectory(arguments.workdir)
    config = load_config(str(CONFIG))
    config.seed = arguments.seed
    with watch(directory.events_path, config.training) as log:
        result = run_experiment(config, directory.path, log=log, command=sys.argv)
    print(
        f"the run in {directory.path}: {result.step:,} steps, {result.minutes:.1f} "
        "minutes of training\n"
    )
    run = attention_jax.load_run(directory.path)
    pairs = evaluate.load_split(directory, "test")
    evaluation = evaluate.evaluate(run, pairs)
    examples = [
        (pair, found, evaluate.is_exact(run, pair, found))
        for pair, found in zip(pairs, evaluation.translations, strict=True)
    ]
    for pair, found, exact in examples[:NUM_SHOWN]:
        print(f"  {pair.source}\n    {'✓' if exact else '✗'} {found.text}")
        if not exact:
            print(f"    = {pair.target}")
    print()
    facts = evaluate.provenance(directory, run, split="test", checkpoint="best")
    print_table(
        tables.evaluation_rows(evaluation, facts),
        title=f"{len(pairs):,} held-out phrases",
    )
    figure, figures = directory.path / "attention.png", directory.path / "demo.json"
    # The longest exactly translated phrases show most of the reordering.
    longest = sorted(examples, key=lambda one: (one[2], one[1].weights.size))
    panels = [
        plots.Panel(
            found.weights,
            found.source_tokens,
            found.target_tokens,
            links=alignment.gold_links(run, pair) if exact else frozenset(),
        )
        for pair, found, exact in longest[: -NUM_DRAWN - 1 : -1]
    ]
    plots.plot_weights_grid(panels, path=figure)
    write_json(
        figures, {**evaluation.to_dict(), **facts, "training_minutes": result.minutes}
    )
    text, folder = shlex.quote(pairs[0].source), shlex.quote(str(directory.path))
    print(
        f"\nattention: {figure}\nfigures:   {figures}\n\nTry next:\n"
        f"  echo {text} | python -m experiments.translate --workdir={folder}\n"
        f"  python -m experiments.plot_attention --workdir={folder} --text={text} "
        "--output=one.png\n"
        "  python -m experiments.train --config=configs/cldr_zh_en.py "
        "--workdir=runs/additive --config.model.score=additive"
    )


if __name__ == "__main__":
    sys.exit(
        cli.run(
            main,
            define_flags,
            required=("workdir",),
        )
    )
