"""The flags that compare attention with gold alignments, and evaluation against them."""

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax import evaluation
from attention_jax.data.pairs import Pair
from attention_jax.errors import UserError
from attention_jax.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from attention_jax.evaluation.alignment import Alignment
    from attention_jax.evaluation.evaluate import Evaluation
    from attention_jax.run import Run


def define_alignments(flag_values: flags.FlagValues) -> None:
    """Defines --alignments."""
    flags.DEFINE_string(
        "alignments",
        None,
        "Gold links to compare attention's with, a line a pair of the split, as in "
        "`0-0 1-2 1?3`, counted in the run's tokens; ? is a possible link.",
        flag_values=flag_values,
    )


class GoldAlignments:
    """Evaluates runs on the pairs of a split, against --alignments if it is given."""

    def __init__(self, arguments: types.SimpleNamespace, pairs: Sequence[Pair]):
        """Reads the file.

        Raises:
          OSError, UserError: it cannot be read, or has another number of lines.
        """
        self._arguments, self._pairs = arguments, pairs
        self._tokens: Any = None
        self._gold: list[Alignment] | None = None
        path, number = arguments.alignments, len(pairs)
        if path is None:
            return
        found = evaluation.alignment.read_alignments(path, field="--alignments")
        enough = arguments.max_sentences and len(found) >= number
        if len(found) != number and not enough:
            raise UserError(
                f"{path} has {len(found):,} lines, but there are {number:,} pairs in "
                f"{arguments.split}: it needs a line for each"
            )
        self._gold = found[:number]

    def evaluate(
        self, directory: RunDirectory, run: "Run"
    ) -> "tuple[Evaluation, dict[str, Any]]":
        """`evaluate` of the run against the links, and `provenance`.

        Raises:
          UserError: a link outside its pair, naming the file; or the run cuts the pairs
            into other tokens than a run before, so that the links cannot be of both.
        """
        arguments, gold = self._arguments, self._gold if run.attends else None
        if gold is not None:
            tokens = [evaluation.alignment.tokens_of(run, pair) for pair in self._pairs]
            if self._tokens not in (None, tokens):
                raise UserError(
                    f"--alignments: the links of {arguments.alignments} count the words "
                    "of one run, and these runs cut the pairs into different ones"
                )
            self._tokens = tokens
        try:
            found = evaluation.evaluate.evaluate(run, self._pairs, alignments=gold)
        except evaluation.alignment.MisplacedLinkError as error:
            raise UserError(f"{arguments.alignments}, {error}") from error
        facts = evaluation.evaluate.provenance(
            directory,
            run,
            split=arguments.split,
            checkpoint=arguments.checkpoint,
            links=arguments.alignments or "the data",
        )
        return found, facts


def check_alignments(
    arguments: types.SimpleNamespace, directories: Sequence[RunDirectory]
) -> None:
    """Raises UserError if --alignments is empty, or no run has attention to compare."""
    if arguments.alignments == "":
        raise UserError("--alignments is empty; it takes a file")
    wirings = {directory.load_config().model.attention for directory in directories}
    if arguments.alignments and wirings == {"none"}:
        raise UserError(
            "--alignments: links are compared with attention, and no run here has any"
        )
