"""Sentence pairs by the contributors of tatoeba.org, in manythings.org's format.

CC-BY 2.0 FR: every pair keeps its attribution.
"""

import functools
import pathlib
import re
import unicodedata

from attention_jax.config import DataConfig
from attention_jax.data.download import cache_folder, fetch
from attention_jax.data.files import read_lines
from attention_jax.data.pairs import Pair
from attention_jax.data.sources import keep_at_most, register_data_source
from attention_jax.data.splits import Splits, split_by_group

URL = (
    "https://raw.githubusercontent.com/JimEverest/transformer-ready-go/"
    "7745df43beea3501a578e17090277ea2d755cb82/data/cmn.txt"
)
SHA256 = "3a8ac6cb8cdaab6e235d3075ec3680084044d975882d6139c903bf7893097ff6"
_REMEDY = "If you have the file already, pass --config.data.path=FILE."


@register_data_source("tatoeba")
def tatoeba(config: DataConfig) -> Splits:
    """Short sentences in English and another language, either way round.

    Lines are "English TAB other TAB attribution", as in the archives of
    manythings.org/anki. With an empty `config.path`, Chinese and English (28,447 lines):
    downloaded once, checked, and kept in `download.cache_folder()`.

    Both sides are cleaned (`clean_english`, `clean_chinese`; other languages: NFC and
    white space), repeated pairs dropped, and the rest split by group, so that no sentence
    is in two splits.

    Raises:
      OSError: no file, no network, no space; the message says what to do.
      ValueError: neither or both of the languages are "en"; a line is malformed (names
        it); a download is asked for languages other than "zh" and "en".
    """
    languages = (config.source_language, config.target_language)
    if languages.count("en") != 1:
        raise ValueError(
            "tatoeba has English on exactly one side: of config.data.source_language and "
            f"config.data.target_language one must be 'en', got {languages}"
        )
    other = languages[0] if languages[1] == "en" else languages[1]
    if config.path:
        path = pathlib.Path(config.path)
    elif other == "zh":
        path = fetch(URL, cache_folder() / "cmn.txt", sha256=SHA256, remedy=_REMEDY)
    else:
        raise ValueError(
            f"the download of tatoeba is zh-en; for {other!r} get its file from "
            "manythings.org/anki and pass --config.data.path=FILE"
        )
    rows = _read(str(path))
    clean = clean_chinese if other.split("_")[0] == "zh" else clean_text
    pairs: dict[tuple[str, str], Pair] = {}
    for english, foreign, attribution in rows:
        texts = (clean_english(english), clean(foreign))
        source, target = texts if languages[0] == "en" else texts[::-1]
        if source and target:
            pair = Pair(source, target, attribution=attribution)
            pairs.setdefault((source, target), pair)
    kept = keep_at_most(list(pairs.values()), config.num_pairs, config.seed)
    splits = split_by_group(kept, config.num_dev, config.num_test, config.seed)
    report: dict[str, int | str] = {
        "lines": len(rows),
        "duplicates dropped": len(rows) - len(pairs),
        "licence": "CC-BY 2.0 FR, tatoeba.org",
    }
    return splits._replace(report={**report, **splits.report})


def _read(path: str) -> list[tuple[str, str, str]]:
    """English, other language and attribution of each line."""
    rows = []
    for number, line in enumerate(read_lines(path, field="config.data.path"), start=1):
        cells = line.split("\t")
        if not 2 <= len(cells) <= 3 or not cells[0].strip() or not cells[1].strip():
            raise ValueError(
                f"{path}, line {number}: expected 'English TAB other language TAB "
                f"attribution' with text in the first two, got {len(cells)} columns"
            )
        rows.append((cells[0], cells[1], cells[2] if len(cells) == 3 else ""))
    return rows


def clean_text(text: str) -> str:
    """The text in Unicode's form NFC, without invisible marks, with single spaces."""
    text = unicodedata.normalize("NFC", text)
    text = text.replace("\u200b", "").replace("\ufeff", "")
    return " ".join(text.split())


_ENGLISH_QUOTES = str.maketrans("‘’“”", "''\"\"")


def clean_english(text: str) -> str:
    """`clean_text`, with straight quotation marks and apostrophes."""
    return clean_text(text).translate(_ENGLISH_QUOTES)


_FULL_WIDTH = str.maketrans(
    {"?": "？", "!": "！", ",": "，", ";": "；", "﹐": "，", "－": "-", "％": "%"}
    | dict.fromkeys('“”"＂「」', '"')
)
_NUMBER_COMMA = re.compile(r"(?<=\d)，(?=\d)")
_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_LOOSE_SPACE = re.compile(rf" (?=[{_WIDE}\"])|(?<=[{_WIDE}\"]) ")


def clean_chinese(text: str) -> str:
    """`clean_text` in simplified characters, spelt one way where contributors differ.

    Punctuation is full width as Chinese print has it, except the comma inside a number;
    all quotation marks are straight; a space next to a Chinese character is dropped. NFKC
    would do the opposite: turn "，" and "？" into ASCII.
    """
    text = clean_text(_simplified().convert(text)).translate(_FULL_WIDTH)
    return _LOOSE_SPACE.sub("", _NUMBER_COMMA.sub(",", text))


@functools.cache
def _simplified():
    import opencc

    return opencc.OpenCC("t2s")
