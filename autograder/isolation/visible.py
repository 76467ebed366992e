"""What a learner's process may see of the host's disks, as arguments for bubblewrap: libraries, the package, the model.

All of it is read-only. The course itself is not there, wherever it lies: a container's clone often stands below /usr,
and a virtual environment can be the clone. Nor are settings, which hold passwords.
"""

import contextlib
import sys
from pathlib import Path

from autograder.course import CourseError, find_root

SYSTEM_FOLDERS = (
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/sbin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/fonts",
)
_OF_AN_ENVIRONMENT = ("bin", "include", "lib", "lib64", "pyvenv.cfg", "share")
_OTHERS = ("/usr/etc", "/usr/local/etc", "/usr/src", "/usr/local/src")  # settings, and whatever else is kept there
_SETTINGS = ("etc", "pip.conf")  # in an environment


def mounts() -> list[str]:
    """Arguments that show it; the first of them make the folders around what is shown."""
    shown, hidden = _shown(), _hidden()
    # bubblewrap makes parents for its owner alone, and the learner's process is somebody else.
    parents = {parent for source in shown for parent in source.parents} - {Path("/"), Path("/tmp")}
    arguments = _folders(parents)
    for source in shown:
        arguments += ["--ro-bind", str(source), str(source)]
        for place in (place for place in hidden if source in place.parents):
            inside = {parent for other in shown for parent in other.parents if place in parent.parents}
            arguments += _covered(place) + _folders(inside)
    for place in hidden:
        if place.is_dir() and any(source in place.parents for source in shown):
            arguments += ["--remount-ro", str(place)]
    if any(Path("/tmp") in source.parents for source in shown):
        arguments += ["--remount-ro", "/tmp"]
    return arguments


def _folders(folders: set[Path]) -> list[str]:
    return [word for folder in sorted(folders) for word in ("--perms", "0755", "--dir", str(folder))]


def _covered(place: Path) -> list[str]:
    if place.is_dir():
        return ["--perms", "0755", "--tmpfs", str(place)]
    return ["--ro-bind", "/dev/null", str(place)]


def _shown() -> list[Path]:
    import fridge
    from fridge.weights import embedded

    wanted = [
        *map(Path, SYSTEM_FOLDERS),
        *_environment(Path(sys.base_prefix)),
        *_environment(Path(sys.prefix)),
        Path(fridge.__file__).parent,
        Path(__file__).parents[1],
        embedded.cache_folder(),
    ]
    return sorted({path for path in wanted if path.exists()})


def _environment(prefix: Path) -> list[Path]:
    """An environment; of one that is a course's clone as well, its own parts."""
    return [prefix / part for part in _OF_AN_ENVIRONMENT] if prefix.resolve() in _courses() else [prefix]


def _hidden() -> list[Path]:
    environments = [Path(prefix) / part for prefix in (sys.base_prefix, sys.prefix) for part in _SETTINGS]
    settings = [path for path in (*map(Path, _OTHERS), *environments) if path.exists() and not path.is_symlink()]
    return sorted({*_courses(), *settings})


def _courses() -> set[Path]:
    """The course that this process works for, and the one that the library comes from."""
    found = set()
    for start in (Path.cwd(), Path(__file__).parent):
        with contextlib.suppress(CourseError):
            found.add(find_root(start))
    return found
