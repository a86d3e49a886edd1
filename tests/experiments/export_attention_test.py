import pytest

from attention_jax.evaluation.attention_files import load_attention
from experiments import export_attention
from tests.experiments.programs import runner

run = runner(export_attention, required=("workdir", "output"))


def test_exports_what_the_run_attends_to(workdir, tmp_path, capsys):
    output = tmp_path / "a.npz"
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("ba bi bo\n\nbi ba\n", "utf-8")
    arguments = (f"--workdir={workdir}", f"--output={output}")
    assert run(*arguments, f"--input={sentences}") == 0
    assert capsys.readouterr().out == f"wrote {output}, 3 sentences\n"
    file = load_attention(output)
    first, blank, _ = file.translations
    assert blank.weights.shape == (0, 0) and blank.text == ""
    assert first.source_tokens == ("ba", "bi", "bo")
    assert first.text == "bo bi ba" and file.sources == ("ba bi bo", "", "bi ba")
    assert first.weights.shape == (3, 3)
    assert first.weights.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert file.facts["checkpoint"] == "best"


def test_exports_the_first_of_a_split(workdir, tmp_path):
    output = tmp_path / "b.npz"
    arguments = (f"--workdir={workdir}", f"--output={output}", "--split=dev")
    assert run(*arguments, "--num=3") == 0
    assert len(load_attention(output).sources) == 3


def test_nothing_that_is_read_is_replaced(workdir, tmp_path, capsys):
    sentences = tmp_path / "sentences.npz"
    sentences.write_text("ba bi\n")
    read = f"--workdir={workdir}", f"--input={sentences}"
    assert run(*read, f"--output={sentences}") == 2
    assert "--input and --output name the same file" in capsys.readouterr().err
    assert sentences.read_text() == "ba bi\n"
    before = (workdir / "config.json").read_bytes()
    (tmp_path / "link.npz").symlink_to(workdir / "config.json")
    for output in (workdir / "config.json", tmp_path / "link.npz"):
        assert run(*read, f"--output={output}") == 2
        assert "is a file of the run in" in capsys.readouterr().err
    assert run(*read, f"--output={workdir}/checkpoints/a.npz") == 2
    assert (workdir / "config.json").read_bytes() == before
    # Beside a run's files there is room.
    assert run(*read, f"--output={workdir}/attention.npz") == 0
    (workdir / "attention.npz").unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of --text, --input and --split is required; got none"),
        (("--text=a", "--split=dev"), "got --text and --split"),
        (("--text=a", "--target=b", "--target=c"), "got 2 and 1"),
        (("--input=no.txt", "--target=b"), "got 1 and 0"),
        (("--text=\udcff",), "--text and --target must be UTF-8"),
    ],
)
def test_a_wrong_command_line(arguments, message, capsys):
    assert run("--workdir=nowhere", "--output=a.npz", *arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_file_of_another_kind_is_refused_first(capsys):
    assert run("--workdir=nowhere", "--text=a", "--output=a.csv") == 2
    assert "ends in .npz" in capsys.readouterr().err


def test_an_input_that_is_not_there(workdir, tmp_path, capsys):
    output = f"--output={tmp_path / 'a.npz'}"
    assert run(f"--workdir={workdir}", output, "--input=no/such.txt") == 2
    assert "--input: no file 'no/such.txt'" in capsys.readouterr().err
