"""The flags of programs that read a trained run."""

from absl import flags

from experiments.config_file import package_constant


def define_workdir(flag_values: flags.FlagValues) -> None:
    """Defines --workdir."""
    flags.DEFINE_string(
        "workdir", None, "The run's directory.", flag_values=flag_values
    )


def define_checkpoint(flag_values: flags.FlagValues) -> None:
    """Defines --checkpoint, whose choices are those of `load_run`."""
    choices = package_constant("run.py", "CHECKPOINTS")
    flags.DEFINE_enum(
        "checkpoint",
        choices[0],
        choices,
        "Whose parameters: the best on dev, the last, or the mean of the last ones kept.",
        flag_values=flag_values,
    )


def define_split(flag_values: flags.FlagValues) -> None:
    """Defines --split, whose choices are those of `evaluate.load_split`."""
    choices = package_constant("evaluation/evaluate.py", "SPLITS")
    flags.DEFINE_enum(
        "split", choices[0], choices, "Which pairs.", flag_values=flag_values
    )


def define_max_sentences(flag_values: flags.FlagValues, default: int) -> None:
    """Defines --max_sentences."""
    flags.DEFINE_integer(
        "max_sentences",
        default,
        "Only the first so many; 0 takes all.",
        lower_bound=0,
        flag_values=flag_values,
    )
