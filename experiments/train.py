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

from absl import flags

from attention_jax.training.run_directory import RunDirectory
from experiments import cli
from experiments.processes import (
    TERMINATED,
    Termination,
    define_processes,
    join_processes,
)
from experiments.progress import watch


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
    define_processes(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Trains `arguments.config` in `arguments.workdir`."""
    # Imported here: flax and orbax take a second.
    from attention_jax.experiment import run_experiment

    config, workdir = arguments.config, arguments.workdir
    with (
        Termination() as received,
        watch(RunDirectory(workdir).events_path, config.training) as log,
    ):
        result = run_experiment(
            config,
            workdir,
            log=log,
            command=sys.argv,
            allow_changed_config=arguments.allow_changed_config,
            should_stop=received,
        )
    return TERMINATED if result.reason == "stopped" else 0


if __name__ == "__main__":
    sys.exit(
        cli.run(
            main,
            define_flags,
            config=True,
            required=("workdir",),
            first=join_processes,
            interrupted="interrupted; the same command resumes from the last checkpoint",
        )
    )
