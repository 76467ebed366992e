"""The JSON of OpenAI's and Ollama's answers, against the types of their own packages."""

import pytest

from fridge.serving.api import chat_chunks, error_body
from fridge.serving.api.logprobs import chat_logprobs, text_logprobs
from fridge.serving.api.metrics import Histogram, Metrics
from fridge.serving.api.openai_format import chat_completion, models, text_completion
from fridge.serving.engine import Output

IDENTITY = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "tiny"}
USAGE = (3, 2)
VOCABULARY = [b"a", b"\xf0\x9f"]
OUTPUTS = [Output(0, 0, None, -0.5, [(0, -0.5), (1, -1.5)]), Output(0, 1, "length", float("-inf"), [])]


def validated(kind: str, value: dict) -> None:
    """As the client would read it, but strictly: no field that it doesn't know, none of another type."""
    types = pytest.importorskip("openai.types")
    chat = pytest.importorskip("openai.types.chat")
    model = getattr(chat, kind, None) or getattr(types, kind)
    made = model.model_validate(value, strict=True)
    assert not made.model_extra
    for choice in getattr(made, "choices", []):
        assert not choice.model_extra


def test_chunks_are_what_the_client_reads():
    """Guards against a role that comes late, a finish_reason with content, counts beside choices."""
    for usage in (None, USAGE):
        chunks = chat_chunks(IDENTITY, ["Hel", "lo"], "stop", usage)
        for chunk in chunks:
            validated("ChatCompletionChunk", chunk)
        said = [chunk["choices"][0] for chunk in chunks[:4]]
        assert [one["delta"] for one in said] == [
            {"role": "assistant", "content": ""},
            {"content": "Hel"},
            {"content": "lo"},
            {},
        ]
        assert [one["finish_reason"] for one in said] == [None, None, None, "stop"]
        assert len(chunks) == 4 + (usage is not None)
        assert [chunk.get("usage", "absent") for chunk in chunks[:4]] == [None if usage else "absent"] * 4
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]) == ([], 5)


def test_whole_answers_are_what_the_client_reads():
    """Guards against fields of a version that is gone, and against infinity, which JSON hasn't."""
    choice = {"text": "hi", "finish": "length", "logprobs": chat_logprobs(OUTPUTS, VOCABULARY)}
    answer = chat_completion(IDENTITY, [choice], USAGE)
    validated("ChatCompletion", answer)
    [first, second] = answer["choices"][0]["logprobs"]["content"]
    assert (first["top_logprobs"][1]["bytes"], second["logprob"]) == ([0xF0, 0x9F], -9999.0)
    logprobs = text_logprobs(OUTPUTS, VOCABULARY, offset=4)
    validated("Completion", text_completion(IDENTITY, [choice | {"logprobs": logprobs}], USAGE))
    assert (logprobs["tokens"], logprobs["text_offset"]) == (["a", "\ufffd"], [4, 5])
    validated("Model", models("tiny", 1)["data"][0])


def test_errors_say_whose_fault_it_is():
    """Guards against a client that tries again what can never work, or gives up what could."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "invalid_request_error"}
    kinds |= {413: "invalid_request_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}
    for status, kind in kinds.items():
        given, body = error_body(status, "no", "model")
        assert (given, body["error"]["type"], body["error"]["message"]) == (status, kind, "no")
        assert set(body["error"]) == {"message", "type", "param", "code"}
    assert error_body(400, "no")[1]["error"]["param"] is None


def test_metrics_are_read_by_prometheus_rules():
    """Guards against buckets that aren't cumulative, a bucket without +Inf, and a family without its type."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.lines("x") == [
        'x_bucket{le="0.1"} 1',
        'x_bucket{le="1.0"} 2',
        'x_bucket{le="+Inf"} 3',
        "x_sum 7.6",
        "x_count 3",
    ]
    written = Metrics(ended={"stop": 2}).text({"blocks": ("gauge", "that are free", 7)})
    assert '\nfridge_request_success_total{finished_reason="stop"} 2\n' in written
    assert "# TYPE fridge_blocks gauge\nfridge_blocks 7\n" in written
    families = [line.split()[2] for line in written.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    for line in written.splitlines():
        assert line.startswith("#") or line.startswith(tuple(families))
