"""The registry of data sources, and the sources that read files."""

import difflib
import functools
import pathlib
import random
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import opencc

from attention_jax.config import DataConfig
from attention_jax.data.pairs import Pair
from attention_jax.data.splits import Splits, find_leaks, split_by_group
from attention_jax.errors import UserError
from attention_jax.functions.registry import Registry

TATOEBA_URL = (
    "https://raw.githubusercontent.com/JimEverest/transformer-ready-go/"
    "7745df43beea3501a578e17090277ea2d755cb82/data/cmn.txt"
)
TATOEBA_SHA256 = "3a8ac6cb8cdaab6e235d3075ec3680084044d975882d6139c903bf7893097ff6"

DataSource = Callable[[DataConfig], Splits]

data_sources: Registry[DataSource] = Registry("data source")


def register_data_source(name: str) -> Callable[[DataSource], DataSource]:
    """Decorator: makes a function from a configuration to splits a `config.source`."""
    return lambda function: data_sources.register(name, function, function=function)


def load_splits(config: DataConfig) -> Splits:
    """The train, dev and test pairs that `config` describes.

    The report gains the number of sentences that two splits share ("leaks"; 0 for every
    source that comes with this package). `config.num_train` keeps the first N training
    pairs, after the split: dev and test stay the same, and the pairs for a smaller number
    are a subset of those for a larger one.

    Raises:
      UserError: the source cannot use its input; an UnknownNameError if there is no
        source `config.source`.
    """
    splits = data_sources.get(config.source)(config)
    if config.num_train > len(splits.train):
        raise UserError(
            f"config.data.num_train must be at most {len(splits.train)}, the number of "
            f"training pairs of {config.source} after the split, got {config.num_train}"
        )
    report = {**splits.report, "leaks": len(find_leaks(splits))}
    train = splits.train[: config.num_train] if config.num_train else splits.train
    return splits._replace(train=train, report=report)


def read_lines(path: str, *, field: str) -> list[str]:
    """The lines of a UTF-8 file that the flag or configuration field `field` names.

    Only "\\n" and "\\r\\n" end a line; U+2028 and the like are part of it. A byte order
    mark is dropped. A UserError names the nearest file that exists, or the line and the
    byte that are not UTF-8.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        hint = _nearest_file(pathlib.Path(path))
        raise UserError(f"{field}: no file {path!r}.{hint}") from None
    except OSError as error:
        raise UserError(f"{field}: cannot read {path!r}: {error.strerror}") from error
    try:
        lines = data.decode("utf-8").removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {number}: not UTF-8 at byte {error.start} of the file "
            f"(0x{data[error.start]:02x}): convert the file, for example with iconv"
        ) from None
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _nearest_file(path: pathlib.Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {str(folder)!r} either."
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" Did you mean {str(folder / close[0])!r}?" if close else ""


@register_data_source("tsv")
def tsv(config: DataConfig) -> Splits:
    """Pairs from two columns of the tab-separated file `config.path`."""
    columns = (config.source_column, config.target_column)
    needed = max(columns) + 1
    pairs = []
    lines = read_lines(config.path, field="config.data.path")
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t") if line.strip() else [""] * needed
        if len(cells) < needed:
            raise UserError(
                f"{config.path}, line {number}: column {needed - 1} is asked for "
                f"(counted from 0), and the line has {len(cells)} tab-separated columns"
            )
        pairs.append(_pair(cells[columns[0]], cells[columns[1]]))
    return _split(pairs, config)


@register_data_source("text")
def text(config: DataConfig) -> Splits:
    """Pairs from line i of `config.path` and line i of `config.target_path`."""
    source = read_lines(config.path, field="config.data.path")
    target = read_lines(config.target_path, field="config.data.target_path")
    if len(source) != len(target):
        raise UserError(
            f"line i of one file translates line i of the other, but {config.path} has "
            f"{len(source)} lines and {config.target_path} has {len(target)}"
        )
    return _split(map(_pair, source, target), config)


def _pair(source: str, target: str) -> Pair:
    return Pair(" ".join(source.split()), " ".join(target.split()))


def _split(pairs: Iterable[Pair], config: DataConfig) -> Splits:
    """Drops empty and repeated pairs, keeps `num_pairs` at random, splits, and reports."""
    lines = list(pairs)
    complete = [pair for pair in lines if pair.source and pair.target]
    first: dict[tuple[str, str], Pair] = {}
    for pair in complete:
        first.setdefault((pair.source, pair.target), pair)
    kept = distinct = list(first.values())
    if not kept:
        raise UserError(f"{config.path} holds no pair with text on both sides")
    if 0 < config.num_pairs < len(kept):
        drawn = random.Random(config.seed).sample(range(len(kept)), config.num_pairs)
        kept = [kept[index] for index in sorted(drawn)]
    splits = split_by_group(kept, config.num_dev, config.num_test, config.seed)
    report: dict[str, int | str] = {
        "lines": len(lines),
        "empty lines skipped": len(lines) - len(complete),
        "duplicates dropped": len(complete) - len(distinct),
        "left out by num_pairs": len(distinct) - len(kept),
    }
    return splits._replace(report={**report, **splits.report})


@register_data_source("tatoeba")
def tatoeba(config: DataConfig) -> Splits:
    """Short sentences by tatoeba.org's contributors, English on one side; CC-BY 2.0 FR.

    Lines are "English TAB other TAB attribution", as in the archives of
    manythings.org/anki. With an empty `config.path`, Chinese and English (28,447 lines),
    which are downloaded once (see `download`). Both sides are cleaned (`clean_english`,
    `clean_chinese`; other languages: NFC and white space).
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
    path = config.path or str(download(TATOEBA_URL, TATOEBA_SHA256))
    clean = clean_chinese if other.split("_")[0] == "zh" else clean_text
    pairs = []
    for number, line in enumerate(read_lines(path, field="config.data.path"), start=1):
        cells = line.split("\t")
        if not 2 <= len(cells) <= 3 or not all(cell.strip() for cell in cells[:2]):
            raise UserError(
                f"{path}, line {number}: expected 'English TAB other language TAB "
                f"attribution' with text in the first two, got {len(cells)} columns"
            )
        texts = (clean_english(cells[0]), clean(cells[1]))
        source, target = texts if languages[0] == "en" else texts[::-1]
        pairs.append(Pair(source, target, attribution="".join(cells[2:])))
    splits = _split(pairs, config)
    licence = {"licence": "CC-BY 2.0 FR, tatoeba.org"}
    return splits._replace(report=splits.report | licence)


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
    """`clean_text` in simplified characters, with one form for each punctuation mark.

    Punctuation is full width, except the comma inside a number; all quotation marks are
    straight; a space next to a Chinese character is dropped. NFKC would do the opposite:
    turn "，" and "？" into ASCII.
    """
    text = clean_text(_simplified().convert(text)).translate(_FULL_WIDTH)
    return _LOOSE_SPACE.sub("", _NUMBER_COMMA.sub(",", text))


@functools.cache
def _simplified():
    return opencc.OpenCC("t2s")


def download(url: str, sha256: str) -> pathlib.Path:
    """The path of a file from the web, downloaded unless an intact copy is cached.

    The cache is the folder $ATTENTION_JAX_CACHE, or else the user's cache folder
    (~/.cache/attention_jax on Linux). A failed download is tried three times.
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
    # Any: its annotations do not agree with `fetch`'s. It does not close an error's stream.
    downloader: Any = pooch.HTTPDownloader(stream=False, timeout=30)
    try:
        return pathlib.Path(cache.fetch(name, downloader=downloader))
    except (OSError, ValueError) as error:  # network and disk; checksum
        raise UserError(
            f"cannot download {url} to {cache.abspath}: {error}. If you have the file "
            "already, pass --config.data.path=FILE; for another folder, set the "
            "environment variable ATTENTION_JAX_CACHE"
        ) from error
