import contextlib
import errno
import hashlib
import http.server
import socket
import threading

import pytest

from attention_jax.data import download
from attention_jax.data.download import cache_folder, fetch

CONTENT = bytes(range(256)) * 3_000  # more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REMEDY = "Or pass --config.data.path=FILE."


class Server:
    """A real server on loopback whose answers a test chooses."""

    def __init__(self):
        self.content = CONTENT
        self.ranges = True  # whether it honours Range
        self.breaks: list[int] = []  # bytes to send before hanging up, per request
        self.status = None
        self.requests: list[str | None] = []

    def handle(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        if self.status:
            handler.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and self.ranges and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        partial = asked and self.ranges
        body = self.content[start:] if partial else self.content
        handler.send_response(206 if partial else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.breaks:
            body = body[: self.breaks.pop(0)]
            handler.close_connection = True
        handler.wfile.write(body)


@pytest.fixture
def server():
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.handle(self)

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.url = f"http://127.0.0.1:{listening.server_address[1]}/pairs.txt"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()


def get(server, path, **changes):
    return fetch(
        **{"url": server.url, "path": path, "sha256": SHA256, "remedy": REMEDY}
        | changes
    )


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_downloaded_once(server, tmp_path):
    path = tmp_path / "deep" / "folder" / "pairs.txt"
    assert get(server, path) == path
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["pairs.txt"]
    get(server, path)
    assert server.requests == [None]


def test_a_damaged_copy_is_downloaded_again(server, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_bytes(CONTENT[:-1] + b"?")
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None]


def test_a_broken_connection_is_taken_up_where_it_stopped(server, tmp_path):
    server.breaks = [100_000, 200_000]
    path = tmp_path / "pairs.txt"
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=300000-"]


def test_what_an_earlier_call_got_is_kept(server, tmp_path):
    server.breaks = [150_000] + [0] * 5
    path = tmp_path / "pairs.txt"
    with pytest.raises(
        OSError, match=r"cannot download http://127.*the connection ended"
    ):
        get(server, path)
    assert (tmp_path / "pairs.txt.part").stat().st_size == 150_000
    assert not path.exists()
    server.breaks = []
    server.requests.clear()
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == ["bytes=150000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, tmp_path):
    server.ranges = False
    server.breaks = [100_000]
    path = tmp_path / "pairs.txt"
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-"]


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_that_is_complete_or_too_long(server, tmp_path, extra):
    (tmp_path / "pairs.txt.part").write_bytes(CONTENT + extra)
    path = tmp_path / "pairs.txt"
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == (2 if extra else 1)


def test_a_part_of_another_file_is_thrown_away(server, tmp_path):
    (tmp_path / "pairs.txt.part").write_bytes(b"x" * 1_000)
    path = tmp_path / "pairs.txt"
    get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-", None]


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    server.content = b"something else"
    found = hashlib.sha256(b"something else").hexdigest()
    path = tmp_path / "pairs.txt"
    with pytest.raises(OSError, match=f"{found}, expected {SHA256}.*data.path=FILE"):
        get(server, path)
    assert not path.exists()
    assert not (tmp_path / "pairs.txt.part").exists()


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 3)])
def test_an_error_of_the_server_names_the_address(server, tmp_path, status, requests):
    server.status = status
    with pytest.raises(
        OSError, match=r"cannot download http://127.*data\.path=FILE"
    ) as e:
        get(server, tmp_path / "pairs.txt")
    assert server.url in str(e.value)
    assert len(server.requests) == requests


def test_nobody_listens(tmp_path):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/pairs.txt"
        with pytest.raises(OSError, match="refused.*data.path=FILE") as error:
            fetch(url, tmp_path / "pairs.txt", sha256=SHA256, remedy=REMEDY)
    assert url in str(error.value)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "pairs.txt"
    with pytest.raises(
        OSError, match=r"cannot write .*ATTENTION_JAX_CACHE.*data\.path"
    ):
        get(server, path)
    assert server.requests == []


def test_a_full_disk(server, tmp_path, monkeypatch):
    real = download._open

    @contextlib.contextmanager
    def full(part, mode):
        with real(part, mode) as file:

            class Full:
                def write(self, chunk):
                    raise OSError(errno.ENOSPC, "No space left on device")

                def flush(self):
                    file.flush()

            yield Full()

    monkeypatch.setattr(download, "_open", full)
    path = tmp_path / "pairs.txt"
    with pytest.raises(OSError, match="no space left to download") as error:
        get(server, path)
    assert str(path) in str(error.value)
    assert error.value.errno == errno.ENOSPC


def test_callers_at_the_same_time_download_once(server, tmp_path):
    path = tmp_path / "pairs.txt"
    threads = [threading.Thread(target=get, args=(server, path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTENTION_JAX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("ATTENTION_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "shared" / "attention_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "attention_jax"


def test_a_terminal_sees_progress_and_nothing_else_does(
    server, tmp_path, monkeypatch, capsys
):
    get(server, tmp_path / "quiet.txt")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    get(server, tmp_path / "loud.txt")
    out, err = capsys.readouterr()
    assert out == ""
    assert "loud.txt" in err
