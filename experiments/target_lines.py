"""Translations that are given, read in step with the sentences they are of."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import BinaryIO

from absl import flags

from experiments import search_flags
from experiments.arguments import UsageError
from experiments.line_stream import LONGEST_LINE


def define_targets(flag_values: flags.FlagValues) -> None:
    """Defines --targets."""
    flags.DEFINE_string(
        "targets",
        None,
        "UTF-8 file with a translation of each line: forced on the decoder instead of "
        "being searched for, for their --scores and --alignments.",
        flag_values=flag_values,
    )


def check_targets(arguments: types.SimpleNamespace) -> None:
    """Raises UsageError for what does nothing beside --targets."""
    if arguments.targets is None:
        return
    searched = [name for name in search_flags.given(arguments) if name != "batch_size"]
    searched += ["n_best"] * (arguments.n_best > 1)
    if searched:
        raise UsageError(
            f"--targets gives the translations, and leaves --{searched[0]} nothing to "
            "search for"
        )


@contextlib.contextmanager
def target_lines(path: str, check: Callable[[str], None]) -> Iterator["TargetLines"]:
    """The file's lines; after the block there must be none left.

    `check` raises ValueError for a line that cannot be used.

    Raises:
      OSError: the file cannot be read; names the flag.
      ValueError: it has more lines than were read.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the block below
    except OSError as error:
        raise OSError(f"--targets: {path}: {error.strerror}") from error
    with file:
        lines = TargetLines(path, file, check)
        yield lines
        lines.finish()


class TargetLines:
    """The lines of an open file, read one by one and handed out a few at a time."""

    def __init__(self, path: str, file: BinaryIO, check: Callable[[str], None]):
        self._path = path
        self._check = check
        self._file = file
        self._number = 0
        self._read: list[str] = []

    def read(self) -> None:
        """Reads the next line.

        Raises:
          ValueError: there is none, it is not UTF-8, or `check` refuses it.
        """
        data = self._file.readline(LONGEST_LINE + 1)
        if not data:
            raise ValueError(
                f"--targets: {self._path} ends after line {self._number:,}, and the "
                "input goes on"
            )
        self._number += 1
        where = f"--targets: {self._path}, line {self._number}"
        if len(data) > LONGEST_LINE:
            raise ValueError(f"{where}: more than {LONGEST_LINE:,} bytes")
        try:
            text = data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 at byte {error.start + 1}") from error
        text = text.removeprefix("\ufeff") if self._number == 1 else text
        try:
            self._check(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        self._read.append(text)

    def take(self, number: int) -> list[str]:
        """The first `number` lines of those read and not yet taken."""
        taken, self._read = self._read[:number], self._read[number:]
        return taken

    def finish(self) -> None:
        """Raises ValueError if there are lines left."""
        if self._file.read(1):
            raise ValueError(
                f"--targets: {self._path} has more lines than the input, which has "
                f"{self._number:,}"
            )
