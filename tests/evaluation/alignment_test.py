"""Alignments: files of them, attention's links, AER, argmax accuracy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.errors import UserError
from attention_jax.evaluation import alignment
from attention_jax.evaluation.alignment import (
    Alignment,
    alignment_accuracy,
    alignment_error_rate,
    attention_links,
    format_alignment,
    gold_alignment,
    parse_alignment,
    read_alignments,
    reference_alignment,
)
from attention_jax.evaluation.evaluate import evaluate, load_split
from attention_jax.run import Run, SentenceAttention, load_run
from attention_jax.training.run_directory import RunDirectory
from tests.tiny_run import tiny_run

links = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)))


def test_the_rates():
    """Two pairs: A = {00, 11, 21} and {01}; S = {00, 22}, {}; P = S + {11}, {00}."""
    found = alignment_error_rate(
        [
            ({(0, 0), (1, 1), (2, 1)}, parse_alignment("0-0 2-2 1?1")),
            ({(0, 1)}, parse_alignment("0?0")),
        ]
    )
    assert found.precision == 2 / 4 and found.recall == 1 / 2
    assert found.error_rate == 1 - (1 + 2) / (4 + 2)
    assert (found.pairs, found.found, found.sure) == (2, 4, 2)
    assert found.rates["error_rate"] == found.error_rate


@settings(deadline=None)
@given(links, links, links)
def test_between_0_and_1_and_0_exactly_for_a_perfect_alignment(found, sure, possible):
    gold = Alignment(sure, possible)
    rate = alignment_error_rate([(found, gold)]).error_rate
    if rate is None:
        assert not found and not sure
        return
    assert 0 <= rate <= 1
    assert (rate == 0) == (sure <= found <= sure | possible)
    # With sure links alone it is 1 - F1.
    plain = alignment_error_rate([(found, Alignment(sure, sure))])
    hits = len(found & sure)
    assert plain.error_rate == pytest.approx(1 - 2 * hits / (len(found) + len(sure)))


@settings(deadline=None)
@given(links)
def test_writing_and_reading(sure):
    assert parse_alignment(format_alignment(sure)) == Alignment(sure, sure)


def test_files(tmp_path):
    path = tmp_path / "gold.txt"
    path.write_text("0-0 1?2\n\n2-1\n", encoding="utf-8")
    first, second, third = read_alignments(path)
    assert first == Alignment({(0, 0)}, {(0, 0), (1, 2)})
    assert second == Alignment(set(), set()) and third.sure == {(2, 1)}
    path.write_text("0-0\n0-0 1:1", encoding="utf-8")
    with pytest.raises(ValueError, match="gold.txt, line 2: '1:1' is not a link"):
        read_alignments(path)
    path.write_bytes(b"0-0\n\xff")
    with pytest.raises(
        ValueError, match="gold.txt, line 2: not UTF-8 at byte 4 of the file"
    ):
        read_alignments(path)
    path.write_text("", encoding="utf-8")
    assert read_alignments(path) == []
    path.write_bytes(b"\xef\xbb\xbf0-0\r\n1-1\r\n")
    assert [one.sure for one in read_alignments(path)] == [{(0, 0)}, {(1, 1)}]
    with pytest.raises(UserError, match="--alignments: no file .*Did you mean"):
        read_alignments(tmp_path / "gold.tx", field="--alignments")


@pytest.mark.parametrize(
    "text", ["-1-0", "0-", "a-b", "0-0,1-1", "0-1-2", "1.0-2", "1" * 5_000 + "-0"]
)
def test_text_that_is_not_a_link(text):
    with pytest.raises(
        ValueError, match="is not a link: expected source-target, from 0"
    ):
        parse_alignment(text)


WEIGHTS = np.array([[0.1, 0.9, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])


def test_each_token_is_linked_to_its_argmax():
    assert attention_links(WEIGHTS) == {(1, 0), (0, 1)}
    assert attention_links(np.zeros((0, 3))) == set()
    assert attention_links(np.zeros((2, 0))) == set()
    with pytest.raises(ValueError, match="weights must not be NaN, got 1"):
        attention_links(np.array([[0.5, np.nan]]))


def sentence(weights, tokens):
    return SentenceAttention((), tuple(tokens), np.array(weights))


def accuracy(hits, words, chance):
    share = hits / words if words else None
    return {"hits": hits, "words": words, "chance": chance, "share": share}


def test_a_hit_is_a_linked_token_that_is_the_argmax():
    weights = [[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.2, 0.2, 0.6]]
    links = {(1, 0), (2, 0), (2, 1)}  # the third token has none
    found = alignment_accuracy([(sentence(weights, "abc"), links)])
    assert found["phrases"] == 1
    assert found["all_words"] == accuracy(1, 2, 0.5)


def test_tokens_with_digits_count_apart():
    one = sentence(np.eye(4)[:3], ["2024", "May", "12.5"])
    found = alignment_accuracy([(one, {(0, 0), (3, 1), (2, 2)})])
    assert found["all_words"] == accuracy(2, 3, 0.25)
    assert found["words_without_digits"] == accuracy(0, 1, 0.25)


@pytest.mark.parametrize(
    ("row", "links", "hits"),
    [
        ([0.0, 0.0, 0.0], {(0, 0), (1, 0), (2, 0)}, 0),  # attends to nothing
        ([1 / 3, 1 / 3, 1 / 3], {(0, 0)}, 0),  # uniform
        ([0.5, 0.5, 0.0], {(0, 0), (1, 0)}, 1),  # a tie, both linked
        ([0.5, 0.5, 0.0], {(0, 0), (2, 0)}, 0),
    ],
)
def test_no_token_scores_by_the_order_of_the_source(row, links, hits):
    found = alignment_accuracy([(sentence([row], "a"), links)])["all_words"]
    assert (found["hits"], found["words"]) == (hits, 1)


def test_without_linked_tokens_there_is_no_share():
    for sentences in ([], [(sentence([[1.0, 0.0]], "a"), set())]):
        found = alignment_accuracy(sentences)
        assert found["all_words"] == accuracy(0, 0, 0.0)
        assert found["phrases"] == len(sentences)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(tiny_run(tmp_path_factory))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return load_split(RunDirectory(tiny_run(tmp_path_factory)), "test")[:12]


@pytest.fixture(scope="module")
def gold(run, pairs):
    return [gold_alignment(run, pair) for pair in pairs]


def test_a_run_that_has_learnt_to_reverse_attends_to_the_right_token(run, pairs, gold):
    found = reference_alignment(run, pairs, gold)
    assert found.error_rate < 0.2 and found.precision > 0.8 and found.recall > 0.8
    # Every token has one link, and every pair counts.
    assert found.pairs == 12
    assert found.found == found.sure == sum(len(p.target.split()) for p in pairs)


def test_the_links_are_those_of_the_forced_references(run, pairs):
    own = [attention_links(one.weights) for one in run.force(pairs)]
    perfect = [Alignment(sure=links, possible=links) for links in own]
    assert reference_alignment(run, pairs, perfect).error_rate == 0


def test_a_pairs_own_links_are_the_default_of_evaluate(run, pairs, gold):
    own = evaluate(run, pairs)
    assert own.aligned == reference_alignment(run, pairs, gold)
    assert own.to_dict()["aligned"]["error_rate"] == own.aligned.error_rate
    nothing = [Alignment(sure=frozenset(), possible=frozenset())] * len(pairs)
    given = evaluate(run, pairs, alignments=nothing)
    assert given.aligned.sure == 0 and given.aligned.recall is None


def test_links_of_a_piece_with_several_tokens_are_possible_ones(run, monkeypatch):
    # Two tokens to one, one to two, two to two, and one to one.
    blocks = [((0, 1), (0,)), ((2,), (1, 2)), ((3, 4), (3, 4)), ((5,), (5,))]
    links = {(s, t) for sources, targets in blocks for s in sources for t in targets}
    monkeypatch.setattr(alignment, "gold_links", lambda run, pair: links)
    found = gold_alignment(run, None)
    assert found.sure == {(5, 5)} and found.possible == links


def test_gold_alignments_that_do_not_fit(run, pairs, gold, monkeypatch):
    words = len(pairs[1].source.split())
    outside = Alignment(sure=frozenset(), possible=frozenset({(words, 0)}))
    # Before any translation.
    monkeypatch.setattr(Run, "decode", None)
    wrong = f"line 2: the link {words}-0 is outside the pair's {words} source"
    with pytest.raises(UserError, match=wrong):
        evaluate(run, pairs, alignments=[gold[0], outside, *gold[2:]])
    with pytest.raises(UserError, match="gold must be 12, one a pair, got 1"):
        evaluate(run, pairs, alignments=gold[:1])
