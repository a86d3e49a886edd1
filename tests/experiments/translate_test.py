import io
import os
import pathlib
import subprocess
import sys
import types

import pytest

from attention_jax.data.pairs import Pair
from attention_jax.run import load_run
from experiments import translate
from tests.experiments.programs import runner

ROOT = pathlib.Path(__file__).parents[2]


run = runner(translate, required=("workdir",))


def piped(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))


def test_a_line_for_each_line(workdir, monkeypatch, capfdbinary):
    expected = load_run(workdir).translate(["ba bi", "bo ba ba"])
    piped(monkeypatch, b"ba bi\n\nbo ba ba")
    assert run(f"--workdir={workdir}") == 0
    out = capfdbinary.readouterr().out.decode()
    assert out == f"{expected[0]}\n\n{expected[1]}\n"
    assert expected[0]


def test_bad_bytes_are_an_error_of_one_line(workdir, monkeypatch, capfdbinary):
    piped(monkeypatch, b"ba bi\n\xff\n")
    assert run(f"--workdir={workdir}") == 2
    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") == 1
    assert err.endswith(b"error: input line 2: not UTF-8 at byte 1\n")


def test_n_best_with_scores(workdir, monkeypatch, capfdbinary):
    run_in_python = load_run(workdir).with_decoding(search="beam", beam_size=4)
    piped(monkeypatch, b"ba bi\n\nbo ba ba\n")
    flags = ("--beam_size=4", "--n_best=2", "--scores")
    assert run(f"--workdir={workdir}", *flags) == 0
    rows = [
        row.split("\t") for row in capfdbinary.readouterr().out.decode().splitlines()
    ]
    first, blank, third = run_in_python.decode_n_best(["ba bi", "", "bo ba ba"], 2)
    expected = [("1", one) for one in first]
    expected += [("2", one) for one in blank] + [("3", one) for one in third]
    assert [row[0] for row in rows] == [number for number, _ in expected]
    assert [row[1] for row in rows] == [one.text for _, one in expected]
    scores = [f"{one.score:.4f}" if n != "2" else "" for n, one in expected]
    assert [row[2] for row in rows] == scores
    assert float(rows[0][2]) >= float(rows[1][2])


def test_a_strength_without_its_penalty_is_refused(workdir, monkeypatch, capfdbinary):
    for flag, penalty in (
        ("--length_alpha=2", b"--length_penalty"),
        ("--coverage_beta=2", b"--coverage_penalty"),
    ):
        piped(monkeypatch, b"ba bi\n")
        assert run(f"--workdir={workdir}", "--beam_size=2", flag) == 2
        assert b"does nothing without a " + penalty in capfdbinary.readouterr().err
    piped(monkeypatch, b"ba bi\n")
    assert run(f"--workdir={workdir}", "--length_penalty=gnmt", "--length_alpha=2") == 0


def test_alignments(workdir, monkeypatch, capfdbinary):
    piped(monkeypatch, b"ba bi bo\n\n")
    assert run(f"--workdir={workdir}", "--alignments", "--tokens") == 0
    line, blank = capfdbinary.readouterr().out.decode().splitlines()
    # The run has learnt to reverse, and where to look while it does.
    expected = ["bo bi ba", "0-2 1-1 2-0", "ba bi bo", "bo bi ba"]
    assert line.split("\t") == expected
    assert blank == "\t\t\t"


def test_samples_depend_on_the_seed_and_the_line(workdir, monkeypatch, capfdbinary):
    def lines(data, *flags):
        piped(monkeypatch, data)
        assert run(f"--workdir={workdir}", "--temperature=4", *flags) == 0
        return capfdbinary.readouterr().out.splitlines()

    once = lines(b"ba bi bo\n" * 8)
    assert len(set(once)) > 2
    assert lines(b"ba bi bo\n" * 8) == once
    assert lines(b"ba bi bo\n" * 8, "--sample_seed=7") != once
    sampled = load_run(workdir).with_decoding(search="sample", temperature=4.0)
    assert [line.decode() for line in once] == sampled.translate(["ba bi bo"] * 8)
    # The same line, wherever the others came from.
    assert lines(b"\n" * 7 + b"ba bi bo\n")[7] == once[7]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--beam_size=3", "--temperature=2"], "--temperature is about search sample"),
        (["--search=greedy", "--beam_size=3"], "--beam_size is about search beam"),
        (["--length_penalty=google"], "--length_penalty: unknown length penalty"),
        (
            ["--n_best=2"],
            "--n_best must be at least 1 and at most 1 with search greedy",
        ),
        (["--beam_size=0"], "--beam_size must be at least 1 and at most 10000, got 0"),
    ],
)
def test_searches_that_cannot_be(flags, message, workdir, capsys):
    assert run(f"--workdir={workdir}", *flags) == 2
    assert message in capsys.readouterr().err


def test_a_reader_that_has_enough_ends_it_silently(workdir):
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.translate", f"--workdir={workdir}"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(b"ba bi\n" * 10)
    assert process.returncode == 0
    assert b"Traceback" not in err and b"Broken" not in err


def test_given_translations_are_scored_and_aligned(
    workdir, monkeypatch, capfdbinary, tmp_path
):
    trained = load_run(workdir)
    sources, targets = ["ba bi", "", "bo ba ba"], ["bi ba", "ba", "ba ba bo"]
    file = tmp_path / "targets.txt"
    file.write_bytes("\ufeffbi ba\r\nba\nba ba bo".encode())
    piped(monkeypatch, "\n".join(sources).encode())
    given = f"--targets={file}"
    assert run(f"--workdir={workdir}", given, "--scores", "--alignments") == 0
    rows = [
        line.split("\t") for line in capfdbinary.readouterr().out.decode().split("\n")
    ]
    found = trained.force([Pair(*pair) for pair in zip(sources, targets, strict=True)])
    assert rows.pop() == [""] and len(rows) == 3
    for row, one in zip(rows, found, strict=True):
        log_prob = f"{one.log_prob:.4f}" if one.source_tokens else ""
        assert row[:2] == [one.text, log_prob]
        argmax = one.weights.argmax(axis=1) if one.weights.size else []
        links = sorted((s, t) for t, s in enumerate(argmax))
        assert row[2] == " ".join(f"{s}-{t}" for s, t in links)
    assert found[0].text == "bi ba" and not found[1].text


@pytest.mark.parametrize(
    ("data", "rows", "message"),
    [
        (b"bi ba\n", 1, "ends after line 1, and the input goes on"),
        (b"bi ba\nba\nba\n", 2, "has more lines than the input, which has 2"),
        (b"bi ba\n\xff\n", 0, "targets.txt, line 2: not UTF-8 at byte 6"),
        (None, 0, "--targets: no file "),
    ],
)
def test_targets_that_do_not_fit(
    workdir, monkeypatch, capfdbinary, tmp_path, data, rows, message
):
    file = tmp_path / "targets.txt"
    if data is not None:
        file.write_bytes(data)
    piped(monkeypatch, b"ba bi\nbo\n")
    assert run(f"--workdir={workdir}", f"--targets={file}") == 2
    out, err = capfdbinary.readouterr()
    assert out.count(b"\n") == rows
    assert message in err.decode() and err.count(b"\n") == 1


@pytest.mark.parametrize("flag", ["--beam_size=3", "--n_best=2"])
def test_given_translations_leave_nothing_to_search(workdir, capfdbinary, flag):
    assert run(f"--workdir={workdir}", "--targets=t.txt", flag) == 2
    err = capfdbinary.readouterr().err.decode()
    assert f"{flag.split('=')[0]} has nothing to search for" in err


def test_samples_are_a_line_s_own_however_the_lines_arrive(
    workdir, monkeypatch, capfdbinary
):
    texts, flags = [], ("--temperature=2", "--sample_seed=3")
    for size in (65_536, 6):
        monkeypatch.setattr("experiments.translate._READ", size)
        piped(monkeypatch, b"ba bi\nbo ba\n" * 4)
        assert run(f"--workdir={workdir}", *flags) == 0
        texts.append(capfdbinary.readouterr().out)
    assert texts[0] == texts[1]
    assert len(set(texts[0].splitlines()[::2])) > 1


def test_of_a_long_line_the_beginning_is_translated(workdir, monkeypatch, capfdbinary):
    monkeypatch.setattr("experiments.translate.LONGEST_LINE", 999)
    piped(monkeypatch, b"ba bi\n" + b"bo " * 400 + b"\nba bi\n")
    assert run(f"--workdir={workdir}", "--max_source_length=3") == 0
    out, err = capfdbinary.readouterr()
    expected = load_run(workdir).translate(["ba bi", "bo bo bo", "ba bi"])
    assert out.decode().splitlines() == expected
    assert b"warning: input line 2: 333 tokens, only the first 3 are" in err
    # The weights of 16 source tokens with 10 + 2 x 16 tokens, EOS, in a beam of 2.
    monkeypatch.setattr("attention_jax.decoding.translate._MAX_SENTENCE", 16 * 43 * 2)
    piped(monkeypatch, b"ba " * 17 + b"\n")
    assert run(f"--workdir={workdir}", "--beam_size=2") == 0
    assert b"17 tokens, only the first 16 are" in capfdbinary.readouterr().err
    flags = ("--beam_size=2", "--max_length_offset=2000")
    piped(monkeypatch, b"ba " * 17 + b"\n")
    assert run(f"--workdir={workdir}", *flags) == 2
    assert b"error: sentence 1 has 17 tokens" in capfdbinary.readouterr().err


def test_a_closed_stream_is_an_error_of_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert run("--workdir=nowhere") == 2
    assert capsys.readouterr().err.startswith("error: standard input and")


class Arrivals:
    """A stream whose reads return given pieces, one each."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read1(self, size):
        return self.pieces.pop(0) if self.pieces else b""


def texts(*pieces):
    found = translate.arriving_lines(Arrivals(*pieces), translate.decode)
    return [one for _, several in found for one in several]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        # Only a line feed ends a line.
        ("a\u2028b\x0bc\x85\n".encode(), ["a\u2028b\x0bc\x85"]),
        # A byte order mark before the first line is dropped.
        ("\ufeffà\n\ufeffb\n".encode(), ["à", "\ufeffb"]),
    ],
)
def test_a_text_for_each_line_however_it_arrives(given, expected):
    assert texts(given) == expected
    assert texts(*(bytes([byte]) for byte in given)) == expected


def test_each_arrival_is_handed_out_before_the_next_is_read():
    stream = Arrivals(b"a\nb\n", b"c\nd", b"\n")
    found = []
    for first, several in translate.arriving_lines(stream, translate.decode):
        found.append((first, several, len(stream.pieces)))
    assert found == [(1, ["a", "b"], 2), (3, ["c"], 1), (4, ["d"], 0)]


def test_what_is_held_does_not_grow_with_the_stream():
    found = translate.arriving_lines(
        io.BufferedReader(io.BytesIO(b"0123456789\n" * 99_999)), translate.decode
    )
    sizes = [sum(map(len, several)) for _, several in found]
    assert sum(sizes) == 999_990 and max(sizes) <= 65_536


@pytest.mark.parametrize("character", ["b", "机"])
def test_of_an_endless_line_the_beginning_is_kept(character):
    """And the lines after it are lines again."""
    data = f"a\n{character * (3 * translate.LONGEST_LINE)}\nz\n".encode()
    stream = io.BufferedReader(io.BytesIO(data))
    first, long, last = [
        t
        for _, several in translate.arriving_lines(stream, translate.decode)
        for t in several
    ]
    assert (first, last) == ("a", "z")
    assert long == character * (translate.LONGEST_LINE // len(character.encode()))


def test_a_character_that_is_cut_is_left_out(monkeypatch):
    monkeypatch.setattr(translate, "LONGEST_LINE", 6)
    assert texts("abcd𠮷𠮷\nb\n".encode()) == ["abcd", "b"]
