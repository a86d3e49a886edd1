import io

import pytest

from experiments.line_stream import translate_lines


def upper(sentences):
    return [sentence.upper() for sentence in sentences]


class Arrivals:
    """A stream whose reads return given pieces, one each."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read1(self, size):
        return self.pieces.pop(0) if self.pieces else b""


class Sink(io.BytesIO):
    def __init__(self):
        super().__init__()
        self.flushed = []

    def flush(self):
        self.flushed.append(self.getvalue())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", b""),
        (b"a\nb\n", b"A\nB\n"),
        (b"a\nb", b"A\nB\n"),
        (b"\n\na\n\n", b"\n\nA\n\n"),
        (b"a\r\nb\r\n", b"A\nB\n"),
        ("à\n星期\n".encode(), "À\n星期\n".encode()),
        # Only a line feed ends a line.
        ("a\u2028b\x0bc\x85\n".encode(), "A\u2028B\x0bC\x85\n".encode()),
    ],
)
def test_a_line_for_each_line(given, expected):
    sink = Sink()
    translate_lines(io.BytesIO(given), sink, upper)
    assert sink.getvalue() == expected


def test_each_arrival_is_answered_before_the_next_is_read():
    sink = Sink()
    answered = []

    class Conversation(Arrivals):
        def read1(self, size):
            answered.append(sink.flushed[-1] if sink.flushed else b"")
            return super().read1(size)

    translate_lines(Conversation(b"a\n", b"b\nc", b"c\n"), sink, upper)
    assert answered == [b"", b"A\n", b"A\nB\n", b"A\nB\nCC\n"]


def test_characters_may_arrive_in_pieces():
    sink = Sink()
    pieces = [bytes([byte]) for byte in "星期二\n三".encode()]
    translate_lines(Arrivals(*pieces), sink, upper)
    assert sink.getvalue().decode() == "星期二\n三\n"


def test_what_is_held_does_not_grow_with_the_stream():
    longest = 0

    def record(sentences):
        nonlocal longest
        longest = max(longest, sum(map(len, sentences)))
        return sentences

    sink = Sink()
    translate_lines(io.BytesIO(b"0123456789\n" * 100_000), sink, record)
    assert sink.getvalue().count(b"\n") == 100_000
    assert longest <= 65_536


def test_a_line_that_is_not_utf_8_is_named_after_the_earlier_ones_are_written():
    sink = Sink()
    with pytest.raises(ValueError, match="^input line 3: not UTF-8 at byte 2$"):
        translate_lines(Arrivals(b"a\n", b"b\nc\xff\nd\n"), sink, upper)
    assert sink.getvalue() == b"A\nB\n"


def test_an_endless_line_is_refused():
    sink = Sink()
    pieces = [b"a\n", *[b"b" * 65_536] * 40]
    source = Arrivals(*pieces)
    with pytest.raises(ValueError, match="^input line 2: longer than 1,048,576 bytes"):
        translate_lines(source, sink, upper)
    assert sink.getvalue() == b"A\n"
    assert len(source.pieces) > 20


def test_a_refused_sentence_is_placed():
    def refuse(sentences):
        if "c" in sentences:
            raise ValueError("sentence 2 has 20000 tokens")
        return sentences

    with pytest.raises(ValueError, match="^input lines 2 to 3: sentence 2 has"):
        translate_lines(Arrivals(b"a\n", b"b\nc\n"), Sink(), refuse)
