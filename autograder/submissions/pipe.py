"""Messages on the pipes between the writer and its worker processes: bytes behind their length."""

import struct
from typing import BinaryIO

RECORD, FAILED, STOP = b"r", b"f", b"s"  # an answer's first byte: a record, this one failed, nothing can be graded here
_LENGTH = struct.Struct(">Q")


def send(stream: BinaryIO, message: bytes) -> None:
    """Write a message."""
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """Read a message; None at the end, or if the rest doesn't come."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None
