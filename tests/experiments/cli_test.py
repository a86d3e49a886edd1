"""Flags in, one-line errors and an exit status out."""

import pathlib
import subprocess
import sys

import jax
import pytest
from absl import flags

from attention_jax.config import ExperimentConfig
from attention_jax.errors import UnknownNameError, UserError
from experiments import cli, run_flags
from experiments.cli import define_config, load_config

ROOT = pathlib.Path(__file__).parents[2]

GOOD = """
from attention_jax.config import ExperimentConfig
def get_config():
    return ExperimentConfig(seed=7)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with configs/good.py."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "good.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def define_flags(flag_values):
    flags.DEFINE_string("workdir", None, "Where.", flag_values=flag_values)
    flags.DEFINE_integer(
        "beam_size", 1, "How many.", lower_bound=1, flag_values=flag_values
    )
    flags.DEFINE_bool("verbose", False, "Whether.", flag_values=flag_values)
    flags.DEFINE_enum("split", "a", ["a", "b"], "Which.", flag_values=flag_values)
    define_config(flag_values)


def run(arguments, main=lambda arguments: None, **keywords):
    keywords = {"required": ("config", "workdir")} | keywords
    argv = ["/somewhere/program.py", *arguments]
    return cli.run(main, define_flags, argv=argv, **keywords)


def load(arguments):
    """The configuration of the command line."""
    return load_config(arguments.config, vars(arguments))


def parsed(arguments, **keywords):
    """What main is called with."""
    received = []
    assert run(arguments, received.append, **keywords) == 0
    return received[0]


def error_line(capsys):
    """The one line on stderr, without its beginning."""
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ")
    assert err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("error: ").strip()


BASE = ["--config=configs/good.py", "--workdir=w"]


def test_main_receives_flags_and_the_config(folder):
    arguments = parsed([*BASE, "--beam_size", "5"])
    assert (arguments.workdir, arguments.beam_size) == ("w", 5)
    assert arguments.positional == []
    assert load(arguments) == ExperimentConfig(seed=7)


def test_overrides_of_every_type_and_the_last_counts(folder):
    arguments = parsed(
        [
            *BASE,
            "--config.model.score=additive",
            "--config.training.steps=3",
            "--config.training.learning_rate=1",
            "--noconfig.model.bidirectional",
            "--config.data.lowercase",
            "--config.seed=1",
            "--config.seed",
            "2",
        ]
    )
    config = load(arguments)
    assert config.model.score == "additive"
    assert config.training.steps == 3
    assert type(config.training.learning_rate) is float
    assert config.model.bidirectional is False
    assert config.data.lowercase is True
    assert config.seed == 2
    # Another command line has a config of its own.
    assert load(parsed(BASE)) == ExperimentConfig(seed=7)


def test_every_field_can_be_overridden(folder):
    values = flags.FlagValues()
    define_config(values)
    overrides, expected = [], ExperimentConfig(seed=7)
    for name in values:
        *sections, field = name.split(".")[1:] or [""]
        if not field:
            continue
        section = getattr(expected, sections[0]) if sections else expected
        value = getattr(section, field)
        other = {bool: not value, str: "other"}.get(type(value))
        setattr(section, field, value + 1 if other is None else other)
        overrides.append(f"--{name}={getattr(section, field)}")
    assert len(overrides) > 60
    assert load(parsed([*BASE, *overrides])) == expected


MISTAKES = {
    "unknown field": (
        ["--config.model.scroe=dot"],
        "unknown flag --config.model.scroe; did you mean --config.model.score?",
    ),
    "field without section": (["--config.score=dot"], "mean --config.model.score?"),
    "negated unknown field": (
        ["--noconfig.model.bidirectoinal"],
        "did you mean --config.model.bidirectional?",
    ),
    "a whole section": (["--config.model=none"], "unknown flag --config.model;"),
    "not an integer": (["--config.training.steps=1e3"], "config.training.steps=1e3"),
    "no value": (["--config.seed"], "Missing value for flag --config.seed"),
    "negated and given a value": (["--noverbose=x"], "--noverbose=x does not take"),
    "unknown flag": (["--wrokdir=x"], "unknown flag --wrokdir; did you mean --workdir"),
    "below its bound": (["--beam_size=0"], "--beam_size=0: 0 is not a positive"),
    "no choice": (["--split=c"], "--split=c: value should be one of <a|b>"),
    "stray argument": (["x"], "unexpected argument 'x': flags begin with --"),
    "empty": (["--workdir="], "--workdir is required; see --help"),
    "no config": (["--config="], "--config is required"),
    "no file": (
        ["--config=configs/god.py"],
        "--config: no file 'configs/god.py'. Did you mean 'configs/good.py'?",
    ),
    "a folder": (["--config=configs"], "--config: cannot read 'configs': Is a dir"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(folder, capsys, name):
    mistake, message = MISTAKES[name]
    assert run([*BASE, *mistake], load) == 2
    assert message in error_line(capsys)


CONFIG_FILES = {
    "no get_config": ("x = 1\n", "bad.py has no get_config()"),
    "syntax": ("def get_config(:\n", "raised SyntaxError in line 1"),
    "raises": (
        "import os\n\nraise ValueError('a\\nb')\n",
        "raised ValueError in line 3: a",
    ),
    "get_config raises OSError": (
        "def get_config():\n    open('missing.txt')\n",
        "raised FileNotFoundError in line 2",
    ),
    "returns no config": ("def get_config():\n    return [3]\n", "got int"),
    "returns an empty sweep": ("def get_config():\n    return {}\n", "an empty sweep"),
    "a section of None": (
        GOOD + "def get_config():\n    c = ExperimentConfig()\n    c.training = None\n"
        "    return c",
        "config.training must be of type TrainingConfig, got None",
    ),
    "a sweep": (
        GOOD + "def get_config(): return [ExperimentConfig()] * 2",
        "is a sweep of 2 runs: use python -m experiments.sweep --config=configs/bad.py",
    ),
}


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_an_unusable_config_file_is_one_line_and_status_2(folder, capsys, name):
    text, message = CONFIG_FILES[name]
    (folder / "configs" / "bad.py").write_text(text)
    assert run(["--config=configs/bad.py", "--workdir=w"], load) == 2
    assert message in error_line(capsys)


def test_an_override_in_a_section_of_none_is_one_line(folder, capsys):
    (folder / "configs" / "bad.py").write_text(CONFIG_FILES["a section of None"][0])
    arguments = ["--config=configs/bad.py", "--workdir=w", "--config.training.steps=2"]
    assert run(arguments, load) == 2
    assert "config.training must be of type TrainingConfig" in error_line(capsys)


def raising(error):
    def main(arguments):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("--a needs --b"), 2, "--a needs --b"),
        (UnknownNameError("unknown\ncolour 'red'"), 2, "unknown colour 'red'"),
        (OSError(28, "No space left", "w/x"), 1, "[Errno 28] No space left: 'w/x'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_that_are_one_line(folder, capsys, error, status, message):
    found = run(BASE, raising(error))
    assert found == status
    assert error_line(capsys) == message


def test_other_errors_keep_their_traceback(folder):
    with pytest.raises(ValueError, match="bug"):
        run(BASE, raising(ValueError("bug")))


def test_main_may_return_a_status(folder):
    assert run(BASE, lambda arguments: 3) == 3


def test_positional_arguments_are_handed_on(folder):
    arguments = parsed(["a", "--beam_size=2", "b"], required=(), positional="DIR...")
    assert (arguments.positional, arguments.beam_size) == (["a", "b"], 2)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_every_flag_and_field(capsys, flag):
    assert run([flag, "--nonsense"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "usage: python -m experiments.program --config=CONFIG --workdir=" in out
    assert "--workdir: Where.\n" in out
    assert "--beam_size: How many.\n    (default: '1')\n    (a positive int" in out
    assert "--config.model.score: A score's name, " in out
    assert "--config.training.learning_rate: Its peak. (default 0.002)" in out


def train(*arguments, **keywords):
    command = [sys.executable, "-m", "experiments.train", *arguments]
    keywords = {"stdout": subprocess.PIPE, "text": True} | keywords
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, **keywords)


def test_a_program_reports_a_mistake_without_traceback_or_directory(tmp_path):
    workdir = tmp_path / "run"
    given = ("--config=configs/cldr_zh_en.py", f"--workdir={workdir}")
    process = train(*given, "--config.model.score=dto")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err.startswith(
        "error: config.model.score: unknown score 'dto'. Did you mean"
    )
    assert err.count("\n") == 1 and not workdir.exists()


@pytest.mark.parametrize("closed", [True, False])
def test_standard_output_that_ends_early_or_is_full(closed):
    if closed:
        process = train("--help")
        process.stdout.close()
        expected = (0, "")
    else:
        with open("/dev/full", "wb") as full:
            process = train("--help", stdout=full)
        expected = (1, "error: standard output: No space left on device\n")
    _, err = process.communicate()
    assert (process.returncode, err) == expected


def test_compiled_programs_are_kept_beside_downloads(monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.setenv("ATTENTION_JAX_CACHE", "/somewhere")
    try:
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "own")
        cli.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == before
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        cli.keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == "/somewhere/compiled"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)


def test_the_choices_are_the_librarys():
    from attention_jax.evaluation import evaluate
    from attention_jax.run import CHECKPOINTS

    assert run_flags.CHECKPOINTS == CHECKPOINTS
    assert run_flags.SPLITS == evaluate.SPLITS
