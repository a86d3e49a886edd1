import json

import pytest
from absl import flags

from attention_jax.data.splits import Splits
from attention_jax.evaluation import held_out
from attention_jax.run import CHECKPOINTS
from experiments import command_line, evaluate
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


def run(*arguments):
    return command_line.run(
        evaluate.main,
        evaluate.define_flags,
        required=("workdir",),
        argv=["evaluate", *arguments],
    )


def test_prints_the_figures_and_writes_them(workdir, tmp_path, capsys):
    output = tmp_path / "figures.json"
    status = run(
        f"--workdir={workdir}", "--split=dev", "--max_sentences=9", f"--output={output}"
    )
    assert status == 0
    out, err = capsys.readouterr()
    figures = json.loads(output.read_text())
    assert (figures["split"], figures["sentences"]) == ("dev", 9)
    assert figures["checkpoint"] == "best"
    for metric in figures["metrics"]:
        assert f"{metric['score']:.2f}" in out and metric["signature"] in out
    assert figures["split_hash"] in out
    assert figures["versions"]["jax"] in out and figures["device"] in out
    assert f"wrote {output}" in out
    assert not err


def test_a_missing_folder_is_found_before_any_work(tmp_path, capsys):
    assert run("--workdir=nowhere", f"--output={tmp_path / 'no' / 'f.json'}") == 2
    assert "the folder" in capsys.readouterr().err


def test_the_choices_are_the_librarys():
    flag_values = flags.FlagValues()
    evaluate.define_flags(flag_values)
    assert flag_values["checkpoint"].parser.enum_values == list(CHECKPOINTS)
    assert flag_values["split"].parser.enum_values == list(held_out.SPLITS)
    assert set(held_out.SPLITS) == {*Splits._fields} - {"report"}
    defaults = flag_values["checkpoint"].default, flag_values["split"].default
    assert defaults == ("best", "test")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--workdir=nowhere"], 1, "there is no run directory"),
        ([], 2, "--workdir is required"),
        (["--workdir=x", "--split=valid"], 2, "split"),
        (
            ["--workdir=x", "--max_sentences=-1"],
            2,
            "--max_sentences takes a whole number of at least 0, got '-1'",
        ),
        (["--workdir=x", "--output=."], 2, "--output: '.' is a folder, not a file"),
    ],
)
def test_errors_are_one_line(arguments, status, message, capsys):
    assert run(*arguments) == status
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_named_before_any_work(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    argv = ["evaluate", "--workdir=nowhere", f"--output={tmp_path}/x.json"]
    status = command_line.run(
        evaluate.main, evaluate.define_flags, required=("workdir",), argv=argv
    )
    assert status == 2
    assert f"--output: the folder '{tmp_path}' cannot be" in capsys.readouterr().err
