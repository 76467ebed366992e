"""Plain facts about this machine, for `fridge.notebook.environment` to judge: packages, memory, GPU, model, network."""

import os
import tempfile
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from fridge.weights import embedded, model_folder

READY, INSTALLED, ABSENT, WRONG = "ready", "installed", "absent", "wrong"  # states of the model
CGROUP_FOLDER = Path("/sys/fs/cgroup")
NETWORK_SECONDS = 4
CGROUPS = (  # limit, use, statistics: where a container's memory is counted, version 2 and version 1
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def installed(requirements: list[str]) -> dict[str, str | None]:
    """Requirement -> installed version, None for a missing one. Those of extras and of other systems are left out."""
    needed = [Requirement(text) for text in requirements]
    versions: dict[str, str | None] = {}
    for requirement in needed:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):  # an extra's, or another system's
            continue
        try:
            versions[str(requirement)] = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            versions[str(requirement)] = None
    return versions


def memory() -> tuple[float, float]:
    """(total, free) bytes: the machine's, or those of the container around this process if it has fewer."""
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    for names in CGROUPS:
        limit, used, statistics = (CGROUP_FOLDER / name for name in names)
        try:
            most = int(limit.read_text())  # "max" is no number: no limit
            lines = dict(line.split() for line in statistics.read_text().splitlines())
            taken = int(used.read_text()) - int(lines.get("inactive_file", 0))  # a cache, given back when asked for
        except (OSError, ValueError):
            continue
        total, free = min(total, most), min(free, max(0, most - taken))
    return total, free


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu() -> tuple[str | None, float]:
    """Name and free bytes of the GPU that torch uses; (None, 0) for none."""
    import torch

    if not torch.cuda.is_available():
        return None, 0.0
    return torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0]


def model_name() -> str:
    """What FRIDGE_MODEL says, else the default's name. `models.name()` without importing torch."""
    return os.environ.get("FRIDGE_MODEL") or embedded.NAME


def model_state() -> str:
    """Where the chosen model is: READY to load, INSTALLED and to be unpacked, ABSENT, or a WRONG folder."""
    chosen = os.environ.get("FRIDGE_MODEL", "")
    if not chosen:
        if (embedded.cache_folder() / f"{embedded.NAME}-{embedded.CONVERSION}").exists():
            return READY
        return INSTALLED if embedded.gguf_file() else ABSENT
    if Path(chosen).expanduser().is_dir():
        return WRONG if model_folder.fault(Path(chosen).expanduser()) else READY
    if chosen.startswith(("/", ".", "~")):
        return WRONG
    return READY if not chosen.startswith("modelscope:") and _in_hub_cache(chosen) else ABSENT


def _in_hub_cache(model_id: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model_id, "config.json"), str)


def online() -> bool:
    """Whether the place that the model comes from answers, with whatever status."""
    if os.environ.get("FRIDGE_MODEL"):
        address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    else:
        address = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple/"
    try:
        urllib.request.urlopen(address, timeout=NETWORK_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def writable(folder: Path) -> bool:
    """Whether a file with something in it can be written there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(100_000))
    except OSError:
        return False
    return True
