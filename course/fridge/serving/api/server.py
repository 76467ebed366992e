"""The application on a socket: in a thread, for a notebook or a test, or in the foreground, for `fridge serve`."""

import asyncio
import functools
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from fridge import models
from fridge.serving.api.app import application
from fridge.serving.api.connection import Connection
from fridge.serving.api.language import Language, ModelLanguage
from fridge.serving.api.limits import LIMITS, Limits
from fridge.serving.api.parts import Parts
from fridge.serving.api.service import Service
from fridge.serving.engine import Engine

BACKLOG = 1024  # connections that the kernel keeps until they are taken
# Bytes that the kernel keeps of what a reader hasn't taken. Left alone, it would let that grow to megabytes a reader.
UNREAD = 256 * 1024
LAST_SECONDS = 5  # for answers that are cut short to be written


@contextmanager
def running(
    engine: Engine,
    parts: Parts | None = None,
    language: Language | None = None,
    name: str | None = None,
    limits: Limits = LIMITS,
    key: str | None = None,
) -> Iterator[str]:
    """A server in a thread of its own, on a free port of 127.0.0.1, for as long as the block runs: gives its address.

    Args:
        engine: nobody else may step it meanwhile.
        parts: the library's own, or yours.
        language, name: default the chosen model's tokenizer and name.
        key: that clients have to show; None lets all in.

    Raises:
        ModelUnavailable, ValueError: the tokenizer can't be had or used.
    """
    language = language or ModelLanguage.of_chosen_model()
    service = Service(engine, language, name or model_name(), parts, limits, key)
    listener = listen("127.0.0.1", 0)
    server = Server(service, local=True)
    thread = threading.Thread(target=server.run, args=([listener],), name="fridge-server", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server couldn't start; what it printed says why")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.ask_to_stop(farewell_seconds=0)
        thread.join()


def model_name() -> str:
    """The chosen model as clients call it: a hub's id, or the name of its folder alone."""
    name = models.name()
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on. Port 0 takes a free one.

    Raises:
        OSError: the port is taken or forbidden, or the host isn't this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also while old connections' ends linger
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)  # each connection inherits it
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def is_local(host: str) -> bool:
    """Whether nobody but this machine can reach a server at this host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """uvicorn's server, which ends kindly: running replies may end, new ones are turned away, and that for a time."""

    def __init__(self, service: Service, local: bool):
        head = functools.partial(Connection, service.limits.head_seconds)
        super().__init__(
            uvicorn.Config(
                application(service, local),
                http=head,  # type: ignore[arg-type]
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=int(service.limits.head_seconds) or 1,
                timeout_graceful_shutdown=LAST_SECONDS,
            )
        )
        self._service = service
        self._end: float | None = None  # by the clock of time.monotonic

    def ask_to_stop(self, farewell_seconds: float) -> None:
        """Turn new requests away, and stop when the last reply has ended or after so many seconds. From any thread."""
        self._service.draining = True
        self._end = time.monotonic() + farewell_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl+C: kindly at first; the second time at once."""
        self.ask_to_stop(self._service.limits.farewell_seconds if self._end is None else 0)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is it time to stop?"""
        if self._end is not None and (not self._service.active or time.monotonic() >= self._end):
            await self._service.pump.stop()  # whoever still waits is told so
            await asyncio.sleep(0)
            return True
        return await super().on_tick(counter)
