"""Writes a config's pairs as tokenised text, for other toolkits and word aligners.

    python -m experiments.export_pairs --config=configs/tatoeba_zh_en.py --output=pairs/

The folder gets {train,dev,test}.{source,target}, one sentence a line, tokens separated by
single spaces, and vocab.{source,target}, one token a line, the most frequent first, without
<pad>, <bos>, <eos> and <unk>. Training pairs that config.data.max_source_length and
max_target_length leave out are left out.
"""

import pathlib
import sys
import types

from absl import flags

from attention_jax import data
from attention_jax.atomic_write import write_text
from attention_jax.config import check_fields
from attention_jax.errors import UserError
from experiments import cli
from experiments.outputs import check_apart

SIDES = ("source", "target")


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
    config, folder = arguments.config.data, pathlib.Path(arguments.output)
    check_fields(config, "config.data")
    data.check_config(config)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output={folder} is a file, and should be a folder")
    names = [f"{n}.{s}" for n in ("train", "dev", "test", "vocab") for s in SIDES]
    check_apart(
        {f"output={folder}/{name}": str(folder / name) for name in names},
        read={
            "config.data.path": config.path,
            "config.data.target_path": config.target_path,
        },
    )
    splits = data.load_splits(config)
    coded = data.build_codecs(config, splits.train)
    limits = (config.max_source_length, config.max_target_length)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        rows = [
            [
                [token.text for token in codec.tokens(text)]
                for codec, text in zip(coded, (pair.source, pair.target), strict=True)
            ]
            for pair in getattr(splits, name)
        ]
        if name == "train":
            rows = [
                row
                for row in rows
                if all(
                    not limit or len(tokens) <= limit
                    for tokens, limit in zip(row, limits, strict=True)
                )
            ]
        for side, suffix in enumerate(SIDES):
            lines = [" ".join(row[side]) + "\n" for row in rows]
            write_text(folder / f"{name}.{suffix}", "".join(lines))
        print(f"{name}: {len(rows):,} pairs")
    for codec, suffix in zip(coded, SIDES, strict=True):
        tokens = codec.vocabulary.tokens[len(data.SPECIAL_TOKENS) :]
        lines = "".join(token + "\n" for token in tokens)
        write_text(folder / f"vocab.{suffix}", lines)
        print(f"vocab.{suffix}: {len(tokens):,} tokens")


if __name__ == "__main__":
    sys.exit(cli.run(main, define_flags, config=True, required=("output",)))
