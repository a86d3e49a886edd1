"""The training benchmark, and the twin that it trains where torch is installed."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from attention_jax.benchmarking import torch_twin, training_speed
from attention_jax.benchmarking.candidates import Unsupported
from attention_jax.benchmarking.score_speed import measure_scores, score_rows
from attention_jax.benchmarking.training_speed import Workload, make_batch, step_flops
from attention_jax.config import ModelConfig, TrainingConfig
from attention_jax.models.factory import build_model
from attention_jax.training.loss import mean_objective, token_sums

ROOT = pathlib.Path(__file__).parents[2]
TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
TINY = Workload(
    ModelConfig(
        score="bilinear",
        readout="tanh",
        embedding_size=5,
        encoder_size=6,
        decoder_size=7,
        readout_size=8,
    ),
    source_vocabulary=11,
    target_vocabulary=13,
    batch_size=3,
    source_length=4,
    target_length=5,
)


def model_and_params():
    sizes = TINY.source_vocabulary, TINY.target_vocabulary
    model = build_model(TINY.model, *sizes)
    return model, model.init(jax.random.key(1))


def shortened(batch):
    """The batch with sentences of several lengths, and a filler row."""
    return batch._replace(
        source_lengths=np.array([4, 2, 3], np.int32),
        target_lengths=np.array([5, 3, 0], np.int32),
    )


def loss_and_gradient(model, params, batch):
    def loss(params):
        logits = model.apply(params, batch).logits
        sums = token_sums(logits, batch.target_outputs, batch.target_lengths)
        return mean_objective(sums)

    return jax.jit(jax.value_and_grad(loss))(params)


@TORCH
@pytest.mark.parametrize("change", [lambda batch: batch, shortened])
def test_the_twin_has_our_loss_and_our_gradients(change):
    model, params = model_and_params()
    batch = change(make_batch(TINY))
    loss, gradient = loss_and_gradient(model, params, batch)
    twin = torch_twin.make_twin(TINY.model, params)
    theirs = torch_twin.twin_loss(twin, torch_twin.as_torch(batch))
    theirs.backward()
    assert float(theirs.detach()) == pytest.approx(float(loss), rel=1e-5)
    decoder, layer = gradient["decoder"], gradient["decoder"]["layers"]["layer_0"]
    pairs = [
        (twin.source_embedding.weight, gradient["encoder"]["embedding"]),
        (twin.target_embedding.weight, decoder["embedding"]),
        (twin.projection.weight, decoder["projection"].T),
        (twin.score_matrix, decoder["attention"]["params"]["w"]),
        (twin.decoder.weight_hh_l0, layer["w_hidden"].T),
        (twin.decoder.bias_ih_l0, layer["bias"]),
    ]
    for ours_there, ours in pairs:
        np.testing.assert_allclose(ours_there.grad.numpy(), ours, atol=2e-6)


@TORCH
def test_the_twin_learns_as_we_do():
    _, params = model_and_params()
    twin, batch = torch_twin.make_twin(TINY.model, params), make_batch(TINY)
    step = torch_twin.make_twin_step(twin, TrainingConfig(learning_rate=0.01))
    losses = [float(step(torch_twin.as_torch(batch))) for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]


@TORCH
def test_another_model_has_no_twin():
    _, params = model_and_params()
    with pytest.raises(Unsupported, match="model.cell=lstm, got 'gru'"):
        torch_twin.make_twin(ModelConfig(cell="gru", score="bilinear"), params)


def test_flops_are_those_of_the_products_that_xla_sees():
    # As large as to drown what is done once an element.
    workload = TINY._replace(
        model=ModelConfig(
            score="bilinear",
            readout="tanh",
            embedding_size=64,
            encoder_size=48,
            decoder_size=80,
        ),
        source_vocabulary=50,
        target_vocabulary=300,
    )
    model = build_model(workload.model, 50, 300)
    params, batch = model.init(jax.random.key(0)), make_batch(workload)
    counted = 0
    closed = jax.make_jaxpr(lambda p: model.apply(p, batch).logits)(params)
    for equation, times in _equations(closed.jaxpr, 1):
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inner = int(np.prod([left[axis] for axis in contracted]))
            counted += times * 2 * inner * equation.outvars[0].aval.size
    assert step_flops(workload) == pytest.approx(3 * counted, rel=1e-6)


def _equations(jaxpr, times):
    for equation in jaxpr.eqns:
        yield equation, times
        inner = times * equation.params.get("length", 1)
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from _equations(part, inner)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "training.json"
    sizes = "batch_size source_length target_length embedding_size encoder_size"
    command = [sys.executable, "-m", "experiments.benchmark_training", "--repeats=5"]
    command += [f"--{name}=6" for name in [*sizes.split(), "decoder_size"]]
    command += ["--source_vocabulary=20", "--target_vocabulary=20"]
    command += ["--scores=bilinear,none"]
    done = subprocess.run(
        [*command, f"--output={output}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(output.read_text())


@pytest.mark.full
def test_the_program_measures_and_prints(measured):
    text, result = measured
    ours = result["steps"]["attention_jax"]
    assert len(ours["seconds"]["samples"]) == 5
    rate = 36 / ours["seconds"]["median"]
    assert ours["target_tokens_per_second"] == pytest.approx(rate)
    assert result["translation"]["sentences_per_second"] > 0
    assert result["imports"]["attention_jax"] >= result["imports"]["jax"] * 0.5
    assert "target tokens/s" in text
    assert f"{result['parameters']:,} parameters" in text
    assert list(result["scores"]) == ["bilinear", "none"]
    assert "the step by its score" in text


@pytest.mark.full
def test_rows_name_every_library(measured):
    _, result = measured
    rows = training_speed.report_rows(result)
    assert [row[0].split()[0] for row in rows[1:]] == list(result["steps"])


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--output=nowhere/at/all.json", "the folder 'nowhere/at' does not exist"),
        ("--batch_size=0", "--batch_size"),
        ("--scores=dot,adative", "--scores: unknown score 'adative'. Did you mean"),
    ],
)
def test_bad_flags_are_one_line(flag, message):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark_training", flag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_a_step_is_timed_with_each_score():
    rows = measure_scores(TINY, ["bilinear", "additive", "none"], repeats=3)
    assert list(rows) == ["bilinear", "additive", "none"]
    _, params = model_and_params()
    ours = sum(array.size for array in jax.tree.leaves(params))
    assert rows["bilinear"]["parameters"] == ours > rows["none"]["parameters"]
    assert rows["bilinear"]["ratio"] == 1
    for row in rows.values():
        rate = TINY.batch_size * TINY.target_length / row["seconds"]["median"]
        assert row["target_tokens_per_second"] == pytest.approx(rate)
    table = score_rows(rows)
    assert [row[0] for row in table[1:]] == list(rows) and "x bilinear" in table[0]


def test_the_page_has_the_figures_of_its_file():
    file = ROOT / "experiments" / "benchmarks" / "training" / "step_2cores.json"
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    for name, row in json.loads(file.read_text("utf-8"))["steps"].items():
        [line] = [one for one in page.splitlines() if one.startswith(f"| {name}")]
        cells = [cell.strip() for cell in line.split("|")[2:6]]
        assert cells == [
            f"{row['seconds']['median']:.3f} s",
            f"{row['ratio']:.2f}",
            f"{row['target_tokens_per_second']:,.0f}",
            f"{row['peak_fraction']:.0%}".replace("%", " %"),
        ]
