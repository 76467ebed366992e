"""Messages between the grader and a learner's process: length-prefixed frames over a socket, each in a limited time."""

import math
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from autograder.isolation.wire import MAX_FRAME, Late, Left, WireError

_HEADER = struct.Struct(">I")
_Step = TypeVar("_Step", int, bytes)


class PeerGone(WireError):
    """The other process closed its end."""


class Channel:
    """Messages over a connected socket, one frame each. Not for two threads."""

    def __init__(self, connection: socket.socket):
        self._socket = connection

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._socket.fileno()

    def send(self, data: bytes, left: Left) -> None:
        """Send one frame while time is left. Raises Late, PeerGone."""
        rest = memoryview(_HEADER.pack(len(data)) + data)
        while rest:
            rest = rest[self._patiently(self._socket.send, rest, left) :]

    def receive(self, left: Left) -> bytes:
        """The next frame, whole while time is left. Raises Late, PeerGone, WireError for one that is too large."""
        (length,) = _HEADER.unpack(self._read(_HEADER.size, left))
        if length > MAX_FRAME:
            raise WireError(f"a message of {length} bytes was announced; the limit is {MAX_FRAME}")
        return self._read(length, left)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, length: int, left: Left) -> bytes:
        data = bytearray()  # no list of parts: a peer that sends byte by byte would make one object of each
        while len(data) < length:
            part = self._patiently(self._socket.recv, min(length - len(data), 2**20), left)
            if not part:
                raise PeerGone("the process has gone")
            data += part
        return bytes(data)

    def _patiently(self, step: Callable[[Any], _Step], argument: Any, left: Left) -> _Step:
        # Each step gets what is left of the whole message's time: a byte now and then doesn't prolong it.
        while (seconds := left()) > 0:
            self._socket.settimeout(None if math.isinf(seconds) else seconds)
            try:
                return step(argument)
            except TimeoutError:
                continue
            except OSError as error:
                raise PeerGone(str(error)) from error
        raise Late("no whole message in time")
