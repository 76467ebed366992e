"""One thread that steps the engine, beside the event loop that talks with the clients. Neither waits for the other.

Whatever the loop wants of the engine (submit, cancel, look) lies as a command in an inbox until the step that runs is
over. What a step gives goes to the loop by `call_soon_threadsafe`, all at once, and there into the readers' queues.
vLLM's server has a process for each of the two, and a socket between them, so that Python's lock isn't shared either.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from fridge.serving.api.parts import Parts
from fridge.serving.api.refusal import Refused
from fridge.serving.engine import Engine, Output

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class Told(NamedTuple):
    """An event for the reader of a request: of which of its choices, the text, why it ends, the tokens behind it."""

    choice: int
    piece: str
    finish: str | None
    outputs: list[Output]


class Ticket:
    """A request on its way. `told` holds what has come for its reader; `numbers` are its choices in the dispatcher."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Told] = asyncio.Queue()
        self.numbers: list[int] = []


class Pump:
    """Begins with `start` in a running event loop, and ends with `stop`.

    Args:
        parts: whose dispatcher and pipes are used.
        vocabulary: the bytes of each token.
    """

    def __init__(self, engine: Engine, parts: Parts, vocabulary: Sequence[bytes]):
        self._engine = _Triples(engine)
        self._dispatcher = parts.dispatcher(self._engine, parts.text_of(vocabulary))
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._readers: dict[int, tuple[Ticket, int]] = {}  # number -> its ticket, and which of its choices it is
        self._thread = threading.Thread(target=self._run, name="fridge-engine", daemon=True)
        self._going, self._stopping = True, False  # the first is the thread's to change, the second the loop's
        self.steps = 0

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._thread.is_alive()

    @property
    def open(self) -> int:
        """Numbers that the dispatcher or the pump knows: none once all have ended."""
        return max(self._dispatcher.open, len(self._readers), len(self._engine.told))

    def start(self) -> None:
        """Start the thread; what it has to tell goes to the event loop that runs here."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._thread.start()

    async def stop(self) -> None:
        """Cancel what runs, telling each reader so, and end the thread. Takes a step at most."""
        self._stopping = True  # so that no command comes behind this one, which nobody would obey
        self._inbox.put(self._end)
        await self._ended.wait()
        self._thread.join()

    async def submit(self, wishes: Sequence[dict[str, Any]]) -> Ticket:
        """Queue a request's choices: all of them or none.

        Raises:
            Refused: 503, the engine's thread has ended.
            ValueError, QueueFull: the engine refuses one.
        """
        ticket = Ticket()
        await self._in_thread(lambda: self._submit(ticket, wishes), unless=lambda: self.cancel(ticket))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Drop what still runs of a request, before the next step. Harmless if nothing does."""
        self._inbox.put(lambda: self._cancel(ticket))

    async def look(self, at: Callable[[Engine], Found]) -> Found:
        """What a function finds in the engine, between two steps."""
        return await self._in_thread(lambda: at(self._engine.engine))

    async def _in_thread(self, call: Callable[[], Found], unless: Callable[[], None] = lambda: None) -> Found:
        # `unless`: whoever waits for the result isn't there any more when it comes.
        if self._stopping or not self.alive:
            raise Refused(503, "the server is stopping")
        answer: asyncio.Future[Found] = self._loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if answer.cancelled():
                unless()
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def command() -> None:
            try:
                result, error = call(), None
            except Exception as raised:
                result, error = None, raised
            self._in_loop(settle, result, error)

        self._inbox.put(command)
        return await answer

    # Below: in the engine's thread.

    def _run(self) -> None:
        try:
            self._step_on()
        finally:
            self._in_loop(self._ended.set)

    def _step_on(self) -> None:
        while self._going:
            self._obey(wait=not self._engine.busy)
            if not (self._going and self._engine.busy):
                continue
            try:
                self._dispatcher.step()
                self.steps += 1
                self._tell()
            except Exception:
                log.exception("a step failed; all replies that were on their way end here")
                self._give_up("the engine stopped at an error; the server's log says at which")
        self._give_up("the server is stopping")

    def _obey(self, wait: bool) -> None:
        while self._going:
            try:
                command = self._inbox.get(block=wait)
            except Empty:
                return
            wait = False
            try:
                command()
            except Exception:
                log.exception("the dispatcher couldn't do as it was told")

    def _end(self) -> None:
        self._going = False

    def _submit(self, ticket: Ticket, wishes: Sequence[dict[str, Any]]) -> None:
        try:
            for choice, wish in enumerate(wishes):
                number = self._dispatcher.submit(**wish)
                ticket.numbers.append(number)
                self._readers[number] = ticket, choice
        except Exception:
            self._cancel(ticket)
            raise

    def _cancel(self, ticket: Ticket) -> None:
        for number in ticket.numbers:
            if self._readers.pop(number, None):
                self._dispatcher.cancel(number)
                self._engine.told.pop(number, None)

    def _tell(self) -> None:
        news: list[tuple[Ticket, Told]] = []
        for number, (ticket, choice) in list(self._readers.items()):
            for piece, finish in self._dispatcher.read(number):
                news.append((ticket, Told(choice, piece, finish, self._engine.told.pop(number, []))))
                if finish:
                    del self._readers[number]
        if news:
            self._in_loop(_deliver, news)

    def _give_up(self, why: str) -> None:
        for number, (ticket, choice) in list(self._readers.items()):
            del self._readers[number]
            self._engine.told.pop(number, None)
            for drop in (self._dispatcher.cancel, self._engine.cancel):
                try:
                    drop(number)
                except Exception:
                    log.exception("request %d can't be dropped", number)
            self._in_loop(_deliver, [(ticket, Told(choice, why, "error", []))])

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: nobody is left who could be told
            log.debug("the event loop has ended before the engine")


class _Triples:
    # The engine as a dispatcher wants it, in plain triples; the tokens behind the text lie in `told` by number.
    def __init__(self, engine: Engine):
        self.engine = engine
        self.told: dict[int, list[Output]] = {}

    @property
    def busy(self) -> bool:
        return self.engine.busy

    def add(self, **wishes: Any) -> int:
        number = self.engine.add(**wishes)
        self.told[number] = []
        return number

    def step(self) -> list[tuple[int, int, str | None]]:
        outputs = self.engine.step()
        for output in outputs:
            if output.finish != "stop":
                self.told.setdefault(output.request, []).append(output)
        return [(output.request, output.token, output.finish) for output in outputs]

    def cancel(self, number: int) -> bool:
        return self.engine.cancel(number)


def _deliver(news: Sequence[tuple[Ticket, Told]]) -> None:
    for ticket, told in news:
        ticket.told.put_nowait(told)
