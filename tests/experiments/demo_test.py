import json

import pytest

from experiments import cli, demo
from tests.tiny_run import tiny_run

TINY = """
from tests.tiny_run import tiny_config

def get_config():
    return tiny_config()
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(autouse=True)
def tiny_demo(monkeypatch, tmp_path):
    config = tmp_path / "tiny.py"
    config.write_text(TINY)
    monkeypatch.setattr(demo, "CONFIG", config)


def run(*arguments):
    return cli.run(
        demo.main,
        demo.define_flags,
        required=("workdir",),
        argv=["demo", *arguments],
    )


def test_shows_measures_and_draws_a_run_that_is_there(workdir, capsys):
    steps = (workdir / "metrics.jsonl").read_text()
    assert run(f"--workdir={workdir}") == 0
    out = capsys.readouterr().out
    assert (workdir / "metrics.jsonl").read_text() == steps
    figures = json.loads((workdir / "demo.json").read_text())
    assert figures["sentences"] == 40
    [exact] = [m for m in figures["metrics"] if m["name"] == "exact match"]
    assert f"{exact['score']:.2f}" in out
    assert out.count("✓") + out.count("✗") == demo.NUM_SHOWN
    assert (workdir / "attention.png").read_bytes().startswith(b"\x89PNG")
    for file in ("attention.png", "demo.json"):
        assert str(workdir / file) in out
    assert out.count("python -m experiments.") >= 3


def test_another_seed_is_another_run(workdir, capsys):
    assert run(f"--workdir={workdir}", "--seed=7") == 2
    err = capsys.readouterr().err
    assert "seed: 0 -> 7" in err and err.count("\n") == 1
