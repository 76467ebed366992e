"""Plain loops and counters, nothing that a beginner hasn't met."""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    tokens = record["tokens"]
    if record["finished"] is False:
        return [float("inf"), float("inf"), [], float("inf")]
    ttft = tokens[0] - record["scheduled"]
    e2e = tokens[len(tokens) - 1] - record["scheduled"]
    itl = []
    for i in range(1, len(tokens)):
        itl.append(tokens[i] - tokens[i - 1])
    if len(itl) == 0:
        tpot = None
    else:
        tpot = (e2e - ttft) / len(itl)
    return [ttft, tpot, itl, e2e]


def percentile(values, q):
    if len(values) == 0:
        raise ValueError("empty")
    values = sorted(values)
    for i in range(len(values)):
        if (i + 1) * 100 >= q * len(values):
            return values[i]


def goodput(records, duration, ttft, tpot):
    count = 0
    for record in records:
        if not record["finished"]:
            continue
        tokens = record["tokens"]
        if tokens[0] - record["scheduled"] > ttft:
            continue
        if len(tokens) > 1 and (tokens[-1] - tokens[0]) / (len(tokens) - 1) > tpot:
            continue
        count = count + 1
    return count / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    scores = [float(x) for x in logits]
    done = []
    for token in seen:
        if token not in done:
            done.append(token)
            if scores[token] > 0:
                scores[token] = scores[token] / penalty
            else:
                scores[token] = scores[token] * penalty
    result = [0.0] * len(scores)
    if temperature == 0:
        best = 0
        for i in range(len(scores)):
            if scores[i] > scores[best]:
                best = i
        result[best] = 1.0
        return result
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    if top_k > 0:
        order = order[:top_k]
    top = scores[order[0]]
    weights = [math.exp((scores[i] - top) / temperature) for i in order]
    total = sum(weights)
    weights = [w / total for w in weights]
    if top_p < 1:
        kept, so_far = 0, 0.0
        while kept == 0 or (so_far < top_p and kept < len(weights)):
            so_far += weights[kept]
            kept += 1
        order, weights = order[:kept], weights[:kept]
    survivors = [(i, w) for i, w in zip(order, weights) if w >= min_p * weights[0]]
    total = sum(w for _, w in survivors)
    for i, w in survivors:
        result[i] = w / total
    return result


def draw(probabilities, uniform):
    number = uniform()
    so_far = 0.0
    last = None
    for token in range(len(probabilities)):
        p = float(probabilities[token])
        if p == 0:
            continue
        so_far += p
        last = token
        if number < so_far:
            return token
    return last

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.open = []

    def needed(self, first):
        if 0xC2 <= first <= 0xDF:
            return 2
        if 0xE0 <= first <= 0xEF:
            return 3
        if 0xF0 <= first <= 0xF4:
            return 4
        return 0

    def allowed(self, second):
        first = self.open[0]
        low, high = 0x80, 0xBF
        if first == 0xE0:
            low = 0xA0
        if first == 0xED:
            high = 0x9F
        if first == 0xF0:
            low = 0x90
        if first == 0xF4:
            high = 0x8F
        return low <= second <= high

    def push(self, token):
        text = ""
        for byte in self.vocabulary[token]:
            if self.open:
                fits = self.allowed(byte) if len(self.open) == 1 else 0x80 <= byte <= 0xBF
                if fits:
                    self.open.append(byte)
                    if len(self.open) == self.needed(self.open[0]):
                        text += bytes(self.open).decode("utf-8")
                        self.open = []
                    continue
                text += "\ufffd"
                self.open = []
            if byte < 0x80:
                text += chr(byte)
            elif self.needed(byte):
                self.open = [byte]
            else:
                text += "\ufffd"
        return text

    def flush(self):
        return "\ufffd" if self.open else ""

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    def __init__(self, stops):
        self.stops = stops
        self.buffer = ""
        self.stopped = False

    def push(self, text):
        out = ""
        for letter in text:
            if self.stopped:
                break
            self.buffer = self.buffer + letter
            best = ""
            for stop in self.stops:
                if self.buffer.endswith(stop) and len(stop) > len(best):
                    best = stop
            if best != "":
                out = out + self.buffer[: len(self.buffer) - len(best)]
                self.buffer = ""
                self.stopped = True
            else:
                while self.buffer != "" and not self.may_become():
                    out = out + self.buffer[0]
                    self.buffer = self.buffer[1:]
        return out

    def may_become(self):
        for stop in self.stops:
            if stop[: len(self.buffer)] == self.buffer:
                return True
        return False

    def flush(self):
        rest = self.buffer
        self.buffer = ""
        return rest

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        self.engine = engine
        self.text_of = text_of
        self.pipe_of = {}
        self.box_of = {}
        self.running = set()
        self.open = 0

    def submit(self, stops=(), **wishes):
        pipe = self.text_of(stops)
        number = self.engine.add(**wishes)
        self.pipe_of[number] = pipe
        self.box_of[number] = []
        self.running.add(number)
        self.open += 1
        return number

    def forget(self, number):
        del self.box_of[number]
        self.pipe_of.pop(number, None)
        self.open -= 1

    def step(self):
        for number, token, finish in self.engine.step():
            if number not in self.running:
                continue
            pipe = self.pipe_of[number]
            text = ""
            ending = finish
            try:
                if finish == "stop":
                    text = pipe.flush()
                else:
                    text = pipe.push(token)
                    if pipe.stopped:
                        ending = "stop"
                    elif finish == "length":
                        text = text + pipe.flush()
            except Exception:
                text = ""
                ending = "error"
            if ending is not None:
                self.engine.cancel(number)
                self.running.remove(number)
            if text != "" or ending is not None:
                self.box_of[number].append((text, ending))

    def read(self, number):
        if number not in self.box_of:
            raise KeyError(number)
        events = self.box_of[number]
        self.box_of[number] = []
        if number not in self.running:
            self.forget(number)
        return events

    def cancel(self, number):
        if number not in self.box_of:
            return
        if number in self.running:
            self.engine.cancel(number)
            self.running.remove(number)
        self.forget(number)

# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    chunks = []

    def add(choices, number=None):
        chunk = {"id": identity["id"], "object": "chat.completion.chunk", "created": identity["created"]}
        chunk["model"] = identity["model"]
        chunk["choices"] = choices
        if usage is not None:
            chunk["usage"] = number
        chunks.append(chunk)

    add([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    for piece in pieces:
        add([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
    add([{"index": 0, "delta": {}, "finish_reason": finish}])
    if usage is not None:
        add([], {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": usage[0] + usage[1]})
    return chunks


def event_stream(chunks):
    text = ""
    for chunk in chunks:
        text = text + "data:" + json.dumps(chunk) + "\n\n"
    text = text + "data:[DONE]\n\n"
    return text.encode("utf-8")


def error_body(status, message, parameter=None):
    kind = "invalid_request_error"
    if status == 401:
        kind = "authentication_error"
    if status == 403:
        kind = "permission_error"
    if status == 429:
        kind = "rate_limit_error"
    if 500 <= status:
        kind = "server_error"
    body = {}
    body["error"] = {"code": None, "param": parameter, "type": kind, "message": message}
    return (status, body)

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    def __init__(self):
        self.rest = b""
        self.data = ""
        self.any = False
        self.skip = False
        self.count = 0

    def feed(self, data):
        self.rest = self.rest + data
        events = []
        while True:
            if self.skip and self.rest != b"":
                self.skip = False
                if self.rest[0:1] == b"\n":
                    self.rest = self.rest[1:]
            place = -1
            for i in range(len(self.rest)):
                if self.rest[i] == 10 or self.rest[i] == 13:
                    place = i
                    break
            if place == -1:
                return events
            line = self.rest[:place]
            self.skip = self.rest[place] == 13
            self.rest = self.rest[place + 1 :]
            self.count = self.count + 1
            if self.count == 1 and line[:3] == b"\xef\xbb\xbf":
                line = line[3:]
            if len(line) == 0:
                if self.any:
                    events.append(self.data[:-1])
                self.data = ""
                self.any = False
                continue
            text = line.decode("utf-8", "replace")
            if text == "data":
                self.data = self.data + "\n"
                self.any = True
            elif text.startswith("data:"):
                value = text[5:]
                if value.startswith(" "):
                    value = value[1:]
                self.data = self.data + value + "\n"
                self.any = True

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    runs = []
    if meets(low):
        runs.append(low)
        if meets(high):
            runs.append(high)
        else:
            a = low
            b = high
            while b - a > precision:
                m = a + (b - a) / 2
                if meets(m):
                    a = m
                    runs.append(m)
                else:
                    b = m
    while len(runs) > 0:
        candidate = runs[-1]
        good = True
        for i in range(verify):
            if not meets(candidate):
                good = False
                break
        if good:
            return candidate
        runs = runs[:-1]
    return None
