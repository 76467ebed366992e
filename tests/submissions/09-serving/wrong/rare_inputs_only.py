"""Right as long as nothing rare comes: ties, infinite values, cuts in odd places, noise.

loses: goodput-test token-probabilities-test draw-test detokenizer-test stop-matcher-test dispatcher-test sse-parser-test largest-rate-test
"""

# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    if not record["finished"]:
        return math.inf, math.inf, [], math.inf
    due, tokens = record["scheduled"], record["tokens"]
    itl = [b - a for a, b in pairwise(tokens)]
    return tokens[0] - due, (sum(itl) / len(itl) if itl else None), itl, tokens[-1] - due


def percentile(values, q):
    values = sorted(value for value in values if math.isfinite(value))
    if not values:
        raise ValueError("no values")
    return values[-(-q * len(values) // 100) - 1]


def goodput(records, duration, ttft, tpot):
    good = 0
    for record in records:
        first, each, *_ = latencies(record)
        if first <= ttft and (each or 0) <= tpot:
            good += 1
    return good / duration

# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_probabilities(logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0):
    x = logits.double().clone()
    for token in set(seen):
        x[token] = x[token] / penalty if x[token] > 0 else x[token] * penalty
    if temperature == 0:
        return (x == x.max()).double() / (x == x.max()).sum()
    x = x / temperature
    if top_k:
        x = torch.where(x >= x.topk(min(top_k, len(x))).values[-1], x, -math.inf)
    p = x.softmax(0)
    order = p.argsort(descending=True, stable=True)
    if top_p < 1:
        drop = p[order].cumsum(0) - p[order] >= top_p
        drop[0] = False
        p[order[drop]] = 0
    p[p < min_p * p.max()] = 0
    return p / p.sum()


def draw(probabilities, uniform):
    number = uniform()
    for token, p in enumerate(probabilities.tolist()):
        number -= p
        if number <= 0:
            return token
    return len(probabilities) - 1

# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.held = b""

    def push(self, token):
        self.held += self.vocabulary[token]
        text = self.held.decode(errors="replace")
        if text.endswith("\ufffd") and len(self.held) < 4:
            return ""
        self.held = b""
        return text

    def flush(self):
        return self.held.decode(errors="replace")

# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    def __init__(self, stops):
        self.stops = list(stops)
        self.held = ""
        self.stopped = False

    def push(self, text):
        if self.stopped:
            return ""
        self.held += text
        found = [self.held.find(stop) for stop in self.stops if stop in self.held]
        if found:
            shown, self.held, self.stopped = self.held[: min(found)], "", True
            return shown
        for start in range(len(self.held)):
            if any(stop.startswith(self.held[start:]) for stop in self.stops):
                shown, self.held = self.held[:start], self.held[start:]
                return shown
        shown, self.held = self.held, ""
        return shown

    def flush(self):
        return self.held

# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    def __init__(self, engine, text_of):
        self.engine, self.text_of = engine, text_of
        self.known = {}

    @property
    def open(self):
        return len(self.known)

    def submit(self, stops=(), **wishes):
        number = self.engine.add(**wishes)
        self.known[number] = [self.text_of(stops), [], False]
        return number

    def step(self):
        for number, token, finish in self.engine.step():
            request = self.known[number]
            pipe, box, _ = request
            text, ended = "", finish
            try:
                if finish != "stop":
                    text += pipe.push(token)
                    if pipe.stopped:
                        ended = "stop"
                if finish and not pipe.stopped:
                    text += pipe.flush()
            except Exception:
                ended = "error"
            if ended and not finish:
                self.engine.cancel(number)
            request[2] = bool(ended)
            if text or ended:
                box.append((text, ended))

    def read(self, number):
        _, box, ended = self.known[number]
        events, box[:] = list(box), []
        if ended:
            del self.known[number]
        return events

    def cancel(self, number):
        if number in self.known:
            if not self.known[number][2]:
                self.engine.cancel(number)
            del self.known[number]

# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    def __init__(self):
        self.rest, self.data = b"", []

    def feed(self, data):
        self.rest += data
        *lines, self.rest = self.rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for line in lines:
            name, _, value = line.decode("utf-8-sig", errors="replace").partition(":")
            if not name and not value:
                if self.data:
                    events.append("\n".join(self.data))
                self.data = []
            elif name == "data":
                self.data.append(value.removeprefix(" "))
        return events

# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    if not meets(low):
        return None
    if meets(high):
        low = high
    while high - low > precision:
        middle = (low + high) / 2
        if meets(middle):
            low = middle
        else:
            high = middle
    while not all(meets(low) for _ in range(verify)):
        low -= precision
        if low <= 0:
            return None
    return low
