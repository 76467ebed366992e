"""The parts of the server that a learner has written, too: the library's own, or theirs in the same places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fridge.serving.api.detokenizer import Detokenizer
from fridge.serving.api.dispatcher import Dispatcher, Serves
from fridge.serving.api.openai_format import chat_chunks, error_body
from fridge.serving.api.stops import StopMatcher
from fridge.serving.api.text import Pipe, TextPipe


@dataclass(frozen=True)
class Parts:
    """Each is called as the library's own is.

    Attributes:
        detokenizer: `Detokenizer(vocabulary)`.
        stops: `StopMatcher(stops)`.
        dispatcher: `Dispatcher(engine, text_of)`.
        chunks: `chat_chunks(identity, pieces, finish, usage=None)`.
        error: `error_body(status, message, parameter=None)`.
    """

    detokenizer: Callable[[Sequence[bytes]], Any] = Detokenizer
    stops: Callable[[Sequence[str]], Any] = StopMatcher
    dispatcher: Callable[[Serves, Callable[[Sequence[str]], Pipe]], Any] = Dispatcher
    chunks: Callable[..., list[dict[str, Any]]] = chat_chunks
    error: Callable[..., tuple[int, dict[str, Any]]] = error_body

    def text_of(self, vocabulary: Sequence[bytes]) -> Callable[[Sequence[str]], Pipe]:
        """What makes a request's pipe from its stop strings."""

        def pipe(stops: Sequence[str]) -> Pipe:
            return TextPipe(self.detokenizer(vocabulary), self.stops(stops))

        return pipe
