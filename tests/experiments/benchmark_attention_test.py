"""The program: flags, files, exit status. Measures the smallest workloads only."""

import json

import pytest

from attention_jax.attention import implementation_names, kernels
from attention_jax.benchmarking import harness, machine, workload_names
from attention_jax.benchmarking.report import summary_lines
from experiments import benchmark_attention, cli
from experiments.benchmark_display import BenchmarkDisplay
from tests.benchmarking.length_figure_test import results

QUICK = ("--workloads=decode_step", "--scores=dot", "--peers=none", "--repeats=2")


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    monkeypatch.setattr(machine, "PEAK_SIZES", (64,))


def run(*arguments):
    return cli.run(
        benchmark_attention.main,
        benchmark_attention.define_flags,
        argv=["benchmark_attention", *arguments],
    )


def test_lists_every_workload(capsys):
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(workload_names())


def test_measures_writes_prints_and_compares(tmp_path, capsys):
    output = tmp_path / "new.json"
    assert run(*QUICK, f"--output={output}") == 0
    out, err = capsys.readouterr()
    result = json.loads(output.read_text())
    assert result["complete"] and len(result["cases"]) == 1
    assert {row["status"] for row in result["cases"][0]["rows"]} == {"measured"}
    for name in implementation_names():
        assert f"\n{name} " in out
    assert f"wrote {output}" in out
    assert err == "1/1 decode_step dot softmax float32 forward\n"

    assert run(f"--input={output}", f"--compare={output}") == 0
    out = capsys.readouterr().out
    assert "0 of 3 slower" in out and "1.00" in out


def test_a_summary_is_one_table(tmp_path, capsys):
    source = tmp_path / "r.json"
    whole = results()
    source.write_text(json.dumps(whole))
    assert run(f"--input={source}", "--summary") == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| case | ") and set(rule) == {"|", "-"}
    assert len(rows) == len(whole["cases"])
    assert len({line.count("|") for line in (head, rule, *rows)}) == 1

    case = whole["cases"][0]
    fast, slow, wrong = ({**case["rows"][0], "candidate": name} for name in "abc")
    fast["seconds"] = {"median": 0.0123}
    fast["memory"] = {"bytes": 2_500_000, "by": "xla"}
    del slow["seconds"]
    slow |= {"status": "compiled", "memory": {"bytes": 999, "by": "resident"}}
    wrong["status"] = "wrong"
    case = case | {"workload": "w", "score": "f.py:mine", "normalizer": "sigmoid"}
    case |= {"dtype": "float32", "pass": "forward", "rows": [fast, slow, wrong]}
    assert summary_lines({"cases": [case]}) == [
        "| case | a | b |",
        "|---|---|---|",
        "| w mine sigmoid forward | 12.3 ms, 2.5 MB | 999 B* |",
    ]


def test_draws_a_file_of_results(tmp_path, capsys):
    source, figure = tmp_path / "r.json", tmp_path / "r.svg"
    whole = results()
    for case in whole["cases"]:
        case["rows"] = [
            row
            | {"ratio": 1.0, "peak_fraction": 0.5, "error": 0.0}
            | {"lowering_seconds": None, "compile_seconds": None}
            for row in case["rows"]
        ]
    source.write_text(json.dumps(whole))
    assert run(f"--input={source}", f"--figure={figure}") == 0
    assert figure.stat().st_size > 1000
    assert f"wrote {figure}" in capsys.readouterr().out


def test_a_wrong_kernel_of_ours_is_exit_status_1(capsys, monkeypatch):
    def doubled(operands, options):
        rows = kernels.get("reference")(operands, options)
        return rows._replace(context=rows.context + rows.context)

    monkeypatch.setitem(kernels.entries, "doubled", doubled)
    assert run(*QUICK, "--implementations=auto,doubled") == 1
    out, err = capsys.readouterr()
    assert "doubled: wrong: the context is off by 1.0e+00" in out
    assert "benchmark_attention: doubled on decode_step dot" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--workloads=dot_25"],
            "--workloads: unknown workload or tag 'dot_25'. Did you",
        ),
        (["--scores=dott"], "--scores: unknown score 'dott'. Did you mean 'dot'?"),
        (["--budget_gib=nan"], "--budget_gib must be a finite number, not nan"),
        (
            ["--normalizers=softmx"],
            "--normalizers: unknown normalizer 'softmx'. Did you",
        ),
        (
            ["--implementations=chunk"],
            "--implementations: unknown implementation 'chunk'.",
        ),
        (["--passes=backward"], "--passes: unknown pass 'backward'"),
        (
            ["--dtypes=float23"],
            "--dtypes: unknown dtype 'float23'. Did you mean 'float32'",
        ),
        (["--peers=torch"], "--peers: unknown peer 'torch'. Did you mean 'torch_"),
        (
            ["--baseline=jaxnn"],
            "--baseline: unknown candidate 'jaxnn'. Did you mean 'jax_nn'",
        ),
        (["--workloads=,"], "--workloads"),
        (["--implementations=none", "--peers=none"], "nothing to measure"),
        (
            ["--workloads=decode_step", "--passes=gradient"],
            "nothing to measure: decode_step without a gradient",
        ),
        (["--repeats=-1"], "--repeats takes"),
        (["--output=no/where.json"], "--output: the folder 'no' does not exist"),
        (["--output=."], "--output: '.' is a folder, not a file"),
        (["--figure=f.gif"], "--figure: a figure is saved as one of .png"),
        (
            ["--figure=f.png", "--workloads=dot_256"],
            "--figure: a figure against length needs two or more",
        ),
        (["--compare=gone.json"], "--compare: 'gone.json': No such file"),
        (["--input=gone.json"], "--input: 'gone.json': No such file"),
        (["--input=a.json", "--output=b.json"], "--output is for what is measured"),
        (["--workload=dot_256"], "unknown flag --workload; did you mean --workloads"),
    ],
)
def test_errors_are_one_line_before_any_work(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness, "measure_case", lambda *_: pytest.fail("work"))
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1
    assert not out


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_terminal_shows_one_changing_line():
    file = Terminal()
    with BenchmarkDisplay(file=file) as display:
        display({"event": "unavailable", "peer": "keras", "reason": "not here"})
        display({"event": "case", "number": 1, "total": 2, "name": "w"})
        display({"event": "step", "text": "timing " + 99 * "x"})
    lines = file.text.replace("\x1b[2K", "").replace("\r", "\n").splitlines()
    assert "keras is left out: not here" in lines
    assert file.text.endswith("\r\x1b[2K")
    assert max(map(len, lines)) <= 79
