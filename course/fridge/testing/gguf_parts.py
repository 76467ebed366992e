"""A GGUF file in parts, for tests: each part can be made wrong, and two files are compared part by part.

The layout is that of ggml's specification (github.com/ggml-org/ggml, docs/gguf.md), little-endian.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fridge.quantization.gguf_kinds import ARRAY, STRING
from fridge.testing.expect import InWords, wrong

_CODES = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))  # value kind -> struct's letter


_CAUSES = {
    STRING: "a string's length counts bytes, and takes 8 of them",
    ARRAY: "an array is its elements' kind, their number, and the elements without kinds of their own",
}


@dataclass(frozen=True)
class Part:
    """Consecutive bytes of a file.

    Attributes:
        name: what they are, in words.
        cause: what is likely wrong where they differ.
    """

    name: str
    raw: bytes
    cause: str = ""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor as the table in a file's head has it.

    Attributes:
        sides: its dimensions in the file's order, the length of a row first.
        offset: from the beginning of the data.
    """

    name: str
    kind: int
    sides: Sequence[int]
    offset: int

    def parts(self) -> Iterator[Part]:
        """The entry's bytes."""
        yield Part(
            f"the name of tensor {self.name!r}",
            text(self.name),
            "tensors stand in the order of the dict, right behind what is before them",
        )
        yield Part(f"the number of dimensions of {self.name!r}", struct.pack("<I", len(self.sides)))
        yield Part(
            f"the dimensions of {self.name!r}",
            struct.pack(f"<{len(self.sides)}Q", *self.sides),
            "a file has them the other way round, the length of a row first, each in 8 bytes",
        )
        yield Part(f"the kind of {self.name!r}", struct.pack("<I", self.kind), "a number of gguf_kinds.TENSOR_KINDS")
        yield Part(
            f"the offset of {self.name!r}",
            struct.pack("<Q", self.offset),
            "it counts from where the data begin, and is a multiple of the alignment",
        )


@dataclass
class GgufFile:
    """What a file holds, as a test wants it, in order or not.

    Attributes:
        metadata: (key, kind, value); the value of an array is a pair, its elements' kind and a list.
        tensors: entries, and `data`, what stands where the data begin.
        counts: numbers of tensors and of metadata that the file claims; None: those that it has.
    """

    metadata: list[tuple[str, int, Any]] = field(default_factory=list)
    tensors: list[TensorEntry] = field(default_factory=list)
    data: bytes = b""
    alignment: int = 32
    magic: bytes = b"GGUF"
    version: int = 3
    counts: tuple[int | None, int | None] = (None, None)

    def parts(self) -> Iterator[Part]:
        """All bytes of the file, one thing after another."""
        yield from self._head()
        if self.tensors:
            yield Part(
                "the padding before the data",
                bytes(self.data_start - self._head_bytes),
                f"zero bytes up to a multiple of the alignment, {self.alignment}, counted from the file's first byte",
            )
            yield Part(
                "the data", self.data, "each tensor begins at a multiple of the alignment, with zero bytes between"
            )

    def raw(self) -> bytes:
        """The file."""
        return b"".join(part.raw for part in self.parts())

    @property
    def data_start(self) -> int:
        """Where the data begin."""
        return self._head_bytes + -self._head_bytes % self.alignment

    @property
    def _head_bytes(self) -> int:
        return sum(len(part.raw) for part in self._head())

    def _head(self) -> Iterator[Part]:
        tensors, metadata = self.counts
        yield Part("the magic, four bytes", self.magic)
        yield Part("the version", struct.pack("<I", self.version), "version 3, in 4 bytes")
        yield Part(
            "the number of tensors",
            struct.pack("<Q", len(self.tensors) if tensors is None else tensors),
            "8 bytes; it stands before the number of metadata entries",
        )
        yield Part(
            "the number of metadata entries",
            struct.pack("<Q", len(self.metadata) if metadata is None else metadata),
            "8 bytes, as the number of tensors before it",
        )
        for key, kind, content in self.metadata:
            yield Part(
                f"the key {key!r}",
                text(key),
                "entries stand in the order of the dict; a string's length counts bytes, and takes 8 of them",
            )
            yield Part(f"the kind of {key!r}", struct.pack("<I", kind))
            yield Part(
                f"the value of {key!r}",
                gguf_value(kind, content),
                _CAUSES.get(kind, "a kind has its number of bytes, the lowest first"),
            )
        for entry in self.tensors:
            yield from entry.parts()


def text(words: str) -> bytes:
    """A string as a file has it."""
    raw = words.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind: int, content: Any) -> bytes:
    """A value as a file has it, without its kind."""
    if kind == STRING:
        return text(content)
    if kind == ARRAY:
        element, items = content
        return struct.pack("<IQ", element, len(items)) + b"".join(gguf_value(element, item) for item in items)
    return struct.pack(f"<{_CODES[kind]}", content)


def expect_file(got: Any, expected: GgufFile, what: str) -> None:
    """The bytes of a file are those of `expected`; the first part that isn't is told.

    Raises:
        Wrong: no bytes, or others.
    """
    if type(got) is not bytes:
        raise wrong(what, "bytes", got)
    place = 0
    for part in expected.parts():
        own = got[place : place + len(part.raw)]
        if own != part.raw:
            where = f"{what}: {part.name}, from byte {place} on"
            raise wrong(where, *_shown(part.raw, own), part.cause)
        place += len(part.raw)
    if len(got) > place:
        raise wrong(f"{what}: bytes in all", place, InWords(str(len(got))), "nothing stands behind the last tensor")


def _shown(expected: bytes, got: bytes) -> tuple[str, InWords]:
    # The part of both around the first byte that differs, short enough to read.
    same = next((i for i, (one, other) in enumerate(zip(expected, got, strict=False)) if one != other), len(got))
    start = max(0, min(same - 4, len(expected) - 24))
    at = f" at byte {start} of them" if start else ""
    return f"{expected[start : start + 24]!r}{at}", InWords(f"{got[start : start + 24]!r}{at}" if got else "nothing")
