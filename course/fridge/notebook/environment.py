"""Is this machine ready for the course? Findings about Python, packages, memory, GPU, disk and model, each with advice.

Every judgement is a function of plain values, which `look` takes from `fridge.notebook.facts`. torch is imported only
where its version is known to fit, so that a broken installation gets a sentence and no traceback.
"""

import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fridge.notebook import facts
from fridge.notebook.facts import ABSENT, INSTALLED, READY, WRONG
from fridge.weights import embedded
from fridge.workbench import tables

PACKAGE = "elephant-in-the-fridge"
FINE, NOTE, BAD = "fine", "note", "bad"
MARKS = {FINE: "✓", NOTE: "!", BAD: "✗"}
NOTEBOOK_BYTES, MODEL_BYTES = 2.0e9, 1.0e9  # what every notebook stays within; the least that loads and runs the model
CONVERTED_BYTES, WHEEL_BYTES, SAVING_BYTES = 0.6e9, 0.2e9, 0.1e9  # on disk; the last for notebooks with figures
_SHOWN = ("torch", "transformers")


@dataclass(frozen=True)
class Finding:
    """One thing about this machine.

    Attributes:
        state: FINE, NOTE (works, with something to know) or BAD (something will fail).
        advice: a sentence; what to do, where there is something to do.
    """

    state: str
    what: str
    found: str
    advice: str


class Report:
    """Findings as a table, in a notebook and in a shell."""

    def __init__(self, findings: list[Finding]):
        self.findings = findings

    @property
    def ready(self) -> bool:
        """Whether nothing is bad."""
        return all(finding.state != BAD for finding in self.findings)

    def __repr__(self) -> str:
        rows = [f"{MARKS[one.state]} {one.what:<10}{one.found}\n            {one.advice}" for one in self.findings]
        return "\n".join([*rows, self._summary()])

    def _repr_html_(self) -> str:
        rows = [(MARKS[one.state], one.what, one.found, one.advice) for one in self.findings]
        return tables.html(("", "What", "Found", "Advice"), rows, self._summary())

    def _summary(self) -> str:
        if self.ready:
            return "This machine is ready."
        return "Something marked ✗ will fail: do what its line says, restart the kernel, and run this cell again."


def show() -> Report:
    """Look at this machine: displayed by JupyterLab and Colab, printable in a shell."""
    return Report(look())


def look() -> list[Finding]:
    """All findings about this machine. Takes a second; asks the network only if the model isn't here."""
    try:
        wanted = metadata.metadata(PACKAGE)
        findings = [python(platform.python_version(), wanted["Requires-Python"])]
        findings += packages(facts.installed(metadata.requires(PACKAGE) or []))
    except metadata.PackageNotFoundError:
        findings = [not_installed()]
    findings += [memory(*facts.memory()), cores(facts.cores())]
    if all(finding.state != BAD for finding in findings):  # torch may not import otherwise
        findings.append(gpu(*facts.gpu(), driver=shutil.which("nvidia-smi") is not None))
    state = facts.model_state()
    cache = facts.nearest(embedded.cache_folder())
    findings += [disk(shutil.disk_usage(cache).free, cache, state == READY), saving(facts.writable(Path.cwd()))]
    findings.append(model(facts.model_name(), state, state != ABSENT or facts.online()))
    return findings


def python(version: str, wanted: str) -> Finding:
    """Judge Python's version ("3.12.1") by the package's own condition (">=3.11,<3.14")."""
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding(FINE, "Python", version, "The course is tested with it.")
    return Finding(
        BAD, "Python", version, f"The course needs {wanted}: `make lab PYTHON=/path/to/python3.12` makes .venv anew."
    )


def not_installed() -> Finding:
    """The library is on the path and was never installed, so nobody has checked what it needs."""
    return Finding(BAD, "library", "not installed", "Run `make lab` in the repository, or there `pip install -e .`.")


def packages(installed: dict[str, str | None]) -> list[Finding]:
    """Judge requirement ("torch>=2.6") -> installed version or None: a finding for each that is off, or one for all."""
    findings = []
    for text, version in installed.items():
        requirement = Requirement(text)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            found = f"{requirement.name} {version or 'is missing'}"
            advice = f'The course needs {requirement}: `pip install "{requirement}"`, then restart the kernel.'
            findings.append(Finding(BAD, "package", found, advice))
    shown = [f"{name} {installed[text]}" for text in installed if (name := Requirement(text).name) in _SHOWN]
    return findings or [Finding(FINE, "packages", ", ".join(shown), f"All {len(installed)} are here.")]


def memory(total: float, free: float) -> Finding:
    """Judge memory in bytes: what this process may ever have, and what is free now."""
    found = f"{total / 1e9:.1f} GB, {free / 1e9:.1f} free"
    if total < MODEL_BYTES:
        return Finding(BAD, "memory", found, "Too little to run the model: use Colab, by the badge at the top.")
    if free < MODEL_BYTES:
        return Finding(
            BAD,
            "memory",
            found,
            "Free 1 GB: shut down other kernels (Kernel menu, Shut Down All Kernels), close programs.",
        )
    if free < NOTEBOOK_BYTES:
        return Finding(
            NOTE, "memory", found, "Enough for one notebook at a time: shut down its kernel before the next."
        )
    return Finding(FINE, "memory", found, "Enough: every notebook stays below 2 GB.")


def cores(count: int) -> Finding:
    """Judge the processor cores that this process may use."""
    if count < 2:
        return Finding(
            NOTE, "cores", str(count), "It works; measured times are about twice those that the text describes."
        )
    return Finding(FINE, "cores", str(count), "Two are enough. Close what else computes while a cell measures time.")


def gpu(name: str | None, bytes_free: float = 0.0, driver: bool = False) -> Finding:
    """Judge the GPU that torch can use, None for none; `driver` says that the machine has one for all that."""
    if name:
        found = f"{name}, {bytes_free / 1e9:.1f} GB free"
        if bytes_free < MODEL_BYTES:
            return Finding(
                NOTE,
                "GPU",
                found,
                "Another program holds it: end that one, or set CUDA_VISIBLE_DEVICES= before starting.",
            )
        return Finding(FINE, "GPU", found, "The cells with the real model use it. Graded cells run on the CPU.")
    if driver:
        return Finding(
            NOTE,
            "GPU",
            "one that torch can't use",
            "Nothing here needs it. `nvidia-smi` says whether its driver works.",
        )
    return Finding(FINE, "GPU", "none", "None is needed. For one at no cost: Colab, Runtime, Change runtime type, T4.")


def disk(free: float, folder: Path, model_ready: bool) -> Finding:
    """Judge the free bytes on the disk that keeps the converted model."""
    found = f"{free / 1e9:.1f} GB free in {folder}"
    needed = SAVING_BYTES if model_ready else CONVERTED_BYTES + WHEEL_BYTES
    if free < needed:
        return Finding(
            BAD, "disk", found, f"Free {needed / 1e9:.1f} GB, or set FRIDGE_CACHE to a folder on another disk."
        )
    return Finding(FINE, "disk", found, "Enough.")


def saving(writable: bool) -> Finding:
    """Judge whether a file can be written beside the notebook."""
    if writable:
        return Finding(FINE, "saving", "works", "Save with Ctrl+S (⌘S): your points are counted from what is saved.")
    return Finding(
        BAD, "saving", "this folder is read-only or full", "Copy the course to a folder of your own and open it there."
    )


def model(name: str, state: str, online: bool) -> Finding:
    """Judge the chosen model: READY, INSTALLED (not converted yet), ABSENT (not here, so `online` matters) or WRONG."""
    if state == READY:
        return Finding(FINE, "model", name, "It is on this disk: no network is needed.")
    if state == INSTALLED:
        return Finding(NOTE, "model", name, "It is unpacked once, on first use: half a minute.")
    if state == WRONG:
        return Finding(
            BAD,
            "model",
            f"FRIDGE_MODEL={name}",
            f"It is no whole model: `python -m fridge.models` says why. Or unset it for {embedded.NAME}.",
        )
    if online:
        return Finding(
            NOTE, "model", f"{name} is not here yet", "Run `from fridge import models; models.install()`, once."
        )
    return Finding(
        BAD,
        "model",
        f"{name} is not here, and no network",
        "Connect, or set HF_ENDPOINT or PIP_INDEX_URL to a mirror; then `make lab`.",
    )
