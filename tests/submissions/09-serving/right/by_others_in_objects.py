"""Written by somebody who had the handout alone: small classes and automata; who has left is cancelled again; texts as UTF-8."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    if not record["finished"]:
        return math.inf, math.inf, [], math.inf
    times = torch.tensor(record["tokens"], dtype=torch.float64)
    waits = times - record["scheduled"]
    gaps = times.diff()
    tpot = ((times[-1] - times[0]) / (len(times) - 1)).item() if len(times) > 1 else None
    return waits[0].item(), tpot, gaps.tolist(), waits[-1].item()


def percentile(values, q):
    if len(values) == 0:
        raise ValueError("percentile needs at least one value")
    ordered = torch.tensor(values, dtype=torch.float64)
    rank = (q * len(values) + 99) // 100
    return ordered.kthvalue(rank).values.item()


def goodput(records, duration, ttft, tpot):
    kept = 0
    for record in records:
        wait, pace, _, _ = latencies(record)
        within = wait <= ttft and (pace is None or pace <= tpot)
        kept += bool(record["finished"] and within)
    return kept / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
from bisect import bisect_right
from itertools import accumulate


def token_probabilities(
    logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0
):
    x = logits.clone().double()
    for token in dict.fromkeys(seen):
        x[token] = x[token] / penalty if x[token] > 0 else x[token] * penalty
    ranked, order = x.sort(descending=True, stable=True)
    if temperature == 0:
        best = order[0].item()
        one_hot = torch.nn.functional.one_hot(torch.tensor(best), len(x))
        return one_hot.to(logits.dtype)
    ranked = ranked.sub(ranked[0].clone()).div(temperature)
    if top_k > 0:
        ranked = ranked[:top_k]
    p = ranked.softmax(-1)
    if top_p < 1:
        total, count = 0.0, 0
        for chance in p.tolist():
            total += chance
            count += 1
            if total >= top_p:
                break
        p = p[:count] / p[:count].sum()
    if min_p:
        p = p[p >= min_p * p[0]]
        p = p / p.sum()
    result = torch.zeros(len(x), dtype=torch.float64)
    result[order[: len(p)]] = p
    return result.to(logits.dtype)


def draw(probabilities, uniform):
    edges = list(accumulate(probabilities.tolist()))
    place = bisect_right(edges, uniform())
    if place == len(edges):  # behind the end of the line: the last that has a stretch
        place = edges.index(edges[-1])
    return place

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
from itertools import product

_EDGES = (b"\x80", b"\x90", b"\xa0", b"\xbf")


def _some_letter_begins_with(end):
    for missing in range(1, 4):
        for rest in product(_EDGES, repeat=missing):
            try:
                if len((end + b"".join(rest)).decode("utf-8")) == 1:
                    return True
            except UnicodeDecodeError:
                pass
    return False


class Detokenizer:
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.kept = bytearray()

    def push(self, token):
        self.kept += self.vocabulary[token]
        where = len(self.kept)
        for start in range(max(0, where - 3), where):
            if self.kept[start] >= 0xC2 and _some_letter_begins_with(bytes(self.kept[start:])):
                where = start
                break
        certain = self.kept[:where].decode("utf-8", "replace")
        del self.kept[:where]
        return certain

    def flush(self):
        return self.kept.decode("utf-8", "replace")

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import deque


class _Node:
    __slots__ = ("children", "fail", "depth", "word")

    def __init__(self, depth):
        self.children = {}
        self.fail = None
        self.depth = depth
        self.word = 0  # the length of the longest stop that ends here


def _automaton(stops):
    root = _Node(0)
    for stop in stops:
        node = root
        for letter in stop:
            node = node.children.setdefault(letter, _Node(node.depth + 1))
        node.word = len(stop)
    queue = deque([root])
    while queue:
        node = queue.popleft()
        for letter, child in node.children.items():
            back = node.fail
            while back is not None and letter not in back.children:
                back = back.fail
            child.fail = root if back is None else back.children[letter]
            child.word = max(child.word, child.fail.word)
            queue.append(child)
    return root


class StopMatcher:
    def __init__(self, stops):
        self._root = self._state = _automaton(stops)
        self._held = ""
        self.stopped = False

    def push(self, text):
        if self.stopped:
            return ""
        state = self._state
        data = self._held + text
        for place, letter in enumerate(text, start=len(self._held) + 1):
            while state is not None and letter not in state.children:
                state = state.fail
            state = self._root if state is None else state.children[letter]
            if state.word:
                self.stopped = True
                self._held = ""
                return data[: place - state.word]
        self._state = state
        cut = len(data) - state.depth
        self._held = data[cut:]
        return data[:cut]

    def flush(self):
        return "" if self.stopped else self._held

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        self.engine, self.text_of = engine, text_of
        self.pipes, self.boxes = {}, {}
        self.handlers = {None: self._goes_on, "length": self._full, "stop": self._stop_token}

    @property
    def open(self):
        return sum(1 for _ in self.boxes)

    def submit(self, stops=(), **wishes):
        pipe = self.text_of(stops)
        number = self.engine.add(**wishes)
        self.pipes[number] = pipe
        self.boxes[number] = []
        return number

    def _goes_on(self, pipe, token):
        text = pipe.push(token)
        return text, "stop" if pipe.stopped else None

    def _full(self, pipe, token):
        text, finish = self._goes_on(pipe, token)
        return (text, finish) if finish else (text + pipe.flush(), "length")

    def _stop_token(self, pipe, token):
        return pipe.flush(), "stop"

    def step(self):
        for number, token, finish in self.engine.step():
            if number not in self.pipes:
                continue
            handler = self.handlers[finish]
            try:
                text, ended = handler(self.pipes[number], token)
            except Exception:
                text, ended = "", "error"
            if text or ended:
                self.boxes[number].append((text, ended))
            if ended:
                self.pipes.pop(number)
                self.engine.cancel(number)

    def read(self, number):
        events = self.boxes[number][:]
        self.boxes[number].clear()
        if number not in self.pipes:
            self.boxes.pop(number)
        return events

    def cancel(self, number):
        if number in self.pipes:
            self.engine.cancel(number)
        self.pipes.pop(number, None)
        self.boxes.pop(number, None)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    def chunk(choices):
        made = {
            "id": identity["id"],
            "object": "chat.completion.chunk",
            "created": identity["created"],
            "model": identity["model"],
            "choices": choices,
        }
        if usage is not None:
            made["usage"] = None
        return made

    def choice(delta, reason=None):
        return {"index": 0, "delta": delta, "finish_reason": reason}

    chunks = [chunk([choice({"role": "assistant", "content": ""})])]
    for piece in pieces:
        chunks.append(chunk([choice({"content": piece})]))
    chunks.append(chunk([choice({}, finish)]))
    if usage is not None:
        prompt, completion = usage
        last = chunk([])
        last["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        chunks.append(last)
    return chunks


def event_stream(chunks):
    lines = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks] + ["[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def error_body(status, message, parameter=None):
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = types.get(status, "invalid_request_error" if status < 500 else "server_error")
    return status, {"error": {"message": message, "type": kind, "param": parameter, "code": None}}

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
from dataclasses import dataclass, field

_END = re.compile(rb"[\r\n]")


@dataclass
class SSEParser:
    pieces: list = field(default_factory=list)
    data: list = field(default_factory=list)
    swallow: bool = False
    at_start: bool = True

    def feed(self, data):
        return list(filter(lambda event: event is not None, map(self._end, self._lines(data))))

    def _lines(self, data):
        cursor = 0
        while cursor < len(data):
            if self.swallow:
                self.swallow = False
                if data[cursor : cursor + 1] == b"\n":
                    cursor += 1
                    continue
            found = _END.search(data, cursor)
            if found is None:
                self.pieces.append(bytes(data[cursor:]))
                return
            self.pieces.append(bytes(data[cursor : found.start()]))
            self.swallow = found.group() == b"\r"
            cursor = found.end()
            whole = b"".join(self.pieces)
            self.pieces.clear()
            yield whole

    def _end(self, line):
        if self.at_start:
            self.at_start = False
            if line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self.data.append(str(value.removeprefix(b" "), "utf-8", "replace"))
            return None
        values, self.data = self.data, []
        return "\n".join(values) if values else None

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    phase, stack = "low", []
    lower, upper = low, high
    passed = 0
    while True:
        if phase == "low":
            if not meets(low):
                return None
            stack.append(low)
            phase = "high"
        elif phase == "high":
            if meets(high):
                stack.append(high)
                phase = "verify"
            else:
                phase = "halve"
        elif phase == "halve":
            if upper - lower <= precision:
                phase = "verify"
                continue
            middle = (lower + upper) / 2
            if meets(middle):
                lower = middle
                stack.append(middle)
            else:
                upper = middle
        else:
            if not stack:
                return None
            if passed == verify:
                return stack[-1]
            if meets(stack[-1]):
                passed += 1
            else:
                stack.pop()
                passed = 0
