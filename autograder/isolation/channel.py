"""Messages between the grader and a learner's process: length-prefixed frames over a socket, each by a deadline."""

import math
import socket
import struct
import time

from autograder.isolation.wire import MAX_FRAME, WireError

_HEADER = struct.Struct(">I")


class PeerGone(WireError):
    """The other process closed its end."""


class Late(WireError):
    """No whole message by the deadline."""


class Channel:
    """Messages over a connected socket, one frame each. Not for two threads."""

    def __init__(self, connection: socket.socket):
        self._socket = connection

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._socket.fileno()

    def send(self, data: bytes, deadline: float) -> None:
        """Send one frame by `deadline` (time.monotonic). Raises Late, PeerGone."""
        try:
            self._wait(deadline)
            self._socket.sendall(_HEADER.pack(len(data)) + data)
        except TimeoutError as error:
            raise Late("the message was not taken in time") from error
        except OSError as error:
            raise PeerGone(str(error)) from error

    def receive(self, deadline: float) -> bytes:
        """The next frame, whole by `deadline`. Raises Late, PeerGone, WireError for one that is too large."""
        (length,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
        if length > MAX_FRAME:
            raise WireError(f"a message of {length} bytes was announced; the limit is {MAX_FRAME}")
        return self._read(length, deadline)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, length: int, deadline: float) -> bytes:
        data = bytearray()  # no list of parts: a peer that sends byte by byte would make one object of each
        while len(data) < length:
            try:
                self._wait(deadline)
                part = self._socket.recv(min(length - len(data), 2**20))
            except TimeoutError as error:
                raise Late("no whole reply in time") from error
            except OSError as error:
                raise PeerGone(str(error)) from error
            if not part:
                raise PeerGone("the process has gone")
            data += part
        return bytes(data)

    def _wait(self, deadline: float) -> None:
        # Each wait gets what is left of the whole message's time: a byte now and then doesn't prolong it.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(None if math.isinf(left) else left)
