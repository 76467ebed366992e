"""fridge.testing.gguf_parts: files that gguf-py reads, and the first part that differs is told."""

import pytest
from gguf import GGUFReader

from fridge.quantization.gguf_kinds import ARRAY, BOOL, INT8, STRING, UINT32
from fridge.testing import GgufFile, TensorEntry, Wrong, expect_file

FILE = GgufFile(
    [
        ("general.architecture", STRING, "größer"),
        ("general.alignment", UINT32, 64),
        ("words", ARRAY, (STRING, ["", "ä"])),
        ("yes", BOOL, True),
        ("small", INT8, -3),
    ],
    [TensorEntry("a", 0, (3, 2), 0), TensorEntry("b", 8, (32,), 64)],
    b"\1" * 24 + bytes(40) + b"\2" * 34,
    64,
)


def test_gguf_py_reads_the_same(tmp_path):
    """Guards against a writer and an exercise that agree on something that isn't GGUF."""
    place = tmp_path / "file.gguf"
    place.write_bytes(FILE.raw())
    read = GGUFReader(place)
    for key, _, value in FILE.metadata:
        assert read.fields[key].contents() == (value[1] if isinstance(value, tuple) else value)
    assert [(tensor.name, tensor.data.tobytes()) for tensor in read.tensors] == [("a", b"\1" * 24), ("b", b"\2" * 34)]
    assert [tensor.data_offset for tensor in read.tensors] == [FILE.data_start, FILE.data_start + 64]
    assert read.tensors[0].shape.tolist() == [3, 2]


def test_parts_can_be_wrong():
    """Guards against a hostile file that was put in order on the way."""
    file = GgufFile(magic=b"GGML", version=1, counts=(2**60, 5))
    assert file.raw() == b"GGML" + bytes([1, 0, 0, 0]) + (2**60).to_bytes(8, "little") + bytes([5, *[0] * 7])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda raw: raw[:4] + b"\2" + raw[5:], "the version, from byte 4 on"),
        (lambda raw: raw.replace(b"gr\xc3\xb6", b"gro\xb6"), "the value of 'general.architecture'"),
        (lambda raw: raw[: FILE.data_start + 64] + bytes(34), "the data"),
        (lambda raw: raw[: FILE.data_start - 1] + b"x" + raw[FILE.data_start :], "the padding before the data"),
        (lambda raw: raw + b"x", "nothing stands behind the last tensor"),
        (lambda raw: raw[:20], "the number of metadata entries"),
        (bytearray, "got:      an object of type bytearray"),
    ],
)
def test_the_first_part_that_differs_is_told(broken, words):
    """Guards against “two files differ”, of which a learner learns nothing."""
    with pytest.raises(Wrong) as found:
        expect_file(broken(FILE.raw()), FILE, "a file")
    assert words in str(found.value)


def test_the_same_file_passes():
    """Guards against an expectation that nothing meets."""
    expect_file(FILE.raw(), FILE, "a file")
