"""Every peer that can be imported computes what we compute, or says that it cannot."""

import importlib.util

import jax
import numpy as np
import pytest

from attention_jax.benchmarking import gate, peers
from attention_jax.benchmarking.candidates import (
    HEADS_FIRST,
    HEADS_LAST,
    MERGED,
    OverBudget,
    Unsupported,
    own,
)
from attention_jax.benchmarking.cases import PASSES, Case, make_inputs
from attention_jax.benchmarking.torch_peers import torch_eager
from attention_jax.benchmarking.torch_scores import SCORES
from attention_jax.benchmarking.workload_masks import causal, full, padded, window
from tests.benchmarking.cases import workload

PEERS = peers.peer_names()
# The others are for the environment of `make peers`.
INSTALLED = [
    name
    for name in PEERS
    if importlib.util.find_spec(peers.peers.get(name).module.split(".")[0])
]
BUDGET = 2**30

# A library's own warnings and promotions are its business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("lenient")]


def check(prepare, case):
    inputs = make_inputs(case)
    prepared = prepare(case, inputs, BUDGET)
    actual = prepared.read(prepared.run())
    right = gate.expected(case, inputs)
    assert set(actual) == set(right)
    for name, array in actual.items():
        assert array.shape == right[name].shape, name
    error, where = gate.largest_error(actual, right)
    assert error <= gate.tolerance(case), where


@pytest.fixture
def lenient():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(params=INSTALLED)
def peer(request):
    peers.load(request.param)
    return peers.peers.get(request.param)


def test_what_this_project_requires_is_measured_without_more():
    assert {"jax_nn", "flax_nnx"} <= set(INSTALLED)


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize(
    "mask",
    [
        causal,
        padded,
        pytest.param(full, marks=pytest.mark.full),
        pytest.param(window, marks=pytest.mark.full),
    ],
    ids=lambda mask: mask.name,
)
def test_agrees_on_every_mask(peer, mask, which):
    case = Case(workload(T=8, S=8, mask=mask), "scaled_dot", which=which)
    try:
        check(peer.prepare, case)
    except NotImplementedError:
        assert (peer.name, which) == ("torch_flex", "gradient")


@pytest.mark.parametrize("leading", [(), (3,)])
def test_agrees_without_heads(peer, leading):
    check(peer.prepare, Case(workload(leading=leading, T=8, S=8), "scaled_dot"))


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(
    "score", [pytest.param("dot", marks=pytest.mark.full), "bilinear", "additive"]
)
def test_agrees_on_the_translators_scores(peer, score, prepared):
    one = workload(leading=(3,), mask=padded, prepared=prepared)
    try:
        check(peer.prepare, Case(one, score))
    except Unsupported as error:
        assert "has no score" in str(error) or peer.name == "keras"


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid"])
@pytest.mark.parametrize("which", PASSES)
def test_eager_torch_agrees(score, normalizer, which):
    pytest.importorskip("torch")
    case = Case(workload(mask=padded), score, normalizer, which=which)
    check(torch_eager, case)


def test_eager_torch_keeps_to_its_budget():
    case = Case(workload(), "additive")
    with pytest.raises(OverBudget, match="GiB"):
        torch_eager(case, make_inputs(case), 100)


@pytest.mark.parametrize("name", PEERS)
def test_what_a_peer_does_not_have_is_unsupported(name):
    case = Case(workload(), "scaled_dot", "sparsemax")
    with pytest.raises(
        (Unsupported, ImportError), match=r"has no normaliser|No module"
    ):
        peers.peers.get(name).prepare(case, make_inputs(case), BUDGET)


def test_a_library_that_is_not_there_is_named():
    peers.register_peer("nobody", module="no_such_module", package="none")(own("auto"))
    try:
        with pytest.raises(Unsupported, match="cannot import no_such_module"):
            peers.load("nobody")
    finally:
        del peers.peers.entries["nobody"]


@pytest.mark.parametrize("layout", [HEADS_FIRST, HEADS_LAST, MERGED])
@pytest.mark.parametrize("leading", [(), (3,), (3, 2)])
def test_layouts_give_back_what_they_took(layout, leading):
    array = np.random.default_rng(0).standard_normal((*leading, 5, 4))
    given = layout.give(array)
    assert given.flags.c_contiguous
    np.testing.assert_array_equal(layout.take(given, array.shape), array)


def test_own_keys_prepared_beforehand_are_given_as_such():
    one = workload(leading=(3,), prepared=True)
    case = Case(one, "bilinear")
    inputs = make_inputs(case)
    text = own("reference")(case, inputs, BUDGET)
    with_keys = own("reference")(
        Case(workload(leading=(3,)), "bilinear"), inputs, BUDGET
    )
    assert text.xla["flops"] < with_keys.xla["flops"]
    check(own("reference"), case)
    jax.block_until_ready(text.run())
