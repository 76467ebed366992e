"""Where packages come from: the reader's own settings for pip and for uv, read once and given to both.

A mirror, a folder of wheels or a certificate is set for one of the two and meant for both. Settings about what to
install or where to put it (PIP_USER, PIP_TARGET, a constraint of another project …) are kept away: they are made for
other environments, and break this one.
"""

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

from steps import PASSWORD

# pip's options, and the variables of uv that mean the same
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "no-index": (),
    "no-cache-dir": ("UV_NO_CACHE",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
    "keyring-provider": ("UV_KEYRING_PROVIDER",),
    "cert": (),
    "client-cert": (),
    "proxy": (),
    "cache-dir": (),
}
KEPT_OF_UV = re.compile(r"UV_(CACHE_DIR|CONCURRENT_\w+|INDEX_\w+_(USERNAME|PASSWORD)|LINK_MODE|TORCH_BACKEND)")
YES = ("1", "true", "yes", "on")


class SettingsUnreadable(Exception):
    """A file or a variable with pip's settings is damaged. The message is pip's own."""


def settings(python: Path) -> dict[str, str]:
    """pip's options about where packages come from, as `pip config` shows them; uv's where pip has none.

    Raises:
        SettingsUnreadable: pip stops at one of its files or variables.
    """
    return {**_of_uv(os.environ), **_of_pip(python)}


def for_pip(chosen: Mapping[str, str]) -> dict[str, str]:
    """The environment in which pip sees these settings, and no others."""
    environ = _without("PIP_", "UV_")
    environ |= {f"PIP_{name.upper().replace('-', '_')}": value for name, value in chosen.items()}
    return environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def for_uv(chosen: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The options and the environment with which `uv pip install` sees these settings, and no others."""
    # As pip: all places are asked, and the newest version wins, wherever it lies.
    options = ["--no-config", "--index-strategy", "unsafe-best-match"]
    for name, option in (("index-url", "--default-index"), ("extra-index-url", "--index")):
        options += [part for address in chosen.get(name, "").split() for part in (option, address)]
    for name, option in (("find-links", "--find-links"), ("trusted-host", "--allow-insecure-host")):
        options += [part for value in chosen.get(name, "").split() for part in (option, value)]
    if chosen.get("no-index", "").lower() in YES:
        options.append("--no-index")
    environ = _without("PIP_", "UV_") | {name: value for name, value in os.environ.items() if KEPT_OF_UV.match(name)}
    environ["UV_SYSTEM_CERTS"] = "1"  # a school's own certificate stands there, if anywhere; pip looks there, too
    renamed = {
        "cert": "SSL_CERT_FILE",
        "client-cert": "SSL_CLIENT_CERT",
        "default-timeout": "UV_HTTP_TIMEOUT",
        "proxy": "ALL_PROXY",
        "keyring-provider": "UV_KEYRING_PROVIDER",
    }
    environ |= {theirs: chosen[ours] for ours, theirs in renamed.items() if chosen.get(ours)}
    if chosen.get("no-cache-dir", "").lower() in YES:
        environ["UV_NO_CACHE"] = "1"
    return options, environ


def place(chosen: Mapping[str, str]) -> str:
    """The index in words, without a password."""
    address = chosen.get("index-url", "").split()
    return f" ({PASSWORD.sub('//', address[0])})" if address else ""


def _without(*prefixes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def _of_pip(python: Path) -> dict[str, str]:
    # The files in pip's own order, then the variables: pip itself knows where they lie.
    command = [python, "-m", "pip", "config", "list"]
    environ = {name: value for name, value in os.environ.items() if name != "PIP_PYTHON"}  # it would run another pip
    asked = subprocess.run(command, env=environ, capture_output=True, text=True, errors="replace", check=False)
    if asked.returncode:
        raise SettingsUnreadable(f"pip can't read its own settings: {' '.join(asked.stderr.split())}")
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in asked.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        name = {"timeout": "default-timeout"}.get(name, name)
        if section in found and name in SETTINGS and value.startswith(("'", '"')):
            found[section][name] = " ".join(ast.literal_eval(value).split())
    return {name: value for section in found.values() for name, value in section.items() if value}


def _of_uv(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = _of_uv_files(environ)
    for ours, theirs in SETTINGS.items():
        if value := next((environ[name] for name in theirs if environ.get(name)), ""):
            # `name=address` names an index for uv alone; several are split by spaces, folders and hosts by commas too.
            chosen[ours] = " ".join(re.sub(r"^[\w.-]+=(?=\w+:)", "", part) for part in re.split(r"[\s,]+", value))
    return chosen


def _of_uv_files(environ: Mapping[str, str]) -> dict[str, str]:
    personal = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
    chosen: dict[str, str] = {}
    for path in (Path("/etc/uv/uv.toml"), personal, Path(environ.get("UV_CONFIG_FILE", os.devnull))):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        data |= data.get("pip", {})
        named = {"default" if index.get("default") else "more": index["url"] for index in data.get("index", [])}
        of_file = {
            "index-url": named.get("default") or data.get("index-url"),
            "extra-index-url": [named["more"]] if "more" in named else data.get("extra-index-url"),
            "find-links": data.get("find-links"),
            "trusted-host": data.get("allow-insecure-host"),
        }
        chosen |= {
            name: value if isinstance(value, str) else " ".join(value) for name, value in of_file.items() if value
        }
    return chosen
