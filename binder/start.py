"""Open JupyterLab: on the course for a learner (`make lab`), or nbgrader's formgrader for an instructor.

It takes this process's place, with an environment in which it starts (surroundings.py), the settings of `jupyter/` and
`learner/`, and a log that holds its address and what goes wrong.
"""

import argparse
import os
import sys
from pathlib import Path

import surroundings

ROOT = Path(__file__).resolve().parents[1]
FIRST = "00-start-here/start_here.ipynb"


def main() -> None:
    """Replace this process by JupyterLab."""
    parser = argparse.ArgumentParser(description="Open JupyterLab.")
    parser.add_argument("what", choices=["lab", "formgrader"])
    parser.add_argument("--port", type=int, help="use this port or none (default: the first free one from 8888 on)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")
    for sentence in [*surroundings.settle(os.environ), *surroundings.house(os.environ, Path(sys.prefix) / "home")]:
        print(sentence)
    folder, page, settings = opened(options.what)
    if not folder.is_dir():
        sys.exit(f"{folder} is missing. In a clone, `git checkout -- {folder.name}` brings it back.")
    prepend("JUPYTER_CONFIG_PATH", *settings)
    prepend("PATH", Path(sys.executable).parent)  # `fridge` in its terminals
    os.chdir(folder)
    print(f"JupyterLab starts in {folder}; Ctrl+C, twice, stops it.", flush=True)
    jupyter = Path(sys.executable).with_name("jupyter-lab")
    os.execv(jupyter, [str(jupyter), f"--ServerApp.root_dir={folder}", f"--LabApp.default_url={page}", *flags(options)])


def opened(what: str) -> tuple[Path, str, list[Path]]:
    """(folder that JupyterLab shows, page that it opens, folders with its settings)."""
    if what == "formgrader":
        return ROOT, "/formgrader", [ROOT / "binder" / "jupyter"]
    page = f"/lab/tree/{FIRST}" if (ROOT / "course" / FIRST).is_file() else "/lab"
    # nbgrader_config.py, of the folder above, is for instructors: nbgrader's parts of JupyterLab would read it there.
    return ROOT / "course", page, [ROOT / "binder" / "learner", ROOT / "binder" / "jupyter"]


def flags(options: argparse.Namespace) -> list[str]:
    """The rest of JupyterLab's command line."""
    chosen = []
    if options.port:
        chosen += [f"--port={options.port}", "--ServerApp.port_retries=0"]
    if options.no_browser:
        chosen.append("--no-browser")
    if os.geteuid() == 0:  # a container's user, as a rule
        chosen.append("--allow-root")
    return chosen


def prepend(name: str, *folders: Path) -> None:
    """Put folders before those that a variable lists."""
    os.environ[name] = os.pathsep.join(filter(None, [*map(str, folders), os.environ.get(name)]))


if __name__ == "__main__":
    main()
