"""`fridge serve`, with a tiny model in the place of the chosen one."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tiny_server import NAME, chat

from fridge.notebook import cli

SCRIPT = """
import sys
import tiny_server
from fridge.notebook import cli
from fridge.serving.api import command
from fridge.serving.api.service import Service

command._service = lambda options: Service(
    tiny_server.tiny_engine(), tiny_server.TinyLanguage(), tiny_server.NAME, key=options.api_key
)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_stops_when_it_is_asked(tmp_path, number):
    """Guards against a command that says nothing, keeps its port, or ends with a traceback."""
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "script.py", "serve", "--port", "0", "--api-key", "secret"]
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            address = next(found for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+$", line)))
            headers = {"authorization": "Bearer secret"}
            answer = httpx.post(f"{address.group()}/v1/chat/completions", json=chat(), headers=headers, timeout=120)
            assert (answer.status_code, answer.json()["model"]) == (200, NAME)
        finally:
            server.send_signal(number)
        rest = server.stdout.read()
    assert server.returncode == 0, rest
    assert rest.splitlines()[-1] == "Stopped."
    assert "Traceback" not in rest


def test_a_taken_port_is_told_before_the_model_is_loaded(capsys):
    """Guards against a minute of loading for an error that was there from the beginning."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    told = capsys.readouterr()
    assert (
        told.err == f"fridge: port {port} is taken by another program. Type `fridge serve --port {port % 65535 + 1}`.\n"
    )
    assert told.out == ""


def test_a_host_that_is_not_this_machines(capsys):
    """Guards against a traceback for a wrong name."""
    assert cli.main(["serve", "--host", "no.such.host.invalid"]) == 2
    assert "no.such.host.invalid can't be served at" in capsys.readouterr().err


def test_a_port_that_is_none(capsys):
    """Guards against an error in the words of argparse's insides."""
    with pytest.raises(SystemExit):
        cli.main(["serve", "--port", "99999"])
    assert "a port is a number from 0 to 65535, not '99999'" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_its_packages_it_says_what_to_type(missing, tmp_path):
    """Guards against a traceback where the extra `serve` isn't installed; the learner's parts are there without it."""
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "from fridge.serving.api import Detokenizer, SSEParser\n"
        "from fridge.notebook import cli; sys.exit(cli.main(['serve']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "fridge: The server needs two more packages. Type `pip install starlette uvicorn`.\n",
    )
