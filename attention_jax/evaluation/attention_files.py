"""Attention in .npz files that other programs read; docs/report.md has the layout."""

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


class AttentionFile(NamedTuple):
    """The contents of an attention file, as `save_attention` took them.

    The file does not store a translation's `score`: it is `log_prob` here.
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
      path: ends in .npz.
      sources: the texts that were translated.
      translations: of each, as `Run.decode` or `Run.force` gives them.
      facts: JSON values: where the weights come from.

    Raises:
      UserError: another suffix.
      ValueError: not one translation a source, weights that do not match the tokens or are
        not finite, facts that are not JSON values.
    """
    path = check_suffix(path)
    sentences = []
    for source, one in zip(sources, translations, strict=True):
        _check(one)
        tokens = {n: getattr(one, n) for n in ("source_tokens", "target_tokens")}
        texts = {"source": source, "translation": one.text, **tokens}
        sentences.append({**texts, "log_prob": float(one.log_prob)})
    header = {"format": FORMAT, "facts": dict(facts or {}), "sentences": sentences}
    text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode("utf-8")
    shapes = [np.shape(one.weights) for one in translations]
    weights = [np.ravel(one.weights) for one in translations]
    ends = [np.asarray(one.end_weights) for one in translations]
    stream, empty = io.BytesIO(), np.zeros(0)
    np.savez_compressed(
        stream,
        header=np.frombuffer(text, np.uint8),
        shapes=np.array(shapes, np.int64).reshape(-1, 2),
        weights=np.concatenate([empty, *weights]).astype(np.float32),
        end_weights=np.concatenate([empty, *ends]).astype(np.float32),
    )
    write_bytes(path, stream.getvalue())


def load_attention(path: str | os.PathLike[str]) -> AttentionFile:
    """The contents of a file that `save_attention` wrote; reads no pickled object.

    Raises:
      UserError: it is damaged, or not a file of this format; names the file.
    """
    data = io.BytesIO(check_suffix(path).read_bytes())
    try:
        with np.load(data, allow_pickle=False) as file:
            header = json.loads(bytes(file["header"]).decode("utf-8"))
            shapes, flat, ends = file["shapes"], file["weights"], file["end_weights"]
        if header["format"] != FORMAT:
            raise ValueError(f"format must be {FORMAT!r}, got {header['format']!r}")
        weights = np.split(flat, np.cumsum(shapes.prod(axis=1)))[:-1]
        end_weights = np.split(ends, np.cumsum(shapes[:, 1]))[:-1]
        entries, translations = header["sentences"], []
        each = zip(entries, weights, shapes, end_weights, strict=True)
        for entry, one, shape, end in each:
            log_prob = float(entry["log_prob"])
            found = Translation(
                entry["translation"],
                tuple(entry["source_tokens"]),
                tuple(entry["target_tokens"]),
                one.reshape(shape),
                end,
                log_prob,
                score=log_prob,
            )
            _check(found)
            translations.append(found)
        sources = tuple(entry["source"] for entry in entries)
        return AttentionFile(sources, tuple(translations), dict(header["facts"]))
    except (ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile) as error:
        reason = f"no {error}" if isinstance(error, LookupError) else error
        raise UserError(
            f"{path} is damaged or not an attention file: {reason}"
        ) from error


def check_suffix(path: str | os.PathLike[str]) -> pathlib.Path:
    """The path; raises UserError unless it ends in .npz."""
    path = pathlib.Path(path)
    if path.suffix.lower() != ".npz":
        raise UserError(f"an attention file ends in .npz, got {str(path)!r}")
    return path


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
