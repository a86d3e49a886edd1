"""Draws where a run looks while it translates a sentence.

    python -m experiments.plot_attention --workdir=runs/cldr --text=2024年3月5日星期二 \\
        --output=attention.png

With --target the words are forced on the decoder, and the picture shows where it looks for
each of them.
"""

import sys
import types

from absl import flags

from experiments import command_line


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    for name, text in (
        ("workdir", "The run's directory."),
        ("text", "The sentence to translate."),
        ("target", "A translation to force; by default the run's own."),
        ("output", "The picture: a .png, .pdf or .svg file."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the picture."""
    from attention_jax.evaluation.figures import check_path, plot_weights

    try:
        check_path(arguments.output)
    except (ValueError, OSError) as error:
        raise command_line.UsageError(f"--output: {error}") from error
    from attention_jax.run import load_run

    run = load_run(arguments.workdir)
    source, target, weights = run.attend(arguments.text, arguments.target)
    if not target:
        raise ValueError(
            f"the run translates {arguments.text!r} by nothing: no word to draw; "
            "--target gives it words"
        )
    plot_weights(weights, source, target, path=arguments.output)
    if arguments.target is None:
        print(run.translate([arguments.text])[0])
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    sys.exit(
        command_line.run(main, define_flags, required=("workdir", "text", "output"))
    )
