"""`fridge edge`: a GGUF file in a browser tab, served in the foreground until Ctrl+C."""

import errno
import sys
from dataclasses import dataclass
from pathlib import Path

from fridge import models
from fridge.serving.edge.server import EdgeServer

MOST_BYTES = 2**31 - 1  # of one piece that a page can hold (ArrayBuffer)


@dataclass(frozen=True)
class EdgeOptions:
    """The command's: `file` (None: the course's own model, if it is installed) and `port`."""

    file: Path | None
    port: int


def serve(options: EdgeOptions) -> int:
    """Serve until Ctrl+C; return the exit code: 0 stopped as asked, 2 it couldn't begin."""
    file = options.file or _own_model()
    if why := file and _refused(file):
        return _stop(why)
    try:
        server = EdgeServer(file, options.port)
    except OSError as error:
        return _stop(_why_not(error, options.port))
    with server:
        try:
            print(f"Open {server.url} in a browser on this machine.", flush=True)
            print(_what(file), flush=True)
            print("The browser computes, this command only hands out the files. Ctrl+C stops it.", flush=True)
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.", flush=True)
    return 0


def _own_model() -> Path | None:
    try:
        return models.gguf()
    except models.ModelUnavailable as error:
        print(f"fridge: {error}", file=sys.stderr)
        return None


def _refused(file: Path) -> str | None:
    """Why a page can't run this file, as far as its first bytes and its size say; None if it may."""
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        return f"{file} can't be read ({error.strerror})."
    if magic != b"GGUF":
        return f"{file} is no GGUF file: it begins with {magic!r}. Units 08 and 11 write such files."
    if file.stat().st_size > MOST_BYTES:
        return f"{file} has more than {MOST_BYTES:,} bytes, the most that a page can hold in one piece."
    return None


def _what(file: Path | None) -> str:
    if file is None:
        return "It offers no file: choose one in the page."
    return f"It offers {file.name}, {file.stat().st_size:,} bytes."


def _why_not(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program. Type `fridge edge --port 0`: it takes a free one."
    if error.errno == errno.EACCES:
        return f"port {port} needs an administrator's rights. Type `fridge edge --port 8001`."
    return f"no server can listen here ({error})."


def _stop(why: str) -> int:
    print(f"fridge: {why}", file=sys.stderr)
    return 2
