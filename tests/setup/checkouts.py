"""What the tests of this folder share: a folder's command, and settings that reach no network."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Nothing listens on port 9 of this machine, and none of the reader's own settings apply.
NO_NETWORK = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}


def run(folder: Path, *command: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """What a command says in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
