"""Reading a checkpoint, and knowing whether it still is what was written."""

import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.training.checkpoint_ranking import standing
from attention_jax.training.digests import json_digest, tree_digest, tree_shapes
from attention_jax.training.disk_errors import forget_pending
from attention_jax.training.progress import Progress

# Written with every checkpoint; a larger one comes from a later version of this package.
FORMAT = 1
_METADATA = "_CHECKPOINT_METADATA"  # of the checkpoint library, in each


class DamagedCheckpointError(ValueError):
    """A checkpoint that does not hold what was written."""


class IncompatibleCheckpointError(ValueError):
    """A checkpoint of another model, optimiser or version of this package."""


class Skipped(NamedTuple):
    """A checkpoint that cannot be used, and why.

    Attributes:
      vanished: a file is missing, as it is while a checkpoint is being deleted.
    """

    name: str
    reason: str
    vanished: bool = False


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
        return on_default_device(_read_params(path / str(chosen), like))
    except (DamagedCheckpointError, IncompatibleCheckpointError) as error:
        if step is None and best_metrics(path, best_by)["step"] != chosen:
            # Deleted meanwhile: its trainer has saved a better one.
            return load_params(path, like, best_by=best_by)
        if isinstance(error, IncompatibleCheckpointError):
            raise
        raise _with_others(error, path, chosen) from error


def best_metrics(path: pathlib.Path, best_by: str) -> dict[str, Any]:
    """The `dev_metrics` of the best checkpoint.

    Raises:
      FileNotFoundError: there is no checkpoint.
      DamagedCheckpointError: the metrics of one cannot be read: it might be the best.
    """
    found = []
    for step in existing_steps(path):
        place = path / str(step)
        one = _examine(place, best_by)
        if not isinstance(one, Skipped):
            found.append((one, {"step": step, **_metrics(place)}))
        elif not one.vanished:
            raise _with_others(DamagedCheckpointError(one.reason), path, step)
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return min(found, key=lambda pair: pair[0])[1]


def average_params(path: pathlib.Path, like: Any, *, last: int) -> Any:
    """The mean of the parameters of the `last` newest checkpoints (fewer if there are).

    Raises: as `load_params`.

    Source: checkpoint averaging as in Vaswani et al. 2017, section 6.1.
    """
    chosen = existing_steps(path)[-last:]
    trees = [_read_params(path / str(step), like) for step in chosen]
    # In float64: the order of the checkpoints then does not matter to the last bit.
    mean = jax.tree.map(
        lambda *arrays: np.mean(
            [array.astype(np.float64) for array in arrays], axis=0
        ).astype(arrays[0].dtype),
        *trees,
    )
    return on_default_device(mean)


def existing_steps(path: pathlib.Path) -> list[int]:
    """The steps there are checkpoints of, in order.

    Raises:
      FileNotFoundError: there is none.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: the run has no checkpoint yet")
    # One that is being deleted may have lost its metadata already.
    steps = [
        step
        for step in reversed(steps_on_disk(path))
        if (path / str(step) / _METADATA).exists()
    ]
    if not steps:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return steps


def _with_others(
    error: DamagedCheckpointError, path: pathlib.Path, step: int
) -> DamagedCheckpointError:
    others = [other for other in existing_steps(path) if other != step]
    return DamagedCheckpointError(
        f"{error}; other checkpoints there: {others or 'none'}"
    )


def _read_params(place: pathlib.Path, like: Any) -> Any:
    name = "averages" if (place / "averages").is_dir() else "params"
    return read_items(place, {name: like}, progress=False)[name]


def read_items(
    place: pathlib.Path, like: dict[str, Any], *, progress: bool
) -> dict[str, Any]:
    """The items called as those of `like`, verified; `progress` too if wanted."""
    import orbax.checkpoint as ocp

    # One of the first version has no manifest: nothing says what it should hold.
    manifest = _read_manifest(place)
    if manifest is not None:
        _check_compatible(place, manifest, like)
    arguments: dict[str, Any] = {
        name: ocp.args.StandardRestore(_host_arrays(item))
        for name, item in like.items()
    }
    if progress:
        arguments["progress"] = ocp.args.JsonRestore()
    restored: dict[str, Any] = {}
    damaged = None
    try:
        restored |= _restore(place, arguments)
    except Exception as error:  # Whatever a library makes of damaged files.
        if _is_permission(error):
            raise
        damaged = _unreadable(place, error, manifest)
        forget_pending(error)
    if damaged is not None:
        # Outside of the handler, which would keep alive what was just forgotten.
        raise damaged
    if manifest is not None:
        for name in arguments:
            value = restored[name]
            found = json_digest(value) if name == "progress" else tree_digest(value)
            _check_digest(place, name, found, manifest)
        _check_digest(place, "metrics", json_digest(_metrics(place)), manifest)
    if progress:
        restored["progress"] = Progress.from_json(restored["progress"])
    return restored


def _check_digest(
    place: pathlib.Path, name: str, found: str, manifest: dict[str, Any]
) -> None:
    written = manifest["digests"].get(name)
    if found != written:
        raise DamagedCheckpointError(
            f"checkpoint {place} is damaged: its {name} are not what was written "
            f"(SHA-256 {found[:12]}, not {str(written)[:12]})"
        )


def unreadable(path: pathlib.Path, best_by: str) -> list[Skipped]:
    """The checkpoints under `path` beside which no manager would open, newest first."""
    found = (_examine(path / str(step), best_by) for step in steps_on_disk(path))
    return [one for one in found if isinstance(one, Skipped)]


def _examine(place: pathlib.Path, best_by: str) -> tuple[float, int] | Skipped:
    """The checkpoint's `standing`, or why it has none."""
    try:
        json.loads((place / _METADATA).read_bytes())
        return standing({"step": int(place.name), **_metrics(place)}, best_by)
    except (ValueError, TypeError, LookupError, FileNotFoundError) as error:
        vanished = isinstance(error, FileNotFoundError)
        what = error.filename if isinstance(error, FileNotFoundError) else error
        reason = f"checkpoint {place} is damaged: its metrics or metadata: {what}"
        return Skipped(place.name, reason, vanished)


def steps_on_disk(path: pathlib.Path) -> list[int]:
    """The steps that there are folders of, whole or not, newest first."""
    names = (folder.name for folder in path.glob("[0-9]*"))
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _metrics(place: pathlib.Path) -> dict[str, float]:
    return json.loads((place / "metrics" / "metrics").read_bytes())


def _restore(place: pathlib.Path, arguments: dict[str, Any]) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        found = checkpointer.restore(place, args=ocp.args.Composite(**arguments))
    return dict(found)


def _read_manifest(place: pathlib.Path) -> dict | None:
    import orbax.checkpoint as ocp

    if not (place / "manifest").exists():
        return None
    try:
        manifest = _restore(place, {"manifest": ocp.args.JsonRestore()})["manifest"]
        kept = {name: manifest[name] for name in ("format", "version")}
        kept |= {name: dict(manifest[name]) for name in ("digests", "shapes")}
    except Exception as error:
        if _is_permission(error):
            raise
        raise _unreadable(place, error, None) from error
    return kept


def _check_compatible(
    place: pathlib.Path, manifest: dict[str, Any], like: dict[str, Any]
) -> None:
    by = f"checkpoint {place}, written by attention_jax {manifest['version']},"
    if manifest["format"] != FORMAT:
        raise IncompatibleCheckpointError(
            f"{by} has format {manifest['format']}; this version reads {FORMAT}"
        )
    for name, item in like.items():
        stored, wanted = manifest["shapes"].get(name, {}), tree_shapes(item)
        for path in [*wanted, *stored]:
            if stored.get(path) != wanted.get(path):
                raise IncompatibleCheckpointError(
                    f"{by} has other {name}: {path} is {stored.get(path, 'missing')}, "
                    f"and should be {wanted.get(path, 'missing')}"
                )


def _unreadable(
    place: pathlib.Path, error: Exception, manifest: dict | None
) -> ValueError:
    reason = " ".join(str(error).split())[:200]
    if manifest is None and not (place / "manifest").exists():
        return IncompatibleCheckpointError(
            f"checkpoint {place}, written by the first version of attention_jax, "
            f"cannot be read: {reason}"
        )
    return DamagedCheckpointError(f"checkpoint {place} is damaged: {reason}")


def _is_permission(error: BaseException) -> bool:
    return isinstance(error, PermissionError) or "PERMISSION_DENIED" in str(error)


def open_manager(path: pathlib.Path, *, keep: int, best_by: str):
    """The library's writer of checkpoints, which keeps the last ones and the best one."""
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers

    def merit(metrics: dict[str, Any]) -> Any:  # The library merely compares it.
        value, step = standing(metrics, best_by)
        return -value, -step

    latest = checkpoint_managers.LatestN(keep)
    best = checkpoint_managers.BestN(get_metric_fn=merit, n=1)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
        best_fn=merit,
        # What a killed run did not finish writing.
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(path, options=options)


def _host_arrays(like: Any) -> Any:
    """Arrays on the host of the shapes and types of `like`, for orbax to restore as such.

    A run trained on an accelerator can then be read on a machine without one.
    """
    return jax.tree.map(lambda array: np.empty(array.shape, array.dtype), like)


def on_default_device(restored: Any) -> Any:
    """Copies on the default device, not committed to it.

    Just so are freshly initialised arrays. A jitted function compiles anew for committed
    ones, which orbax would restore: a resumed run compiled each shape twice.
    """
    return jax.tree.map(jnp.array, restored)
