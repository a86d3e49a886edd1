import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from attention_jax.config import ExperimentConfig, ModelConfig
from attention_jax.data.codec import load_codecs
from attention_jax.training.run_directory import (
    RunDirectory,
    WorkdirInUseError,
    config_from_dict,
)

ROOT = pathlib.Path(__file__).parents[2]
SCORE = "def my_score(query, keys):\n    return keys @ query\n"


def changed_everywhere():
    """A configuration in which no field has its default."""
    config = ExperimentConfig()
    for section in (config, *filter(dataclasses.is_dataclass, vars(config).values())):
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if isinstance(value, bool):
                setattr(section, field.name, not value)
            elif isinstance(value, float):
                setattr(section, field.name, value / 2 or 0.5)
            elif isinstance(value, int):
                setattr(section, field.name, value + 1)
            elif isinstance(value, str):
                choices = field.metadata["allowed"] or [f"{value}x"]
                setattr(section, field.name, choices[-1])
    return config


def test_config_round_trips_through_json():
    config = changed_everywhere()
    assert config != ExperimentConfig()
    assert (
        config_from_dict(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    )


def test_missing_stored_field_gets_its_default_and_is_named(caplog):
    values = dataclasses.asdict(changed_everywhere())
    del values["training"]["clip_norm"]
    config = config_from_dict(values)
    assert config.training.clip_norm == ExperimentConfig().training.clip_norm
    assert config.training.steps == 2001
    assert "config.training" in caplog.text
    assert "clip_norm" in caplog.text


def test_a_field_of_an_earlier_version_is_left_out():
    values = dataclasses.asdict(ExperimentConfig())
    values["profile"], values["training"]["plateau_patience"] = 20, 4
    assert config_from_dict(values) == ExperimentConfig()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 3.5, "steps must be of type int"),
        ("steps", -1, "steps must be at least 1, got -1"),
        ("stepss", 3, "unknown field 'config.training.stepss'. Did you mean"),
    ],
)
def test_an_error_in_a_stored_config_names_its_file(tmp_path, field, value, message):
    directory = RunDirectory(tmp_path)
    values = dataclasses.asdict(ExperimentConfig())
    values["training"][field] = value
    directory.config_path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        directory.load_config()


def test_making_one_touches_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The home of an unknown user is a name like any other.
    run = RunDirectory("~nobody-of-that-name/new")
    assert run.path == tmp_path / "~nobody-of-that-name" / "new"
    assert not run.exists()
    assert run.load_record() == {}
    with pytest.raises(FileNotFoundError, match="new holds no run"):
        run.load_config()
    config = ExperimentConfig(model=ModelConfig(score=f"{tmp_path}/gone.py:f"))
    with pytest.raises(OSError, match=r"gone\.py"):
        run.save_config(config)
    assert list(tmp_path.iterdir()) == []


def test_score_file_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "scores.py").write_text(SCORE)
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("run")
    config = ExperimentConfig(model=ModelConfig(score="scores.py:my_score"))
    run.save_config(config)
    assert config.model.score == "scores.py:my_score"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stored = run.load_config().model.score
    assert stored == f"{tmp_path / 'scores.py'}:my_score"
    assert pathlib.Path(stored.rpartition(":")[0]).is_absolute()


def test_a_users_module_is_recorded_and_its_change_is_a_warning(
    tmp_path, monkeypatch, caplog
):
    file = tmp_path / "my_module_of_scores.py"
    file.write_text(SCORE)
    monkeypatch.syspath_prepend(tmp_path)
    score = "my_module_of_scores:my_score"
    run = RunDirectory(tmp_path / "run")
    run.save_config(ExperimentConfig(model=ModelConfig(score=score)))
    [(field, stored)] = run.load_record()["user_files"].items()
    assert (field, stored["path"]) == ("model.score", str(file))
    assert run.load_config().model.score == score
    assert caplog.text == ""
    file.write_text(SCORE + "# another\n")
    run.load_config()
    assert f"{file} (config.model.score) has changed" in caplog.text
    file.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"needs .*my_module_of_scores\.py \(conf"
    ):
        run.load_config()


@pytest.mark.parametrize(
    "score", ["attention_jax.scores:dot", "jax.numpy:dot", "operator:matmul", "dot"]
)
def test_what_is_installed_is_not_recorded(tmp_path, score):
    run = RunDirectory(tmp_path / "run")
    run.save_config(ExperimentConfig(model=ModelConfig(score=score)))
    assert run.load_record()["user_files"] == {}


@pytest.mark.parametrize("name", ["file", "file/run", "link", "x" * 300])
def test_a_directory_that_cannot_be_made_is_said_to_be_so(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    message = f"^workdir {tmp_path}/{name} cannot be made or written: "
    with pytest.raises(OSError, match=message), RunDirectory(tmp_path / name).lock():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


HOLDER = """
import sys, time
from attention_jax.training import RunDirectory
with RunDirectory(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    run = RunDirectory(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = f"trained in by process {holder.pid} on .*; wait"
        for _ in range(2):
            with pytest.raises(WorkdirInUseError, match=message), run.lock():
                pass
        os.kill(holder.pid, signal.SIGKILL)
    with run.lock():
        assert f"process {os.getpid()} " in run.lock_path.read_text()


def test_the_lock_is_free_and_a_new_directory_gone_after_an_error(tmp_path):
    run = RunDirectory(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), run.lock():
            1 / 0  # noqa: B018
        assert not run.path.exists()
    with pytest.raises(ZeroDivisionError), run.lock():
        run.save_config(ExperimentConfig())
        1 / 0  # noqa: B018
    assert run.exists()


def test_a_file_system_without_locks_is_warned_about(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunDirectory(tmp_path).lock():
        pass
    assert "cannot be locked: Operation not supported" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"sessions": 3}',
        '{"sessions": {"a": 1}}',
        '{"sessions": [null]}',
        '{"sessions": [{"split_hash": 5}]}',
        '{"user_files": {"a": {}}}',
        '{"user_files": {"a": {"path": 5, "sha256": "0"}}}',
    ],
)
def test_a_damaged_record_is_named(tmp_path, text):
    run = RunDirectory(tmp_path / "run")
    run.save_config(ExperimentConfig())
    run.record_path.write_text(text)
    with pytest.raises(ValueError, match=r"record\.json: damaged, not the record"):
        run.load_config()


@pytest.mark.parametrize("data", [b"\xff\xff", b"[" * 100_000])
def test_damaged_files_are_named(tmp_path, data):
    run = RunDirectory(tmp_path / "run")
    run.save_config(ExperimentConfig())
    run.config_path.write_bytes(data)
    with pytest.raises(ValueError, match=r"config\.json"):
        run.load_config()
    run.codecs_path.write_bytes(data)
    with pytest.raises(ValueError, match=r"codecs\.json does not hold codecs"):
        load_codecs(run.codecs_path)


def test_what_belongs_to_a_run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.config_path.write_text("{}")
    (tmp_path / "alias").symlink_to(run.path)
    (tmp_path / "config").symlink_to(run.config_path)
    (tmp_path / "later").symlink_to(run.non_finite_path)
    for own in (
        "run/config.json",
        "run/../run/config.json",
        "alias/config.json",
        "config",
        "later",
        "run/checkpoints/7/params",
        "alias/checkpoints/a.html",
        "run/damaged_checkpoints/1",
    ):
        assert run.owns(tmp_path / own), own
    for other in ("run/report.html", "config.json", "run"):
        assert not run.owns(tmp_path / other), other


def test_what_a_run_was_made_from_is_known_whatever_else_is_wrong(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.sources() == set()
    run.config_path.write_text('{"data": {"path": "/data/a.tsv"}, "newer": 1}')
    files = {"mine.py": {"path": "/code/mine.py", "sha256": "0"}}
    run.record_path.write_text(json.dumps({"user_files": files}))
    expected = {pathlib.Path("/data/a.tsv"), pathlib.Path("/code/mine.py")}
    assert run.sources() == {path.resolve() for path in expected}
    run.config_path.write_text("{")
    run.record_path.write_text('{"user_files": 5}')
    assert run.sources() == set()
