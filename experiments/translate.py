"""Translates standard input to standard output, a sentence a line.

    python -m experiments.translate --workdir=runs/cldr < sentences.txt > translations.txt
    python -m experiments.translate --workdir=runs/cldr --beam_size=5 --n_best=3 --scores < ...
    python -m experiments.translate --workdir=runs/cldr --targets=t.txt --scores --alignments < ...

Lines stay in order; an empty line stays empty. The input is UTF-8: a line that is not ends
the program with an error that names it, after the lines before it have been written. Of a
line of more than --max_source_length tokens the beginning is translated, with a warning.

A line of output is the translation; then, after a tab each, --scores adds what the search
ranked by, --alignments the links source-target, counted from 0 (Pharaoh format), and --tokens
the tokens that they count. With --n_best above 1 there are several lines for each of the
input, the best first (samples as they are drawn), and the input's line number, counted from
1, stands in front. With --targets the translations are those of a file, a line for each of
the input: scored and aligned, not searched for.
"""

import codecs
import io
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from absl import flags

from attention_jax.data.pairs import Pair
from attention_jax.data.sources import read_lines
from attention_jax.errors import UserError
from experiments import cli, run_flags

if TYPE_CHECKING:
    from attention_jax.run import Translation

# Bytes of a line that are kept.
LONGEST_LINE = 1_048_576
_READ = 65_536


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_run(flag_values)
    given: dict[str, Any] = {"flag_values": flag_values}
    flags.DEFINE_integer("n_best", 1, "Translations a line.", lower_bound=1, **given)
    for name, text in (
        ("scores", "Write the score of each translation."),
        ("alignments", "Write the tokens that attention links, as 0-0 1-2."),
        ("tokens", "Write the tokens of the source and of the translation."),
    ):
        flags.DEFINE_bool(name, False, text, **given)
    text = (
        "UTF-8 file with a translation of each line: forced on the decoder instead of "
        "being searched for, for their --scores and --alignments."
    )
    flags.DEFINE_string("targets", None, text, **given)
    text = "Tokens that a line may have."
    flags.DEFINE_integer("max_source_length", 1_000, text, lower_bound=1, **given)


def main(arguments: types.SimpleNamespace) -> None:
    """Translates until the input ends."""
    if sys.stdin is None or sys.stdout is None:  # closed, as by `<&-`
        raise UserError("standard input and standard output must be open")
    given = [name for name in run_flags.search_given(arguments) if name != "batch_size"]
    given += ["n_best"] * (arguments.n_best > 1)
    if arguments.targets is not None and given:
        raise UserError(
            f"--targets gives the translations: --{given[0]} has nothing to search for"
        )
    run = run_flags.load_run(arguments)
    if arguments.alignments and not run.attends:
        raise UserError("--alignments come from attention, and this run has none")
    try:
        fits = run.longest_sentence(arguments.n_best)
    except ValueError as error:  # the search does not give so many
        raise UserError(f"--{error}") from error
    most = min(arguments.max_source_length, fits or sys.maxsize)
    targets = None
    if arguments.targets is not None:
        targets = read_lines(arguments.targets, field="--targets")

    def prepare(number: int, data: bytes) -> Pair:
        source = decode(number, data)
        # Most lines have fewer characters than a long one has tokens.
        if len(source) > most and len(ends := run.source_codec.tokens(source)) > most:
            print(
                f"warning: input line {number}: {len(ends):,} tokens, only the first "
                f"{most:,} are translated",
                file=sys.stderr,
            )
            source = source[: ends[most - 1].end]
        if targets is None:
            return Pair(source, "")
        if number > len(targets):
            raise UserError(
                f"--targets: {arguments.targets} ends after line {len(targets):,}, and "
                "the input goes on"
            )
        return Pair(source, targets[number - 1])

    # Declared as any binary stream, but standard input is a buffered one.
    stream, count = cast(io.BufferedReader, sys.stdin.buffer), 0
    for first, lines in arriving_lines(stream, prepare):
        count += len(lines)
        if targets is not None:
            found = [[one] for one in run.force(lines)]
        else:
            texts = [pair.source for pair in lines]
            found = run.decode_n_best(texts, arguments.n_best, first_id=first - 1)
        for number, bests in enumerate(found, first):
            for best in bests:
                row = "\t".join(columns(best, number, arguments))
                sys.stdout.buffer.write(f"{row}\n".encode())
        sys.stdout.buffer.flush()
    if targets is not None and len(targets) > count:
        raise UserError(
            f"--targets: {arguments.targets} has more lines than the input, which has "
            f"{count:,}"
        )


def arriving_lines(
    stream: io.BufferedReader, prepare: Callable[[int, bytes], Any]
) -> Iterator[tuple[int, list[Any]]]:
    """The number of the first line, and the lines, that each read of a stream completes.

    A file comes in large batches, and a program that waits for each answer gets it. Lines
    end with a line feed; the last one need not end. `prepare`: (number, the line's
    beginning) -> what is made of it, whose UserErrors come after the lines before.
    """
    number, rest, data = 1, b"", b"\n"
    while data:
        data = stream.read1(_READ)
        *ended, rest = (rest + data).split(b"\n")
        if not data and rest:
            ended = [rest]
        # Enough to know that a line goes on.
        rest = rest[: LONGEST_LINE + 1]
        found, error = [], None
        for line in ended:
            try:
                found.append(prepare(number + len(found), line))
            except UserError as wrong:
                error = wrong
                break
        if found:
            yield number, found
        if error is not None:
            raise error
        number += len(found)


def decode(number: int, data: bytes) -> str:
    """The line's text, without a carriage return and a byte order mark; a long one is cut."""
    cut = len(data) > LONGEST_LINE
    if not cut:
        data = data.removesuffix(b"\r")
    try:
        # A character that the cut has gone through is left out.
        text, _ = codecs.utf_8_decode(data[:LONGEST_LINE], "strict", not cut)
    except UnicodeDecodeError as error:
        raise UserError(
            f"input line {number}: not UTF-8 at byte {error.start + 1}"
        ) from error
    return text.removeprefix("\ufeff") if number == 1 else text


def columns(
    translation: "Translation", number: int, arguments: types.SimpleNamespace
) -> Iterable[str]:
    """The cells of one line of output."""
    if arguments.n_best > 1:
        yield str(number)
    yield translation.text
    if arguments.scores:
        # An empty line has no score: 0 would be the best of all.
        yield f"{translation.score:.4f}" if translation.source_tokens else ""
    if arguments.alignments:
        from attention_jax.evaluation.alignment import attention_links, format_alignment

        yield format_alignment(attention_links(translation.weights))
    if arguments.tokens:
        yield " ".join(translation.source_tokens)
        yield " ".join(translation.target_tokens)


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
