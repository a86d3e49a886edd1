"""Sentences from standard input or a file, a line each, in memory that does not grow."""

import codecs
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, TypeVar

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
      prepare: (number, the line's first LONGEST_LINE bytes) -> what is made of it. Its
        UserErrors are raised after the lines before have been handed out.
    """
    number, rest = 1, b""
    for data in iter(lambda: stream.read1(_READ), b""):
        *ended, rest = (rest + data).split(b"\n")
        # Enough to know that a line goes on.
        rest = rest[: LONGEST_LINE + 1]
        yield from _prepared(number, ended, prepare)
        number += len(ended)
    if rest:
        yield from _prepared(number, [rest], prepare)


def _prepared(
    number: int, lines: list[bytes], prepare: Callable[[int, bytes], T]
) -> Iterator[tuple[int, list[T]]]:
    found: list[T] = []
    error = None
    for line in lines:
        try:
            found.append(prepare(number + len(found), line[: LONGEST_LINE + 1]))
        except UserError as wrong:
            error = wrong
            break
    if found:
        yield number, found
    if error is not None:
        raise error


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


class Shorten:
    """Cuts a text after its `longest`-th token, and reports it on stderr."""

    def __init__(self, longest: int, ends: Callable[[str], list[int]]):
        self._longest = longest
        # For each token of a text, the offset where it ends.
        self._ends = ends

    def __call__(self, text: str, *, where: str) -> str:
        """The beginning of the text."""
        # Most lines have fewer characters than a long one has tokens.
        if len(text) <= self._longest:
            return text
        ends = self._ends(text)
        if len(ends) <= self._longest:
            return text
        print(
            f"warning: {where}: {len(ends):,} tokens, only the first {self._longest:,} "
            "are translated",
            file=sys.stderr,
        )
        return text[: ends[self._longest - 1]]


@contextlib.contextmanager
def target_lines(
    path: str, check: Callable[[str], None]
) -> Iterator[Callable[[], str]]:
    """Reads the next line of a file of translations; after the block none may be left.

    Args:
      path: the file.
      check: raises UserError for a line that cannot be used.

    Raises:
      UserError: the file cannot be read; or it has more lines than were read, or fewer.
    """
    number = 0
    try:
        file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by the block below
    except OSError as error:
        raise UserError(f"--targets: {path}: {error.strerror}") from error

    def read() -> str:
        nonlocal number
        data = file.readline(LONGEST_LINE + 2)
        if not data:
            raise UserError(
                f"--targets: {path} ends after line {number:,}, and the input goes on"
            )
        number += 1
        where = f"--targets: {path}, line {number}"
        data = data.removesuffix(b"\n")
        if len(data) > LONGEST_LINE:
            raise UserError(f"{where}: more than {LONGEST_LINE:,} bytes")
        text = decode(number, data, where=where)
        try:
            check(text)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        return text

    with file:
        yield read
        if file.read(1):
            raise UserError(
                f"--targets: {path} has more lines than the input, which has {number:,}"
            )
