"""Attention in files that other programs read: .npz arrays or JSON.

Both hold the same: facts about the run, and of each sentence its texts, its tokens, the
weights and the log-probability. docs/report.md has the layout and loaders without this
package.
"""

import io
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attention_jax.atomic_write import write_bytes
from attention_jax.decoding.translate import Translation
from attention_jax.errors import UserError

FORMAT = "attention_jax attention 1"
SUFFIXES = (".npz", ".json")


class AttentionFile(NamedTuple):
    """The contents of an attention file.

    Attributes:
      sources: the texts that were translated.
      translations: of each. The file does not store `score`: it is `log_prob` here.
      facts: JSON values, where the weights come from.
    """

    sources: tuple[str, ...]
    translations: tuple[Translation, ...]
    facts: dict[str, Any]


def save_attention(
    path: str | os.PathLike[str],
    sources: Sequence[str],
    translations: Sequence[Translation],
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes the file atomically.

    Args:
      path: ends in .npz or .json, which chooses the format.
      sources: the texts that were translated.
      translations: of each, as `Run.decode` or `Run.force` gives them.
      facts: JSON values: where the weights come from.

    Raises:
      UserError: another suffix.
      ValueError: not one translation a source, weights that do not match the tokens or are
        not finite, facts that are not JSON values.
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    suffix = check_suffix(path)
    header: dict[str, Any] = {"format": FORMAT, "facts": dict(facts or {})}
    header["sentences"] = []
    for number, (source, one) in enumerate(zip(sources, translations, strict=True), 1):
        _check(one, f"sentence {number}")
        entry: dict[str, Any] = {
            "source": source,
            "translation": one.text,
            "source_tokens": list(one.source_tokens),
            "target_tokens": list(one.target_tokens),
            "log_prob": float(one.log_prob),
        }
        if suffix == ".json":
            entry["weights"] = [_numbers(row) for row in one.weights]
            entry["end_weights"] = _numbers(one.end_weights)
        header["sentences"].append(entry)
    text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode("utf-8")
    if suffix == ".json":
        write_bytes(path, text + b"\n")
        return
    empty, stream = [np.zeros(0, np.float32)], io.BytesIO()
    weights = [np.asarray(one.weights, np.float32) for one in translations]
    ends = [np.asarray(one.end_weights, np.float32) for one in translations]
    np.savez_compressed(
        stream,
        header=np.frombuffer(text, np.uint8),
        shapes=np.array([one.shape for one in weights], np.int64).reshape(-1, 2),
        weights=np.concatenate(empty + [one.ravel() for one in weights]),
        end_weights=np.concatenate(empty + ends),
    )
    write_bytes(path, stream.getvalue())


def load_attention(path: str | os.PathLike[str]) -> AttentionFile:
    """The contents of a file that `save_attention` wrote.

    No pickled object is ever read from it.

    Raises:
      OSError: it cannot be read.
      UserError: it is damaged, or not a file of this format; names the file.
    """
    path = pathlib.Path(path)
    suffix = check_suffix(path)
    with path.open("rb") as file:
        try:
            header, arrays = _read_json(file) if suffix == ".json" else _read_npz(file)
            translations = [
                Translation(
                    text=entry["translation"],
                    source_tokens=tuple(entry["source_tokens"]),
                    target_tokens=tuple(entry["target_tokens"]),
                    weights=weights,
                    end_weights=end_weights,
                    log_prob=float(entry["log_prob"]),
                    score=float(entry["log_prob"]),
                )
                for entry, (weights, end_weights) in zip(
                    header["sentences"], arrays, strict=True
                )
            ]
            for number, one in enumerate(translations, 1):
                _check(one, f"sentence {number}")
            sources = tuple(entry["source"] for entry in header["sentences"])
            facts = dict(header["facts"])
        except (ValueError, TypeError, LookupError, EOFError) as error:
            raise _damaged(path, error) from error
        except (zipfile.BadZipFile, OverflowError, RuntimeError) as error:
            raise _damaged(path, error) from error
    return AttentionFile(sources, tuple(translations), facts)


def check_suffix(path: pathlib.Path) -> str:
    """The suffix in lower case.

    Raises:
      UserError: it is none of SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"an attention file ends in {' or '.join(SUFFIXES)}, got {str(path)!r}"
        )
    return path.suffix.lower()


_Arrays = list[tuple[np.ndarray, np.ndarray]]


def _read_json(file: io.BufferedIOBase) -> tuple[dict[str, Any], _Arrays]:
    header = _header(file.read())
    arrays = []
    for entry in header["sentences"]:
        ends = np.asarray(entry["end_weights"], np.float32)
        # [] does not say how many columns its rows have.
        shape = len(entry["target_tokens"]), len(ends)
        arrays.append((np.asarray(entry["weights"], np.float32).reshape(shape), ends))
    return header, arrays


def _read_npz(file: io.BufferedIOBase) -> tuple[dict[str, Any], _Arrays]:
    with np.load(file, allow_pickle=False) as arrays:
        header = _header(bytes(arrays["header"]))
        shapes, flat, ends = arrays["shapes"], arrays["weights"], arrays["end_weights"]
    pieces = np.split(flat, np.cumsum(shapes.prod(axis=1)))[:-1]
    weights = [one.reshape(shape) for one, shape in zip(pieces, shapes, strict=True)]
    end_weights = np.split(ends, np.cumsum(shapes[:, 1]))[:-1]
    return header, list(zip(weights, end_weights, strict=True))


def _header(data: bytes) -> dict[str, Any]:
    header = json.loads(data.decode("utf-8"))
    if header["format"] != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, got {header['format']!r}")
    return header


def _check(one: Translation, place: str) -> None:
    """Raises ValueError unless the weights are finite and match the tokens."""
    target, source = len(one.target_tokens), len(one.source_tokens)
    for name, array, shape in (
        ("weights", one.weights, (target, source)),
        ("end_weights", one.end_weights, (source,)),
    ):
        if np.shape(array) != shape:
            raise ValueError(
                f"{place}: {name} must be {list(shape)} for {target} target and "
                f"{source} source tokens, got {list(np.shape(array))}"
            )
        if not np.isfinite(np.asarray(array, np.float64)).all():
            raise ValueError(f"{place}: {name} must be finite numbers")


def _numbers(row: Sequence[float] | np.ndarray) -> list[float]:
    """The numbers with as few digits as give the same float32 again."""
    return [float(str(np.float32(number))) for number in row]


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
    reason = f"no {error}" if isinstance(error, LookupError) else error
    return UserError(f"{path} is damaged or not an attention file: {reason}")
