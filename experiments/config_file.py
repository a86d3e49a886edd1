"""Config files: a Python file whose `get_config()` returns an ExperimentConfig.

The fields, their types, defaults and comments are read from the source of
`attention_jax/config.py`, so that `--help` and a mistyped field are answered
without importing jax; the choices of other flags likewise.
"""

import ast
import dataclasses
import difflib
import functools
import importlib.util
import inspect
import operator
import pathlib
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from attention_jax.config import ExperimentConfig

CONFIGS = pathlib.Path("configs")
_LISTED = 8


class ConfigFileError(Exception):
    """A config file that cannot be used; one sentence."""


class Field(NamedTuple):
    """One overridable field of ExperimentConfig."""

    path: str  # model.score
    type: str  # str
    default: str  # 'dot', as the source has it
    comment: str  # the comment block right above it, "" if there is none


def package_source(name: str) -> str:
    """The text of a file of attention_jax, found without importing the package."""
    spec = importlib.util.find_spec("attention_jax")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("attention_jax is not installed; try `make env`")
    return (pathlib.Path(spec.origin).parent / name).read_text("utf-8")


def package_constant(file: str, name: str) -> Any:
    """The literal that a file of attention_jax assigns to `name`, at its top level."""
    for node in ast.parse(package_source(file)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"attention_jax/{file} assigns no {name}")


@functools.cache
def config_fields() -> tuple[Field, ...]:
    """Every field of ExperimentConfig, nested ones as `section.field`, in source order."""
    from attention_jax.config import ExperimentConfig

    def walk(section: Any, prefix: str) -> Iterable[Field]:
        for one in dataclasses.fields(section):
            path = prefix + one.name
            kind: Any = one.type
            if dataclasses.is_dataclass(kind):
                yield from walk(kind, path + ".")
            else:
                yield Field(
                    path, kind.__name__, repr(one.default), one.metadata["help"]
                )

    return tuple(walk(ExperimentConfig, ""))


def describe_fields(config: "ExperimentConfig | None" = None) -> str:
    """The fields as help text: comments above, `--config.path=value  (type)`.

    The values are those of `config`, or else the defaults.
    """
    lines = []
    section = None
    for field in config_fields():
        head = field.path.rpartition(".")[0]
        if section is not None and head != section:
            lines.append("")
        section = head
        lines += [f"  # {line}" for line in field.comment.splitlines()]
        value = field.default
        if config is not None:
            given = operator.attrgetter(field.path)(config)
            # A default stays as the source spells it: 1e-4 rather than 0.0001.
            if given != ast.literal_eval(value):
                value = repr(given)
        lines.append(f"  --config.{field.path}={value}  ({field.type})")
    return "\n".join(lines)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str:
    """A clause naming the known name most like `name`, or "" if none is alike."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def check_field(path: str) -> None:
    """Raises ConfigFileError, naming the nearest field, unless `path` is a field."""
    paths = [field.path for field in config_fields()]
    if path in paths:
        return
    inside = [name for name in paths if name.startswith(path + ".")]
    if inside:
        raise ConfigFileError(
            f"--config.{path} is a section; set its fields, e.g. --config.{inside[0]}"
        )
    hint = nearest(f"--config.{path}", [f"--config.{known}" for known in paths])
    raise ConfigFileError(f"unknown field --config.{path}{hint}")


def load_config(argument: str) -> "ExperimentConfig":
    """The configuration of `FILE.py` or `FILE.py:VARIANT` (get_config's argument).

    Raises:
      ConfigFileError: the file is missing, raises, or returns something else.
    """
    from attention_jax.config import ExperimentConfig

    config, path = get_config_of(argument), argument.partition(":")[0]
    if isinstance(config, list | dict) and config:
        raise ConfigFileError(
            f"{path} is a sweep, of {len(config)} runs; it is run by "
            f"python -m experiments.sweep --config={argument} --workdir=DIR"
        )
    if not isinstance(config, ExperimentConfig):
        raise ConfigFileError(
            f"get_config() of {path} must return an ExperimentConfig, "
            f"got {type(config).__name__}"
        )
    return config


def get_config_of(argument: str) -> Any:
    """What get_config() of `FILE.py` or `FILE.py:VARIANT` returns.

    Raises:
      ConfigFileError: the file is missing or raises.
    """
    path, separator, variant = argument.partition(":")
    file = pathlib.Path(path)
    if not file.is_file():
        raise ConfigFileError(f"the config file {path} {_what_instead(file)}")
    try:
        spec = importlib.util.spec_from_file_location("config_file", file.resolve())
        if spec is None:
            raise ConfigFileError(f"the config file {path} is not a .py file")
        module = importlib.util.module_from_spec(spec)
        # Not exec_module: its cached bytecode would hide an edit within the same second.
        code = compile(file.read_bytes(), str(file.resolve()), "exec")
        exec(code, module.__dict__)  # noqa: S102
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise ConfigFileError(f"the config file {path} has no get_config()")
        _check_variant(path, get_config, [variant] if separator else [])
        return get_config(*([variant] if separator else []))
    except ConfigFileError:
        raise
    except SyntaxError as error:
        where = f"has a syntax error in line {error.lineno}"
        if error.lineno is None:
            where = "is not Python source"
        raise ConfigFileError(f"the config file {path} {where}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = str(file.resolve())
        inside = [frame.lineno for frame in frames if frame.filename == own]
        where = f" in line {inside[-1]}" if inside else ""
        raise ConfigFileError(
            f"the config file {path} raised {type(error).__name__}{where}: {error}"
        ) from error


def _what_instead(file: pathlib.Path) -> str:
    """What is wrong with a path that is no file, and which config files there are."""
    if file.is_dir():
        return f"is a directory; it has {_listed(file.glob('*.py')) or 'no .py file'}"
    candidates = sorted({*CONFIGS.glob("*.py"), *file.parent.glob("*.py")})
    by_name = {candidate.name: str(candidate) for candidate in candidates}
    close = difflib.get_close_matches(
        file.with_suffix(".py").name, list(by_name), n=1, cutoff=0.3
    )
    if close:
        return f"does not exist; did you mean {by_name[close[0]]}?"
    listed = f"; there are {_listed(candidates)}" if candidates else ""
    return f"does not exist{listed}"


def _listed(files: Iterable[pathlib.Path]) -> str:
    names = sorted(map(str, files))
    more = [f"and {len(names) - _LISTED} more"] * (len(names) > _LISTED)
    return ", ".join(names[:_LISTED] + more)


def _check_variant(path: str, get_config: Callable, given: Sequence[str]) -> None:
    """Raises ConfigFileError unless get_config can be called with the variants given."""
    try:
        inspect.signature(get_config).bind(*given)
    except TypeError:
        if given:
            raise ConfigFileError(
                f"get_config() of {path} takes no variant, got {given[0]!r}; "
                f"did you mean --config={path}?"
            ) from None
        raise ConfigFileError(
            f"get_config() of {path} needs a variant: --config={path}:VARIANT"
        ) from None
