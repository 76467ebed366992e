"""An API server for the course's engine, which clients of OpenAI's and of Ollama's take for theirs. For learning.

    from fridge.serving import api

    with api.running(engine) as url:
        ...  # openai.OpenAI(base_url=f"{url}/v1", api_key="none")

Read it in this order: `detokenizer`, `stops` and `text` (from tokens to the text that a reader sees), `dispatcher` (one
engine, many readers), `pump` (the thread that steps the engine), `fields`, `asked` and `language` (what a request
wants), `openai_format`, `openai_forms`, `ollama_forms`, `logprobs` and `sse` (what goes over the wire), `endpoint` (one
request from its body to its last byte), `guard`, `limits` and `connection` (who may ask, for how much and how long),
`app` (the addresses), `server` (on a socket). It needs starlette and uvicorn, the course's extra `serve`; the parts
that a learner writes need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fridge.serving.api.detokenizer import Detokenizer
from fridge.serving.api.dispatcher import Dispatcher
from fridge.serving.api.openai_format import chat_chunks, error_body
from fridge.serving.api.parts import Parts
from fridge.serving.api.sse import SSEParser
from fridge.serving.api.stops import StopMatcher

if TYPE_CHECKING:
    from fridge.serving.api.limits import Limits
    from fridge.serving.api.server import model_name, running


class Missing(RuntimeError):
    """What the extra `serve` brings isn't installed. The message says what to type."""


# What needs the extra `serve` is imported when it is asked for, so that the rest can be had without.
_LATER = {
    "running": "fridge.serving.api.server",
    "model_name": "fridge.serving.api.server",
    "Limits": "fridge.serving.api.limits",
    "serve": "fridge.serving.api.command",
    "ServeOptions": "fridge.serving.api.command",
}

__all__ = [
    "Detokenizer",
    "Dispatcher",
    "Limits",
    "Missing",
    "Parts",
    "SSEParser",
    "StopMatcher",
    "chat_chunks",
    "error_body",
    "model_name",
    "running",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        try:
            return getattr(import_module(_LATER[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("starlette", "uvicorn"):
                raise Missing("The server needs two more packages. Type `pip install starlette uvicorn`.") from error
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
