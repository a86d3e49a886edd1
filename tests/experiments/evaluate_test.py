import json
import shutil

import pytest

from attention_jax.data.tokenization import CharacterTokenizer
from attention_jax.evaluation.alignment import format_alignment, gold_links
from attention_jax.evaluation.evaluate import load_split
from attention_jax.experiment import run_experiment
from attention_jax.run import load_run
from attention_jax.training.run_directory import RunDirectory
from experiments import evaluate
from tests.experiments.programs import runner
from tests.tiny_run import tiny_config

run = runner(evaluate, required=("workdir",))


def test_prints_the_figures_and_writes_them(workdir, tmp_path, capsys):
    output = tmp_path / "figures.json"
    status = run(
        f"--workdir={workdir}", "--split=dev", "--max_sentences=9", f"--output={output}"
    )
    assert status == 0
    out, err = capsys.readouterr()
    figures = json.loads(output.read_text())
    assert (figures["split"], figures["sentences"]) == ("dev", 9)
    assert figures["checkpoint"] == "best"
    for metric in figures["metrics"]:
        assert f"{metric['score']:.2f}" in out and metric["signature"] in out
    assert figures["split_hash"] in out
    assert figures["versions"]["jax"] in out and figures["device"] in out
    assert f"wrote {output}" in out
    assert not err


@pytest.fixture(scope="module")
def second(workdir, tmp_path_factory):
    """The same run, as if of another seed."""
    copy = tmp_path_factory.mktemp("evaluate") / "second"
    shutil.copytree(workdir, copy)
    directory = RunDirectory(copy)
    config = directory.load_config()
    config.seed = 1
    directory.save_config(config)
    return copy


def test_two_runs_side_by_side(workdir, second, tmp_path, capsys):
    output, figure, texts = (tmp_path / f"f.{end}" for end in ("json", "png", "tsv"))
    status = run(
        f"--workdir={second}",
        f"--baseline={workdir}",
        "--max_sentences=9",
        "--length_edges=2,3",
        f"--output={output}",
        f"--figure={figure}",
        f"--translations={texts}",
    )
    out, err = capsys.readouterr()
    assert (status, err) == (0, "run 1 of 2: tiny_run\nrun 2 of 2: second\n")
    found = json.loads(output.read_text())
    assert found["baseline"] == "tiny_run" and found["fields"] == ["seed"]
    assert [one["name"] for one in found["systems"]] == ["tiny_run", "second"]
    # They are the same run.
    assert {e["p_value"] for e in found["estimates"]} == {None, 1.0}
    [group] = found["seeds"]
    assert group["seeds"] == [0, 1] and group["deviation"]["BLEU"] == 0.0
    # None of the nine has two words.
    assert [one["longest"] for one in found["by_length"]] == [3, 4]
    assert "mean of 2" in out and "± 0.00" in out and "against tiny_run" in out
    assert figure.stat().st_size > 10_000
    for path in (output, figure, texts):
        assert f"wrote {path}" in out
    rows = [line.split("\t") for line in texts.read_text().splitlines()]
    assert len(rows) == 9 and {len(row) for row in rows} == {4}
    assert all(row[2] == row[3] for row in rows)


def test_baselines_that_are_none(second, workdir, capsys):
    both = [f"--workdir={second}", f"--workdir={workdir}"]
    assert run(*both, "--baseline_search=greedy") == 2
    assert "must be one run, and there are 2" in capsys.readouterr().err
    assert run(*both, "--baseline_search=bream") == 2
    assert "greedy|beam|sample" in capsys.readouterr().err
    assert run(*both, f"--workdir={second}") == 2
    assert "is given 2 times" in capsys.readouterr().err
    for itself in (
        ["--baseline_search=greedy"],
        ["--search=beam", "--baseline_search=beam"],
        [f"--baseline={workdir}"],
    ):
        assert run(f"--workdir={workdir}", *itself) == 2
        assert "the baseline is the run itself" in capsys.readouterr().err


def test_what_is_read_is_not_replaced(workdir, tmp_path, capsys):
    links = tmp_path / "links.txt"
    links.write_text("0-0\n")
    files = f"--alignments={links}", f"--translations={links}"
    assert run(f"--workdir={workdir}", *files) == 2
    assert "name the same file" in capsys.readouterr().err
    assert links.read_text() == "0-0\n"
    assert run(f"--workdir={workdir}", f"--output={workdir}/codecs.json") == 2
    assert "is a file of the run" in capsys.readouterr().err


def test_the_data_of_a_run_is_not_replaced(workdir, tmp_path, capsys):
    copy, data = tmp_path / "copy", tmp_path / "pairs.tsv"
    shutil.copytree(workdir, copy)
    data.write_text("ba\tba\n")
    config = json.loads((copy / "config.json").read_text())
    config["data"]["path"] = str(data)
    (copy / "config.json").write_text(json.dumps(config))
    assert run(f"--workdir={copy}", f"--translations={data}") == 2
    assert "was made from" in capsys.readouterr().err
    assert data.read_text() == "ba\tba\n"


def test_what_a_run_s_own_config_says_is_no_flag_s_fault(workdir, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    config = json.loads((copy / "config.json").read_text())
    config["decoding"] |= {"search": "beam", "beam_size": -3}
    (copy / "config.json").write_text(json.dumps(config))
    assert run(f"--workdir={copy}") == 2
    message = "config.json: config.decoding.beam_size must be"
    assert message in capsys.readouterr().err
    assert run(f"--workdir={workdir}", "--beam_size=-1") == 2
    assert "--beam_size must be" in capsys.readouterr().err


def test_a_split_that_cannot_be_checked_is_said(workdir, tmp_path, caplog):
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (copy / "record.json").unlink()
    assert run(f"--workdir={copy}", "--max_sentences=2") == 0
    assert "whether it was trained on these sentences is not known" in caplog.text


def test_a_run_against_another_search_of_its_own(workdir, tmp_path, capsys):
    output = tmp_path / "searches.json"
    status = run(
        f"--workdir={workdir}",
        "--baseline_search=beam",
        "--max_sentences=3",
        "--max_length_offset=3",
        f"--output={output}",
    )
    assert status == 0
    found = json.loads(output.read_text())
    assert found["baseline"] == "tiny_run, beam"
    # What is about no search in particular is about both.
    assert [s["decoding"]["max_length_offset"] for s in found["systems"]] == [3, 3]
    searches = [(s["name"], s["decoding"]["search"]) for s in found["systems"]]
    assert searches == [("tiny_run, beam", "beam"), ("tiny_run, greedy", "greedy")]
    out = capsys.readouterr().out
    assert (
        "search: beam, beam_size 5 (tiny_run, beam)" in out
        and "against tiny_run, b" in out
    )
    assert "attention in the translations" in out


def test_a_run_without_a_checkpoint_is_found_before_any_work(second, tmp_path, capsys):
    begun = tmp_path / "begun"
    shutil.copytree(second, begun, ignore=shutil.ignore_patterns("checkpoints"))
    assert run(f"--workdir={second}", f"--workdir={begun}") == 1
    err = capsys.readouterr().err
    assert "holds no checkpoint yet" in err and "run 1 of 2" not in err


def test_gold_alignments_from_a_file(workdir, tmp_path, capsys):
    path, output = tmp_path / "links.txt", tmp_path / "f.json"
    loaded = load_run(workdir)
    pairs = load_split(RunDirectory(workdir), "test")
    lines = [format_alignment(gold_links(loaded, pair)) for pair in pairs]
    path.write_text("\n".join(lines) + "\n")
    few = [f"--workdir={workdir}", "--max_sentences=4", f"--output={output}"]
    assert run(*few, f"--alignments={path}") == 0
    aligned = json.loads(output.read_text())["aligned"]
    assert run(*few) == 0
    # They are the pairs' own.
    assert json.loads(output.read_text())["aligned"] == aligned
    assert aligned["pairs"] == 4 and aligned["error_rate"] < 0.5
    out = capsys.readouterr().out
    assert "AER ↓" in out and "sure gold ones from the data" in out

    path.write_text("0-0\n0-9\n0-0\n0-0\n")
    assert run(*few, f"--alignments={path}") == 2
    err = capsys.readouterr().err
    assert f"{path}: line 2: the link 0-9 is outside the pair's" in err
    path.write_text("0-0\n")
    assert run(f"--workdir={workdir}", f"--alignments={path}") == 2
    err = capsys.readouterr().err
    assert f"{path} has 1 lines, but there are 40 pairs in test" in err


def test_links_of_a_file_are_between_the_tokens_of_one_run(workdir, tmp_path, capsys):
    path, copy = tmp_path / "links.txt", tmp_path / "copy"
    path.write_text("0-0\n" * 2)
    shutil.copytree(workdir, copy)
    codecs = json.loads((copy / "codecs.json").read_text())
    codecs["source"]["tokenizer"] = CharacterTokenizer().to_dict()
    (copy / "codecs.json").write_text(json.dumps(codecs))
    both = [f"--workdir={workdir}", f"--workdir={copy}", "--max_sentences=2"]
    assert run(*both, f"--alignments={path}") == 2
    assert "cut the pairs into different ones" in capsys.readouterr().err


def test_alignments_need_attention(workdir, tmp_path, capsys):
    directory = RunDirectory(tmp_path / "none")
    config = tiny_config()
    config.model.attention = "none"
    directory.save_config(config)
    assert run(f"--workdir={directory.path}", "--alignments=x") == 2
    err = capsys.readouterr().err
    assert "--alignments: links are compared with attention, and no run here" in err
    # One that has some is enough; then the file is read.
    flags_given = [f"--workdir={directory.path}", f"--workdir={workdir}"]
    assert run(*flags_given, "--alignments=nowhere.txt") == 2
    assert "nowhere.txt" in capsys.readouterr().err


def test_runs_of_other_sentences_do_not_compare(workdir, tmp_path, capsys):
    other = tmp_path / "other"
    config = tiny_config()
    config.data.seed, config.training.steps = 5, 1
    run_experiment(config, other)
    assert run(f"--workdir={workdir}", f"--workdir={other}") == 2
    err = capsys.readouterr().err
    assert "different test sentences (40 and 40; split hashes" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--workdir=nowhere"], 1, "there is no run directory"),
        ([], 2, "--workdir is required"),
        (["--workdir=x", "--split=valid"], 2, "split"),
        (
            ["--workdir=x", "--max_sentences=-1"],
            2,
            "--max_sentences=-1: -1 is not a non-negative",
        ),
        (["--workdir=x", "--length_edges=3,a"], 2, "that increase, as in 5,10,20; got"),
        (
            ["--workdir=x", "--length_edges=5,3"],
            2,
            "--length_edges takes integers",
        ),
        (["--workdir=x", "--figure=f.xyz"], 2, "--figure: "),
        (["--workdir=x", "--translations=."], 2, "--translations: '.' is a folder"),
        (["--workdir=x", "--output="], 2, "--output is empty; it takes a file"),
        (["--workdir=x", "--output=."], 2, "--output: '.' is a folder, not a file"),
    ],
)
def test_errors_are_one_line(arguments, status, message, capsys):
    assert run(*arguments) == status
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
