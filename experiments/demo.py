"""Trains a Chinese-English translator on built-in phrases, evaluates it, draws its attention.

    python -m experiments.demo --workdir=runs/demo

The three programs for it, one after the other in one process. The same command again reuses a
finished run, or resumes one that was interrupted.
"""

import sys
import types

from absl import flags

from experiments import cli, evaluate, plot_attention, train

CONFIG = "configs/cldr_zh_en.py"


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir."""
    text = "The run's directory."
    flags.DEFINE_string("workdir", None, text, flag_values=flag_values)


def main(arguments: types.SimpleNamespace) -> int:
    """Trains, evaluates and draws in `arguments.workdir`."""
    folder = arguments.workdir
    files = f"--output={folder}/demo.json", f"--translations={folder}/translations.tsv"
    picture = ["--split=test", "--num=4", f"--output={folder}/attention.png"]
    for program, given in (
        (train, [f"--config={CONFIG}"]),
        (evaluate, files),
        (plot_attention, picture),
    ):
        argv = [program.__name__, f"--workdir={folder}", *given]
        status = cli.run(program.main, program.define_flags, argv=argv)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, required=("workdir",)))
