"""Several processes training together: the flags that make them find each other."""

import re
import types

from absl import flags

from experiments.arguments import UsageError

_FLAGS = ("coordinator", "num_processes", "process_id")


def define(flag_values: flags.FlagValues) -> None:
    """Defines --distributed, --coordinator, --num_processes and --process_id."""
    flags.DEFINE_boolean(
        "distributed",
        False,
        "Join the other processes of a SLURM job, an MPI job or a TPU pod, which tell "
        "jax where they are; elsewhere give the next three.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "num_processes",
        None,
        "How many there are.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "process_id",
        None,
        "Which of them this is, from 0.",
        lower_bound=0,
        flag_values=flag_values,
    )


def initialize(arguments: types.SimpleNamespace) -> None:
    """Waits for the other processes, if there are to be any; before jax has any device.

    Raises:
      UsageError: some of the three flags are missing, or they disagree.
    """
    given = {name: getattr(arguments, name) for name in _FLAGS}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if len(missing) == len(_FLAGS):
        if not arguments.distributed:
            return
        given = {}
    elif missing:
        raise UsageError(
            f"{' and '.join(missing)} must be given too: --coordinator, --num_processes "
            "and --process_id belong together"
        )
    elif given["process_id"] >= given["num_processes"]:
        raise UsageError(
            f"--process_id must be below --num_processes, {given['num_processes']}, "
            f"got {given['process_id']}"
        )
    elif not re.fullmatch(r".+:\d{1,5}", given["coordinator"]):
        raise UsageError(
            "--coordinator must be HOST:PORT of process 0, as in 10.0.0.1:1234, got "
            f"{given['coordinator']!r}"
        )
    import jax

    try:
        jax.distributed.initialize(
            coordinator_address=given.get("coordinator"),
            num_processes=given.get("num_processes"),
            process_id=given.get("process_id"),
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the processes do not find each other: {error}") from error
