"""Trains the model of a config file; the same command again resumes where it stopped.

    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/cldr
    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/additive \\
        --config.model.score=additive

The run's directory gets config.json, record.json, codecs.json, metrics.jsonl,
samples.jsonl, checkpoints/ and events/ (tensorboard --logdir=runs). SIGTERM saves and exits
with status 143.

With --config.training.data_parallel=True all devices share each batch. Several processes,
on one machine or many, train together when each is told of the others: --distributed on
SLURM and TPU pods; elsewhere --coordinator, --num_processes and --process_id.
"""

import re
import sys
import types
from typing import Any

import jax
from absl import flags

from attention_jax.errors import UserError
from attention_jax.training.run_directory import RunDirectory
from experiments import cli
from experiments.cli import define_config, load_config
from experiments.progress import watch


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    given: dict[str, Any] = {"flag_values": flag_values}
    text = "The run's directory; made if it does not exist."
    flags.DEFINE_string("workdir", None, text, **given)
    text = (
        "Go on from the checkpoints of another configuration; the run's record then "
        "lists what was changed."
    )
    flags.DEFINE_boolean("allow_changed_config", False, text, **given)
    text = (
        "Join the other processes of a SLURM job, an MPI job or a TPU pod, which tell "
        "jax where they are; elsewhere give the next three."
    )
    flags.DEFINE_boolean("distributed", False, text, **given)
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0.", **given)
    flags.DEFINE_integer("num_processes", None, "The number of processes.", **given)
    text = "Which of them this is, from 0."
    flags.DEFINE_integer("process_id", None, text, **given)
    define_config(flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Trains the given configuration in `arguments.workdir`."""
    # First, since a config file may ask jax for its devices.
    join_processes(arguments)
    config = load_config(arguments.config, vars(arguments))
    # Imported here: flax and orbax take a second.
    from attention_jax.experiment import run_experiment

    with (
        cli.sigterm_received() as received,
        watch(RunDirectory(arguments.workdir).events_path, config.training) as log,
    ):
        result = run_experiment(
            config,
            arguments.workdir,
            log=log,
            command=sys.argv,
            allow_changed_config=arguments.allow_changed_config,
            should_stop=received,
        )
    return cli.TERMINATED if result.reason == "stopped" else 0


def join_processes(arguments: types.SimpleNamespace) -> None:
    """Waits for the other processes, if there are to be any; before jax has any device."""
    coordinator = arguments.coordinator
    number, index = arguments.num_processes, arguments.process_id
    if {coordinator, number, index} == {None}:
        if not arguments.distributed:
            return
    elif (
        None in (number, index)
        or not 0 <= index < number
        or not re.fullmatch(r".+:\d{1,5}", coordinator or "")
    ):
        raise UserError(
            "--coordinator=HOST:PORT, --num_processes=N and --process_id, from 0 and "
            f"below N, belong together; got {coordinator}, {number} and {index}"
        )
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator, num_processes=number, process_id=index
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"the processes do not find each other: {error}") from error


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("config", "workdir")))
