"""The flags that say which sentences' attention is wanted, and that attention."""

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from attention_jax import evaluation
from attention_jax.data.pairs import Pair
from attention_jax.data.text import read_lines
from attention_jax.errors import UserError
from attention_jax.training.run_directory import RunDirectory
from experiments import run_flags

if TYPE_CHECKING:
    from attention_jax.run import Run, Translation


def define_sentences(flag_values: flags.FlagValues, *, number: int) -> None:
    """Defines --text, --target, --input, --split and --num, by default `number`."""
    for name, text in (
        ("text", "A sentence to translate; may be repeated."),
        ("target", "A translation to force: one for each --text."),
    ):
        flags.DEFINE_multi_string(name, None, text, flag_values=flag_values)
    flags.DEFINE_string(
        "input",
        None,
        "... or a UTF-8 file, a sentence a line.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "split",
        None,
        run_flags.SPLITS,
        "... or a split of the run's data.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "num",
        number,
        "Only the first N of --input or --split; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )


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
    searched = run_flags.search_given(arguments)
    if targets and searched:
        raise UserError(
            f"--target forces the words, and leaves --{next(iter(searched))} nothing to "
            "search for"
        )
    for value in (*texts, *targets):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(f"--text and --target must be UTF-8, got {value!r}")


def pairs_of(run: "Run", arguments: types.SimpleNamespace) -> list[Pair]:
    """The sentences that the flags name; blank lines of --input are left out.

    Those of --text and --input have no target, unless --target gives it.

    Raises:
      UserError: the run has no attention, or there is nothing to translate.
      OSError: --input cannot be read.
    """
    if not run.attends:
        raise UserError(
            "this run has no attention to show: its config.model.attention is "
            f"{run.config.model.attention}"
        )
    if arguments.split:
        directory = RunDirectory(arguments.workdir)
        return list(
            evaluation.evaluate.load_split(
                directory, arguments.split, max_sentences=arguments.num
            )
        )
    if arguments.input:
        lines = read_lines(arguments.input, field="--input")[: arguments.num or None]
        found = [Pair(line, "") for line in lines if run.source_codec.tokens(line)]
        if not found:
            raise UserError(f"--input: {arguments.input!r} has no line with words")
        if len(found) < len(lines):
            logging.warning(
                "--input: %d of %d lines are left out: they have no words",
                len(lines) - len(found),
                len(lines),
            )
        return found
    for name, codec in (("text", run.source_codec), ("target", run.target_codec)):
        for text in getattr(arguments, name) or []:
            if not codec.tokens(text):
                raise UserError(f"--{name} has no words: {text!r}")
    targets = arguments.target or [""] * len(arguments.text)
    return [Pair(*texts) for texts in zip(arguments.text, targets, strict=True)]


def translations_of(
    run: "Run", arguments: types.SimpleNamespace, pairs: Sequence[Pair]
) -> "list[Translation]":
    """What the run makes of each: its own translation, or --target, forced."""
    if arguments.target:
        return run.force(pairs)
    return run.decode([pair.source for pair in pairs])
