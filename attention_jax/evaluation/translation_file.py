"""A file of what was translated: source, reference and each system's translation."""

import os
import pathlib
from collections.abc import Sequence

from attention_jax.atomic_write import write_text
from attention_jax.data.pairs import Pair
from attention_jax.evaluation.system_comparison import System


def write_translations(
    path: str | os.PathLike[str], pairs: Sequence[Pair], systems: Sequence[System]
) -> None:
    """Writes a line a sentence, cells separated by tabs: source, reference, translations.

    References are as they were measured against, case folded where the run folds it. White
    space within a cell becomes one space.

    Raises:
      OSError: the file cannot be written.
    """
    columns = [
        [pair.source for pair in pairs],
        systems[0].evaluation.references,
        *(system.evaluation.hypotheses for system in systems),
    ]
    lines = [
        "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
        for cells in zip(*columns, strict=True)
    ]
    write_text(pathlib.Path(path), "".join(lines))
