"""A connection that doesn't wait for ever: for a request that never comes, or for a peer that has vanished.

uvicorn ends connections that are idle between two requests. Three others would stay: one that never sends a whole
request head, one whose peer has lost its network without a word, and one whose peer takes nothing of what is sent.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PROBE_AFTER, PROBE_EVERY, PROBES = 30, 10, 3  # seconds of silence, seconds between questions, unanswered ones
UNTAKEN_MS = 60_000  # for which bytes may lie unacknowledged, or a reader's window stay closed


class Connection(H11Protocol):
    """uvicorn's connection, with a deadline for each request's head.

    An application finds in its scope's "state" what cuts the connection: `abort()`.
    """

    def __init__(self, head_seconds: float, **arguments: Any):
        super().__init__(**arguments)
        self._head_seconds = head_seconds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        ask_now_and_then(transport.get_extra_info("socket"))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Bytes have come; perhaps the last of a head."""
        super().data_received(data)
        if not self._waits:
            self._unwatch()

    def on_response_complete(self) -> None:
        """An answer is complete; the next request may come."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._unwatch()
        super().connection_lost(exc)

    @property
    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        self._unwatch()
        if self._waits and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self._head_seconds, self.transport.abort)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def ask_now_and_then(connection: socket.socket | None) -> None:
    """Let the kernel ask a silent peer whether it is still there, and give one up that takes nothing (RFC 5482)."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wishes = {"TCP_KEEPIDLE": PROBE_AFTER, "TCP_KEEPINTVL": PROBE_EVERY, "TCP_KEEPCNT": PROBES}
    wishes["TCP_USER_TIMEOUT"] = UNTAKEN_MS
    for name, value in wishes.items():
        if hasattr(socket, name):  # macOS calls some of them otherwise
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
