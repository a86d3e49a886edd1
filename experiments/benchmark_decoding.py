"""Times translating: sentences a second of a run, by search; beside JoeyNMT, if it is there.

    python -m experiments.benchmark_decoding --workdir=runs/tatoeba --output=FILE.json
    python -m experiments.benchmark_decoding --workdir=runs/tatoeba --joeynmt=joeynmt-env/bin/python \
        --joeynmt_config=experiments/benchmarks/joeynmt_tatoeba.yaml

Each round translates the split with every search of every toolkit, in turns, so that what
else the machine does hits all of them; the figures still mean most when nothing else runs.
Timed is from texts to texts, after loading and compiling. docs/decoding.md says how to
train JoeyNMT on the same pairs.
"""

import pathlib
import sys
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from attention_jax.errors import UserError
from experiments import cli, run_flags
from experiments.outputs import check_apart, check_output
from experiments.tables import print_table

if TYPE_CHECKING:
    from attention_jax.benchmarking.decoding_speed import Peer


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the run's flags, the searches, --repeats, JoeyNMT's and --output."""
    run_flags.define_workdir(flag_values)
    run_flags.define_split(flag_values)
    run_flags.define_checkpoint(flag_values)
    flags.DEFINE_list(
        "beam_sizes",
        ["5"],
        "N,N: beams to time beside greedy search, each without and with GNMT's length "
        "penalty.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "length_alpha",
        1.0,
        "The exponent of that penalty.",
        lower_bound=0.0,
        flag_values=flag_values,
    )
    for name, default, least, text in (
        ("max_sentences", 0, 0, "Only the first so many of the split; 0 takes all."),
        ("repeats", 9, 1, "Rounds, in which each has one turn."),
    ):
        flags.DEFINE_integer(
            name, default, text, lower_bound=least, flag_values=flag_values
        )
    for name, text in (
        ("joeynmt", "The Python of an environment with JoeyNMT, to measure beside."),
        ("joeynmt_config", "The configuration of its trained model."),
        ("output", "JSON file for the figures."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Measures, prints and writes."""
    output = check_output(arguments.output)
    check_apart(
        {"output": arguments.output},
        read={"joeynmt_config": arguments.joeynmt_config},
        runs=[arguments.workdir],
    )
    sizes = beam_sizes(arguments.beam_sizes)
    check_joeynmt(arguments)
    import jax

    from attention_jax.atomic_write import write_json
    from attention_jax.benchmarking.decoding_speed import (
        measure_decoding,
        report_rows,
        searches_to_time,
    )
    from attention_jax.evaluation.evaluate import load_split, provenance
    from attention_jax.run import load_run
    from attention_jax.training.run_directory import RunDirectory

    # What was compiled before would say nothing about compiling.
    jax.config.update("jax_enable_compilation_cache", False)
    directory = RunDirectory(arguments.workdir)
    run = load_run(directory.path, checkpoint=arguments.checkpoint)
    pairs = load_split(
        directory, arguments.split, max_sentences=arguments.max_sentences
    )
    peers = joeynmt(arguments)
    result = measure_decoding(
        run,
        [pair.source for pair in pairs],
        searches_to_time(sizes, arguments.length_alpha),
        repeats=arguments.repeats,
        peers=peers,
        log=lambda line: print(line, file=sys.stderr, flush=True),
    )
    result["command"] = [
        "python",
        "-m",
        "experiments.benchmark_decoding",
        *sys.argv[1:],
    ]
    result |= provenance(
        directory, run, split=arguments.split, checkpoint=arguments.checkpoint
    )
    title = f"{arguments.workdir}, {arguments.split}, {result['sentences']:,} sentences"
    print_table(report_rows(result), title=title)
    if output:
        write_json(output, result)
        print(f"wrote {output}")


def beam_sizes(texts: Sequence[str]) -> list[int]:
    """The numbers that --beam_sizes names, each once.

    Raises:
      UserError: one is no number from 1 on.
    """
    for text in texts:
        if not text.strip().isdecimal() or not int(text):
            raise UserError(
                f"--beam_sizes must be whole numbers from 1 on, got {text!r}"
            )
    return list(dict.fromkeys(map(int, texts)))


def check_joeynmt(arguments: types.SimpleNamespace) -> None:
    """Raises UserError unless both or neither of JoeyNMT's flags name a file."""
    names = ("joeynmt", "joeynmt_config")
    given = [name for name in names if getattr(arguments, name) is not None]
    if len(given) == 1:
        [missing] = set(names) - set(given)
        raise UserError(f"--{given[0]} needs --{missing} beside it")
    for name in given:
        if not pathlib.Path(getattr(arguments, name)).is_file():
            raise UserError(f"--{name}: there is no file {getattr(arguments, name)!r}")


def joeynmt(arguments: types.SimpleNamespace) -> "list[Peer]":
    """JoeyNMT, if it was given; it translates one word, so that it fails before others begin."""
    from attention_jax.benchmarking.joeynmt_peer import joeynmt_peer

    if arguments.joeynmt is None:
        return []
    try:
        return [joeynmt_peer(arguments.joeynmt, arguments.joeynmt_config)]
    except (OSError, RuntimeError) as error:
        raise UserError(f"--joeynmt: {error}") from error


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
