"""The benchmark programs: flags, files, exit status. Measures the smallest workloads only."""

import json

import jax
import pytest

from attention_jax.attention import implementation_names, kernels
from attention_jax.config import ModelConfig
from benchmarks.workloads import WORKLOADS
from experiments import benchmark_attention, benchmark_training, cli

QUICK = ("--workloads=decode_step", "--scores=dot", "--peers=none", "--repeats=2")


def run(*arguments, program=benchmark_attention):
    name = program.__name__.rpartition(".")[2]
    return cli.run(program.main, program.define_flags, argv=[name, *arguments])


def test_lists_every_workload(capsys):
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [w.name for w in WORKLOADS]


def test_measures_writes_and_prints(tmp_path, capsys):
    output = tmp_path / "new.json"
    assert run(*QUICK, f"--output={output}") == 0
    out, err = capsys.readouterr()
    result = json.loads(output.read_text())
    assert result["complete"] and len(result["cases"]) == 1
    assert {row["status"] for row in result["cases"][0]["rows"]} == {"measured"}
    for name in implementation_names():
        assert f"\n{name} " in out
    assert err == "1/1 decode_step dot softmax float32 forward\n"

    assert run(f"--input={output}") == 0
    table = capsys.readouterr().out
    assert out.endswith(table)
    assert table.startswith("| case | auto | reference | chunked |\n")


def test_a_wrong_kernel_of_ours_is_exit_status_1(capsys, monkeypatch):
    def doubled(operands, options):
        rows = kernels.get("reference")(operands, options)
        return rows._replace(context=rows.context + rows.context)

    monkeypatch.setitem(kernels.entries, "doubled", doubled)
    assert run(*QUICK, "--implementations=auto,doubled") == 1
    out, err = capsys.readouterr()
    assert "doubled: wrong: the context is off by 1.0e+00" in out
    assert "doubled on decode_step dot" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--workloads=dot_25"],
            "--workloads: unknown workload or tag 'dot_25'. Did you",
        ),
        (["--scores=dott"], "--scores: unknown score 'dott'. Did you mean 'dot'?"),
        (["--budget_gib=nan"], "--budget_gib must be a finite number, got nan"),
        (["--normalizers=softmx"], "--normalizers: unknown normalizer 'softmx'. Did"),
        (
            ["--implementations=chunk"],
            "--implementations: unknown implementation 'chunk'.",
        ),
        (["--passes=backward"], "--passes: unknown pass 'backward'"),
        (["--dtypes=float23"], "--dtypes: unknown dtype 'float23'. Did you mean"),
        (["--baselines=torch"], "--baselines: unknown baseline 'torch'. Did you mean"),
        (["--baseline=jaxnn"], "--relative_to: unknown candidate 'jaxnn'. Did you"),
        (["--implementations=none", "--peers=none"], "nothing to measure"),
        (["--workloads=decode_step", "--passes=gradient"], "nothing to measure"),
        (["--repeats=0"], "repeats"),
        (["--output=no/where.json"], "--output: the folder 'no' does not exist"),
        (["--input=gone.json"], "--input: 'gone.json': No such file"),
    ],
)
def test_errors_are_one_line_before_any_work(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        benchmark_attention, "benchmark", lambda *_, **__: pytest.fail("work")
    )
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1
    assert not out


def test_a_training_step_is_timed_with_each_score(tmp_path, capsys, monkeypatch):
    model = ModelConfig(
        readout="tanh", embedding_size=5, encoder_size=4, decoder_size=8
    )
    monkeypatch.setattr(benchmark_training, "MODEL", model)
    monkeypatch.setattr(benchmark_training, "BATCH_SIZE", 2)
    monkeypatch.setattr(benchmark_training, "SOURCE_VOCABULARY", 9)
    monkeypatch.setattr(benchmark_training, "TARGET_VOCABULARY", 9)
    output = tmp_path / "steps.json"
    arguments = ("--scores=bilinear,none", "--repeats=2", f"--output={output}")
    kept = jax.config.jax_enable_compilation_cache
    try:
        assert run(*arguments, program=benchmark_training) == 0
    finally:
        jax.config.update("jax_enable_compilation_cache", kept)
    steps = json.loads(output.read_text())["steps"]
    assert list(steps) == ["bilinear", "none"]
    assert steps["bilinear"]["parameters"] > steps["none"]["parameters"]
    assert steps["bilinear"]["ratio"] == 1
    for row in steps.values():
        rate = 2 * benchmark_training.TARGET_LENGTH / row["seconds"]["median"]
        assert row["target_tokens_per_second"] == pytest.approx(rate)
    assert "target tokens/s" in capsys.readouterr().out

    wrong = "--scores=dot,adative"
    assert run(wrong, program=benchmark_training) == 2
    assert "--scores: unknown score 'adative'. Did you" in capsys.readouterr().err
