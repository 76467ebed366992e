"""The notebook around this code: its file, on Colab its text, and the cells that its kernel ran.

A kernel doesn't know its notebook. Jupyter's server tells it the file's name when it starts, VS Code by a variable,
Colab answers when asked; what the kernel ran is in IPython's history.
"""

import os
import sys
from pathlib import Path
from typing import Any

from fridge.notebook.cells import Cell, read_cells

COLAB_SECONDS = 20


def files(name: str) -> list[Path]:
    """Files that may be this notebook, the likeliest first; `name` is what it was handed out as."""
    said = [_variable("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")]
    paths = [Path(one) for one in said if one and one.endswith(".ipynb")] + [Path(name)]
    return [path for path in dict.fromkeys(path.absolute() for path in paths) if path.is_file()]


def in_jupyter() -> bool:
    """Whether a server of Jupyter's started this kernel."""
    return "JPY_SESSION_NAME" in os.environ


def on_colab() -> bool:
    """Whether this is a runtime of Colab's."""
    return "google.colab" in sys.modules


def colab_text() -> dict[str, Any] | None:
    """The notebook as it stands in Colab's browser window, saved or not; None if Colab doesn't tell."""
    try:
        from google.colab import _message

        answer = _message.blocking_request("get_ipynb", timeout_sec=COLAB_SECONDS)["ipynb"]
    except Exception:  # none of it is documented, and without it there is another way
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("cells"), list) else None


def ran() -> list[Cell]:
    """All that this kernel ran, in order, as code cells."""
    history = getattr(shell(), "history_manager", None)
    sources = list(getattr(history, "input_hist_raw", []))
    return read_cells([{"cell_type": "code", "source": source} for source in sources])


def shell() -> Any:
    """IPython's shell, None outside IPython. IPython isn't imported for it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython and hasattr(ipython, "get_ipython") else None


def _variable(name: str) -> str | None:
    value = getattr(shell(), "user_ns", {}).get(name)
    return value if isinstance(value, str) else None
