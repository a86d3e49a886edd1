import json
import statistics
import sys

import pytest

from attention_jax.benchmarking import decoding_speed
from attention_jax.benchmarking.decoding_speed import (
    OURS,
    Peer,
    Timed,
    measure_decoding,
    report_rows,
    searches_to_time,
)
from attention_jax.benchmarking.joeynmt_peer import joeynmt_peer
from attention_jax.config import DecodingConfig
from attention_jax.run import load_run
from experiments import benchmark_decoding, cli
from tests.markdown import ROOT
from tests.tiny_run import tiny_run

FILE = ROOT / "experiments/benchmarks/decoding/decoding_2cores.json"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(workdir):
    return load_run(workdir)


@pytest.fixture(scope="module")
def sentences(trained):
    words = [w for w in trained.source_codec.vocabulary.tokens if w[0] != "<"]
    return [" ".join(words[:3]), "", words[0]]


def test_each_search_of_each_toolkit_has_its_turns(trained, sentences, monkeypatch):
    asked, clock = [], iter([1.0, 2.0, 4.0] * 9)

    def translate(lines, decoding):
        asked.append((tuple(lines), decoding.beam_size, decoding.length_penalty))
        return Timed(6.0, 7)

    monkeypatch.setattr(
        decoding_speed, "_translate", lambda run, given: Timed(next(clock), 5)
    )
    searches = searches_to_time([2], 0.5)
    assert list(searches) == ["greedy", "beam 2", "beam 2, gnmt^0.5"]
    result = measure_decoding(
        trained, sentences, searches, repeats=3, peers=[Peer("other", "9", translate)]
    )
    # One blank sentence is none.
    assert result["sentences"] == 2
    rows = {(row["search"], row["toolkit"]): row for row in result["rows"]}
    assert list(rows) == [(s, t) for s in searches for t in (OURS, "other")]
    assert len(asked) == 9 and {lines for lines, *_ in asked} == {
        (sentences[0], sentences[2])
    }
    assert {penalty for _, size, penalty in asked if size == 2} == {"none", "gnmt"}
    for search in searches:
        ours, theirs = rows[search, OURS], rows[search, "other"]
        assert (ours["ratio"], ours["words"], theirs["words"]) == (1, 5, 7)
        seconds = ours["seconds"]["samples"]
        assert theirs["ratio"] == statistics.median(6.0 / one for one in seconds)
        assert ours["sentences_per_second"] == 2 / statistics.median(seconds)
        assert theirs["sentences_per_second"] == 2 / 6.0
        assert ours["decoding"]["search"] == search.split()[0]
    table = report_rows(result)
    assert [row[:2] for row in table[1:]] == [
        (row["search"], f"{row['toolkit']} {row['version']}") for row in result["rows"]
    ]


def test_words_are_those_predicted(trained, sentences):
    [row] = measure_decoding(
        trained, sentences, {"greedy": {"search": "greedy"}}, repeats=1
    )["rows"]
    found = trained.decode(sentences)
    # The ends of the two sentences with words are predicted too.
    assert row["words"] == sum(len(one.target_tokens) for one in found) + 2


def test_nothing_to_translate(trained):
    with pytest.raises(ValueError, match="no sentence with words"):
        measure_decoding(trained, ["", " "], searches_to_time([], 1.0), repeats=1)


JOEYNMT = {
    "__init__": "__version__ = '2.3.0'",
    "config": """
def load_config(path):
    return {"testing": {"batch_size": 7}, "text": path.read_text()}
""",
    "prediction": """
import json, logging, sys
def translate(config):
    lines = sys.stdin.read().splitlines()
    if "fail" in config["text"]:
        raise ValueError("no checkpoint")
    logging.info("Total params: 42")
    if "mute" not in config["text"]:
        logging.info("Generation took 1.2500[sec].")
    for line in lines:
        print(line, config["testing"]["beam_size"], config["testing"]["beam_alpha"],
              config["testing"]["batch_size"])
""",
}


@pytest.fixture
def joeynmt(tmp_path, monkeypatch):
    """A package of that name; its `translate` answers with what it was told."""
    folder = tmp_path / "installed" / "joeynmt"
    folder.mkdir(parents=True)
    for name, text in JOEYNMT.items():
        (folder / f"{name}.py").write_text(text)
    (folder.parent / "torch.py").write_text("__version__ = '2.13'")
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    config = tmp_path / "model.yaml"
    config.write_text("model")
    return config


def test_joeynmt_is_told_the_search_and_says_its_time(joeynmt, monkeypatch):
    peer = joeynmt_peer(sys.executable, joeynmt)
    assert (peer.name, peer.version) == ("JoeyNMT", "2.3.0, torch 2.13")
    assert peer.parameters == 42
    said = []
    monkeypatch.setattr(
        "attention_jax.benchmarking.joeynmt_peer._find",
        lambda pattern, done: said.append(done.stdout.split("\n")[:-1]) or "1.25",
    )
    for decoding, settings in (
        (DecodingConfig(search="greedy", beam_size=5), "1 -1 7"),
        (DecodingConfig(search="beam", beam_size=5, length_alpha=0.5), "5 -1 7"),
        (
            DecodingConfig(
                search="beam", beam_size=3, length_penalty="gnmt", length_alpha=0.5
            ),
            "3 0.5 7",
        ),
    ):
        timed = peer.translate(["a", "b c"], decoding)
        assert said.pop() == [f"a {settings}", f"b c {settings}"]
        # What this one says has three words more a line; and the ends.
        assert timed == Timed(1.25, 3 + 2 * 3 + 2)


def test_what_joeynmt_fails_of_is_told(joeynmt, tmp_path):
    joeynmt.write_text("fail")
    with pytest.raises(RuntimeError, match=r"JoeyNMT by .*: ValueError: no checkpoint"):
        joeynmt_peer(sys.executable, joeynmt)
    joeynmt.write_text("mute")
    peer = joeynmt_peer(sys.executable, joeynmt)
    with pytest.raises(RuntimeError, match="did not say 'Generation took"):
        peer.translate(["a"], DecodingConfig())
    with pytest.raises(FileNotFoundError):
        joeynmt_peer(tmp_path / "nowhere", joeynmt)


def run(*arguments):
    return cli.run(
        benchmark_decoding.main,
        benchmark_decoding.define_flags,
        required=("workdir",),
        argv=["benchmark_decoding", *arguments],
    )


def test_the_program_prints_and_writes(workdir, joeynmt, tmp_path, capsys):
    output = tmp_path / "speed.json"
    status = run(
        f"--workdir={workdir}",
        "--split=dev",
        "--max_sentences=3",
        "--beam_sizes=2",
        "--repeats=2",
        f"--joeynmt={sys.executable}",
        f"--joeynmt_config={joeynmt}",
        f"--output={output}",
    )
    out, err = capsys.readouterr()
    assert status == 0
    assert f"wrote {output}" in out and "beam 2, gnmt^1" in out
    assert "round 2/2: JoeyNMT, greedy" in err
    found = json.loads(output.read_text())
    assert (found["sentences"], found["split"], len(found["rows"])) == (3, "dev", 6)
    assert found["split_hash"] and found["model"]["score"]
    for row in found["rows"][1::2]:
        assert row["seconds"]["samples"] == [1.25, 1.25]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--beam_sizes=5,two"], "--beam_sizes must be whole numbers from 1 on"),
        (["--beam_sizes=0"], "--beam_sizes must be whole numbers from 1 on"),
        (["--joeynmt=python3"], "--joeynmt needs --joeynmt_config beside it"),
        (
            ["--joeynmt=nowhere/python", f"--joeynmt_config={FILE}"],
            "--joeynmt: there is no file 'nowhere/python'",
        ),
        (["--output=nowhere/at/all.json"], "the folder 'nowhere/at' does not exist"),
    ],
)
def test_bad_flags_are_one_line(given, message, capsys):
    assert run("--workdir=runs/none", *given) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_page_has_the_figures_of_its_file():
    result = json.loads(FILE.read_text("utf-8"))
    page = (ROOT / "docs/decoding.md").read_text("utf-8")
    rows = {(row["search"], row["toolkit"]): row for row in result["rows"]}
    for search in dict.fromkeys(search for search, _ in rows):
        ours, theirs = rows[search, OURS], rows[search, "JoeyNMT"]
        cells = [
            search,
            f"{ours['sentences_per_second']:,.0f}",
            f"{theirs['sentences_per_second']:,.0f}",
            f"{theirs['ratio']:.1f}",
            f"{ours['words']:,.0f}",
            f"{theirs['words']:,.0f}",
        ]
        assert f"| {' | '.join(cells)} |" in page
    greedy, beam = (rows[search, OURS] for search in ("greedy", "beam 5"))
    speeds = [f"{one['sentences_per_second']:,.0f}" for one in (greedy, beam)]
    ratios = [
        f"{rows[search, 'JoeyNMT']['ratio']:.1f}" for search in ("greedy", "beam 5")
    ]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"{' and '.join(speeds)} sentences a second" in readme
    assert f"{' and '.join(ratios)} times JoeyNMT" in readme
    for toolkit in (OURS, "JoeyNMT"):
        assert f"{rows['greedy', toolkit]['parameters']:,} parameters" in page
    assert f"{result['sentences']:,} test sentences" in page
