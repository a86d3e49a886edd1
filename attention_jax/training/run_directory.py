"""A run's directory: its files, which docs/training.md lists, and which run it belongs to."""

import contextlib
import copy
import dataclasses
import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import socket
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import filelock
import jax
from absl import logging

from attention_jax.atomic_write import read_json, write_json
from attention_jax.config import ExperimentConfig, check_fields
from attention_jax.data.splits import Splits, split_hash
from attention_jax.errors import UserError, named, unknown_name
from attention_jax.functions.import_reference import split_reference, users_module

_PACKAGES = ["attention_jax", "jax", "jaxlib", "flax", "optax"]
_PACKAGES += ["orbax-checkpoint", "numpy"]
# Fields of earlier versions, which a stored configuration may still have.
REMOVED_FIELDS = (
    "config.profile",
    "config.training.plateau_factor",
    "config.training.plateau_patience",
)


class ChangedRunError(UserError):
    """The directory holds a run of another configuration or of other data."""


class WorkdirInUseError(UserError):
    """Another process is training in the directory."""


class RunDirectory:
    """The files of one run. Making one touches nothing on disk."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = _absolute(path)
        self.config_path = self.path / "config.json"
        self.record_path = self.path / "record.json"
        self.codecs_path = self.path / "codecs.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.samples_path = self.path / "samples.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.damaged_path = self.path / "damaged_checkpoints"
        self.events_path = self.path / "events"
        self.lock_path = self.path / "train.lock"
        self.non_finite_path = self.path / "non_finite.json"

    def owns(self, path: str | os.PathLike[str]) -> bool:
        """Whether `path` is one of these files, or in one of these folders."""
        place = pathlib.Path(path).resolve()
        own = [one.resolve() for name, one in vars(self).items() if name != "path"]
        return any(one in (place, *place.parents) for one in own)

    def sources(self) -> set[pathlib.Path]:
        """The files of data and of users' functions, as far as the run says which."""
        found: set[pathlib.Path] = set()
        wrong = (OSError, ValueError, TypeError, LookupError, AttributeError)
        with contextlib.suppress(*wrong):
            data = read_json(self.config_path)["data"]
            names = [data[name] for name in ("path", "target_path") if data.get(name)]
            found |= {pathlib.Path(name).resolve() for name in names}
        with contextlib.suppress(*wrong):
            files = self.load_record()["user_files"].values()
            found |= {pathlib.Path(one["path"]).resolve() for one in files}
        return found

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config_path.is_file()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the directory and holds its lock, which the system frees at any death.

        Where the file system has no locks, it warns and goes on. If the block ends before
        a run was begun in a new directory, the directory is removed again.
        """
        lock = filelock.FileLock(self.lock_path, blocking=False, fallback_to_soft=False)
        try:
            new = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            # So that a failure is this one, and not that of a lock.
            self.lock_path.touch()
        except OSError as error:
            raise type(error)(
                f"workdir {self.path} cannot be made or written: {error.strerror}"
            ) from error
        try:
            lock.acquire()
            holder = f"process {os.getpid()} on {socket.gethostname()}"
            self.lock_path.write_text(f"{holder}\n", "utf-8")
        except filelock.Timeout:
            holder = self.lock_path.read_text("utf-8").strip() or "another process"
            raise WorkdirInUseError(
                f"{self.path} is being trained in by {holder}; wait for it, or give "
                "this run a workdir of its own"
            ) from None
        except OSError as error:
            logging.warning("%s cannot be locked: %s", self.path, error.strerror)
        try:
            yield
        finally:
            if new and not self.exists():
                self.lock_path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()
            lock.release()

    def save_config(self, config: ExperimentConfig) -> None:
        """Writes config.json, its paths absolute, and the hashes of users' functions' files.

        So a later command finds the same code or warns that it has changed.
        """
        config = with_absolute_paths(config)
        files = {
            name: {"path": str(file), "sha256": _file_hash(file)}
            for name, file in _user_files(config).items()
        }
        self.path.mkdir(parents=True, exist_ok=True)
        self.update_record({"user_files": files})
        write_json(self.config_path, dataclasses.asdict(config))

    def load_config(self) -> ExperimentConfig:
        """The run's configuration; warns when a user's file changed since the run began."""
        if not self.exists():
            raise FileNotFoundError(f"{self.path} holds no run: it has no config.json")
        stored = read_json(self.config_path)
        with named(str(self.config_path)):
            config = config_from_dict(stored)
        found = _user_files(config)
        for name, one in self.load_record().get("user_files", {}).items():
            file = found.get(name) or pathlib.Path(one["path"])
            try:
                changed = _file_hash(file) != one["sha256"]
            except OSError as error:
                raise type(error)(
                    f"the run in {self.path} needs {file} (config.{name}), which cannot "
                    f"be read: {error.strerror}; put it back, or write its new place "
                    f"into {self.config_path.name}"
                ) from error
            if changed:
                text = "%s (config.%s) has changed since the run began"
                logging.warning(text, file, name)
        return config

    def changes(self, config: ExperimentConfig, *, allowed: bool = False) -> list[str]:
        """`section.field: stored -> given` where a run begun here differs from `config`."""
        if not self.exists():
            return []
        before = flatten(self.load_config())
        after = flatten(with_absolute_paths(config))
        changed = [
            f"{name}: {before[name]!r} -> {after[name]!r}"
            for name in before
            if before[name] != after[name]
        ]
        if changed and not allowed:
            more = len(changed) - 5
            listed = "; ".join(changed[:5] + [f"and {more} more"] * (more > 0))
            raise ChangedRunError(
                f"{self.path} holds a run of another configuration ({listed}); "
                "give this one a workdir of its own (training.steps, which the learning "
                "rate follows, is fixed at the start too), or allow the change "
                "(experiments.train: --allow_changed_config)"
            )
        return changed

    def check_same_data(self, splits: Splits) -> None:
        """Raises ChangedRunError unless the data is what the run was last trained on."""
        sessions = self.load_record().get("sessions", [])
        now = split_hash(splits)
        # Not the first: a later one may have been allowed another configuration.
        before = sessions[-1].get("split_hash", now) if sessions else now
        if before != now:
            raise ChangedRunError(
                f"{self.path} was begun with other data: the splits' hash was "
                f"{before[:12]} and is {now[:12]}; "
                "put that data back, or train on this in another workdir"
            )

    def load_record(self) -> dict[str, Any]:
        """record.json, or an empty dict before there is one."""
        record = read_json(self.record_path) if self.record_path.is_file() else {}
        if not _is_record(record):
            raise UserError(
                f"{self.record_path}: damaged, not the record of a run's sessions"
            )
        return record

    def update_record(self, facts: dict[str, Any]) -> None:
        """Merges `facts` into record.json."""
        write_json(self.record_path, self.load_record() | facts)

    def add_session(self, command: Sequence[str], **facts: Any) -> None:
        """Appends one start or restart of training to the record's `sessions`."""
        session = {
            "started": datetime.datetime.now().astimezone().isoformat("T", "seconds"),
            "command": list(command),
            **environment(),
            **facts,
        }
        sessions = self.load_record().get("sessions", [])
        self.update_record({"sessions": [*sessions, session]})


def _is_record(value: Any) -> bool:
    """Whether `value` has the sessions and the files of a record, where it has any."""
    try:
        files = value.get("user_files", {}).values()
        texts = [one[name] for one in files for name in ("path", "sha256")]
        texts += [one.get("split_hash", "") for one in value.get("sessions", [])]
        return all(str.find(one, "\0") < 0 for one in texts)
    except (AttributeError, LookupError, TypeError):
        return False


def environment() -> dict[str, Any]:
    """Versions, commit, device and operating system."""
    devices = jax.devices()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "commit": _git_commit(),
        # As in "NVIDIA H100 80GB HBM3 x1".
        "device": f"{devices[0].device_kind} x{len(devices)}",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _git_commit() -> str:
    """The commit of the checkout this package is in, "+changes" appended when it has
    uncommitted ones; "" outside a checkout of this project."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(pathlib.Path(__file__).parents[1]), *arguments]
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()

    try:
        # Installed inside an environment, the package may lie below another project's
        # checkout, whose commit says nothing about this code.
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + "+changes" * bool(changed)
    except (OSError, subprocess.SubprocessError):
        return ""


def config_from_dict(values: Any) -> ExperimentConfig:
    """The configuration that was stored as `values`.

    A field that `values` lacks is newer than they are: it gets its default, and a warning
    names it. One of an earlier version is left out.
    """
    config = ExperimentConfig()
    _fill(config, values, "config")
    check_fields(config)
    return config


def _fill(section: Any, values: Any, prefix: str) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{prefix} must be an object of fields, got {values!r}")
    names = [field.name for field in dataclasses.fields(section)]
    for name, value in values.items():
        full = f"{prefix}.{name}"
        if full in REMOVED_FIELDS:
            continue
        if name not in names:
            raise unknown_name("field", full, [f"{prefix}.{known}" for known in names])
        if dataclasses.is_dataclass(getattr(section, name)):
            _fill(getattr(section, name), value, full)
        else:
            setattr(section, name, value)
    missing = [name for name in names if name not in values]
    if missing:
        text = "%s was written before %s existed; using the default"
        logging.warning(text, prefix, ", ".join(missing))


def flatten(config: ExperimentConfig | dict[str, Any]) -> dict[str, Any]:
    """A configuration, or nested dicts, as one dict with dotted names."""
    flat = {}
    values = config if isinstance(config, dict) else dataclasses.asdict(config)
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": one for inner, one in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """A copy whose paths, data files and user functions, do not depend on the folder."""
    config = copy.deepcopy(config)
    for field in ("score", "normalizer"):
        file, function = split_reference(getattr(config.model, field))
        if file.endswith(".py"):
            setattr(config.model, field, f"{_absolute(file).resolve()}:{function}")
    for field in ("path", "target_path"):
        value = getattr(config.data, field)
        if value:
            setattr(config.data, field, str(_absolute(value).resolve()))
    return config


def _user_files(config: ExperimentConfig) -> dict[str, pathlib.Path]:
    """The fields that name a function of the user's, and the files that define them."""
    files = {}
    for field in ("score", "normalizer"):
        place, function = split_reference(getattr(config.model, field))
        if place.endswith(".py"):
            files[f"model.{field}"] = pathlib.Path(place)
        elif place and function and (file := users_module(place)):
            files[f"model.{field}"] = file
    return files


def _file_hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _absolute(path: str | os.PathLike[str]) -> pathlib.Path:
    # Unlike pathlib's, this expanduser leaves the ~ of an unknown user as it is.
    return pathlib.Path(os.path.expanduser(path)).absolute()
