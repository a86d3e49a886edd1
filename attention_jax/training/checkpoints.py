"""Checkpoints of a run: written by orbax in the background, verified when they are read.

Each has a manifest with the digests of its contents, so that a flipped byte is found.
"""

import functools
import hashlib
import importlib.metadata
import json
import logging as python_logging
import math
import os
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from attention_jax.atomic_write import cannot_write
from attention_jax.errors import UserError
from attention_jax.training.step import TrainState

# Written with every checkpoint; a larger one comes from a later version of this package.
FORMAT = 2
_JSON = ("metrics", "progress")


class DamagedCheckpointError(UserError):
    """A checkpoint that does not hold what was written."""


class IncompatibleCheckpointError(UserError):
    """A checkpoint of another model, optimiser or version of this package."""


class Checkpoints:
    """The last `keep` checkpoints of a run and the best one on dev, for the trainer.

    A context manager: leaving it waits for the last write. A process killed in the middle
    of a write leaves the earlier checkpoints as they were, and so does a full disk: the
    next `save`, or leaving, then raises an OSError with the step, the folder and the
    reason.
    """

    def __init__(self, path: pathlib.Path, *, keep: int = 3, best_by: str = "loss"):
        _silence_threads()
        self._path, self._saving = path, 0
        self._manager = ocp.CheckpointManager(
            path,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_LastAndBest(path, keep, best_by),
                cleanup_tmp_directories=True,
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._write(self._manager.close)
        except OSError as late:
            if error is None:
                raise
            # What has ended the work already comes first; a full disk is reported once.
            if not isinstance(error, OSError):
                logging.warning("%s", late)

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, in order."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        state: TrainState,
        progress: dict[str, Any],
        *,
        dev_loss: float = math.inf,
        dev_bleu: float = -math.inf,
    ) -> None:
        """Starts writing the checkpoint of state.step, unless there is one.

        The state may be donated to the next step at once: orbax copies it before it
        returns. `progress` is JSON values that belong to it. `dev_loss` and `dev_bleu` are
        infinite when they were not measured.
        """
        step = int(state.step)
        # First, so that its error is known to be that of the write before.
        self._write(self._manager.wait_until_finished)
        if step in self._manager.all_steps():
            return
        self._saving, items = step, _items(state)
        metrics = {"step": step, "dev_loss": dev_loss, "dev_bleu": dev_bleu}
        digests = {name: tree_digest(item) for name, item in items.items()}
        digests |= {"metrics": json_digest(metrics), "progress": json_digest(progress)}
        manifest = {
            "format": FORMAT,
            "version": importlib.metadata.version("attention_jax"),
            "metrics": metrics,
            "progress": progress,
            "shapes": {name: tree_shapes(item) for name, item in items.items()},
            "digests": digests,
        }
        arguments = ocp.args.Composite(
            manifest=ocp.args.JsonSave(manifest),
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
        )
        self._write(lambda: self._manager.save(step, args=arguments))

    def _write(self, work: Callable[[], object]) -> None:
        """Calls `work`; if the disk fails it, raises the one error that says so."""
        try:
            work()
        except Exception as error:
            reason = _disk_error(error)
            if reason is None:
                raise
            good = [step for step in self.steps() if step != self._saving]
            hint = f"the same training command resumes from {good[-1]}" if good else ""
            what = f"checkpoint {self._saving} into {self._path}"
            raise cannot_write(what, reason, hint=hint) from None

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The state and the progress at `step`; `like` has the arrays' shapes and types."""
        self._write(self._manager.wait_until_finished)
        progress, found = _read(self._path / str(step), _items(like))
        state = TrainState(
            step=jnp.asarray(step, jnp.int32),
            params=found["params"],
            opt_state=found["optimizer"],
            averages=found.get("averages"),
        )
        return state, progress

    def resume(
        self, like: TrainState
    ) -> tuple[TrainState, dict[str, Any], dict[str, str]] | None:
        """The newest checkpoint that is whole; None if there is none at all.

        Damaged ones that are newer are moved into `damaged_checkpoints` beside the
        checkpoints, for their steps will be written again; what is wrong with each, by its
        name, is returned after state and progress. A DamagedCheckpointError: all are.
        """
        damaged: dict[str, str] = {}
        for step in reversed(self.steps()):
            try:
                state, progress = self.restore(step, like)
            except DamagedCheckpointError as error:
                damaged[str(step)] = str(error)
                continue
            aside = self._path.with_name("damaged_checkpoints")
            for name in damaged if jax.process_index() == 0 else ():
                aside.mkdir(exist_ok=True)
                taken = len(list(aside.glob(f"{name}*")))
                number = f"-{taken + 1}" if taken else ""
                (self._path / name).rename(aside / f"{name}{number}")
            self._manager.reload()
            return state, progress, damaged
        for reason in damaged.values():
            raise DamagedCheckpointError(
                f"no checkpoint in {self._path} is whole: {reason}; "
                "train anew in another workdir"
            )
        return None


class _LastAndBest(checkpoint_managers.PreservationPolicy):
    """Keeps the last ones, the best one, and those that damage keeps from being compared.

    Orbax's own policy takes a NaN for the best, and does not open beside damaged metrics.
    """

    def __init__(self, path: pathlib.Path, keep: int, best_by: str):
        self._path, self._keep, self._best_by = path, keep, best_by

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        metrics, damaged = _read_metrics(self._path, steps)
        kept = {*steps[-self._keep :], *damaged}
        if metrics:
            kept.add(_best(metrics, self._best_by)["step"])
        return [step in kept for step in steps]


def load_params(
    path: pathlib.Path, like: Any, *, step: int | None = None, best_by: str = "loss"
) -> Any:
    """The parameters of one checkpoint; their moving averages where the run kept them.

    Nothing is written, and a trainer may be at work in the same folder.

    Args:
      path: the run directory's `checkpoints_path`.
      like: parameters, or their shapes and types, that these must agree with.
      step: which; by default the best one.
      best_by: what the best one is best by on dev, "loss" or "bleu"; without any
        evaluation it is the last one.

    Raises:
      FileNotFoundError: there is no (such) checkpoint; lists those there are.
      DamagedCheckpointError: what was read is not what was written, or the metrics of
        one that might be the best are not.
      IncompatibleCheckpointError: its parameters are not those of `like`.
    """
    steps = existing_steps(path)
    chosen = best_metrics(path, best_by)["step"] if step is None else step
    if chosen not in steps:
        raise FileNotFoundError(
            f"{path} has no checkpoint of step {chosen}; it has {steps}"
        )
    place = path / str(chosen)
    name = "averages" if (place / "averages").is_dir() else "params"
    try:
        return _read(place, {name: like})[1][name]
    except DamagedCheckpointError:
        if step is None and best_metrics(path, best_by)["step"] != chosen:
            # Deleted meanwhile: its trainer has saved a better one.
            return load_params(path, like, best_by=best_by)
        raise


def best_metrics(path: pathlib.Path, best_by: str) -> dict[str, Any]:
    """The step, dev_loss and dev_bleu of the best checkpoint; raises as `load_params`."""
    found, damaged = _read_metrics(path, existing_steps(path))
    for error in damaged.values():
        raise error
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return _best(found, best_by)


def _read_metrics(
    path: pathlib.Path, steps: list[int]
) -> tuple[list[dict[str, Any]], dict[int, DamagedCheckpointError]]:
    """The metrics of these steps, and the errors of those that are damaged."""
    metrics, damaged = [], {}
    for step in steps:
        try:
            metrics.append(_read_manifest(path / str(step))["metrics"])
        except DamagedCheckpointError as error:
            damaged[step] = error
        except FileNotFoundError:
            continue  # It is being deleted, or was when its trainer was killed.
    return metrics, damaged


def _best(metrics: list[dict[str, Any]], best_by: str) -> dict[str, Any]:
    """The first with the least loss or most BLEU; the last if all are NaN or infinite."""

    def rank(one: dict[str, Any]) -> tuple[float, int]:
        value = -one["dev_bleu"] if best_by == "bleu" else one["dev_loss"]
        measured = math.isfinite(value)
        return (value, one["step"]) if measured else (math.inf, -one["step"])

    return min(metrics, key=rank)


def existing_steps(path: pathlib.Path) -> list[int]:
    """The steps there are checkpoints of, in order; FileNotFoundError if there is none."""
    # One that is being deleted may have lost its manifest already.
    names = [place.parent.name for place in path.glob("[0-9]*/manifest")]
    steps = [int(name) for name in names if re.fullmatch("[0-9]+", name)]
    if not steps:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return sorted(steps)


def _items(state: TrainState) -> dict[str, Any]:
    """The state's trees by the names of a checkpoint's items."""
    items = {"params": state.params, "optimizer": state.opt_state}
    if state.averages is not None:
        items["averages"] = state.averages
    return items


def _read_manifest(place: pathlib.Path) -> dict[str, Any]:
    """What a checkpoint says of itself: format, version, metrics, progress and digests.

    It is missing (a FileNotFoundError) while a checkpoint is being deleted.
    """
    try:
        manifest = json.loads((place / "manifest" / "metadata").read_bytes())
        if manifest["format"] == 1:
            for file in (place / "metrics/metrics", place / "progress/metadata"):
                manifest[file.parent.name] = json.loads(file.read_bytes())
        later = f"{_by(place, manifest)} has format {manifest['format']}"
        found = {name: json_digest(manifest.get(name)) for name in _JSON}
        wrong = [name for name in _JSON if found[name] != manifest["digests"][name]]
    except (AttributeError, ValueError, TypeError, LookupError) as error:
        raise _damaged(place, f"its metrics or digests: {error}") from error
    if manifest["format"] not in (1, FORMAT):
        raise IncompatibleCheckpointError(f"{later}; this version reads {FORMAT}")
    if wrong:
        raise _damaged(place, f"its {wrong[0]} are not what was written (SHA-256)")
    return manifest


def _read(
    place: pathlib.Path, like: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint's progress, and the trees named in `like`, verified."""
    try:
        manifest = _read_manifest(place)
        for name, item in like.items():
            stored, wanted = manifest["shapes"].get(name, {}), tree_shapes(item)
            for path in [*wanted, *stored]:
                if stored.get(path) != wanted.get(path):
                    raise IncompatibleCheckpointError(
                        f"{_by(place, manifest)} has other {name}: "
                        f"{path} is {stored.get(path, 'missing')}, "
                        f"and should be {wanted.get(path, 'missing')}"
                    )
        restored = _restore(place, like)
    except (DamagedCheckpointError, IncompatibleCheckpointError, PermissionError):
        raise
    except Exception as error:  # Whatever a library makes of damaged files.
        if "PERMISSION_DENIED" in str(error):
            raise
        raise _damaged(place, " ".join(str(error).split())[:200]) from None
    for name in like:
        if tree_digest(restored[name]) != manifest["digests"].get(name):
            raise _damaged(place, f"its {name} are not what was written (SHA-256)")
    # On the default device, but not committed to it, as fresh arrays are: a jitted function
    # compiles anew for committed ones.
    return manifest["progress"], jax.tree.map(jnp.array, restored)


def _restore(place: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
    """Arrays on the host: those of an accelerator can be read on a machine without one."""
    _silence_threads()
    arguments = {
        name: ocp.args.StandardRestore(
            jax.tree.map(lambda array: np.empty(array.shape, array.dtype), item)
        )
        for name, item in like.items()
    }
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        return dict(checkpointer.restore(place, args=ocp.args.Composite(**arguments)))


def tree_digest(tree: Any) -> str:
    """SHA-256 over the paths, types, shapes and bytes of a tree's arrays, in hexadecimal."""
    digest = hashlib.sha256()
    for path, kind in tree_shapes(tree).items():
        digest.update(f"{path} {kind}\n".encode())
    for array in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def tree_shapes(tree: Any) -> dict[str, str]:
    """Each array's type and shape by its path: {"encoder/embedding": "float32[50,8]"}."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(array.dtype).name}[{','.join(map(str, array.shape))}]"
        )
        for path, array in leaves
    }


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _by(place: pathlib.Path, manifest: dict[str, Any]) -> str:
    return f"checkpoint {place}, written by attention_jax {manifest['version']},"


def _damaged(place: pathlib.Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"checkpoint {place} is damaged: {reason}")


def _disk_error(error: BaseException | None) -> OSError | None:
    """The system's error behind one of orbax; None if there is none: a bug."""
    if error is None or isinstance(error, OSError):
        return error
    # How tensorstore ends the message of a failed system call.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return OSError(int(code[1]), os.strerror(int(code[1])))
    return _disk_error(error.__cause__)


@functools.cache
def _silence_threads() -> None:
    """Keeps orbax's threads from reporting with a traceback what is raised as well.

    Threads still under way after a failure find their event loop closed.
    """
    python_logging.getLogger("absl").addFilter(lambda record: not record.exc_info)
    report = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook
