"""What is wrong with a command line, found before or explained after absl parses it."""

import os
import pathlib
import re
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from absl import flags

from experiments.config_file import check_field, config_fields, nearest


class UsageError(Exception):
    """A command line that cannot be run; one sentence. Exit status 2."""


def check_output(path: str | None, flag: str = "output") -> pathlib.Path | None:
    """The file that the flag names, None if it was not given.

    Raises:
      UsageError: it could not be written: known before any work is done.
    """
    if path is None:
        return None
    if not path:
        raise UsageError(f"--{flag} is empty; it takes a file")
    # Not above: the package takes longer to import than most mistakes to find.
    from attention_jax.atomic_write import check_writable

    try:
        check_writable(path)
    except OSError as error:
        raise UsageError(f"--{flag}: {error}") from error
    return pathlib.Path(path)


def check_picture(path: str, flag: str = "figure") -> None:
    """Raises UsageError unless the picture that the flag names could be written."""
    from attention_jax.evaluation.plots import check_path

    try:
        check_path(path)
    except (ValueError, OSError) as error:
        raise UsageError(f"--{flag}: {error}") from error


def check_apart(
    written: Mapping[str, str | None],
    *,
    read: Mapping[str, str | None] = types.MappingProxyType({}),
    runs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Checks that what is written replaces nothing that is read.

    Args:
      written, read: the files that flags name, by the flags' names.
      runs: directories of runs that are read.

    Raises:
      UsageError: two flags name the same file, or one a file of a run or of its data.
    """
    seen: dict[pathlib.Path, str] = {}
    for flag, path in [*read.items(), *written.items()]:
        if path:
            place = pathlib.Path(path).resolve()
            other = seen.setdefault(place, flag)
            # /dev/null and a terminal take any number of files.
            plain = place.is_file() or not place.exists()
            if other != flag and flag in written and plain:
                raise UsageError(f"--{other} and --{flag} name the same file: {path!r}")
    for directory in runs:
        from attention_jax.training.run_directory import RunDirectory

        run = RunDirectory(directory)
        sources = run.sources()
        for flag, path in written.items():
            if path and run.owns(path):
                raise UsageError(f"--{flag}={path} is a file of the run in {run.path}")
            if path and pathlib.Path(path).resolve() in sources:
                raise UsageError(
                    f"--{flag}={path} is what the run in {run.path} was made from"
                )


def check_config_arguments(argv: Sequence[str], known: Collection[str]) -> None:
    """Checks what a program with `--config` is given, before the config file is read.

    Args:
      argv: program and arguments.
      known: names of the program's other flags.

    Raises:
      UsageError, ConfigFileError: an override of no field, or of a wrong form; a missing
        `--config`, or more than one.
    """
    for argument in argv[1:]:
        _check_override(argument)
    given = [a for a in argv[1:] if re.match(r"--?config(=.|$)", a)]
    if len(given) > 1:
        raise UsageError(f"--config is given {len(given)} times; it takes one file")
    if not given:
        _check_names(argv, [*known, "config", "help"])
        for argument in argv[1:]:
            if not argument.startswith("-") and argument.endswith(".py"):
                raise UsageError(stray_argument(argument, ["config", *known]))
        raise UsageError("--config=FILE.py is required; see --help")


def check_given_once(argv: Sequence[str], names: Collection[str]) -> None:
    """Raises UsageError for a flag given twice, of which only the last would count.

    Overrides of fields may be repeated: a script's own, then the caller's.
    """
    for name in names:
        forms = re.compile(rf"--?(no)?{re.escape(name)}(=.*|)", re.DOTALL)
        given = [a for a in argv[1:] if forms.fullmatch(a)]
        if len(given) > 1:
            raise UsageError(f"--{name} is given {len(given)} times: {' '.join(given)}")


def _check_override(argument: str) -> None:
    found = re.fullmatch(r"--?(no-?)?config\.([^=]*)(=.*)?", argument, re.DOTALL)
    if not found:
        return
    negation, path, value = found.groups()
    check_field(path)
    if not negation:
        return
    [kind] = [field.type for field in config_fields() if field.path == path]
    if kind != "bool":
        raise UsageError(
            f"--{negation}config.{path} is for fields that are true or false; "
            f"--config.{path} takes {article(kind)}"
        )
    if value is not None:
        raise UsageError(
            f"--{negation}config.{path} takes no value, got {value[1:]!r}; "
            f"it means --config.{path}=false"
        )
    if negation == "no-":
        raise UsageError(
            f"unknown flag --no-config.{path}; did you mean --noconfig.{path}?"
        )


def _check_names(argv: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for a flag of no known name: a misspelt one is not a missing one."""
    for argument in argv[1:]:
        found = re.match(r"--?([\w.-]+)", argument)
        if found and found.group(1).removeprefix("no") not in known:
            name = f"--{found.group(1)}"
            if name.removeprefix("--") in known or re.match(r"--(no)?config\.", name):
                continue
            raise UsageError(
                f"unknown flag {name}{nearest(name, [f'--{flag}' for flag in known])}"
            )


def stray_argument(argument: str, missing: Collection[str]) -> str:
    """The sentence for an argument that is no flag, in a program that takes none such.

    Args:
      argument: the first of them.
      missing: names of the flags that were not given and have no default.
    """
    hint = "flags start with --"
    if argument.endswith(".py") and "config" in missing:
        hint = f"did you mean --config={argument}?"
    elif "workdir" in missing and (
        os.sep in argument or pathlib.Path(argument).is_dir()
    ):
        hint = f"did you mean --workdir={argument}?"
    return f"unexpected argument {argument!r}; {hint}"


def illegal_value(
    error: flags.IllegalFlagValueError,
    flag_values: flags.FlagValues,
    types_by_flag: Mapping[str, str],
) -> str:
    """The sentence for a flag's value that its parser refused."""
    found = re.match(r"flag --([\w.]+)=(.*?): ", str(error), re.DOTALL)
    if not found:
        return str(error)
    name, value = found.groups()
    parser: Any = flag_values[name].parser
    choices = getattr(parser, "enum_values", None)
    if choices:
        listed = ", ".join(choices)
        return f"--{name} is one of {listed}, got {value!r}{nearest(value, choices)}"
    low, high = (getattr(parser, f"{end}_bound", None) for end in ("lower", "upper"))
    limits = [f"at least {low}"] if low is not None else []
    limits += [f"at most {high}"] if high is not None else []
    bounds = f" of {' and '.join(limits)}" if limits else ""
    kind = article(types_by_flag.get(name, "value"))
    return f"--{name} takes {kind}{bounds}, got {value!r}"


def article(type_name: str) -> str:
    """`a whole number` for `int`, and so on."""
    names = {"str": "string", "float": "number", "int": "whole number"}
    name = names.get(type_name, type_name)
    return f"a {name}" if name != "bool" else "true or false"
