"""`make demo`: the three programs in one process, on a run that is there or is not."""

import json

import pytest

from experiments import cli, demo

TINY = """
from tests.tiny_run import tiny_config

def get_config():
    return tiny_config()
"""


@pytest.fixture(autouse=True)
def tiny_demo(monkeypatch, tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.setattr(demo, "CONFIG", str(tmp_path / "tiny.py"))


def run(workdir):
    arguments = ["demo", f"--workdir={workdir}"]
    return cli.run(demo.main, demo.define_flags, argv=arguments)


def test_a_finished_run_is_evaluated_and_drawn_as_often_as_asked(workdir):
    steps = (workdir / "metrics.jsonl").read_bytes()
    for _ in range(2):
        assert run(workdir) == 0
    assert (workdir / "metrics.jsonl").read_bytes() == steps
    figures = json.loads((workdir / "demo.json").read_text())
    assert figures["sentences"] == 40
    assert len((workdir / "translations.tsv").read_text().splitlines()) >= 40
    assert (workdir / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_trained_ends_it(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file") != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
