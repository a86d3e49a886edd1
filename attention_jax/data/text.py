"""Reading text files, and cleaning text."""

import difflib
import functools
import pathlib
import re
import unicodedata

import opencc

from attention_jax.errors import UserError


def read_lines(path: str, *, field: str) -> list[str]:
    """The lines of a UTF-8 file that the flag or configuration field `field` names.

    Only "\\n" and "\\r\\n" end a line; U+2028 and the like are part of it. A byte order
    mark is dropped.

    Raises:
      UserError: the file cannot be read, or is not UTF-8; names the nearest file that
        exists, or the line and the byte.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        hint = _nearest_file(pathlib.Path(path))
        raise UserError(f"{field}: no file {path!r}.{hint}") from None
    except IsADirectoryError:
        raise UserError(f"{field}: {path!r} is a folder, not a file") from None
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


def lower_case(text: str) -> str:
    """The text in lower case, with every character at its offset."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    # A few characters ("İ") grow in lower case; leaving them keeps every offset.
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


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
