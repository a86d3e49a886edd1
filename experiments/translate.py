"""Translates standard input to standard output, a sentence a line.

    python -m experiments.translate --workdir=runs/cldr < sentences.txt > translations.txt

Lines stay in order; an empty line stays empty. The input is UTF-8: a line that is not ends
the program with an error that names it, after the lines before it have been written. On a
terminal it asks for sentences.
"""

import io
import sys
import types
from typing import cast

from absl import flags

from experiments import command_line, run_flags


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir and --checkpoint."""
    run_flags.define_workdir(flag_values)
    run_flags.define_checkpoint(flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Translates until the input ends."""
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        # Python's own answer to a closed one, as in `<&-`.
        if stream is None:
            raise command_line.UsageError(
                f"standard {name} is closed; sentences come from standard input and "
                "their translations go to standard output"
            )
    from attention_jax.run import load_run
    from experiments.line_stream import translate_lines

    run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
    if sys.stdin.isatty():
        ask(run.translate)
    else:
        # Declared as any binary stream, but standard input is a buffered one.
        source = cast(io.BufferedReader, sys.stdin.buffer)
        translate_lines(source, sys.stdout.buffer, run.translate)


def ask(translate) -> None:
    """Answers each sentence typed until the end of the input (Ctrl-D)."""
    print("A sentence and Enter; Ctrl-D ends.", file=sys.stderr)
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
            return
        print(translate([line.rstrip("\r\n")])[0], flush=True)


if __name__ == "__main__":
    sys.exit(command_line.run(main, define_flags, required=("workdir",)))
