"""Answering a stream line by line, in memory that does not grow with it."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

_READ = 65_536
# Bytes of a line that are kept; what to do with a longer one is the caller's to say.
LONGEST_LINE = 1_048_576


class ByteSource(Protocol):
    """What of a binary stream is used: a read that returns as soon as it has bytes."""

    def read1(self, size: int, /) -> bytes: ...


class ByteSink(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class Line(NamedTuple):
    """One line of the input.

    Attributes:
      number: counted from 1.
      text: the line, without its end; of a very long one the beginning.
      cut: how many bytes of it are missing.
    """

    number: int
    text: str
    cut: int


# What a line is read as. May raise ValueError, which ends the stream.
Prepare = Callable[[Line], str]
# (number of the first line, lines as prepared) -> what is to be written.
Answer = Callable[[int, Sequence[str]], Sequence[str]]


def answer_lines(
    source: ByteSource, sink: ByteSink, prepare: Prepare, answer: Answer
) -> None:
    """Writes what `answer` makes of each line of `source`, in order.

    Whatever has arrived is answered together and written at once: a file goes through in
    large batches, and a program that waits for each answer gets it. Lines end with a line
    feed; a carriage return before it is dropped, and so is a byte order mark before the
    first. The last one need not end. There may be several answers to a line.

    Raises:
      ValueError: a line is not UTF-8, or `prepare` refused it, after the lines before it
        have been answered; names the line. Or what `answer` raises.
      OSError: the answers cannot be written; says from which line on.
    """
    number = 0
    for arrived in _arriving(source):
        texts: list[str] = []
        wrong = None
        for data, cut in arrived:
            place = number + len(texts) + 1
            try:
                text = _decode(data, cut)
                if place == 1:
                    text = text.removeprefix("\ufeff")
                texts.append(prepare(Line(place, text, cut)))
            except UnicodeDecodeError as error:
                wrong = ValueError(
                    f"input line {place}: not UTF-8 at byte {error.start + 1}"
                )
                break
            except ValueError as error:
                wrong = error
                break
        if texts:
            answers = answer(number + 1, texts)
            _write(sink, answers, f"from input line {number + 1:,} on")
        number += len(texts)
        if wrong is not None:
            raise ValueError(str(wrong))


def _write(sink: ByteSink, answers: Sequence[str], where: str) -> None:
    try:
        sink.write("".join(f"{text}\n" for text in answers).encode("utf-8"))
        sink.flush()
    except BrokenPipeError:
        raise  # whoever reads has enough
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"standard output, {where}: {reason}") from error


def _decode(data: bytes, cut: int) -> str:
    if not cut:
        return data.removesuffix(b"\r").decode("utf-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # The cut may have gone through a character, which has four bytes at most.
        if error.end == len(data) and error.start > len(data) - 4:
            return data[: error.start].decode("utf-8")
        raise


def _arriving(source: ByteSource) -> Iterator[list[tuple[bytes, int]]]:
    """The lines that each read completes: what is kept of each, and the bytes left out."""
    rest, missing = b"", 0
    while data := source.read1(_READ):
        *ended, last = data.split(b"\n")
        lines = []
        for piece in ended:
            rest, missing = _grow(rest, missing, piece)
            lines.append((rest, missing))
            rest, missing = b"", 0
        rest, missing = _grow(rest, missing, last)
        if lines:
            yield lines
    if rest:
        yield [(rest, missing)]


def _grow(rest: bytes, missing: int, piece: bytes) -> tuple[bytes, int]:
    """A line's beginning with the next piece of it, up to LONGEST_LINE bytes."""
    room = LONGEST_LINE - len(rest)
    return rest + piece[:room], missing + max(0, len(piece) - room)
