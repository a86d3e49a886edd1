"""The files of a sweep: what each run came to, and one table of all.

NAME/           a run's directory, with result.json besides what training writes
results.json    one row a run, in the order of the sweep
results.md      the same for a reader
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from attention_jax.atomic_write import read_json, write_json
from attention_jax.config import ExperimentConfig
from attention_jax.evaluation.config_variation import varying_fields
from attention_jax.evaluation.run_summary import summarize
from attention_jax.training.run_directory import RunDirectory, config_to_dict, flatten

# What a run has come to. Only the first two are stored; BUSY: another process trains it.
FINISHED, FAILED = "finished", "failed"
UNFINISHED, STOPPED, BUSY = "unfinished", "stopped", "busy"


class SweepDirectory:
    """The files of one sweep. Making one touches nothing on disk."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = RunDirectory(path).path
        self.results_path = self.path / "results.json"
        self.markdown_path = self.path / "results.md"

    def run(self, name: str) -> RunDirectory:
        """The directory of the run called `name`."""
        return RunDirectory(self.path / name)

    def result_path(self, name: str) -> pathlib.Path:
        """The file that says what the run came to, once it has."""
        return self.path / name / "result.json"

    def load_result(self, name: str) -> dict[str, Any]:
        """What the run came to; {} before that.

        Raises:
          ValueError: the file is damaged.
        """
        path = self.result_path(name)
        return read_json(path) if path.is_file() else {}

    def save_result(self, name: str, result: Mapping[str, Any]) -> None:
        """Stores what the run came to, in one step."""
        path = self.result_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(result))

    def finished(self, name: str) -> bool:
        """Whether the run was trained and measured."""
        result = self.load_result(name)
        return self.run(name).exists() and result.get("status") == FINISHED

    def write_results(
        self, configs: Mapping[str, ExperimentConfig], command: Sequence[str]
    ) -> dict[str, Any]:
        """Collects the runs' results into results.json, in one step, and returns them."""
        rows = self._rows(configs)
        results = {
            "command": list(command),
            "complete": all(row["status"] == FINISHED for row in rows),
            "runs": rows,
        }
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.results_path, results)
        return results

    def _rows(self, configs: Mapping[str, ExperimentConfig]) -> list[dict[str, Any]]:
        flat = {name: flatten(config_to_dict(c)) for name, c in configs.items()}
        fields = varying_fields(list(flat.values()))
        return [
            {
                "name": name,
                "differs": {field: config[field] for field in fields},
                **self._state(name),
            }
            for name, config in flat.items()
        ]

    def _state(self, name: str) -> dict[str, Any]:
        """The run's result, or how far it is."""
        result, run = self.load_result(name), self.run(name)
        # What goes wrong is of interest once, beside the run.
        result.pop("traceback", None)
        if result:
            return result
        if not run.exists():
            return {"status": UNFINISHED, "reason": "not begun"}
        summary = summarize(run.path, name=name)
        reason = "; ".join(summary.notes) or "trained, not yet measured"
        return {"status": UNFINISHED, "reason": reason.removeprefix("unfinished: ")}
