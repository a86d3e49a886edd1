"""Sentence pairs by the contributors of tatoeba.org, in manythings.org's format.

CC-BY 2.0 FR: every pair keeps its attribution.
"""

import pathlib
import sys
from typing import Any

from attention_jax.config import DataConfig
from attention_jax.data.pairs import Pair
from attention_jax.data.sources import register_data_source, split_at_most
from attention_jax.data.splits import Splits
from attention_jax.data.text import (
    clean_chinese,
    clean_english,
    clean_text,
    read_lines,
)
from attention_jax.errors import UserError

URL = (
    "https://raw.githubusercontent.com/JimEverest/transformer-ready-go/"
    "7745df43beea3501a578e17090277ea2d755cb82/data/cmn.txt"
)
SHA256 = "3a8ac6cb8cdaab6e235d3075ec3680084044d975882d6139c903bf7893097ff6"


@register_data_source("tatoeba")
def tatoeba(config: DataConfig) -> Splits:
    """Short sentences in English and another language, either way round.

    Lines are "English TAB other TAB attribution", as in the archives of
    manythings.org/anki. With an empty `config.path`, Chinese and English (28,447 lines),
    which are downloaded once (see `download`).

    Both sides are cleaned (`clean_english`, `clean_chinese`; other languages: NFC and
    white space), repeated pairs dropped, and the rest split by group, so that no sentence
    is in two splits.

    Raises:
      UserError: the file cannot be read or downloaded; a line is malformed (names it);
        neither or both of the languages are "en"; or a download is asked for languages
        other than "zh" and "en".
    """
    languages = (config.source_language, config.target_language)
    if languages.count("en") != 1:
        raise UserError(
            "tatoeba has English on exactly one side: of config.data.source_language and "
            f"config.data.target_language one must be 'en', got {languages}"
        )
    other = languages[0] if languages[1] == "en" else languages[1]
    if not config.path and other != "zh":
        raise UserError(
            f"the download of tatoeba is zh-en; for {other!r} get its file from "
            "manythings.org/anki and pass --config.data.path=FILE"
        )
    path = config.path or str(download(URL, SHA256))
    lines = read_lines(path, field="config.data.path")
    clean = clean_chinese if other.split("_")[0] == "zh" else clean_text
    pairs: dict[tuple[str, str], Pair] = {}
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        if not 2 <= len(cells) <= 3 or not all(cell.strip() for cell in cells[:2]):
            raise UserError(
                f"{path}, line {number}: expected 'English TAB other language TAB "
                f"attribution' with text in the first two, got {len(cells)} columns"
            )
        texts = (clean_english(cells[0]), clean(cells[1]))
        source, target = texts if languages[0] == "en" else texts[::-1]
        if source and target:
            pair = Pair(source, target, attribution="".join(cells[2:]))
            pairs.setdefault((source, target), pair)
    splits = split_at_most(list(pairs.values()), config)
    report: dict[str, int | str] = {
        "lines": len(lines),
        "duplicates dropped": len(lines) - len(pairs),
        "licence": "CC-BY 2.0 FR, tatoeba.org",
    }
    return splits._replace(report={**report, **splits.report})


def download(url: str, sha256: str) -> pathlib.Path:
    """The path of a file from the web, downloaded unless an intact copy is cached.

    The cache is the folder $ATTENTION_JAX_CACHE, or else the user's cache folder
    (~/.cache/attention_jax on Linux). A failed download is tried three times; a terminal
    shows its progress.

    Raises:
      UserError: there is no network, no space or no such file, or its checksum differs.
    """
    # Imported here because it takes a quarter of a second.
    import pooch

    pooch.get_logger().setLevel("ERROR")
    base, _, name = url.rpartition("/")
    cache = pooch.create(
        path=pooch.os_cache("attention_jax"),
        base_url=f"{base}/",
        registry={name: f"sha256:{sha256}"},
        env="ATTENTION_JAX_CACHE",
        retry_if_failed=2,
    )
    terminal = sys.stderr.isatty()
    # Any, as its type annotations do not agree with those of `fetch`. It does not close a
    # response that it streams and that is an error, hence no stream without a bar.
    downloader: Any = pooch.HTTPDownloader(
        progressbar=terminal, stream=terminal, timeout=30
    )
    try:
        return pathlib.Path(cache.fetch(name, downloader=downloader))
    except (OSError, ValueError) as error:  # network and disk; checksum
        raise UserError(
            f"cannot download {url} to {cache.abspath}: {error}. If you have the file "
            "already, pass --config.data.path=FILE; for another folder, set the "
            "environment variable ATTENTION_JAX_CACHE"
        ) from error
