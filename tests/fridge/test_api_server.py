"""The server among clients that hang up, dawdle, lie and crowd: a clear error each, the others unharmed, nothing left.

`served` looks at the law after each test: no block, no open number, no thread, no port. Where it matters when a step is
taken, the engine is one that a test lets step; no outcome hangs on how fast a machine is.
"""

import asyncio
import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from tiny_server import NAME, GatedEngine, TinyLanguage, chat, metric, place, raw_request, served, tiny_engine, until

from fridge.serving import api
from fridge.serving.api.endpoint import Endpoint
from fridge.serving.api.openai_forms import ChatForm
from fridge.serving.api.server import Server, listen
from fridge.serving.api.service import Service
from fridge.serving.engine import Engine

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
LONG = chat(max_tokens=3000)


def ask(url, body, path=CHAT, **options):
    return httpx.post(f"{url}{path}", json=body, timeout=120, **options)


def is_served(url):
    """Whether a request is answered. On a busy machine, one in a hurry may itself come too late."""
    try:
        return ask(url, chat()).status_code == 200
    except httpx.TransportError:
        return False


def connected(url, body, path=CHAT):
    """A socket on which a request has been sent."""
    link = socket.create_connection(place(url), timeout=120)
    link.sendall(raw_request(path, json.dumps(body).encode()))
    return link


def everything(link):
    """What comes until the other side closes, also if it does so rudely."""
    data = b""
    try:
        while piece := link.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


@pytest.fixture(scope="module")
def url():
    with served() as address:
        yield address


# Hanging up.


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_costs_nothing_further(stream):
    """Guards against tokens for nobody: a reply of 3000 steps ends although only a few are ever allowed."""
    engine = tiny_engine(GatedEngine)
    with served(engine) as url:
        with closing(connected(url, LONG | {"stream": stream})) as link:
            until(lambda: engine.busy)
            engine.allow(3)
            if stream:
                assert b"200 OK" in link.recv(65536)
        until(lambda: engine.allow() or not engine.busy)
        assert engine.taken < 3000
        until(lambda: metric(url, 'fridge_request_success_total{finished_reason="gone"}') == 1)


def test_hanging_up_in_the_queue_gives_the_place_to_another():
    """Guards against a queue that is full of requests whose clients have gone."""
    engine = tiny_engine(GatedEngine, max_sequences=1, max_waiting=1)
    with served(engine) as url, closing(connected(url, LONG)) as running:
        until(lambda: engine.busy)
        engine.allow()
        until(lambda: engine.scheduler.running)
        with closing(connected(url, LONG)):
            until(lambda: engine.allow() or engine.scheduler.waiting)
            refused = ask_beside(engine, url, chat())
            assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
            assert refused.headers["retry-after"] == "1"
        until(lambda: engine.allow() or not engine.scheduler.waiting)
        assert engine.scheduler.running, "the one before it runs on"
        running.close()
        until(lambda: engine.allow() or not engine.busy)


def ask_beside(engine, url, body):
    """An answer, while the engine is allowed what it needs to notice the question."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, url, body)
        until(lambda: engine.allow() or answer.done())
        return answer.result()


def test_a_request_of_several_choices_is_queued_whole_or_not_at_all():
    """Guards against choices that run on although the last one found the queue full."""
    engine = tiny_engine(GatedEngine, max_sequences=1, max_waiting=2)
    with served(engine) as url:
        assert ask(url, chat(n=3)).status_code == 429
        assert not engine.busy
        engine.open()
        assert ask(url, chat(n=2)).status_code == 200


def test_a_client_that_is_gone_before_its_answer_in_process():
    """Guards against an answer to nobody, seen from the server's side: no byte is sent after http.disconnect."""
    sent = []
    engine = tiny_engine(GatedEngine)

    async def scenario():
        service = Service(engine, TinyLanguage(), NAME)
        await service.start()
        body = json.dumps(LONG).encode()
        messages = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message)

        engine.open()
        await Endpoint(service, ChatForm)({"type": "http", "state": {}}, receive, send)
        assert service.active == 0
        await service.stop()
        assert service.pump.open == 0

    asyncio.run(scenario())
    assert (sent, engine.busy) == ([], False)


# Dawdling.


def test_a_slow_reader_delays_nobody_and_misses_nothing():
    """Guards against an engine that waits for a reader: others are served while nothing of the stream is read."""
    with served() as url, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(120)
        slow.connect(place(url))
        body = LONG | {"stream": True, "max_tokens": 1000}
        slow.sendall(raw_request(CHAT, json.dumps(body).encode(), "Connection: close"))
        assert [ask(url, chat()).status_code for _ in range(3)] == [200] * 3
        data = everything(slow)
        assert b"[DONE]" in data
        _, _, chunks = data.partition(b"\r\n\r\n")
        told = [json.loads(line[6:]) for line in chunks.split(b"\n") if line.startswith(b"data: {")]
        text = "".join(one["choices"][0]["delta"].get("content") or "" for one in told)
        assert text == ask(url, LONG | {"max_tokens": 1000}).json()["choices"][0]["message"]["content"]


def test_a_reader_who_takes_nothing_is_cut_off():
    """Guards against a connection, and its memory, for a reader that will never read."""
    limits = api.Limits(reader_seconds=0.3)
    with served(limits=limits) as url, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.settimeout(120)
        stuck.connect(place(url))
        # Twenty log-probabilities beside each token: megabytes, more than the kernel keeps for a reader.
        body = LONG | {"stream": True, "n": 8, "max_tokens": 500, "logprobs": True, "top_logprobs": 20}
        stuck.sendall(raw_request(CHAT, json.dumps(body).encode()))
        until(lambda: metric(url, 'fridge_request_success_total{finished_reason="gone"}') == 1)
        assert b"[DONE]" not in everything(stuck)
        assert ask(url, chat()).status_code == 200


@pytest.mark.parametrize(
    ("limits", "sent", "answer"),
    [
        (api.Limits(head_seconds=0.2), b"", b""),
        (api.Limits(head_seconds=0.2), b"POST /v1/completions HTTP/1.1\r\nHost: local", b""),
        (api.Limits(body_seconds=0.2), raw_request(CHAT, b"{", "Content-Length: 100"), b"408"),
    ],
)
def test_half_a_request_ends_by_itself(limits, sent, answer):
    """Guards against sockets that stay for ever: nothing sent, half a head, half a body. Others are served."""
    with served(limits=limits) as url, socket.create_connection(place(url), timeout=120) as half:
        half.sendall(sent)
        until(lambda: is_served(url))
        told = everything(half)
        assert answer in told.split(b"\r\n")[0]
        assert bool(answer) == bool(told)


def test_a_reply_takes_only_so_long():
    """Guards against a request that holds its blocks for ever: 504, or an error as the last event."""
    engine = tiny_engine(GatedEngine)
    with served(engine, limits=api.Limits(seconds=0.3)) as url:
        late = ask(url, LONG)
        assert (late.status_code, late.json()["error"]["type"]) == (504, "server_error")
        engine.allow()
        last = ask(url, LONG | {"stream": True}).text.strip().splitlines()[-1]
        assert "0.3 seconds" in json.loads(last.removeprefix("data: "))["error"]["message"]
        until(lambda: engine.allow() or not engine.busy)


# Lying.


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (b'{"model": NaN}', None),
        (b"[" * 200_000, None),
        (b'{"model": "tiny"}', "messages"),
        (b'{"model": 7, "messages": []}', "model"),
        (b'{"model": "tiny", "messages": "hello"}', "messages"),
        (b'{"model": "tiny", "messages": [7]}', "messages[0].role"),
        (b'{"model": "tiny", "messages": [{"role": ["user"], "content": "x"}]}', "messages[0].role"),
        (b'{"model": "tiny", "messages": [{"role": "user"}]}', "messages[0].content"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud83d"}]}', "messages[0].content"),
        (
            b'{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
            "messages[0].content",
        ),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text"}]}]}', "messages[0].content"),
    ],
)
def test_a_malformed_chat_is_told_what_is_wrong(url, body, parameter):
    """Guards against a 500, or a closed connection, for whatever somebody may send."""
    answer = httpx.post(f"{url}{CHAT}", content=body, timeout=120)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, parameter), error
    assert len(error["message"]) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", "many"),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("max_tokens", -1),
        ("max_tokens", 10**30),
        ("max_completion_tokens", 100_000),
        ("temperature", "hot"),
        ("temperature", 10**400),
        ("top_p", 1.01),
        ("top_k", 0.5),
        ("min_p", -0.1),
        ("repetition_penalty", 0),
        ("seed", "x"),
        ("n", 0),
        ("stop", 7),
        ("stop", [7]),
        ("stop", ["x"] * 100),
        ("stop", "x" * 10_000),
        ("stream", "yes"),
        ("stream_options", []),
        ("logprobs", 3),
        ("response_format", {"type": "json_object"}),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
    ],
)
def test_a_wrong_value_names_its_parameter(url, name, value):
    """Guards against values that are taken for others (true for 1), and against those that are quietly left out."""
    answer = ask(url, chat(**{name: value}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name), answer.text


def test_null_and_what_changes_nothing_is_accepted(url):
    """Guards against clients that send every field they know, most of them null or at their defaults."""
    nothing = dict.fromkeys(("stop", "seed", "n", "top_p", "tools", "logit_bias", "user", "stream_options"))
    neutral = {
        "frequency_penalty": 0.0,
        "response_format": {"type": "text"},
        "tool_choice": "none",
        "metadata": {"a": 1},
    }
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    body = chat(messages=[{"role": "user", "content": parts}])
    answers = [ask(url, one).json() for one in (chat(), chat(**nothing), chat(**neutral), body | {"max_tokens": 5.0})]
    assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1


def test_prompts_of_tokens_are_looked_at(url):
    """Guards against a number beyond the vocabulary, which would end the step for everybody."""
    for prompt in ([1, 64], [[1], [-1]], [True], [1.0], [], [[]], "", ["a", 7], {}, ["a"] * 99):
        answer = ask(url, {"model": NAME, "prompt": prompt}, TEXT)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt"), (prompt, answer.text)
    assert ask(url, {"model": NAME, "prompt": [1, 63]}, TEXT).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_told_so(announced):
    """Guards against memory for whatever somebody sends, with its length announced or in chunks."""
    with served(limits=api.Limits(body=10_000)) as url:
        large = json.dumps(chat(messages=[{"role": "user", "content": "a" * 50_000}])).encode()
        pieces = large if announced else iter([large[:20_000], large[20_000:]])
        answer = httpx.post(f"{url}{CHAT}", content=pieces, timeout=120)
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        assert "10000" in answer.json()["error"]["message"]
        assert ask(url, chat()).status_code == 200


def test_a_body_without_an_end_is_not_read_for_ever():
    """Guards against a sender of gigabytes: the answer comes, and the connection ends, long before they do."""
    with served(limits=api.Limits(body=1000)) as url, socket.create_connection(place(url), timeout=120) as link:
        link.sendall(raw_request(CHAT, b"{", "Content-Length: 100000000"))
        link.sendall(b"a" * 20_000)
        assert b" 413 " in link.recv(65536)


@pytest.mark.parametrize(
    "words", [b"HELLO", b"GET / HTTP/1.1\r\nno colon", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"]
)
def test_what_is_no_http_is_refused(url, words, caplog):
    """Guards against a client of another protocol (TLS, say) that hangs, or harms others."""
    with socket.create_connection(place(url), timeout=120) as link:
        link.sendall(words + b"\r\n\r\n")
        assert everything(link)[:12] in (b"HTTP/1.1 400", b"")
    assert ask(url, chat()).status_code == 200


def test_addresses_that_are_not_there(url):
    """Guards against an error page where a client expects JSON; Ollama's clients get theirs."""
    assert httpx.get(f"{url}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{url}{CHAT}").status_code == 405
    assert isinstance(httpx.get(f"{url}/api/nothing").json()["error"], str)


# Who may ask.


def test_other_sites_pages_may_not_ask(url):
    """Guards against a page in the same machine's browser that uses the server: by Origin, and by a name of its own."""
    host = "{}:{}".format(*place(url))
    for headers in ({"origin": "https://example.com"}, {"origin": "null"}, {"host": f"evil.example:{place(url)[1]}"}):
        assert ask(url, chat(), headers=headers).status_code == 403
    for headers in ({"origin": f"http://{host}"}, {"host": f"localhost:{place(url)[1]}"}, {"host": "LOCALHOST"}):
        assert ask(url, chat(), headers=headers).status_code == 200


def test_a_key_that_clients_have_to_show():
    """Guards against a key that is asked for at one address and not at another."""
    with served(key="sésame") as url:
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "sésame".encode()}):
            for path in ("/v1/models", "/api/tags", "/state"):
                answer = httpx.get(f"{url}{path}", headers=headers)
                assert answer.status_code == 401, path
            assert ask(url, chat(), headers=headers).json()["error"]["type"] == "authentication_error"
        assert [httpx.get(f"{url}{path}").status_code for path in ("/", "/health", "/metrics")] == [200] * 3
        assert ask(url, chat(), headers={"authorization": "Bearer sésame".encode()}).status_code == 200


# Crowding, failing, stopping.


def test_two_hundred_connections_at_once():
    """Guards against a limit that nobody meant, and replies that get lost in a crowd: more than ten times a batch."""
    engine = tiny_engine(max_waiting=None, max_sequences=16)

    async def crowd(url):
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            bodies = [chat(max_tokens=3 + number % 5, stream=number % 2 == 0) for number in range(200)]
            return await asyncio.gather(*(client.post(f"{url}{CHAT}", json=body) for body in bodies))

    with served(engine) as url:
        answers = asyncio.run(crowd(url))
        assert [answer.status_code for answer in answers] == [200] * 200
        for number, answer in enumerate(answers):
            if number % 2 == 0:
                assert answer.text.count('"delta":{"content"') == 3 + number % 5
            else:
                assert answer.json()["usage"]["completion_tokens"] == 3 + number % 5
        assert metric(url, 'fridge_request_success_total{finished_reason="length"}') == 200
        assert metric(url, "fridge_num_requests_running") == 0


class FailingEngine(GatedEngine):
    """A step fails where a test says so."""

    fails = False

    def step(self):
        self._steps.acquire()
        if self.fails:
            self.fails = False
            raise RuntimeError("a step that fails")
        return Engine.step(self)


def test_a_step_that_fails_ends_what_runs_and_not_the_server(caplog):
    """Guards against readers who wait for ever for an engine's thread that has died."""
    engine = tiny_engine(FailingEngine)
    with served(engine) as url, caplog.at_level(logging.ERROR), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ask, url, LONG | {"stream": stream}) for stream in (True, False)]
        until(lambda: engine.allow() or len(engine.sequences) == 2)
        engine.fails = True
        engine.allow()
        streamed, whole = (one.result() for one in both)
        assert "log" in json.loads(streamed.text.strip().splitlines()[-1].removeprefix("data: "))["error"]["message"]
        assert (whole.status_code, whole.json()["error"]["type"]) == (500, "server_error")
        assert "a step that fails" in caplog.text
        engine.open()
        assert ask(url, chat()).status_code == 200


class Stumbling:
    """A learner's detokenizer that can't take a question mark."""

    def __init__(self, vocabulary):
        self._vocabulary = vocabulary

    def push(self, token):
        if self._vocabulary[token] == b" ":
            raise LookupError("a space")
        return self._vocabulary[token].decode(errors="replace")

    def flush(self):
        return ""


def test_a_learners_part_that_raises_ends_its_own_request():
    """Guards against a mistake in a part that takes the whole server with it."""
    parts = api.Parts(detokenizer=Stumbling, error=lambda *_: 1 / 0)
    with served(parts=parts) as url:
        answer = ask(url, LONG)  # it says spaces
        assert (answer.status_code, "text" in answer.json()["error"]["message"]) == (500, True)
        body = {"model": NAME, "prompt": "q", "temperature": 0, "max_tokens": 1}
        assert ask(url, body, TEXT).status_code == 200


def test_a_learners_chunks_that_raise_end_their_stream(caplog):
    """Guards against a stream that is cut without a word, and a log that doesn't say why."""

    def chunks(identity, pieces, finish, usage=None):
        return api.chat_chunks(identity, pieces, finish, usage)[: None if not pieces else 1]  # a piece has none

    with served(parts=api.Parts(chunks=chunks, error=lambda *_: 1 / 0)) as url:
        events = [json.loads(one[6:]) for one in ask(url, chat(stream=True)).text.strip().split("\n\n")]
        assert [one.get("object") for one in events] == ["chat.completion.chunk", None]
        assert "log" in events[-1]["error"]["message"]
    assert "a chunk can't be made" in caplog.text


def test_a_learners_parts_are_the_ones_that_run():
    """Guards against a notebook that shows the library's answers for the learner's own."""

    class Shouting(Stumbling):
        def push(self, token):
            return self._vocabulary[token].decode(errors="replace").upper() or "?"

    def chunks(identity, pieces, finish, usage=None):
        return [chunk | {"by": "me"} for chunk in api.chat_chunks(identity, pieces, finish, usage)]

    body = {"model": NAME, "prompt": "hello", "temperature": 0, "max_tokens": 8}
    with served() as url:
        plain = ask(url, body, TEXT).json()["choices"][0]["text"]
    with served(parts=api.Parts(detokenizer=Shouting, chunks=chunks)) as url:
        assert ask(url, body, TEXT).json()["choices"][0]["text"] == plain.upper() != plain
        events = ask(url, chat(stream=True)).text.split("\n\n")
        assert all(json.loads(one.removeprefix("data: "))["by"] == "me" for one in events[:-2])


@pytest.fixture
def stoppable():
    """An engine, its server in a thread, and its address."""
    engine = tiny_engine(GatedEngine)
    service = Service(engine, TinyLanguage(), NAME)
    listener = listen("127.0.0.1", 0)
    server = Server(service, local=True)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield engine, server, f"http://127.0.0.1:{listener.getsockname()[1]}", thread
    engine.open()
    server.ask_to_stop(0)
    thread.join()
    assert (service.pump.open, service.pump.alive, engine.busy) == (0, False, False)


def test_who_is_being_answered_may_end_when_the_server_stops(stoppable):
    """Guards against a stop that cuts replies short: on SIGTERM the running one ends, a new one gets 503."""
    engine, server, url, thread = stoppable
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, url, chat(stream=True, max_tokens=20))
        until(lambda: engine.busy)
        server.handle_exit(15, None)
        late = ask(url, chat())
        assert (late.status_code, late.json()["error"]["type"], late.headers["retry-after"]) == (
            503,
            "server_error",
            "10",
        )
        assert httpx.get(f"{url}/health").status_code == 503
        engine.open()
        assert "[DONE]" in running.result().text
        thread.join(60)
        assert not thread.is_alive()


def test_a_stop_is_bounded_in_time(stoppable):
    """Guards against a server that waits for a reply without an end: its reader is told, and it stops."""
    engine, server, url, thread = stoppable
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, url, LONG | {"stream": True})
        until(lambda: engine.busy)
        engine.allow(2)
        server.handle_exit(15, None)
        server.handle_exit(15, None)
        until(lambda: engine.allow() or running.done())
        assert "stopping" in running.result().text
        thread.join(60)
        assert not thread.is_alive()


def test_the_state_shows_who_holds_which_blocks():
    """Guards against a block table on the page that isn't the engine's."""
    engine = tiny_engine(GatedEngine)
    with served(engine) as url, closing(connected(url, LONG)):
        until(lambda: engine.busy)
        engine.allow(2)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.get, f"{url}/state", timeout=120)
            until(lambda: engine.allow() or asked.done())
        state = asked.result().json()
        [one] = state["running"]
        assert (state["blocks"], state["free"]) == (256, 256 - len(one["blocks"]))
        assert one["tokens"] > one["prompt"] == 23
        assert (one["number"], state["waiting"], state["model"]) == (0, 0, NAME)
