"""What a shell's environment brings along that breaks pip, uv or JupyterLab: put right, or kept away from them.

A wrong PYTHONPATH, a proxy that httpx doesn't speak, a temporary folder that is gone: each ends in a long traceback of
somebody else's program. `settle` mends what has one right reading in silence, and names the rest in a sentence.
"""

import os
import re
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from steps import PASSWORD

# All else that begins with PYTHON belongs to another Python (PYTHONHOME, PYTHONPATH) or changes what programs do.
KEPT_OF_PYTHON = ("PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED")
# Another JupyterLab's assets, another Python's kernels, and figures in windows instead of the notebook.
OF_OTHER_JUPYTERS = ("JUPYTERLAB_DIR", "JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_PLATFORM_DIRS")
OF_NO_NOTEBOOK = ("MPLBACKEND", "__PYVENV_LAUNCHER__")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")  # what httpx, requests, pip and uv have in common
BROKEN_NO_PROXY = re.compile(r"\[|:.*:.*/")  # IPv6 in brackets or with a mask: httpx takes the colon for a port's


def settle(environ: MutableMapping[str, str]) -> list[str]:
    """Change an environment so that programs of Python's world start in it; return sentences about what is left out."""
    for name in list(environ):
        if name.startswith("PYTHON") and name not in KEPT_OF_PYTHON:
            del environ[name]
    for name in (*OF_OTHER_JUPYTERS, *OF_NO_NOTEBOOK):
        environ.pop(name, None)
    environ["PYTHONUTF8"] = "1"  # paths and files, whatever the terminal's letters are
    return [*_proxies(environ), *_certificates(environ), *_folders(environ)]


def house(environ: MutableMapping[str, str], folder: Path) -> list[str]:
    """Give a reader whose home folder can't be written to (a container, a borrowed account) another one."""
    home = environ.get("HOME")
    if home is None or _usable(Path(home)):
        return []
    folder.mkdir(exist_ok=True)
    environ["HOME"] = str(folder)
    return [f"HOME={home} is no folder that you may write to: Jupyter's settings go to {folder}."]


def without_socks(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a pip that has no SOCKS library yet: it may get through without."""
    return {name: value for name, value in environ.items() if not _is_socks(name, value)}


def _is_socks(name: str, value: str) -> bool:
    return name.upper() in (*PROXIES, "PIP_PROXY") and value.lower().startswith("socks")


def _proxies(environ: MutableMapping[str, str]) -> list[str]:
    left_out = []
    for name in [name for name in environ if name.upper() in PROXIES]:
        proxy = environ[name].strip().strip("'\"")
        scheme, mark, rest = proxy.partition("://")
        if scheme.lower() == "socks":  # GNOME's way to write it
            scheme = "socks5"
        environ[name] = scheme.lower() + mark + rest if mark else proxy
        if mark and scheme.lower() not in PROXY_SCHEMES:
            left_out.append(
                f"{name}={PASSWORD.sub('//', proxy)} is left out: Python's programs speak http:// and socks5:// to a "
                "proxy."
            )
            del environ[name]
    for name in ("NO_PROXY", "no_proxy"):
        if name in environ:
            hosts = environ[name].split(",")
            environ[name] = ",".join(host for host in hosts if not BROKEN_NO_PROXY.search(host))
    return left_out


def _certificates(environ: MutableMapping[str, str]) -> list[str]:
    gone = [name for name in CERTIFICATES if environ.get(name) and not Path(environ[name]).exists()]
    return [f"{name}={environ.pop(name)} is left out: there is no such file." for name in gone]


def _folders(environ: MutableMapping[str, str]) -> list[str]:
    left_out = []
    for name in ("TMPDIR", "TEMP", "TMP"):
        if name in environ and not (Path(environ[name]).is_dir() and os.access(environ[name], os.W_OK | os.X_OK)):
            left_out.append(f"{name}={environ.pop(name)} is left out: it is no folder that you may write to.")
    if left_out:
        tempfile.tempdir = None  # it may have been asked before
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        if name in environ and not _usable(Path(environ[name])):
            left_out.append(f"{name}={environ.pop(name)} is left out: it is no folder that you may write to.")
    return left_out


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
