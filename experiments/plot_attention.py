"""Draws what a run attends to while it translates: one sentence, or several in a grid.

    python -m experiments.plot_attention --workdir=runs/cldr --text=2024年3月5日星期二 \\
        --output=attention.png
    python -m experiments.plot_attention --workdir=runs/cldr --split=test --num=6 \\
        --output=grid.pdf

With --target the words are forced on the decoder, and the picture shows what it attends to for
each of them. Several pictures are numbered as the lines printed. The gold alignment of
--split's pairs is outlined where the translation is the known one.
"""

import sys
import types

from absl import flags

from attention_jax import evaluation
from attention_jax.errors import UserError
from attention_jax.evaluation.plots import Panel, plot_weights_grid
from experiments import cli, run_flags
from experiments.outputs import check_files

# Pictures without --num, and at most: 100 take half a minute and a gigabyte.
PICTURES, MOST = 6, 100


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags."""
    run_flags.define_run(flag_values)
    run_flags.define_sentences(flag_values, number=PICTURES)
    flags.DEFINE_integer(
        "columns", 2, "Pictures side by side.", lower_bound=1, flag_values=flag_values
    )
    text = "The picture: a .png, .pdf or .svg file."
    flags.DEFINE_string("output", None, text, flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> None:
    """Writes the picture."""
    run_flags.check_sentences(arguments)
    options = {"read": {"input": arguments.input}, "runs": [arguments.workdir]}
    check_files(arguments, "output", picture="output", **options)
    run = run_flags.load_run(arguments)
    pairs = run_flags.pairs_of(run, arguments)
    if len(pairs) > MOST:
        raise UserError(
            f"a picture has room for {MOST} sentences, and these are {len(pairs):,}; "
            "experiments.report shows each of a split by itself"
        )
    found = run_flags.translations_of(run, arguments, pairs)
    panels = []
    for number, (pair, one) in enumerate(zip(pairs, found, strict=True), 1):
        # Links are between the words of the known translation, not of another.
        exact = evaluation.evaluate.is_exact(run, pair, one)
        links = evaluation.alignment.gold_links(run, pair) if exact else frozenset()
        title = str(number) * (len(found) > 1)
        if one.weights.size:
            panels.append(
                Panel(one.weights, one.source_tokens, one.target_tokens, title, links)
            )
    if not panels:
        raise UserError("every translation is empty: --target gives words to draw")
    plot_weights_grid(panels, columns=arguments.columns, path=arguments.output)
    if not arguments.target:
        for number, one in enumerate(found, 1):
            print(f"{number}\t{one.text}" if len(found) > 1 else one.text)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir", "output")))
