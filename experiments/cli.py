"""What every program here shares: flags in, one-line errors and an exit status out.

    def define_flags(flag_values):
        flags.DEFINE_string("workdir", None, "Run directory.", flag_values=flag_values)

    def main(arguments):
        ... arguments.workdir ...

    if __name__ == "__main__":
        sys.exit(cli.run(main, define_flags, required=("workdir",)))

Exit status: 0; 1 if the system refuses something (a full disk, say) or a program's own check
failed; 2 for a mistake of the user's; 130 after Ctrl-C; 143 after SIGTERM.
"""

import contextlib
import dataclasses
import difflib
import functools
import logging
import os
import pathlib
import runpy
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import platformdirs
from absl import flags

from attention_jax.config import ExperimentConfig, check_fields
from attention_jax.data.sources import read_lines
from attention_jax.errors import UserError, format_error

# The exit status by which a shell knows that SIGTERM ended a program.
TERMINATED = 128 + signal.SIGTERM
_HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort", "-?"}
_DEFINE: dict[Any, Callable[..., object]] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def run(
    main: Callable[[types.SimpleNamespace], int | None],
    define_flags: Callable[[flags.FlagValues], object],
    *,
    required: Sequence[str] = (),
    positional: str = "",
    argv: Sequence[str] | None = None,
) -> int:
    """Parses the command line, calls `main(arguments)` and returns the exit status.

    A UserError, an OSError and Ctrl-C become one line on stderr; any other exception is a
    bug and keeps its traceback.

    Args:
      main: does the work; may return an exit status.
      define_flags: defines this program's absl flags on the `flag_values` it is given.
      required: names of flags that must be given and not be empty.
      positional: what arguments without a dash are, for `--help`; "": there are none.
      argv: program and arguments; sys.argv by default.
    """
    if argv is None:
        keep_compiled_programs()
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    argv = list(sys.argv if argv is None else argv)
    flag_values = flags.FlagValues()
    define_flags(flag_values)
    try:
        if _HELP.intersection(argv[1:]):
            print(sys.modules[main.__module__].__doc__ or "")
            print(f"usage: python -m experiments.{pathlib.Path(argv[0]).stem}", end="")
            print("", *[f"--{name}={name.upper()}" for name in required], positional)
            print(flag_values.get_help())
            status = 0
        else:
            arguments = parse(argv, flag_values, required, positional)
            status = main(arguments) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk behind it is one of the program's errors
        return status
    except UserError as error:
        return _report(error.args[0], 2)
    except KeyboardInterrupt:
        return _report("interrupted", 130)
    except BrokenPipeError:
        _discard_output()  # the reader (head, less) has what it wanted
        return 0
    except OSError as error:
        if error.strerror and not error.filename:
            _discard_output()  # files are named: this is standard output
            return _report(f"standard output: {error.strerror}", 1)
        return _report(error, 1)


def parse(
    argv: Sequence[str],
    flag_values: flags.FlagValues,
    required: Sequence[str] = (),
    positional: str = "",
) -> types.SimpleNamespace:
    """The values of all flags by name, and `positional`, the list of other arguments."""
    flag_values.set_gnu_getopt(True)
    try:
        rest = flag_values(list(argv))[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname.removeprefix("no")
        close = difflib.get_close_matches(name, list(flag_values), n=1, cutoff=0.5)
        hint = f"; did you mean --{close[0]}?" if close else ""
        raise UserError(f"unknown flag --{error.flagname}{hint}") from None
    except (flags.Error, ValueError) as error:
        # absl raises a bare ValueError for --noFLAG=VALUE.
        raise UserError(f"{error}") from None
    if rest and not positional:
        raise UserError(f"unexpected argument {rest[0]!r}: flags begin with --")
    for name in required:
        if flag_values[name].value in (None, "", [], [""]):
            raise UserError(f"--{name} is required; see --help")
    values = {name: flag_values[name].value for name in flag_values}
    return types.SimpleNamespace(**values, positional=rest)


@contextlib.contextmanager
def sigterm_received() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM came within the block, which it does not end."""
    received = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def keep_compiled_programs() -> None:
    """Keeps compiled programs from run to run, beside downloads, unless jax is told where."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        own = os.environ.get("ATTENTION_JAX_CACHE")
        folder = own or platformdirs.user_cache_dir("attention_jax")
        jax.config.update("jax_compilation_cache_dir", f"{folder}/compiled")
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # A model's initialisation is fifty short compilations.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _discard_output() -> None:
    """Keeps the interpreter from complaining again when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: object, status: int) -> int:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return status


def define_fields(flag_values: flags.FlagValues, section: Any, prefix: str) -> None:
    """Defines a flag for every field of a config section, None unless it is given."""
    for one in dataclasses.fields(section):
        name: str = prefix + one.name
        if dataclasses.is_dataclass(one.type):
            define_fields(flag_values, one.type, f"{name}.")
            continue
        text = f"{one.metadata['help']} (default {one.default!r})"
        _DEFINE[one.type](name, None, text, flag_values=flag_values)


def define_config(flag_values: flags.FlagValues) -> None:
    """Defines --config and a flag for every field of it."""
    text = "Python file whose get_config() returns an ExperimentConfig."
    flags.DEFINE_string("config", None, text, flag_values=flag_values)
    define_fields(flag_values, ExperimentConfig, "config.")


def load_configs(
    path: str, flags_given: Mapping[str, Any] = types.MappingProxyType({})
) -> list[ExperimentConfig] | dict[str, ExperimentConfig]:
    """What get_config() of a file returns; one configuration alone as a list.

    Flags called `config.section.field` that are not None override the field in each.
    """
    read_lines(path, field="--config")  # which says what is wrong with the file
    try:
        found = runpy.run_path(os.path.abspath(path)).get("get_config", dict)()
    except (Exception, SystemExit) as error:
        reason = format_error(error, file=os.path.abspath(path))
        raise UserError(f"the config file {path} raised {reason}") from error
    if not isinstance(found, list | dict):
        found = [found]
    overrides = [
        (name.removeprefix("config.").split("."), value)
        for name, value in flags_given.items()
        if name.startswith("config.") and value is not None
    ]
    for one in found.values() if isinstance(found, dict) else found:
        if not isinstance(one, ExperimentConfig):
            raise UserError(
                f"get_config() of {path} must return an ExperimentConfig, or a list or "
                f"dict of them for a sweep, got {type(one).__name__}"
            )
        if any(value is None for value in vars(one).values()):
            check_fields(one)  # a section of None has no fields to override
        for (*sections, field), value in overrides:
            setattr(functools.reduce(getattr, sections, one), field, value)
    if not found:
        raise UserError(f"{path} has no get_config(), or it returns an empty sweep")
    return found


def load_config(
    path: str, flags_given: Mapping[str, Any] = types.MappingProxyType({})
) -> ExperimentConfig:
    """As `load_configs`, of a file that returns one; UserError if it returns several."""
    found = load_configs(path, flags_given)
    if isinstance(found, dict) or len(found) > 1:
        raise UserError(
            f"{path} is a sweep of {len(found)} runs: use "
            f"python -m experiments.sweep --config={path} --workdir=DIR"
        )
    return found[0]
