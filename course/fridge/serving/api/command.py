"""`fridge serve`: the chosen model behind the server, in the foreground, until it is asked to stop."""

import errno
import os
import sys
from dataclasses import dataclass

import torch

from fridge import models
from fridge.serving.api.language import ModelLanguage
from fridge.serving.api.server import Server, is_local, listen, model_name
from fridge.serving.api.service import Service
from fridge.serving.engine import Engine
from fridge.serving.engine.linears import Int8Linear, PackedLinear

WAITING = 256  # requests in the queue; whoever comes then is told to come back later


@dataclass(frozen=True)
class ServeOptions:
    """The command's: `port`, `host`, `model` (as FRIDGE_MODEL), `int8`, `api_key`."""

    port: int
    host: str
    model: str | None = None
    int8: bool = False
    api_key: str | None = None


def serve(options: ServeOptions) -> int:
    """Serve until SIGTERM or Ctrl+C; return the exit code: 0 stopped as asked, 2 it couldn't begin."""
    if options.model:
        os.environ["FRIDGE_MODEL"] = options.model
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        return _stop(_why_not(error, options))
    with listener:
        try:
            server = Server(_service(options), local=is_local(options.host))
        except (models.ModelUnavailable, ValueError) as error:
            return _stop(str(error))
        except KeyboardInterrupt:
            return _stop("stopped before the model was loaded.")
        print(_greeting(options, listener.getsockname()[1]), flush=True)
        server.run([listener])
    print("Stopped.", flush=True)
    return 0


def _service(options: ServeOptions) -> Service:
    print(f"Loading {model_name()} …", flush=True)
    language = ModelLanguage.of_chosen_model()
    linear = Int8Linear if options.int8 else PackedLinear
    engine = Engine(models.load("cpu", torch.float32), max_waiting=WAITING, make_linear=linear)
    return Service(engine, language, model_name(), key=options.api_key)


def _greeting(options: ServeOptions, port: int) -> str:
    shown = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{'127.0.0.1' if options.host in ('0.0.0.0', '::') else shown}:{port}"
    lines = [
        f"{model_name()}, {'INT8' if options.int8 else 'float32'}. Talk to it at {address}",
        f"OpenAI's clients: base_url={address}/v1, model={model_name()}. Ollama's: host={address}.",
        "Ctrl+C stops it: replies that are on their way may end, a second one ends them, too.",
    ]
    if not is_local(options.host) and not options.api_key:
        lines.insert(2, "Whoever reaches this machine may use it. `--api-key KEY` lets in those who know the key.")
    return "\n".join(lines)


def _why_not(error: OSError, options: ServeOptions) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {options.port} is taken by another program. Type `fridge serve --port {options.port % 65535 + 1}`."
        )
    if error.errno == errno.EACCES:
        return f"port {options.port} needs an administrator's rights. Type `fridge serve --port 8000`."
    return f"{options.host} can't be served at ({error}). Type `fridge serve` for this machine alone."


def _stop(why: str) -> int:
    print(f"fridge: {why}", file=sys.stderr)
    return 2
