"""The flags of `evaluate` that say which bins and which files."""

import types

from absl import flags

from attention_jax.errors import UserError


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
      UserError: they are not whole numbers that increase.
    """
    given = arguments.length_edges or []
    try:
        edges = tuple(int(edge) for edge in given)
    except ValueError:
        edges = ()
    if len(edges) < len(given) or list(edges) != sorted({*edges}):
        raise UserError(
            "--length_edges takes whole numbers that increase, as in 5,10,20; got "
            f"{','.join(given)!r}"
        )
    return edges
