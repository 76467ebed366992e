"""A server of a few files on loopback, each by its own address; nothing else can be had, and nothing is taken.

WebAssembly has threads only in a page that no other site's page can look into: the headers `Cross-Origin-Opener-Policy`
and `Cross-Origin-Embedder-Policy` ask the browser for that.
"""

import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost")
WLLAMA = "3.13.0"
SILENT_SECONDS = 30  # a browser that takes no bytes for so long is gone
_HERE = Path(__file__).parent
# WebLLM comes from a CDN, and its weights from a hub, when a person presses that button; all else from here.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob: https://cdn.jsdelivr.net/npm/; "
    "worker-src 'self' blob:; connect-src 'self' blob: data: https://cdn.jsdelivr.net/npm/ https://huggingface.co "
    "https://*.huggingface.co https://*.hf.co https://raw.githubusercontent.com; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class Sent:
    """What an address gives: a file, or bytes; `encoding` says how they are compressed."""

    kind: str
    file: Path | None = None
    body: bytes = b""
    encoding: str | None = None


class EdgeServer(ThreadingHTTPServer):
    """The page, wllama and one GGUF file.

    Args:
        gguf: the file that the page offers; None: the reader chooses one in the page.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken or forbidden.
    """

    daemon_threads = True

    def __init__(self, gguf: Path | None, port: int = 0):
        self.gguf = gguf
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.server_address[1]}"


@contextmanager
def running(gguf: Path | None = None) -> Iterator[str]:
    """A server in a thread of its own for as long as the block runs: gives its address.

    Args:
        gguf: as `EdgeServer` takes it.
    """
    with EdgeServer(gguf) as server:
        thread = threading.Thread(target=server.serve_forever, name="fridge-edge", daemon=True)
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One request: GET and HEAD of the addresses above."""

    server: EdgeServer
    timeout = SILENT_SECONDS
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what would come before it."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a terminal full of addresses helps nobody."""

    def _answer(self, with_body: bool) -> None:
        # By a name of its own that points to 127.0.0.1, another site's page could read the answers (DNS rebinding).
        if _name(self.headers.get("Host", "")) not in LOOPBACK:
            self.send_error(403, "this server is for its own machine")
            return
        try:
            sent = _addresses(self.server.gguf).get(self.path.partition("?")[0])
            file = sent and (sent.file.open("rb") if sent.file else io.BytesIO(sent.body))
        except OSError:
            sent = file = None
        if sent is None or file is None:
            self.send_error(404)
            return
        with file:
            try:
                self._send(sent, file, with_body)
            except ConnectionError:
                self.close_connection = True  # a page that was closed

    def _send(self, sent: Sent, file: BinaryIO, with_body: bool) -> None:
        self._head(sent, file.seek(0, os.SEEK_END))
        file.seek(0)
        if with_body:
            shutil.copyfileobj(file, self.wfile)

    def _head(self, sent: Sent, size: int) -> None:
        self.send_response(200)
        own = {"Content-Type": sent.kind, "Content-Length": str(size)}
        if sent.encoding:
            own["Content-Encoding"] = sent.encoding
        for name, value in (_HEADERS | own).items():
            self.send_header(name, value)
        self.end_headers()


def _name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() else host).lower()


def _addresses(gguf: Path | None) -> dict[str, Sent]:
    gguf = gguf if gguf and gguf.is_file() else None  # it may be moved, and written anew
    page, wllama = _HERE / "page", _HERE / "wllama"
    about = {"wllama": WLLAMA, "file": None if gguf is None else {"name": gguf.name, "bytes": gguf.stat().st_size}}
    sent = {
        "/": Sent("text/html; charset=utf-8", page / "index.html"),
        "/page.css": Sent("text/css; charset=utf-8", page / "page.css"),
        "/page.js": Sent("text/javascript; charset=utf-8", page / "page.js"),
        "/webllm.js": Sent("text/javascript; charset=utf-8", page / "webllm.js"),
        "/icon.svg": Sent("image/svg+xml", page / "icon.svg"),
        "/about.json": Sent("application/json", body=json.dumps(about).encode()),
        "/wllama.js": Sent("text/javascript; charset=utf-8", wllama / "wllama.js"),
        "/wllama.wasm": Sent("application/wasm", wllama / "wllama.wasm.gz", encoding="gzip"),
        "/LICENSE.txt": Sent("text/plain; charset=utf-8", wllama / "LICENSE.txt"),
    }
    return sent if gguf is None else sent | {"/model.gguf": Sent("application/octet-stream", gguf)}
