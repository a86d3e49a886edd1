"""Figures as files: in which formats, and written as a whole."""

import io
import os
import pathlib
from typing import TYPE_CHECKING, Any

from attention_jax.atomic_write import check_writable, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")


def check_path(path: str | os.PathLike[str]) -> None:
    """Raises unless `path` is a figure file that could be written here.

    Raises:
      ValueError: the suffix is none of FORMATS.
      OSError: as `check_writable`.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"a figure is saved as one of {', '.join(FORMATS)}, got {str(path)!r}"
        )
    check_writable(path)


def save_figure(
    figure: "Figure",
    path: str | os.PathLike[str],
    *,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Writes the figure in the format that the suffix names, replacing a file in one step.

    Raises:
      OSError: it cannot be written; names the file and the reason.
    """
    path, data = pathlib.Path(path), io.BytesIO()
    figure.savefig(data, format=path.suffix[1:].lower(), metadata=metadata)
    write_bytes(path, data.getvalue())
