"""NumPy arrays, Python's own decoder, regular expressions where they fit."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def latencies(record):
    if not record["finished"]:
        return (np.inf, np.inf, np.array([]), np.inf)
    times = np.array(record["tokens"], dtype=np.float64)
    gaps = np.diff(times)
    tpot = gaps.mean() if gaps.size else None
    return times[0] - record["scheduled"], tpot, gaps, times[-1] - record["scheduled"]


def percentile(values, q):
    if len(values) == 0:
        raise ValueError("nothing there")
    ordered = np.sort(np.array(values, dtype=float))
    place = int(np.ceil(np.round(q * len(ordered) / 100, 9)))
    return ordered[place - 1]


def goodput(records, duration, ttft, tpot):
    good = 0
    for record in records:
        first, each, _, _ = latencies(record)
        good += bool(first <= ttft) and bool(each is None or each <= tpot + 1e-12)
    return np.float64(good) / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    scores = np.array(logits, dtype=np.float64)
    if len(seen):
        ids = np.unique(np.array(seen, dtype=np.int64))
        scores[ids] = np.where(scores[ids] > 0, scores[ids] / penalty, scores[ids] * penalty)
    n = len(scores)
    if temperature == 0:
        result = np.zeros(n)
        result[np.argmax(scores)] = 1
        return result
    scores = scores / temperature
    order = np.lexsort((np.arange(n), -scores))
    if 0 < top_k < n:
        order = order[:top_k]
    weights = np.exp(scores[order] - scores[order[0]])
    p = weights / weights.sum()
    if top_p < 1:
        before = np.cumsum(p) - p
        keep = np.nonzero(before < top_p)[0]
        keep = keep if len(keep) else np.array([0])
        order, p = order[: keep[-1] + 1], p[: keep[-1] + 1]
    keep = p >= min_p * p.max()
    order, p = order[keep], p[keep]
    result = np.zeros(n, dtype=np.float32)
    result[order] = p / p.sum()
    return result


def draw(probabilities, uniform):
    p = np.array(probabilities, dtype=np.float64)
    possible = np.flatnonzero(p > 0)
    sums = np.cumsum(p[possible])
    return possible[min(np.searchsorted(sums, uniform() * sums[-1], side="right"), len(possible) - 1)]

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
import codecs


class Detokenizer:
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token):
        return self.decoder.decode(self.vocabulary[token])

    def flush(self):
        return self.decoder.decode(b"", final=True)

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
import re


class StopMatcher:
    def __init__(self, stops):
        self.stops = sorted(set(stops), key=len, reverse=True)
        self.text = ""
        self.stopped = False

    def push(self, text):
        if self.stopped:
            return ""
        self.text += text
        ends = [(self.text.find(stop) + len(stop), -len(stop)) for stop in self.stops if stop in self.text]
        if ends:
            end, length = min(ends)
            shown, self.text, self.stopped = self.text[: end + length], "", True
            return shown
        for place in range(max(0, len(self.text) - max(map(len, self.stops), default=0)), len(self.text)):
            if any(stop.startswith(self.text[place:]) for stop in self.stops):
                shown, self.text = self.text[:place], self.text[place:]
                return shown
        shown, self.text = self.text, ""
        return shown

    def flush(self):
        return self.text

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        self.engine = engine
        self.text_of = text_of
        self.requests = {}

    @property
    def open(self):
        return len(self.requests)

    def submit(self, stops=(), **wishes):
        pipe = self.text_of(stops)
        number = self.engine.add(**wishes)
        self.requests[number] = {"pipe": pipe, "events": [], "done": False}
        return number

    def step(self):
        for triple in self.engine.step():
            self.take(*triple)

    def take(self, number, token, finish):
        request = self.requests.get(number)
        if request is None or request["done"]:
            return
        pipe = request["pipe"]
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
                    event = (text, None)
        except Exception:
            event = ("", "error")
        if event[1] is not None:
            request["done"] = True
            request["pipe"] = None
            if finish is None:
                self.engine.cancel(number)
        if event != ("", None):
            request["events"].append(event)

    def read(self, number):
        request = self.requests[number]
        events = list(request["events"])
        request["events"].clear()
        if request["done"]:
            del self.requests[number]
        return events

    def cancel(self, number):
        if number in self.requests:
            request = self.requests.pop(number)
            if not request["done"]:
                self.engine.cancel(number)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    deltas = [{"role": "assistant", "content": ""}]
    for piece in pieces:
        deltas.append({"content": piece})
    deltas.append({})
    result = []
    for place, delta in enumerate(deltas):
        last = place == len(deltas) - 1
        chunk = dict(identity)
        chunk["object"] = "chat.completion.chunk"
        chunk["system_fingerprint"] = None
        chunk["choices"] = [
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish if last else None}
        ]
        if usage is not None:
            chunk["usage"] = None
        result.append(chunk)
    if usage is not None:
        chunk = dict(identity, object="chat.completion.chunk", choices=[])
        chunk["usage"] = dict(prompt_tokens=usage[0], completion_tokens=usage[1], total_tokens=sum(usage))
        result.append(chunk)
    return result


def event_stream(chunks):
    out = bytearray()
    for chunk in chunks:
        out += b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\r\n\r\n"
    return bytes(out + b"data: [DONE]\r\n\r\n")


def error_body(status, message, parameter=None):
    if status == 401:
        kind = "authentication_error"
    elif status == 403:
        kind = "permission_error"
    elif status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    else:
        kind = "invalid_request_error"
    return [status, {"error": dict(message=message, type=kind, param=parameter, code=None)}]

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    def __init__(self):
        self.line = bytearray()
        self.lines = None
        self.last = None
        self.started = False

    def feed(self, data):
        found = []
        for byte in data:
            if byte == 10 and self.last == 13:
                pass
            elif byte in (10, 13):
                line = bytes(self.line)
                self.line.clear()
                if not self.started and line.startswith(b"\xef\xbb\xbf"):
                    line = line[3:]
                self.started = True
                if line == b"":
                    if self.lines is not None:
                        found.append("\n".join(self.lines))
                    self.lines = None
                else:
                    field, colon, value = line.partition(b":")
                    if field == b"data":
                        if value[:1] == b" ":
                            value = value[1:]
                        self.lines = (self.lines or []) + [value.decode("utf-8", "replace")]
            else:
                self.line.append(byte)
            self.last = byte
        return found

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def largest_rate(meets, low, high, precision, verify=5):
    low, high = np.float64(low), np.float64(high)
    if not meets(low):
        return None
    good = [low]
    if meets(high):
        good += [high]
    else:
        bad = high
        while bad - good[-1] > precision:
            middle = (bad + good[-1]) / 2
            if meets(middle):
                good += [middle]
            else:
                bad = middle
    for rate in reversed(good):
        for _ in range(verify):
            if not meets(rate):
                break
        else:
            return rate
    return None
