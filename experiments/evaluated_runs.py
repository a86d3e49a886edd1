"""Which runs `evaluate` measures, and against which: flags, and the directories they name."""

import pathlib
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from attention_jax.errors import UserError
from experiments import run_flags

if TYPE_CHECKING:
    from attention_jax.run import Run
    from attention_jax.training.run_directory import RunDirectory


def define_runs(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, which may be repeated, the baseline's flags and --max_sentences."""
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
    flags.DEFINE_string(
        "baseline_search",
        None,
        "The search of the baseline, which is then the run itself unless --baseline is "
        "given: greedy, beam or sample. Flags about one search are the others' alone.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "max_sentences",
        0,
        "Only the first so many; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )


def has_baseline(arguments: types.SimpleNamespace) -> bool:
    """Whether the first run is what the others are tested against."""
    return arguments.baseline is not None or arguments.baseline_search is not None


class NamedRun(NamedTuple):
    """A run to measure; `search` is its own where the flags do not say it."""

    name: str
    directory: "RunDirectory"
    search: str | None = None


def run_directories(arguments: types.SimpleNamespace) -> list[NamedRun]:
    """The runs, the baseline first if there is one.

    Raises:
      UserError: a run is given twice, a baseline that is no other system, or an unknown
        --baseline_search.
      OSError: a directory is not there, or holds no run.
    """
    from attention_jax.evaluation.run_comparison import brief_paths
    from attention_jax.training.run_directory import RunDirectory

    search = arguments.baseline_search
    paths = _expand(arguments.workdir)
    try:
        brief_paths(paths)
    except ValueError as error:
        raise UserError(f"--workdir: {error}") from error
    baseline = _baseline(arguments, paths)
    # A folder of runs may hold the baseline too.
    paths = [
        path
        for path in paths
        if path not in baseline or (search and _searched_otherwise(path, arguments))
    ]
    if not paths and search:
        raise UserError(
            f"--baseline_search={search} is how the run itself searches: there is "
            "nothing to compare"
        )
    if not paths:
        raise UserError(
            f"--baseline={arguments.baseline} is the run to be tested itself; "
            "--baseline_search compares a run with itself, searched otherwise"
        )
    distinct = list(dict.fromkeys([*baseline, *paths]))
    names = dict(zip(distinct, brief_paths(distinct), strict=True))
    first = [
        NamedRun(
            f"{names[path]}, {search}" if search else names[path],
            RunDirectory(path),
            search,
        )
        for path in baseline
    ]
    return first + [NamedRun(names[path], RunDirectory(path)) for path in paths]


def with_search_named(name: str, run: "Run") -> str:
    """The run's name beside that of a baseline which is searched otherwise."""
    from attention_jax.evaluation.report import describe_search

    return f"{name}, {describe_search(run.config.decoding)}"


def _searched_otherwise(path: pathlib.Path, arguments: types.SimpleNamespace) -> bool:
    """Whether the run's search, by the flags, is another than the baseline's."""
    from attention_jax.training.run_directory import RunDirectory

    config = RunDirectory(path).load_config()
    own, others = (
        run_flags.with_search_of(config, arguments, search=search).decoding
        for search in (None, arguments.baseline_search)
    )
    return own != others


def _baseline(
    arguments: types.SimpleNamespace, paths: Sequence[pathlib.Path]
) -> Sequence[pathlib.Path]:
    """One path, or none; UserError where there are several."""
    from attention_jax.decoding.searches import searches
    from attention_jax.errors import UnknownNameError

    if arguments.baseline_search is not None:
        try:
            searches.get(arguments.baseline_search)
        except UnknownNameError as error:
            raise UserError(f"--baseline_search: {error.args[0]}") from error
    given = [] if arguments.baseline_search is None else paths
    if arguments.baseline is not None:
        given = _expand([arguments.baseline])
    if len(given) > 1:
        raise UserError(
            f"the baseline must be one run, and there are {len(given)}; name it by "
            "--baseline"
        )
    return given


def _expand(paths: Sequence[str]) -> list[pathlib.Path]:
    """Each path, or the runs in it, without symbolic links.

    Raises:
      UserError: a path is empty, which would be the current folder.
    """
    if "" in paths:
        raise UserError("--workdir and --baseline take a directory, got an empty one")
    from attention_jax.evaluation import run_comparison

    found = [run for path in paths for run in run_comparison.run_directories(path)]
    return [path.resolve() for path in found]
