"""Install torch, the course and its tools at the versions of requirements.lock: with uv, or with pip where uv can't.

uv looks first at what it would install: a torch with CUDA, gigabytes that a machine without an NVIDIA GPU has no use
for, is seen before it is fetched. What uv has fetched it keeps in its cache, so that a stopped installation goes on.
"""

import csv
import json
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import sources
import surroundings
from stamps import LOCK, ROOT, read
from steps import Step, last_lines

TOOLS = ["setuptools", "uv"]  # setuptools builds the course's own package, without an isolated environment
NEEDED_GB = {"cpu": 4, "cuda": 12}  # environment, model, and what an installation holds on top for a while
CUDA_GB = "3 GB to fetch and 7 GB on the disk"  # torch 2.13 and the packages that it pins
ASK_SECONDS = "10"  # an index that doesn't answer by then isn't waited for, where there is another way

BROKEN_CONNECTION = re.compile(r"(?:Connection|Protocol|Timeout|Resolution|Proxy|SSL)Error|IncompleteRead|[Tt]imed out")
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|[Ee]rrno 28\b|os error (?:28|122)\b")
WOULD_INSTALL = re.compile(r"^ \+ ([\w.-]+)==(\S+)", re.MULTILINE)


class NotInstalled(Exception):
    """The packages could not be installed. The message says why and what to do, less what to type next."""


class Installer:
    """Installs into the environment of one Python, from where the reader's settings say."""

    def __init__(self, python: Path, log: Path):
        self._python, self._log = python, log
        try:
            self._settings = sources.settings(python)
        except sources.SettingsUnreadable as error:
            raise NotInstalled(f"{error}. Correct it (`pip config debug` shows the files).") from error

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which pip, whoever starts it, sees the reader's settings, and no others."""
        return sources.for_pip(self._settings)

    def install_tools(self, step: Step) -> None:
        """Install what installs the rest; where there is no uv, pip does without."""
        status, said = self._pip(step, TOOLS)
        if status and self._has_index(step, said):
            status, said = self._pip(step, TOOLS[:1])
        if status:
            self._stop(step, said)

    def install(self, step: Step, extras: str, compiled: bool) -> None:
        """Install torch and the course with these extras.

        Args:
            compiled: write bytecode now, a minute's work, for an environment that is read-only in use: the sandbox's,
                an image's. Elsewhere Python writes it when a module is first imported.

        Raises:
            NotInstalled: no network, no space, or a message of pip's that stands above.
        """
        if not self._by_uv(step, extras, compiled):
            self._by_pip(step, extras)

    # uv -------------------------------------------------------------------------------------------------------------

    def _by_uv(self, step: Step, extras: str, compiled: bool) -> bool:
        course = ["--no-build-isolation", "--editable", f".[{extras}]"]
        status, said = self._uv(step, [*course, "--dry-run"])
        if status:
            return False
        if wants_cpu_build() and brings_cuda(WOULD_INSTALL.findall(said)):
            # uv knows where torch's own index is, which has builds without CUDA.
            without = [*course, "--torch-backend=cpu"]
            status, elsewhere = self._uv(
                step, [*without, "--dry-run"], UV_HTTP_TIMEOUT=ASK_SECONDS, UV_HTTP_RETRIES="0"
            )
            if status == 0 and not brings_cuda(WOULD_INSTALL.findall(elsewhere)):
                course, said = without, elsewhere
            else:
                warn_of_cuda()
        if missing := len(WOULD_INSTALL.findall(said)):
            step.tell(f"{missing} packages")
        status, said = self._uv(step, [*course, *(["--compile-bytecode"] if compiled else [])])
        if DISK_FULL.search(said):
            raise NotInstalled(disk_is_full())
        return status == 0

    def _uv(self, step: Step, requirements: list[str], **environ: str) -> tuple[int, str]:
        options, environment = sources.for_uv(self._settings)
        uv = [self._python, "-m", "uv", "pip", "install", "--python", self._python, *options, "-c", LOCK.name]
        return step.run([*uv, *requirements], environment | environ, ROOT)

    # pip ------------------------------------------------------------------------------------------------------------

    def _by_pip(self, step: Step, extras: str) -> None:
        report = self._log.with_name("torch.json")
        if wants_cpu_build() and self._pip(step, ["--dry-run", "--report", str(report), "torch"])[0] == 0:
            found = [item["metadata"] for item in json.loads(read(report))["install"]]
            if brings_cuda([(item["name"], item["version"]) for item in found]):
                warn_of_cuda()
        # torch alone: it is the largest, and what is installed stays.
        self._pip_or_stop(step, ["torch"])
        self._pip_or_stop(step, ["--no-build-isolation", "--editable", f".[{extras}]"])

    def _pip_or_stop(self, step: Step, requirements: list[str]) -> None:
        status, said = self._pip(step, requirements)
        if status:
            self._stop(step, said)

    def _pip(self, step: Step, requirements: list[str]) -> tuple[int, str]:
        # The path of the lock is relative, to the folder of `Step.run`: pip splits no spaces in it.
        command = [self._python, "-m", "pip", "install", "--progress-bar=off", "-c", LOCK.name]
        return step.run([*command, *requirements], surroundings.without_socks(self.environment), ROOT)

    def _stop(self, step: Step, said: str) -> NoReturn:
        print("\n" + last_lines(said), file=sys.stderr)
        if DISK_FULL.search(said):
            raise NotInstalled(disk_is_full())
        if not self._has_index(step, said):
            raise NotInstalled(
                f"pip could not reach its package index{sources.place(self._settings)}. Check the network, the proxy "
                f"(HTTPS_PROXY) and the mirror (`pip config list`).{self._about_socks()}"
            )
        raise NotInstalled(
            "pip could not install what the course needs: its message stands above. `make clean` takes .venv away."
        )

    def _has_index(self, step: Step, said: str) -> bool:
        # An index that doesn't answer is no error to pip, but one without packages.
        ask = [self._python, "-m", "pip", "--retries=0", "index", "versions", "pip"]
        if BROKEN_CONNECTION.search(said):
            return False
        return step.run(ask, surroundings.without_socks(self.environment), ROOT)[0] == 0

    def _about_socks(self) -> str:
        if surroundings.without_socks(self.environment) == self.environment:
            return ""
        return (
            " The proxy is a SOCKS proxy, which pip can't use yet: most of them speak HTTP, too, often at the same "
            "port (HTTPS_PROXY=http://127.0.0.1:7890, say)."
        )


# torch and CUDA -------------------------------------------------------------------------------------------------------


def wants_cpu_build() -> bool:
    """Whether a torch with CUDA would come to a machine that can't use it."""
    return sys.platform.startswith("linux") and not (shutil.which("nvidia-smi") or list(Path("/dev").glob("nvidia*")))


def brings_cuda(packages: list[tuple[str, str]]) -> bool:
    """Whether CUDA's packages are among these names and versions."""
    return any(name.startswith(("nvidia-", "nvidia_", "cuda-")) or "+cu" in version for name, version in packages)


def warn_of_cuda() -> None:
    """Say what is about to be fetched; stop if it can't fit."""
    if free_gb(ROOT) < NEEDED_GB["cuda"]:
        raise NotInstalled(
            f"The torch of this package index comes with CUDA: {CUDA_GB}; {free_gb(ROOT):.1f} GB are free, and this "
            "machine has no NVIDIA GPU. Name an index of torch's builds without CUDA in PIP_EXTRA_INDEX_URL, or free "
            "some space."
        )
    print(
        f"\nThe torch of this package index comes with CUDA, {CUDA_GB}, though this machine has no\n"
        "NVIDIA GPU. If that is too much, stop with Ctrl+C and name an index of torch's builds without CUDA in "
        "PIP_EXTRA_INDEX_URL.",
        flush=True,
    )


def free_gb(folder: Path) -> float:
    """The free space on a folder's disk, in GB of 10**9 bytes."""
    return shutil.disk_usage(folder).free / 1e9


def disk_is_full() -> str:
    """What to do about it, in words."""
    return (
        "The disk is full (`df -h` shows which one; TMPDIR=/another/folder moves the working space, UV_CACHE_DIR and "
        "PIP_CACHE_DIR what is kept). Free some space."
    )


# After an interruption ------------------------------------------------------------------------------------------------


def mend(prefix: Path) -> None:
    """Make pip and uv forget the packages that a killed installation left half done, and those alone.

    Both believe a package's metadata, which may be there before its files are.
    """
    for site in prefix.glob("lib/python3*/site-packages"):
        for metadata in site.glob("*.dist-info"):
            if not _is_whole(metadata):
                shutil.rmtree(metadata)
        for leftover in site.glob("~*"):  # what pip moved away to put something newer there
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _is_whole(metadata: Path) -> bool:
    # RECORD lists a package's files with their sizes: https://packaging.python.org/en/latest/specifications/
    rows = list(csv.reader(read(metadata / "RECORD").splitlines()))
    return bool(rows) and all(_is_there(metadata.parent / path, size) for path, _, size in rows)


def _is_there(path: Path, size: str) -> bool:
    return not size or (path.exists() and path.stat().st_size == int(size))
