"""Make a process that has imported everything cheap to fork: a fork copies its page tables, and so does each exit.

Half a gigabyte in small pages costs 10 to 20 ms a fork, and as much when the child ends; in large ones 2 to 5.
"""

import ctypes
import gc
from pathlib import Path

_COLLAPSE = 25  # madvise's; Linux 6.1
_LARGE = 2 * 2**20


def settle() -> None:
    """Call it once, when the imports are done. Where the kernel has no large pages it does little, and no harm."""
    gc.freeze()  # what is here stays; a collection in a child would copy every page by looking at it
    try:
        mappings = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    libc = ctypes.CDLL(None)
    for start, end in filter(None, map(_large_part, mappings)):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _COLLAPSE)


def _large_part(mapping: str) -> tuple[int, int] | None:
    # Of a line of /proc/self/maps: from and to where private memory that belongs to no file fills large pages.
    addresses, rights, _, _, file, *name = mapping.split(maxsplit=5)
    if rights != "rw-p" or file != "0" or (name and name[0] != "[heap]"):
        return None
    start, end = (int(address, 16) for address in addresses.split("-"))
    start, end = -(-start // _LARGE) * _LARGE, end // _LARGE * _LARGE
    return (start, end) if start < end else None
