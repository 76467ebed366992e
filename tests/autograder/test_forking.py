"""Large pages for cheap forks: the right parts of the memory, and a process that works as before."""

from autograder.isolation import forking
from autograder.isolation.children import in_child

MB = 2**20


def test_only_private_memory_of_no_file_is_touched():
    """Guards against asking for large pages in libraries, stacks, shared memory and the kernel's own mappings."""
    assert forking._large_part("40000000-40800000 rw-p 00000000 00:00 0 ") == (0x40000000, 0x40800000)
    assert forking._large_part("40000000-40800000 rw-p 00000000 00:00 0          [heap]") == (0x40000000, 0x40800000)
    assert forking._large_part("40100000-40700000 rw-p 00000000 00:00 0 ") == (0x40200000, 0x40600000)
    for line in (
        "40100000-40300000 rw-p 00000000 00:00 0 ",  # no whole large page lies in it
        "40000000-40800000 rw-p 00000000 00:00 0          [stack]",
        "40000000-40800000 r--p 00000000 00:00 0 ",
        "40000000-40800000 rw-s 00000000 00:00 0 ",
        "40000000-40800000 rw-p 00000000 08:01 123456     /usr/lib/lib with a space.so",
    ):
        assert forking._large_part(line) is None


def test_a_settled_process_keeps_its_memory_and_forks():
    """Guards against lost or shared bytes: the kernel copies what it puts into large pages."""

    def settled() -> bool:
        data = bytearray(range(256)) * (16 * MB // 256)
        forking.settle()
        changed = in_child(lambda: (data.__setitem__(0, 7), data[0])[1], 20)
        return changed == 7 and data == bytearray(range(256)) * (16 * MB // 256)

    assert in_child(settled, 60)
