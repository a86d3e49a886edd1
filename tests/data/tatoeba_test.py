import contextlib
import hashlib
import http.server
import socket
import threading

import pooch
import pytest

from attention_jax.data.tatoeba import download
from attention_jax.errors import UserError

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A real server on loopback whose answers a test chooses."""

    def __init__(self):
        self.content = CONTENT
        self.breaks: list[int] = []  # bytes to send before hanging up, per request
        self.status = 200
        self.requests = 0

    def handle(self, handler):
        self.requests += 1
        if self.status != 200:
            handler.send_error(self.status)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        body = self.content
        if self.breaks:
            body = body[: self.breaks.pop(0)]
            handler.close_connection = True
        handler.wfile.write(body)


@pytest.fixture
def server(monkeypatch, tmp_path):
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.handle(self)

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
    path = download(server.url, SHA256)
    assert path == tmp_path / "cache" / "pairs.txt"
    assert path.read_bytes() == CONTENT
    download(server.url, SHA256)
    assert server.requests == 1
    path.write_bytes(CONTENT[:-1] + b"?")
    assert download(server.url, SHA256).read_bytes() == CONTENT
    assert server.requests == 2
    assert cached(tmp_path) == ["pairs.txt"]
    assert capfd.readouterr() == ("", "")  # no terminal, no progress bar


def test_a_broken_connection_is_tried_again(server, tmp_path):
    server.breaks = [10_000, 20_000]
    assert download(server.url, SHA256).read_bytes() == CONTENT
    assert server.requests == 3


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    server.content = b"something else"
    with pytest.raises(UserError, match=r"pairs\.txt.*does not match.*data\.path=FILE"):
        download(server.url, SHA256)
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
        download(url, SHA256)
    assert f"cannot download {url}" in str(e.value)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "cache" / "pairs.txt").exists()


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot download .*ATTENTION_JAX_CACHE"):
        download(server.url, SHA256)
    assert server.requests == 0
