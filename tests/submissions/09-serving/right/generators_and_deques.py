"""Generators, deques, comprehensions and small dataclasses."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import namedtuple
from statistics import fmean

Waits = namedtuple("Waits", "ttft tpot itl e2e")


def latencies(record):
    match record:
        case {"finished": False}:
            return Waits(math.inf, math.inf, [], math.inf)
        case {"scheduled": due, "tokens": [first, *rest]}:
            itl = [b - a for a, b in zip([first, *rest], rest)]
            return Waits(first - due, fmean(itl) if itl else None, itl, ([first, *rest][-1]) - due)


def percentile(values, q):
    ordered = sorted(values)
    if not ordered:
        raise ValueError(q)
    return next(v for rank, v in enumerate(ordered, 1) if 100 * rank >= q * len(ordered))


def goodput(records, duration, ttft, tpot):
    def good(record):
        waits = latencies(record)
        return waits.ttft <= ttft and (waits.tpot is None or waits.tpot <= tpot + 1e-9)

    return sum(map(good, records)) / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
from itertools import accumulate, takewhile


def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    seen = frozenset(seen)
    scores = {
        token: (score / penalty if score > 0 else score * penalty) if token in seen else score
        for token, score in enumerate(map(float, logits))
    }
    ranked = sorted(scores, key=scores.get, reverse=True)
    if temperature == 0:
        return torch.tensor([float(token == ranked[0]) for token in scores])
    ranked = ranked[: top_k or None]
    share = torch.tensor([scores[token] for token in ranked], dtype=torch.float64)
    share = ((share - share[0]) / temperature).softmax(0).tolist()
    if top_p < 1:
        sums = accumulate(share[:-1])
        count = 1 + sum(1 for _ in takewhile(lambda total: total < top_p, sums))
        share = share[:count]
    share = [part if part >= min_p * share[0] else 0.0 for part in share]
    whole = math.fsum(share)
    chances = dict(zip(ranked, share))
    return tuple(chances.get(token, 0.0) / whole for token in scores)


def draw(probabilities, uniform):
    possible = [(token, p) for token, p in enumerate(probabilities.tolist()) if p > 0]
    number = uniform()
    sums = accumulate(p for _, p in reversed(possible))
    return next((token for (token, _), total in zip(reversed(possible), sums) if number < total), possible[0][0])

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    """A generator that goes on where it was."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.machine = self.read()
        next(self.machine)

    def read(self):
        open_ones, told = b"", ""
        while True:
            data = yield told
            if data is None:
                yield open_ones.decode(errors="replace")
                return
            data = open_ones + data
            keep = next((n for n in (3, 2, 1) if len(data) >= n and self.begins(data[-n:])), 0)
            told, open_ones = data[: len(data) - keep].decode(errors="replace"), data[len(data) - keep :]

    @staticmethod
    def begins(tail):
        size = 2 if 0xC2 <= tail[0] <= 0xDF else 3 if 0xE0 <= tail[0] <= 0xEF else 4 if 0xF0 <= tail[0] <= 0xF4 else 0
        if len(tail) >= size:
            return False
        ranges = {0xE0: range(0xA0, 0xC0), 0xED: range(0x80, 0xA0), 0xF0: range(0x90, 0xC0), 0xF4: range(0x80, 0x90)}
        second = ranges.get(tail[0], range(0x80, 0xC0))
        return all(b in second for b in tail[1:2]) and all(b in range(0x80, 0xC0) for b in tail[2:])

    def push(self, token):
        return self.machine.send(self.vocabulary[token])

    def flush(self):
        return self.machine.send(None)

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    """Knows of each stop string how much of it has come (Knuth, Morris and Pratt)."""

    def __init__(self, stops):
        self.stops = [(stop, self.table(stop)) for stop in stops]
        self.matched = [0] * len(self.stops)
        self.held = ""
        self.stopped = False

    @staticmethod
    def table(stop):
        back, table = 0, [0] * len(stop)
        for i in range(1, len(stop)):
            while back and stop[i] != stop[back]:
                back = table[back - 1]
            back += stop[i] == stop[back]
            table[i] = back
        return table

    def push(self, text):
        shown = []
        for letter in text:
            if self.stopped:
                break
            self.held += letter
            for i, (stop, table) in enumerate(self.stops):
                n = self.matched[i]
                while n and stop[n] != letter:
                    n = table[n - 1]
                self.matched[i] = n + (stop[n] == letter)
            complete = [n for n, (stop, _) in zip(self.matched, self.stops) if n == len(stop)]
            keep = max(complete or self.matched, default=0)
            shown.append(self.held[: len(self.held) - keep])
            self.held = "" if complete else self.held[len(self.held) - keep :]
            self.stopped = bool(complete)
        return "".join(shown)

    def flush(self):
        return self.held

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Seat:
    pipe: object
    box: deque = field(default_factory=deque)
    ended: bool = False


class Dispatcher:
    def __init__(self, engine, text_of):
        self.engine, self.text_of, self.seats = engine, text_of, {}

    open = property(lambda self: len(self.seats))

    def submit(self, stops=(), **wishes):
        seat = Seat(self.text_of(stops))
        number = self.engine.add(**wishes)
        self.seats[number] = seat
        return number

    def step(self):
        for number, token, finish in list(self.engine.step()):
            seat = self.seats.get(number)
            if seat and not seat.ended:
                pieces = self.pieces(seat.pipe, token, finish)
                try:
                    *texts, ended = pieces
                except Exception:
                    texts, ended = [], "error"
                text = "".join(texts)
                seat.ended = bool(ended)
                if ended and not finish:
                    self.engine.cancel(number)
                if text or ended:
                    seat.box.append((text, ended))

    def pieces(self, pipe, token, finish):
        if finish != "stop":
            yield pipe.push(token)
            if pipe.stopped:
                yield "stop"
                return
        if finish:
            yield pipe.flush()
        yield finish

    def read(self, number):
        seat = self.seats[number]
        events = [seat.box.popleft() for _ in range(len(seat.box))]
        if seat.ended:
            self.seats.pop(number)
        return events

    def cancel(self, number):
        seat = self.seats.pop(number, None)
        if seat and not seat.ended:
            self.engine.cancel(number)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    def all_choices():
        yield {"delta": {"role": "assistant", "content": ""}}
        yield from ({"delta": {"content": piece}} for piece in pieces)
        yield {"delta": {}, "finish_reason": finish}

    base = identity | {"object": "chat.completion.chunk"} | ({} if usage is None else {"usage": None})
    chunks = [base | {"choices": [{"index": 0, "finish_reason": None} | one]} for one in all_choices()]
    if usage is not None:
        numbers = zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*usage, sum(usage)))
        chunks.append(base | {"choices": [], "usage": dict(numbers)})
    return tuple(chunks)


def event_stream(chunks):
    def events():
        yield from map(json.dumps, chunks)
        yield "[DONE]"

    return b"".join(b"data: %b\n\n" % event.encode() for event in events())


def error_body(status, message, parameter=None):
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status) or ("server_error" if status // 100 == 5 else "invalid_request_error")
    return status, {"error": {"message": message, "type": kind, "param": parameter, "code": None}}

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    """Letters come from a decoder that goes on; a generator makes lines of them, another one events."""

    def __init__(self):
        import codecs

        self.decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self.line, self.data, self.after_return = [], [], False

    def lines(self, text):
        for letter in text:
            if letter == "\n" and self.after_return:
                self.after_return = False
                continue
            self.after_return = letter == "\r"
            if letter in "\r\n":
                yield "".join(self.line)
                self.line = []
            else:
                self.line.append(letter)

    def feed(self, data):
        return [event for line in self.lines(self.decoder.decode(data)) for event in self.take(line)]

    def take(self, line):
        if not line:
            done, self.data = self.data, []
            return ["\n".join(done)] if done else []
        name, _, value = line.partition(":")
        if name == "data":
            self.data.append(value.removeprefix(" "))
        return []

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    def search():
        if not meets(low):
            return
        yield low
        if meets(high):
            yield high
            return
        good, bad = low, high
        while bad - good > precision:
            middle = (good + bad) / 2
            if meets(middle):
                good = middle
                yield middle
            else:
                bad = middle

    candidates = sorted(search(), reverse=True)
    return next((rate for rate in candidates if all(meets(rate) for _ in range(verify))), None)
