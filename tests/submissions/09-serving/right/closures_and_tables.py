"""Functions in functions, tables in place of branches, state in as few places as possible."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
from itertools import pairwise


def latencies(record):
    waited = lambda moment: moment - record["scheduled"]
    if not (record["finished"] and record["tokens"]):
        return math.inf, math.inf, [], math.inf
    gaps = tuple(later - earlier for earlier, later in pairwise(record["tokens"]))
    mean = sum(gaps) / len(gaps) if gaps else None
    return waited(min(record["tokens"])), mean, gaps, waited(max(record["tokens"]))


def percentile(values, q):
    try:
        return sorted(values)[math.ceil(q * len(values) / 100) - 1]
    except IndexError:
        raise ValueError("a percentile of nothing") from None


def goodput(records, duration, ttft, tpot):
    within = lambda first, each, *_: first <= ttft and (each or 0.0) <= tpot + 1e-12
    return len([1 for record in records if within(*latencies(record))]) / float(duration)

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    def penalised(x):
        for token in {int(t) for t in seen}:
            x[token] *= 1 / penalty if x[token] > 0 else penalty
        return x

    def greedy(x):
        return torch.eye(len(x), dtype=torch.float64)[int(x.argmax())]

    def top_k_of(x):
        if not 0 < top_k < len(x):
            return x
        kept = sorted(range(len(x)), key=lambda token: (-float(x[token]), token))[:top_k]
        out = torch.full_like(x, -math.inf)
        out[kept] = x[kept]
        return out

    def nucleus(p):
        if top_p >= 1:
            return p
        out, total = torch.zeros_like(p), 0.0
        for token in sorted(range(len(p)), key=lambda token: (-float(p[token]), token)):
            out[token] = p[token]
            total += float(p[token])
            if total >= top_p:
                break
        return out

    def above(p):
        return p * (p >= min_p * p.max())

    x = penalised(logits.clone().double())
    if temperature == 0:
        return greedy(x)
    p = above(nucleus(torch.softmax(top_k_of((x - x.max()) / temperature), -1)))
    return (p / p.sum()).numpy()


def draw(probabilities, uniform):
    left = uniform()
    chosen = None
    for token, p in sorted(enumerate(probabilities.tolist()), key=lambda pair: -pair[1]):
        if p > 0:
            chosen = token if chosen is None else chosen
            left -= p
            if left < 0:
                return token
    return chosen

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    def __init__(self, vocabulary):
        self.vocabulary, self.tail = vocabulary, b""
        self.flush = lambda: self.tail.decode("utf-8", "replace")

    def push(self, token):
        data = self.tail + bytes(self.vocabulary[token])
        keep = max((n for n in range(min(3, len(data)) + 1) if self.open(data[len(data) - n :])), default=0)
        self.tail = data[len(data) - keep :]
        return data[: len(data) - keep].decode("utf-8", "replace")

    @staticmethod
    def open(tail):
        """Some letter begins with it: try to complete it with every kind of byte."""
        if not tail or tail[0] < 0xC2:
            return False

        def completes(data):
            try:
                return len(data.decode("utf-8")) == 1
            except UnicodeDecodeError:
                return False

        ends = [bytes(end) for n in (1, 2, 3) for end in ([a, *[0x80] * (n - 1)] for a in (0x80, 0x90, 0xA0, 0xBF))]
        return any(completes(tail + end) for end in ends)

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    def __init__(self, stops):
        self.heads = {stop[:n]: stop[:n] == stop for stop in stops for n in range(1, len(stop) + 1)}
        for stop in stops:
            self.heads[stop] = True
        self.whole = [stop for stop in stops]
        self.waiting = []
        self.stopped = False

    def push(self, text):
        out = []
        for letter in text:
            if self.stopped:
                return "".join(out)
            self.waiting.append(letter)
            ends = ["".join(self.waiting[n:]) for n in range(len(self.waiting))]
            stop = next((end for end in ends if end in self.whole), None)
            if stop:
                out += self.waiting[: len(self.waiting) - len(stop)]
                self.waiting, self.stopped = [], True
            else:
                keep = next((len(end) for end in ends if end in self.heads), 0)
                out += self.waiting[: len(self.waiting) - keep]
                self.waiting = self.waiting[len(self.waiting) - keep :]
        return "".join(out)

    def flush(self):
        return "".join(self.waiting)

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        known, over = {}, set()  # number -> (pipe, box); numbers whose reply is complete
        self.known = known

        def submit(stops=(), **wishes):
            pipe = text_of(stops)
            number = engine.add(**wishes)
            known[number] = (pipe, [])
            return number

        def on_stop(pipe, token):
            return pipe.flush(), "stop"

        def on_length(pipe, token):
            text = pipe.push(token)
            return (text, "stop") if pipe.stopped else (text + pipe.flush(), "length")

        def on_token(pipe, token):
            text = pipe.push(token)
            return text, "stop" if pipe.stopped else None

        table = {None: on_token, "length": on_length, "stop": on_stop}

        def step():
            for number, token, finish in engine.step():
                if number not in known or number in over:
                    continue
                pipe, box = known[number]
                try:
                    text, ending = table[finish](pipe, token)
                except Exception as error:
                    text, ending = "", "error"
                if ending:
                    over.add(number)
                    if finish is None:
                        engine.cancel(number)
                if text or ending:
                    box.append((text, ending))

        def read(number):
            _, box = known[number]
            events = box[:]
            del box[:]
            if number in over:
                over.discard(number)
                del known[number]
            return events

        def cancel(number):
            if known.pop(number, None) and number not in over:
                engine.cancel(number)
            over.discard(number)

        self.submit, self.step, self.read, self.cancel = submit, step, read, cancel

    @property
    def open(self):
        return sum(1 for _ in self.known)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    asked = usage is not None
    body = lambda choices, counts=None: dict(
        identity, object="chat.completion.chunk", choices=choices, **({"usage": counts} if asked else {})
    )
    one = lambda delta, reason=None: body([dict(index=0, delta=delta, finish_reason=reason)])
    rows = [one(dict(role="assistant", content=""))]
    for piece in pieces:
        rows = rows + [one(dict(content=piece))]
    rows = rows + [one({}, finish)]
    if asked:
        names = ["prompt_tokens", "completion_tokens", "total_tokens"]
        rows = rows + [body([], dict(zip(names, [usage[0], usage[1], usage[0] + usage[1]])))]
    return rows


def event_stream(chunks):
    import io

    out = io.BytesIO()
    for chunk in chunks:
        for line in json.dumps(chunk, indent=1).splitlines():
            out.write(f"data: {line}\n".encode())
        out.write(b"\n")
    out.write(b": the end\ndata: [DONE]\n\n")
    return out.getvalue()


ERROR_TYPES = [
    (lambda status: status == 401, "authentication_error"),
    (lambda status: status == 403, "permission_error"),
    (lambda status: status == 429, "rate_limit_error"),
    (lambda status: status < 500, "invalid_request_error"),
    (lambda status: True, "server_error"),
]


def error_body(status, message, parameter=None):
    kind = next(name for applies, name in ERROR_TYPES if applies(status))
    return status, dict(error=dict(message=message, type=kind, param=parameter, code=None))

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    """A state for each place in a line."""

    def __init__(self):
        self.name, self.value, self.in_value = bytearray(), bytearray(), False
        self.parts, self.previous, self.lines = [], b"", 0

    def feed(self, data):
        events = []
        for n in range(len(data)):
            byte = data[n : n + 1]
            previous, self.previous = self.previous, byte
            if byte == b"\n" and previous == b"\r":
                continue
            if byte in (b"\r", b"\n"):
                events.extend(self.line())
            elif byte == b":" and not self.in_value:
                self.in_value = True
            else:
                (self.value if self.in_value else self.name).extend(byte)
        return events

    def line(self):
        name, value, colon = bytes(self.name), bytes(self.value), self.in_value
        self.name, self.value, self.in_value = bytearray(), bytearray(), False
        self.lines += 1
        if self.lines == 1:
            name = name.removeprefix(b"\xef\xbb\xbf")
        if name == b"" and not colon:
            parts, self.parts = self.parts, []
            return ["\n".join(parts)] if parts else []
        if name == b"data":
            self.parts.append((value[1:] if value.startswith(b" ") else value).decode(errors="replace"))
        return []

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    def search(good, bad, met):
        if bad - good <= precision:
            return met
        middle = 0.5 * (good + bad)
        return search(middle, bad, [*met, middle]) if meets(middle) else search(good, middle, met)

    def first_that_stands(met):
        if not met:
            return None
        *others, best = met
        return best if all(map(meets, [best] * verify)) else first_that_stands(others)

    if not meets(low):
        return None
    return first_that_stands([low, high] if meets(high) else search(low, high, [low]))
