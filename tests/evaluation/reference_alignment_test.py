"""Attention's links in forced references against known ones."""

import pytest

from attention_jax.evaluation import held_out
from attention_jax.evaluation.attention_links import attention_links
from attention_jax.evaluation.pharaoh import Alignment
from attention_jax.evaluation.reference_alignment import (
    MisplacedLinkError,
    reference_alignment,
)
from attention_jax.run import Run, load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return RunDirectory(tiny_run(tmp_path_factory))


@pytest.fixture(scope="module")
def run(directory):
    return load_run(directory.path)


@pytest.fixture(scope="module")
def pairs(directory):
    return held_out.load_split(directory, "test")[:12]


@pytest.fixture(scope="module")
def gold(run, pairs):
    return [held_out.known_alignment(run, pair) for pair in pairs]


def test_a_run_that_has_learnt_to_reverse_looks_at_the_right_word(run, pairs, gold):
    found = reference_alignment(run, pairs, gold)
    assert found.error_rate < 0.2 and found.precision > 0.8 and found.recall > 0.8
    # Every word has one link, and every pair counts.
    assert found.pairs == 12
    assert found.found == found.sure == sum(len(p.target.split()) for p in pairs)


def test_the_links_are_those_of_the_forced_references(run, pairs, gold):
    own = [attention_links(one.weights) for one in run.force(pairs)]
    perfect = [Alignment(sure=links, possible=links) for links in own]
    assert reference_alignment(run, pairs, perfect).error_rate == 0
    # The step after a word looks at the next word's source.
    shifted = reference_alignment(run, pairs, perfect, shift=1)
    assert shifted.error_rate > 0.5


def test_a_pairs_own_links_are_the_default_of_evaluate(run, pairs, gold):
    own = held_out.evaluate(run, pairs)
    assert own.aligned == reference_alignment(run, pairs, gold)
    assert own.to_dict()["aligned"]["error_rate"] == own.aligned.error_rate
    nothing = [Alignment(sure=frozenset(), possible=frozenset())] * len(pairs)
    given = held_out.evaluate(run, pairs, alignments=nothing, shift=1)
    assert given.aligned.sure == 0 and given.aligned.recall is None
    assert given.to_dict()["aligned"]["shift"] == 1


def test_links_of_a_piece_with_several_words_are_possible_ones(run, monkeypatch):
    # Two words to one, one to two, two to two, and one to one.
    blocks = [((0, 1), (0,)), ((2,), (1, 2)), ((3, 4), (3, 4)), ((5,), (5,))]
    links = {(s, t) for sources, targets in blocks for s in sources for t in targets}
    monkeypatch.setattr(held_out, "known_links", lambda run, pair: links)
    found = held_out.known_alignment(run, None)
    assert found.sure == {(5, 5)} and found.possible == links


def test_what_does_not_fit(run, pairs, gold):
    with pytest.raises(ValueError, match="gold must be 12, one a pair, got 1"):
        reference_alignment(run, pairs, gold[:1])
    words = len(pairs[1].source.split())
    outside = Alignment(sure=frozenset(), possible=frozenset({(words, 0)}))
    with pytest.raises(
        MisplacedLinkError,
        match=f"line 2: the link {words}-0 is outside the pair's {words} source",
    ):
        reference_alignment(run, pairs, [gold[0], outside, *gold[2:]])


def test_a_link_outside_its_pair_is_found_before_any_translation(
    run, pairs, monkeypatch
):
    monkeypatch.setattr(Run, "decode", None)
    outside = Alignment(sure=frozenset({(0, 99)}), possible=frozenset({(0, 99)}))
    with pytest.raises(MisplacedLinkError, match="line 1: the link 0-99"):
        held_out.evaluate(run, pairs, alignments=[outside] * len(pairs))
