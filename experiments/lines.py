"""Sentences of a stream, a line each, in memory that does not grow."""

import codecs
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from attention_jax.errors import UserError

# Bytes of a line that are kept.
LONGEST_LINE = 1_048_576
_READ = 65_536

T = TypeVar("T")


class Stream(Protocol):
    """What is used of a binary stream: a read that returns as soon as it has bytes."""

    def read1(self, size: int, /) -> bytes: ...


def arriving_lines(
    stream: Stream, prepare: Callable[[int, bytes], T]
) -> Iterator[tuple[int, list[T]]]:
    """The number of the first line, and the lines, that each read of a stream completes.

    A file comes in large batches, and a program that waits for each answer gets it. Lines
    end with a line feed; the last one need not end.

    Args:
      stream: read until its end.
      prepare: (number, the line's beginning) -> what is made of it. Its UserErrors are
        raised after the lines before have been handed out.
    """
    number, rest, data = 1, b"", b"\n"
    while data:
        data = stream.read1(_READ)
        *ended, rest = (rest + data).split(b"\n")
        if not data and rest:
            ended = [rest]
        # Enough to know that a line goes on.
        rest = rest[: LONGEST_LINE + 1]
        found: list[T] = []
        error = None
        for line in ended:
            try:
                found.append(prepare(number + len(found), line))
            except UserError as wrong:
                error = wrong
                break
        if found:
            yield number, found
        if error is not None:
            raise error
        number += len(found)


def decode(number: int, data: bytes, *, where: str) -> str:
    """The line's text, without a carriage return and a byte order mark; a long one is cut.

    Raises:
      UserError: it is not UTF-8; begins with `where`.
    """
    cut = len(data) > LONGEST_LINE
    if not cut:
        data = data.removesuffix(b"\r")
    try:
        # A character that the cut has gone through is left out.
        text, _ = codecs.utf_8_decode(data[:LONGEST_LINE], "strict", not cut)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start + 1}") from error
    return text.removeprefix("\ufeff") if number == 1 else text
