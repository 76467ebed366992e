"""Written by somebody who had the handout alone: coroutines, decoders, sets of positions; event streams with \\r\\n."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    if not record["finished"]:
        return math.inf, math.inf, [], math.inf
    t0, times = record["scheduled"], record["tokens"]
    itl = [b - a for a, b in pairwise(times)]
    tpot = (times[-1] - times[0]) / len(itl) if itl else None
    return times[0] - t0, tpot, itl, times[-1] - t0


def percentile(values, q):
    if not len(values):
        raise ValueError("no values")
    return sorted(values)[-(-q * len(values) // 100) - 1]


def goodput(records, duration, ttft, tpot):
    waits = [latencies(record) for record in records]
    return sum(w[0] <= ttft and (w[1] is None or w[1] <= tpot) for w in waits) / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def token_probabilities(
    logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0
):
    scores = np.array(logits.detach().cpu().double().numpy(), dtype=np.float64)
    size = scores.shape[0]
    stood = np.zeros(size, dtype=bool)
    stood[list(seen)] = True
    scores[stood & (scores > 0)] /= penalty
    scores[stood & (scores < 0)] *= penalty
    order = np.lexsort((np.arange(size), -scores))
    result = np.zeros(size)
    if temperature == 0:
        result[order[0]] = 1.0
        return result

    ranked = (scores[order] - scores[order[0]]) / temperature
    if 0 < top_k < size:
        ranked[top_k:] = -np.inf
    p = np.exp(ranked)
    p /= p.sum()
    if top_p < 1.0:
        enough = np.flatnonzero(np.cumsum(p) >= top_p)
        count = enough[0] + 1 if enough.size else size
        p[count:] = 0.0
        p /= p.sum()
    p[p < min_p * p[0]] = 0.0
    result[order] = p / p.sum()
    return result


def draw(probabilities, uniform):
    p = np.asarray(probabilities)
    (alive,) = np.nonzero(p > 0)
    where = np.searchsorted(np.cumsum(p[alive]), uniform(), side="right")
    return int(alive[min(where, alive.size - 1)])

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _beginnings():
    """All proper beginnings of letters, made from the letters themselves."""
    found = set()
    for point in range(0x80, 0x110000, 64):
        if 0xD800 <= point < 0xE000:
            continue
        letter = chr(point).encode()
        for length in range(1, len(letter)):
            found.add(letter[:length])
    return frozenset(found)


_BEGINNINGS = _beginnings()


def _decoding():
    data, text = b"", ""
    while True:
        more = yield text
        if more is None:
            yield data.decode(errors="replace")
            return
        data += more
        waits = next((n for n in (3, 2, 1) if data[-n:] in _BEGINNINGS and len(data) >= n), 0)
        split = len(data) - waits
        text = data[:split].decode(errors="replace")
        data = data[split:]


class Detokenizer:
    def __init__(self, vocabulary):
        self._bytes_of = vocabulary.__getitem__
        self._coroutine = _decoding()
        next(self._coroutine)

    def push(self, token):
        return self._coroutine.send(self._bytes_of(token))

    def flush(self):
        return self._coroutine.send(None)

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    def __init__(self, stops):
        self.stops = list(dict.fromkeys(stops))
        self.open = [[] for _ in self.stops]  # descending lengths of beginnings that the text ends with
        self.held = []
        self.stopped = False

    def push(self, text):
        out = []
        for letter in text:
            if self.stopped:
                break
            self.held.append(letter)
            complete = 0
            for stop, lengths in zip(self.stops, self.open):
                grown = [n + 1 for n in (*lengths, 0) if stop[n] == letter]
                if grown and grown[0] == len(stop):
                    complete = max(complete, len(stop))
                    grown = grown[1:]
                lengths[:] = grown
            if complete:
                self.stopped = True
                out += self.held[:-complete]
                self.held = []
            else:
                waiting = max((lengths[0] for lengths in self.open if lengths), default=0)
                free = len(self.held) - waiting
                out += self.held[:free]
                del self.held[:free]
        return "".join(out)

    def flush(self):
        rest = "".join(self.held)
        self.held.clear()
        return rest

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
def _events(pipe):
    """Is sent (token, finish), yields an event or None; the last one has a finish."""
    event = None
    while True:
        token, finish = yield event
        try:
            if finish == "stop":
                event = (pipe.flush(), "stop")
            else:
                text = pipe.push(token)
                if pipe.stopped:
                    event = (text, "stop")
                elif finish == "length":
                    event = (text + pipe.flush(), "length")
                else:
                    event = (text, None) if text else None
        except Exception:
            event = ("", "error")


class Dispatcher:
    def __init__(self, engine, text_of):
        self._engine = engine
        self._text_of = text_of
        self._running = {}
        self._boxes = {}

    open = property(lambda self: len(self._boxes))

    def submit(self, stops=(), **wishes):
        reader = _events(self._text_of(stops))
        next(reader)
        number = self._engine.add(**wishes)
        self._running[number] = reader
        self._boxes[number] = []
        return number

    def step(self):
        for number, token, finish in self._engine.step():
            reader = self._running.get(number)
            event = reader and reader.send((token, finish))
            if not event:
                continue
            self._boxes[number].append(event)
            if event[1]:
                self._running.pop(number).close()
                if not finish:
                    self._engine.cancel(number)

    def read(self, number):
        if number not in self._boxes:
            raise KeyError(number)
        events = self._boxes.pop(number)
        if number in self._running:
            self._boxes[number] = []
        return events

    def cancel(self, number):
        reader = self._running.pop(number, None)
        self._boxes.pop(number, None)
        if reader is not None:
            reader.close()
            self._engine.cancel(number)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
import io


def _deltas(pieces):
    yield {"role": "assistant", "content": ""}
    for piece in pieces:
        yield {"content": piece}


def _chunks(identity, pieces, finish, usage):
    def base():
        chunk = dict(identity)
        chunk["object"] = "chat.completion.chunk"
        if usage is not None:
            chunk["usage"] = None
        return chunk

    for delta in _deltas(pieces):
        yield base() | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield base() | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    if usage is not None:
        sent, made = usage
        numbers = {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}
        yield base() | {"choices": [], "usage": numbers}


def chat_chunks(identity, pieces, finish, usage=None):
    return list(_chunks(identity, pieces, finish, usage))


def event_stream(chunks):
    wire = io.BytesIO()
    for data in (*map(json.dumps, chunks), "[DONE]"):
        wire.write(f"data: {data}\r\n\r\n".encode())
    return wire.getvalue()


def error_body(status, message, parameter=None):
    if status >= 500:
        kind = "server_error"
    elif status == 429:
        kind = "rate_limit_error"
    elif status == 403:
        kind = "permission_error"
    elif status == 401:
        kind = "authentication_error"
    else:
        kind = "invalid_request_error"
    body = {"error": {}}
    body["error"]["message"] = message
    body["error"]["type"] = kind
    body["error"]["param"] = parameter
    body["error"]["code"] = None
    return (status, body)

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
import codecs

_LINE_END = re.compile(r"\r\n|\r|\n")


class SSEParser:
    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._parts = []  # of the line that isn't complete
        self._skip = False
        self._fields = []

    def feed(self, data):
        text = self._decoder.decode(bytes(data))
        if not text:
            return []
        if self._skip and text[0] == "\n":
            text = text[1:]
        self._skip = text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        events = []
        for line in lines:
            line = "".join([*self._parts, line])
            self._parts = []
            if line:
                self._field(line)
            elif self._fields:
                events.append("\n".join(self._fields))
                self._fields = []
        if rest:
            self._parts.append(rest)
        return events

    def _field(self, line):
        name, _, value = line.partition(":")
        if name == "data":
            self._fields.append(value[1:] if value.startswith(" ") else value)

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque
from itertools import repeat, takewhile


def largest_rate(meets, low, high, precision, verify=5):
    met = deque()

    def attempt(rate):
        if meets(rate):
            met.appendleft(rate)
            return True
        return False

    if attempt(low) and not attempt(high):
        miss = high
        while miss - met[0] > precision:
            middle = (met[0] + miss) / 2
            if middle == met[0] or middle == miss:
                break
            if not attempt(middle):
                miss = middle
    while met:
        candidate = met.popleft()
        successes = sum(1 for _ in takewhile(bool, map(meets, repeat(candidate, verify))))
        if successes == verify:
            return candidate
    return None
