"""FRIDGE_MODEL as a hub id, fetched from a hub on this machine that HF_ENDPOINT names. huggingface_hub reads
HF_ENDPOINT when it is imported, so each fetch is a process of its own."""

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MODEL, COMMIT = "some-lab/tiny-llama", "0123456789abcdef0123456789abcdef01234567"
SENTENCE = (
    r"FRIDGE_MODEL=some-lab/\S+ could not be fetched from http://127.0.0.1:\d+ \(.+\)\. Check the id and the network"
)


class Hub(ThreadingHTTPServer):
    """Serves the files of one folder as the model MODEL, by the three routes that `snapshot_download` takes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Route)
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Route(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path in (f"/api/models/{MODEL}", f"/api/models/{MODEL}/revision/main"):
            siblings = [{"rfilename": name} for name in self.server.files]
            return self.answer(json.dumps({"id": MODEL, "sha": COMMIT, "siblings": siblings}).encode())
        if path.startswith(f"/api/models/{MODEL}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.server.files.items()
            ]
            return self.answer(json.dumps(tree).encode())
        for name, data in self.server.files.items():
            if path in (f"/{MODEL}/resolve/{revision}/{name}" for revision in (COMMIT, "main")):
                if self.command == "GET":
                    self.server.fetched.append(name)
                return self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', **{"X-Repo-Commit": COMMIT})
        return self.answer(b"{}", 404, **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Length": str(len(data)), "Content-Type": "application/json"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(checkpoint) -> Iterator[Hub]:
    folder, _ = checkpoint(shard="8KB")
    with Hub() as server:
        server.files = {file.name: file.read_bytes() for file in folder.iterdir()} | {"pytorch_model.bin": b"x" * 999}
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_fetched_from_the_endpoint_and_kept(hub: Hub, child, tmp_path: Path) -> None:
    """Guards against an endpoint that is ignored (the mirrors in China), files fetched that nobody reads, and a model
    that can't be had again without the network."""
    choices = {"FRIDGE_MODEL": MODEL, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    load = "from fridge import models; model = models.load(); print(models.name(), model.config.hidden_size)"
    first = child("-c", load, **choices)
    assert first.stdout == f"{MODEL} 32\n", first.stderr
    assert set(hub.fetched) == set(hub.files) - {"pytorch_model.bin"}
    hub.fetched.clear()
    hub.files.clear()
    again = child("-c", load, **choices, HF_HUB_OFFLINE="1")
    assert again.stdout == f"{MODEL} 32\n", again.stderr
    assert hub.fetched == []


def test_unknown_id(hub: Hub, child, tmp_path: Path) -> None:
    """Guards against the hub's traceback for a mistyped id, and against an exit code of 0."""
    choices = {"FRIDGE_MODEL": "some-lab/typo", "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
    result = child("-m", "fridge.models", **choices)
    assert_a_sentence(result)
    assert "RepositoryNotFoundError" in result.stderr


def test_endpoint_out_of_reach(child, tmp_path: Path) -> None:
    """Guards against a traceback, or minutes of retries, where the hub is blocked."""
    choices = {"FRIDGE_MODEL": MODEL, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    result = child("-m", "fridge.models", **choices)
    assert_a_sentence(result)
    assert "HF_ENDPOINT" in result.stderr


def assert_a_sentence(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert re.search(SENTENCE, result.stderr), result.stderr
    assert len(result.stderr) < 900
