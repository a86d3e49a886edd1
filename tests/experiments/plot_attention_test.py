import pytest

from attention_jax.evaluation.evaluate import load_split
from attention_jax.training.run_directory import RunDirectory
from experiments import plot_attention
from tests.experiments.programs import runner

run = runner(plot_attention, required=("workdir", "output"))


@pytest.fixture
def drawn(monkeypatch):
    """The columns and panels of each figure, in place of its drawing."""
    found = []
    monkeypatch.setattr(
        plot_attention,
        "plot_weights_grid",
        lambda panels, columns, path: found.append((columns, list(panels))),
    )
    return found


def test_draws_the_runs_own_translation(workdir, tmp_path, capsys):
    output = tmp_path / "attention.png"
    assert run(f"--workdir={workdir}", "--text=ba bi bo", f"--output={output}") == 0
    assert output.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"bo bi ba\nwrote {output}\n"


def test_draws_a_given_translation(workdir, tmp_path, drawn):
    output = tmp_path / "attention.pdf"
    arguments = (f"--workdir={workdir}", "--text=ba bi", f"--output={output}")
    assert run(*arguments, "--target=ba zz ba") == 0
    [(_, [panel])] = drawn
    assert panel[1:3] == (("ba", "bi"), ("ba", "zz", "ba"))


def test_draws_several_sentences_in_a_grid(workdir, tmp_path, capsys, drawn):
    arguments = (f"--workdir={workdir}", f"--output={tmp_path / 'grid.svg'}")
    assert run(*arguments, "--text=ba bi", "--text=bo ba bi") == 0
    assert capsys.readouterr().out.startswith("1\tbi ba\n2\tbi ba bo\nwrote ")
    assert run(*arguments, "--split=test", "--num=5", "--columns=3") == 0
    titles = [(columns, "".join(p.title for p in panels)) for columns, panels in drawn]
    assert titles == [(2, "12"), (3, "12345")]


def test_outlines_the_known_links_of_exact_translations(
    workdir, tmp_path, capsys, drawn
):
    output = f"--output={tmp_path / 'grid.svg'}"
    assert run(f"--workdir={workdir}", output, "--split=test", "--num=0") == 0
    pairs = load_split(RunDirectory(workdir), "test")
    lines = capsys.readouterr().out.splitlines()
    texts = [line.partition("\t")[2] for line in lines]
    exact = [text == pair.target for pair, text in zip(pairs, texts, strict=False)]
    assert any(exact)
    [(_, panels)] = drawn
    for panel, is_exact in zip(panels, exact, strict=True):
        words = len(panel.source)
        reversed_links = {(words - 1 - t, t) for t in range(words)}
        assert panel.links == (reversed_links if is_exact else frozenset())


@pytest.mark.parametrize(
    ("output", "message"),
    [("a.gif", ".png, .pdf, .svg"), ("no/such/a.png", "does not exist")],
)
def test_a_file_that_cannot_be_written_is_found_first(output, message, capsys):
    assert run("--workdir=nowhere", "--text=a", f"--output={output}") == 2
    assert message in capsys.readouterr().err


def test_a_text_without_words(workdir, tmp_path, capsys):
    output = f"--output={tmp_path / 'a.png'}"
    for texts in (["--text= "], ["--text=ba", "--target= "]):
        assert run(f"--workdir={workdir}", output, *texts) == 2
        assert "every translation is empty" in capsys.readouterr().err


def test_too_many_for_a_picture(workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plot_attention, "MOST", 3)
    flags = f"--workdir={workdir}", f"--output={tmp_path / 'a.png'}", "--split=test"
    assert run(*flags, "--num=4") == 2
    assert "has room for 3 sentences, and these are 4" in capsys.readouterr().err
