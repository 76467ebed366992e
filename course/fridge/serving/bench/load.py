"""Requests that arrive whether or not the server keeps up, and when their tokens came back (an open loop).

Poisson arrivals, as MLPerf's server scenario has them (Reddi et al. 2020, section 4): users don't wait for each other.
A client that waits for an answer before it asks again slows down with the server, and so hides how long others would
have waited (coordinated omission: Tene 2013). So all times count from when a request was *scheduled*, not from when it
was sent.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fridge.serving.api.sse import SSEParser
from fridge.serving.traces import Request

PATIENCE = 300.0  # seconds until a request counts as failed


@dataclass
class Record:
    """One request, in seconds from the run's beginning.

    Attributes:
        scheduled, sent: when it should have gone and when it went.
        arrivals: of each event with text; an event may hold several tokens.
        tokens: of its reply, by the server's own count.
        ended: after the last byte.
        failure: what went wrong; "" if nothing.
    """

    scheduled: float
    wanted: int
    sent: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    tokens: int = 0
    ended: float = 0.0
    failure: str = ""

    @property
    def ttft(self) -> float:
        """Seconds to the first token, from when it was scheduled."""
        return self.arrivals[0] - self.scheduled

    @property
    def tpot(self) -> float | None:
        """Seconds for each token after the first; None if there was only one."""
        return (self.arrivals[-1] - self.arrivals[0]) / (self.tokens - 1) if self.tokens > 1 else None


def poisson_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """When `count` requests arrive, on average `rate` in a second: the gaps are exponential."""
    draw = random.Random(seed)
    now, times = 0.0, []
    for _ in range(count):
        now += draw.expovariate(rate)
        times.append(now)
    return times


def run(url: str, model: str, requests: Sequence[Request], arrivals: Sequence[float]) -> list[Record]:
    """Ask for each request's tokens at its time; one record a request, in their order."""
    with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has an event loop already
        return pool.submit(asyncio.run, _run(url, model, requests, arrivals)).result()


async def _run(url: str, model: str, requests: Sequence[Request], arrivals: Sequence[float]) -> list[Record]:
    start = time.perf_counter()
    records = [Record(when, request.output) for when, request in zip(arrivals, requests, strict=True)]
    bodies = [body_of(model, request) for request in requests]
    await asyncio.gather(*(_one(url, body, record, start) for body, record in zip(bodies, records, strict=True)))
    return records


def body_of(model: str, request: Request) -> bytes:
    """The JSON of a text completion of exactly so many tokens, in pieces; all servers here take it."""
    wish = {
        "model": model,
        "prompt": request.prompt,
        "max_tokens": request.output,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(wish).encode()


async def _one(url: str, body: bytes, record: Record, start: float) -> None:
    await asyncio.sleep(max(0.0, start + record.scheduled - time.perf_counter()))
    record.sent = time.perf_counter() - start
    try:
        async with asyncio.timeout(PATIENCE):
            await _ask(url, body, record, start)
        if record.tokens != record.wanted or not record.arrivals:
            record.failure = record.failure or f"{record.tokens} tokens, not {record.wanted}"
    except (OSError, TimeoutError, ValueError, EOFError) as error:
        record.failure = f"{type(error).__name__}: {error}"
    record.ended = time.perf_counter() - start


async def _ask(url: str, body: bytes, record: Record, start: float) -> None:
    async with posted(url, "/v1/completions", body) as answer:
        parser = SSEParser()
        async for data in answer:
            now = time.perf_counter() - start
            for payload in parser.feed(data):
                if payload != "[DONE]":
                    _note(json.loads(payload), record, now)


def _note(chunk: dict, record: Record, now: float) -> None:
    if error := chunk.get("error"):
        raise ValueError(str(error)[:200])
    if any(choice.get("text") for choice in chunk.get("choices", [])):
        record.arrivals.append(now)
    if usage := chunk.get("usage"):
        record.tokens = usage["completion_tokens"]


@contextlib.asynccontextmanager
async def posted(url: str, path: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
    """POST a body on a connection of its own: gives the pieces of the answer's body as they come.

    A client that does less than httpx does, so that it takes less of the processors which the server needs.

    Raises:
        ValueError: the status isn't 200; with the beginning of the answer.
    """
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        head = [f"POST {path} HTTP/1.1", f"Host: {place.netloc}", "Content-Type: application/json"]
        head += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        pieces = _chunks(reader) if "transfer-encoding: chunked" in told else _rest(reader)
        if told.split()[1] != "200":
            said = b"".join([piece async for piece in pieces])
            raise ValueError(f"{told.split()[1]}: {said[:200].decode(errors='replace')}")
        yield pieces
    finally:
        writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(65536):
        yield piece
