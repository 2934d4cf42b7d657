"""Memory for a training on the CPU: what a step frees stays with the process, for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt(3): parameters of <malloc.h>, and what a process keeps.
_SETTINGS = {
    -3: 32 << 20,  # M_MMAP_THRESHOLD, bytes: larger blocks go back to the system at once
    -1: 512 << 20,  # M_TRIM_THRESHOLD, bytes: so much may lie free at the top of the heap
    -2: 64 << 20,  # M_TOP_PAD, bytes: and so much more is asked for at a time
}


def keep_freed_memory() -> bool:
    """Let the C library of Linux (glibc) keep the memory that a training step frees.

    By default it gives most of it back, and each step gets the same pages from the system again, filled with zeros.
    Changes no result. It holds for the whole process, which keeps up to 0.6 GB that it does not need at the moment.
    Nothing is changed if the user chose (MALLOC_..., GLIBC_TUNABLES) or where the C library has no `mallopt`.

    Returns:
        Whether all of it was set.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in _SETTINGS.items())
