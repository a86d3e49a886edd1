import json
import re
import shutil

import pytest

from attention_jax.decoding.translate import NOTHING
from attention_jax.run import Run
from experiments import report
from tests.experiments.programs import runner

run = runner(report, required=("workdir", "output"))


def sentences_of(path):
    page = path.read_text("utf-8")
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found.group(1))


def test_a_report_of_a_run(workdir, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert run(f"--workdir={workdir}", f"--output={output}", "--max_sentences=12") == 0
    assert f"wrote {output}, " in capsys.readouterr().out
    page = output.read_text("utf-8")
    for text in ("BLEU", "chrF2", "split hash", "commit", "data.task", "monotonicity"):
        assert f">{text}</th>" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    sentences = sentences_of(output)
    assert len(sentences) == 12
    one = sentences[0]
    assert len(one["source"].split()) == one["length"] == len(one["map"]["source"])
    assert 0 < one["confidence"] <= 1 and one["entropy"] >= 0


def test_without_metrics_and_without_translations(workdir, tmp_path, monkeypatch):
    """What is missing is left out and noted."""
    empty = [[NOTHING]]
    monkeypatch.setattr(
        Run, "decode_n_best", lambda self, texts, n, first_id=0: empty * len(texts)
    )
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / "metrics.jsonl").unlink()
    output = tmp_path / "report.html"
    assert run(f"--workdir={copy}", f"--output={output}") == 0
    page = output.read_text("utf-8")
    assert "directory has no metrics" in page and "every translation is empty" in page
    assert all(one["map"] is None for one in sentences_of(output))


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
