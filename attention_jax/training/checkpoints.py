"""Checkpoints of a run: written in the background, whole or not at all, and verified."""

import importlib.metadata
import math
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from absl import logging

from attention_jax.training.checkpoint_ranking import dev_metrics
from attention_jax.training.checkpoint_reading import (
    FORMAT,
    DamagedCheckpointError,
    Skipped,
    on_default_device,
    open_manager,
    read_items,
    steps_on_disk,
    unreadable,
)
from attention_jax.training.digests import json_digest, tree_digest, tree_shapes
from attention_jax.training.disk_errors import (
    QuietWriters,
    disk_error,
    forget_pending,
)
from attention_jax.training.progress import Progress
from attention_jax.training.state import TrainState
from attention_jax.whole_files import cannot_write

_UNFINISHED = "*.orbax-checkpoint-tmp*"


class Resumed(NamedTuple):
    """What a run goes on from."""

    state: TrainState
    progress: Progress
    skipped: list[Skipped]  # damaged ones that are newer


class Checkpoints:
    """The last `keep` checkpoints of a run and the best one on dev.

    A context manager: leaving it waits for the last write. A process killed in the middle
    of a write leaves the earlier checkpoints as they were, and so does a full disk. (Orbax
    writes into a temporary folder, which it renames.) Each holds the digests of its arrays,
    so that a flipped bit is found when it is read.

    Attributes:
      unfinished: folders that a killed process had not finished writing or deleting.

    Raises:
      OSError: a checkpoint cannot be written; names its step, the folder and the reason.
        It is written in the background, so this may come with the next `save` or on
        leaving.
    """

    def __init__(self, path: pathlib.Path, *, keep: int = 3, best_by: str = "loss"):
        self._path = path
        self._best_by = best_by
        # What a killed process left half-written; opening the manager removes it.
        self.unfinished = sorted(found.name for found in path.glob(_UNFINISHED))
        self._manager: Any = None
        self._broken: list[Skipped] = []
        self._clear_away(keep)
        self._begun = 0
        self._failed = False
        self._quiet = QuietWriters()
        self._manager = open_manager(path, keep=keep, best_by=best_by)

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

    def save(
        self,
        state: TrainState,
        progress: Progress,
        *,
        dev_loss: float = math.inf,
        dev_bleu: float = -math.inf,
    ) -> None:
        """Starts writing the checkpoint of state.step, unless there is one.

        Args:
          state: may be donated to the next step at once: orbax copies it to the host
            before it returns, and writes the copy in the background.
          dev_loss, dev_bleu: of these parameters; infinite when they were not measured.
        """
        import orbax.checkpoint as ocp

        step = int(state.step)
        # First, so that its error is known to be that of the write before.
        self._write(self._manager.wait_until_finished)
        if step in self._manager.all_steps():
            return
        self._begun = step
        items = state_items(state)
        metrics = dev_metrics(step, loss=dev_loss, bleu=dev_bleu)
        manifest = {
            "format": FORMAT,
            "version": importlib.metadata.version("attention_jax"),
            "shapes": {name: tree_shapes(item) for name, item in items.items()},
            "digests": {
                "metrics": json_digest(metrics),
                "progress": json_digest(progress.to_json()),
                **{name: tree_digest(item) for name, item in items.items()},
            },
        }
        arguments = ocp.args.Composite(
            progress=ocp.args.JsonSave(progress.to_json()),
            manifest=ocp.args.JsonSave(manifest),
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
        )
        self._write(lambda: self._manager.save(step, args=arguments, metrics=metrics))

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
            forget_pending(error)
        good = [step for step in self.steps() if step != self._begun]
        hint = f"the same training command resumes from {good[-1]}" if good else ""
        what = f"checkpoint {self._begun} into {self._path}"
        # Outside of the handler: as this one's context the library's error would keep
        # alive what `forget_pending` forgets.
        raise cannot_write(what, reason, hint=hint)

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Progress]:
        """The state and the progress at `step`; `like` has the arrays' shapes and types.

        Raises:
          DamagedCheckpointError: what was read is not what was written.
          IncompatibleCheckpointError: its arrays are not those of `like`.
        """
        place, wanted = self._path / str(step), state_items(like)
        self._write(self._manager.wait_until_finished)
        restored = read_items(place, wanted, progress=True)
        arrays = {name: on_default_device(restored[name]) for name in wanted}
        state = TrainState(
            step=jnp.asarray(step, jnp.int32),
            params=arrays["params"],
            opt_state=arrays["optimizer"],
            averages=arrays.get("averages"),
        )
        if like.rate_scale is not None:
            state = state._replace(rate_scale=jnp.ones(()))
        return state, restored["progress"]

    def resume(self, like: TrainState) -> Resumed | None:
        """The newest checkpoint that is whole; None if there is none at all.

        Damaged ones that are newer are moved into `damaged_checkpoints` beside the
        checkpoints, for their steps will be written again.

        Raises:
          DamagedCheckpointError: all of them are; names the newest and what is wrong.
          IncompatibleCheckpointError: the newest is not one of `like`.
        """
        skipped = list(self._broken)
        names = set(map(str, self.steps()))
        for step in reversed(self.steps()):
            try:
                state, progress = self.restore(step, like)
            except DamagedCheckpointError as error:
                skipped.append(Skipped(str(step), str(error)))
                continue
            self._move_away([found.name for found in skipped if found.name in names])
            return Resumed(state, progress, skipped)
        if skipped:
            raise DamagedCheckpointError(
                f"no checkpoint in {self._path} is whole: {skipped[0].reason}; "
                "train anew in another workdir"
            )
        return None

    def _clear_away(self, keep: int) -> None:
        """Removes or moves what the manager would not open beside."""
        newest = list(map(str, steps_on_disk(self._path)[:keep]))
        moved = []
        for one in unreadable(self._path, self._best_by):
            if one.vanished and one.name not in newest:
                # Its deletion was under way when the process was killed.
                self.unfinished.append(one.name)
                if jax.process_index() == 0:
                    shutil.rmtree(self._path / one.name, ignore_errors=True)
                continue
            moved.append(one.name)
            self._broken.append(one)
        self._move_away(moved)

    def _move_away(self, names: list[str]) -> None:
        aside = self._path.with_name("damaged_checkpoints")
        for name in names if jax.process_index() == 0 else ():
            aside.mkdir(exist_ok=True)
            taken = len(list(aside.glob(f"{name}*")))
            (self._path / name).rename(aside / f"{name}{f'-{taken + 1}' * bool(taken)}")
        if names and self._manager is not None:
            self._manager.reload()


def state_items(state: TrainState) -> dict[str, Any]:
    """The state's trees by the names of a checkpoint's items."""
    items = {"params": state.params, "optimizer": state.opt_state}
    if state.averages is not None:
        items["averages"] = state.averages
    return items
