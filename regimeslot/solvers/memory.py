"""Memory that is freed and asked for again at every evaluation stays with the process."""

from __future__ import annotations

import numpy as np

__all__ = ["keep_freed_memory"]

_LARGE_BLOCK = 4_000_000  # doubles, just below the threshold's maximum of 32 MiB


def keep_freed_memory() -> None:
    """Stop glibc from handing freed temporaries back to the system between evaluations.

    An objective's temporaries of some 100 kB are mapped, faulted in page by page and unmapped at
    every evaluation, which takes a good part of the arithmetic's time. Freeing one large block
    raises the allocator's dynamic threshold for that to its maximum (mallopt(3),
    M_MMAP_THRESHOLD); the block's own pages are never touched, and other allocators take no notice.

    Examples
    --------
    >>> keep_freed_memory()
    """
    np.empty(_LARGE_BLOCK)
