"""Trains the model of a config file; the same command again resumes where it stopped.

    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/cldr
    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/additive \\
        --config.model.score=additive

The run's directory gets config.json, record.json, codecs.json, metrics.jsonl,
samples.jsonl, checkpoints/ and events/ (tensorboard --logdir=runs). SIGTERM saves and exits
with status 143. --config.profile=20 traces 20 steps into profile/.

With --config.training.data_parallel=True all devices share each batch. Several processes,
on one machine or many, train together when each is told of the others: --distributed on
SLURM and TPU pods; elsewhere --coordinator, --num_processes and --process_id.
"""

import sys
import types
from typing import Any

from absl import flags

from experiments import command_line, distributed
from experiments.termination import EXIT_STATUS, Termination


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, --allow_changed_config and the flags of several processes."""
    flags.DEFINE_string(
        "workdir",
        None,
        "The run's directory; made if it does not exist.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "allow_changed_config",
        False,
        "Go on from the checkpoints of another configuration; the run's record then "
        "lists what was changed.",
        flag_values=flag_values,
    )
    distributed.define(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Trains `arguments.config` in `arguments.workdir`."""
    from attention_jax.experiment import run_experiment
    from attention_jax.training import RunDirectory
    from attention_jax.training.metrics import EventFiles
    from experiments.progress import TrainingDisplay

    config, workdir = arguments.config, arguments.workdir
    with (
        Termination() as asked_to_stop,
        EventFiles(RunDirectory(workdir).events_path) as events,
        TrainingDisplay(config.training) as display,
    ):

        def log(row: dict[str, Any]) -> None:
            display(row)
            events(row)

        result = run_experiment(
            config,
            workdir,
            log=log,
            command=sys.argv,
            allow_changed_config=arguments.allow_changed_config,
            should_stop=asked_to_stop,
        )
    return EXIT_STATUS if result.reason == "stopped" else 0


if __name__ == "__main__":
    sys.exit(
        command_line.run(
            main,
            define_flags,
            config=True,
            required=("workdir",),
            first=distributed.initialize,
            interrupted=(
                "interrupted; the same command resumes from the last checkpoint"
            ),
        )
    )
