"""Links between words that a statistical aligner finds, eflomal, where it is installed."""

import importlib
import pathlib
import tempfile
import types
from collections.abc import Sequence

from attention_jax.evaluation.pharaoh import Alignment, parse_alignment

TokenPair = tuple[Sequence[str], Sequence[str]]


class AlignerNotInstalledError(ImportError):
    """eflomal is wanted and cannot be imported."""


def load_eflomal() -> types.ModuleType:
    """The module.

    Raises:
      AlignerNotInstalledError: it is not installed, or does not run here.
    """
    try:
        # By name: nothing else needs it, the type checker neither.
        return importlib.import_module("eflomal")
    except ModuleNotFoundError as error:
        raise AlignerNotInstalledError(
            "eflomal is not installed: install 'eflomal>=2.0' beside attention_jax; it "
            "needs a C compiler; docs/evaluation.md has the command"
        ) from error
    except ImportError as error:
        raise AlignerNotInstalledError(
            f"eflomal is installed but cannot be imported: {error}"
        ) from error


def eflomal_alignments(
    pairs: Sequence[TokenPair], training: Sequence[TokenPair] = ()
) -> list[Alignment]:
    """The links that eflomal finds between the tokens of each pair.

    Sure links are those that it finds in both directions, possible ones those in either.
    It seeds its samples anew: called again, it finds a few other links. A
    side of 1,024 tokens or more has no links. 8 seconds for Tatoeba's 27,000 pairs of some
    10 tokens a side, on two CPU cores, in processes of its own.

    Östling & Tiedemann, 2016, Efficient word alignment with Markov chain Monte Carlo,
    Prague Bulletin of Mathematical Linguistics 106.

    Args:
      pairs: (source tokens, target tokens) of what is to be aligned.
      training: more of the kind, from which words' translations are learnt too.

    Raises:
      AlignerNotInstalledError: there is no eflomal.
    """
    eflomal = load_eflomal()
    corpus = [*pairs, *training]
    sides = (
        [_line(source) for source, _ in corpus],
        [_line(target) for _, target in corpus],
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("forward", "reverse")]
        eflomal.Aligner().align(
            *sides,
            links_filename_fwd=str(paths[0]),
            links_filename_rev=str(paths[1]),
        )
        # Split at line feeds alone; what follows the pairs' own lines is not wanted.
        forward, reverse = (
            path.read_text("utf-8").split("\n")[: len(pairs)] for path in paths
        )
    return [
        _united(parse_alignment(there), parse_alignment(back))
        for there, back in zip(forward, reverse, strict=True)
    ]


def _line(tokens: Sequence[str]) -> str:
    """The tokens between spaces; one that has white space in it stays one."""
    return " ".join("_".join(token.split()) or "_" for token in tokens)


def _united(forward: Alignment, reverse: Alignment) -> Alignment:
    return Alignment(
        sure=frozenset(forward.sure & reverse.sure),
        possible=frozenset(forward.sure | reverse.sure),
    )
