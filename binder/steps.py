"""One line for each step of a preparation, with a clock that moves; what programs print goes to a file.

On a terminal the line is written again each second; elsewhere (a build's log, a pipe) it is written once, and every
half minute a line says that work goes on.
"""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

SIGN_SECONDS = 30  # between the lines that say that work goes on, where there is no terminal
PASSWORD = re.compile(r"//[^@/\s]*@")  # in an index's address
LAST_LINES = 12  # of a log, shown on failure
# What a line of pip's, uv's or ours says about the work at hand, for the end of the step's line.
SIGNS = (
    (re.compile(r"^\s*Downloading ([\w.-]+?)(?:-\d\S*)?(?: |$)"), "fetching {}"),
    (re.compile(r"^Prepared (\d+) packages"), "{} packages are here"),
    (re.compile(r"^Installed \d+ packages"), "compiling"),
    (re.compile(r"^Collecting ([\w.-]+)"), "asking for {}"),
    (re.compile(r"^Installing collected packages"), "unpacking"),
    (re.compile(r"^Preparing (\S+), once"), "unpacking {}"),
)


class Step:
    """A step's line on the screen, from `with` to its end. `log` is the file that keeps what programs print."""

    def __init__(self, title: str, log: Path):
        self.title, self.log = title, log
        self._began = self._told = time.monotonic()
        self._sign = ""

    def __enter__(self) -> Self:
        self._show() if sys.stdout.isatty() else print(self.title, flush=True)
        return self

    def tell(self, detail: str) -> None:
        """Say more about the step, now that it is known."""
        self.title += f": {detail}"
        self._show() if sys.stdout.isatty() else print(f"      {detail}", flush=True)

    def __exit__(self, *_: object) -> None:
        if sys.stdout.isatty():
            self._sign = ""
            self._show(end="\n")

    def run(self, command: Sequence[str | Path], environ: Mapping[str, str], folder: Path) -> tuple[int, str]:
        """Run a command in a folder; return its exit status and all that it printed, which the log keeps.

        An interruption ends the command first, then this step.
        """
        with self.log.open("a", encoding="utf-8") as log:
            print("\n$", PASSWORD.sub("//", " ".join(map(str, command))), file=log, flush=True)
            # It inherits the lock of a preparation: if this process is killed, the next one waits for the child to end.
            # It writes UTF-8 whatever the terminal's letters are: a folder's name in its words must arrive whole.
            env = {**environ, "PYTHONIOENCODING": "utf-8"}
            child = subprocess.Popen(
                command, cwd=folder, env=env, close_fds=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said = []
            try:
                while text := self._next(child):
                    said.append(text)
                    log.write(text)
                    log.flush()
                return child.wait(), "".join(said)
            except KeyboardInterrupt:
                child.terminate()
                child.wait()
                raise

    def _next(self, child: subprocess.Popen) -> str:
        # The child's next words, or "" at their end; meanwhile the clock moves.
        while not select.select([child.stdout], [], [], 1)[0]:
            self._tick()
        text = os.read(child.stdout.fileno(), 65536).decode("utf-8", "replace")
        for line in text.splitlines():
            for pattern, words in SIGNS:
                if found := pattern.match(line):
                    self._sign = words.format(found[1] if pattern.groups else "")
        self._tick()
        return text

    def _tick(self) -> None:
        if sys.stdout.isatty():
            self._show()
        elif time.monotonic() - self._told > SIGN_SECONDS:
            self._told = time.monotonic()
            print(f"      {self._clock()} {self._sign}".rstrip(), flush=True)

    def _show(self, end: str = "") -> None:
        line = f"{self.title}  {self._clock()}  {self._sign}".rstrip()
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line if end else line[:width]}", end=end, flush=True)

    def _clock(self) -> str:
        return duration(time.monotonic() - self._began)


def duration(seconds: float) -> str:
    """Minutes and seconds, as a clock shows them."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def last_lines(said: str) -> str:
    """The end of what a program printed, indented, for a reader who has to see why it failed."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    return "".join(f"    {line[:200]}\n" for line in lines[-LAST_LINES:])
