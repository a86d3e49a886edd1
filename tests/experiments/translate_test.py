import io
import os
import pathlib
import subprocess
import sys
import types

import pytest

from attention_jax.run import load_run
from experiments import command_line, translate
from tests.tiny_run import tiny_run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


def run(*arguments):
    return command_line.run(
        translate.main,
        translate.define_flags,
        required=("workdir",),
        argv=["translate", *arguments],
    )


def piped(monkeypatch, data):
    stdin = types.SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)


def test_a_line_for_each_line(workdir, monkeypatch, capfdbinary):
    expected = load_run(workdir).translate(["ba bi", "bo ba ba"])
    piped(monkeypatch, b"ba bi\n\nbo ba ba")
    assert run(f"--workdir={workdir}") == 0
    out = capfdbinary.readouterr().out.decode()
    assert out == f"{expected[0]}\n\n{expected[1]}\n"
    assert expected[0]


def test_bad_bytes_are_an_error_of_one_line(workdir, monkeypatch, capfdbinary):
    piped(monkeypatch, b"ba bi\n\xff\n")
    assert run(f"--workdir={workdir}") == 1
    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") == 1
    assert err.endswith(b"translate: input line 2: not UTF-8 at byte 1\n")


def test_a_terminal_is_asked(workdir, monkeypatch, capsys):
    stdin = io.StringIO("ba bi\n\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run(f"--workdir={workdir}") == 0
    out, err = capsys.readouterr()
    assert out == load_run(workdir).translate(["ba bi"])[0] + "\n\n"
    assert err.count("> ") == 3


@pytest.mark.parametrize("name", ["input", "output"])
def test_a_closed_stream_is_an_error_of_one_line(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, f"std{name[:-3]}", None)
    assert run("--workdir=nowhere") == 2
    line = capsys.readouterr().err
    assert line.startswith(f"translate: standard {name} is closed; ")
    assert line.count("\n") == 1


def test_no_run_is_an_error_of_one_line(monkeypatch, capsys):
    piped(monkeypatch, b"a\n")
    assert run("--workdir=nowhere") == 1
    assert capsys.readouterr().err.startswith("translate: there is no run directory")


def test_a_reader_that_has_enough_ends_it_silently(workdir):
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.translate", f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(b"ba bi\n" * 10)
    assert process.returncode == 0
    assert b"Traceback" not in err and b"Broken" not in err
