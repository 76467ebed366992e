"""Tensors throughout, an automaton for the stop strings, a pipe's call in a helper that never raises."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    inf = torch.tensor(math.inf, dtype=torch.float64)
    if not record["finished"]:
        return inf, inf, torch.zeros(0), inf
    times = torch.tensor(record["tokens"], dtype=torch.float64)
    itl = times.diff()
    return times[0] - record["scheduled"], itl.mean() if len(itl) else None, itl, times[-1] - record["scheduled"]


def percentile(values, q):
    if not len(values):
        raise ValueError("no values")
    ordered, _ = torch.tensor(values, dtype=torch.float64).sort()
    return float(ordered[(q * len(ordered) + 99) // 100 - 1])


def goodput(records, duration, ttft, tpot):
    if not records:
        return torch.tensor(0.0)
    rows = []
    for record in records:
        first, each, *_ = latencies(record)
        rows.append([float(first), 0.0 if each is None else float(each)])
    table = torch.tensor(rows, dtype=torch.float64)
    return (table <= torch.tensor([ttft, tpot], dtype=torch.float64)).all(1).sum() / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    x = logits.to(torch.float64)
    mask = torch.zeros(len(x), dtype=torch.bool)
    mask[list(seen)] = True
    x = torch.where(mask, torch.where(x > 0, x / penalty, x * penalty), x)
    if temperature == 0:
        out = torch.zeros_like(x)
        out[x.argmax()] = 1.0
        return out
    x = (x - x.max()) / temperature
    order = torch.argsort(x, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    if top_k:
        x = x.masked_fill(rank >= top_k, -math.inf)
    p = torch.softmax(x, 0)
    if top_p < 1.0:
        ranked = p[order]
        before = torch.cat([torch.zeros(1, dtype=p.dtype), ranked.cumsum(0)[:-1]])
        drop = before >= top_p
        drop[0] = False
        p = p.masked_fill(drop[rank], 0.0)
    p = p.masked_fill(p < min_p * p.max(), 0.0)
    return p / p.sum()


def draw(probabilities, uniform):
    possible = probabilities.nonzero().squeeze(1)
    ends = probabilities[possible].cumsum(0)
    number = torch.tensor(uniform(), dtype=torch.float64)
    place = (number >= ends).sum().clamp(max=len(possible) - 1)
    return possible[place]

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    """Decodes what is open with the new bytes, and looks where the decoder stumbled."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.open = b""

    def push(self, token):
        data, text = self.open + self.vocabulary[token], []
        self.open = b""
        while data:
            try:
                text.append(data.decode("utf-8"))
                break
            except UnicodeDecodeError as error:
                text.append(data[: error.start].decode("utf-8"))
                if error.reason == "unexpected end of data":
                    self.open = data[error.start :]
                    break
                text.append("\N{REPLACEMENT CHARACTER}")
                data = data[error.end :]
        return "".join(text)

    def flush(self):
        return "\N{REPLACEMENT CHARACTER}" if self.open else ""

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    """Aho and Corasick's automaton: a state is the longest end that some stop string begins with."""

    def __init__(self, stops):
        self.states = {stop[:n] for stop in stops for n in range(len(stop) + 1)} | {""}
        self.complete = set(stops)
        self.state = ""
        self.stopped = False

    def push(self, text):
        shown = ""
        if not self.stopped:
            for letter in text:
                end = self.state + letter
                state = end
                ended = []
                while True:
                    if state in self.complete:
                        ended.append(state)
                    if not state:
                        break
                    state = state[1:]
                if ended:
                    self.stopped = True
                    self.state = ""
                    return shown + end[: len(end) - len(ended[0])]
                state = end
                while state not in self.states:
                    state = state[1:]
                shown += end[: len(end) - len(state)]
                self.state = state
        return shown

    def flush(self):
        return "" if self.stopped else self.state

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        self._engine = engine
        self._text_of = text_of
        self._running = {}
        self._boxes = {}

    def __getattr__(self, name):
        if name == "open":
            return len(self._boxes)
        raise AttributeError(name)

    def submit(self, stops=(), **wishes):
        pipe = self._text_of(stops)
        number = self._engine.add(**wishes)
        self._running[number] = pipe
        self._boxes[number] = []
        return number

    @staticmethod
    def _safely(pipe, token, finish):
        try:
            if finish == "stop":
                return pipe.flush(), finish
            text = pipe.push(token)
            if pipe.stopped:
                return text, "stop"
            if finish == "length":
                text += pipe.flush()
            return text, finish
        except Exception:
            return "", "error"

    def step(self):
        for number, token, finish in self._engine.step():
            if number in self._running:
                event = self._safely(self._running[number], token, finish)
                if event[1] is not None:
                    self._running.pop(number)
                    self._engine.cancel(number)
                if any(event):
                    self._boxes[number].append(list(event))

    def read(self, number):
        events = self._boxes.pop(number)
        if number in self._running:
            self._boxes[number] = []
        return events

    def cancel(self, number):
        if number in self._running:
            del self._running[number]
            self._engine.cancel(number)
        if number in self._boxes:
            del self._boxes[number]

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
from copy import deepcopy


def chat_chunks(identity, pieces, finish, usage=None):
    template = {"object": "chat.completion.chunk", "service_tier": "default", **identity}
    template["choices"] = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]
    if usage:
        template["usage"] = None
    first = deepcopy(template)
    first["choices"][0]["delta"] = {"role": "assistant", "content": ""}
    middle = []
    for piece in pieces:
        one = deepcopy(template)
        one["choices"][0]["delta"]["content"] = piece
        middle.append(one)
    last = deepcopy(template)
    last["choices"][0]["finish_reason"] = finish
    chunks = [first, *middle, last]
    if usage:
        counts = deepcopy(template)
        counts["choices"] = []
        prompt, completion = usage
        counts["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        chunks.append(counts)
    return chunks


def event_stream(chunks):
    stream = b""
    for chunk in chunks:
        stream += b"event: message\ndata: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
    return stream + b"data: [DONE]\n\n"


def error_body(status, message, parameter=None):
    match status:
        case 401:
            kind = "authentication_error"
        case 403:
            kind = "permission_error"
        case 429:
            kind = "rate_limit_error"
        case _ if status < 500:
            kind = "invalid_request_error"
        case _:
            kind = "server_error"
    return status, {"error": {"message": message, "type": kind, "param": parameter, "code": None}}

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    def __init__(self):
        self.buffer = b""
        self.data = []
        self.skip_newline = False
        self.at_start = True

    def feed(self, data):
        if self.skip_newline and data:
            self.skip_newline = False
            data = data.removeprefix(b"\n")
        self.skip_newline = self.skip_newline or data.endswith(b"\r")
        *lines, self.buffer = re.split(rb"\r\n?|\n", self.buffer + data)
        events = []
        for line in lines:
            if self.at_start:
                self.at_start = False
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line and self.data:
                events.append("\n".join(self.data))
                self.data = []
            elif found := re.fullmatch(rb"data(?:: ?(.*))?", line, re.DOTALL):
                self.data.append((found[1] or b"").decode("utf-8", errors="replace"))
        return events

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    met, missed = [], []

    def run(rate):
        (met if meets(rate) else missed).append(rate)

    for rate in (low, high):
        if not missed:
            run(rate)
    while met and missed and min(missed) - max(met) > precision:
        run((min(missed) + max(met)) / 2)
    while met:
        best = max(met)
        met.remove(best)
        left = verify
        while left and meets(best):
            left -= 1
        if not left:
            return best
    return None
