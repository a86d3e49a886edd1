import contextlib
import hashlib
import http.server
import socket
import threading
import types

import pooch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_jax.config import DataConfig
from attention_jax.data import (
    Pair,
    Splits,
    data_sources,
    load_splits,
    register_data_source,
    sources,
)
from attention_jax.data.sources import download, read_lines
from attention_jax.data.splits import find_leaks
from attention_jax.errors import UnknownNameError, UserError


def every_pair(splits):
    return splits.train + splits.dev + splits.test


# The user's files


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def tsv(path, **changes):
    return DataConfig(source="tsv", path=path, num_dev=1, num_test=1, **changes)


def texts(splits):
    return {(pair.source, pair.target) for pair in every_pair(splits)}


cell = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)


@given(
    st.lists(st.tuples(cell, cell), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
@settings(deadline=None, max_examples=40)
def test_any_pairs_come_back(tmp_path_factory, rows, end, mark):
    rows = [[text.translate(dict.fromkeys(b"\t\r\n")) for text in row] for row in rows]
    rows = [(f"s{source}", f"t{target}") for source, target in rows]
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    write(path, mark + end.join("\t".join(row) for row in rows) + end)
    config = DataConfig(source="tsv", path=str(path), num_dev=0, num_test=0)
    expected = {tuple(" ".join(text.split()) for text in row) for row in rows}
    assert texts(load_splits(config)) == expected


def test_columns_are_chosen_and_a_line_with_too_few_is_named(tmp_path):
    path = write(tmp_path / "a.tsv", "1\tx\ta\n2\ty\tb\n3\tz\tc\n")
    found = texts(load_splits(tsv(path, source_column=2, target_column=0)))
    assert found == {("a", "1"), ("b", "2"), ("c", "3")}
    write(tmp_path / "a.tsv", "a\tb\nc\n")
    with pytest.raises(ValueError, match=r"a\.tsv, line 2: column 1 .* has 1 tab"):
        load_splits(tsv(path))
    write(tmp_path / "a.tsv", "\n\n")
    with pytest.raises(ValueError, match="holds no pair"):
        load_splits(tsv(path))


def test_lines_come_without_their_ends(tmp_path):
    """And separators inside a line do not end it."""
    path = write(tmp_path / "a.txt", "\ufeffa \r\n\nb\u2028c\x0b\x85\r\r\nd")
    assert read_lines(path, field="x") == ["a ", "", "b\u2028c\x0b\x85\r", "d"]
    assert read_lines(write(tmp_path / "b.txt", ""), field="x") == []


def test_bytes_that_are_not_utf8_are_located(tmp_path):
    path = write(tmp_path / "a.tsv", b"\xef\xbb\xbfa\tb\r\nc\xe4\tb\n")
    with pytest.raises(ValueError, match=r"a\.tsv, line 2: not UTF-8 at byte 9 .*0xe4"):
        load_splits(tsv(path))


def test_what_is_left_out_is_reported(tmp_path):
    rows = ["a\tb", "", "c\t ", "a\tb", "d\te", "f\tg", "\t\t"]
    rows += [f"a{n}\tb{n}" for n in range(9)]
    config = tsv(write(tmp_path / "a.tsv", "\n".join(rows)))
    config.num_pairs = 5
    splits = load_splits(config)
    assert len(texts(splits)) == 5
    report = {"lines": 16, "empty lines skipped": 3, "pairs": 5}
    report |= {"duplicates dropped": 1, "left out by num_pairs": 7}
    assert splits.report.items() >= report.items()
    config.num_pairs = 0
    assert len(texts(load_splits(config))) == 12


def test_two_files(tmp_path):
    source = write(tmp_path / "a.zh", "甲\r\n乙\r\n丙\r\n")
    target = write(tmp_path / "a.en", "a\nb\nc")
    config = DataConfig(
        source="text", path=source, target_path=target, num_dev=1, num_test=1
    )
    assert texts(load_splits(config)) == {("甲", "a"), ("乙", "b"), ("丙", "c")}
    write(tmp_path / "a.en", "a\nb\n")
    with pytest.raises(ValueError, match=r"a\.zh has 3 lines and .*a\.en has 2"):
        load_splits(config)


def test_missing_files_suggest_the_nearest(tmp_path):
    write(tmp_path / "train.tsv", "a\tb\n")
    for name, message in [
        ("trian.tsv", r"^config\.data\.path: no file .*mean .*train\.tsv"),
        ("no/train.tsv", "no folder"),
        ("", r"^config\.data\.path: cannot read .*Is a directory"),
    ]:
        with pytest.raises(UserError, match=message):
            load_splits(tsv(str(tmp_path / name)))


# Tatoeba

LINES = """Hi.\t嗨。\tCC-BY (A)
Hi.\t你好。\tCC-BY (B)
Hello!\t你好。\tCC-BY (C)
Tom’s late.\t湯姆遲到了.\tCC-BY (D)
Tom's late.\t汤姆迟到了.\tCC-BY (E)
Who?\t誰 ?\tCC-BY (F)
It costs $10,000.\t這個, 10,000美元。\tCC-BY (G)
"""


def write_tatoeba(tmp_path, **changes):
    path = write(tmp_path / "cmn.txt", LINES)
    fields = {"source": "tatoeba", "path": path, "num_dev": 1, "num_test": 1}
    return DataConfig(**{**fields, **changes})


def test_tatoeba_is_cleaned_deduplicated_and_attributed(tmp_path):
    splits = load_splits(write_tatoeba(tmp_path))
    found = {(p.source, p.target): p.attribution for p in every_pair(splits)}
    assert found == {
        ("嗨。", "Hi."): "CC-BY (A)",
        ("你好。", "Hi."): "CC-BY (B)",
        ("你好。", "Hello!"): "CC-BY (C)",
        ("汤姆迟到了.", "Tom's late."): "CC-BY (D)",
        ("谁？", "Who?"): "CC-BY (F)",
        ("这个，10,000美元。", "It costs $10,000."): "CC-BY (G)",
    }
    assert splits.report["duplicates dropped"] == 1
    assert splits.report["groups"] == 4
    assert splits.report["largest group"] == 3
    assert find_leaks(splits) == []


def test_tatoeba_goes_both_ways_and_is_made_chinese_only_if_it_is(tmp_path):
    config = write_tatoeba(tmp_path, source_language="en", target_language="zh")
    assert ("Who?", "谁？") in texts(load_splits(config))
    path = write(tmp_path / "jpn.txt", "Hi.\t國 です\nBye.\tさらば\tCC-BY\nOh!\tああ\n")
    config = write_tatoeba(tmp_path, source_language="ja", path=path)
    assert ("國 です", "Hi.") in texts(load_splits(config))


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("zh", "fr", "English on exactly one side"),
        ("en", "en", "English on exactly one side"),
        ("fr", "en", r"'fr' get its file.*data\.path=FILE"),  # only zh is downloaded
    ],
)
def test_tatoeba_has_english_on_one_side(source, target, message):
    fields = {"source_language": source, "target_language": target}
    with pytest.raises(ValueError, match=message):
        load_splits(DataConfig(source="tatoeba", **fields))


@pytest.mark.parametrize("line", ["only one", "\t嗨", "a\t ", "a\tb\tc\td", ""])
def test_a_malformed_line_is_named(tmp_path, line):
    path = write(tmp_path / "bad.txt", f"Hi.\t嗨。\tX\n{line}\n")
    with pytest.raises(ValueError, match=r"bad\.txt, line 2: expected 'English TAB"):
        load_splits(write_tatoeba(tmp_path, path=path))


def test_the_download_is_the_pinned_one(monkeypatch, tmp_path):
    path = write(tmp_path / "cmn.txt", LINES)
    found = {(sources.TATOEBA_URL, sources.TATOEBA_SHA256): path}
    monkeypatch.setattr(sources, "download", lambda *asked: found[asked])
    assert len(texts(load_splits(write_tatoeba(tmp_path, path="")))) == 6
    assert "7745df43beea3501a578e17090277ea2d755cb82" in sources.TATOEBA_URL


# The download

CONTENT = bytes(range(256)) * 300
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A real server on loopback whose answers a test chooses."""
    # `breaks` is the number of bytes to send before hanging up, for each request.
    state = types.SimpleNamespace(content=CONTENT, breaks=[], status=200, requests=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests += 1
            if state.status != 200:
                self.send_error(state.status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.close_connection = bool(state.breaks)
            end = state.breaks.pop(0) if state.breaks else None
            self.wfile.write(state.content[:end])

        def log_message(self, format, *args):
            pass

    monkeypatch.setenv("ATTENTION_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_address[1]}/pairs.txt"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()


def cached(tmp_path):
    return sorted(entry.name for entry in (tmp_path / "cache").iterdir())


def test_a_file_is_downloaded_once_and_again_if_it_is_damaged(server, tmp_path, capfd):
    path = download(server.url, DIGEST)
    assert path == tmp_path / "cache" / "pairs.txt"
    assert path.read_bytes() == CONTENT
    download(server.url, DIGEST)
    assert server.requests == 1
    path.write_bytes(CONTENT[:-1] + b"?")
    assert download(server.url, DIGEST).read_bytes() == CONTENT
    assert server.requests == 2
    assert cached(tmp_path) == ["pairs.txt"]
    assert capfd.readouterr() == ("", "")  # no terminal, no progress bar


def test_a_broken_connection_is_tried_again(server, tmp_path):
    server.breaks = [10_000, 20_000]
    assert download(server.url, DIGEST).read_bytes() == CONTENT
    assert server.requests == 3


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    server.content = b"something else"
    with pytest.raises(UserError, match=r"pairs\.txt.*does not match.*data\.path=FILE"):
        download(server.url, DIGEST)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("status", [404, 0])
def test_an_error_names_the_address_and_says_what_else_to_do(server, tmp_path, status):
    url, reason = server.url, str(status)
    if status:
        server.status = status
    else:  # nobody listens
        with contextlib.closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/pairs.txt"
        reason = "refused"
    with pytest.raises(UserError, match=rf"{reason}.*--config\.data\.path=FILE") as e:
        download(url, DIGEST)
    assert f"cannot download {url}" in str(e.value)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "cache" / "pairs.txt").exists()


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot download .*ATTENTION_JAX_CACHE"):
        download(server.url, DIGEST)
    assert server.requests == 0


# The table of sources


def test_sources_are_known_by_name_and_users_can_add_one():
    assert set(data_sources.names()) >= {"cldr", "tatoeba", "tsv", "text", "synthetic"}
    with pytest.raises(UnknownNameError, match="Did you mean 'tatoeba'"):
        load_splits(DataConfig(source="tatoba"))

    @register_data_source("mine")
    def mine(config):
        pairs = [Pair(f"s {i} x", f"t {i} x") for i in range(9)]
        return Splits(tuple(pairs[:3]), tuple(pairs[3:6]), (*pairs[6:], pairs[0]), {})

    try:
        assert load_splits(DataConfig(source="mine")).report == {"leaks": 2}
    finally:
        data_sources.entries.pop("mine")
        data_sources._origins.pop("mine")
