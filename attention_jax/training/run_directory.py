"""A run's directory: what is in it, under which names.

config.json     the ExperimentConfig, paths made absolute
record.json     where the run comes from: commands, versions, commit, device, split
codecs.json     tokenizers and vocabularies
metrics.jsonl   one JSON object a line, each with its `step`
samples.jsonl   translations of a few dev sentences at each evaluation
checkpoints/    one folder a step
events/         the same metrics for TensorBoard
train.lock      held by the process that trains

Where there was reason for it: damaged_checkpoints/, non_finite.json, profile/.
"""

import datetime
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from absl import logging

from attention_jax.config import ExperimentConfig
from attention_jax.errors import UnknownNameError
from attention_jax.training.json_files import read_json, write_json
from attention_jax.training.provenance import environment, file_hash
from attention_jax.training.stored_config import (
    config_from_dict,
    config_to_dict,
    user_files,
    with_absolute_paths,
)


def _is_record(value: object) -> bool:
    """Whether what others read of a record is there, and of the right kind."""
    if not isinstance(value, dict):
        return False
    sessions, files = value.get("sessions", []), value.get("user_files", {})
    return (
        isinstance(sessions, list)
        and all(_is_session(one) for one in sessions)
        and isinstance(files, dict)
        and all(
            isinstance(one, dict)
            and {"path", "sha256"} <= one.keys()
            and isinstance(one["path"], str)
            and "\0" not in one["path"]
            for one in files.values()
        )
    )


def _is_session(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("split_hash", ""), str)
        and isinstance(value.get("parameters", 0), int)
    )


class RunDirectory:
    """The files of one run. Making one touches nothing on disk."""

    def __init__(self, path: str | os.PathLike[str]):
        # Unlike pathlib, this leaves the ~ of an unknown user as it is.
        self.path = pathlib.Path(os.path.expanduser(path)).absolute()
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
        self.profile_path = self.path / "profile"

    def owns(self, path: str | os.PathLike[str]) -> bool:
        """Whether `path` is one of these files, or in one of these folders."""
        place, run = pathlib.Path(path).absolute(), self.path.resolve()
        end = place.resolve()
        own = [one for name, one in vars(self).items() if name != "path"]
        # Where a folder is a link, others have files in its place too: it is the run's by
        # way of the run alone.
        ways = {one.parent.resolve() / one.name for one in (place, *place.parents)}
        ways |= {end, *end.parents}
        return not ways.isdisjoint(run / one.name for one in own) or any(
            one.is_file() and one.resolve() == end for one in own
        )

    def sources(self) -> set[pathlib.Path]:
        """The files of data and of users' functions that the run says it was made from.

        As far as config.json and record.json can be read, whatever else is wrong in them.
        """
        found: list[Any] = []
        try:
            data = read_json(self.config_path)["data"]
            found += [data.get("path"), data.get("target_path")]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            pass
        try:
            found += [one["path"] for one in self.load_record()["user_files"].values()]
        except (OSError, ValueError, LookupError):
            pass
        names = [name for name in found if name and isinstance(name, str)]
        return {pathlib.Path(name).resolve() for name in names if "\0" not in name}

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.config_path.is_file()

    def save_config(self, config: ExperimentConfig) -> None:
        """Makes the directory and writes config.json.

        Paths are stored absolute, those of `path/file.py:function` included, and with the
        hashes of the functions' files in record.json, so that a later command finds the
        same code or is told that it has changed. So are the hashes of users' modules.
        """
        config = with_absolute_paths(config)
        files = {
            name: {"path": str(file), "sha256": file_hash(file)}
            for name, file in user_files(config).items()
        }
        self.path.mkdir(parents=True, exist_ok=True)
        self.update_record({"user_files": files})
        write_json(self.config_path, config_to_dict(config))

    def load_config(self) -> ExperimentConfig:
        """The run's configuration; warns when a user's file changed since the run began.

        Raises:
          OSError: no run was started here, or a user's file is gone; names it.
          ValueError, TypeError, UnknownNameError: config.json is damaged or of another
            version.
        """
        if not self.exists():
            raise FileNotFoundError(f"{self.path} holds no run: it has no config.json")
        stored = read_json(self.config_path)
        try:
            config = config_from_dict(stored)
        except (ValueError, UnknownNameError) as error:
            raise type(error)(f"{self.config_path}: {error}") from error
        found = user_files(config)
        for name, stored in self.load_record().get("user_files", {}).items():
            file = found.get(name) or pathlib.Path(stored["path"])
            try:
                changed = file_hash(file) != stored["sha256"]
            except OSError as error:
                raise type(error)(
                    f"the run in {self.path} needs {file} (config.{name}), which cannot "
                    f"be read: {error.strerror}; put it back, or write its new place "
                    f"into {self.config_path.name}"
                ) from error
            if changed:
                logging.warning(
                    "%s (config.%s) has changed since the run began", file, name
                )
        return config

    def check_writable(self) -> None:
        """Raises OSError, saying why, unless the directory can be made and written to.

        Tries it in a temporary folder, which it removes again.
        """
        there = next(
            path for path in (self.path, *self.path.parents) if os.path.lexists(path)
        )
        if not there.is_dir():
            kind = "file" if there.exists() else "broken link"
            raise NotADirectoryError(
                f"workdir {self.path} cannot be made: {there} is a {kind}"
            )
        try:
            with tempfile.TemporaryDirectory(prefix=".workdir-", dir=there) as folder:
                # The folders that are still to be made: a name may be too long.
                inside = pathlib.Path(folder) / self.path.relative_to(there)
                inside.mkdir(parents=True, exist_ok=True)
                (inside / self.config_path.name).write_text("{}")
        except OSError as error:
            what = "written to" if there == self.path else f"made in {there}"
            raise type(error)(
                f"workdir {self.path} cannot be {what}: {error.strerror}"
            ) from error

    def load_record(self) -> dict[str, Any]:
        """record.json, or an empty dict before there is one.

        Raises:
          ValueError: the file is damaged.
        """
        if not self.record_path.is_file():
            return {}
        record = read_json(self.record_path)
        if not _is_record(record):
            raise ValueError(
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
