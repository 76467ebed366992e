"""Call a function in a forked child, once, and take back a plain result: what it did to its process goes with it."""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from autograder.isolation import namespaces

MAX_RESULT = 128 * 2**20  # bytes: a notebook of 20 MB, each two of which JSON writes as six, and its outputs


class ChildFailed(Exception):
    """The child ended without a result. The message holds its traceback where there is one."""


def in_child(call: Callable[[], Any], seconds: float) -> Any:
    """What `call()` returns, through JSON, from a forked child that is killed after `seconds`.

    Raises:
        ChildFailed: it raised, died, took longer, or returned too much.
    """
    result, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(result)
        try:
            if sys.platform == "linux":
                namespaces.die_with_parent()  # nobody waits for its result any more
            try:
                message = {"value": call()}
            except BaseException:
                message = {"error": traceback.format_exc()}
            with os.fdopen(answer, "wb") as file:
                file.write(json.dumps(message).encode())
        finally:
            os._exit(0)
    os.close(answer)
    try:
        data = _read(result, time.monotonic() + seconds)
    finally:
        os.close(result)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if data is None:
        raise ChildFailed(f"no result within {seconds:g} seconds")
    if not data:
        raise ChildFailed("the process died")
    message = json.loads(data)
    if "error" in message:
        raise ChildFailed(message["error"])
    return message["value"]


def _read(descriptor: int, deadline: float) -> bytes | None:
    data = bytearray()
    while len(data) <= MAX_RESULT:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        part = os.read(descriptor, 2**20)
        if not part:
            return bytes(data)
        data += part
    raise ChildFailed(f"its result is larger than {MAX_RESULT >> 20} MB")
