"""Attention in files that any program reads: .npz for numbers, .json for eyes.

Both hold the same: the facts of the run, and of each sentence its texts, its words, the
weights and the log-probability. docs/report.md has the layout and loaders without this
package.
"""

import io
import json
import math
import os
import pathlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from attention_jax.atomic_write import write_bytes

if TYPE_CHECKING:
    from attention_jax.run import Translation

FORMAT = "attention_jax attention 1"
SUFFIXES = (".npz", ".json")

# What reading a file of other contents may raise.
_DAMAGE = (
    *(ValueError, TypeError, LookupError, OSError, EOFError, RuntimeError),
    *(ArithmeticError, AttributeError, MemoryError),
    # NumPy parses an array's header as Python.
    *(SyntaxError, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
# Bytes of one array: some hundred million weights.
_LARGEST = 2**29
# What NumPy writes in front of an array is no longer.
_ARRAY_HEADER = 2**16
_TEXTS = ("source", "translation")
_WORDS = ("source_tokens", "target_tokens")


class SentenceRecord(NamedTuple):
    """One sentence of an attention file.

    Attributes:
      source, translation: texts.
      source_tokens, target_tokens: the S and T words.
      weights: row t is the attention that target word t was predicted with; float32.
      end_weights: the attention that the end of the sentence was predicted with; float32.
      log_prob: log p(words, end | source), the natural logarithm.
    """

    source: str
    translation: str
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    weights: Float[np.ndarray, "T S"]
    end_weights: Float[np.ndarray, " S"]
    log_prob: float


class AttentionFile(NamedTuple):
    """What `load_attention` reads: the sentences in order, and facts about the run."""

    sentences: tuple[SentenceRecord, ...]
    facts: dict[str, Any]


def record(source: str, found: "Translation") -> SentenceRecord:
    """The record of a translation of `source`."""
    return SentenceRecord(
        source,
        found.text,
        tuple(found.source_tokens),
        tuple(found.target_tokens),
        found.weights,
        found.end_weights,
        found.log_prob,
    )


def save_attention(
    path: str | os.PathLike[str],
    sentences: Iterable[SentenceRecord],
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes the file in one step.

    Args:
      path: ends in .npz or .json, which says how.
      sentences: any number.
      facts: JSON values: where the weights come from.

    Raises:
      TypeError: a record is none, or has a value of another type; names the sentence.
      ValueError: another suffix, a number that is not finite, arrays that do not match
        their words, facts that are no JSON; names the sentence. More than a file holds.
      OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    suffix = check_suffix(path)
    checked = [_checked(one, f"sentence {i}") for i, one in enumerate(sentences, 1)]
    if not isinstance(facts, Mapping | None):
        raise TypeError(f"facts must be a mapping, got {facts!r:.60}")
    header: dict[str, Any] = {"format": FORMAT, "facts": dict(facts or {})}
    header["sentences"] = [_texts(one) for one in checked]
    if suffix == ".json":
        for entry, one in zip(header["sentences"], checked, strict=True):
            entry["weights"] = [_numbers(row) for row in one.weights]
            entry["end_weights"] = _numbers(one.end_weights)
        write_bytes(path, _json(header) + b"\n")
        return
    stream = io.BytesIO()
    empty = [np.zeros(0, np.float32)]
    shapes = [one.weights.shape for one in checked]
    arrays = {
        "header": np.frombuffer(_json(header), np.uint8),
        "shapes": np.array(shapes, np.int64).reshape(-1, 2),
        "weights": np.concatenate(empty + [one.weights.ravel() for one in checked]),
        "end_weights": np.concatenate(empty + [one.end_weights for one in checked]),
    }
    for name, array in arrays.items():
        if array.nbytes > _LARGEST:
            raise ValueError(
                f"{name} has {array.nbytes:,} bytes, more than {_LARGEST:,}: fewer "
                "sentences a file"
            )
    np.savez_compressed(stream, **arrays)
    write_bytes(path, stream.getvalue())


def load_attention(path: str | os.PathLike[str]) -> AttentionFile:
    """What `save_attention` wrote, checked.

    Runs nothing that the file holds: no pickled object is ever read.

    Raises:
      OSError: it cannot be read.
      ValueError: it is damaged, or no file of this format; names the file and the place.
    """
    path = pathlib.Path(path)
    suffix, data = check_suffix(path), path.read_bytes()
    try:
        header, arrays = (_from_json if suffix == ".json" else _from_npz)(data)
        sentences = [
            _checked(
                SentenceRecord(
                    source=_typed(entry, "source", str),
                    translation=_typed(entry, "translation", str),
                    source_tokens=tuple(_typed(entry, "source_tokens", list)),
                    target_tokens=tuple(_typed(entry, "target_tokens", list)),
                    weights=weights,
                    end_weights=end_weights,
                    log_prob=float(_typed(entry, "log_prob", (int, float))),
                ),
                f"sentence {number}",
            )
            for number, (entry, (weights, end_weights)) in enumerate(
                zip(header["sentences"], arrays, strict=True), 1
            )
        ]
    except _DAMAGE as error:
        reason = f"no {error}" if isinstance(error, LookupError) else error
        raise ValueError(f"{path} is damaged or no attention file: {reason}") from error
    return AttentionFile(tuple(sentences), header["facts"])


def check_suffix(path: pathlib.Path) -> str:
    """The suffix in lower case.

    Raises:
      ValueError: it is none of SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"an attention file ends in {' or '.join(SUFFIXES)}, got {str(path)!r}"
        )
    return path.suffix.lower()


_Arrays = list[tuple[np.ndarray, np.ndarray]]


def _from_json(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    header = _header(data)
    arrays = []
    for entry in header["sentences"]:
        end_weights = np.asarray(entry["end_weights"])
        weights = np.asarray(entry["weights"])
        if not weights.size:
            # [] has lost how many columns no row has.
            weights = weights.reshape(len(entry["target_tokens"]), len(end_weights))
        arrays.append((weights, end_weights))
    return header, arrays


def _from_npz(data: bytes) -> tuple[dict[str, Any], _Arrays]:
    stream = io.BytesIO(data)
    if not zipfile.is_zipfile(stream):
        raise ValueError("it is no .npz archive")
    _check_sizes(stream)
    stream.seek(0)
    with np.load(stream, allow_pickle=False) as file:
        header = _header(file["header"].astype(np.uint8).tobytes())
        shapes, flat, ends = file["shapes"], file["weights"], file["end_weights"]
    if shapes.shape != (len(header["sentences"]), 2) or shapes.dtype.kind not in "iu":
        raise ValueError(
            f"shapes must be whole numbers [{len(header['sentences'])}, 2], one row a "
            f"sentence, got {shapes.dtype} {list(shapes.shape)}"
        )
    if (shapes < 0).any():
        raise ValueError("shapes holds numbers below 0")
    areas, widths = shapes.prod(axis=1), shapes[:, 1]
    if flat.shape != (areas.sum(),) or ends.shape != (widths.sum(),):
        raise ValueError(
            f"weights and end_weights must have {areas.sum()} and {widths.sum()} "
            f"numbers, got {flat.shape} and {ends.shape}"
        )
    weights = np.split(flat, np.cumsum(areas))[:-1]
    end_weights = np.split(ends, np.cumsum(widths))[:-1]
    reshaped = [one.reshape(shape) for one, shape in zip(weights, shapes, strict=True)]
    return header, list(zip(reshaped, end_weights, strict=True))


def _check_sizes(stream: io.BytesIO) -> None:
    """Raises ValueError for an array that says it has more numbers than it brings.

    NumPy makes room for what an array's header claims before it reads on.
    """
    with zipfile.ZipFile(stream) as archive:
        for name in ("header", "shapes", "weights", "end_weights"):
            member = archive.getinfo(f"{name}.npy")
            if member.file_size > _LARGEST + _ARRAY_HEADER:
                raise ValueError(
                    f"{name} has {member.file_size:,} bytes, more than {_LARGEST:,}"
                )
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise ValueError(f"{member.filename} has the version {version}")
                shape, _, dtype = read(file)
                # The directory may lie about the size: deflate makes 1,032 bytes of one.
                most = min(member.file_size, 1_032 * member.compress_size)
                brought = most - file.tell()
            claimed = math.prod(shape) * dtype.itemsize
            if claimed > brought:
                raise ValueError(
                    f"{member.filename} claims {claimed:,} bytes and has {brought:,}"
                )


def _header(data: bytes) -> dict[str, Any]:
    header = json.loads(data.decode("utf-8"))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header)
        raise ValueError(f"format must be {FORMAT!r}, got {found!r}")
    _typed(header, "facts", dict)
    _typed(header, "sentences", list)
    return header


def _typed(entry: Any, name: str, kind: Any) -> Any:
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} has a value of another type: {value!r:.60}")
    return value


def _checked(one: SentenceRecord, place: str) -> SentenceRecord:
    """With float32 arrays that match the words."""
    if not isinstance(one, SentenceRecord):
        raise TypeError(f"{place} must be a SentenceRecord, got {one!r:.60}")
    for name in _TEXTS:
        _check_text(getattr(one, name), f"{place}: {name}")
    for name in _WORDS:
        words = getattr(one, name)
        if not isinstance(words, list | tuple):
            raise TypeError(f"{place}: {name} must be words, got {words!r:.60}")
        for word in words:
            _check_text(word, f"{place}: {name}")
    for name in ("weights", "end_weights", "log_prob"):
        try:
            array = np.asarray(getattr(one, name))
        except ValueError as error:
            raise ValueError(f"{place}: {name} must be an array: {error}") from error
        # V is what NumPy calls JAX's own, as bfloat16.
        if array.size and array.dtype.kind not in "iufV":
            raise TypeError(f"{place}: {name} must be real numbers")
    if np.shape(one.log_prob):
        raise TypeError(f"{place}: log_prob must be one number, got {one.log_prob!r}")
    target, source = len(one.target_tokens), len(one.source_tokens)
    weights = np.asarray(one.weights, np.float32)
    end_weights = np.asarray(one.end_weights, np.float32)
    for name, array, shape in (
        ("weights", weights, (target, source)),
        ("end_weights", end_weights, (source,)),
    ):
        if array.shape != shape:
            raise ValueError(
                f"{place}: {name} must be {list(shape)} for {target} target and "
                f"{source} source words, got {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{place}: {name} must be finite numbers")
    if not np.isfinite(one.log_prob):
        raise ValueError(f"{place}: log_prob must be finite, got {one.log_prob}")
    return one._replace(
        weights=weights, end_weights=end_weights, log_prob=float(one.log_prob)
    )


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be text, got {text!r:.60}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} is no text: half of a character") from error


def _texts(one: SentenceRecord) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in _TEXTS},
        **{name: list(getattr(one, name)) for name in _WORDS},
        "log_prob": one.log_prob,
    }


def _numbers(row: Sequence[float] | np.ndarray) -> list[float]:
    """As few digits as give the same float32 again."""
    return [float(str(np.float32(number))) for number in row]


def _json(value: Any) -> bytes:
    """Only facts are unchecked here."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"facts must be JSON values: {error}") from error
