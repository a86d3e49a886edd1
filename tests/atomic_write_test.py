"""Files replaced in one step: text, JSON, JSON lines, pipes and links."""

import errno
import os
import pathlib

import pytest

from attention_jax.atomic_write import (
    append_lines,
    drop_lines_after,
    read_json,
    read_lines,
    write_json,
    write_text,
)


def test_json_is_readable_and_as_accessible_as_any_file(tmp_path):
    path, plain = tmp_path / "a.json", tmp_path / "plain"
    value = {"句子": "星期二", "numbers": [1, 2.5, None], "nested": {"yes": True}}
    write_json(path, value)
    assert read_json(path) == value
    assert "星期二" in path.read_text("utf-8")
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_named_and_leaves_the_old_file_alone(
    tmp_path, monkeypatch, step
):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    monkeypatch.setattr(os, step, full)
    message = rf"^cannot write {path}: No space left on device$"
    with pytest.raises(OSError, match=message) as raised:
        write_json(path, {"new": 2})
    assert raised.value.errno == errno.ENOSPC
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="Linux has it")
def test_lines_for_a_full_disk_are_one_error():
    with pytest.raises(OSError, match="^cannot write /dev/full: No space left on dev"):
        append_lines(pathlib.Path("/dev/full"), [{"step": 1}])


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,\n"b": }'])
def test_damaged_json_is_named_with_its_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    line = text.count("\n") + 1
    with pytest.raises(ValueError, match=f"a.json, line {line}: not JSON"):
        read_json(path)


@pytest.mark.parametrize("data", [b"\xff\xff", b"[" * 100_000, b"1" * 5_000])
def test_hostile_json_is_named(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json: damaged"):
        read_json(path)


def test_lines_append_and_a_cut_last_line_is_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    assert read_lines(path) == []
    append_lines(path, [{"step": 1}, {"step": 2}])
    append_lines(path, [{"step": 3}])
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3]
    path.write_text('{"step": 1}\n{oops\n{"step": 3}\n')
    with pytest.raises(ValueError, match="a.jsonl, line 2"):
        read_lines(path)


def test_drop_lines_after_a_step(tmp_path):
    path = tmp_path / "a.jsonl"
    assert drop_lines_after(path, 5) == 0
    assert not path.exists()
    append_lines(path, [{"step": step} for step in (5, 10, 15)])
    with path.open("a") as file:
        file.write('{"step": 2')
    assert drop_lines_after(path, 10) == 15
    append_lines(path, [{"step": 11}])
    assert [line["step"] for line in read_lines(path)] == [5, 10, 11]
    append_lines(path, [[]])
    with pytest.raises(ValueError, match=r"a.jsonl, line 4: not an object with a step"):
        drop_lines_after(path, 10)


def test_a_link_stays_one_and_what_it_points_to_is_replaced(tmp_path):
    target, link = tmp_path / "there" / "a.txt", tmp_path / "b.txt"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_written_into(tmp_path):
    """As /dev/stdout and /dev/null are; replacing those would take them from everyone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "text")
        assert os.read(reader, 10) == b"text" and pipe.is_fifo()
    finally:
        os.close(reader)
