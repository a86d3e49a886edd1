"""Which links between words attention is measured against: a file's, eflomal's, the data's."""

import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from attention_jax.errors import UserError

if TYPE_CHECKING:
    from attention_jax.data.pairs import Pair
    from attention_jax.evaluation.alignment import Alignment, TokenPair
    from attention_jax.evaluation.evaluate import Evaluation
    from attention_jax.run import Run
    from attention_jax.training.run_directory import RunDirectory

ALIGNERS = ("eflomal",)


def define_links(flag_values: flags.FlagValues) -> None:
    """Defines --alignments, --aligner and --alignment_shift."""
    flags.DEFINE_string(
        "alignments",
        None,
        "Known links to compare attention's with, a line a pair of the split, as in "
        "`0-0 1-2 1?3`, counted in the run's tokens; ? is a possible link.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "aligner",
        None,
        ALIGNERS,
        "Compares attention's links with those of this aligner, if it is installed.",
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


def check_links(
    arguments: types.SimpleNamespace, directories: "Sequence[RunDirectory]"
) -> None:
    """Raises UserError if there can be no such links, or nothing to compare them with."""
    names = ("alignments", "aligner")
    given = [name for name in names if getattr(arguments, name) is not None]
    if arguments.alignments == "":
        raise UserError("--alignments is empty; it takes a file")
    if len(given) > 1:
        raise UserError("--alignments and --aligner exclude each other")
    if given:
        from attention_jax.models.attention_wiring import attends

        if not any(attends(one.load_config().model) for one in directories):
            raise UserError(
                f"--{given[0]}: links are compared with attention, and no run here has "
                "any"
            )
    if arguments.aligner:
        from attention_jax.evaluation import alignment

        try:
            alignment.load_eflomal()
        except alignment.AlignerNotInstalledError as error:
            raise UserError(f"--aligner: {error}") from error


class KnownLinks:
    """The links of a split's pairs, for one run after the other."""

    def __init__(self, arguments: types.SimpleNamespace, pairs: "Sequence[Pair]"):
        """Reads --alignments, if it is given.

        Raises:
          OSError, ValueError: the file cannot be read, or has another number of lines.
        """
        self._path, self._aligner = arguments.alignments, arguments.aligner
        self._pairs, self.shift = pairs, arguments.alignment_shift
        self._aligned: dict[tuple[TokenPair, ...], list[Alignment]] = {}
        self._read: list[Alignment] | None = None
        self._counted: tuple[TokenPair, ...] | None = None
        if self._path is not None:
            self._read = _read(self._path, arguments, len(pairs))

    @property
    def origin(self) -> str:
        """Where the links are from, in a word or two."""
        return self._aligner or self._path or "the data"

    def of(self, run: "Run") -> "list[Alignment] | None":
        """Between the tokens of `run`; None leaves it to the data.

        Raises:
          ValueError: the file's links count the words of a run before, which cut the
            pairs otherwise.
        """
        if not run.attends or (self._read is None and not self._aligner):
            return None
        words = tuple(_words(run, pair) for pair in self._pairs)
        if self._read is not None:
            if self._counted not in (None, words):
                raise UserError(
                    f"--alignments: the links of {self._path} count the words of one "
                    "run, and these runs cut the pairs into different ones"
                )
            self._counted = words
            return self._read
        from attention_jax.data.sources import load_splits
        from attention_jax.evaluation.alignment import eflomal_alignments

        # It finds other links each time, and runs of the same words should be comparable.
        if words not in self._aligned:
            training = load_splits(run.config.data).train
            self._aligned[words] = eflomal_alignments(
                words, [_words(run, pair) for pair in training]
            )
        return self._aligned[words]


def evaluate_with_links(
    directory: "RunDirectory",
    run: "Run",
    pairs: "Sequence[Pair]",
    known: KnownLinks,
    arguments: types.SimpleNamespace,
) -> "tuple[Evaluation, dict[str, Any]]":
    """`evaluate.evaluate` against these links, and its facts, by --split and --checkpoint.

    An error names the file that the links are from.
    """
    from attention_jax.evaluation.alignment import MisplacedLinkError
    from attention_jax.evaluation.evaluate import evaluate, provenance

    try:
        evaluation = evaluate(run, pairs, alignments=known.of(run), shift=known.shift)
    except MisplacedLinkError as error:
        raise UserError(f"{known.origin}, {error}") from error
    facts = provenance(
        directory,
        run,
        split=arguments.split,
        checkpoint=arguments.checkpoint,
        links=known.origin,
    )
    return evaluation, facts


def _words(run: "Run", pair: "Pair") -> "TokenPair":
    return (
        tuple(token.text for token in run.source_codec.tokens(pair.source)),
        tuple(token.text for token in run.target_codec.tokens(pair.target)),
    )


def _read(
    path: str, arguments: types.SimpleNamespace, number: int
) -> "list[Alignment]":
    from attention_jax.evaluation import alignment

    found = alignment.read_alignments(path, field="--alignments")
    if len(found) != number and not (arguments.max_sentences and len(found) >= number):
        raise UserError(
            f"{path} has {len(found):,} lines, but there are {number:,} pairs in "
            f"{arguments.split}: it needs a line for each"
        )
    return found[:number]
