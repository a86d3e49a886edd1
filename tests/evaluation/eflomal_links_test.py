"""Links of a statistical aligner: what is made of its output, and the aligner itself."""

import pathlib
import random
import sys
import types

import pytest

from attention_jax.evaluation import eflomal_links
from attention_jax.evaluation.eflomal_links import eflomal_alignments


@pytest.fixture
def aligner(monkeypatch):
    """An eflomal that notes what it is given and finds what `found` says."""
    module = types.SimpleNamespace(given=None, found=(["0-0"], ["0-0"]))

    class Aligner:
        def align(self, source, target, *, links_filename_fwd, links_filename_rev):
            module.given = source, target
            paths = links_filename_fwd, links_filename_rev
            for path, lines in zip(paths, module.found, strict=True):
                pathlib.Path(path).write_text("\n".join(lines) + "\n")

    module.Aligner = Aligner
    monkeypatch.setitem(sys.modules, "eflomal", module)
    return module


def test_both_directions_make_a_link_sure_and_either_a_possible_one(aligner):
    aligner.found = ["0-0 1-1", "", "0-0"], ["0-0 0-1", "", "0-0"]
    pairs = [(["a", "b"], ["x", "y"]), ([], ["z"])]
    found = eflomal_alignments(pairs, [(["a"], ["x"])])
    assert aligner.given == (["a b", "", "a"], ["x y", "z", "x"])
    # Of the pairs alone, not of what was learnt from besides.
    assert [one.sure for one in found] == [{(0, 0)}, set()]
    assert [one.possible for one in found] == [{(0, 0), (1, 1), (0, 1)}, set()]


def test_a_token_with_white_space_in_it_stays_one(aligner):
    eflomal_alignments([(["a b", "\u3000"], ["x\n"])])
    assert aligner.given == (["a_b _"], ["x"])


def test_without_it_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(
        eflomal_links.AlignerNotInstalledError,
        match=r"install 'eflomal>=2.0' beside",
    ):
        eflomal_alignments([(["a"], ["x"])])


def test_it_finds_which_word_translates_which():
    pytest.importorskip("eflomal", reason="eflomal is not installed")
    draw = random.Random(0)
    words = [f"w{number}" for number in range(20)]
    pairs = []
    for _ in range(300):
        source = draw.sample(words, draw.randint(2, 6))
        pairs.append((source, [word.upper()[::-1] for word in reversed(source)]))
    # Nothing to align, and more than it takes.
    pairs += [([], ["x"]), (["a"] * 2_000, ["x"])]
    found = eflomal_alignments(pairs[250:], pairs[:250])
    assert len(found) == 52 and not found[-1].possible and not found[-2].possible
    known = [{(len(s) - 1 - t, t) for t in range(len(s))} for s, _ in pairs[250:300]]
    hits = sum(len(one.sure & links) for one, links in zip(found, known, strict=False))
    assert hits > 0.9 * sum(map(len, known))
