"""The flags of programs that read a trained run: which one, on which sentences, how searched."""

import dataclasses
import re
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

import attention_jax
from attention_jax import evaluation
from attention_jax.config import DecodingConfig, ExperimentConfig
from attention_jax.data.codec import load_codecs
from attention_jax.data.pairs import Pair
from attention_jax.data.sources import read_lines
from attention_jax.errors import UserError, named
from attention_jax.training.run_directory import RunDirectory
from experiments.cli import define_fields

if TYPE_CHECKING:
    from attention_jax.evaluation.alignment import Alignment
    from attention_jax.evaluation.evaluate import Evaluation
    from attention_jax.run import Run, Translation

CHECKPOINTS = ("best", "last")
SPLITS = ("test", "dev", "train")


def define_run(flag_values: flags.FlagValues) -> None:
    """Defines --workdir, unless it is, --checkpoint and the fields of DecodingConfig."""
    given: dict[str, Any] = {"flag_values": flag_values}
    if "workdir" not in flag_values:
        flags.DEFINE_string("workdir", None, "The run's directory.", **given)
    text = "Whose parameters: the best on dev, or the last."
    flags.DEFINE_enum("checkpoint", CHECKPOINTS[0], CHECKPOINTS, text, **given)
    define_fields(flag_values, DecodingConfig, "")


def define_split(flag_values: flags.FlagValues, *, most: int) -> None:
    """Defines --split, --max_sentences, by default `most`, and --alignments."""
    given: dict[str, Any] = {"flag_values": flag_values}
    flags.DEFINE_enum("split", SPLITS[0], SPLITS, "Which pairs.", **given)
    text = "Only the first N; 0 takes all."
    flags.DEFINE_integer("max_sentences", most, text, lower_bound=0, **given)
    text = (
        "Gold links to compare attention's with, a line a pair of the split, as in "
        "`0-0 1-2 1?3`, counted in the run's tokens; ? is a possible link."
    )
    flags.DEFINE_string("alignments", None, text, **given)


def define_sentences(flag_values: flags.FlagValues, *, number: int) -> None:
    """Defines --text, --target, --input, --split and --num, by default `number`."""
    given: dict[str, Any] = {"flag_values": flag_values}
    text = "A sentence to translate; may be repeated."
    flags.DEFINE_multi_string("text", None, text, **given)
    text = "A translation to force: one for each --text."
    flags.DEFINE_multi_string("target", None, text, **given)
    flags.DEFINE_string("input", None, "... or a UTF-8 file, a line each.", **given)
    text = "... or a split of the run's data."
    flags.DEFINE_enum("split", None, SPLITS, text, **given)
    text = "Only the first N of --input or --split; 0 takes all."
    flags.DEFINE_integer("num", number, text, lower_bound=0, **given)


def search_given(arguments: types.SimpleNamespace) -> dict[str, Any]:
    """The fields of DecodingConfig that were given on the command line."""
    names = [field.name for field in dataclasses.fields(DecodingConfig)]
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def load_run(arguments: types.SimpleNamespace) -> "Run":
    """The run of --workdir and --checkpoint, with the search that was given."""
    run = attention_jax.load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    return dataclasses.replace(run, config=with_search(run.config, arguments))


def with_search(
    config: ExperimentConfig,
    arguments: types.SimpleNamespace,
    *,
    search: str | None = None,
) -> ExperimentConfig:
    """A run's configuration with the fields that were given.

    `search` is instead of the given one; the fields of one search do not count then.
    """
    # Imported here: it takes a second.
    from attention_jax.run import searches, with_decoding

    wanted = search_given(arguments)
    if search is not None:
        own = [name for entry in searches.entries.values() for name in entry.fields]
        wanted = {name: value for name, value in wanted.items() if name not in own}
        wanted["search"] = search
    try:
        found = with_decoding(config, **wanted)
    except ValueError as error:
        message = str(error.args[0])
        field = re.search(r"config\.decoding\.(\w+)", message)
        if field and field[1] not in wanted:
            # No flag is to blame for what the run itself has.
            raise UserError(f"the run's {message}") from error
        raise UserError(message.replace("config.decoding.", "--")) from error
    for number, penalty in (
        ("length_alpha", "length_penalty"),
        ("coverage_beta", "coverage_penalty"),
    ):
        if number in wanted and getattr(found.decoding, penalty) == "none":
            raise UserError(f"--{number} does nothing without a --{penalty}")
    return found


def read_gold(
    arguments: types.SimpleNamespace,
    directories: Sequence[RunDirectory],
    pairs: Sequence[Pair],
) -> "list[Alignment] | None":
    """The gold alignment of each pair from --alignments; None without it.

    Raises:
      UserError: it does not fit the pairs, no run has attention, or the runs cut the pairs
        into different tokens.
    """
    path, number = arguments.alignments, len(pairs)
    if path is None:
        return None
    attentive = [d for d in directories if d.load_config().model.attention != "none"]
    if not attentive:
        raise UserError(
            "--alignments: links are compared with attention, and no run here has any"
        )
    gold = evaluation.alignment.read_alignments(path, field="--alignments")
    if len(gold) < number or (len(gold) > number and not arguments.max_sentences):
        raise UserError(
            f"{path} has {len(gold):,} lines, but there are {number:,} pairs in "
            f"{arguments.split}: it needs a line for each"
        )
    tokens, *others = (
        evaluation.alignment.tokens_of(load_codecs(one.codecs_path), pairs)
        for one in attentive
    )
    if any(other != tokens for other in others):
        raise UserError(
            f"--alignments: the links of {path} count the words of one run, and these "
            "runs cut the pairs into different ones"
        )
    with named(path):
        evaluation.alignment.check_gold(tokens, gold[:number])
    return gold[:number]


def measure(
    arguments: types.SimpleNamespace,
    directory: RunDirectory,
    run: "Run",
    pairs: Sequence[Pair],
    gold: "Sequence[Alignment] | None",
) -> "tuple[Evaluation, dict[str, Any]]":
    """`evaluate` of the run on the pairs, and `provenance`."""
    found = evaluation.evaluate.evaluate(run, pairs, alignments=gold)
    asked = {name: getattr(arguments, name) for name in ("split", "checkpoint")}
    asked["links"] = arguments.alignments or "the data"
    return found, evaluation.evaluate.provenance(directory, run, **asked)


def check_sentences(arguments: types.SimpleNamespace) -> None:
    """Raises UserError unless the flags name sentences in exactly one way."""
    ways = ("text", "input", "split")
    given = [f"--{name}" for name in ways if getattr(arguments, name)]
    if len(given) != 1:
        raise UserError(
            "one of --text, --input and --split is required; got "
            + (" and ".join(given) or "none")
        )
    texts, targets = arguments.text or [], arguments.target or []
    if targets and len(targets) != len(texts):
        raise UserError(
            "--target is a translation of a --text: as many of one as of the other, got "
            f"{len(targets)} and {len(texts)}"
        )
    for value in (*texts, *targets):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(f"--text and --target must be UTF-8, got {value!r}")


def pairs_of(run: "Run", arguments: types.SimpleNamespace) -> Sequence[Pair]:
    """The sentences that the flags name; without --split or --target they have no target."""
    run.check_attends()
    number, directory = arguments.num, RunDirectory(arguments.workdir)
    if arguments.split:
        load_split = evaluation.evaluate.load_split
        return load_split(directory, arguments.split, max_sentences=number)
    texts = arguments.text
    if arguments.input:
        texts = read_lines(arguments.input, field="--input")[: number or None]
    targets = arguments.target or [""] * len(texts)
    return [Pair(*both) for both in zip(texts, targets, strict=True)]


def translations_of(
    run: "Run", arguments: types.SimpleNamespace, pairs: Sequence[Pair]
) -> "list[Translation]":
    """What the run makes of each: its own translation, or --target, forced."""
    if arguments.target:
        return run.force(pairs)
    return run.decode([pair.source for pair in pairs])
