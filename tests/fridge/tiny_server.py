"""A tiny engine with letters for tokens, and clients for it: what the tests of the API server share."""

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from fridge.serving import api
from fridge.serving.api import Parts
from fridge.serving.engine import Engine
from fridge.testing import tiny_llama

STOP = 63
LETTERS = "abcdefghijklmnopqrstuvwxyz .,:;!?'-0123456789\n"
ELEPHANT = "🐘".encode()
NAME = "tiny"


class TinyLanguage:
    """64 tokens: a letter each, the four bytes of an elephant, bytes that can't be UTF-8, and one that ends a reply."""

    vocabulary: Sequence[bytes] = [
        *(letter.encode() for letter in LETTERS),
        *(bytes([byte]) for byte in ELEPHANT),
        *(bytes([0xF8 + place % 8]) for place in range(STOP - len(LETTERS) - 4)),
        b"",
    ]
    stop_token: int | None = STOP
    context: int | None = None

    def encode(self, text: str) -> list[int]:
        """A token for each letter; those that it doesn't know are question marks."""
        return [LETTERS.find(letter) if letter in LETTERS else LETTERS.index("?") for letter in text.lower()]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """role: content, a line each."""
        if messages[-1]["role"] == "system":
            raise ValueError("somebody has to say something")
        return self.encode("".join(f"{one['role']}: {one['content']}\n" for one in messages) + "assistant: ")


class GatedEngine(Engine):
    """An engine that takes a step only when a test lets it. `open()` lets it run."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._steps = threading.Semaphore(0)
        self.taken = 0

    def allow(self, steps: int = 1) -> None:
        self._steps.release(steps)

    def open(self) -> None:
        self._steps.release(1_000_000)

    def step(self):
        self._steps.acquire()
        self.taken += 1
        return super().step()


def tiny_engine(kind: type[Engine] = Engine, **changes) -> Engine:
    """256 blocks of 16: 4096 tokens."""
    return kind(tiny_llama(seed=3), **{"num_blocks": 256, "max_waiting": 64, **changes})


@contextmanager
def served(engine: Engine | None = None, parts: Parts | None = None, language=None, **options) -> Iterator[str]:
    """A server's address; after it the law: no block, no number, no thread and no open port is left."""
    engine = engine or tiny_engine()
    before, hubs = set(threading.enumerate()), []
    make = (parts or Parts()).dispatcher

    def dispatcher(*arguments):
        hubs.append(make(*arguments))
        return hubs[-1]

    try:
        with api.running(
            engine, replace(parts or Parts(), dispatcher=dispatcher), language or TinyLanguage(), NAME, **options
        ) as url:
            try:
                yield url
            finally:
                if isinstance(engine, GatedEngine):
                    engine.open()
    finally:
        gc.collect()
    assert not engine.busy
    assert engine.scheduler.allocator.num_free == engine.scheduler.allocator.num_blocks
    assert [hub.open for hub in hubs] == [0]
    new = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in new if name.startswith("fridge")], "clients and browsers may keep theirs"
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(place(url))


def place(url: str) -> tuple[str, int]:
    """Host and port of an address."""
    found = urlsplit(url)
    return found.hostname, found.port


def chat(**changes) -> dict:
    """The body of a chat request, greedy and short."""
    message = {"role": "user", "content": "hello"}
    return {"model": NAME, "messages": [message], "temperature": 0, "max_tokens": 5} | changes


def raw_request(path: str, body: bytes, *headers: str) -> bytes:
    """A POST as it goes over the wire."""
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    if not any(one.lower().startswith(("content-length", "transfer-encoding")) for one in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it is true. The time is only for a test that fails."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def metric(url: str, sample: str) -> float:
    """A sample of /metrics, by its name and labels; 0 if it isn't there."""
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == sample:
            return float(value)
    return 0.0
