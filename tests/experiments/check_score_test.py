"""`python -m experiments.check_score`: its table, its exit status, its mistakes."""

import json

import pytest

from attention_jax.testing.checks import CHECKS
from experiments import check_score
from tests.experiments.programs import runner
from tests.markdown import ROOT

MINE = """
def good(query, keys):
    return keys @ query

def column(query, keys):
    return (keys @ query)[:, None]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with mine.py."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


run = runner(check_score, positional="REFERENCE...")


def test_a_table_what_to_do_next_and_status_0(folder, capsys):
    assert run("mine.py:good", "--checks=shape") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0] == "good: 3 passed"
    assert lines[3].split(maxsplit=2) == ["shape", "passed", "[S] for S = 0, 1, 7, 11"]


def test_one_failure_among_several_is_status_1_and_in_the_file(folder, capsys):
    status = run(
        "dot", "mine.py:column", "--checks=dtype,shape", "--output=checked.json"
    )
    assert status == 1
    out, _ = capsys.readouterr()
    assert "column: 2 passed, 1 failed (shape), 1 skipped" in out
    assert "Next, for `shape`: reduce over the features alone, axis=-1;" in out
    assert out.endswith("wrote checked.json\n")
    dot, column = json.loads((folder / "checked.json").read_text())
    assert (dot["reference"], dot["ok"]) == ("dot", True)
    assert (column["reference"], column["ok"]) == ("mine.py:column", False)
    assert column["checks"][2]["found"] == "0 keys gave [0, 1], not [0]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a score: a registered name, FILE.py:FUNCTION or MODULE:FUNCTION"),
        (["dott"], "unknown score 'dott'. Did you mean 'dot'?"),
        (["dot", "mine.py:goood"], "'goood'. Did you mean 'good'?"),
        (["mine.py"], "name its function, mine.py:FUNCTION. The file defines good"),
        (["dot", "--checks=shap"], "unknown check 'shap'. Did you mean 'shape'?"),
        (["dot", "--query_size=0"], "--query_size"),
        (["dot", "--output=no/where.json"], "--output: the folder 'no' does not"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(folder, capsys, arguments, message):
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


def test_the_list_and_the_page_have_every_check(capsys):
    assert run("--list") == 0
    listed = " ".join(capsys.readouterr().out.split())
    page = (ROOT / "experiments/README.md").read_text(encoding="utf-8")
    rows = [f"| `{check.name}` | {check.promise} |" for check in CHECKS]
    assert "\n".join(rows) in page
    for check in CHECKS:
        assert f"{check.name} {check.promise}" in listed
