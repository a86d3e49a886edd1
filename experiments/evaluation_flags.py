"""The flags of `evaluate` that say which runs, which bins and which files."""

import types
from typing import TYPE_CHECKING

from absl import flags

from experiments.arguments import UsageError

if TYPE_CHECKING:
    from attention_jax.training.run_directory import RunDirectory


def define_runs(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, which may be repeated, --baseline and --max_sentences."""
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "A run's directory, or a folder of such; may be repeated.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "baseline",
        None,
        "The run that the others are tested against, by paired bootstrap.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "max_sentences",
        0,
        "Only the first so many; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )


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


def run_directories(arguments: types.SimpleNamespace) -> "dict[str, RunDirectory]":
    """The runs by name, the baseline first if there is one.

    Raises:
      UsageError: a run is given twice, or --baseline alone.
      OSError: a directory is not there, or holds no run.
    """
    from attention_jax.evaluation import run_comparison
    from attention_jax.training.run_directory import RunDirectory

    paths = [
        found
        for path in arguments.workdir
        for found in run_comparison.run_directories(path)
    ]
    if arguments.baseline is not None:
        baseline = run_comparison.run_directories(arguments.baseline)
        if len(baseline) > 1:
            raise UsageError(
                f"--baseline takes one run; {arguments.baseline} holds {len(baseline)}"
            )
        # A folder of runs may hold it too.
        same = baseline[0].resolve()
        paths = [path for path in paths if path.resolve() != same]
        if not paths:
            raise UsageError(
                f"--baseline={arguments.baseline} is the run to be tested itself"
            )
        paths = [*baseline, *paths]
    try:
        names = run_comparison.brief_paths(paths)
    except ValueError as error:
        raise UsageError(f"--workdir: {error}") from error
    return {n: RunDirectory(path) for n, path in zip(names, paths, strict=True)}
