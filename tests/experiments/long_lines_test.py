"""What becomes of a line that is too long, whatever its tokens are."""

import pytest

from experiments.line_stream import Line
from experiments.long_lines import LongLines


def words(text):
    """The end of each word."""
    return [place for place in range(1, len(text) + 1) if text[place:][:1] in ("", " ")]


@pytest.mark.parametrize(
    ("text", "missing", "kept"),
    [
        ("a b", 0, "a b"),
        ("a b c d", 0, "a b"),
        # Cut by the reader, and still of fewer tokens than a line may have.
        ("a" * 50, 1_000, "a" * 50),
        ("", 1_000, ""),
    ],
)
def test_a_line_is_cut_after_its_last_whole_token(text, missing, kept, capsys):
    lines = LongLines("cut", 2, lambda t: words(t) if t else [], fits=9)
    assert lines(Line(1, text, missing)) == kept
    assert lines.seen == (kept != text or missing > 0)
    if len(text) == 50:
        assert "of 50 characters, more than a line may have" in capsys.readouterr().err


def test_what_there_is_no_memory_for_is_a_long_line_too(capsys):
    lines = LongLines("skip", 100, words, fits=2)
    assert lines(Line(1, "a b", 0)) == "a b"
    assert lines(Line(2, "a b c", 0)) == ""
    told = capsys.readouterr().err
    assert told == (
        "input line 2: 3 tokens, and this search has memory for 2: left empty\n"
    )
