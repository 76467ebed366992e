"""What `fridge edge` hands out, to whom, and what it says when it can't."""

import gzip
import hashlib
import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fridge.notebook import cli
from fridge.serving import edge
from fridge.serving.edge import server

# Of the files in the npm package @wllama/wllama 3.13.0.
NPM = {
    "/wllama.js": "e7f3745ee508c111c22d178d23c52cc74016dd8cec39e4600d87e28d287d7981",
    "/wllama.wasm": "79ac5be917b71d50571a4f584436a9f6baf6b6e57719d094ed8bd950e9a65780",
}


@pytest.fixture
def gguf(tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"GGUF" + bytes(range(256)) * 1000)
    return file


def ask(url, path="/", method="GET", host=None):
    address = url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, headers={"Host": host or address})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_the_file_comes_whole_beside_what_runs_it(gguf):
    """A file cut off, and a wllama that isn't the one whose licence lies beside it."""
    with edge.running(gguf) as url:
        answer, body = ask(url, "/model.gguf")
        assert (answer.status, body) == (200, gguf.read_bytes())
        assert json.loads(ask(url, "/about.json")[1]) == {
            "wllama": "3.13.0",
            "file": {"name": "mine.gguf", "bytes": 256_004},
        }
        for path, right in NPM.items():
            answer, body = ask(url, path)
            raw = gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body
            assert hashlib.sha256(raw).hexdigest() == right, path
        assert b"MIT License" in ask(url, "/LICENSE.txt")[1]


def test_each_answer_has_the_headers_that_threads_need(gguf):
    with edge.running(gguf) as url:
        assert ask(url, "/?a=b", host="localhost")[0].status == 200
        for path in server._addresses(gguf):
            answer, body = ask(url, path, "HEAD")
            assert (answer.status, body) == (200, b"")
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    "path", ["/../server.py", "/page/", "//etc/passwd", "/%2e%2e/server.py", "/wllama.wasm.gz", "http://["]
)
def test_nothing_else_can_be_had(gguf, path):
    with edge.running(gguf) as url:
        assert ask(url, path)[0].status == 404


def test_nobody_but_this_machine(gguf):
    """DNS rebinding: another site's page asks for the learner's file by a name of its own."""
    with edge.running(gguf) as url:
        assert ask(url, "/model.gguf", host="evil.example:80")[0].status == 403
        assert ask(url, "/", "POST")[0].status == 501
        assert url.startswith("http://127.0.0.1:")


def test_a_file_that_goes_away_is_no_answer(gguf):
    with edge.running(gguf) as url:
        gguf.unlink()
        assert ask(url, "/model.gguf")[0].status == 404


def test_without_a_file_the_reader_chooses_one():
    with edge.running(None) as url:
        assert json.loads(ask(url, "/about.json")[1])["file"] is None
        assert ask(url, "/model.gguf")[0].status == 404


def test_what_it_says_of_a_file_that_is_none(tmp_path, capsys):
    other = tmp_path / "notes.txt"
    other.write_text("GG, well played")
    assert cli.main(["edge", str(other)]) == 2
    assert "is no GGUF file: it begins with b'GG, '" in capsys.readouterr().err
    assert cli.main(["edge", str(tmp_path / "none.gguf")]) == 2
    assert "none.gguf can't be read (No such file or directory)" in capsys.readouterr().err
    assert cli.main(["edge", str(tmp_path)]) == 2
    assert "can't be read (Is a directory)" in capsys.readouterr().err


def test_a_file_that_no_page_can_hold(tmp_path, capsys):
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.write(b"GGUF")
        file.truncate(2**31)
    assert cli.main(["edge", str(large)]) == 2
    assert "more than 2,147,483,647 bytes" in capsys.readouterr().err


def test_a_port_that_is_taken(gguf, capsys):
    with edge.running(gguf) as url:
        port = url.rpartition(":")[2]
        assert cli.main(["edge", str(gguf), "--port", port]) == 2
    assert f"port {port} is taken by another program. Type `fridge edge --port 0`" in capsys.readouterr().err


def test_the_command_says_where_and_ends_by_ctrl_c(gguf):
    command = [Path(sys.executable).with_name("fridge"), "edge", gguf, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(3)]
        url = said[0].split()[1]
        assert ask(url, "/model.gguf")[1] == gguf.read_bytes()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (0, "Stopped.\n", "")
    assert said[1] == "It offers mine.gguf, 256,004 bytes.\n"
