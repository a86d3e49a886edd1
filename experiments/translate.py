"""Translates standard input to standard output, a sentence a line.

    python -m experiments.translate --workdir=runs/cldr < sentences.txt > translations.txt
    python -m experiments.translate --workdir=runs/cldr --beam_size=5 --n_best=3 --scores < ...
    python -m experiments.translate --workdir=runs/cldr --targets=t.txt --scores --alignments < ...

Lines stay in order; an empty line stays empty. The input is UTF-8: a line that is not ends
the program with an error that names it, after the lines before it have been written. On a
terminal it asks for sentences.

A line of output is the translation; then, after a tab each, --scores adds what the search
ranked by, --alignments the links source-target, counted from 0 (Pharaoh format), and --tokens
the words that they count. With --n_best above 1 there are several lines for each of the input,
the best first (samples as they are drawn), and the input's line number, counted from 1, stands
in front. With --targets the translations are
those of a file, a line for each of the input: scored and aligned, not searched for.
"""

import contextlib
import functools
import io
import itertools
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, cast

from absl import flags

from experiments import command_line, run_flags, search_flags
from experiments.line_stream import Line, answer_lines
from experiments.long_lines import LongLines, define_long_lines
from experiments.target_lines import (
    TargetLines,
    check_targets,
    define_targets,
    target_lines,
)

if TYPE_CHECKING:
    from attention_jax.run import Run, Translation


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_workdir(flag_values)
    run_flags.define_checkpoint(flag_values)
    flags.DEFINE_integer(
        "n_best", 1, "Translations a line.", lower_bound=1, flag_values=flag_values
    )
    for name, text in (
        ("scores", "Write the score of each translation."),
        ("alignments", "Write the words that attention links, as 0-0 1-2."),
        (
            "tokens",
            "Write the words that links count, of the source and the translation.",
        ),
    ):
        flags.DEFINE_bool(name, False, text, flag_values=flag_values)
    define_targets(flag_values)
    define_long_lines(flag_values)
    search_flags.define_search(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Translates until the input ends."""
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        # Python's own answer to a closed one, as in `<&-`.
        if stream is None:
            raise command_line.UsageError(
                f"standard {name} is closed; sentences come from standard input and "
                "their translations go to standard output"
            )
    check_targets(arguments)
    from attention_jax.decoding.searches import check_n_best
    from attention_jax.run import load_run

    run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    run = search_flags.with_search(run, arguments)
    if arguments.alignments and not run.attends:
        raise command_line.UsageError(
            "--alignments come from attention, and this run has none"
        )
    try:
        check_n_best(run.config.decoding, arguments.n_best)
    except ValueError as error:
        raise command_line.UsageError(f"--{error}") from error
    codec, fits = run.source_codec, run.longest_sentence(arguments.n_best)
    if not fits:
        raise command_line.UsageError(
            "this search has no memory for a single word's translations: a smaller "
            "--beam_size, --n_best, --max_length_ratio or --max_length_offset"
        )
    shorten = LongLines(
        arguments.long_lines,
        arguments.max_source_length,
        lambda text: [token.end for token in codec.tokens(text)],
        fits=fits,
    )
    with contextlib.ExitStack() as stack:
        targets = None
        if arguments.targets is not None:
            check = functools.partial(check_target, run, arguments.max_source_length)
            targets = stack.enter_context(target_lines(arguments.targets, check))

        def prepare(line: Line) -> str:
            text = shorten(line)
            if targets is not None:
                targets.read()
            return text

        answer = functools.partial(translate_texts, run, arguments, targets)
        if sys.stdin.isatty():
            ask(prepare, answer)
            return
        # Declared as any binary stream, but standard input is a buffered one.
        source = cast(io.BufferedReader, sys.stdin.buffer)
        answer_lines(source, sys.stdout.buffer, prepare, answer)
    if shorten.seen:
        print(f"lines that were too long: {shorten.seen:,}", file=sys.stderr)


def check_target(run: "Run", longest: int, text: str) -> None:
    """Raises ValueError for a given translation of more tokens than a line may have."""
    number = len(run.target_codec.tokens(text))
    if number > longest:
        raise ValueError(f"{number:,} tokens, more than --max_source_length={longest}")


def translate_texts(
    run: "Run",
    arguments: types.SimpleNamespace,
    targets: TargetLines | None,
    first: int,
    texts: Sequence[str],
) -> list[str]:
    """The lines of output for lines of input, the first of which has number `first`."""
    from attention_jax.data.pairs import Pair

    try:
        if targets is None:
            found = run.decode_n_best(texts, arguments.n_best, first_id=first - 1)
        else:
            pairs = list(map(Pair, texts, targets.take(len(texts))))
            found = [[one] for one in run.force(pairs)]
    except ValueError as error:
        last = first + len(texts) - 1
        raise ValueError(f"input lines {first} to {last}: {error}") from error
    return [
        "\t".join(columns(best, number, arguments))
        for number, bests in enumerate(found, first)
        for best in bests
    ]


def columns(
    translation: "Translation", number: int, arguments: types.SimpleNamespace
) -> Iterable[str]:
    """The cells of one line of output."""
    if arguments.n_best > 1:
        yield str(number)
    yield translation.text
    if arguments.scores:
        # Nothing has no score: a figure would be the best of all.
        yield f"{translation.score:.4f}" if translation.source_tokens else ""
    if arguments.alignments:
        from attention_jax.evaluation.alignment import attention_links, format_alignment

        yield format_alignment(attention_links(translation.weights))
    if arguments.tokens:
        yield " ".join(translation.source_tokens)
        yield " ".join(translation.target_tokens)


def ask(
    prepare: Callable[[Line], str],
    answer: Callable[[int, Sequence[str]], Sequence[str]],
) -> None:
    """Answers each sentence typed until the end of the input (Ctrl-D)."""
    print("A sentence and Enter; Ctrl-D ends.", file=sys.stderr)
    for number in itertools.count(1):
        print("> ", end="", file=sys.stderr, flush=True)
        # Bytes, whose mistakes do not depend on the terminal's locale.
        data = sys.stdin.buffer.readline()
        if not data:
            print(file=sys.stderr)
            return
        try:
            line = prepare(Line(number, data.decode("utf-8").rstrip("\r\n"), 0))
            print("\n".join(answer(number, [line])), flush=True)
        except UnicodeDecodeError as error:
            print(f"not UTF-8 at byte {error.start + 1}", file=sys.stderr)
        except ValueError as error:
            # A sentence that cannot be translated ends a file, not a conversation.
            print(error, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(command_line.run(main, define_flags, required=("workdir",)))
