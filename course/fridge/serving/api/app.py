"""The server's addresses, as a Starlette application: OpenAI's, Ollama's, the page, its state, health and metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import fridge
from fridge.serving.api import metrics, ollama_forms, openai_format
from fridge.serving.api.asked import NO_MODEL
from fridge.serving.api.endpoint import Endpoint, refusal
from fridge.serving.api.guard import Guard, form_of
from fridge.serving.api.openai_forms import ChatForm, TextForm
from fridge.serving.api.refusal import Refused
from fridge.serving.api.service import Service
from fridge.serving.engine import Engine

PAGE = {"": "index.html", "page.css": "page.css", "page.js": "page.js", "icon.svg": "icon.svg"}
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# Nothing but the page's own files, from its own server; and no other page may show it in a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(service: Service, local: bool = False) -> Starlette:
    """All addresses. The engine's thread starts and ends with the application's lifespan.

    Args:
        local: as `Guard`'s.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    about = _About(service)
    post_routes = {
        "/v1/chat/completions": Endpoint(service, ChatForm),
        "/v1/completions": Endpoint(service, TextForm),
        "/api/chat": Endpoint(service, ollama_forms.OllamaChat),
        "/api/generate": Endpoint(service, ollama_forms.OllamaGenerate),
        "/api/show": about.show,
    }
    get_routes = {
        "/v1/models": about.models,
        "/v1/models/{name:path}": about.model,
        "/api/tags": about.tags,
        "/api/version": about.version,
        "/health": about.health,
        "/metrics": about.metrics,
        "/state": about.state,
        **{f"/{path}": _file(name) for path, name in PAGE.items()},
    }

    async def told(request: Request, error: Exception) -> Response:
        return refusal(service.parts, form_of(request.url.path), _as_refused(request, error))

    return Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post_routes.items()),
            *(Route(path, endpoint) for path, endpoint in get_routes.items()),
        ],
        middleware=[Middleware(Guard, service=service, local=local)],
        exception_handlers={HTTPException: told, Refused: told, Exception: told},
        lifespan=lifespan,
    )


class _About:
    # What is told of the server itself.
    def __init__(self, service: Service):
        self._service = service

    async def models(self, request: Request) -> Response:
        return JSONResponse(openai_format.models(self._service.name, self._service.created))

    async def model(self, request: Request) -> Response:
        self._known(request.path_params["name"])
        return JSONResponse(openai_format.model(self._service.name, self._service.created))

    async def tags(self, request: Request) -> Response:
        return JSONResponse(ollama_forms.tags(self._service))

    async def show(self, request: Request) -> Response:
        return JSONResponse(ollama_forms.show(self._service))

    async def version(self, request: Request) -> Response:
        return JSONResponse({"version": fridge.__version__})

    async def health(self, request: Request) -> Response:
        healthy = self._service.healthy
        return JSONResponse({"status": "ok" if healthy else "stopping"}, 200 if healthy else 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self._service.metrics.text(self._service.numbers()), media_type=metrics.TYPE)

    async def state(self, request: Request) -> Response:
        service = self._service
        found = await service.pump.look(state)
        about = {"model": service.name, "context": service.context, "draining": service.draining}
        return JSONResponse({**about, **found}, headers={"cache-control": "no-store"})

    def _known(self, name: str) -> None:
        if name.removesuffix(":latest") != self._service.name:
            raise Refused(404, f"there is no model {name[:100]!r} here, but {self._service.name!r}", "model", NO_MODEL)


def state(engine: Engine) -> dict[str, Any]:
    """What the engine holds between two steps: who runs with which blocks, who waits, which blocks are kept."""
    scheduler, allocator = engine.scheduler, engine.scheduler.allocator
    numbers = {sequence: number for number, sequence in engine.sequences.items()}
    running = [
        {
            "number": numbers[sequence],
            "prompt": len(sequence.prompt),
            "tokens": len(sequence.tokens),
            "computed": sequence.computed,
            "blocks": list(sequence.block_table),
        }
        for sequence in scheduler.running
    ]
    return {
        "blocks": allocator.num_blocks,
        "block_size": engine.cache.block_size,
        "free": allocator.num_free,
        "kept": allocator.kept,
        "running": running,
        "waiting": len(scheduler.waiting),
        "preemptions": scheduler.preemptions,
    }


def _file(name: str) -> Any:
    written = resources.files("fridge.serving.api").joinpath("page", name).read_bytes()
    headers = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}

    async def endpoint(request: Request) -> Response:
        return Response(written, media_type=KINDS[name.rpartition(".")[2]], headers=headers)

    return endpoint


def _as_refused(request: Request, error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, HTTPException):
        what = {404: "there is nothing at", 405: f"{request.method} isn't for"}.get(error.status_code, "not so:")
        return Refused(error.status_code, f"{what} {request.url.path[:200]}")
    return Refused(500, "an error in the server; its log says which")
