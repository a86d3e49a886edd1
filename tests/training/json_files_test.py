import errno
import os
import pathlib

import pytest

from attention_jax.training.json_files import (
    append_lines,
    drop_lines_after,
    read_json,
    read_lines,
    write_json,
)


def test_round_trip_keeps_text_readable(tmp_path):
    path = tmp_path / "a.json"
    value = {"句子": "星期二", "numbers": [1, 2.5, None], "nested": {"yes": True}}
    write_json(path, value)
    assert read_json(path) == value
    assert "星期二" in path.read_text("utf-8")


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_files_are_as_readable_as_any(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,\n"b": }'])
def test_damaged_file_is_named_with_its_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    line = text.count("\n") + 1
    with pytest.raises(ValueError, match=f"a.json, line {line}: not JSON"):
        read_json(path)


def test_lines_append_and_a_cut_last_line_is_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    assert read_lines(path) == []
    append_lines(path, [{"step": 1}, {"step": 2}])
    append_lines(path, [{"step": 3}])
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3]


def test_damage_inside_lines_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{oops\n{"step": 3}\n')
    with pytest.raises(ValueError, match="a.jsonl, line 2"):
        read_lines(path)


def test_drop_lines_after_a_step(tmp_path):
    path = tmp_path / "a.jsonl"
    drop_lines_after(path, 5)
    assert not path.exists()
    append_lines(path, [{"step": step} for step in (5, 10, 15)])
    with path.open("a") as file:
        file.write('{"step": 2')
    drop_lines_after(path, 10)
    append_lines(path, [{"step": 11}])
    assert [line["step"] for line in read_lines(path)] == [5, 10, 11]


def test_a_full_disk_is_named_with_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = rf"^cannot write {tmp_path}/a\.json: No space left on device$"
    with pytest.raises(OSError, match=message) as raised:
        write_json(tmp_path / "a.json", 1)
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="Linux has it")
def test_lines_for_a_full_disk_are_one_error():
    with pytest.raises(OSError, match="^cannot write /dev/full: No space left on dev"):
        append_lines(pathlib.Path("/dev/full"), [{"step": 1}])
