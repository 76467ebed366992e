"""A GGUF file in a browser tab: wllama, which is llama.cpp in WebAssembly, on a page that this machine alone can open.

    from fridge.serving import edge

    with edge.running(Path("mine.gguf")) as url:
        ...  # open it in a browser

`page` is what the browser gets, `wllama` the npm package's files with their licence, `server` a small server of files
with the headers that threads in a page need, `command` is `fridge edge`. None of it computes here: the browser does.
"""

from fridge.serving.edge.command import EdgeOptions, serve
from fridge.serving.edge.server import WLLAMA, running

__all__ = ["WLLAMA", "EdgeOptions", "running", "serve"]
