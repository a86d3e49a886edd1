"""Trains a Chinese-English translator of built-in phrases, measures it, draws it.

    python -m experiments.demo

The same command again reuses the finished run, or resumes one that was interrupted.
"""

import pathlib
import shlex
import sys
import time
import types

from absl import flags

from experiments import command_line
from experiments.config_file import load_config
from experiments.tables import print_table

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
    from attention_jax.atomic_write import write_json
    from attention_jax.evaluation import examples, report
    from attention_jax.evaluation.evaluate import evaluate, load_split, provenance
    from attention_jax.experiment import run_experiment
    from attention_jax.run import load_run
    from attention_jax.training import RunDirectory
    from experiments.progress import TrainingDisplay

    workdir = pathlib.Path(arguments.workdir)
    config = load_config(str(CONFIG))
    config.seed = arguments.seed
    events = set()
    started = time.perf_counter()
    with TrainingDisplay(config.training) as display:

        def log(row):
            events.add(row["event"])
            display(row)

        result = run_experiment(config, workdir, log=log, command=sys.argv)
    trained = time.perf_counter()
    now = f"trained now, {trained - started:.0f} seconds with the data"
    print(
        f"the run in {workdir}: {result.step:,} steps, {result.minutes:.1f} minutes; "
        f"{now if 'train' in events else 'it was finished before and is reused'}\n"
    )

    run, directory = load_run(workdir), RunDirectory(workdir)
    pairs = load_split(directory, "test")
    evaluation = evaluate(run, pairs)
    for line in examples.translation_lines(run, pairs, evaluation, number=NUM_SHOWN):
        print(line)
    print()
    facts = provenance(directory, run, split="test", checkpoint="best")
    print_table(
        report.rows(evaluation, facts), title=f"{len(pairs):,} held-out phrases"
    )
    print(f"\nevaluated in {time.perf_counter() - trained:.0f} seconds")

    figure, figures = workdir / "attention.png", workdir / "demo.json"
    examples.draw_examples(run, pairs, evaluation, number=NUM_DRAWN, path=figure)
    write_json(
        figures,
        {**evaluation.to_dict(), **facts, "training_minutes": result.minutes},
    )
    print(f"attention: {figure}\nfigures:   {figures}\n\nTry next:")
    for command in next_commands(workdir, pairs[0].source):
        print(f"  {command}")


def next_commands(workdir: pathlib.Path, sentence: str) -> list[str]:
    """What a reader of the demo could run now."""
    python, here = pathlib.Path(sys.executable), pathlib.Path.cwd()
    inside = python.is_relative_to(here)
    program = f"{python.relative_to(here) if inside else 'python'} -m experiments"
    text, folder = shlex.quote(sentence), shlex.quote(str(workdir))
    return [
        f"echo {text} | {program}.translate --workdir={folder}",
        f"{program}.plot_attention --workdir={folder} --text={text} --output=one.png",
        (
            f"{program}.train --config=configs/cldr_zh_en.py --workdir=runs/additive "
            "--config.model.score=additive"
        ),
    ]


if __name__ == "__main__":
    sys.exit(
        command_line.run(
            main,
            define_flags,
            required=("workdir",),
            interrupted="interrupted; the same command continues from the last checkpoint",
        )
    )
