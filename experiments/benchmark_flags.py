"""The flags of `benchmark_attention`, and the plan they mean."""

import math
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax.errors import UserError
from experiments.outputs import check_output, check_picture

if TYPE_CHECKING:
    from attention_jax.benchmarking import Plan

LISTS = (
    ("workloads", "quick", "Names or tags of workloads, or all; --list shows them."),
    (
        "scores",
        "",
        "Scores, all, or FILE.py:FUNCTION; by default each workload's own.",
    ),
    ("normalizers", "softmax", "Normalisers, all, or FILE.py:FUNCTION."),
    ("implementations", "all", "Implementations of ours, all or none."),
    ("passes", "forward,gradient", "forward, and gradient for forward and backward."),
    ("dtypes", "float32", "Any of float32, bfloat16, float16, float64."),
    ("peers", "all", "Others to compare with: names, all that are installed, or none."),
)

FILES = (
    ("output", "A JSON file for the results."),
    ("figure", "A .png, .pdf or .svg file for time and memory against length."),
    ("compare", "Older results: a table of what became slower since."),
    ("input", "Results to print, draw or compare; nothing is measured."),
)

# What the values of a flag are, for errors.
KINDS = {
    "implementations": "implementation",
    "passes": "pass",
    "dtypes": "dtype",
    "peers": "peer",
    "baseline": "candidate",
}


def define(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    for name, default, text in LISTS:
        flags.DEFINE_list(name, default, text, flag_values=flag_values)
    flags.DEFINE_integer(
        "repeats",
        10,
        "Interleaved rounds; 0 compiles every candidate and runs none.",
        lower_bound=0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "max_seconds",
        60.0,
        "No further round of a case begins after so long, beyond the first three.",
        lower_bound=0.0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "budget_gib",
        4.0,
        "What needs more memory than this is left out, with the reason.",
        lower_bound=0.0,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "baseline", "auto", "The candidate that ratios are to.", flag_values=flag_values
    )
    flags.DEFINE_integer("seed", 0, "Of the arrays.", flag_values=flag_values)
    for name, text in FILES:
        flags.DEFINE_string(name, None, text, flag_values=flag_values)
    flags.DEFINE_boolean(
        "summary",
        False,
        "End with one Markdown table, a row a case; with --input print nothing else.",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "list", False, "List the workloads and stop.", flag_values=flag_values
    )


def check_files(arguments: types.SimpleNamespace) -> None:
    """Raises UserError unless --output and --figure could be written."""
    if arguments.input and arguments.output:
        raise UserError("--output is for what is measured; --input measures nothing")
    check_output(arguments.output)
    if arguments.figure:
        check_picture(arguments.figure)


def read(flag: str, path: str | None) -> dict[str, Any] | None:
    """The results in a file that a flag names, None if it was not given.

    Raises:
      UserError: there is no such file, or it holds something else.
    """
    from attention_jax.benchmarking.results import read_result

    if not path:
        return None
    try:
        return read_result(path)
    except OSError as error:
        raise UserError(f"--{flag}: {path!r}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"--{flag}: {error}") from error


def plan(arguments: types.SimpleNamespace) -> "Plan":
    """What the flags ask for.

    Raises:
      UserError: a name is unknown; says which flag, and the nearest name.
    """
    from attention_jax.attention import implementation_names
    from attention_jax.benchmarking import Plan, select_workloads
    from attention_jax.benchmarking.cases import DTYPES, PASSES
    from attention_jax.benchmarking.length_figure import check_workloads
    from attention_jax.benchmarking.peers import peer_names
    from attention_jax.functions.normalizer import get_normalizer, normalizer_names
    from attention_jax.functions.score import get_score, score_names

    def chosen(flag: str, known: Sequence[str]) -> tuple[str, ...]:
        return _named(flag, lambda: _expand(flag, getattr(arguments, flag), known))

    for flag in ("max_seconds", "budget_gib"):
        if not math.isfinite(value := getattr(arguments, flag)):
            raise UserError(f"--{flag} must be a finite number, not {value}")
    scores = tuple(arguments.scores)
    scores = score_names() if scores == ("all",) else scores
    normalizers = tuple(arguments.normalizers)
    normalizers = normalizer_names() if normalizers == ("all",) else normalizers
    _named("scores", lambda: [get_score(score) for score in scores])
    _named("normalizers", lambda: [get_normalizer(one) for one in normalizers])
    workloads = _named("workloads", lambda: select_workloads(arguments.workloads))
    if arguments.figure:
        _named("figure", lambda: check_workloads(workloads))
    implementations = chosen("implementations", implementation_names())
    peers = chosen("peers", peer_names())
    if not (implementations or peers):
        raise UserError("nothing to measure: no implementation and no peer")
    candidates = (*implementation_names(), *peer_names())
    _named("baseline", lambda: _expand("baseline", [arguments.baseline], candidates))
    found = Plan(
        workloads=workloads,
        implementations=implementations,
        scores=scores,
        normalizers=normalizers,
        passes=chosen("passes", PASSES),
        dtypes=chosen("dtypes", DTYPES),
        peers=peers,
        repeats=arguments.repeats,
        max_seconds=arguments.max_seconds,
        budget=int(arguments.budget_gib * 2**30),
        baseline=arguments.baseline,
        seed=arguments.seed,
    )
    if not found.cases():
        names = ", ".join(workload.name for workload in workloads)
        raise UserError(f"nothing to measure: {names} without a gradient")
    return found


def _expand(flag: str, given: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """`given`, with all and none for every and no known name.

    Raises:
      UnknownNameError: a name is not known.
    """
    from attention_jax.errors import unknown_name

    if list(given) == ["all"]:
        return tuple(known)
    if list(given) == ["none"]:
        return ()
    for name in given:
        if name not in known:
            raise unknown_name(KINDS[flag], name, known)
    return tuple(dict.fromkeys(given))


def _named(flag: str, find: Callable[[], Any]) -> Any:
    """What `find` returns; the errors of its checks name the flag."""
    try:
        return find()
    except (LookupError, TypeError, ValueError) as error:
        message = error.args[0] if error.args else error
        raise UserError(f"--{flag}: {message}") from error
