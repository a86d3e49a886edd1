"""One file from the web, once: resumed when broken off, checked, put in place whole."""

import contextlib
import errno
import hashlib
import http.client
import os
import pathlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from absl import logging

# Called with bytes so far and bytes in all (None if the server does not say).
Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 16
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30.0


def cache_folder() -> pathlib.Path:
    """Where downloads are kept.

    The first of $ATTENTION_JAX_CACHE, $XDG_CACHE_HOME/attention_jax and
    ~/.cache/attention_jax whose variable is set.
    """
    own = os.environ.get("ATTENTION_JAX_CACHE")
    if own:
        return pathlib.Path(os.path.expanduser(own))
    shared = os.environ.get("XDG_CACHE_HOME")
    root = pathlib.Path(shared) if shared else pathlib.Path.home() / ".cache"
    return root / "attention_jax"


def fetch(
    url: str, path: pathlib.Path, *, sha256: str, remedy: str = ""
) -> pathlib.Path:
    """`path`, downloaded from `url` first if it is not there yet.

    The bytes gather in `path` + ".part"; a broken connection is taken up where it stopped,
    at once and in a later call. Only a file with the right checksum gets the name `path`.

    Args:
      url: http or https.
      path: the file to make; its folder is made too.
      sha256: of the whole file, in hex.
      remedy: what else the user can do; ends every message.

    Raises:
      OSError: the network, the server or the disk does not play along; or what came has
        another checksum. The message names the URL or the path.
    """
    if _is_whole(path, sha256):
        return path
    part = path.with_name(path.name + ".part")
    with _disk_errors(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_name(path.name + ".lock")):
            if _is_whole(path, sha256):  # another process was faster
                return path
            resumed = part.exists() and part.stat().st_size > 0
            _download(url, part, remedy)
            found = _sha256(part)
            if found != sha256 and resumed:
                # The beginning may have come from another file: once more, from scratch.
                part.unlink()
                _download(url, part, remedy)
                found = _sha256(part)
            if found != sha256:
                part.unlink()
                raise _TransferError(
                    f"{url} has SHA-256 {found}, expected {sha256}: the file there was "
                    f"changed or damaged on the way, nothing was kept. {remedy}".rstrip()
                )
            os.replace(part, path)
    return path


class _TransferError(OSError):
    """An error whose message is complete."""


@contextlib.contextmanager
def _disk_errors(path: pathlib.Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except _TransferError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"no space left to download to {path}"
        else:
            what = f"cannot write {path}: {error.strerror or error}"
        advice = (
            "Name another folder with the environment variable ATTENTION_JAX_CACHE."
        )
        message = f"{what}. {advice} {remedy}".rstrip()
        raise type(error)(error.errno, message) from error


@contextlib.contextmanager
def _alone(lock: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from the same download, where the system has file locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    # Only after success: whoever still waits on this lock will find the file in place.
    lock.unlink(missing_ok=True)


def _download(url: str, part: pathlib.Path, remedy: str) -> None:
    """Completes `part`, trying again as long as attempts bring something new."""
    failures = 0
    with _progress(part.name.removesuffix(".part")) as progress:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                _transfer(url, part, progress)
                return
            except urllib.error.HTTPError as error:
                error.close()
                problem: Exception = error
                failures = _ATTEMPTS if error.code < 500 else failures + 1
            except _DiskError as error:
                raise error.cause from None
            except (OSError, http.client.HTTPException) as error:
                problem = error
                size = part.stat().st_size if part.exists() else 0
                failures = 0 if size > before else failures + 1
            if failures >= _ATTEMPTS:
                reason = getattr(problem, "reason", None) or problem
                raise _TransferError(
                    f"cannot download {url}: {reason}. {remedy}".rstrip()
                ) from problem


class _DiskError(Exception):
    def __init__(self, cause: OSError):
        super().__init__(str(cause))
        self.cause = cause


def _transfer(url: str, part: pathlib.Path, progress: Progress) -> None:
    """One request for what `part` lacks; raises if the answer breaks off."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "attention_jax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return  # it was complete
        part.unlink()
        _transfer(url, part, progress)
        return
    with response:
        continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if continues else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with _open(part, "ab" if continues else "wb") as file:
            while chunk := response.read(_CHUNK):
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as error:
                    raise _DiskError(error) from error
                have += len(chunk)
                progress(have, total)
        if total is not None and have < total:
            raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _open(part: pathlib.Path, mode: str):
    try:
        return part.open(mode)
    except OSError as error:
        raise _DiskError(error) from error


def _is_whole(path: pathlib.Path, sha256: str) -> bool:
    """Whether the cached file is there and undamaged; a damaged one is fetched anew."""
    if not path.exists():
        return False
    if _sha256(path) == sha256:
        return True
    logging.warning("%s is damaged; downloading it again", path)
    return False


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda have, total: None
        return
    from rich import console, progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda have, total: bar.update(task, completed=have, total=total)
