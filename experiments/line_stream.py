"""Translating a stream line by line, in memory that does not grow with it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

_READ = 65_536
_LONGEST = 1_048_576


class ByteSource(Protocol):
    """What of a binary stream is used: a read that returns as soon as it has bytes."""

    def read1(self, size: int, /) -> bytes: ...


class ByteSink(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


def translate_lines(
    source: ByteSource,
    sink: ByteSink,
    translate: Callable[[Sequence[str]], Sequence[str]],
) -> None:
    """Writes the translation of each line of `source`, in order, one line each.

    Whatever has arrived is translated together and written at once: a file goes through in
    large batches, and a program that waits for each answer gets it. Lines end with a line
    feed; a carriage return before it is dropped. The last one need not end.

    Raises:
      ValueError: a line is not UTF-8 or longer than 1 MiB, after the lines before it have
        been written; or `translate` refused one. Names the line.
    """
    number = 0
    for lines in _arriving(source):
        texts: list[str] = []
        wrong = None
        for line in lines:
            if isinstance(line, ValueError):
                wrong = line
                break
            try:
                texts.append(line.removesuffix(b"\r").decode("utf-8"))
            except UnicodeDecodeError as error:
                wrong = ValueError(f"not UTF-8 at byte {error.start + 1}")
                break
        if texts:
            try:
                outputs = translate(texts)
            except ValueError as error:
                raise ValueError(
                    f"input lines {number + 1} to {number + len(texts)}: {error}"
                ) from error
            sink.write("".join(f"{text}\n" for text in outputs).encode("utf-8"))
            sink.flush()
        number += len(texts)
        if wrong is not None:
            raise ValueError(f"input line {number + 1}: {wrong}")


def _arriving(source: ByteSource) -> Iterator[list[bytes | ValueError]]:
    """The complete lines that each read brings, without their line feeds."""
    rest = b""
    while data := source.read1(_READ):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _LONGEST:
            yield [*lines, ValueError(f"longer than {_LONGEST:,} bytes")]
            return
        if lines:
            yield [*lines]
    if rest:
        yield [rest]
