"""Reading a checkpoint, and knowing whether it still is what was written."""

import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from attention_jax.training.digests import json_digest, tree_digest, tree_shapes
from attention_jax.training.disk_errors import forget_writes
from attention_jax.training.progress import Progress

# Written with every checkpoint; a larger one comes from a later version of this package.
FORMAT = 1
_METADATA = "_CHECKPOINT_METADATA"  # of the checkpoint library, in each


class DamagedCheckpointError(ValueError):
    """A checkpoint that does not hold what was written."""


class IncompatibleCheckpointError(ValueError):
    """A checkpoint of another model, optimiser or version of this package."""


class Skipped(NamedTuple):
    """A checkpoint that was not resumed from, and why."""

    name: str
    reason: str


def load_params(path: pathlib.Path, like: Any, *, step: int | None = None) -> Any:
    """The parameters of one checkpoint, without the optimiser's state.

    Those are the moving averages where the run kept them.

    Args:
      path: the run directory's `checkpoints_path`.
      like: parameters, or their shapes and types, that these must agree with.
      step: which; by default the best one (`config.training.best_by`), or the last one if
        there was no evaluation.

    Raises:
      FileNotFoundError: there is no (such) checkpoint; lists those there are.
      DamagedCheckpointError: what was read is not what was written; lists the others.
      IncompatibleCheckpointError: its parameters are not those of `like`.
    """
    manager, steps = _open_existing(path)
    if step is None:
        step = manager.best_step()
    if step not in steps:
        raise FileNotFoundError(
            f"{path} has no checkpoint of step {step}; it has {steps}"
        )
    try:
        return on_default_device(_read_params(manager, path, step, like))
    except DamagedCheckpointError as error:
        others = [other for other in steps if other != step]
        raise DamagedCheckpointError(
            f"{error}; other checkpoints there: {others or 'none'}"
        ) from error
    finally:
        manager.close()


def average_params(path: pathlib.Path, like: Any, *, last: int) -> Any:
    """The mean of the parameters of the `last` newest checkpoints (fewer if there are).

    Raises: as `load_params`.

    Source: checkpoint averaging as in Vaswani et al. 2017, section 6.1.
    """
    manager, steps = _open_existing(path)
    chosen = steps[-last:]
    trees = [_read_params(manager, path, step, like) for step in chosen]
    manager.close()
    # In float64: the order of the checkpoints then does not matter to the last bit.
    mean = jax.tree.map(
        lambda *arrays: np.mean(
            [array.astype(np.float64) for array in arrays], axis=0
        ).astype(arrays[0].dtype),
        *trees,
    )
    return on_default_device(mean)


def _open_existing(path: pathlib.Path) -> tuple[Any, list[int]]:
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist: the run has no checkpoint yet")
    broken = unreadable(path)
    if broken:
        raise DamagedCheckpointError(
            f"{broken[0].reason}; the same training command sets it aside"
        )
    manager = open_manager(path, keep=None, writing=False)
    steps = sorted(manager.all_steps())
    if not steps:
        raise FileNotFoundError(f"{path} holds no checkpoint yet")
    return manager, steps


def _read_params(manager: Any, path: pathlib.Path, step: int, like: Any) -> Any:
    place = path / str(step)
    name = "averages" if (place / "averages").is_dir() else "params"
    return read_items(manager, place, step, {name: like}, progress=False)[name]


def read_items(
    manager: Any,
    place: pathlib.Path,
    step: int,
    like: dict[str, Any],
    *,
    progress: bool,
) -> dict[str, Any]:
    """The items called as those of `like`, verified; `progress` too if wanted."""
    import orbax.checkpoint as ocp

    # One of the first version has no manifest: nothing says what it should hold.
    manifest = _read_manifest(manager, place, step)
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
        restored |= dict(manager.restore(step, args=ocp.args.Composite(**arguments)))
    except Exception as error:  # Whatever a library makes of damaged files.
        if _is_permission(error):
            raise
        damaged = _unreadable(place, error, manifest)
        forget_writes(error)
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


def unreadable(path: pathlib.Path) -> list[Skipped]:
    """The checkpoints under `path` beside which no manager would open, newest first.

    They lack their metadata, as one does that was being deleted when its process was
    killed, or their metrics are not readable.
    """
    found = []
    for step in steps_on_disk(path):
        place = path / str(step)
        try:
            json.loads((place / _METADATA).read_bytes())
            _rank(_metrics(place))
        except (ValueError, TypeError, LookupError, FileNotFoundError) as error:
            what = error.filename if isinstance(error, OSError) else error
            reason = f"checkpoint {place} is damaged: its metrics or metadata: {what}"
            found.append(Skipped(place.name, reason))
    return found


def steps_on_disk(path: pathlib.Path) -> list[int]:
    """The steps that there are folders of, whole or not, newest first."""
    names = (folder.name for folder in path.glob("[0-9]*"))
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _metrics(place: pathlib.Path) -> dict[str, float]:
    return json.loads((place / "metrics" / "metrics").read_bytes())


def _read_manifest(manager: Any, place: pathlib.Path, step: int) -> dict | None:
    import orbax.checkpoint as ocp

    if not (place / "manifest").exists():
        return None
    only = ocp.args.Composite(manifest=ocp.args.JsonRestore())
    try:
        manifest = manager.restore(step, args=only)["manifest"]
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


def open_manager(path: pathlib.Path, *, keep: int | None, writing: bool):
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers

    latest = checkpoint_managers.LatestN(keep)
    best = checkpoint_managers.BestN(get_metric_fn=lambda metrics: -_rank(metrics), n=1)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
        best_fn=_rank,
        best_mode="min",
        # What a killed run did not finish writing. A reader leaves it alone: it may
        # belong to a run that is alive.
        cleanup_tmp_directories=writing,
        create=writing,
        save_root_metadata=writing,
    )
    return ocp.CheckpointManager(path, options=options)


def _rank(metrics: dict[str, float]) -> float:
    # The first version wrote the loss alone.
    return float(metrics.get("rank", metrics["dev_loss"]))


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
