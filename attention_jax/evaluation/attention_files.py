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
    sentences = []
    for source, one in zip(sources, translations, strict=True):
        _check(one)
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
        sentences.append(entry)
    header = {"format": FORMAT, "facts": dict(facts or {}), "sentences": sentences}
    text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode("utf-8")
    if suffix == ".json":
        write_bytes(path, text + b"\n")
        return
    stream = io.BytesIO()
    shapes = [np.shape(one.weights) for one in translations]
    empty = np.zeros(0, np.float32)
    weights = [np.asarray(one.weights, np.float32).ravel() for one in translations]
    ends = [np.asarray(one.end_weights, np.float32) for one in translations]
    np.savez_compressed(
        stream,
        header=np.frombuffer(text, np.uint8),
        shapes=np.array(shapes, np.int64).reshape(-1, 2),
        weights=np.concatenate([empty, *weights]),
        end_weights=np.concatenate([empty, *ends]),
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
    data = path.read_bytes()
    try:
        header, arrays = _read_json(data) if suffix == ".json" else _read_npz(data)
        if header["format"] != FORMAT:
            raise ValueError(f"format must be {FORMAT!r}, got {header['format']!r}")
        translations = []
        for entry, (weights, ends) in zip(header["sentences"], arrays, strict=True):
            source, target = (tuple(entry[f"{s}_tokens"]) for s in ("source", "target"))
            log_prob = float(entry["log_prob"])
            text = entry["translation"]
            translations.append(
                Translation(text, source, target, weights, ends, log_prob, log_prob)
            )
            _check(translations[-1])
        sources = tuple(entry["source"] for entry in header["sentences"])
        return AttentionFile(sources, tuple(translations), dict(header["facts"]))
    except (ValueError, TypeError, LookupError, EOFError) as error:
        reason = f"no {error}" if isinstance(error, LookupError) else str(error)
    except (zipfile.BadZipFile, OverflowError, RuntimeError) as error:
        reason = str(error)
    raise UserError(f"{path} is damaged or not an attention file: {reason}")


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


def _read_json(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    header, arrays = json.loads(data.decode("utf-8")), []
    for entry in header["sentences"]:
        ends = np.asarray(entry["end_weights"], np.float32)
        # [] does not say how many columns its rows have.
        shape = len(entry["target_tokens"]), len(ends)
        arrays.append((np.asarray(entry["weights"], np.float32).reshape(shape), ends))
    return header, arrays


def _read_npz(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        header = json.loads(bytes(file["header"]).decode("utf-8"))
        shapes, flat, ends = file["shapes"], file["weights"], file["end_weights"]
    weights = np.split(flat, np.cumsum(shapes.prod(axis=1)))[:-1]
    weights = [one.reshape(shape) for one, shape in zip(weights, shapes, strict=True)]
    end_weights = np.split(ends, np.cumsum(shapes[:, 1]))[:-1]
    return header, list(zip(weights, end_weights, strict=True))


def _check(one: Translation) -> None:
    """Raises ValueError unless the weights are finite and match the tokens."""
    target, source = len(one.target_tokens), len(one.source_tokens)
    for name, shape in (("weights", (target, source)), ("end_weights", (source,))):
        array = np.asarray(getattr(one, name), np.float64)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(
                f"{name} of {one.text!r} must be {list(shape)} finite numbers, for "
                f"{target} target and {source} source tokens; got {list(array.shape)}"
            )


def _numbers(row: Sequence[float] | np.ndarray) -> list[float]:
    """The numbers with as few digits as give the same float32 again."""
    return [float(str(np.float32(number))) for number in row]
