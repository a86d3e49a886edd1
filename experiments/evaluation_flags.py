"""The flags of `evaluate` that say which bins, which known links and which files."""

import types
from typing import TYPE_CHECKING

from absl import flags

from experiments.arguments import UsageError

if TYPE_CHECKING:
    from attention_jax.evaluation.pharaoh import Alignment


def define_lengths(flag_values: flags.FlagValues) -> None:
    """Defines --length_bins and --length_edges."""
    flags.DEFINE_integer(
        "length_bins",
        6,
        "BLEU by source length: so many bins of about as many sentences each.",
        lower_bound=1,
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "length_edges",
        None,
        "... or bins by the longest length of each but the last: 5,10,20.",
        flag_values=flag_values,
    )


def define_alignments(flag_values: flags.FlagValues) -> None:
    """Defines --alignments and --alignment_shift."""
    flags.DEFINE_string(
        "alignments",
        None,
        "Known links to compare attention's with, a line a pair of the split, as in "
        "`0-0 1-2 1?3`, counted in the run's tokens; ? is a possible link.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "alignment_shift",
        0,
        "A word's link is the brightest of the step that predicts it, 0, or of the one "
        "after, 1.",
        lower_bound=0,
        upper_bound=1,
        flag_values=flag_values,
    )


def read_alignments(
    arguments: types.SimpleNamespace, number: int
) -> "list[Alignment] | None":
    """The alignments of the `number` pairs; None if the flag was not given.

    Raises:
      OSError, ValueError: the file cannot be read, or has another number of lines.
    """
    if arguments.alignments is None:
        return None
    from attention_jax.evaluation import pharaoh

    found = pharaoh.read_alignments(arguments.alignments)
    if len(found) != number and not (arguments.max_sentences and len(found) >= number):
        raise ValueError(
            f"{arguments.alignments} has {len(found):,} lines, but there are "
            f"{number:,} pairs in {arguments.split}: it needs a line for each"
        )
    return found[:number]


def define_files(flag_values: flags.FlagValues) -> None:
    """Defines --output, --figure and --translations."""
    for name, text in (
        ("output", "A JSON file for the figures."),
        ("figure", "BLEU by source length: a .png, .pdf or .svg file."),
        (
            "translations",
            "A file for source, reference and each run's translation, tabs between.",
        ),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)


def length_edges(arguments: types.SimpleNamespace) -> tuple[int, ...]:
    """The edges that --length_edges names; () if it was not given.

    Raises:
      UsageError: they are not whole numbers that increase.
    """
    given = arguments.length_edges or []
    try:
        edges = tuple(int(edge) for edge in given)
    except ValueError:
        edges = ()
    if len(edges) < len(given) or list(edges) != sorted({*edges}):
        raise UsageError(
            "--length_edges takes whole numbers that increase, as in 5,10,20; got "
            f"{','.join(given)!r}"
        )
    return edges


def check_figure(arguments: types.SimpleNamespace) -> None:
    """Raises UsageError if --figure could not be written."""
    if arguments.figure is None:
        return
    from attention_jax.evaluation.figures import check_path

    try:
        check_path(arguments.figure)
    except (ValueError, OSError) as error:
        raise UsageError(f"--figure: {error}") from error
