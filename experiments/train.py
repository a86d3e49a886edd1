"""Trains the model of a config file; the same command again resumes where it stopped.

    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/cldr
    python -m experiments.train --config=configs/cldr_zh_en.py --workdir=runs/additive \\
        --config.model.score=additive

The run's directory gets config.json, record.json, codecs.json, metrics.jsonl, samples.jsonl
and checkpoints/.
"""

import sys
import types

from absl import flags

from experiments import command_line


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --workdir."""
    flags.DEFINE_string(
        "workdir",
        None,
        "The run's directory; made if it does not exist.",
        flag_values=flag_values,
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Trains `arguments.config` in `arguments.workdir`."""
    from attention_jax.training import train
    from experiments.progress import TrainingDisplay

    with TrainingDisplay(arguments.config.training) as display:
        train(arguments.config, arguments.workdir, log=display, command=sys.argv)


if __name__ == "__main__":
    sys.exit(
        command_line.run(
            main,
            define_flags,
            config=True,
            required=("workdir",),
            interrupted=(
                "interrupted; the same command resumes from the last checkpoint"
            ),
        )
    )
