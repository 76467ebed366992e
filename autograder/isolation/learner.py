"""The learner's side: runs cells with IPython's semantics and answers calls of the grader's proxies.

This module runs inside the sandbox, in the same process as the learner's code, which can change anything here. Nothing
that the grader decides rests on it: it is a convenience for honest code, and dishonest code can at worst give other
answers than its functions would.
"""

import importlib
import io
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import torch
from torch import Tensor

from autograder.isolation.cell_run import run_through
from autograder.isolation.channel import Channel, PeerGone
from autograder.isolation.errors import describe, from_words, same_words, writable
from autograder.isolation.patience import endless
from autograder.isolation.wire import Reference, decode, encode
from fridge.testing.changed import Change, watched
from fridge.testing.outcome import LIBRARIES
from fridge.testing.work import allocated, held_bytes, measured
from fridge.workbench.arguments import kind_of

MAX_TEXT = 200_000  # characters of output kept per cell; the grader has limits of its own
RECENT_ERRORS = 20
CUT = "\n… the rest was cut\n"


def make_shell():
    """An IPython shell without history, files or threads, with figures shown inline. Called once, before the forks."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import publish_display_data
    from traitlets.config import Config

    class ShowLastValue(DisplayHook):  # as a rich output, not as text after "Out[3]:"
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict, md_dict=None) -> None:
            publish_display_data(format_dict, md_dict or {})

    class Shell(InteractiveShell):
        displayhook_class = ShowLastValue

        def enable_gui(self, gui=None) -> None:  # no event loop here; inline figures need none
            pass

        def system(self, cmd: str) -> None:  # IPython's wants a terminal, and none is here
            if cmd.rstrip().endswith("&"):
                raise OSError("Background processes not supported.")
            done = subprocess.run(self.var_expand(cmd, depth=1), shell=True, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
            print(done.stdout.decode(errors="replace"), end="")
            self.user_ns["_exit_code"] = done.returncode

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = Shell.instance(config=config)
    shell.run_line_magic("matplotlib", "inline")
    return shell


def work_here() -> None:
    """Make the process's folder the notebook's, as Jupyter does: what a cell writes there, another can import."""
    sys.path.insert(0, "")
    sys.dont_write_bytecode = True  # a module that is written twice within a second would be the first one still


class Server:
    """Answers the grader's requests, one at a time, until it closes the channel."""

    def __init__(self, channel: Channel, shell):
        self._channel = channel
        self._shell = shell
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}  # id(object) -> number; the objects are kept alive by _objects
        self._tests: dict[int, TestObject] = {}  # by number: one object is one key of a learner's dict
        self._shared: dict[int, Tensor] = {}  # of tests' objects, which may overwrite them
        self._errors: deque[BaseException] = deque(maxlen=RECENT_ERRORS)  # of the request at hand, and those within it

    def serve(self) -> None:
        """Loop over requests [action, *arguments]."""
        while True:
            try:
                action, *arguments = self._receive()
            except PeerGone:
                return
            self._errors.clear()
            self._send(self._answer(action, arguments))

    def _answer(self, action: str, arguments: list) -> list:
        changes: list[Change] = []
        try:
            if action == "cell":
                return ["ok", self._run_cell(*arguments), []]
            with Quiet(), watched(LIBRARIES, __file__.__eq__) as changes:
                return ["ok", getattr(self, f"_do_{action}")(*arguments), changes]
        except BaseException as error:  # the learner's code may raise SystemExit or KeyboardInterrupt too
            self._errors.append(error)
            return ["error", *describe(error), changes]

    # --- requests -----------------------------------------------------------------------------------------------

    def _run_cell(self, source: str) -> dict:
        from IPython.utils.capture import capture_output

        importlib.invalidate_caches()  # cells follow one another faster than a folder's time stamp changes
        shown: list[str] = []
        self._shell._showtraceback = lambda kind, value, lines: shown.extend(lines)
        failures: list[list] = []
        errors: list[dict] = []

        def failed(error: BaseException, line: int) -> None:
            (kind, *_), message, _ = describe(error)
            failures.append([line, kind, message])
            trace = writable("\n".join(shown)[:MAX_TEXT])
            errors.append({"output_type": "error", "ename": kind, "evalue": message, "traceback": trace})
            shown.clear()

        with capture_output() as captured:
            run_through(self._shell, source, failed)
        outputs = []
        for name, text in (("stdout", captured.stdout), ("stderr", captured.stderr)):
            if text:
                cut = writable(text[:MAX_TEXT]) + CUT * (len(text) > MAX_TEXT)
                outputs.append({"output_type": "stream", "name": name, "text": cut})
        for rich in captured.outputs:
            data = {key: writable(value) for key, value in rich.data.items() if type(value) is str}
            outputs.append({"output_type": "display_data", "data": data})
        return {"outputs": outputs + errors, "failures": failures}

    def _do_lookup(self, names: list[str]) -> dict[str, Any]:
        return {name: self._shell.user_ns[name] for name in names if name in self._shell.user_ns}

    def _do_call(self, target: Any, positional: list, named: dict) -> Any:
        return target(*positional, **named)

    def _do_measured(self, target: Any, positional: list, named: dict) -> tuple[Any, list[int]]:
        value, work = measured(target, *positional, **named)
        return value, list(astuple(work))

    def _do_allocated(self, target: Any, positional: list, named: dict) -> tuple[Any, int]:
        return allocated(target, *positional, **named)

    def _do_held(self, target: Any) -> int:
        return held_bytes(target)

    def _do_get(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def _do_len(self, target: Any) -> int:
        return len(target)

    def _do_item(self, target: Any, key: Any) -> Any:
        return target[key]

    def _do_iterate(self, target: Any) -> Iterator:
        return iter(target)

    def _do_next(self, iterator: Iterator) -> tuple[bool, Any]:
        for item in iterator:
            return True, item
        return False, None

    # --- values -------------------------------------------------------------------------------------------------

    def _send(self, message: list) -> None:
        try:
            data = encode(message, self._to_reference)
        except Exception as error:  # too large, say, or half a number, or a tensor that torch doesn't let out of vmap
            data = encode(["error", *describe(error), []], self._to_reference)
        self._channel.send(data, endless)

    @torch.inference_mode(False)  # tensors are plain ones, wherever the learner's code asks a test's object for them
    def _receive(self) -> list:
        return decode(self._channel.receive(endless), self._from_reference, endless)

    def _to_reference(self, value: Any) -> Reference:
        if isinstance(value, TestObject):
            return Reference(mine=False, number=object.__getattribute__(value, "_number"))
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects[number] = value
        return Reference(mine=True, number=number, kind=kind_of(value))

    def _from_reference(self, reference: Reference) -> Any:
        if not reference.mine:
            return self._objects[reference.number]
        return self._tests.setdefault(reference.number, TestObject(self, reference.number))

    def ask_test(self, number: int, method: str, positional: tuple, named: dict) -> Any:
        """Call a method of an object that the test owns, in the grader's process."""
        self._send(["callback", number, method, list(positional), named])
        while True:
            action, *rest = self._receive()
            if action == "value":
                return self._take(*rest)
            if action == "raise":
                raise self._error(*rest)
            self._send(self._answer(action, rest))  # the test's object calls back: a model that updates your cache

    @torch.inference_mode(False)
    def _take(self, value: Any, changed: list[tuple[int, Tensor, bool]], share: int | None) -> Any:
        for number, now, stays in changed:
            (self._shared[number] if stays else self._shared.pop(number)).detach().copy_(now)
        return value if share is None else self._shared.setdefault(share, value)

    def _error(self, kind: str, message: str) -> BaseException:
        # The learner's own, if it only passed through the test's object: `except CacheFull` must find it.
        own = (error for error in reversed(self._errors) if same_words(error, kind, message))
        return next(own, None) or from_words(kind, message)


class TestObject:
    """Stands for an object that the test owns: a scripted model, a cache. Calls go to the grader's process."""

    learner_may = ()  # by which `held_bytes` knows a test's object: from here it would reach all of the learner's

    def __init__(self, server: Server, number: int):
        self._server = server
        self._number = number

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Call the test's object."""
        return self._server.ask_test(self._number, "__call__", positional, named)

    def __len__(self) -> int:
        return self._server.ask_test(self._number, "__len__", (), {})

    def __reduce_ex__(self, protocol: int) -> Any:
        raise TypeError("what a test hands you can't be copied in grading: use it as it is")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            is_method, value = self._server.ask_test(self._number, "__getattr__", (name,), {})
        except Exception as error:  # hasattr must be able to say no
            raise AttributeError(str(error)) from None
        if not is_method:
            return value
        return lambda *positional, **named: self._server.ask_test(self._number, name, positional, named)


class Quiet:
    """Drops what calls from tests print: it could carry hidden inputs into the feedback."""

    def __enter__(self) -> None:
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._streams
