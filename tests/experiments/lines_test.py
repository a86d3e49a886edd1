"""Lines of a stream: in order, numbered, whole, and answered as they arrive."""

import io

import pytest

from attention_jax.errors import UserError
from experiments import lines
from experiments.lines import LONGEST_LINE, arriving_lines, decode


class Arrivals:
    """A stream whose reads return given pieces, one each."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read1(self, size):
        return self.pieces.pop(0) if self.pieces else b""


def text(number, data):
    return decode(number, data, where=f"line {number}")


def texts(*pieces):
    found = arriving_lines(Arrivals(*pieces), text)
    return [one for _, several in found for one in several]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        # Only a line feed ends a line.
        ("a\u2028b\x0bc\x85\n".encode(), ["a\u2028b\x0bc\x85"]),
        # A byte order mark before the first line is dropped.
        ("\ufeffà\n\ufeffb\n".encode(), ["à", "\ufeffb"]),
    ],
)
def test_a_text_for_each_line_however_it_arrives(given, expected):
    assert texts(given) == expected
    assert texts(*(bytes([byte]) for byte in given)) == expected


def test_each_arrival_is_handed_out_before_the_next_is_read():
    stream = Arrivals(b"a\nb\n", b"c\nd", b"\n")
    found = []
    for first, several in arriving_lines(stream, text):
        found.append((first, several, len(stream.pieces)))
    assert found == [(1, ["a", "b"], 2), (3, ["c"], 1), (4, ["d"], 0)]


def test_what_is_held_does_not_grow_with_the_stream():
    found = arriving_lines(
        io.BufferedReader(io.BytesIO(b"0123456789\n" * 99_999)), text
    )
    sizes = [sum(map(len, several)) for _, several in found]
    assert sum(sizes) == 999_990 and max(sizes) <= 65_536


def test_a_line_that_is_not_utf_8_is_named_after_the_earlier_ones():
    found = arriving_lines(Arrivals(b"a\n", b"b\nc\xff\nd\n"), text)
    assert [next(found), next(found)] == [(1, ["a"]), (2, ["b"])]
    with pytest.raises(UserError, match="^line 3: not UTF-8 at byte 2$"):
        next(found)


@pytest.mark.parametrize("character", ["b", "机"])
def test_of_an_endless_line_the_beginning_is_kept(character):
    """And the lines after it are lines again."""
    data = f"a\n{character * (3 * LONGEST_LINE)}\nz\n".encode()
    stream = io.BufferedReader(io.BytesIO(data))
    first, long, last = [
        t for _, several in arriving_lines(stream, text) for t in several
    ]
    assert (first, last) == ("a", "z")
    assert long == character * (LONGEST_LINE // len(character.encode()))


def test_a_character_that_is_cut_is_left_out(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 6)
    assert texts("abcd𠮷𠮷\nb\n".encode()) == ["abcd", "b"]
