"""Checkpoints of a run: written in the background, whole or not at all."""

import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from attention_jax.training.disk_errors import (
    QuietWriters,
    disk_error,
    forget_writes,
)
from attention_jax.training.state import TrainState
from attention_jax.whole_files import cannot_write


class Progress(NamedTuple):
    """What a resumed run needs to know besides the arrays."""

    minutes: float = 0.0  # so far; compilation and dev evaluation included
    best_loss: float = math.inf  # lowest dev loss so far, nats per token
    best_step: int = 0  # where it was
    compilations: int = 0
    compilation_seconds: float = 0.0


class Checkpoints:
    """The last `keep` checkpoints of a run and the one with the lowest dev loss.

    A context manager: leaving it waits for the last write. A process killed in the middle
    of a write leaves the earlier checkpoints as they were, and so does a full disk. (Orbax
    writes into a temporary folder, which it renames.)

    Raises:
      OSError: a checkpoint cannot be written; names its step, the folder and the reason.
        It is written in the background, so this may come with the next `save` or on
        leaving.
    """

    def __init__(self, path: pathlib.Path, *, keep: int = 3):
        self._path = path
        self._begun = 0
        self._failed = False
        self._quiet = QuietWriters()
        self._manager = _open(path, keep=keep, writing=True)

    def __enter__(self) -> Self:
        self._quiet.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._write(self._manager.close)
        except OSError as late:
            if error is None:
                raise
            # What has ended the work already comes first; a full disk is told once.
            if not isinstance(error, OSError):
                logging.warning("%s", late)
        finally:
            # What a failed write left hanging reports until the interpreter exits.
            if not self._failed:
                self._quiet.stop()

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, in order."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, progress: Progress, *, dev_loss: float) -> None:
        """Starts writing the checkpoint of state.step, unless there is one.

        Args:
          state: may be donated to the next step at once: orbax copies it to the host
            before it returns, and writes the copy in the background.
          dev_loss: of these parameters; infinity when it was not measured.
        """
        import orbax.checkpoint as ocp

        step = int(state.step)
        # First, so that its error is known to be that of the write before.
        self._write(self._manager.wait_until_finished)
        if step in self._manager.all_steps():
            return
        self._begun = step
        arguments = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            optimizer=ocp.args.StandardSave(state.opt_state),
            progress=ocp.args.JsonSave(progress._asdict()),
        )
        self._write(
            lambda: self._manager.save(
                step, args=arguments, metrics={"dev_loss": dev_loss}
            )
        )

    def _write(self, work: Callable[[], object]) -> None:
        """Calls `work`; if the disk fails it, raises the one error that says so."""
        try:
            work()
            return
        except Exception as error:
            reason = disk_error(error)
            if reason is None:
                raise
            self._failed = True
            forget_writes(error)
        good = [step for step in self.steps() if step != self._begun]
        hint = f"the same training command resumes from {good[-1]}" if good else ""
        what = f"checkpoint {self._begun} into {self._path}"
        # Outside of the handler: as this one's context the library's error would keep
        # alive what `forget_writes` forgets.
        raise cannot_write(what, reason, hint=hint)

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Progress]:
        """The state and the progress at `step`; `like` has the arrays' shapes and types."""
        import orbax.checkpoint as ocp

        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(_host_arrays(like.params)),
                optimizer=ocp.args.StandardRestore(_host_arrays(like.opt_state)),
                progress=ocp.args.JsonRestore(),
            ),
        )
        arrays = _on_default_device((restored["params"], restored["optimizer"]))
        state = TrainState(jnp.asarray(step, jnp.int32), *arrays)
        return state, Progress(**restored["progress"])


def load_params(path: pathlib.Path, like: Any, *, step: int | None = None) -> Any:
    """The parameters of one checkpoint, without the optimiser's state.

    Args:
      path: the run directory's `checkpoints_path`.
      like: parameters, or their shapes and types, that these must agree with.
      step: which; by default the one with the lowest dev loss, or the last one if the dev
        loss was never measured.

    Raises:
      FileNotFoundError: there is no (such) checkpoint; lists those there are.
    """
    import orbax.checkpoint as ocp

    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: the run has no checkpoint yet")
    manager = _open(path, keep=None, writing=False)
    steps = sorted(manager.all_steps())
    if not steps:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    if step is None:
        step = manager.best_step()
    if step not in steps:
        raise FileNotFoundError(
            f"{path} has no checkpoint of step {step}; it has {steps}"
        )
    arguments = ocp.args.Composite(params=ocp.args.StandardRestore(_host_arrays(like)))
    restored = manager.restore(step, args=arguments)
    manager.close()
    return _on_default_device(restored["params"])


def _open(path: pathlib.Path, *, keep: int | None, writing: bool):
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers

    latest = checkpoint_managers.LatestN(keep)
    best = checkpoint_managers.BestN(
        get_metric_fn=lambda metrics: -metrics["dev_loss"], n=1
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
        best_fn=lambda metrics: metrics["dev_loss"],
        best_mode="min",
        # What a killed run did not finish writing. A reader leaves it alone: it may
        # belong to a run that is alive.
        cleanup_tmp_directories=writing,
        create=writing,
        save_root_metadata=writing,
    )
    return ocp.CheckpointManager(path, options=options)


def _host_arrays(like: Any) -> Any:
    """Arrays on the host of the shapes and types of `like`, for orbax to restore as such.

    A run trained on an accelerator can then be read on a machine without one.
    """
    return jax.tree.map(lambda array: np.empty(array.shape, array.dtype), like)


def _on_default_device(restored: Any) -> Any:
    """Copies on the default device, not committed to it.

    Just so are freshly initialised arrays. A jitted function compiles anew for committed
    ones, which orbax would restore: a resumed run compiled each shape twice.
    """
    return jax.tree.map(jnp.array, restored)
