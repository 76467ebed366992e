"""One request, from its body to the last byte of its answer, in pieces or whole.

Two tasks belong to it: this one waits for what the engine's thread tells, and a second one for the client's hanging up,
which it puts into the same queue. So a reader who has gone is noticed at once, whatever this one is waiting for.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from fridge.serving.api import fields
from fridge.serving.api.asked import Asked, Reply, Timing
from fridge.serving.api.body import read_body
from fridge.serving.api.parts import Parts
from fridge.serving.api.pump import Ticket, Told
from fridge.serving.api.refusal import BUSY, Broken, Gone, Refused
from fridge.serving.api.service import Service
from fridge.serving.engine import Output, QueueFull

log = logging.getLogger(__name__)

GONE = Told(0, "", "gone", [])
NANO = 1_000_000_000


class Form(Protocol):
    """A format. `OpenAIForm` and `OllamaForm` say what each of these does."""

    media: str
    asked: Asked

    def __init__(self, service: Service, fields: fields.Fields): ...

    @staticmethod
    def error(parts: Parts, refused: Refused) -> tuple[int, dict[str, Any]]: ...  # noqa: D102

    def whole(self, replies: Sequence[Reply], timing: Timing) -> dict[str, Any]: ...  # noqa: D102

    def opening(self) -> bytes: ...  # noqa: D102

    def event(self, choice: int, piece: str, finish: str | None, outputs: Sequence[Output]) -> bytes: ...  # noqa: D102

    def closing(self, replies: Sequence[Reply], timing: Timing) -> bytes: ...  # noqa: D102

    def broken(self, message: str) -> bytes: ...  # noqa: D102


class Endpoint:
    """An ASGI application that answers requests of one format."""

    def __init__(self, service: Service, form: type[Form]):
        self._service, self._form = service, form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        service = self._service
        service.active += 1
        try:
            send = patient(send, service.limits.reader_seconds, scope)
            await self._answer(receive, send, Timing(time.monotonic_ns()))
        except Refused as refused:
            service.metrics.refuse(refused.status)
            await refusal(service.parts, self._form, refused)(scope, receive, send)
        except Gone:
            service.metrics.end("gone")
        finally:
            service.active -= 1

    async def _answer(self, receive: Receive, send: Send, timing: Timing) -> None:
        service = self._service
        body = await read_body(receive, service.limits)
        form = await service.aside(lambda: self._form(service, fields.read(body)))
        async with self._running(form.asked, receive) as ticket:
            heard = _Heard(service, form.asked, ticket, timing)
            if form.asked.stream:
                await _in_pieces(form, heard, send)
            else:
                answer = JSONResponse(await _whole(form, heard))
                await answer({"type": "http"}, receive, send)

    @asynccontextmanager
    async def _running(self, asked: Asked, receive: Receive) -> AsyncIterator[Ticket]:
        # However the block ends, nothing of the request runs on behind it.
        pump = self._service.pump
        try:
            ticket = await pump.submit(asked.wishes())
        except QueueFull as error:
            raise Refused(BUSY, str(error)) from error
        except ValueError as error:
            raise Refused(400, str(error)) from error
        watch = asyncio.create_task(_watch(receive, ticket))
        try:
            yield ticket
        finally:
            watch.cancel()
            pump.cancel(ticket)


class _Heard:
    # A request's events as they come, each once its reply has been brought up to it.
    def __init__(self, service: Service, asked: Asked, ticket: Ticket, timing: Timing):
        self._service, self._asked, self._ticket = service, asked, ticket
        self.replies, self.timing = [Reply() for _ in ticket.numbers], timing
        passed = (time.monotonic_ns() - timing.arrived) / NANO
        self._until = asyncio.get_running_loop().time() + service.limits.seconds - passed

    def __aiter__(self) -> "_Heard":
        return self

    async def __anext__(self) -> Told:
        metrics = self._service.metrics
        if all(reply.finish for reply in self.replies):
            metrics.done(self._asked.prompt_tokens, self.replies, self.timing)
            raise StopAsyncIteration
        try:
            async with asyncio.timeout_at(self._until):
                told = await self._ticket.told.get()
        except TimeoutError as error:
            metrics.end("late")
            seconds = self._service.limits.seconds
            raise Broken(504, f"the reply wasn't complete after {seconds:g} seconds") from error
        if told is GONE:
            raise Gone
        if told.finish == "error":
            metrics.end("error")
            status = 503 if self._service.draining else 500
            raise Broken(status, told.piece or "the reply's tokens can't be turned into text")
        self.timing.ended = time.monotonic_ns()
        self.timing.first = self.timing.first or self.timing.ended
        reply = self.replies[told.choice]
        reply.text += told.piece
        reply.outputs += told.outputs
        reply.finish = told.finish
        return told


async def _whole(form: Form, heard: _Heard) -> dict[str, Any]:
    try:
        async for _ in heard:
            pass
    except Broken as broken:
        raise Refused(broken.status, broken.message) from broken
    return form.whole(heard.replies, heard.timing)


async def _in_pieces(form: Form, heard: _Heard, send: Send) -> None:
    headers = {"content-type": form.media, "cache-control": "no-cache", "x-accel-buffering": "no"}
    written = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": written})
    try:
        await send(_part(form.opening()))
        async for told in heard:
            await send(_part(form.event(*told)))
        last = form.closing(heard.replies, heard.timing)
    except Broken as broken:
        last = form.broken(broken.message)
    except Gone:
        raise
    except Exception:
        log.exception("a chunk can't be made; its stream ends here")
        last = form.broken("an error in the server; its log says which")
    await send(_part(last, more=False))


def _part(data: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _watch(receive: Receive, ticket: Ticket) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    ticket.told.put_nowait(GONE)


def patient(send: Send, seconds: float, scope: Scope) -> Send:
    """Sends, and waits for a reader who takes nothing only so long: then the connection is cut.

    Raises:
        Gone: it has been cut.
    """

    async def sending(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError as error:
            if abort := scope.get("state", {}).get("abort"):
                abort()
                await asyncio.sleep(0)  # the server learns of it in the loop's next round
            raise Gone from error

    return sending


def refusal(parts: Parts, form: type[Form], refused: Refused) -> Response:
    """The answer that says why a request isn't served."""
    status, body = form.error(parts, refused)
    return JSONResponse(body, status, refused.headers)
