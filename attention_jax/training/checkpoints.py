"""Checkpoints of a run: written by orbax in the background, verified when they are read.

Orbax commits a checkpoint atomically and keeps the last ones and the best one. That a flipped
byte is found when the checkpoint is read, we add: each keeps the digests of its contents.
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
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Self

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
FORMAT = 1


class DamagedCheckpointError(UserError):
    """A checkpoint that does not hold what was written."""


class IncompatibleCheckpointError(UserError):
    """A checkpoint of another model, optimiser or version of this package."""


class Resumed(NamedTuple):
    """What a run goes on from.

    Attributes:
      state, progress: as they were given to `Checkpoints.save`.
      damaged: names of newer checkpoints that could not be used, and why.
    """

    state: TrainState
    progress: dict[str, Any]
    damaged: dict[str, str]


class Checkpoints:
    """The last `keep` checkpoints of a run and the best one on dev, for the trainer.

    A context manager: leaving it waits for the last write. A process killed in the middle
    of a write leaves the earlier checkpoints as they were, and so does a full disk.

    Attributes:
      unfinished: folders that a killed process had not finished writing or deleting.

    Raises:
      OSError: a checkpoint cannot be written; names its step, the folder and the reason.
        It is written in the background, so this may come with the next `save` or on
        leaving.
    """

    def __init__(self, path: pathlib.Path, *, keep: int = 3, best_by: str = "loss"):
        _silence_threads()
        self._path = path
        # What a killed process left half-written; opening the manager removes it.
        unfinished = path.glob("*.orbax-checkpoint-tmp*")
        self.unfinished = sorted(folder.name for folder in unfinished)
        self._damaged: dict[str, str] = {}
        self._clear_away(keep)
        self._saving = 0

        def merit(metrics: dict[str, Any]) -> Any:  # Orbax merely compares it.
            value, step = _rank(metrics, best_by)
            return -value, -step

        self._manager = ocp.CheckpointManager(
            path,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [
                        checkpoint_managers.LatestN(keep),
                        checkpoint_managers.BestN(get_metric_fn=merit, n=1),
                    ]
                ),
                best_fn=merit,
                cleanup_tmp_directories=True,
            ),
        )

    def _clear_away(self, keep: int) -> None:
        """Removes or moves the checkpoints beside which orbax would not open."""
        for number, step in enumerate(reversed(_steps_on_disk(self._path))):
            name = str(step)
            try:
                _read_metrics(self._path / name)
            except FileNotFoundError as error:
                if number < keep:
                    reason = f"{error.filename} is missing"
                    self._damaged[name] = f"{_damaged(self._path / name, reason)}"
                    continue
                # Its deletion was under way when the process was killed.
                self.unfinished.append(name)
                if jax.process_index() == 0:
                    shutil.rmtree(self._path / name, ignore_errors=True)
            except DamagedCheckpointError as error:
                self._damaged[name] = str(error)
        self._move_away(list(self._damaged))

    def _move_away(self, names: list[str]) -> None:
        aside = self._path.with_name("damaged_checkpoints")
        for name in names if jax.process_index() == 0 else ():
            aside.mkdir(exist_ok=True)
            taken = len(list(aside.glob(f"{name}*")))
            (self._path / name).rename(aside / f"{name}{f'-{taken + 1}' * bool(taken)}")

    def __enter__(self) -> Self:
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

        Args:
          state: may be donated to the next step at once: orbax copies it to the host
            before it returns, and writes the copy in the background.
          progress: JSON values that belong to the state.
          dev_loss, dev_bleu: of these parameters; infinite when they were not measured.
        """
        step = int(state.step)
        # First, so that its error is known to be that of the write before.
        self._write(self._manager.wait_until_finished)
        if step in self._manager.all_steps():
            return
        self._saving, items = step, _items(state)
        metrics = {"step": step, "dev_loss": dev_loss, "dev_bleu": dev_bleu}
        digests = {name: tree_digest(item) for name, item in items.items()}
        manifest = {
            "format": FORMAT,
            "version": importlib.metadata.version("attention_jax"),
            "shapes": {name: tree_shapes(item) for name, item in items.items()},
            "digests": {
                "metrics": json_digest(metrics),
                "progress": json_digest(progress),
                **digests,
            },
        }
        arguments = ocp.args.Composite(
            progress=ocp.args.JsonSave(progress),
            manifest=ocp.args.JsonSave(manifest),
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
        )
        self._write(lambda: self._manager.save(step, args=arguments, metrics=metrics))

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
        """The state and the progress at `step`; `like` has the arrays' shapes and types.

        Raises:
          DamagedCheckpointError: what was read is not what was written.
          IncompatibleCheckpointError: its arrays are not those of `like`.
        """
        self._write(self._manager.wait_until_finished)
        found = _read(self._path / str(step), _items(like))
        state = TrainState(
            step=jnp.asarray(step, jnp.int32),
            params=found["params"],
            opt_state=found["optimizer"],
            averages=found.get("averages"),
            rate_scale=None if like.rate_scale is None else jnp.ones(()),
        )
        return state, found["progress"]

    def resume(self, like: TrainState) -> Resumed | None:
        """The newest checkpoint that is whole; None if there is none at all.

        Damaged ones that are newer are moved into `damaged_checkpoints` beside the
        checkpoints, for their steps will be written again.

        Raises:
          DamagedCheckpointError: all of them are; names the newest and what is wrong.
          IncompatibleCheckpointError: the newest is not one of `like`.
        """
        damaged: dict[str, str] = {}
        for step in reversed(self.steps()):
            try:
                state, progress = self.restore(step, like)
            except DamagedCheckpointError as error:
                damaged[str(step)] = str(error)
                continue
            self._move_away(list(damaged))
            if damaged:
                self._manager.reload()
            return Resumed(state, progress, self._damaged | damaged)
        for reason in (self._damaged | damaged).values():
            raise DamagedCheckpointError(
                f"no checkpoint in {self._path} is whole: {reason}; "
                "train anew in another workdir"
            )
        return None


def load_params(
    path: pathlib.Path, like: Any, *, step: int | None = None, best_by: str = "loss"
) -> Any:
    """The parameters of one checkpoint, without the optimiser's state.

    Those are the moving averages where the run kept them. Nothing is written, and a
    trainer may be at work in the same folder.

    Args:
      path: the run directory's `checkpoints_path`.
      like: parameters, or their shapes and types, that these must agree with.
      step: which; by default the best one.
      best_by: what the best one is best by on dev, "loss" or "bleu"; without any
        evaluation it is the last one.

    Raises:
      FileNotFoundError: there is no (such) checkpoint; lists those there are.
      DamagedCheckpointError: what was read is not what was written, or the metrics of
        one that might be the best are not; lists the others.
      IncompatibleCheckpointError: its parameters are not those of `like`.
    """
    steps = existing_steps(path)
    chosen = best_metrics(path, best_by)["step"] if step is None else step
    if chosen not in steps:
        raise FileNotFoundError(
            f"{path} has no checkpoint of step {chosen}; it has {steps}"
        )
    try:
        return _read_params(path / str(chosen), like)
    except DamagedCheckpointError as error:
        if step is None and best_metrics(path, best_by)["step"] != chosen:
            # Deleted meanwhile: its trainer has saved a better one.
            return load_params(path, like, best_by=best_by)
        raise _with_others(error, path, chosen) from error


def average_params(path: pathlib.Path, like: Any, *, last: int) -> Any:
    """The mean of the parameters of the `last` newest checkpoints (fewer if there are).

    Raises: as `load_params`.

    Source: checkpoint averaging as in Vaswani et al. 2017, section 6.1.
    """
    steps = existing_steps(path)[-last:]
    trees = [_read_params(path / str(step), like) for step in steps]

    def mean(*arrays):
        # In float64: the order of the checkpoints then does not matter to the last bit.
        total = np.mean([np.asarray(array, np.float64) for array in arrays], axis=0)
        return jnp.asarray(total.astype(arrays[0].dtype))

    return jax.tree.map(mean, *trees)


def best_metrics(path: pathlib.Path, best_by: str) -> dict[str, Any]:
    """The step, dev_loss and dev_bleu of the best checkpoint.

    Raises:
      FileNotFoundError: there is no checkpoint.
      DamagedCheckpointError: the metrics of one cannot be read: it might be the best.
    """
    found = []
    for step in existing_steps(path):
        try:
            found.append(_read_metrics(path / str(step)))
        except FileNotFoundError:  # Its trainer is deleting it.
            continue
        except DamagedCheckpointError as error:
            raise _with_others(error, path, step) from error
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return min(found, key=lambda metrics: _rank(metrics, best_by))


def existing_steps(path: pathlib.Path) -> list[int]:
    """The steps there are checkpoints of, in order.

    Raises:
      FileNotFoundError: there is none.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: the run has no checkpoint yet")
    steps = _steps_on_disk(path)
    # One that is being deleted may have lost its metadata already.
    steps = [step for step in steps if (path / str(step) / _METADATA).exists()]
    if not steps:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return steps


_METADATA = "_CHECKPOINT_METADATA"  # Orbax's, in each checkpoint.


def _steps_on_disk(path: pathlib.Path) -> list[int]:
    """The steps that there are folders of, whole or not."""
    names = [folder.name for folder in path.glob("[0-9]*")]
    # isdecimal alone: "²" is a digit to Python, and "٣" a decimal.
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _rank(metrics: dict[str, Any], best_by: str) -> tuple[float, int]:
    """What the best checkpoint has the least of, by `config.training.best_by`.

    Of equally good ones that is the first; of those not evaluated, or NaN, the last.
    Orbax by itself takes NaN for the best.
    """
    loss, bleu = float(metrics["dev_loss"]), float(metrics["dev_bleu"])
    value, step = -bleu if best_by == "bleu" else loss, int(metrics["step"])
    return (value, step) if math.isfinite(value) else (math.inf, -step)


def _read_metrics(place: pathlib.Path) -> dict[str, Any]:
    """What was measured on dev with a checkpoint.

    Raises:
      FileNotFoundError: a file is missing, as it is while a checkpoint is being deleted.
      DamagedCheckpointError: a file cannot be read, and orbax would not open beside it.
    """
    try:
        json.loads((place / _METADATA).read_bytes())
        metrics = json.loads((place / "metrics" / "metrics").read_bytes())
        _rank(metrics, "loss")
        return metrics
    except (ValueError, TypeError, LookupError) as error:
        raise _damaged(place, f"its metrics or metadata: {error}") from error


def _items(state: TrainState) -> dict[str, Any]:
    """The state's trees by the names of a checkpoint's items."""
    items = {"params": state.params, "optimizer": state.opt_state}
    if state.averages is not None:
        items["averages"] = state.averages
    return items


def _read_params(place: pathlib.Path, like: Any) -> Any:
    name = "averages" if (place / "averages").is_dir() else "params"
    return _read(place, {name: like})[name]


def _read(place: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
    """The items named in `like` and "progress", verified."""
    try:
        manifest = json.loads((place / "manifest" / "metadata").read_bytes())
        progress = json.loads((place / "progress" / "metadata").read_bytes())
        shapes, digests = dict(manifest["shapes"]), dict(manifest["digests"])
        found = {"progress": progress, "metrics": _read_metrics(place)}
        now = {name: json_digest(value) for name, value in found.items()}
        by = f"checkpoint {place}, written by attention_jax {manifest['version']},"
        if manifest["format"] != FORMAT:
            raise IncompatibleCheckpointError(
                f"{by} has format {manifest['format']}; this version reads {FORMAT}"
            )
        for name, item in like.items():
            _check_shapes(f"{by} has other {name}", dict(shapes[name]), item)
        arguments = {name: _host_arrays(item) for name, item in like.items()}
        for name, item in _restore(place, arguments).items():
            now[name] = tree_digest(item)
            # On the default device, but not committed to it, as fresh arrays are: a
            # jitted function compiles anew for committed ones.
            found[name] = jax.tree.map(jnp.array, item)
    except (DamagedCheckpointError, IncompatibleCheckpointError, PermissionError):
        raise
    except Exception as error:  # Whatever a library makes of damaged files.
        if "PERMISSION_DENIED" in str(error):
            raise
        raise _damaged(place, " ".join(str(error).split())[:200]) from None
    for name, digest in now.items():
        if digest != digests.get(name):
            raise _damaged(place, f"its {name} are not what was written (SHA-256)")
    return found


def _restore(place: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
    _silence_threads()
    arguments = {name: ocp.args.StandardRestore(item) for name, item in like.items()}
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        return dict(checkpointer.restore(place, args=ocp.args.Composite(**arguments)))


def _host_arrays(like: Any) -> Any:
    """Arrays on the host of the shapes and types of `like`, for orbax to restore as such.

    A run trained on an accelerator can then be read on a machine without one.
    """
    return jax.tree.map(lambda array: np.empty(array.shape, array.dtype), like)


def _check_shapes(what: str, stored: dict[str, str], like: Any) -> None:
    wanted = tree_shapes(like)
    for path in [*wanted, *stored]:
        if stored.get(path) != wanted.get(path):
            raise IncompatibleCheckpointError(
                f"{what}: {path} is {stored.get(path, 'missing')}, "
                f"and should be {wanted.get(path, 'missing')}"
            )


def _damaged(place: pathlib.Path, reason: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"checkpoint {place} is damaged: {reason}")


def _with_others(
    error: DamagedCheckpointError, path: pathlib.Path, step: int
) -> DamagedCheckpointError:
    others = [other for other in existing_steps(path) if other != step]
    return DamagedCheckpointError(
        f"{error}; other checkpoints there: {others or 'none'}"
    )


def tree_digest(tree: Any) -> str:
    """SHA-256 over the paths, types, shapes and bytes of a tree's arrays, in hexadecimal.

    Cost: one pass over the bytes, about a second a gigabyte.
    """
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


def _disk_error(error: BaseException | None) -> OSError | None:
    """The system's error behind one of orbax, which raises ValueErrors and others.

    None if there is none: the error is a bug.
    """
    if error is None or isinstance(error, OSError):
        return error
    # How tensorstore ends the message of a failed system call.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    if code:
        return OSError(int(code.group(1)), os.strerror(int(code.group(1))))
    if any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "No space left")):
        return OSError(" ".join(str(error).split()))
    return _disk_error(error.__cause__)


@functools.cache
def _silence_threads() -> None:
    """Keeps orbax's threads from reporting with a traceback what is raised as well.

    Those of a failed read or write log its error; the ones still under way find their
    event loop closed, now or when the interpreter exits.
    """
    logger = python_logging.getLogger("absl")
    logger.addFilter(lambda record: not record.exc_info)
    report = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook
