"""A run that version 0.1.0's first code made (commit 8334016) loads, and can be gone on with."""

import dataclasses
import json
import pathlib
import tarfile

import jax
import numpy as np
import pytest

from attention_jax import load_run
from attention_jax.data.pairs import Pair
from attention_jax.experiment import run_experiment

HERE = pathlib.Path(__file__).parent / "former_run"
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(HERE / "run.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "run"


def assert_params(params, expected):
    found = {
        jax.tree_util.keystr(path): [np.sum(leaf), np.sum(np.square(leaf))]
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    assert found.keys() == expected.keys()
    for name, sums in found.items():
        np.testing.assert_allclose(sums, expected[name], rtol=1e-4, atol=1e-5)


def test_it_loads_translates_and_trains_on(workdir):
    run = load_run(workdir)
    assert_params(run.params, EXPECTED["params"])
    source = EXPECTED["sentence"]
    [decoded] = run.decode([source])
    np.testing.assert_allclose(decoded.log_prob, EXPECTED["log_prob"], rtol=1e-4)
    [forced] = run.force([Pair(source, " ".join(reversed(source.split())))])
    np.testing.assert_allclose(forced.log_prob, EXPECTED["forced"], rtol=1e-4)

    training = dataclasses.replace(run.config.training, steps=8)
    config = dataclasses.replace(run.config, training=training)
    result = run_experiment(config, workdir, allow_changed_config=True)
    assert result.step == 8
    assert_params(load_run(workdir).params, EXPECTED["params_after_8_steps"])
