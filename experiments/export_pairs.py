"""Writes a config's pairs as tokenised text, for other toolkits and word aligners.

    python -m experiments.export_pairs --config=configs/tatoeba_zh_en.py --output=pairs/

The folder gets {train,dev,test}.{source,target}, one sentence a line, tokens separated by
single spaces, and vocab.{source,target}, one token a line, the most frequent first, without
<pad>, <bos>, <eos> and <unk>.
Training pairs that config.data.max_source_length and max_target_length leave out are left
out. (A token that contains a space cannot be told apart; the built-in tokenizers make none.)
"""

import pathlib
import sys
import types
from typing import TYPE_CHECKING

from absl import flags

from experiments import command_line
from experiments.arguments import UsageError

if TYPE_CHECKING:
    from attention_jax.config import DataConfig


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines --output."""
    flags.DEFINE_string(
        "output",
        None,
        "The folder; made if it does not exist.",
        flag_values=flag_values,
    )


def main(arguments: types.SimpleNamespace) -> None:
    """Loads, tokenises and writes."""
    from attention_jax.atomic_write import write_text
    from attention_jax.data.codec import build_codecs
    from attention_jax.data.sources import load_splits
    from attention_jax.data.vocabulary import SPECIAL_TOKENS

    folder, data = pathlib.Path(arguments.output), arguments.config.data
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output={folder} is a file, and should be a folder")
    _check_apart(folder, data)
    splits = load_splits(data)
    codecs = build_codecs(data, splits.train)
    limits = (data.max_source_length, data.max_target_length)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        rows = [
            [
                [token.text for token in codec.tokens(text)]
                for codec, text in zip(codecs, (pair.source, pair.target), strict=True)
            ]
            for pair in getattr(splits, name)
        ]
        if name == "train":
            rows = [row for row in rows if _short(row, limits)]
        for side, suffix in enumerate(("source", "target")):
            lines = [" ".join(row[side]) + "\n" for row in rows]
            write_text(folder / f"{name}.{suffix}", "".join(lines))
        print(f"{name}: {len(rows):,} pairs")
    for codec, suffix in zip(codecs, ("source", "target"), strict=True):
        tokens = codec.vocabulary.tokens[len(SPECIAL_TOKENS) :]
        write_text(
            folder / f"vocab.{suffix}", "".join(token + "\n" for token in tokens)
        )
        print(f"vocab.{suffix}: {len(tokens):,} tokens")


def _check_apart(folder: pathlib.Path, data: "DataConfig") -> None:
    """Raises UsageError if a file that would be written is one of the data's own."""
    written = {
        (folder / f"{part}.{side}").resolve(): f"{part}.{side}"
        for part in ("train", "dev", "test", "vocab")
        for side in ("source", "target")
    }
    for field in ("path", "target_path"):
        name = written.get(pathlib.Path(getattr(data, field)).resolve())
        if name is not None:
            raise UsageError(
                f"--output={folder}: its {name} is config.data.{field}, and would be "
                "replaced"
            )


def _short(row: list[list[str]], limits: tuple[int, int]) -> bool:
    return all(
        not limit or len(side) <= limit for side, limit in zip(row, limits, strict=True)
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main, define_flags, config=True, required=("output",)))
