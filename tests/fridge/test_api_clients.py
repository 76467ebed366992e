"""The server under the clients that people use: `openai` and `ollama`, in pieces and whole."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest
from tiny_server import ELEPHANT, NAME, TinyLanguage, chat, served, tiny_engine

from fridge.serving.api import SSEParser
from fridge.serving.engine import Engine

openai = pytest.importorskip("openai")
ollama = pytest.importorskip("ollama")

HELLO = [{"role": "user", "content": "hello"}]
ELEPHANTS = [TinyLanguage.vocabulary.index(bytes([byte])) for byte in ELEPHANT]


class ElephantEngine(Engine):
    """Says an elephant over every four tokens, whatever the model wants."""

    def step(self):
        return [replace(output, token=ELEPHANTS[(len(sequence.reply) - 1) % 4]) for output, sequence in self._step()]


@pytest.fixture(scope="module")
def url():
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_list_of_models(client):
    """Guards against a client that doesn't find what it is to ask for."""
    assert [one.id for one in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "fridge"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_a_chat_is_the_same_whole_and_in_pieces(client):
    """Guards against pieces that are lost or doubled, counts that differ, and an end without a reason."""
    whole = client.chat.completions.create(**chat(max_tokens=40))
    chunks = list(
        client.chat.completions.create(**chat(max_tokens=40), stream=True, stream_options={"include_usage": True})
    )
    said = [chunk.choices[0] for chunk in chunks[:-1]]
    assert "".join(one.delta.content or "" for one in said) == whole.choices[0].message.content
    assert said[0].delta.role == "assistant"
    assert [one.finish_reason for one in said if one.finish_reason] == [whole.choices[0].finish_reason] == ["length"]
    assert chunks[-1].usage == whole.usage
    assert (whole.usage.completion_tokens, whole.usage.total_tokens) == (40, whole.usage.prompt_tokens + 40)
    assert len({chunk.id for chunk in chunks}) == 1


def test_choices_draw_by_seeds_of_their_own(client):
    """Guards against n equal replies, and against a seed that means something else the next time."""
    wish = chat(n=3, seed=5, temperature=1.5, max_tokens=12)
    first, second = (client.chat.completions.create(**wish) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert len(set(texts)) == 3
    assert texts == [choice.message.content for choice in second.choices]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**wish, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_a_stop_string_is_not_shown(client):
    """Guards against a reply with its stop string, and against one that runs on behind it."""
    whole = client.chat.completions.create(**chat(max_tokens=30, seed=2, temperature=1.5)).choices[0].message.content
    stop = whole[10:13]
    before = whole[: whole.index(stop)]
    reply = client.chat.completions.create(**chat(max_tokens=30, seed=2, temperature=1.5, stop=["never there", stop]))
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (before, "stop")
    pieces = client.chat.completions.create(**chat(max_tokens=30, seed=2, temperature=1.5, stop=stop), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in pieces) == before


def test_log_probabilities_go_with_the_text(client):
    """Guards against log-probabilities of fewer tokens than the text has, whole and in pieces."""
    wish = chat(max_tokens=8, logprobs=True, top_logprobs=2)
    told = client.chat.completions.create(**wish).choices[0]
    assert len(told.logprobs.content) == 8
    assert b"".join(bytes(one.bytes) for one in told.logprobs.content).decode() == told.message.content
    assert all(one.top_logprobs[0].logprob == pytest.approx(one.logprob) for one in told.logprobs.content), "greedy"
    pieces = [chunk.choices[0].logprobs for chunk in client.chat.completions.create(**wish, stream=True)]
    streamed = [entry.token for one in pieces if one for entry in one.content]
    assert streamed == [one.token for one in told.logprobs.content]


def test_text_completions_of_several_prompts(client):
    """Guards against replies in another order than their prompts, texts and tokens alike."""
    alone = [
        client.completions.create(model=NAME, prompt=one, temperature=0).choices[0].text for one in ("ab", "hello")
    ]
    tokens = [TinyLanguage().encode(one) for one in ("ab", "hello")]
    for prompts in (["ab", "hello"], tokens):
        both = client.completions.create(model=NAME, prompt=prompts, temperature=0)
        assert [choice.text for choice in both.choices] == alone
    assert (both.usage.prompt_tokens, both.usage.completion_tokens) == (7, 32), "16 tokens if nothing is said"
    streamed = ["", ""]
    told = client.completions.create(model=NAME, prompt=["ab", "hello"], temperature=0, stream=True, logprobs=0)
    for chunk in told:
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == alone


def test_vllms_extras_are_understood(client):
    """Guards against extra fields that are swallowed: a penalty changes a greedy reply, top_k 1 makes a hot one so."""
    plain = client.chat.completions.create(**chat(max_tokens=20)).choices[0].message.content
    penalised = chat(max_tokens=20, extra_body={"repetition_penalty": 1.5})
    assert client.chat.completions.create(**penalised).choices[0].message.content != plain
    for extra in ({"top_k": 1}, {"min_p": 1.0}):
        hot = chat(max_tokens=20, temperature=2.0, extra_body=extra)
        assert client.chat.completions.create(**hot).choices[0].message.content == plain


def test_characters_of_several_tokens_arrive_whole():
    """Guards against U+FFFD in a stream where a character isn't complete yet."""
    with served(tiny_engine(ElephantEngine)) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        pieces = [
            chunk.choices[0].delta.content
            for chunk in client.chat.completions.create(**chat(max_tokens=18), stream=True)
            if chunk.choices[0].delta.content
        ]
        assert pieces == [*["🐘"] * 4, "\ufffd"], "the last is cut by the number of tokens"
        whole = client.chat.completions.create(**chat(max_tokens=16, stop="🐘🐘🐘"))
        assert (whole.choices[0].message.content, whole.usage.completion_tokens) == ("", 12)


def test_errors_reach_the_client_as_its_own(client):
    """Guards against errors that a program can't tell apart: each with its class, its type and its parameter."""
    wrong = {"max_tokens": 0, "temperature": 3, "n": 99, "top_logprobs": 2, "stop": [""], "messages": []}
    for name, value in wrong.items():
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**chat(**{name: value}))
        assert (caught.value.param, caught.value.type) == (name, "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**chat(tools=[{"type": "function", "function": {"name": "f"}}]))
    assert caught.value.param == "tools"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**chat(model="gpt"))
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="5000") as caught:
        client.completions.create(model=NAME, prompt="a" * 5000)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="somebody"):
        client.chat.completions.create(**chat(messages=[{"role": "system", "content": "x"}]))


def test_many_at_once_by_the_asynchronous_client(url):
    """Guards against replies that get into others' streams: each is what it is alone."""
    words = [f"say {number}" for number in range(40)]

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

            async def ask(word):
                told = await client.completions.create(model=NAME, prompt=word, temperature=0, stream=True)
                return "".join([chunk.choices[0].text async for chunk in told])

            alone = [await ask(word) for word in words[:5]]
            return alone, await asyncio.gather(*map(ask, words))

    alone, together = asyncio.run(all_of_them())
    assert together[:5] == alone


def test_ollamas_client(url):
    """Guards against a server that speaks Ollama's names but not its lines: chat, generate, options, list, errors."""
    client = ollama.Client(host=url)
    assert [one.model for one in client.list().models] == [NAME]
    assert client.show(NAME).capabilities == ["completion"]
    options = {"num_predict": 12, "temperature": 0}
    whole = client.chat(model=NAME, messages=HELLO, options=options)
    lines = list(client.chat(model=f"{NAME}:latest", messages=HELLO, options=options, stream=True))
    assert "".join(line.message.content for line in lines) == whole.message.content
    assert (whole.done_reason, whole.eval_count, lines[-1].eval_count) == ("length", 12, 12)
    assert [line.done for line in lines[:-1]] == [False] * (len(lines) - 1)
    assert whole.total_duration >= whole.eval_duration > 0
    generated = client.generate(model=NAME, prompt="hello", options=options)
    assert generated.response == whole.message.content, "a prompt is a user's message"
    raw = client.generate(model=NAME, prompt="hello", raw=True, options=options, logprobs=True)
    assert len(raw.logprobs) == 12
    assert raw.response != generated.response
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(model="llama", prompt="x")
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="num_predict"):
        client.generate(model=NAME, prompt="x", options={"num_predict": "many"})
    assert httpx.get(f"{url}/api/version").json()["version"]


def test_the_courses_parser_reads_the_stream(url):
    """Guards against events that only a forgiving client reads; the stream ends with [DONE]."""
    parser, payloads = SSEParser(), []
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=chat(stream=True)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for data in answer.iter_raw():
            payloads += parser.feed(data)
    assert payloads[-1] == "[DONE]"
    assert [json.loads(one)["object"] for one in payloads[:-1]] == ["chat.completion.chunk"] * (len(payloads) - 1)
