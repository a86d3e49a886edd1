"""What is done with a line that has too many words: an error, a cut or a gap."""

import sys
from collections.abc import Callable, Sequence

from absl import flags

from experiments.line_stream import Line

CHOICES = ("error", "cut", "skip")


def define_long_lines(flag_values: flags.FlagValues) -> None:
    """Defines --max_source_length and --long_lines."""
    flags.DEFINE_integer(
        "max_source_length",
        1_000,
        "Tokens that a line may have, of --targets too.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "long_lines",
        CHOICES[0],
        CHOICES,
        "What becomes of longer lines: an error that ends the program, a translation of "
        "their beginning, or an empty line; each is reported.",
        flag_values=flag_values,
    )


class LongLines:
    """Cuts lines to `longest` tokens, as `policy` says, and reports each on stderr."""

    def __init__(
        self,
        policy: str,
        longest: int,
        ends: Callable[[str], Sequence[int]],
        *,
        fits: int,
    ):
        """What is done with which lines.

        Args:
          policy: one of CHOICES.
          longest: tokens that a line may have.
          ends: for each token of a text, the offset where it ends.
          fits: tokens that there is memory for.
        """
        self.policy = policy
        self.longest = min(longest, fits)
        self._limit = f"more than --max_source_length={longest}"
        if fits < longest:
            self._limit = f"and this search has memory for {fits:,}"
        self.ends = ends
        self.seen = 0

    def __call__(self, line: Line) -> str:
        """What is to be translated of the line.

        Raises:
          ValueError: it is too long, and the policy is `error`.
        """
        # Most lines have fewer characters than a long one has tokens.
        if not line.cut and len(line.text) <= self.longest:
            return line.text
        ends = self.ends(line.text)
        if not line.cut and len(ends) <= self.longest:
            return line.text
        many = "over " if line.cut else ""
        what = f"input line {line.number}: {many}{len(ends):,} tokens"
        limit = self._limit
        if len(ends) <= self.longest:
            # What was kept of the line has few tokens, one of them perhaps without end.
            limit = f"of {len(line.text):,} characters, more than a line may have"
        if self.policy == "error":
            raise ValueError(
                f"{what}, {limit}; --long_lines=cut or --long_lines=skip goes on"
            )
        self.seen += 1
        done = (
            "left empty" if self.policy == "skip" else "only its beginning translated"
        )
        print(f"{what}, {limit}: {done}", file=sys.stderr)
        return (
            ""
            if self.policy == "skip"
            else line.text[: ends[: self.longest][-1] if ends else 0]
        )
