import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from attention_jax.config import ExperimentConfig
from attention_jax.errors import UnknownNameError
from experiments import command_line
from experiments.config_file import config_fields

ROOT = pathlib.Path(__file__).parents[2]

GOOD = """
from attention_jax.config import ExperimentConfig
def get_config(variant=""):
    config = ExperimentConfig(seed=7)
    config.model.cell = variant or config.model.cell
    return config
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
        "beam_size",
        1,
        "How many.",
        lower_bound=1,
        upper_bound=64,
        flag_values=flag_values,
    )
    flags.DEFINE_bool("verbose", False, "Whether.", flag_values=flag_values)


def run(arguments, main=lambda arguments: None, *, config=True, **keywords):
    keywords = {"required": ("workdir",)} | keywords
    return command_line.run(
        main,
        define_flags,
        config=config,
        argv=["/somewhere/program.py", *arguments],
        **keywords,
    )


def parsed(arguments, **keywords):
    """What main is called with."""
    received = []
    assert run(arguments, received.append, **keywords) == 0
    return received[0]


def error_line(capsys):
    """The one line on stderr, after checking that it is one and names the program."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("program: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("program: ").strip()


BASE = ["--config=configs/good.py", "--workdir=w"]


def test_a_field_may_be_overridden_twice_and_the_last_counts(folder):
    seen = []
    twice = ["--config.seed=3", "--config.seed=4"]
    assert (
        run([*BASE, *twice], lambda arguments: seen.append(arguments.config.seed)) == 0
    )
    assert seen == [4]


def test_a_choice_that_is_none_lists_the_choices(folder, capsys):
    def with_choice(flag_values):
        flags.DEFINE_enum(
            "split", "test", ["train", "test"], "Which.", flag_values=flag_values
        )

    argv = ["program.py", "--split=tset"]
    assert command_line.run(lambda arguments: None, with_choice, argv=argv) == 2
    line = error_line(capsys)
    assert line == "--split is one of train, test, got 'tset'; did you mean test?"


def test_main_receives_flags_and_the_config(folder):
    arguments = parsed([*BASE, "--beam_size", "5"])
    assert arguments.workdir == "w"
    assert arguments.beam_size == 5
    assert arguments.positional == []
    assert arguments.config == ExperimentConfig(seed=7)


def test_overrides_of_every_type(folder):
    config = parsed(
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
    ).config
    assert config.model.score == "additive"
    assert config.training.steps == 3
    assert config.training.learning_rate == 1.0
    assert type(config.training.learning_rate) is float
    assert config.model.bidirectional is False
    assert config.data.lowercase is True
    assert config.seed == 2


def value_unlike(default):
    """Another value of the type of `default`, as a flag's text and as itself."""
    if isinstance(default, bool):
        return str(not default).lower(), not default
    if isinstance(default, str):
        return "other", "other"
    return str(default + 1), default + 1


@pytest.mark.parametrize("field", config_fields(), ids=lambda field: field.path)
def test_every_field_can_be_overridden(folder, field, monkeypatch):
    monkeypatch.setattr("attention_jax.experiment.validate", lambda config: None)
    section, _, name = field.path.rpartition(".")

    def holder(config):
        return getattr(config, section) if section else config

    text, value = value_unlike(getattr(holder(ExperimentConfig()), name))
    config = parsed([*BASE, f"--config.{field.path}={text}"]).config
    assert getattr(holder(config), name) == value


def test_config_variant_reaches_get_config(folder):
    arguments = parsed(["--config=configs/good.py:gru", "--workdir=w"])
    assert arguments.config.model.cell == "gru"


def test_two_parses_do_not_share_a_config(folder):
    first = parsed([*BASE, "--config.training.steps=3"]).config
    assert parsed(BASE).config.training.steps == ExperimentConfig().training.steps
    assert first.training.steps == 3


MISTAKES = {
    "unknown field": (
        ["--config.model.scroe=dot"],
        "did you mean --config.model.score?",
    ),
    "field without section": (
        ["--config.score=dot"],
        "did you mean --config.model.score?",
    ),
    "unknown section": (["--config.modle.score=dot"], "--config.model.score?"),
    "field of a field": (["--config.model.score.x=1"], "unknown field"),
    "negated unknown field": (
        ["--noconfig.model.bidirectoinal"],
        "model.bidirectional?",
    ),
    "a whole section": (["--config.model=none"], "--config.model is a section"),
    "not a whole number": (
        ["--config.training.steps=1e3"],
        "--config.training.steps takes a whole number, got '1e3'",
    ),
    "not a number": (
        ["--config.training.learning_rate=fast"],
        "--config.training.learning_rate takes a number, got 'fast'",
    ),
    "not a boolean": (
        ["--config.data.lowercase=maybe"],
        "--config.data.lowercase takes true or false, got 'maybe'",
    ),
    "no value": (["--config.seed"], "Missing value for flag --config.seed"),
    "out of range": (
        ["--config.training.batch_size=0"],
        "config.training.batch_size must be at least 1, got 0",
    ),
    "unknown score": (
        ["--config.model.score=aditive"],
        "config.model.score: unknown score 'aditive'. Did you mean 'additive'?",
    ),
    "score file missing": (["--config.model.score=nowhere.py:f"], "nowhere.py"),
    "sizes disagree": (["--config.model.decoder_size=100"], "model.decoder_size=100"),
    "unknown flag": (
        ["--wrokdir=x"],
        "unknown flag --wrokdir; did you mean --workdir?",
    ),
    "own flag's type": (
        ["--beam_size=x"],
        "--beam_size takes a whole number of at least 1 and at most 64, got 'x'",
    ),
    "stray argument": (["stray"], "unexpected argument 'stray'; flags start with --"),
    "below its bound": (
        ["--beam_size=0"],
        "--beam_size takes a whole number of at least 1 and at most 64, got '0'",
    ),
    "two configs": (
        ["--config", "configs/good.py"],
        "--config is given 2 times; it takes one file",
    ),
    "negated by no-": (
        ["--no-config.model.bidirectional"],
        "--no-config.model.bidirectional; did you mean --noconfig.model.bidirectional?",
    ),
    "negated and given a value": (
        ["--noconfig.model.bidirectional=true"],
        "takes no value, got 'true'; it means --config.model.bidirectional=false",
    ),
    "a number negated": (
        ["--noconfig.seed"],
        "is for fields that are true or false; --config.seed takes a whole number",
    ),
    "own flag negated with a value": (["--noverbose=x"], "--noverbose"),
    "twice": (["--verbose", "--noverbose"], "2 times: --verbose --noverbose"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(folder, capsys, name):
    mistake, message = MISTAKES[name]
    called = []
    assert run([*BASE, *mistake], called.append) == 2
    assert message in error_line(capsys)
    assert called == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config=FILE.py is required"),
        (["--workdir=w"], "--config=FILE.py is required"),
        (
            ["--confg=c.py", "--workdir=w"],
            "unknown flag --confg; did you mean --config",
        ),
        (["--config=configs/good.py"], "--workdir is required"),
        (["--config=configs/good.py", "--workdir="], "--workdir is empty: it needs"),
        ([*BASE, "--workdir=b"], "--workdir is given 2 times: --workdir="),
        (
            ["--workdir=w", "--config=configs/quantitative_study_42.py"],
            "; there are configs/good.py",
        ),
        (["--workdir=w", "--config="], "--config=FILE.py is required"),
        (["--workdir=w", "--config=configs/god.py"], "did you mean configs/good.py?"),
        (["--workdir=w", "--config=good"], "did you mean configs/good.py?"),
        (
            ["--workdir=w", "--config=configs"],
            "the config file configs is a directory; it has configs/good.py",
        ),
        (["--workdir=w", "--config=empty"], "is a directory; it has no .py file"),
        (
            ["configs/good.py", "runs/x"],
            "argument 'configs/good.py'; did you mean --config=configs/good.py?",
        ),
        (
            ["--config=configs/good.py", "runs/x"],
            "unexpected argument 'runs/x'; did you mean --workdir=runs/x?",
        ),
        (
            [*BASE, "configs/good.py"],
            "unexpected argument 'configs/good.py'; flags start with --",
        ),
        (["--noconfig.seed=3"], "--noconfig.seed is for fields that are true or false"),
        (["--no-config.seed"], "--no-config.seed is for fields that are true or false"),
        (["--config.seed=3", *BASE], "before a value for --config was specified"),
    ],
)
def test_missing_flags_and_files(folder, capsys, arguments, message):
    (folder / "empty").mkdir()
    assert run(arguments) == 2
    assert message in error_line(capsys)


CONFIG_FILES = {
    "no get_config": ("x = 1\n", "has no get_config()"),
    "syntax": ("def get_config(:\n", "syntax error in line 1"),
    "raises": (
        "import os\n\nraise ValueError('a\\nb')\n",
        "raised ValueError in line 3",
    ),
    "exits": ("raise SystemExit(3)\n", "raised SystemExit in line 1"),
    "get_config raises OSError": (
        "def get_config():\n    open('missing.txt')\n",
        "raised FileNotFoundError in line 2",
    ),
    "returns nothing": ("def get_config():\n    pass\n", "got NoneType"),
    "returns a dict": ("def get_config():\n    return {}\n", "got dict"),
    "wrong type": (
        GOOD + "def get_config(): return ExperimentConfig(seed='x')\n",
        "config.seed must be of type int",
    ),
    "misspelt attribute": (
        GOOD.replace("config.model.cell =", "config.model.cel ="),
        "config.model.cel'. Did you mean 'config.model.cell'?",
    ),
    "wants a variant": (
        "def get_config(variant):\n    pass\n",
        "get_config() of configs/bad.py needs a variant: --config=configs/bad.py:VARIANT",
    ),
    "not text": ("x = 1\0\n", "configs/bad.py is not Python source: source code"),
}


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_an_unusable_config_file_is_one_line_and_status_2(folder, capsys, name):
    text, message = CONFIG_FILES[name]
    (folder / "configs" / "bad.py").write_text(text)
    assert run(["--config=configs/bad.py", "--workdir=w"]) == 2
    assert message in error_line(capsys)


def test_a_variant_for_a_config_without_any(folder, capsys):
    (folder / "configs" / "one.py").write_text("def get_config(): pass\n")
    assert run(["--config=configs/one.py:fast", "--workdir=w"]) == 2
    assert error_line(capsys) == (
        "get_config() of configs/one.py takes no variant, got 'fast'; "
        "did you mean --config=configs/one.py?"
    )


def raising(error):
    def main(arguments):
        raise error

    return main


def test_os_errors_are_one_line_and_status_1(folder, capsys):
    error = OSError(28, "No space left on device", "w/config.json")
    assert run(BASE, raising(error)) == 1
    assert "No space left on device: 'w/config.json'" in error_line(capsys)


def test_checks_of_this_project_are_one_line_and_status_1(folder, capsys):
    def value_error(arguments):
        from attention_jax.training.run_directory import config_from_dict

        config_from_dict({"sead": 3})

    assert run(BASE, value_error) == 1
    assert "Did you mean 'config.seed'?" in error_line(capsys)


@pytest.mark.parametrize(
    "error", [ValueError("bug"), KeyError("bug"), TypeError("bug"), RuntimeError("bug")]
)
def test_other_errors_keep_their_traceback(folder, error):
    with pytest.raises(type(error), match="bug"):
        run(BASE, raising(error))


def test_usage_errors_of_main_are_status_2(folder, capsys):
    assert run(BASE, raising(command_line.UsageError("--a needs --b"))) == 2
    assert error_line(capsys) == "--a needs --b"


def test_ctrl_c_is_one_line_and_status_130(folder, capsys):
    status = run(
        BASE, raising(KeyboardInterrupt()), interrupted="stopped; run me again"
    )
    assert status == 130
    assert error_line(capsys) == "stopped; run me again"


def test_main_may_return_a_status(folder):
    assert run(BASE, lambda arguments: 3) == 3


def test_positional_arguments_are_handed_on(folder):
    arguments = parsed(
        ["a", "--beam_size=2", "b"], config=False, required=(), positional="DIR..."
    )
    assert arguments.positional == ["a", "b"]
    assert arguments.beam_size == 2
    assert not hasattr(arguments, "config")


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_lists_every_field_with_type_default_and_comment(folder, capsys, flag):
    assert run([flag, "--nonsense"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for field in config_fields():
        assert f"--config.{field.path}={field.default}  ({field.type})" in out
    assert "# A registered source: cldr, tatoeba" in out
    assert "--workdir: Where. (required)" in out
    assert "--beam_size: How many. (default '1')" in out


def test_help_shows_the_values_of_the_config_given(folder, capsys):
    pathlib.Path("mine.py").write_text(
        "from attention_jax.config import ExperimentConfig\n\n\n"
        "def get_config():\n"
        "    config = ExperimentConfig()\n"
        "    config.model.score = 'additive'\n"
        "    return config\n",
        encoding="utf-8",
    )
    assert run(["--help", "--config=mine.py"]) == 0
    out = capsys.readouterr().out
    assert "fields of the config file, and their values in mine.py:" in out
    assert "--config.model.score='additive'  (str)" in out
    defaults = [f"--config.{f.path}={f.default}  ({f.type})" for f in config_fields()]
    assert sum(line not in out for line in defaults) == 1
    assert run(["--help", "--config=nowhere.py"]) == 0
    out = capsys.readouterr().out
    assert "and their defaults (the config file nowhere.py does not exist" in out
    assert all(line in out for line in defaults)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_named(unbuffered):
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "experiments.train", "--help"],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == b"train: standard output: No space left on device\n"


def test_help_does_not_call_a_flag_with_a_default_required(capsys):
    def with_default(flag_values):
        flags.DEFINE_string("workdir", "runs/x", "Where.", flag_values=flag_values)

    argv = ["program.py", "--help"]
    assert (
        command_line.run(
            lambda arguments: None, with_default, required=("workdir",), argv=argv
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "--workdir: Where. (default 'runs/x')" in out
    assert "required" not in out and "--workdir=WORKDIR" not in out


def test_help_into_a_closed_pipe_ends_silently():
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.train", "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


def test_fields_are_those_of_the_dataclasses():
    config = ExperimentConfig()
    for field in config_fields():
        value = config
        for name in field.path.split("."):
            value = getattr(value, name)
        assert repr(value) == repr(eval(field.default)), field.path
        assert type(value).__name__ == field.type


def program(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_reports_a_mistake_without_traceback_or_directory(tmp_path):
    workdir = tmp_path / "run"
    answer = program(
        "--config=configs/cldr_zh_en.py", f"--workdir={workdir}", "--config.sead=1"
    )
    assert answer.returncode == 2
    expected = "train: unknown field --config.sead; did you mean --config.seed?\n"
    assert answer.stderr == expected
    assert answer.stdout == ""
    assert not workdir.exists()


def test_unknown_names_raised_elsewhere_are_one_line(folder, capsys):
    from attention_jax.functions.registry import Registry

    def main(arguments):
        Registry("colour").get("red")

    assert run(BASE, main) == 1
    assert "unknown colour 'red'" in error_line(capsys)
    with pytest.raises(UnknownNameError):
        Registry("colour").get("red")
