"""One process at a time trains in a run's directory."""

import contextlib
import errno
import os
import pathlib
import socket
from collections.abc import Iterator

from absl import logging


class WorkdirInUseError(OSError):
    """Another process is training in the directory."""


@contextlib.contextmanager
def sole_trainer(path: pathlib.Path) -> Iterator[None]:
    """Holds the lock file `path` while entered; the system frees it whatever ends us.

    Its folder must exist. Where the file system has no locks, it warns and goes on.

    Raises:
      WorkdirInUseError: another process holds it; names the process.
    """
    try:
        import fcntl
    except ImportError:  # Not a POSIX system.
        logging.warning("%s cannot be locked on this system", path.parent)
        yield
        return
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise WorkdirInUseError(
                f"{path.parent} is being trained in by {holder}; wait for it, or give "
                "this run a workdir of its own"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
            logging.warning("%s cannot be locked: %s", path.parent, error.strerror)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        # Left in place: removing it would let two processes lock two files of one name.
        yield
