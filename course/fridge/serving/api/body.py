"""A request's body, read within bounds of size and time."""

import asyncio

from starlette.types import Receive

from fridge.serving.api.limits import Limits
from fridge.serving.api.refusal import Gone, Refused

DISCARDED = 16  # times the largest body: so much of a larger one is read, for its sender to come to reading the answer


async def read_body(receive: Receive, limits: Limits) -> bytes:
    """All of it.

    Raises:
        Refused: 413, it is larger than it may be; 408, it didn't come in time.
        Gone: whoever sent it has hung up.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(receive, limits.body)
    except TimeoutError as error:
        raise Refused(408, f"the body wasn't there after {limits.body_seconds:g} seconds") from error


async def _read(receive: Receive, most: int) -> bytes:
    body, size, more = bytearray(), 0, True
    while more and size <= DISCARDED * most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        size += len(message.get("body", b""))
        if size <= most:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    if size > most:
        raise Refused(413, f"the body has {'more than ' if more else ''}{size} bytes; {most} at most")
    return bytes(body)
