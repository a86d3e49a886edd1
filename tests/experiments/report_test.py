import json
import re

import pytest

from experiments import cli, report
from tests.evaluation.made_runs import make_run
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


def run(*arguments):
    return cli.run(
        report.main,
        report.define_flags,
        required=("workdir", "output"),
        argv=["report", *arguments],
    )


def data_of(path):
    page = path.read_text("utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_a_report_of_a_run(workdir, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert run(f"--workdir={workdir}", f"--output={output}", "--max_sentences=12") == 0
    assert f"wrote {output}, " in capsys.readouterr().out
    data = data_of(output)
    assert [score["name"] for score in data["scores"]][:2] == ["BLEU", "chrF2"]
    assert [curve["title"] for curve in data["curves"]] == [
        "training cross-entropy",
        "dev cross-entropy",
        "dev BLEU, 20 sentences",
    ]
    assert data["curves"][0]["x"] == [80, 160]
    assert len(data["sentences"]) == 12 == sum(b["sentences"] for b in data["lengths"])
    one = data["sentences"][0]
    assert len(one["source"].split()) == one["length"] == len(one["map"]["source"])
    assert 0 < one["confidence"] <= 1 and one["entropy"] >= 0
    assert {row[0] for row in data["environment"]} >= {"commit", "split hash", "jax"}
    assert ["data.task", "reverse"] in data["config"]
    assert all(statistic["value"] is not None for statistic in data["statistics"])


def test_attention_is_held_against_links_from_a_file(workdir, tmp_path, capsys):
    links, output = tmp_path / "links.txt", tmp_path / "report.html"
    links.write_text("0-0\n0-0 0?1\n")
    arguments = (f"--workdir={workdir}", f"--output={output}", "--max_sentences=2")
    assert run(*arguments, f"--alignments={links}") == 0
    scores = {score["name"]: score for score in data_of(output)["scores"]}
    rate = scores["alignment error rate ↓"]
    assert f"2 sure ones known from {links}" in rate["signature"]
    links.write_text("0-0\n0-99\n")
    assert run(*arguments, f"--alignments={links}") == 2
    assert f"{links}, line 2: the link 0-99 is outside" in capsys.readouterr().err


def test_without_metrics_and_without_translations(
    workdir, tmp_path, monkeypatch, capsys
):
    """What is missing is left out and said."""
    from attention_jax.decoding.translate import NOTHING
    from attention_jax.run import Run
    from attention_jax.training.run_directory import RunDirectory

    monkeypatch.setattr(
        Run,
        "decode_n_best",
        lambda self, texts, n, first_id=0: [[NOTHING]] * len(texts),
    )
    make = RunDirectory.__init__

    def without_metrics(self, path):
        make(self, path)
        self.metrics_path = tmp_path / "nothing.jsonl"

    monkeypatch.setattr(RunDirectory, "__init__", without_metrics)
    output = tmp_path / "report.html"
    assert run(f"--workdir={workdir}", f"--output={output}") == 0
    data = data_of(output)
    assert data["curves"] == []
    assert "no sentence was translated by any word" in data["notes"]
    assert all(one["map"] is None for one in data["sentences"])
    assert all(one["value"] is None for one in data["statistics"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir=a", "--output=a.pdf"), "--output takes a .html file, got 'a.pdf'"),
        (("--workdir=a", "--output=no/such/a.html"), "does not exist"),
        (("--output=a.html",), "--workdir is required"),
    ],
)
def test_a_wrong_command_line(arguments, message, capsys):
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_run_without_a_checkpoint(tmp_path, capsys):
    workdir = make_run(tmp_path / "run")
    assert run(f"--workdir={workdir}", f"--output={tmp_path / 'a.html'}") == 1
    assert "has no codecs.json" in capsys.readouterr().err
