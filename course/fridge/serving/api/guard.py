"""Who may ask: not pages of other sites that a browser has open, not those without the key, nobody while it stops.

A server on 127.0.0.1 is in reach of every page that the same machine's browser shows. Such a page can send requests
(with its own site as `Origin`), and by a name of its own that points to 127.0.0.1 it could read the answers, too (DNS
rebinding: then `Host` is that name).
"""

import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from fridge.serving.api.endpoint import Form, refusal
from fridge.serving.api.ollama_forms import OllamaForm
from fridge.serving.api.openai_forms import OpenAIForm
from fridge.serving.api.refusal import STOPPING, Refused
from fridge.serving.api.service import Service

OPEN = ("/health", "/metrics")  # beside the page: without a key
KEYED = ("/v1/", "/api/", "/state")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware.

    Args:
        local: whether the server is for this machine alone; then it answers to this machine's names alone.
    """

    def __init__(self, app: ASGIApp, service: Service, local: bool):
        self._app, self._service, self._local = app, service, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or answer in its place."""
        if scope["type"] == "http" and (refused := self._refused(scope)):
            self._service.metrics.refuse(refused.status)
            await refusal(self._service.parts, form_of(scope["path"]), refused)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> Refused | None:
        headers = Headers(scope=scope)
        if self._local and _name(headers.get("host", "")) not in LOOPBACK:
            return Refused(403, "this server is for its own machine: ask it as localhost or 127.0.0.1")
        if not _same_site(headers):
            return Refused(403, "a page of another site may not use this server")
        if scope["path"].startswith(KEYED) and not self._knows_key(headers):
            return Refused(
                401, "the API key is missing or another one: send `Authorization: Bearer KEY`", code="invalid_api_key"
            )
        if scope["method"] == "POST" and self._service.draining:
            return Refused(STOPPING, "the server is stopping")
        return None

    def _knows_key(self, headers: Mapping[str, str]) -> bool:
        key = self._service.key
        shown = headers.get("authorization", "")
        return key is None or hmac.compare_digest(shown.encode("latin-1"), f"Bearer {key}".encode())


def form_of(path: str) -> type[Form]:
    """In whose words errors of this path are told."""
    return OllamaForm if path.startswith("/api/") else OpenAIForm  # type: ignore[return-value]


def _same_site(headers: Mapping[str, str]) -> bool:
    origin = headers.get("origin")  # a browser's, and it can't be forged there
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower()
