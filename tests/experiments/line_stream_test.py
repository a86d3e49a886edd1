import errno
import io

import pytest

from experiments import line_stream
from experiments.line_stream import LONGEST_LINE, Line, answer_lines


def as_it_is(line):
    return line.text


def upper(first, texts):
    return [text.upper() for text in texts]


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


def test_answers_that_cannot_be_written_are_counted():
    class Full(io.BytesIO):
        def flush(self):
            if self.getvalue().count(b"\n") > 1:
                raise OSError(errno.ENOSPC, "No space left on device")

    given = Arrivals(b"a\n", b"b\nc\n")
    with pytest.raises(OSError, match="standard output, from input line 2 on: No spa"):
        answer_lines(given, Full(), as_it_is, upper)


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
    answer_lines(io.BytesIO(given), sink, as_it_is, upper)
    assert sink.getvalue() == expected


def test_each_arrival_is_answered_before_the_next_is_read():
    sink = Sink()
    answered = []

    class Conversation(Arrivals):
        def read1(self, size):
            answered.append(sink.flushed[-1] if sink.flushed else b"")
            return super().read1(size)

    answer_lines(Conversation(b"a\n", b"b\nc", b"c\n"), sink, as_it_is, upper)
    assert answered == [b"", b"A\n", b"A\nB\n", b"A\nB\nCC\n"]


def test_lines_are_numbered_across_arrivals():
    numbers = []

    def record(first, texts):
        numbers.append((first, len(texts)))
        return texts

    prepared = []

    def prepare(line):
        prepared.append(line.number)
        return line.text

    answer_lines(Arrivals(b"a\nb\n", b"c\nd", b"\n"), Sink(), prepare, record)
    assert numbers == [(1, 2), (3, 1), (4, 1)] and prepared == [1, 2, 3, 4]


def test_there_may_be_several_answers_to_a_line():
    sink = Sink()
    answer_lines(io.BytesIO(b"a\nb\n"), sink, as_it_is, lambda first, texts: texts * 2)
    assert sink.getvalue() == b"a\nb\na\nb\n"


def test_characters_may_arrive_in_pieces():
    sink = Sink()
    pieces = [bytes([byte]) for byte in "星期二\n三".encode()]
    answer_lines(Arrivals(*pieces), sink, as_it_is, upper)
    assert sink.getvalue().decode() == "星期二\n三\n"


def test_what_is_held_does_not_grow_with_the_stream():
    longest = 0

    def record(first, texts):
        nonlocal longest
        longest = max(longest, sum(map(len, texts)))
        return texts

    sink = Sink()
    answer_lines(io.BytesIO(b"0123456789\n" * 100_000), sink, as_it_is, record)
    assert sink.getvalue().count(b"\n") == 100_000
    assert longest <= 65_536


def test_a_byte_order_mark_before_the_first_line_is_dropped():
    sink = Sink()
    mark = "\ufeff".encode()
    answer_lines(
        Arrivals(mark[:1], mark[1:] + b"a\n", mark + b"b\n"), sink, as_it_is, upper
    )
    assert sink.getvalue() == b"A\n" + mark + b"B\n"


def test_a_line_that_is_not_utf_8_is_named_after_the_earlier_ones_are_written():
    sink = Sink()
    with pytest.raises(ValueError, match="^input line 3: not UTF-8 at byte 2$"):
        answer_lines(Arrivals(b"a\n", b"b\nc\xff\nd\n"), sink, as_it_is, upper)
    assert sink.getvalue() == b"A\nB\n"


def test_a_refused_line_ends_the_stream_after_the_earlier_ones():
    def refuse(line):
        if line.text == "c":
            raise ValueError(f"line {line.number} is too long")
        return line.text

    sink = Sink()
    with pytest.raises(ValueError, match="^line 3 is too long$"):
        answer_lines(Arrivals(b"a\n", b"b\nc\nd\n"), sink, refuse, upper)
    assert sink.getvalue() == b"A\nB\n"


@pytest.mark.parametrize("character", ["b", "机"])
def test_of_an_endless_line_the_beginning_is_kept(character):
    """And the lines after it are lines again."""
    number = 3 * LONGEST_LINE // len(character.encode())
    data = f"a\n{character * number}\nz\n".encode()
    lines = []

    def record(line):
        lines.append(line)
        return line.text[:3]

    sink = Sink()
    answer_lines(io.BytesIO(data), sink, record, upper)
    assert sink.getvalue().decode() == f"A\n{character.upper() * 3}\nZ\n"
    assert lines[0] == Line(1, "a", 0) and lines[2] == Line(3, "z", 0)
    assert lines[1].text == character * (LONGEST_LINE // len(character.encode()))
    assert lines[1].cut == 2 * LONGEST_LINE


def test_a_cut_does_not_excuse_bad_bytes():
    data = b"ok\n\xff" + b"b" * (2 * LONGEST_LINE)
    with pytest.raises(ValueError, match="^input line 2: not UTF-8 at byte 1$"):
        answer_lines(io.BytesIO(data), Sink(), as_it_is, upper)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_character_that_is_cut_is_left_out(monkeypatch, kept):
    monkeypatch.setattr(line_stream, "LONGEST_LINE", 4 + kept)
    sink = Sink()
    answer_lines(io.BytesIO("abcd𠮷𠮷\nb\n".encode()), sink, as_it_is, upper)
    assert sink.getvalue() == b"ABCD\nB\n"
