import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.evaluation.alignment_error_rate import alignment_error_rate
from attention_jax.evaluation.pharaoh import (
    Alignment,
    format_alignment,
    parse_alignment,
    read_alignments,
)

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
    assert found.to_dict()["error_rate"] == found.error_rate


def test_nothing_has_no_rate():
    none = alignment_error_rate([])
    assert none.error_rate is none.precision is none.recall is None


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
@given(links, links)
def test_writing_and_reading(sure, possible):
    read = parse_alignment(format_alignment(sure, possible))
    assert read == Alignment(sure, sure | possible)


def test_files(tmp_path):
    path = tmp_path / "gold.txt"
    path.write_text("0-0 1?2\n\n2-1\n", encoding="utf-8")
    first, second, third = read_alignments(path)
    assert first == Alignment({(0, 0)}, {(0, 0), (1, 2)})
    assert second == Alignment(set(), set()) and third.sure == {(2, 1)}
    path.write_text("0-0\n0-0 1:1", encoding="utf-8")
    with pytest.raises(ValueError, match="gold.txt, line 2: '1:1' is no link"):
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
    with pytest.raises(FileNotFoundError, match="--alignments: no file .*Did you mean"):
        read_alignments(tmp_path / "gold.tx", field="--alignments")


@pytest.mark.parametrize("text", ["-1-0", "0-", "a-b", "0-0,1-1", "0-1-2", "1.0-2"])
def test_what_is_no_link(text):
    with pytest.raises(ValueError, match="is no link: expected source-target, from 0"):
        parse_alignment(text)


def test_words_without_a_known_link_can_only_be_wrong():
    gold = parse_alignment("0-0 1?1")
    rate = alignment_error_rate([({(0, 0), (0, 1), (2, 2), (1, 3)}, gold)])
    assert (rate.found_known, rate.highest_precision) == (2, 0.5)
    assert rate.precision == 0.25
    assert alignment_error_rate([]).highest_precision is None
