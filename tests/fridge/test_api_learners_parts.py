"""The right answers to unit 09 in the real server: whatever fulfils an exercise's text must do as a part of it."""

import re
from pathlib import Path

import httpx
import pytest
from tiny_server import chat, served

from fridge.serving.api import Parts

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = [
    *sorted((ROOT / "solutions" / "09-serving").glob("*.py")),
    *sorted((ROOT / "tests" / "submissions" / "09-serving" / "right").glob("*.py")),
]
NEEDED = {"Detokenizer", "StopMatcher", "Dispatcher", "chat_chunks", "error_body"}
NAMES = re.compile(rf"^(?:class|def) (?:{'|'.join(NEEDED)})\b", re.MULTILINE)
IMPORTS = re.compile(r"^(?:import|from) .*$", re.MULTILINE)


def parts_of(path: Path) -> Parts:
    """A notebook's or a sample's answers, run with what all its cells import from Python's own library."""
    text, names = path.read_text(encoding="utf-8"), {}
    for line in IMPORTS.findall(text):
        if line.split()[1].partition(".")[0] not in ("fridge", "IPython", "matplotlib"):
            exec(line.split("(")[0] if "(" not in line else "pass", names)
    for cell in re.split(r"^# %%.*$", text, flags=re.MULTILINE):
        if NAMES.search(cell):
            exec(cell, names)
    return Parts(*(names[name] for name in ("Detokenizer", "StopMatcher", "Dispatcher", "chat_chunks", "error_body")))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in ANSWERS])
def test_a_right_answer_serves(path):
    """Guards against a server that asks more of its parts than the exercises do."""
    wish = chat(max_tokens=30, n=2, seed=1, temperature=1.2)
    with served() as url:
        plain = httpx.post(f"{url}/v1/chat/completions", json=wish, timeout=120).json()
    with served(parts=parts_of(path)) as url:
        whole = httpx.post(f"{url}/v1/chat/completions", json=wish, timeout=120).json()
        texts = [choice["message"]["content"] for choice in whole["choices"]]
        assert texts == [choice["message"]["content"] for choice in plain["choices"]]
        counted = wish | {"stream": True, "stream_options": {"include_usage": True}}
        answer = httpx.post(f"{url}/v1/chat/completions", json=counted, timeout=120).text
        assert f'"completion_tokens":{whole["usage"]["completion_tokens"]}' in answer
        assert answer.endswith("data: [DONE]\n\n")
        stop = texts[0][5:8]
        stopped = httpx.post(f"{url}/v1/chat/completions", json=wish | {"n": 1, "stop": stop}, timeout=120).json()
        assert stopped["choices"][0]["message"]["content"] == texts[0].partition(stop)[0]
        refused = httpx.post(f"{url}/v1/chat/completions", json=wish | {"temperature": -1}, timeout=120)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "temperature")
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(max_tokens=3000, stream=True)) as left:
            next(left.iter_raw())
