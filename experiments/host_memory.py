"""Keeping freed memory in the process, for programs that need the same again at once."""

import ctypes
import sys

# glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Asks the C library not to give freed memory back to the operating system.

    XLA allocates all temporaries of a computation at once on a CPU, more than 100 MB for a
    training step, and frees them when it returns. glibc maps blocks of that size anew each
    time, so that every step begins by faulting in tens of thousands of zeroed pages. With
    one arena that neither maps nor shrinks the same pages serve every step. The price: the
    process keeps the memory of its largest moment until it ends.

    To be called before jax is imported: threads keep the arenas that they have.

    Returns:
      Whether it was granted; False without glibc, where nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(
        libc.mallopt(_ARENA_MAX, 1)
        and libc.mallopt(_MMAP_MAX, 0)
        and libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    )
