"""What every program here shares: flags in, one-line errors and an exit status out.

    def define_flags(flag_values):
        flags.DEFINE_string("workdir", None, "Run directory.", flag_values=flag_values)

    def main(arguments):
        from attention_jax.training import ...    # heavy imports belong in here
        ... arguments.workdir ...

    if __name__ == "__main__":
        sys.exit(command_line.run(main, define_flags, required=("workdir",)))

Exit status: 0; 1 for an error in the data, the files or the model; 2 for an error on the
command line, found before any work is done; 130 after Ctrl-C.
"""

import linecache
import logging
import os
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.arguments import (
    UsageError,
    check_config_arguments,
    check_given_once,
    illegal_value,
    stray_argument,
)
from experiments.compilation_cache import keep_compiled
from experiments.config_file import (
    ConfigFileError,
    config_fields,
    describe_fields,
    load_config,
    nearest,
)
from experiments.host_memory import keep_freed_memory
from experiments.sweep_config import SweepLoader

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig

HELP_FLAGS = {"--help", "-help", "-h", "--helpfull", "--helpshort", "-?"}


def run(
    main: Callable[[types.SimpleNamespace], int | None],
    define_flags: Callable[[flags.FlagValues], object],
    *,
    config: bool = False,
    configs: bool = False,
    required: Sequence[str] = (),
    positional: str = "",
    interrupted: str = "interrupted",
    first: Callable[[types.SimpleNamespace], object] = lambda flags: None,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses the command line, calls `main(arguments)` and returns the exit status.

    `arguments` has one attribute for each flag that `define_flags(flag_values)` defined,
    and `positional`, the list of the other arguments.

    Own errors become one line on stderr, `program: sentence`: every error on the command
    line, an OSError, and a ValueError or LookupError that a check of this project raised.
    Anything else is a bug, here or in a user's function, and keeps its traceback. `main`
    may raise UsageError.

    Args:
      main: does the work; may return an exit status.
      define_flags: defines this program's absl flags on the `flag_values` it is given.
      config: adds `--config=FILE.py`, required, with `--config.section.field=value`
        overrides; `arguments.config` is the ExperimentConfig, already validated.
      configs: the same for a file of several; `arguments.configs` has them by name, the
        overrides in every one.
      required: names of flags that must be given and not be empty.
      positional: what arguments without a dash are, e.g. "DIR...", for `--help`; when
        empty such arguments are an error.
      interrupted: the sentence for Ctrl-C.
      first: called with the flags before the config is checked, which uses jax.
      argv: program and arguments; sys.argv by default.
    """
    keep_freed_memory()
    keep_compiled()
    argv = list(sys.argv if argv is None else argv)
    program = pathlib.Path(argv[0]).stem
    # A warning is one line too; what libraries merely report is left out.
    logging.basicConfig(level=logging.WARNING, format=f"{program}: %(message)s")
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    try:
        if HELP_FLAGS.intersection(argv[1:]):
            has_config = config or configs
            text = _help(main, program, flag_values, has_config, required, positional)
            if has_config:
                text += f"\n\n{_help_of_config(argv)}"
            print(text, flush=True)
            return 0
        arguments = parse(
            argv,
            flag_values,
            config=config,
            configs=configs,
            required=required,
            positional=positional,
            first=first,
        )
        status = main(arguments) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # an error of it is one of the program's
        return status
    except (UsageError, ConfigFileError) as error:
        return _report(program, error, 2)
    except KeyboardInterrupt:
        return _report(program, interrupted, 130)
    except BrokenPipeError:
        _forget_output()  # the reader (head, less) has what it wanted
        return 0
    except (OSError, ValueError, LookupError) as error:
        if not isinstance(error, OSError) and not _is_own_check(error):
            raise
        return _report(program, _of_output(error) or error, 1)


def parse(
    argv: Sequence[str],
    flag_values: flags.FlagValues,
    *,
    config: bool = False,
    configs: bool = False,
    required: Sequence[str] = (),
    positional: str = "",
    first: Callable[[types.SimpleNamespace], object] = lambda flags: None,
) -> types.SimpleNamespace:
    """The arguments that `run` hands to main.

    Raises:
      UsageError, ConfigFileError: what is wrong, in one sentence.
    """
    argv = list(argv)
    has_config, sweep = config or configs, SweepLoader()
    required = (*required, "config") if has_config else tuple(required)
    types_by_flag = {name: flag_values[name].flag_type() for name in flag_values}
    if has_config:
        check_config_arguments(argv, [*flag_values])
        _define_config(flag_values, argv, sweep if configs else load_config)
        types_by_flag |= {
            f"config.{field.path}": field.type for field in config_fields()
        }
    check_given_once(
        argv,
        [n for n in flag_values if not isinstance(flag_values[n], flags.MultiFlag)],
    )
    flag_values.set_gnu_getopt(True)
    try:
        rest = flag_values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in (*flag_values, "help")]
        hint = nearest(f"--{error.flagname}", known)
        raise UsageError(f"unknown flag --{error.flagname}{hint}") from None
    except flags.IllegalFlagValueError as error:
        sentence = illegal_value(error, flag_values, types_by_flag)
        raise UsageError(sentence) from None
    except (flags.Error, ValueError) as error:
        # absl raises a bare ValueError for --noFLAG=VALUE.
        raise UsageError(_sentence(error)) from None
    missing = [
        name for name in flag_values if flag_values[name].value in (None, "", [], [""])
    ]
    if rest and not positional:
        raise UsageError(stray_argument(rest[0], missing))
    for name in required:
        if name in missing:
            given = flag_values[name].value is not None
            problem = "is empty: it needs a value" if given else "is required"
            raise UsageError(f"--{name} {problem}; see --help")
    values: dict[str, Any] = {
        name: flag_values[name].value for name in flag_values if "." not in name
    }
    first(types.SimpleNamespace(**values))
    if configs:
        values.pop("config")
        try:
            values["configs"] = sweep.named(flag_values["config"])
        except ValueError as error:
            raise UsageError(_sentence(error)) from error
        for name, one in values["configs"].items():
            _validate(one, f"{name}: ")
    elif config:
        _validate(values["config"])
    return types.SimpleNamespace(**values, positional=rest)


def _define_config(
    flag_values: flags.FlagValues, argv: list[str], load: Callable[[str], Any]
) -> None:
    from ml_collections import config_flags

    from attention_jax.config import ExperimentConfig

    config_flags.DEFINE_config_dataclass(
        "config",
        ExperimentConfig(),
        "Config file: a Python file whose get_config() returns an ExperimentConfig; "
        "FILE.py:VARIANT passes VARIANT to it.",
        flag_values=flag_values,
        sys_argv=argv,
        parse_fn=load,
    )


def _validate(config: "ExperimentConfig", where: str = "") -> None:
    """Raises UsageError, beginning with `where`, unless an experiment with it can start."""
    from attention_jax.experiment import validate

    try:
        validate(config)
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise UsageError(where + _sentence(error)) from error


def _is_own_check(error: BaseException) -> bool:
    """Whether a `raise` statement of this project raised `error`.

    A ValueError from jax or from a user's score is no check: its traceback is needed.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    file, line = frames[-1].filename, frames[-1].lineno or 0
    here = pathlib.Path(__file__).parent
    library = here.parent / "attention_jax"
    own = any(folder in pathlib.Path(file).parents for folder in (here, library))
    return own and linecache.getline(file, line).lstrip().startswith("raise")


def _of_output(error: BaseException) -> str:
    """What to say of an error of standard output, which names no file; else ""."""
    if not isinstance(error, OSError) or error.filename or sys.stdout is None:
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1]
    broken = error if (last.line or "").startswith("print(") else None
    try:
        # What could not be written may still be there to be written.
        sys.stdout.flush()
    except OSError as again:
        broken = again
    if broken is None:
        return ""
    _forget_output()
    return f"standard output: {broken.strerror}"


def _forget_output() -> None:
    """Keeps the interpreter from complaining again when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: BaseException | str) -> str:
    # str(KeyError("x")) is "'x'": a message needs its argument itself.
    if isinstance(error, KeyError) and error.args:
        error = str(error.args[0])
    return " ".join(str(error).split())


def _report(program: str, error: BaseException | str, status: int) -> int:
    print(f"{program}: {_sentence(error)}", file=sys.stderr)
    return status


def _help(
    main: Callable,
    program: str,
    flag_values: flags.FlagValues,
    config: bool,
    required: Sequence[str],
    positional: str,
) -> str:
    """The program's docstring and its flags."""
    lines = [(sys.modules[main.__module__].__doc__ or program).strip(), ""]
    must = [name for name in required if flag_values[name].default is None]
    usage = [f"usage: python -m experiments.{program}"]
    usage += ["--config=FILE.py"] * config
    usage += [f"--{name}={name.upper()}" for name in must]
    usage += [positional] * bool(positional)
    lines += [" ".join(usage), "", "flags:"]
    if config:
        lines.append("  --config: FILE.py or FILE.py:VARIANT; fields below")
    for name in flag_values:
        flag = flag_values[name]
        default = "required" if name in must else f"default {flag.default_as_str}"
        if flag.default is None and name not in must:
            default = "optional"
        lines.append(f"  --{name}: {flag.help} ({default})")
    return "\n".join(lines)


def _help_of_config(argv: Sequence[str]) -> str:
    """The config's fields: as the file given has them, or else with their defaults."""
    given = [text.partition("=")[2] for text in argv if text.startswith("--config=")]
    values, config = "defaults", None
    if given:
        try:
            config = load_config(given[-1])
            values = f"values in {given[-1]}"
        except ConfigFileError as error:
            values += f" ({_sentence(error)})"
    return (
        f"fields of the config file, and their {values}:\n\n{describe_fields(config)}"
    )
