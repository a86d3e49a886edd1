"""A training process among others: SIGTERM, and several processes that train together."""

import re
import signal
import types
from typing import Self

import jax
from absl import flags

from attention_jax.errors import UserError

# The exit status by which a shell knows that SIGTERM ended a program.
TERMINATED = 128 + signal.SIGTERM


class Termination:
    """Whether SIGTERM came; a context manager that listens while it is entered."""

    def __init__(self):
        self._received = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def __call__(self) -> bool:
        """Whether it came."""
        return self._received

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        del number, frame
        self._received = True


def define_processes(flag_values: flags.FlagValues) -> None:
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
        "The number of processes.",
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


def join_processes(arguments: types.SimpleNamespace) -> None:
    """Waits for the other processes, if there are to be any; before jax has any device.

    Raises:
      UserError: some of the three flags are missing, or they disagree.
    """
    names = ("coordinator", "num_processes", "process_id")
    given = {name: getattr(arguments, name) for name in names}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if len(missing) == len(names):
        if not arguments.distributed:
            return
        given = {}
    elif missing:
        raise UserError(
            f"{' and '.join(missing)} must be given too: --coordinator, --num_processes "
            "and --process_id belong together"
        )
    elif given["process_id"] >= given["num_processes"]:
        raise UserError(
            f"--process_id must be below --num_processes, {given['num_processes']}, "
            f"got {given['process_id']}"
        )
    elif not re.fullmatch(r".+:\d{1,5}", given["coordinator"]):
        raise UserError(
            "--coordinator must be HOST:PORT of process 0, as in 10.0.0.1:1234, got "
            f"{given['coordinator']!r}"
        )
    try:
        jax.distributed.initialize(
            coordinator_address=given.get("coordinator"),
            num_processes=given.get("num_processes"),
            process_id=given.get("process_id"),
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"the processes do not find each other: {error}") from error
