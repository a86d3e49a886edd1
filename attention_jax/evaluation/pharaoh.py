"""Word alignments as text: the Pharaoh format, with sure and possible links."""

import os
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from attention_jax.data.files import read_lines

Link = tuple[int, int]

# Nine digits: a word of a sentence is none of a thousand million.
_LINK = re.compile(r"(\d{1,9})([-?])(\d{1,9})")


class Alignment(NamedTuple):
    """The links of one sentence pair, (source word, target word) counted from 0.

    Attributes:
      sure: links that must be there, S.
      possible: links that may be there, P; the sure ones among them.
    """

    sure: AbstractSet[Link]
    possible: AbstractSet[Link]


def parse_alignment(line: str) -> Alignment:
    """The alignment that a line writes: `0-0 1-2 1?3`, `-` for sure, `?` for possible.

    An empty line has no links.

    Raises:
      ValueError: something on the line is no link.
    """
    sure, possible = set(), set()
    for text in line.split():
        found = _LINK.fullmatch(text)
        if not found:
            raise ValueError(
                f"{text!r} is no link: expected source-target, from 0, as in 0-0, or "
                "source?target for a possible one"
            )
        link = int(found[1]), int(found[3])
        possible.add(link)
        if found[2] == "-":
            sure.add(link)
    return Alignment(frozenset(sure), frozenset(possible))


def format_alignment(links: Iterable[Link], possible: Iterable[Link] = ()) -> str:
    """The line that `parse_alignment` reads: links in order, sure ones and then possible.

    A link that is sure is not written again as a possible one.
    """
    sure = set(links)
    told = [f"{s}-{t}" for s, t in sorted(sure)]
    told += [f"{s}?{t}" for s, t in sorted(set(possible) - sure)]
    return " ".join(told)


def read_alignments(
    path: str | os.PathLike[str], *, field: str = "path"
) -> list[Alignment]:
    """The alignments of a file, a sentence pair a line.

    Args:
      path: the file, as `data.files.read_lines` reads it.
      field: what named it, for the messages.

    Raises:
      OSError: it cannot be read; for a missing one the message has the nearest name.
      ValueError: it is not UTF-8, or a line is no alignment; names the file and the line.
    """
    alignments = []
    for number, line in enumerate(read_lines(os.fspath(path), field=field), 1):
        try:
            alignments.append(parse_alignment(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return alignments
