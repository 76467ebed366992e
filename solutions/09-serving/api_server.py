# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · An API server
#
# A script that runs a model serves one person at a time, and shows the answer when all of it is there. Real users come in
# crowds, when they like, and leave without a word. What stands between them and the engine is a *server*: it lets
# everybody in at once, shows each word when it is there, and says no in words that a program understands.
#
# By the end you have its parts: from logits to a token, from tokens to text that is never taken back, from text to the
# messages that OpenAI's clients read, and the desk in the middle that keeps readers apart. Your parts then serve SmolLM2
# over HTTP. And you measure what "fast" means to a user, as operators do, with the mistake that makes slow servers
# look fast.
#
# | | |
# |---|---|
# | You need | unit 04, or a clear idea of continuous batching; bytes and UTF-8; softmax |
# | Time | about three hours |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 37, in eight exercises |

# %%
import json
import math
import random
import re
import time
from itertools import pairwise

import torch

from fridge import models, pictures
from fridge.notebook import scoreboard
from fridge.serving import virtual
from fridge.workbench import busy

# %% [markdown]
# ## 1 · The pain: the third in the queue
#
# Four people ask something at the same time. Here is a script as everybody writes it first: for each question it runs the
# model until the answer is complete, then it takes the next one. (It runs the course's engine of unit 04, with one place
# in its batch.) Beside it the same engine with room for all four. What does each of them see, and when?


# %% tags=["for-real"]
from fridge.serving.engine import Engine
from fridge.serving.engine.linears import Int8Linear

model = models.load()
tokenizer = models.load_tokenizer()
questions = ["What is a fridge?", "Name three animals.", "Why is the sky blue?", "Say hello."]
asked = [
    tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    for text in questions
]


def first_and_last(places):
    """When each of four askers has the first token, and the last one, in seconds."""
    engine = Engine(model, num_blocks=64, max_sequences=places, make_linear=Int8Linear)
    numbers = [engine.add(prompt, max_new_tokens=16) for prompt in asked]
    times = {number: [] for number in numbers}
    began = time.perf_counter()
    with busy.watched():
        while engine.busy:
            for output in engine.step():
                times[output.request].append(time.perf_counter() - began)
    return [(times[number][0], times[number][-1]) for number in numbers]


script, together = first_and_last(1), first_and_last(4)
print(f"{'':22}a script: whole answer after   a server: first word, and the last")
for text, (_, whole), (first, last) in zip(questions, script, together):
    print(f"{text:22}{whole:18.1f} s{first:24.1f} s{last:12.1f} s")

# %% [markdown]
# The last one waits for three answers that are none of their business, and looks at an empty screen all the time. With the
# server's way everybody reads after a moment, though each answer alone takes longer than it would by itself.
#
# Which of both is faster? It depends on what you count. So first of all: what do you count?
#
# ## 2 · The picture: what stands between a token and a reader

# %% tags=["for-real"]
pictures.server_pipeline()

# %% [markdown]
# *In words: six boxes from left to right. The engine makes logits, and a token is chosen; the detokenizer makes letters of its bytes; text that
# may become a stop string is held back; the dispatcher puts the rest into its reader's own box; chunks carry it over the wire to the reader.
# Below each arrow stands what goes along it in one example: a token's number, text, less text, an event, a line of the stream. A dashed arrow
# leads from the reader back to the engine: who hangs up cancels.*
#
# - **Prefill and first token**: nothing can be shown before the prompt is computed.
# - **A token isn't text.** 🐘 has four bytes, in up to four tokens.
# - **Text isn't yet the reply.** A reply that has to end at `###` must not show `#` before it is clear what follows.
# - **A reply isn't yet a message.** Clients read *server-sent events* (SSE), a format of the web, with JSON in it.
#
# ## 3 · The prediction: what you count
#
# An operator promises numbers, a *service-level objective* (SLO): "the first word within two seconds, and then fifteen words a
# second, for 99 of 100 requests". The numbers, once and for all, in seconds:
#
# - **TTFT**, time to first token: how long the screen stays empty;
# - **ITL**, inter-token latency: from one token to the next, a number for each pair;
# - **TPOT**, time per output token: the mean of these, over one reply;
# - **E2E**, end to end: until the last token.
#
# Count TTFT and E2E from when? From the moment at which the user *wanted* to ask. A *load generator*, the program that plays the
# users, has a schedule: request 17 is due at 3.2 s. If it is busy and sends it at 9.0 s, a real user would have waited
# these 5.8 s as well. Who counts from the sending leaves them out, and leaves out most where the server is slowest. This is
# called *coordinated omission*: the measurement waits politely together with the server. MLPerf, the industry's benchmark, counts from the
# schedule.
#
# ### Exercise 1 · What a user waits for (5 points)
#
# Write the three functions that turn a measurement into numbers that can be promised.
#
# A **percentile** here is one of the values, by *nearest rank*: the smallest value so that at least q percent of all values are
# no larger than it. (There are nine other ways in NumPy. With inf among the values, none of those that interpolate works.)
#
# **Goodput** is what counts in the end: requests a second that were *good*, with TTFT and TPOT both within their limits. What failed or
# hasn't finished isn't good, and takes as much of the time as all others.
#
# In all exercises of this unit: what you are given is of the type that the docstring names, and stays as it was. Where it says that you return a
# list, a tuple, an array or a tensor of the same values is as good; of a number only the value counts.
#
# 2 points are for `latencies`, 3 for the two others.
#
# <details><summary>Hint 1</summary>TPOT: between n tokens lie n - 1 gaps. Their mean is (last - first) / (n - 1).</details>
# <details><summary>Hint 2</summary>Of n sorted values, the one at place ceil(q * n / 100), counted from 1. With whole numbers: -(-q * n // 100).
# </details>
# <details><summary>Hint 3</summary>inf &lt;= limit is False by itself.</details>


# %% nbgrader={"grade": false, "grade_id": "latencies", "locked": false, "schema_version": 3, "solution": true, "task": false}
def latencies(record):
    """What the user of one request waited for, in seconds.

    Args:
        record: a dict. Its times are seconds on one clock, whose 0 may be long ago: in 1970.
            "scheduled": when the request was due.
            "sent": when the load generator sent it, then or later.
            "tokens": a list, when each token of the reply came; in order.
            "finished": True if the reply is complete, and has at least one token. False if it
                failed, or wasn't complete when the measurement ended; it may have tokens.

    Returns:
        (ttft, tpot, itl, e2e). TTFT and E2E count from when the request was due. itl is a
        list, with a number for each token but the first. A reply of one token has no TPOT:
        None, and an empty itl. One that isn't finished: (inf, inf, [], inf).
    """
    ### BEGIN SOLUTION
    due, tokens = record["scheduled"], record["tokens"]
    if not record["finished"]:
        return math.inf, math.inf, [], math.inf
    gaps = [after - before for before, after in pairwise(tokens)]
    tpot = (tokens[-1] - tokens[0]) / len(gaps) if gaps else None
    return tokens[0] - due, tpot, gaps, tokens[-1] - due
    ### END SOLUTION


def percentile(values, q):
    """The q-th percentile by nearest rank.

    Args:
        values: a list of numbers in any order, at least one; inf may be among them.
        q: a whole number, 1 to 100.

    Returns:
        One of the values: the smallest so that at least q percent of them are no larger.

    Raises:
        ValueError: there are no values.
    """
    ### BEGIN SOLUTION
    if not values:
        raise ValueError("no values have no percentile")
    return sorted(values)[-(-q * len(values) // 100) - 1]
    ### END SOLUTION


def goodput(records, duration, ttft, tpot):
    """Good requests per second.

    Args:
        records: a list of records as above, all requests that were due; maybe none.
        duration: of the measurement in seconds, more than 0.
        ttft, tpot: the limits in seconds, finite; a value equal to its limit is within it. A
            finished reply of one token has no TPOT to keep.

    Returns:
        A number.
    """
    ### BEGIN SOLUTION
    waits = [latencies(record)[:2] for record in records]
    good = sum(first <= ttft and (each is None or each <= tpot) for first, each in waits)
    return good / duration
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "latencies-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import math
import random
from itertools import pairwise

import torch

from fridge.testing import as_tensor, exercise, expect_close, expect_equal, expect_parts

with exercise("latencies"):

    def expect_waits(record, ttft, tpot, itl, e2e, what, causes=()):
        """All four numbers; causes are for TTFT, TPOT, ITL and E2E."""
        given = {**record, "tokens": list(record["tokens"])}
        got = expect_parts(latencies(given), "ttft, tpot, itl, e2e", f"{what}: the latencies")
        causes = {"TTFT": "", "TPOT": "", "ITL": "", "E2E": "", **dict(causes)}
        expected = {"TTFT": ttft, "TPOT": tpot, "ITL": itl, "E2E": e2e}
        for name, mine in zip(expected, got, strict=True):
            wanted = expected[name]
            if wanted is None:
                expect_equal(mine, None, f"{what}: {name}", causes[name])
            else:
                wanted = torch.tensor(wanted, dtype=torch.float64)
                expect_close(as_tensor(mine), wanted, f"{what}: {name}", causes[name], 1e-4)

    reply = {"scheduled": 10.0, "sent": 10.0, "tokens": [12.0, 12.5, 14.0], "finished": True}
    expect_waits(
        reply,
        2.0,
        1.0,
        [0.5, 1.5],
        4.0,
        "due and sent at 10, tokens at 12, 12.5 and 14",
        {
            "TPOT": "three tokens have two gaps: (14 - 12) / 2",
            "E2E": "from when it was due to the last token",
        },
    )
    from_due = "a user waits from when the request was due, and not from when it was sent"
    expect_waits(
        {**reply, "sent": 11.5},
        2.0,
        1.0,
        [0.5, 1.5],
        4.0,
        "the same, sent at 11.5",
        {"TTFT": from_due, "E2E": from_due},
    )
    expect_waits(
        {**reply, "tokens": [12.0]},
        2.0,
        None,
        [],
        2.0,
        "a reply of one token, due at 10, at 12",
        {"TPOT": "one token has no gap: None, and neither 0 nor an error"},
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: long replies; two tokens; tokens that come at the same moment; a schedule that
    #   doesn't begin at 0; a clock that stands at a billion and a half; requests that failed, with and
    #   without tokens; many sent late.
    # Stated by: "itl is a list, with a number for each token but the first" | "time per output
    #   token: the mean of these, over one reply" | "a list, when each token of the reply came; in
    #   order" | "TTFT and E2E count from when the request was due" | "Its times are seconds on one
    #   clock, whose 0 may be long ago" | "One that isn't finished: (inf, inf, [], inf)" | "when the load
    #   generator sent it, then or later"
    # Right because: a user's wait begins with the wish to ask; and what lies between the first
    #   token and the last is cut into one gap fewer than there are tokens.
    draw = random.Random(1)
    for count in (2, 3, 40, 500):
        due = draw.uniform(0, 100)
        sent = due + draw.choice([0.0, 3.25])
        gaps = [draw.choice([0.0, 0.01, 0.3, 2.0]) for _ in range(count - 1)]
        tokens = [sent + 0.5]
        for gap in gaps:
            tokens.append(tokens[-1] + gap)
        expect_waits(
            {"scheduled": due, "sent": sent, "tokens": tokens, "finished": True},
            tokens[0] - due,
            (tokens[-1] - tokens[0]) / (count - 1),
            [after - before for before, after in pairwise(tokens)],
            tokens[-1] - due,
            f"a reply of {count} tokens, due at {due:.1f}, sent {sent - due:g} s later",
            {
                "TPOT": "the gaps between tokens alone: the first token's wait is TTFT's, and n tokens have n - 1 gaps",
                "TTFT": from_due if sent > due else "",
                "E2E": from_due if sent > due else "",
            },
        )
    expect_waits(
        {"scheduled": 5.0, "sent": 5.0, "tokens": [6.0, 6.0, 6.0], "finished": True},
        1.0,
        0.0,
        [0.0, 0.0],
        1.0,
        "three tokens at the same moment",
    )
    now = 1_500_000_000.0
    large = "times are large on this clock, and float32 knows no halves there: take float64, as Python's numbers are"
    expect_waits(
        {"scheduled": now, "sent": now, "tokens": [now + 0.5, now + 0.75], "finished": True},
        0.5,
        0.25,
        [0.25],
        0.75,
        "due at 1 500 000 000 s, two tokens after 0.5 and 0.75 s",
        {"TTFT": large, "TPOT": large, "ITL": large, "E2E": large},
    )
    endless = "what isn't finished has kept its user waiting for ever"
    for tokens in ([], [3.0], [3.0, 4.0, 5.0]):
        expect_waits(
            {"scheduled": 2.0, "sent": 2.5, "tokens": tokens, "finished": False},
            math.inf,
            math.inf,
            [],
            math.inf,
            f"a request that failed after {len(tokens)} tokens",
            {"TTFT": endless, "TPOT": endless, "E2E": endless, "ITL": endless},
        )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "goodput-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import math
import random

import torch

from fridge.testing import (
    as_tensor,
    builds_on,
    exercise,
    expect_close,
    expect_equal,
    expect_raises,
)

with exercise("goodput"):
    builds_on("latencies")

    def rank(values, q, expected, what, cause=""):
        expect_equal(percentile(list(values), q), expected, what, cause)

    def good(records, expected, what, cause="", duration=10.0, ttft=2.0, tpot=0.25):
        got = as_tensor(goodput(records, duration, ttft, tpot))
        expect_close(got, torch.tensor(expected, dtype=torch.float64), what, cause, 1e-6)

    def reply(wait, *gaps, late=0.0, finished=True):
        """A record, due at 4, sent `late`, whose first token comes after `wait`."""
        tokens = [4.0 + wait]
        for gap in gaps:
            tokens.append(tokens[-1] + gap)
        return {"scheduled": 4.0, "sent": 4.0 + late, "tokens": tokens, "finished": finished}

    rank([3.0, 1.0, 2.0, 9.0], 50, 2.0, "p50 of 3, 1, 2, 9", "two of four are no larger than 2")
    rank(
        [3.0, 1.0, 2.0, 9.0], 75, 3.0, "p75 of 3, 1, 2, 9", "three of four are no larger than 3"
    )
    rank(
        [3.0, 1.0, 2.0, 9.0], 76, 9.0, "p76 of 3, 1, 2, 9", "three of four are only 75 percent"
    )
    good(
        [reply(1.0, 0.125), reply(3.0, 0.125), reply(1.0, 0.5)],
        0.1,
        "goodput of three requests in 10 s, TTFT 1, 3, 1 (limit 2), TPOT 0.125, 0.125, 0.5 (limit 0.25)",
        "good is who keeps both limits: one request in 10 s",
    )
    good(
        [reply(1.0, 0.125), reply(1.0, 0.125, finished=False)],
        0.1,
        "goodput of two requests in 10 s, one of which failed",
        "what isn't finished isn't good, and the other one has taken 10 s all the same",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: all ranks of lists of many lengths; equal values; inf among them; one value, and
    #   none; values just at their limits; replies of one token; the mean of a reply's gaps; many
    #   requests sent late; failures with good latencies; nothing good, and no requests; another
    #   duration.
    # Stated by: "the smallest so that at least q percent of them are no larger" | "One of the values" |
    #   "inf may be among them" | "ValueError: there are no values" | "a value equal to its limit is
    #   within it" | "A finished reply of one token has no TPOT to keep" | "the mean of these, over
    #   one reply" | "From the moment at which the user *wanted* to ask" | "What failed or hasn't
    #   finished isn't good" | "Good requests per second" | "of the measurement in seconds"
    # Right because: a promise is kept request by request; a rank is a count of requests, and what
    #   never came counts as late.
    draw = random.Random(2)
    for count in (1, 2, 3, 7, 20, 100, 101, 1000):
        values = [round(draw.uniform(0, 9), 6) for _ in range(count)]
        for q in (1, 5, 7, 33, 50, 55, 90, 95, 99, 100):
            least = next(
                v for v in sorted(values) if sum(x <= v for x in values) * 100 >= q * count
            )
            rank(
                values,
                q,
                least,
                f"p{q} of {count} values",
                "the smallest value that at least q percent of all are no larger than; it is one of them, and counted in whole numbers: 0.55 * 100 is a little more than 55",
            )
    rank([2.0, 2.0, 2.0, 1.0], 50, 2.0, "p50 of 2, 2, 2, 1")
    rank(
        [1.0, math.inf, 2.0, 3.0],
        75,
        3.0,
        "p75 of 1, inf, 2, 3",
        "three of four are no larger than 3",
    )
    rank(
        [1.0, math.inf, 2.0, 3.0],
        99,
        math.inf,
        "p99 of 1, inf, 2, 3",
        "inf is the largest of them, and counts",
    )
    rank([7], 1, 7, "p1 of one value")
    expect_raises(ValueError, lambda: percentile([], 50), "p50 of no values")
    at_the_limit = "a value equal to its limit is within it"
    good(
        [reply(2.0, 0.25, 0.25)],
        0.1,
        "goodput with TTFT and TPOT just at their limits",
        at_the_limit,
    )
    good([reply(2.0 + 1e-3, 0.25)], 0.0, "goodput with a TTFT just above its limit")
    good([reply(1.0, 0.25 + 1e-3)], 0.0, "goodput with a TPOT just above its limit")
    good(
        [reply(1.0)],
        0.1,
        "goodput of a reply of one token",
        "it has no TPOT to keep, and is good by its TTFT",
    )
    good([reply(5.0)], 0.0, "goodput of a late reply of one token", "its TTFT counts")
    good(
        [reply(1.0, 0.0, 0.375, 0.375)],
        0.1,
        "goodput of a reply with gaps 0, 0.375, 0.375",
        "TPOT is the mean of the gaps, 0.25; not each gap has to keep the limit",
    )
    good(
        [reply(3.0, 0.25, late=2.5)],
        0.0,
        "goodput of a request sent 2.5 s late, first token 3 s after it was due",
        "the user waits from when it was due",
    )
    good(
        [reply(1.0, 0.125, finished=False) for _ in range(3)],
        0.0,
        "goodput of three failures with quick tokens",
        "what isn't finished isn't good, however quick its tokens were",
    )
    good([], 0.0, "goodput of no requests")
    mixed = [
        reply(draw.choice([1.0, 3.0]), *[draw.choice([0.125, 0.5])] * 3) for _ in range(200)
    ]
    count = sum(
        one["tokens"][0] <= 6.0 and one["tokens"][1] - one["tokens"][0] <= 0.25 for one in mixed
    )
    good(
        mixed,
        count / 60,
        "goodput of 200 requests in 60 s",
        "requests per second: divide by the duration",
        60,
    )
    good(
        mixed,
        count / 7.5,
        "goodput of 200 requests in 7.5 s",
        "a rate may have a fraction",
        7.5,
    )
    good(mixed, 200 / 8, "goodput of 200 requests in 8 s with wide limits", "", 8, 10.0, 10.0)
    ### END HIDDEN TESTS

# %% [markdown]
# Try them on a server in *virtual time*: `fridge.serving.virtual` computes when tokens would come, without waiting. A step costs
# 40 ms, and 4 ms more for each sequence; 16 have room. Requests come by themselves, at random moments, as people do who don't
# know of one another (a *Poisson process*).
#
# In the middle of the run the server does nothing for ten seconds. One load generator sends each request when it is due (*open
# loop*). The other has 16 connections, and sends a request when one is free. Predict: what does the p95 of each say?

# %% tags=["for-real"]
if scoreboard.ready("latencies", "goodput"):
    due = virtual.arrivals(rate=5, count=500, seed=1)
    stall = (30.0, 10.0)  # begins at 30 s, lasts 10 s
    open_loop = virtual.serve(due, stall=stall)
    polite = virtual.serve(due, stall=stall, most_open=16)
    as_sent = [{**record, "scheduled": record["sent"]} for record in polite]  # the mistake
    by_who = {
        "open loop, from when it was due": open_loop,
        "16 connections, from when it was due": polite,
        "16 connections, from when it was sent": as_sent,
    }
    waits = {name: [latencies(record)[0] for record in these] for name, these in by_who.items()}
    for name, values in waits.items():
        numbers = "  ".join(f"p{q} {percentile(values, q):6.2f} s" for q in (50, 90, 95, 99))
        print(f"{name:40}{numbers}")

# %% tags=["for-real"]
if scoreboard.ready("latencies", "goodput"):
    pictures.waits(
        waits,
        "One run, one server, one stall of ten seconds: who counts from the sending hides it",
    )

# %% [markdown]
# *In words: three curves, the share of requests whose first token has come after so many seconds. Two of them lie together and reach
# all requests only after ten seconds and more. The third one, which counts from the sending, reaches nearly all within a fifth of a
# second.*
#
# It is the same server. With 16 connections only 16 requests can be in the stall; all others that were due in it were sent
# afterwards, and their clocks started afterwards. Five hundred users would tell another story.
#
# ## 4 · Build it
#
# ### Exercise 2 · From logits to a token (5 points)
#
# Greedy decoding takes the largest logit. Most users want some chance, and say how much of it. Six wishes, in **this order**; each sees what the one before
# it has left:
#
# 1. **Repetition penalty** (*Keskar and others, 2019*): the logit of each token that stands in the text already is divided by it if
#    positive, multiplied by it if negative. Once, however often the token stands there.
# 2. **Temperature**: all logits are divided by it. Temperature 0 is the limit: the token of the largest logit has probability 1, and the
#    wishes below change nothing.
# 3. **top-k** (*Fan and others, 2018*): only the k largest are kept. 0 keeps all, and so does a k that isn't smaller than the vocabulary.
# 4. Probabilities: softmax of what is left.
# 5. **top-p**, or nucleus (*Holtzman and others, 2020*): of the likeliest, from the top down, as many are kept as it takes until their sum
#    is p or more. One is always kept. 1 keeps all, however unlikely.
# 6. **min-p** (*Nguyen and others, 2024*): kept is what has at least min_p times the largest probability. (With 1, all that are as likely as
#    the likeliest.)
#
# What is left is made to sum to 1 after 5 and after 6. Of equal ones, the token with the **lower number** counts as the larger.
#
# The order is that of `transformers`. Others have another: vLLM has min-p before top-k and top-p, llama.cpp takes the temperature at the
# end. With the same six numbers they choose among other tokens.
#
# Then **one** random number decides. Whoever takes one number a token, from a source of the request's own, can promise: the same seed gives the same text,
# whoever else is in the batch.
#
# 3 points are for the probabilities, 2 for the draw.
#
# <details><summary>Hint 1</summary>torch.sort(scores, descending=True, stable=True) leaves equal ones in the order of their numbers.</details>
# <details><summary>Hint 2</summary>Keep a token while the sum of those before it is less than p.</details>
# <details><summary>Hint 3</summary>Lay the probabilities side by side on a line from 0 to 1. In whose stretch does the number fall? A stretch of
# no length has no number in it, 0.0 included. And rounding may end the line a little before 1.</details>


# %% nbgrader={"grade": false, "grade_id": "choose-token", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_probabilities(
    logits, seen=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0
):
    """The probability of each token to be chosen.

    Args:
        logits: [vocab_size], float32 or float64, of any size; -inf is a token that must not be
            chosen. At least one logit isn't -inf.
        seen: tokens of the text so far, a list; one may stand there more than once.
        temperature: 0 or more.
        top_k: 0 or more.
        top_p, min_p: 0 to 1, both included.
        penalty: more than 0.

    Returns:
        [vocab_size], summing to 1; 0 for what isn't kept. Of any dtype: to within 0.00001 of
        what exact numbers give.
    """
    ### BEGIN SOLUTION
    scores = logits.double().clone()
    for token in set(seen):
        scores[token] = (
            scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
        )
    if temperature == 0:
        return torch.nn.functional.one_hot(scores.argmax(), len(scores)).double()
    scores = (scores - scores.max()) / temperature
    scores, order = scores.sort(descending=True, stable=True)
    if top_k > 0:
        scores[top_k:] = -math.inf
    kept = scores.softmax(0)
    if top_p < 1:
        kept[1:][kept.cumsum(0)[:-1] >= top_p] = 0
        kept = kept / kept.sum()
    kept[kept < min_p * kept[0]] = 0
    kept = kept / kept.sum()
    return torch.zeros_like(kept).scatter(0, order, kept)
    ### END SOLUTION


def draw(probabilities, uniform):
    """Choose a token, each with its probability.

    Args:
        probabilities: [vocab_size] tensor, float64; they sum to 1 up to rounding, and there
            may be zeros.
        uniform: a function without arguments. It gives a random number of at least 0 and less
            than 1, another one each time. Call it once.

    Returns:
        A token, an int; never one of probability 0. The same number gives the same token.
    """
    ### BEGIN SOLUTION
    sums = probabilities.cumsum(0)
    place = int(torch.searchsorted(sums, uniform(), right=True))
    return min(place, int(probabilities.nonzero()[-1]))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "token-probabilities-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import math

import torch

from fridge.testing import as_tensor, exercise, expect_close, expect_tensor, expect_true

with exercise("token-probabilities"):

    def keeps(logits, expected, what, cause="", atol=1e-5, **wishes):
        said = ", ".join(f"{name}={value}" for name, value in wishes.items())
        logits = torch.as_tensor(logits, dtype=torch.float32)
        expected = torch.as_tensor(expected, dtype=torch.float64)
        got = as_tensor(token_probabilities(logits, **wishes))
        expect_close(got, expected / expected.sum(), f"{what}: {said}", cause, atol)

    logs = torch.tensor([4.0, 3.0, 2.0, 1.0]).log()
    four = "probabilities 0.4, 0.3, 0.2, 0.1"
    keeps(logs, [4, 3, 2, 1], four, "temperature 1 changes nothing: softmax", temperature=1.0)
    keeps(logs, [16, 9, 4, 1], four, "divide the logits by the temperature", temperature=0.5)
    keeps(logs, [1, 0, 0, 0], four, "the largest logit", temperature=0)
    keeps(logs, [4, 3, 0, 0], four, "the two largest, made to sum to 1", top_k=2)
    keeps(
        logs,
        [4, 3, 0, 0],
        four,
        "0.4 + 0.3 is 0.6 or more: the token with which the sum gets there is kept",
        top_p=0.6,
    )
    keeps(logs, [4, 3, 2, 0], four, "0.45 times the largest, 0.4, is 0.18", min_p=0.45)
    keeps(
        [2.0, -2.0, 0.5],
        [math.e, math.exp(-4), math.exp(0.5)],
        "logits 2, -2, 0.5",
        "a positive logit is divided, a negative one multiplied: both become less likely",
        seen=[0, 1, 1],
        penalty=2.0,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: pairs of wishes whose order shows; a token seen twice; penalties below 1 and at
    #   temperature 0; equal logits in all filters; k of the vocabulary's size and larger; p = 0 and p
    #   = 1; sums that are exactly p; min_p = 1; tokens that must not be chosen; logits of 10 000 and
    #   more, low and high temperatures; one token; many tokens in no order; float64; wishes left out.
    # Stated by: "in **this order**" | "Once, however often the token stands there" | "penalty: more
    #   than 0" | "the token with the **lower number** counts as the larger" | "so does a k that isn't
    #   smaller than the vocabulary" | "One is always kept. 1 keeps all" | "until their sum is p or
    #   more" | "kept is what has at least min_p times the largest probability" | "-inf is a token that
    #   must not be chosen" | "float32 or float64, of any size" | "[vocab_size], summing to 1" | "The
    #   probability of each token to be chosen" | "float32 or float64" | "seen=(), temperature=1.0"
    # Right because: each filter keeps some of what is left and shares out the rest among them, so
    #   that their order decides what the next one sees.
    first = "temperature comes before"
    keeps(
        logs,
        [1, 0, 0, 0],
        four,
        f"{first} top-p: the sharper ones are 0.53, 0.3, …",
        temperature=0.5,
        top_p=0.5,
    )
    keeps(
        logs,
        [2.0, 3**0.5, 2**0.5, 0],
        four,
        f"{first} top-p: the flatter ones are 0.33, 0.28, 0.23, 0.16",
        temperature=2.0,
        top_p=0.7,
    )
    keeps(
        logs,
        [2.0, 3**0.5, 2**0.5, 1],
        four,
        f"{first} min-p: 0.5 of the largest",
        temperature=2.0,
        min_p=0.45,
    )
    keeps(
        logs,
        [1, 0, 0, 0],
        four,
        "top-p sees what top-k has left, 4/7 and 3/7: the first alone is more than 0.5",
        top_k=2,
        top_p=0.5,
    )
    keeps(
        torch.tensor([30.0, 25, 20, 15, 10]).log(),
        [30, 25, 0, 0, 0],
        "probabilities 0.3, 0.25, 0.2, 0.15, 0.1",
        "min-p compares with the largest that is left, 0.3: neither 0.2 nor less has 0.8 of it",
        top_k=4,
        top_p=0.9,
        min_p=0.8,
    )
    keeps(
        torch.tensor([30.0, 25, 20, 15, 10]).log(),
        [30, 25, 20, 15, 0],
        "probabilities 0.3, 0.25, 0.2, 0.15, 0.1",
        "top-p comes before min-p: of all five it takes four to get to 0.8",
        top_p=0.8,
        min_p=0.4,
    )
    keeps(
        [3.0, 2.0, 1.0],
        [0, 1, 0],
        "logits 3, 2, 1",
        "the penalty comes before the choice of the largest",
        seen=[0],
        penalty=2.0,
        temperature=0,
    )
    keeps(
        [3.0, 2.0, 1.0],
        [math.exp(1.5), math.exp(2.0), 0],
        "logits 3, 2, 1",
        "the penalty comes before top-k, which keeps 1.5 and 2",
        seen=[0],
        penalty=2.0,
        top_k=2,
    )
    keeps(
        [4.0, 2.0, -1.0],
        [math.exp(4.0), math.exp(4.0), math.exp(-2.0)],
        "logits 4, 2, -1",
        "the penalty comes before the temperature, and each counts once",
        seen=[0, 0, 0],
        penalty=2.0,
        temperature=0.5,
    )
    keeps(
        [2.0, -2.0, 0.0],
        [math.exp(4.0), math.exp(-1.0), 1.0],
        "logits 2, -2, 0",
        "a penalty below 1 makes seen tokens likelier",
        seen=[0, 1, 2],
        penalty=0.5,
    )
    keeps(
        [2.0, 1.0],
        [math.exp(2.0), math.exp(1.0)],
        "logits 2, 1",
        "nothing was seen",
        seen=[],
        penalty=3.0,
    )
    keeps(
        [2.0, 1.0],
        [math.exp(2.0), math.exp(1.0)],
        "logits 2, 1, seen left out",
        "nothing was seen, so no token has a penalty",
        penalty=3.0,
    )
    keeps(
        [2.0, 1.0],
        [math.exp(2.0), math.exp(1.0)],
        "logits 2, 1",
        "1 changes nothing",
        seen=[0, 1],
    )

    lower = "of equal ones the lower number is the larger"
    keeps([1.0, 1.0, 1.0, 1.0], [1, 0, 0, 0], "four equal logits", lower, temperature=0)
    keeps([0.0, 2.0, 2.0, 2.0], [0, 1, 1, 0], "logits 0, 2, 2, 2", lower, top_k=2)
    keeps([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 0], "four equal logits", lower, top_p=0.6)
    keeps(
        [1.0, 1.0, 1.0, 1.0],
        [1, 1, 0, 0],
        "four equal logits",
        "the sum of two is p: it is reached",
        top_p=0.5,
    )
    keeps(
        [1.0, 1.0, 1.0, 1.0],
        [1, 1, 1, 1],
        "four equal logits",
        "each has the largest probability",
        min_p=1.0,
    )
    keeps(
        [2.0, 1.0, 2.0],
        [1, 0, 1],
        "logits 2, 1, 2",
        "at least once the largest: the equal ones",
        min_p=1.0,
    )
    for top_k in (4, 5, 1000):
        keeps(logs, [4, 3, 2, 1], four, "there are no more than four", top_k=top_k)
    keeps(logs, [1, 0, 0, 0], four, "one is kept", top_k=1)
    keeps(logs, [1, 0, 0, 0], four, "one is always kept", top_p=0.0)
    keeps(logs, [4, 3, 2, 1], four, "1 keeps all", top_p=1.0)
    unlikely = "logits 40, 0, 0: top_p=1.0"
    got = as_tensor(token_probabilities(torch.tensor([40.0, 0.0, 0.0]), top_p=1.0))
    got = expect_tensor(got, unlikely, [3])
    expect_close(got, torch.tensor([1.0, 0.0, 0.0]), unlikely)
    expect_true(
        bool((got > 0).all()),
        f"{unlikely}: probabilities of all three",
        "more than 0",
        got,
        "1 keeps all, even where the sum of those before is 1 for a computer",
    )
    keeps(logs, [4, 3, 2, 1], four, "0 keeps all", min_p=0.0)
    none = [1.0, -math.inf, 2.0, -math.inf]
    left = [math.exp(1.0), 0, math.exp(2.0), 0]
    banned = "-inf has probability 0, whatever is done to it"
    keeps(none, left, "logits 1, -inf, 2, -inf", banned, temperature=1.0)
    keeps(none, left, "logits 1, -inf, 2, -inf", banned, seen=[1, 0, 3], penalty=1.0, top_k=3)
    keeps(
        none,
        [1, 0, math.exp(2.0), 0],
        "logits 1, -inf, 2, -inf",
        banned,
        seen=[0, 1],
        penalty=1e6,
        top_p=1.0,
    )
    keeps(none, left, "logits 1, -inf, 2, -inf", banned, top_p=0.999)
    keeps([-math.inf, -5.0], [0, 1], "logits -inf, -5", banned, temperature=0)
    keeps(
        [1e4, 1e4 - 1, -1e4],
        [1, math.exp(-1), 0],
        "logits 10000, 9999, -10000",
        "exp(10000) is too large",
        temperature=1.0,
    )
    keeps(
        [50.0, 40.0],
        [1, 0],
        "logits 50, 40",
        "50 / 0.001 is too large for exp",
        temperature=0.001,
    )
    keeps(
        [1e30, -1e30],
        [1, 0],
        "logits 1e30, -1e30",
        "what a division makes too large for its dtype is inf, and inf - inf is nan",
        temperature=1e-9,
    )
    keeps([3.0, 1.0], [math.exp(0.002), 1], "logits 3, 1", "nearly even", temperature=1000.0)
    for wishes in (
        {"temperature": 0},
        {"top_k": 3},
        {"top_p": 0.5},
        {"min_p": 1.0},
        {"temperature": 5.0},
    ):
        keeps([-3.0], [1], "one token alone", "it is certain", **wishes)

    places = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    falling = torch.arange(200, 0, -1).double()
    mixed = torch.zeros(200, dtype=torch.float64).scatter(0, places, falling)
    for count, wishes in (
        (50, {"top_k": 50}),
        (59, {"top_p": 0.5}),
        (100, {"min_p": 0.503}),
        (32, {"top_k": 50, "top_p": 0.66}),
        (20, {"top_k": 60, "top_p": 0.9, "min_p": 0.904}),
    ):
        expected = mixed.where(mixed > 200 - count, 0.0)
        keeps(
            mixed.log(),
            expected,
            f"200 tokens in no order, of which {count} are kept",
            **wishes,
        )
    halves = torch.tensor([2.0, -0.5, 1.0], dtype=torch.float64)
    got = as_tensor(token_probabilities(halves, seen=[0, 1], penalty=2.0))
    expected = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64).softmax(0)
    expect_close(
        got,
        expected,
        "logits 2, -0.5, 1 in float64: seen=[0, 1], penalty=2.0",
        "a positive logit is divided, a negative one multiplied",
    )
    keeps(
        torch.zeros(3000),
        [1.0] * 500 + [0.0] * 2500,
        "three thousand equal logits",
        lower,
        top_k=500,
    )
    fine = torch.tensor([0.0, 1e-9, 0.0], dtype=torch.float64)
    got = as_tensor(token_probabilities(fine, temperature=0))
    expect_close(
        got,
        torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64),
        "logits 0, 0.000000001, 0 in float64, temperature 0",
        "compare them as they are",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draw-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import random

import torch

from fridge.testing import exercise, expect_distribution, expect_equal, token_ids

with exercise("draw"):

    def drawn(probabilities, number):
        """The token for one random number."""
        calls = []

        def expect_one_call():
            case = f"number {number}: calls of uniform() to draw one token"
            expect_equal(
                len(calls), 1, case, "its number decides, and nothing else; call it once"
            )

        def uniform():
            calls.append(number)
            expect_one_call()
            return number

        given = torch.tensor(probabilities, dtype=torch.float64)
        token = token_ids([draw(given, uniform)], "what draw returns")[0]
        expect_one_call()
        return token

    expect_equal(drawn([0.25, 0.75], 0.5) in (0, 1), True, "a token of two is drawn")

    def follows(probabilities, runs, seed, what):
        source = random.Random(seed)
        tokens = [drawn(probabilities, source.random()) for _ in range(runs)]
        expect_distribution(
            tokens, dict(enumerate(probabilities)), what, "each token with its own probability"
        )

    follows([0.5, 0.2, 0.3], 1500, 1, "tokens of probabilities 0.5, 0.2, 0.3")
    ### BEGIN HIDDEN TESTS
    # Looks at: other probabilities, small ones among them; zeros at the beginning, in the middle and at
    #   the end; the numbers 0 and nearly 1; sums a little below and above 1; one token; the same number
    #   twice; how often uniform is called.
    # Stated by: "each with its probability" | "there may be zeros" | "at least 0 and less than 1" |
    #   "they sum to 1 up to rounding" | "never one of probability 0" | "The same number gives the same
    #   token" | "Call it once"
    # Right because: a number between 0 and 1 that is as likely anywhere falls into a stretch as often
    #   as the stretch is long.
    follows(
        [0.0, 0.6, 0.0, 0.3, 0.1, 0.0],
        1200,
        2,
        "tokens of probabilities 0, 0.6, 0, 0.3, 0.1, 0",
    )
    follows([0.01] * 50 + [0.5], 1500, 3, "a token of a half, and fifty of a hundredth")
    source = random.Random(4)
    small = [1 / 4000, *[1 / 2000] * 1999, 1 / 4000]
    odd = [drawn(small, source.random()) % 2 for _ in range(300)]
    expect_distribution(
        odd,
        {0: 0.5, 1: 0.5},
        "two thousand small probabilities: the rest of the token's number by 2",
        "each token with its own probability, however small",
    )
    largest = 1 - 2**-53
    zeros = "a token of probability 0 is never drawn, whatever the number"
    for probabilities in (
        [0.0, 0.5, 0.5, 0.0],
        [0.0, 0.0, 1.0],
        [1.0, 0.0],
        [0.0, 0.3, 0.3, 0.3999999, 0.0],
    ):
        possible = [token for token, one in enumerate(probabilities) if one]
        for number in (0.0, largest, 0.9999999999):
            token = drawn(probabilities, number)
            expect_equal(
                token in possible,
                True,
                f"probabilities {probabilities}, number {number}: one of {possible} is drawn",
                zeros,
            )
    expect_equal(
        drawn([0.3, 0.3, 0.4000001], largest) in (0, 1, 2),
        True,
        "a sum of 1.0000001: a token that is there is drawn",
    )
    expect_equal(drawn([1.0], 0.7), 0, "one token alone")
    for number in (0.1, 0.35, 0.8):
        tokens = [drawn([0.2, 0.3, 0.1, 0.4], number) for _ in range(3)]
        expect_equal(
            tokens,
            tokens[:1] * 3,
            f"three draws with the number {number}",
            "the number alone decides",
        )
    for number in (0.0, 0.5, largest):
        drawn([0.1, 0.0, 0.5, 0.4], number)
    ### END HIDDEN TESTS

# %% [markdown]
# What do the wishes do to a real row of logits? Here are the tokens that SmolLM2 may choose as the next one.

# %% tags=["for-real"]
if scoreboard.ready("token-probabilities"):
    with torch.no_grad():
        start = tokenizer("My favourite animal is the", return_tensors="pt")["input_ids"]
        row = model(start)[0, -1].float()
    for wishes in (
        {},
        {"temperature": 0.5},
        {"temperature": 1.5},
        {"top_k": 5},
        {"top_p": 0.5},
        {"min_p": 0.2},
        {"temperature": 1.5, "min_p": 0.2},
    ):
        chances = torch.as_tensor(token_probabilities(row, **wishes))
        best = chances.topk(4).indices.tolist()
        rest = 1 - float(chances[best].sum())
        words = ", ".join(
            f"{tokenizer.decode([token])} {float(chances[token]):.2f}" for token in best
        )
        kept = int((chances > 0).sum())
        name = ", ".join(f"{wish} {value}" for wish, value in wishes.items()) or "as it is"
        print(f"{name:28}{kept:6} tokens: {words}, others {rest:.2f}")

# %% [markdown]
# `temperature` alone never takes a token out: at 1.5 most of the probability belongs to tokens that hardly anybody would say, some thousands of them
# with a little each. That is what the filters are for.
#
# ### Exercise 3 · Text that isn't taken back (4 points)
#
# The vocabulary of most models holds pieces of **bytes**, and a letter may be cut anywhere. 🐘 is `f0 9f 90 98`, and often comes in three tokens.
# Show each token by itself, and a reader sees `���`. Decode everything anew for each token, and a reply of n tokens costs n²/2; and what was
# shown as `�` must be taken back, which no stream can do.
#
# So tell at each token what is **certain**: all text that no later byte can change. What waits are the bytes at the end that are the beginning of
# a letter, and not all of it. By the Unicode standard (table 3-7), a letter of more than one byte is
#
# | first byte | second | third | fourth |
# |---|---|---|---|
# | `c2` to `df` | `80` to `bf` | | |
# | `e0` | `a0` to `bf` | `80` to `bf` | |
# | `e1` to `ec`, `ee`, `ef` | `80` to `bf` | `80` to `bf` | |
# | `ed` | `80` to `9f` | `80` to `bf` | |
# | `f0` | `90` to `bf` | `80` to `bf` | `80` to `bf` |
# | `f1` to `f3` | `80` to `bf` | `80` to `bf` | `80` to `bf` |
# | `f4` | `80` to `8f` | `80` to `bf` | `80` to `bf` |
#
# Bytes that can't be part of a letter become `�` (U+FFFD) as in `bytes.decode("utf-8", errors="replace")`, as soon as it is clear that they can't. All
# pieces together, `flush` included, are that decode of all bytes. (After `ed a0` to `ed bf`, halves of pairs from another encoding, it is clear at
# the second byte, and Python's own decoder waits for a third. At which of both you tell `�`, nobody looks; that it is `�`, they do.)
#
# And the thousandth token takes no more work and memory than the first one: what was told is done with, and kept nowhere.
#
# <details><summary>Hint 1</summary>Keep the bytes that wait, at most three. At a token: put the new ones behind them, and find out how many
# at the end wait now.</details>
# <details><summary>Hint 2</summary>Only the last one, two or three bytes can be such a beginning. Try them: a beginning is one if some letter begins
# with it.</details>
# <details><summary>Hint 3</summary>Python tells both cases apart: the UnicodeDecodeError of b"\xf0\x9f".decode() has the reason "unexpected end of
# data". (b"\xed\xa0".decode() has another: no letter begins so.) And codecs.getincrementaldecoder is this exercise, ready made; have a look at it
# when you are done.</details>


# %% nbgrader={"grade": false, "grade_id": "detokenizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Detokenizer:
    """Makes text of one reply's tokens, as they come.

    Args:
        vocabulary: vocabulary[token] is the token's bytes; there may be none, b"".
    """

    def __init__(self, vocabulary):
        ### BEGIN SOLUTION
        self.vocabulary, self.waiting = vocabulary, b""
        ### END SOLUTION

    def push(self, token):
        """Take a token.

        Returns:
            A str: all text that is certain now and wasn't told yet.
        """
        ### BEGIN SOLUTION
        data = self.waiting + self.vocabulary[token]
        cut = len(data)
        for length in (1, 2, 3):
            tail = data[len(data) - length :]
            if len(tail) == length and self.may_go_on(tail):
                cut = len(data) - length
        self.waiting = data[cut:]
        return data[:cut].decode("utf-8", errors="replace")
        ### END SOLUTION

    def flush(self):
        """The reply has ended; nothing comes after this.

        Returns:
            A str: the rest.
        """
        ### BEGIN SOLUTION
        return self.waiting.decode("utf-8", errors="replace")

    def may_go_on(self, tail):
        """Whether these bytes are the beginning of a letter, and not all of it."""
        try:
            tail.decode("utf-8")
        except UnicodeDecodeError as error:
            return error.start == 0 and error.reason == "unexpected end of data"
        return False
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "detokenizer-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import allocated, exercise, expect_equal, expect_true

with exercise("detokenizer"):

    def tells(vocabulary, tokens, expected, what, cause="", end_cause=""):
        """What each token makes certain, and what is left at the end."""
        reader = Detokenizer(list(vocabulary))
        for place, (token, text) in enumerate(zip(tokens, expected[:-1], strict=True)):
            so_far = b"".join(vocabulary[token] for token in tokens[: place + 1])
            expect_equal(
                reader.push(token),
                text,
                f"{what}: what push tells after {so_far[-12:]!r}",
                cause,
            )
        expect_equal(reader.flush(), expected[-1], f"{what}: what flush tells", end_cause)

    pieces = [b"a", b" fridge", b"\xf0\x9f", b"\x90", b"\x98!", b"\xc3"]
    tells(
        pieces,
        [0, 1],
        ["a", " fridge", ""],
        "two tokens of whole letters",
        "nothing can change them: tell them at once",
    )
    tells(
        pieces,
        [0, 2, 3, 4],
        ["a", "", "", "🐘!", ""],
        "an elephant in three tokens",
        "wait until the letter is complete, and tell it once",
    )
    tells(
        pieces,
        [0, 5],
        ["a", "", "\ufffd"],
        "a reply that ends in the middle of a letter",
        "",
        "what is still waiting is no letter: U+FFFD",
    )
    tells(
        pieces,
        [5, 1],
        ["", "\ufffd fridge", ""],
        "a beginning that doesn't go on",
        "it can't become a letter any more: U+FFFD, and the rest",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: letters of two, three and four bytes, cut everywhere; several letters in a token, and
    #   half ones around them; tokens without bytes; bytes that can't begin or go on, told at once; the
    #   second bytes that e0, ed, f0 and f4 allow; halves of pairs; a real U+FFFD; a BOM and line ends,
    #   which are letters; all beginnings at the end; random bytes; two replies at a time; a long
    #   reply's work; what is kept.
    # Stated by: "a letter may be cut anywhere" | "all text that no later byte can change" | "the token's
    #   bytes; there may be none" | "as soon as it is clear that they can't" | "By the Unicode standard
    #   (table 3-7)" | "that it is `�`, they do" | "as in `bytes.decode("utf-8", errors="replace")`" | "All
    #   pieces together, `flush` included, are that decode of all bytes" | "the rest" | "All pieces
    #   together, `flush` included, are that decode of all bytes" | "Makes text of one reply's tokens" |
    #   "the thousandth token takes no more work and memory than the first one" | "kept nowhere"
    # Right because: in UTF-8 a letter's first byte says how many follow, so that three bytes at most can be
    #   open; everything before them is decided.
    import codecs
    import random

    def tells_bytes(parts, what, cause=""):
        """A token a part, against the standard library's own decoder."""
        oracle = codecs.getincrementaldecoder("utf-8")(errors="replace")
        expected = [oracle.decode(part) for part in parts]
        tells(
            parts,
            range(len(parts)),
            [*expected, oracle.decode(b"", final=True)],
            what,
            cause,
            cause,
        )

    complete = (
        "what is certain is told at once: a letter as soon as it is complete, and not before"
    )
    for letter in "é€大🐘\ufffd\ufeff\x00":
        raw = f"a{letter}b".encode()
        for cut in range(1, len(raw)):
            tells_bytes([raw[:cut], raw[cut:]], f"{letter!r}, cut behind byte {cut}", complete)
        tells_bytes(
            [raw[n : n + 1] for n in range(len(raw))],
            f"{letter!r}, a byte a token",
            "wait for the rest of a letter",
        )
        for end in range(1, len(letter.encode()) + 1):
            tells_bytes(
                [b"x", letter.encode()[:end]],
                f"a reply that ends behind {end} bytes of {letter!r}",
            )
    tells_bytes(
        ["ab€".encode() + b"\xe5\xa4", b"\xa7\xe8\xb1", b"\xa1 \xf0\x9f\x90"],
        "letters and halves in each token",
    )
    tells_bytes(
        [b"", b"\xf0", b"", b"\x9f\x90\x98", b""],
        "tokens without bytes",
        "no bytes change nothing",
    )
    at_once = "these bytes can't become a letter whatever follows: tell U+FFFD at once, as often as bytes.decode does"
    for raw in (
        b"\x80",
        b"\xbf",
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xff",
        b"\xe0\x80",
        b"\xe0\x9f",
    ):
        tells_bytes([b"x", raw, b"y"], f"the bytes {raw!r}", at_once)
    for raw in (
        b"\xf0\x80",
        b"\xf0\x8f",
        b"\xf4\x90",
        b"\xf4\xbf",
        b"\xf0\x90\x7f",
        b"\xe1\x80\xc0",
        b"\xc3\xc3",
    ):
        tells_bytes([b"x", raw, b"y"], f"the bytes {raw!r}", at_once)
    for raw in (
        b"\xe0\xa0",
        b"\xe0\xbf",
        b"\xed\x80",
        b"\xed\x9f",
        b"\xf0\x90",
        b"\xf0\xbf",
        b"\xf4\x80",
        b"\xf4\x8f",
    ):
        tells_bytes(
            [b"x", raw, b"\x80", b"\x80"],
            f"the bytes {raw!r}, then 80 and 80",
            "this beginning may go on",
        )
    tells_bytes([b"\xf0\x9f", b"\xf0\x9f\x90\x98"], "a beginning, and then a whole elephant")
    letters = "a BOM and line ends are letters like others: all bytes count"
    tells_bytes([b"\xef\xbb\xbfa", b"\xef\xbb", b"\xbf"], "BOMs, one at the beginning", letters)
    tells_bytes([b"a\r\n", b"b\rc\n\n", b"\r", b"\n"], "line ends of all kinds", letters)
    for raw in (b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"):
        for cut in range(len(raw) + 1):
            parts = [b"x" + raw[:cut], raw[cut:] + b"y"]
            reader = Detokenizer(list(parts))
            told = [reader.push(0), reader.push(1), reader.flush()]
            case = f"the bytes {raw!r}, halves of pairs, cut behind {cut}: all text together"
            expect_true(all(type(text) is str for text in told), case, "of three strings", told)
            expect_equal(
                "".join(told),
                b"".join(parts).decode(errors="replace"),
                case,
                "ed goes on with 80 to 9f alone: each of these bytes is U+FFFD",
            )
    draw_bytes = random.Random(5)
    likely = [0x20, 0x61, 0x80, 0x90, 0xA0, 0xBF, 0xC3, 0xE0, 0xE2, 0xF0, 0xF4, 0xFF]
    for run in range(40):
        parts = [
            bytes(draw_bytes.choices(likely, k=draw_bytes.randrange(5))) for _ in range(12)
        ]
        tells_bytes(
            parts, f"random bytes {run}", "each push tells what is certain, no more and no less"
        )

    one, other = Detokenizer(list(pieces)), Detokenizer(list(pieces))
    expect_equal(
        [one.push(2), other.push(0)],
        ["", "a"],
        "two replies, one in the middle of a letter",
        "each waits for itself",
    )
    expect_equal(
        [other.push(1), one.push(3), one.push(4)],
        [" fridge", "", "🐘!"],
        "the same two replies, later",
    )

    long = Detokenizer([b"x" * 20_000, b"y", b"\xe2", b"\x82\xac"])
    for _ in range(50):
        long.push(0)
    took = []
    for token in (1, 1, 1, 1):
        _, size = allocated(long.push, token)
        took.append(size)
    expect_true(
        min(took) < 100_000,
        "a push after a reply of a million bytes: bytes of memory that it takes",
        "no more than in a short reply, some hundreds",
        min(took),
        "what was told is done with: neither decode it again nor keep it in one piece",
    )
    long = Detokenizer([b"forty letters, as in a long word or in two"])
    took = []
    for _ in range(2_000):
        _, size = allocated(long.push, 0)
        took.append(size)
    late = sorted(took[1_000:])[-4]  # growth comes in steps, some of them in these
    expect_true(
        late < 4_000,
        "the second thousand of two thousand pushes: bytes of memory that the fourth largest takes",
        "no more than at the beginning, some hundreds",
        late,
        "what was told is done with: a list or a buffer of it grows, and takes room in steps",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 4 · Stop strings (5 points)
#
# "Stop at a blank line", says a request, `stop=["\n\n"]`. The *stop string* isn't shown, nothing behind it is, and it may come in pieces: one token
# ends in `\n`, and the next begins with one.
#
# - The reply ends at the first letter with which **some** stop string is complete. (So with the stops `abcd` and `bc`, `xabcd` ends at its
#   `c`: and shows `xa`.) If more than one is complete with the same letter, the longest counts.
# - Nothing of it may have been shown before. So text is **held back** while it may be a stop string's beginning: the longest end of what has
#   come that some stop string begins with. Nothing more is held back: a reader waits for each letter.
# - Letters count as they are: `STOP` isn't `stop`.
# - How the text is cut into pieces changes neither what is shown in the end nor where it stops.
# - What was shown is done with: after a hundred thousand letters, a piece takes no more work and memory than the first one.
#
# The trap: after `aa`, with the stop `aab`, comes another `a`. One `a` is free now, and two are held back again.
#
# <details><summary>Hint 1</summary>Keep the text that is held back, nothing else. Put new letters behind it one at a time.</details>
# <details><summary>Hint 2</summary>After each letter: does it end with a stop string? If not, what is its longest end that a stop string begins
# with?</details>
# <details><summary>Hint 3</summary>text.endswith(stop), stop.startswith(end).</details>


# %% nbgrader={"grade": false, "grade_id": "stop-matcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class StopMatcher:
    """Lets a reply's text through up to the first stop string.

    Args:
        stops: a list of strings, none of them empty; there may be none in it.

    Attributes:
        stopped: True once a stop string is complete.
    """

    def __init__(self, stops):
        ### BEGIN SOLUTION
        self.stops, self.held, self.stopped = list(stops), "", False
        ### END SOLUTION

    def push(self, text):
        """Take a piece of text, maybe an empty one.

        Returns:
            A str: what may be shown now. Nothing once it has stopped.
        """
        ### BEGIN SOLUTION
        shown = []
        for letter in "" if self.stopped else text:
            held = self.held + letter
            complete = max((len(stop) for stop in self.stops if held.endswith(stop)), default=0)
            if complete:
                self.stopped, self.held = True, ""
                return "".join([*shown, held[: len(held) - complete]])
            keep = next(
                length
                for length in range(len(held), -1, -1)
                if not length
                or any(stop.startswith(held[len(held) - length :]) for stop in self.stops)
            )
            shown.append(held[: len(held) - keep])
            self.held = held[len(held) - keep :]
        return "".join(shown)
        ### END SOLUTION

    def flush(self):
        """The reply has ended; nothing comes after this.

        Returns:
            A str: what was held back. Nothing if it has stopped.
        """
        ### BEGIN SOLUTION
        return self.held
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "stop-matcher-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import allocated, exercise, expect_equal, expect_true

with exercise("stop-matcher"):

    def shows(stops, pieces, expected, stopped, what="", cause=""):
        """What each piece lets through, what flush tells, whether it has stopped."""
        matcher = StopMatcher(list(stops))
        for place, (piece, text) in enumerate(zip(pieces, expected[:-1], strict=True)):
            so_far = "".join(pieces[: place + 1])[-20:]
            case = f"{what or 'stops'} {list(stops)}: what push tells after {so_far!r}, of which {piece[-20:]!r} is new"
            expect_equal(matcher.push(piece), text, case, cause)
        end = f"{what or 'stops'} {list(stops)}, after {''.join(pieces)[-20:]!r}"
        then = "; stopped is True from the push on with which a stop string is complete"
        expect_equal(matcher.stopped, stopped, f"{end}: stopped", f"{cause}{then}".strip("; "))
        expect_equal(matcher.flush(), expected[-1], f"{end}: what flush tells", cause)

    shows(
        ["###"],
        ["Hello", " you"],
        ["Hello", " you", ""],
        False,
        cause="no stop string begins here: show it at once",
    )
    shows(
        ["###"],
        ["Hi###"],
        ["Hi", ""],
        True,
        cause="neither the stop string, nor its beginning, nor what is behind it is shown",
    )
    shows(
        ["###"],
        ["Hi#", "#", "# and more"],
        ["Hi", "", "", ""],
        True,
        cause="a stop string may come in pieces; hold its beginning back",
    )
    shows(
        ["###"],
        ["a#", "b"],
        ["a", "#b", ""],
        False,
        cause="it has become no stop string: show it",
    )
    shows(["###"], ["a##"], ["a", "##"], False, cause="at the end, what was held back is shown")
    shows(
        ["aab"],
        ["aa", "a", "b"],
        ["", "a", "", ""],
        True,
        cause="the longest end of 'aaa' that 'aab' begins with is 'aa': one a is free, two are held back",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: stop strings that overlap themselves; two stops of which one is in the other, complete
    #   at the same letter or earlier; pieces after the stop; capitals; a stop at the beginning; no stops, and
    #   equal ones; empty pieces; stops of one letter, and of many; line breaks and letters of four bytes;
    #   spaces before a stop; letters that only look alike; whole texts in one piece and letter by letter;
    #   random texts of two letters; two matchers; a long reply's work, and what is kept.
    # Stated by: "the longest end of what has come that some stop string begins with" | "the longest
    #   counts" | "Nothing once it has stopped" | "Letters count as they are: `STOP` isn't `stop`" | "Nothing of it may have been shown before" | "there may
    #   be none in it" | "Take a piece of text, maybe an empty one" | "The reply ends at the first letter
    #   with which **some** stop string is complete" | "`stop=["\n\n"]`" | "Lets a reply's text through up to
    #   the first stop string" | "Letters count as they are" | "How the text is cut into pieces changes neither
    #   what is shown in the end nor where it stops" | "Nothing more is held back" | "Lets a reply's text
    #   through" | "a piece takes no more work and memory than the first one"
    # Right because: a stop string that isn't complete yet lies at the end of the text, and its beginning is
    #   the longest end that can be one; everything before it is decided.
    import random

    def reference(stops, text):
        """(what is shown, whether it stops) of a whole text."""
        for end in range(1, len(text) + 1):
            ended = [stop for stop in stops if text[:end].endswith(stop)]
            if ended:
                return text[: end - max(map(len, ended))], True
        return text, False

    def held(stops, text):
        """How many letters of a text that hasn't stopped are held back."""
        return max(
            n
            for n in range(len(text) + 1)
            if not n or any(stop.startswith(text[-n:]) for stop in stops)
        )

    def shows_all(stops, pieces, what="", cause=""):
        expected, before = [], ""
        for place in range(len(pieces)):
            text = "".join(pieces[: place + 1])
            shown, stopped = reference(stops, text)
            if not stopped:
                shown = shown[: len(shown) - held(stops, shown)]
            expected.append(shown[len(before) :])
            before = shown
        whole, stopped = reference(stops, "".join(pieces))
        shows(stops, pieces, [*expected, whole[len(before) :]], stopped, what, cause)

    after = "once it has stopped, nothing is shown any more"
    shows(
        ["."], ["ab", "c"], ["ab", "c", ""], False, cause="a dot is a dot, and no other letter"
    )
    shows(["."], ["a.b", "c", ".", ""], ["a", "", "", "", ""], True, cause=after)
    shows(
        ["stop"], ["Stop, STOP"], ["Stop, STOP", ""], False, cause="letters count as they are"
    )
    first = "the first letter with which some stop string is complete ends the reply, wherever that one began"
    shows(["abcd", "bc"], ["xabcd"], ["xa", ""], True, cause=first)
    shows(["abcd", "bc"], list("xabcd"), ["x", "", "", "a", "", ""], True, cause=first)
    shows(["bc", "abcd"], ["xabxbc"], ["xabx", ""], True, cause=first)
    longest = "both are complete with the same letter: the longer one counts"
    shows(["b", "aab"], ["xaab"], ["x", ""], True, cause=longest)
    shows(["aab", "b"], ["xa", "ab"], ["x", "", ""], True, cause=longest)
    shows(["b", "aab"], ["xab"], ["xa", ""], True, cause="'aab' isn't there: 'b' alone")
    shows(["ab", "abc"], ["abc"], ["", ""], True, cause="'ab' is complete before 'abc' is")
    shows(["abc", "ab"], ["x", "ab"], ["x", "", ""], True, cause="'ab' is complete: don't wait")
    shows(
        ["ab", "abc"], ["abd"], ["", ""], True, cause="'ab' is complete, and 'd' is behind it"
    )
    shows(
        ["stop"],
        ["stop"],
        ["", ""],
        True,
        cause="the stop string is all of the text: nothing is shown",
    )
    shows(
        [],
        ["abc", "", "#"],
        ["abc", "", "#", ""],
        False,
        cause="without stop strings everything is shown at once",
    )
    shows(["ab", "ab"], ["a", "b"], ["", "", ""], True)
    shows(
        ["ab"],
        ["a", "", "", "b"],
        ["", "", "", "", ""],
        True,
        cause="an empty piece changes nothing",
    )
    shows(["\n\n"], ["line\n", "line\n", "\nmore"], ["line", "\nline", "", ""], True)
    shows(["🐘大"], ["ein 🐘", "🐘", "大"], ["ein ", "🐘", "", ""], True)
    shows(
        ["###"],
        ["Yes. \n ###"],
        ["Yes. \n ", ""],
        True,
        cause="all that stands before the stop string is shown, spaces and line breaks, too",
    )
    shows(
        ["\u00e9"],
        ["cafe\u0301", "!"],
        ["cafe\u0301", "!", ""],
        False,
        cause="e and U+0301 look like the stop string's U+00E9, and are two other letters",
    )
    end = "<|end_of_the_text|>"
    many = "a long stop string's beginning is held back as a short one's is"
    shows([end], ["so <|end_of_", "the_text|", "> no"], ["so ", "", "", ""], True, cause=many)
    shows_all([end, "<|end_of_a_turn|>"], list(f"Z{end[:-1]}s<|end_of_a_turn|>"), cause=many)
    shows(["abab"], ["aba", "c", "abab"], ["", "abac", "", ""], True)
    shows(
        ["abac"],
        ["aba", "bac"],
        ["", "ab", ""],
        True,
        cause="the end 'aba' of 'ababa' may go on",
    )
    shows(["aabaaa"], list("aabaabaaa"), ["", "", "", "", "", "aab", "", "", "", ""], True)
    whole = "the same text in one piece and letter by letter: the same is shown, and nothing more held back than must be"
    for stops in (
        ["aab"],
        ["abab"],
        ["aba", "bb"],
        ["aaa", "ab"],
        ["b", "ab"],
        ["abba", "bba", "bab"],
        ["aabaa", "bba"],
    ):
        source = random.Random(len("".join(stops)))
        for _ in range(12):
            text = "".join(source.choices("aab", k=source.randrange(1, 14)))
            shows_all(stops, [text], cause=whole)
            shows_all(stops, list(text), cause=whole)
            pieces = [text[:3], text[3:5], "", text[5:]]
            shows_all(stops, pieces, cause=whole)

    one, other = StopMatcher(["ab"]), StopMatcher(["ab"])
    expect_equal(
        [one.push("a"), other.push("b")],
        ["", "b"],
        "two matchers: 'a' to one, 'b' to the other",
        "each has its own text",
    )
    expect_equal(
        [one.stopped, other.stopped], [False, False], "whether one of the two has stopped"
    )

    long = StopMatcher(["\n\n", "###"])
    for _ in range(50):
        long.push("x" * 2_000)
    took = []
    for text in ("y", "z", "y", "z"):
        _, size = allocated(long.push, text)
        took.append(size)
    expect_true(
        min(took) < 20_000,
        "a push after a reply of 100 000 letters: bytes of memory that it takes",
        "no more than in a short reply, some hundreds",
        min(took),
        "what was shown is done with: only what is held back is needed again",
    )
    long = StopMatcher(["\n\n", "###"])
    took, piece = [], "ten letters"
    for _ in range(1_200):
        _, size = allocated(long.push, piece)
        took.append(size)
    late = sorted(took[600:])[-4]  # growth comes in steps, some of them in these
    expect_true(
        late < 4_000,
        "the last 600 of 1 200 pushes: bytes of memory that the fourth largest takes",
        "no more than at the beginning, some hundreds",
        late,
        "what was shown is done with: a list or a buffer of it grows, and takes room in steps",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 5 · The dispatcher (6 points)
#
# The engine computes steps for everybody. Each reader wants their own text, reads when they like, and may leave. Between them stands the *dispatcher*.
# It has a **box** for each request. A step's tokens go through the request's own **pipe** (your detokenizer and your stop matcher, say), and what comes
# out is put into the box as an **event**, a pair `(text, finish)`. Readers empty their boxes whenever they come. So a slow one delays nobody.
#
# The engine, as the dispatcher sees it (it is unit 04's):
#
# - `engine.add(**wishes)` takes a request and gives its number, a whole one, in no order, maybe 0; or raises, because it can't ever fit or too many
#   wait.
# - `engine.step()` computes a step and gives a list of triples `(number, token, finish)`, at most one for each request. `finish` is `None`; or
#   `"length"` with the last token of a reply; or `"stop"`, and then the token is the stop token, which is no part of the reply. With a finish the
#   request has left the engine. An engine that can't compute raises.
# - `engine.cancel(number)` drops a request and frees its memory at once. For one that has left it does nothing, so to ask for it is allowed.
#
# A pipe, as `text_of(stops)` makes one for a request: `push(token)` and `flush()` give text, and `stopped` is true once a stop string is complete. After that, or
# after an error, a pipe is asked nothing more.
#
# What becomes of a triple:
#
# | the engine says | what is done | event |
# |---|---|---|
# | no finish | push | `(text, None)`; none if there is no text |
# | `"length"` | push, then flush | `(both texts together, "length")` |
# | `"stop"` | no push; flush | `(text, "stop")` |
# | no finish or `"length"`, and after the push the pipe has **stopped** | no flush; the engine's request is cancelled, if it hasn't left | `(text of the push, "stop")` |
# | any of these, and the push or the flush **raises** an exception, of whatever kind | the engine's request is cancelled, if it hasn't left | `("", "error")` |
#
# After an event with a finish nothing more comes. One request's error is nobody else's: all others get what they would have got. An engine's error is
# everybody's: `step` lets it through to whoever called, and the boxes stay as they are.
#
# <details><summary>Hint 1</summary>Two dicts: number -> pipe, of those that still run; number -> box, a list of events, of those that aren't
# forgotten.</details>
# <details><summary>Hint 2</summary>try … except Exception around what the pipe is asked, and nothing else.</details>
# <details><summary>Hint 3</summary>submit: what may raise comes first, what is written down comes last. If text_of raises after engine.add, the engine
# computes a reply that nobody can stop.</details>


# %% nbgrader={"grade": false, "grade_id": "dispatcher", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Dispatcher:
    """Stands between one engine and many readers.

    Args:
        engine: has add, step and cancel, as above.
        text_of: text_of(stops) makes a request's pipe, with push, flush and stopped.

    Attributes:
        open: how many requests are known: those that run, and those whose last event hasn't
            been read.
    """

    def __init__(self, engine, text_of):
        ### BEGIN SOLUTION
        self.engine, self.text_of = engine, text_of
        self.pipes, self.boxes = {}, {}
        ### END SOLUTION

    @property
    def open(self):
        ### BEGIN SOLUTION
        return len(self.boxes)
        ### END SOLUTION

    def submit(self, stops=(), **wishes):
        """Take a request.

        Args:
            stops: for text_of.
            wishes: for engine.add, as they are.

        Returns:
            The number that engine.add gave.

        Raises:
            What text_of or engine.add raises. Then nothing has changed: no request is in the
            engine, none is known here.
        """
        ### BEGIN SOLUTION
        pipe = self.text_of(stops)
        number = self.engine.add(**wishes)
        self.pipes[number], self.boxes[number] = pipe, []
        return number
        ### END SOLUTION

    def step(self):
        """One step of the engine; its tokens become events in the boxes.

        Raises:
            What engine.step raises.
        """
        ### BEGIN SOLUTION
        for number, token, finish in self.engine.step():
            try:
                text, ended = self.through(self.pipes[number], token, finish)
            except Exception:
                text, ended = "", "error"
            if ended:
                del self.pipes[number]
                if not finish:
                    self.engine.cancel(number)
            if text or ended:
                self.boxes[number].append((text, ended))
        ### END SOLUTION

    def read(self, number):
        """The request's events since the last read, a list of pairs in order; maybe empty.

        Once the one with the finish has been read, the number is forgotten.

        Raises:
            KeyError: no such number, or it is forgotten.
        """
        ### BEGIN SOLUTION
        events, self.boxes[number] = self.boxes[number], []
        if number not in self.pipes:
            del self.boxes[number]
        return events
        ### END SOLUTION

    def cancel(self, number):
        """The reader has gone: the engine drops the request if it still runs, and the number
        is forgotten. A number that isn't known, or not any more, does no harm.
        """
        ### BEGIN SOLUTION
        if self.pipes.pop(number, None) is not None:
            self.engine.cancel(number)
        self.boxes.pop(number, None)

    def through(self, pipe, token, finish):
        """(text, finish) of a token that goes through its pipe."""
        if finish == "stop":
            return pipe.flush(), "stop"
        text = pipe.push(token)
        if pipe.stopped:
            return text, "stop"
        return (text + pipe.flush(), "length") if finish else (text, None)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dispatcher-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import (
    ScriptedEngine,
    ScriptedPipes,
    exercise,
    expect_equal,
    expect_raises,
    told,
    whole_numbers,
)

with exercise("dispatcher"):
    # The test's engine repeats a request's prompt, a token a step. Its pipes make "a" of token 1, "b" of 2 and so on; a
    # token of 100 more is the same letter, held back until the next one. A stop letter stops and isn't shown. The token
    # 66 makes a pipe raise.

    def new(places=100):
        """An engine, pipes, and a dispatcher of yours between them."""
        engine, pipes = ScriptedEngine(places), ScriptedPipes()
        return engine, pipes, Dispatcher(engine, pipes)

    def submit(desk, prompt, most=99, stops=(), **wishes):
        number = desk.submit(
            stops=list(stops), prompt=list(prompt), max_new_tokens=most, **wishes
        )
        return whole_numbers([number], "what submit returns")[0]

    def expect_events(desk, number, expected, what, cause=""):
        expect_equal(desk.read(number), expected, f"{what}: what read returns", cause)

    def expect_no_complaints(pipes, what):
        expect_equal(
            pipes.complaints[:3], [], f"{what}: what pipes were asked that they mustn't be"
        )

    engine, pipes, desk = new()
    ann, bob = submit(desk, [1, 2, 3]), submit(desk, [24, 25, 26, 24])
    expect_equal(
        [ann, bob], engine.numbers, "numbers of ann and bob: those that engine.add gave"
    )
    expect_equal(desk.open, 2, "open requests")
    expect_events(desk, ann, [], "ann, before the first step")
    desk.step()
    expect_events(desk, ann, [("a", None)], "ann, after a step")
    desk.step()
    desk.step()
    expect_equal(engine.steps, 3, "steps of the engine after three steps")
    expect_events(
        desk,
        ann,
        [("b", None), ("c", "length")],
        "ann, after two more",
        "all since the last read, in order",
    )
    expect_events(
        desk,
        bob,
        [("x", None), ("y", None), ("z", None)],
        "bob, who reads for the first time",
        "his events wait in his own box",
    )
    expect_equal(
        desk.open,
        1,
        "open requests when ann has read her last event",
        "her number is forgotten then",
    )
    expect_raises(KeyError, lambda: desk.read(ann), "ann reads again")

    engine, pipes, desk = new()
    ann = submit(desk, [1, 102, 9, 3], stop_token=9)
    for _ in range(3):
        desk.step()
    expect_events(
        desk,
        ann,
        [("a", None), ("b", "stop")],
        "ann's stop token 9 comes third; her second letter was held back until then",
        "a step without text is no event; at a stop token the pipe is flushed, and that token isn't pushed",
    )
    engine, pipes, desk = new()
    ann = submit(desk, [1, 2, 3], stops=["b"])
    desk.step()
    desk.step()
    expect_events(
        desk,
        ann,
        [("a", None), ("", "stop")],
        "ann stops at the letter b",
        "her pipe has stopped: finish 'stop'",
    )
    expect_equal(
        len(engine.running),
        0,
        "requests in the engine when ann's pipe has stopped",
        "cancel it: nobody wants the rest",
    )
    expect_no_complaints(pipes, "ann stops at the letter b")
    ### BEGIN HIDDEN TESTS
    # Looks at: text held back at each kind of end; a stop string with the last token; a pipe that raises at a push, at the
    #   last one, at the end, and errors of all kinds; the others in that step, and before and after; an engine that fails;
    #   requests that are refused, by the engine and by text_of; a reader who leaves, twice, before the first step, after the
    #   last; numbers never heard of; number 0; one who never reads; what is forgotten when; steps of nobody; wishes and
    #   stops passed on; how often the engine and the pipes are asked; two dispatchers; many requests that come, read and
    #   leave at random.
    # Stated by: "push, then flush" | "after the push the pipe has **stopped**" | "**raises** an exception, of whatever kind" |
    #   "One request's error is nobody else's: all others get what they would have got" | "What engine.step raises" | "Then
    #   nothing has changed: no request is in the engine, none is known here" | "the engine drops the request if it still runs, and the number is forgotten" | "A
    #   number that isn't known, or not any more, does no harm" | "in no order, maybe 0" | "a slow one delays nobody" | "those that run, and those whose
    #   last event hasn't been read" | "One step of the engine; its tokens become events in the boxes" | "for engine.add, as they
    #   are" | "is asked nothing more" | "Stands between one engine and many readers" | "After an event with a finish nothing
    #   more comes"
    # Right because: a reader's events depend on their own request alone; and whatever way a request ends, engine, pipe and
    #   box forget it.
    import random

    def steps(desk, count):
        for _ in range(count):
            desk.step()

    def alone(prompt, expected, what, cause="", most=99, stops=(), **wishes):
        engine, pipes, desk = new()
        number = submit(desk, prompt, most, stops, **wishes)
        steps(desk, len(prompt) + 1)
        expect_events(desk, number, expected, what, cause)
        expect_equal(
            [len(engine.running), desk.open],
            [0, 0],
            f"{what}: requests in the engine, and open ones, in the end",
        )
        expect_no_complaints(pipes, what)

    alone(
        [101],
        [("a", "length")],
        "one token, held back, is the last",
        "push, then flush: both texts are one event",
    )
    alone([1, 2, 3], [("a", None), ("b", "length")], "two tokens are asked for", most=2)
    alone(
        [1, 102],
        [("a", None), ("b", "length")],
        "the last of two is held back",
        "the flush is part of the last event",
    )
    alone(
        [9],
        [("", "stop")],
        "the stop token comes first",
        "an event with a finish is one, also without text",
        stop_token=9,
    )
    alone(
        [1, 9],
        [("a", None), ("", "stop")],
        "a stop token behind a letter",
        "the stop token is no part of the reply",
        stop_token=9,
    )
    alone(
        [101, 102, 9],
        [("a", None), ("b", "stop")],
        "letters held back, and a stop token",
        stop_token=9,
    )
    alone(
        [-1, -1, 1, -1, 2],
        [("a", None), ("b", "length")],
        "steps in which the engine has no token for it",
    )
    stopped = "its pipe has stopped: finish 'stop', whatever the engine says, and no flush"
    alone(
        [1, 2],
        [("a", None), ("", "stop")],
        "a stop letter with the last token",
        stopped,
        stops=["b"],
    )
    alone(
        [101, 2, 3],
        [("a", "stop")],
        "a stop letter behind one that was held back",
        "what the push gave is shown",
        stops=["b"],
    )
    alone([2], [("", "stop")], "a stop letter as the only token", stopped, stops=["b"])
    alone(
        [1, 2, 3],
        [("a", None), ("b", None), ("c", "length")],
        "other stop letters",
        stops=["x", "y"],
    )
    error = "a pipe that raises ends its own request: ('', 'error')"
    alone([1, 66, 3], [("a", None), ("", "error")], "a pipe raises at its second token", error)
    alone([66], [("", "error")], "a pipe raises at the only token", error)
    alone(
        [1, 67, 9],
        [("a", None), ("", "error")],
        "a pipe raises when it is flushed at the stop token",
        error,
        stop_token=9,
    )
    alone(
        [1, 67, 2],
        [("a", None), ("", "error")],
        "a pipe raises when it is flushed at the last token",
        error,
    )

    engine, pipes, desk = new()
    prompts = {
        "ann": [1, 2, 3, 4],
        "eve": [5, 66, 7, 8],
        "bob": [11, 12, 113, 14],
        "dan": [5, 67],
    }
    numbers = {name: submit(desk, prompt) for name, prompt in prompts.items()}
    steps(desk, 2)
    expect_equal(
        sorted(engine.running),
        sorted([numbers["ann"], numbers["bob"]]),
        "who runs when eve's and dan's pipes have raised",
        "who has raised is cancelled; of all others each token counts: one request's error is nobody else's",
    )
    steps(desk, 2)
    others = "one request's error is nobody else's"
    expect_events(
        desk,
        numbers["ann"],
        told([1, 2, 3, 4], 99),
        "ann, served beside two whose pipes raise",
        others,
    )
    expect_events(
        desk,
        numbers["bob"],
        told([11, 12, 113, 14], 99),
        "bob, served beside two whose pipes raise",
        others,
    )
    expect_events(
        desk, numbers["eve"], [("e", None), ("", "error")], "eve, whose pipe raised", error
    )
    expect_events(
        desk,
        numbers["dan"],
        [("e", None), ("", "error")],
        "dan, whose pipe raised at the end",
        error,
    )
    expect_equal(desk.open, 0, "open requests when all have read")
    expect_no_complaints(pipes, "two whose pipes raise")

    class Odd(Exception):
        """An error of a kind that nobody has heard of."""

        is_an_answer = True  # code may count on it

    class Lost(OSError):
        """The engine has lost its card."""

        is_an_answer = True

    class OddPipe:
        """Raises at a push."""

        learner_may = ("push", "flush", "stopped")
        stopped = False

        def push(self, token):
            raise Odd("this token can't be shown")

        def flush(self):
            return ""

    class OddEngine(ScriptedEngine):
        """Numbers its requests from 0, and fails when `fails` says so."""

        fails = False

        def add(self, **wishes):
            return self.numbers.index(super().add(**wishes))

        def step(self):
            if self.fails:
                raise Lost("the engine can't compute")
            return [(self.numbers.index(number), *rest) for number, *rest in super().step()]

        def cancel(self, number):
            is_one = type(number) is int and 0 <= number < len(self.numbers)
            return super().cancel(self.numbers[number] if is_one else number)

    odd = Dispatcher(ScriptedEngine(), lambda stops: OddPipe())
    number = odd.submit(prompt=[1, 2], max_new_tokens=2)
    any_kind = "a pipe's error may be of any kind: except Exception"
    try:
        odd.step()
        let_through = False
    except Exception:
        let_through = True
    expect_equal(let_through, False, "a pipe raises, and so does step", any_kind)
    expect_events(
        odd, number, [("", "error")], "a pipe raises an exception of its own", any_kind
    )

    engine, pipes = OddEngine(), ScriptedPipes()
    desk = Dispatcher(engine, pipes)
    ann, bob = submit(desk, [1, 2, 3]), submit(desk, [4, 5, 6])
    expect_equal([ann, bob], [0, 1], "an engine that numbers from 0: what submit returns")
    desk.step()
    expect_events(
        desk, ann, [("a", None)], "request 0, after a step", "0 is a number as others"
    )
    engine.fails = True
    through = "it is no pipe that failed: what engine.step raises is for whoever called step"
    expect_raises(OSError, desk.step, "a step in which the engine raises OSError", through)
    expect_equal(desk.open, 2, "open requests after an engine's error", through)
    engine.fails = False
    desk.cancel(ann)
    expect_equal(
        len(engine.running),
        1,
        "requests in the engine when request 0 has left",
        "cancel frees at once",
    )
    steps(desk, 2)
    expect_events(
        desk, bob, told([4, 5, 6], 99), "bob, when the engine computes again", through
    )
    expect_no_complaints(pipes, "an engine that failed")

    engine, pipes, desk = new(places=1)
    ann = submit(desk, [1, 2])
    refused = "what engine.add raises is the caller's to hear, and nothing has changed"
    expect_raises(
        RuntimeError,
        lambda: desk.submit(prompt=[3], max_new_tokens=1),
        "a request when the engine is full",
        refused,
    )
    expect_equal(
        [desk.open, len(engine.running)],
        [1, 1],
        "open requests, and those in the engine, then",
        refused,
    )
    expect_raises(
        ValueError,
        lambda: desk.submit(prompt=[], max_new_tokens=1),
        "a request with an empty prompt",
        refused,
    )
    expect_equal(
        [desk.open, len(engine.running)],
        [1, 1],
        "open requests, and those in the engine, then",
        refused,
    )
    steps(desk, 2)
    expect_events(desk, ann, told([1, 2], 99), "ann, who was there before", refused)
    first = "what text_of raises leaves no request behind in the engine: make the pipe before you add"
    expect_raises(
        ValueError,
        lambda: desk.submit(["?"], prompt=[1, 2], max_new_tokens=2),
        "stops that text_of refuses",
        first,
    )
    expect_equal(
        [desk.open, len(engine.running)],
        [0, 0],
        "open requests, and those in the engine, then",
        first,
    )

    engine, pipes, desk = new()
    ann, bob, eve = (submit(desk, [n, n, n]) for n in (1, 2, 3))
    desk.cancel(eve)
    expect_equal(
        eve in engine.running,
        False,
        "eve leaves before the first step: she is in the engine",
        "cancel frees at once",
    )
    desk.step()
    desk.cancel(ann)
    expect_equal(
        sorted(engine.running),
        [bob],
        "who runs when ann and eve have left",
        "cancel frees at once, and hers alone",
    )
    expect_equal(desk.open, 1, "open requests when ann and eve have left")
    for who, name in ((ann, "ann"), (eve, "eve")):
        expect_raises(
            KeyError,
            lambda who=who: desk.read(who),
            f"{name} reads after she has left",
            "the number is forgotten",
        )
    for number in (ann, eve, 5, 999_999):
        desk.cancel(number)
        expect_equal(
            desk.open, 1, f"open requests after number {number} is cancelled, which isn't known"
        )
    for number in (ann, 5, 999_999):
        expect_raises(
            KeyError,
            lambda number=number: desk.read(number),
            f"number {number} reads, which isn't known",
        )
    steps(desk, 2)
    expect_equal(
        desk.open,
        1,
        "open requests when bob's reply is complete and not read",
        "he hasn't read his last event",
    )
    expect_events(desk, bob, told([2, 2, 2], 99), "bob, when the others have left")
    desk.cancel(bob)
    expect_equal(
        [desk.open, engine.cancelled],
        [0, [eve, ann]],
        "open requests, and those cancelled in the engine",
    )
    ann = submit(desk, [1])
    desk.step()
    desk.cancel(ann)
    expect_equal(desk.open, 0, "open requests when ann has left without reading her last event")
    expect_raises(KeyError, lambda: desk.read(ann), "ann reads after she has left")
    expect_no_complaints(pipes, "readers who leave")

    engine, pipes, desk = new()
    desk.step()
    expect_equal(
        [engine.steps, desk.open],
        [1, 0],
        "steps of the engine, and open requests, after a step for nobody",
    )
    slow, quick = submit(desk, [1] * 30), submit(desk, [2] * 30)
    for _ in range(30):
        desk.step()
        expect_equal(
            len(desk.read(quick)),
            1,
            "events that the quick reader finds after a step, while another never reads",
        )
    expect_equal(desk.open, 1, "open requests when the quick one is done")
    expect_events(
        desk, slow, told([1] * 30, 99), "the slow reader, at last", "events wait in the box"
    )
    expect_equal(
        [engine.steps, len(pipes.pushed)],
        [31, 60],
        "steps of the engine, and tokens pushed",
        "each token once",
    )

    engine, pipes, desk = new()
    other_engine, other_pipes, other = new()
    ann = submit(desk, [1, 2])
    expect_equal(
        [desk.open, other.open],
        [1, 0],
        "open requests of two dispatchers, one of which has ann",
    )
    other.step()
    expect_events(desk, ann, [], "ann, after a step of the other dispatcher")

    # Random life: whoever comes, reads and leaves, each reader's events are those of their own request.
    source = random.Random(9)
    engine, pipes, desk = new(places=12)
    due, found = {}, {}  # number -> the events of its request, and those that were read
    for turn in range(120):
        what = source.random()
        if what < 0.35 and len(engine.running) < 12:
            prompt = [
                source.choice([1, 2, 3, 101, 102, 103, -1, 9])
                for _ in range(source.randrange(1, 9))
            ] + [4]
            most, stops = source.randrange(1, 9), source.choice([[], ["b"], ["c", "a"]])
            stop_token = source.choice([None, 9])
            number = submit(desk, prompt, most, stops, stop_token=stop_token)
            due[number], found[number] = told(prompt, most, stop_token, stops), []
        elif what < 0.55 and due:
            number = source.choice(sorted(due))
            events = desk.read(number)
            found[number] = [*found[number], *[list(event) for event in events]]
            whole = [list(event) for event in due[number]]
            expect_equal(
                found[number],
                whole[: len(found[number])],
                f"turn {turn}: all events that a reader has read so far",
            )
            if len(found[number]) == len(whole):
                del due[number], found[number]
        elif what < 0.65 and due:
            number = source.choice(sorted(due))
            desk.cancel(number)
            expect_equal(
                number in engine.running, False, f"turn {turn}: who has left is in the engine"
            )
            del due[number], found[number]
        else:
            desk.step()
        expect_equal(
            desk.open,
            len(due),
            f"turn {turn}: open requests",
            "those that run, and those not read to their end",
        )
    steps(desk, 12)
    for number, events in due.items():
        left = [list(event) for event in events][len(found[number]) :]
        expect_equal(
            desk.read(number), left, "in the end: the events that a reader hasn't read yet"
        )
    expect_equal(
        [desk.open, len(engine.running)],
        [0, 0],
        "in the end: open requests, and those in the engine",
        "nothing is left behind",
    )
    expect_no_complaints(pipes, "many requests")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · Messages that others understand (4 points)
#
# Thousands of programs talk to OpenAI's API. Whoever speaks its language needs no client of their own. A streamed reply of its chat is a row of
# **chunks**, and each is a JSON object like this:
#
# ```
# {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1700000000, "model": "smol",
#  "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": null}]}
# ```
#
# 1. The first chunk's `delta` is `{"role": "assistant", "content": ""}`. It comes before there is any text, so that a client knows that it was heard.
# 2. Then a chunk for each piece of text, with the delta `{"content": piece}`.
# 3. Then one with an empty delta, `{}`, and the `finish_reason`: `"stop"` or `"length"`. In all chunks before, it is there and null.
# 4. If the client asked for the **usage**, one more chunk, with `choices` an empty list, and
#    `"usage": {"prompt_tokens": …, "completion_tokens": …, "total_tokens": …}`. All chunks before it have `"usage": null` then. If it didn't ask, no chunk has
#    that field.
#
# On the wire each is an event of an *event stream* (exercise 7): the letters `data: `, the JSON in one line, and a blank line. (Lines may end with
# `\n` or with `\r\n`.) After the last one comes an event whose data is no JSON: `[DONE]`.
#
# And when something is wrong, there is one form for it, with a *type* by which programs decide whether it is worth trying again:
#
# ```
# {"error": {"message": "…", "type": "invalid_request_error",
#            "param": "temperature", "code": null}}
# ```
#
# | HTTP status | type |
# |---|---|
# | 401 | `authentication_error` |
# | 403 | `permission_error` |
# | 429, too many requests | `rate_limit_error` |
# | all others from 400 to 499 | `invalid_request_error` |
# | 500 to 599 | `server_error` |
#
# (OpenAI's own server has further types and codes. Clients go by the status first.)
#
# 2 points are for the chunks, 1 for the stream, 1 for errors.
#
# <details><summary>Hint 1</summary>A helper that makes a chunk of a list of choices, and another one that makes a choice.</details>
# <details><summary>Hint 2</summary>json.dumps makes None null, and writes a line break in a text as \n. Nothing of the stream is longer than a
# line.</details>


# %% nbgrader={"grade": false, "grade_id": "chat-chunks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def chat_chunks(identity, pieces, finish, usage=None):
    """The chunks of a streamed chat reply.

    Args:
        identity: a dict with "id", "created" and "model" and nothing else, the same for all
            chunks.
        pieces: a list of strings, in order; maybe none.
        finish: "stop" or "length".
        usage: tokens of the prompt and of the reply, a pair; None if the client didn't ask.

    Returns:
        A list of dicts. Further fields of the API are allowed in chunks, choices and the
        usage, and none in a delta.
    """
    ### BEGIN SOLUTION
    asked = {} if usage is None else {"usage": None}

    def chunk(choices):
        return {"object": "chat.completion.chunk", **identity, "choices": choices, **asked}

    def choice(delta, reason=None):
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    chunks = [chunk(choice({"role": "assistant", "content": ""}))]
    chunks += [chunk(choice({"content": piece})) for piece in pieces]
    chunks.append(chunk(choice({}, finish)))
    if usage is not None:
        prompt, completion = usage
        numbers = {"prompt_tokens": prompt, "completion_tokens": completion}
        chunks.append({**chunk([]), "usage": {**numbers, "total_tokens": prompt + completion}})
    return chunks
    ### END SOLUTION


def event_stream(chunks):
    """Chunks as they go over the wire.

    Args:
        chunks: a list of dicts that JSON can say; with no halves of pairs, U+D800 to U+DFFF,
            in their texts.

    Returns:
        bytes, UTF-8: an event for each, with its JSON as data, and one more, [DONE].
    """
    ### BEGIN SOLUTION
    lines = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode()
    ### END SOLUTION


def error_body(status, message, parameter=None):
    """What a client is told when something is wrong.

    Args:
        status: of HTTP, 400 to 599.
        message: what happened, in words.
        parameter: the name of the field that was wrong; None if it is none.

    Returns:
        (status, body): the status as it is, and a dict as above; its code is None. Further
        fields are allowed in the error, and none beside it.
    """
    ### BEGIN SOLUTION
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = types.get(status, "invalid_request_error" if status < 500 else "server_error")
    return status, {
        "error": {"message": message, "type": kind, "param": parameter, "code": None}
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "chat-chunks-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_fields, expect_json

with exercise("chat-chunks"):

    def expect_chunks(pieces, finish, usage, what):
        """Each chunk of a reply, field by field."""
        identity = {"id": "chatcmpl-7", "created": 1_700_000_000, "model": "smol"}
        got = expect_json(
            chat_chunks(dict(identity), list(pieces), finish, usage),
            f"{what}: what chat_chunks returns",
        )
        deltas = [
            {"role": "assistant", "content": ""},
            *[{"content": piece} for piece in pieces],
            {},
        ]
        count = len(deltas) + (usage is not None)
        said = "the role, a chunk a piece, the finish" + (
            ", the usage" if usage is not None else ""
        )
        expect_equal(
            len(got) if type(got) is list else got, count, f"{what}: number of chunks", said
        )
        for place, chunk in enumerate(got):
            where = f"{what}: chunk {place}"
            fields = {"object": "chat.completion.chunk", **identity}
            expect_fields(chunk, fields, where, "what a chunk is, and whose, stands in each")
            if place == len(deltas):
                prompt, completion = usage
                numbers = {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                }
                alone = "the usage comes by itself, behind all: no choices, and the sum"
                expect_fields(chunk, {"choices": []}, where, alone)
                expect_fields(chunk.get("usage"), numbers, f"{where}, its usage", alone)
                continue
            if usage is None:
                expect_equal(
                    "usage" in chunk,
                    False,
                    f"{where} has a usage",
                    "who doesn't ask gets no such field",
                )
            else:
                expect_fields(
                    chunk,
                    {"usage": None},
                    where,
                    "null in all chunks before the last, when it was asked for",
                )
            expect_equal(
                len(chunk["choices"]) if type(chunk.get("choices")) is list else None,
                1,
                f"{where}: number of choices",
            )
            reason = finish if place == len(deltas) - 1 else None
            choice, inside = chunk["choices"][0], f"{where}, its choice"
            expect_fields(
                choice,
                {"index": 0, "delta": deltas[place]},
                inside,
                "first the role, then the pieces, then nothing",
            )
            expect_fields(
                choice,
                {"finish_reason": reason},
                inside,
                "the finish comes alone, behind the text; null before",
            )

    expect_chunks(["Hello", " you"], "stop", None, "two pieces, no usage asked for")
    expect_chunks(["Hello"], "length", (12, 5), "one piece, usage of 12 and 5 tokens")
    ### BEGIN HIDDEN TESTS
    # Looks at: no pieces; empty ones; many; letters of several bytes; both finishes; a usage of no tokens; another identity
    #   and the dict that was given.
    # Stated by: "a list of strings, in order; maybe none" | "Then a chunk for each piece of text" | "a list of strings, in order" |
    #   "with the delta `{"content": piece}`" | "finish: "stop" or "length"" | "None if the client didn't ask" | "the same for
    #   all chunks"
    # Right because: each chunk says whose it is, so that a client needs no memory; and what ends a reply comes behind all
    #   of it.
    expect_chunks([], "stop", None, "no pieces")
    expect_chunks([], "length", (3, 0), "no pieces, usage of 3 and 0 tokens")
    expect_chunks(["", "a", ""], "stop", None, "empty pieces among three")
    expect_chunks(
        ["ein ", "🐘", "\n\n", '"quoted"'],
        "length",
        None,
        "pieces with an elephant, line breaks and quotes",
    )
    expect_chunks([str(n) for n in range(200)], "stop", (7, 200), "two hundred pieces")
    expect_chunks(["a"], "stop", (0, 0), "usage of no tokens")
    given = {"id": "x", "created": 5, "model": "m"}
    got = expect_json(
        chat_chunks(given, ["a"], "stop"), "usage left out: what chat_chunks returns"
    )
    expect_equal(len(got), 3, "usage left out: number of chunks")
    for place, chunk in enumerate(got):
        expect_fields(
            chunk, {"id": "x", "created": 5, "model": "m"}, f"another identity: chunk {place}"
        )
    expect_equal(
        given,
        {"id": "x", "created": 5, "model": "m"},
        "the identity that was given",
        "it belongs to the caller",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "event-stream-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
import json

from fridge.testing import exercise, expect_equal, expect_true, stream_events

with exercise("event-stream"):

    def expect_stream(chunks, what):
        """The stream, read by the test's own parser."""
        got = event_stream([dict(chunk) for chunk in chunks])
        expect_true(
            type(got) is bytes,
            f"{what}: what event_stream returns",
            "bytes",
            got,
            "encode it: what goes over a wire is bytes",
        )
        events = stream_events(bytes(got))
        blank = "an event ends with a blank line, the last one too"
        expect_equal(len(events), len(chunks) + 1, f"{what}: number of events", blank)
        expect_equal(events[-1], "[DONE]", f"{what}: the last event's data")
        for place, event in enumerate(events[:-1]):
            try:
                value = json.loads(event)
            except ValueError:
                value = event
            expect_equal(
                value,
                chunks[place],
                f"{what}: event {place}, read as JSON",
                "JSON's own words: null, and double quotes",
            )

    expect_stream([{"id": "a", "usage": None}, {"n": 2}], "two small chunks")
    ### BEGIN HIDDEN TESTS
    # Looks at: no chunks; line breaks, quotes, backslashes and letters of all lengths in texts; truth values and lists; a
    #   whole chunk of the API; many chunks.
    # Stated by: "one more, [DONE]" | "the JSON in one line" | "a list of dicts that JSON can say" | "Chunks as they go over
    #   the wire" | "an event for each, with its JSON as data"
    # Right because: JSON has a way to write a line break without one, so that an event's data stays on a line.
    expect_stream([], "no chunks")
    expect_stream(
        [{"t": "a\nb\r\nc\rd\n\n"}, {"t": 'say "\\n"'}],
        "texts with line breaks, quotes and backslashes",
    )
    expect_stream(
        [{"t": "Käse 大象 🐘 \u2028 \x00 data: x"}, {"t": ""}],
        "texts with letters of all lengths",
    )
    expect_stream(
        [{"a": True, "b": [1, 2.5, {"c": None}], "d": {}}], "truth values, lists and dicts"
    )
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
    whole = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_700_000_000}
    expect_stream(
        [{**whole, "model": "smol", "choices": [choice]}, {**whole, "choices": []}],
        "a whole chunk, and one without choices",
    )
    expect_stream([{"n": n} for n in range(100)], "a hundred chunks")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "error-body-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_fields, expect_json, expect_parts

with exercise("error-body"):

    def expect_error(status, kind, *parameter, cause=""):
        what = f"error_body({', '.join([str(status), repr('no luck'), *map(repr, parameter)])})"
        code, body = expect_parts(
            error_body(status, "no luck", *parameter), "status, body", what
        )
        expect_equal(code, status, f"{what}: the status")
        body = expect_json(body, f"{what}: the body")
        expect_fields(body, {}, f"{what}: the body")
        expect_equal(
            list(body),
            ["error"],
            f"{what}: the body's fields",
            "one field, error, with a dict in it",
        )
        fields = {
            "message": "no luck",
            "type": kind,
            "param": [*parameter, None][0],
            "code": None,
        }
        expect_fields(body["error"], {"type": kind}, f"{what}: the error", cause)
        all_four = "all four fields are there, as they were given; None where there is nothing"
        expect_fields(body["error"], fields, f"{what}: the error", all_four)

    expect_error(400, "invalid_request_error", "temperature")
    expect_error(
        429, "rate_limit_error", cause="too many requests: a client may try again later"
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: all statuses of the table; others from 400 to 599; a parameter, and none.
    # Stated by: "with a *type* by which programs decide" | "all others from 400 to 499" | "the name of the field that was wrong; None if it is none"
    # Right because: a client that knows the type knows whether it, the key, the load or the server is to blame.
    table = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    for status in (400, 401, 403, 404, 408, 413, 415, 418, 422, 429, 431, 451, 499):
        expect_error(
            status,
            table.get(status, "invalid_request_error"),
            cause="the table says which type a status has",
        )
    for status in (500, 501, 502, 503, 504, 529, 599):
        expect_error(status, "server_error", cause="500 to 599 are the server's fault")
    expect_error(422, "invalid_request_error", "max_tokens")
    expect_error(503, "server_error", None)
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · The other end of the wire (4 points)
#
# Now the client. Bytes come from a network in any pieces: half a line, half a letter, three events at once. Write what reads them. The format is
# WHATWG's *event stream*, which every browser knows as `EventSource`:
#
# - The stream is UTF-8. A byte order mark (BOM, `ef bb bf`) at its very beginning is dropped; bytes that are no UTF-8 become `�`.
# - A line ends with `\n`, with `\r`, or with `\r\n`. A `\r` ends its line at once; if the next byte is `\n`, it belongs to it, and ends nothing.
# - A **blank line** ends an event. If the event had a line with the field `data`, it is *complete*; if not, nothing has happened.
# - Any other line is a field: its name is what stands before the first colon, its value what stands behind. **One** space right behind
#   the colon is taken off. A line without a colon is a name with an empty value.
# - The values of an event's `data` lines, joined by `\n`, are its data. Fields of all other names (`event`, `id`, `retry` are known) don't concern us here. A line
#   that begins with a colon is a comment; servers send them so that nobody thinks they are dead.
#
# What has been returned is done with: after a million events, `feed` has no more to do than after one, and keeps no more. (A line that isn't
# complete yet may be put together anew with each piece: how long that takes nobody looks.)
#
# <details><summary>Hint 1</summary>Keep what is no complete line yet as bytes, and decode whole lines: a letter's bytes are never a
# line's end.</details>
# <details><summary>Hint 2</summary>Remember whether the last byte was a \r. If the next ones begin with \n, drop that.</details>
# <details><summary>Hint 3</summary>name, _, value = line.partition(":"); value.removeprefix(" ").</details>


# %% nbgrader={"grade": false, "grade_id": "sse-parser", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SSEParser:
    """Reads an event stream that comes in any pieces."""

    def __init__(self):
        ### BEGIN SOLUTION
        self.line, self.data = b"", []
        self.first, self.after_return = True, False
        ### END SOLUTION

    def feed(self, data):
        """Take the next bytes, maybe none.

        Returns:
            A list of strings: the data of all events that are complete now, in order, each
            returned once. An event is complete as soon as the line that ends it has ended.
        """
        ### BEGIN SOLUTION
        events = []
        for part in re.split(rb"(\r\n|\r|\n)", data):
            if part not in (b"\r\n", b"\r", b"\n"):
                self.line += part
                self.after_return = self.after_return and not part
                continue
            if part == b"\n" and self.after_return:
                self.after_return = False
                continue
            self.after_return = part == b"\r"
            events += self.end_of_line()
        return events

    def end_of_line(self):
        """The event that a line has completed, in a list, or none."""
        line, self.line = self.line, b""
        if self.first:
            line, self.first = line.removeprefix(b"\xef\xbb\xbf"), False
        name, _, value = line.decode(errors="replace").partition(":")
        if not line:
            lines, self.data = self.data, []
            return ["\n".join(lines)] if lines else []
        if name == "data":
            self.data.append(value.removeprefix(" "))
        return []
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sse-parser-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import allocated, exercise, expect_equal, expect_true, stream_events

with exercise("sse-parser"):

    def reads(pieces, expected, what, cause=""):
        """What feed returns for each piece."""
        parser = SSEParser()
        for place, (piece, events) in enumerate(zip(pieces, expected, strict=True)):
            before = b"".join(pieces[:place])[-30:]
            case = f"{what}: feed({piece[-40:]!r})" + (f" after {before!r}" if before else "")
            expect_equal(parser.feed(piece), events, case, cause)

    reads([b"data: hello\n\n"], [["hello"]], "one event")
    reads(
        [b"data: a\n\ndata: b\n\nda"],
        [["a", "b"]],
        "two events and a beginning",
        "all that are complete",
    )
    reads(
        [b"data: a\n\n", b"data: b\n\n"],
        [["a"], ["b"]],
        "two events in two pieces",
        "each event is returned once",
    )
    reads(
        [b"data: hel", b"lo\n", b"\n"],
        [[], [], ["hello"]],
        "one event in three pieces",
        "it is complete at its blank line",
    )
    reads(
        ["data: 🐘\n\n".encode()[:8], "data: 🐘\n\n".encode()[8:]],
        [[], ["🐘"]],
        "a letter in two pieces",
        "decode whole lines",
    )
    reads(
        [b"data: one\ndata: two\n\n"],
        [["one\ntwo"]],
        "two data lines of one event",
        "they are joined by a line break",
    )
    reads(
        [b": I am here\n\ndata:x\n\n"],
        [["x"]],
        "a comment and an event",
        "a line that begins with a colon is a comment, and an event without data lines is none",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: lines that end with each of the three, mixed, and cut between \r and \n; letters that end lines elsewhere; a
    #   BOM at the beginning, cut, twice and elsewhere; bytes that are no UTF-8; blank lines without an event, and lines that
    #   look blank; data lines without a colon, empty ones, with spaces and further colons; other fields; names that only look
    #   like data; a byte at a time; every cut into two; random streams; no bytes; events returned once; two parsers; a long
    #   stream's work, and what is kept.
    # Stated by: "A line ends with `\n`, with `\r`, or with `\r\n`" | "A line ends with `\n`, with `\r`, or with `\r\n`" | "A byte order mark (BOM, `ef bb bf`) at its very beginning is
    #   dropped" | "bytes that are no UTF-8 become `�`" | "if not, nothing has happened" | "**One** space right behind the colon is
    #   taken off" | "Fields of all other names" | "its name is what stands before the first colon" | "Reads an event stream that
    #   comes in any pieces" | "half a line, half a letter, three events at once" | "An event is complete as soon as the line that
    #   ends it has ended" | "Take the next bytes, maybe none" | "in order, each returned once" | "Reads an event stream" | "after a
    #   million events, `feed` has no more to do than after one"
    # Right because: a line's end is a byte that is in no letter, so that lines can be cut out of bytes; and what a \n after a \r
    #   means is known from the byte before.
    import random

    def reads_as_stated(pieces, what, cause=""):
        expected, before = [], 0
        for place in range(len(pieces)):
            events = stream_events(b"".join(pieces[: place + 1]))
            expected.append(events[before:])
            before = len(events)
        reads(pieces, expected, what, cause)

    endings = {
        b"data: a\r\rdata: b\r\r": "lines that end with \\r",
        b"data: a\r\n\r\ndata: b\r\n\r\n": "lines that end with \\r\\n",
        b"data: a\rdata: b\ndata: c\r\n\ndata: d\n\r\n": "lines that end in three ways",
        b"\r\n\r\ndata: a\n\r": "blank lines before the first event",
    }
    for raw, what in endings.items():
        cause = "\\r, \\n and \\r\\n each end one line; a \\n right behind a \\r ends none"
        reads_as_stated([raw], what, cause)
        for cut in range(1, len(raw)):
            reads_as_stated([raw[:cut], raw[cut:]], f"{what}, cut behind byte {cut}", cause)
        reads_as_stated(
            [raw[n : n + 1] for n in range(len(raw))], f"{what}, a byte at a time", cause
        )
    reads(
        [b"data: a\r", b"", b"\ndata: b\r\n", b"\r\n"],
        [[], [], [], ["a\nb"]],
        "no bytes between \\r and \\n",
        "they still belong together",
    )
    reads(
        [b"data: a\r\r"],
        [["a"]],
        "an event whose blank line ends with \\r",
        "don't wait for what follows: it is complete",
    )
    bom = b"\xef\xbb\xbf"
    at_the_start = "the BOM at the very beginning is dropped, and nowhere else"
    reads([bom + b"data: a\n\n"], [["a"]], "a BOM at the beginning", at_the_start)
    reads(
        [bom[:1], bom[1:2], bom[2:] + b"data: a\n\n"],
        [[], [], ["a"]],
        "a BOM in three pieces",
        at_the_start,
    )
    reads(
        [bom + bom + b"data: a\n\ndata: b\n\n"],
        [["b"]],
        "two BOMs at the beginning",
        at_the_start,
    )
    reads([b"data: a\n" + bom + b"data: b\n\n"], [["a"]], "a BOM in the middle", at_the_start)
    reads([b"data: " + bom + b"a\n\n"], [["\ufeffa"]], "a BOM in a value", at_the_start)
    reads([b"\n" + bom + b"data: a\n\n"], [[]], "a BOM behind a blank line", at_the_start)
    reads([bom + b"\n\ndata: a\n\n"], [["a"]], "a BOM before a blank line", at_the_start)
    reads(
        [b"data: \xff\xc3\n\ndata: \xe2\x82", b"\xac\n\n"],
        [["\ufffd\ufffd"], ["€"]],
        "bytes that are no UTF-8, and a cut letter",
    )
    blank = "an event without data lines is none"
    reads([b"\n\n\n\n"], [[]], "blank lines alone", blank)
    reads([b"event: ping\nid: 7\n\ndata: a\n\n"], [["a"]], "an event without data", blank)
    reads([b"data: a\n\n\n\ndata: b\n\n"], [["a", "b"]], "blank lines between events", blank)
    one_space = "one space behind the colon is taken off, and no more"
    reads(
        [b"data:a\n\ndata: a\n\ndata:  a \n\ndata:\ta\n\n"],
        [["a", "a", " a ", "\ta"]],
        "values with none, one and two spaces, and a tab",
        one_space,
    )
    empty = "a line without a colon is a name with an empty value: an event with empty data"
    reads([b"data\n\ndata:\n\ndata: \n\n"], [["", "", ""]], "data lines without a value", empty)
    reads(
        [b"data\ndata\n\ndata: a\ndata:\n\n"],
        [["\n", "a\n"]],
        "several data lines, some empty",
        "joined by line breaks",
    )
    reads(
        [b"data: a: b:c\n\ndata:: d\n\n"],
        [["a: b:c", ": d"]],
        "values with colons",
        "the first colon ends the name",
    )
    elsewhere = (
        "a line ends with \\n, \\r or \\r\\n; str.splitlines knows others, and so do texts"
    )
    for letter in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        raw = f"data: a{letter}b\n\ndata: c{letter}\n\n".encode()
        what = f"the letter {letter!r} in values"
        reads([raw], [[f"a{letter}b", f"c{letter}"]], what, elsewhere)
    spaces = "a line of spaces isn't blank: it is a field with a strange name"
    reads([b"data: a\n \ndata: b\n\t\n\n"], [["a\nb"]], "lines of a space and a tab", spaces)
    nine = [str(n) for n in range(9)]
    raw = "".join(f"data: {n}\n\n" for n in nine).encode()
    reads([raw], [nine], "nine events in one piece", "all that are complete, at once")
    reads(
        [b"data: [DONE]\n\ndata: a\n\n"],
        [["[DONE]", "a"]],
        "[DONE], and an event behind it",
        "what data means is the client's to know: return it as any other",
    )
    names = "only the name data, written so, is data"
    reads(
        [b" data: a\nData: b\ndata : c\ndatas: d\ndat: e\n\ndata: f\n\n"],
        [["f"]],
        "names that look like data",
        names,
    )
    reads(
        [b"event: x\nid: 1\nretry: 5\nfoo\ndata: a\nevent: y\n\n"],
        [["a"]],
        "an event with other fields",
    )
    reads([b"data: a\n: comment\ndata: b\n\n:\n\n"], [["a\nb"]], "comments in an event")
    reads(
        [b"", b"data: a\n\n", b"", b""],
        [[], ["a"], [], []],
        "no bytes, three times",
        "each event is returned once",
    )
    text = 'data: {"t": "Käse 大🐘"}\r\n\r\n: x\ndata: a\ndata: b\n\ndata: [DONE]\r\r'.encode()
    for cut in range(1, len(text)):
        reads_as_stated([text[:cut], text[cut:]], f"three events, cut behind byte {cut}")
    reads_as_stated(
        [text[n : n + 1] for n in range(len(text))], "three events, a byte at a time"
    )
    source = random.Random(7)
    words = [
        b"data",
        b"data: ",
        b":",
        b" ",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"x",
        "é".encode(),
        b"id: 3",
        b"\xe2",
        b"data:y",
    ]
    for run in range(60):
        raw = b"".join(source.choices(words, k=30))
        cuts = sorted(source.randrange(len(raw) + 1) for _ in range(5))
        pieces = [
            raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)
        ]
        reads_as_stated(pieces, f"random stream {run}")
    one, other = SSEParser(), SSEParser()
    one.feed(b"data: o")
    expect_equal(
        [other.feed(b"ne\n\n"), one.feed(b"ne\n\n")],
        [[], ["one"]],
        "two parsers",
        "each has a stream of its own",
    )
    long = SSEParser()
    for _ in range(50):
        long.feed(b"data: 0123456789012345678901234567890123456789\n\n" * 400)
    took = []
    for piece in [b"data: x\n\n"] * 4:
        _, size = allocated(long.feed, piece)
        took.append(size)
    expect_true(
        min(took) < 100_000,
        "a feed after a stream of 20 000 events: bytes of memory that it takes",
        "no more than in a short stream, some hundreds",
        min(took),
        "what was returned is done with: keep the line and the event that aren't complete, and nothing else",
    )
    long = SSEParser()
    took, piece = [], b"data: forty letters, as in a long word, or in two\n\n"
    for _ in range(2_000):
        _, size = allocated(long.feed, piece)
        took.append(size)
    late = sorted(took[1_000:])[-4]  # growth comes in steps, some of them in these
    expect_true(
        late < 4_000,
        "the second thousand of two thousand feeds: bytes of memory that the fourth largest takes",
        "no more than at the beginning, some hundreds",
        late,
        "what was returned is done with: a list or a buffer of it grows, and takes room in steps",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Your two ends of the wire, in one line. It is cut into pieces of five bytes, as no network would do it.

# %% tags=["for-real"]
if scoreboard.ready("chat-chunks", "event-stream", "sse-parser"):
    identity = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "SmolLM2"}
    wire = event_stream(chat_chunks(identity, ["An ", "🐘", "!"], "stop", (9, 3)))
    client = SSEParser()
    for start in range(0, len(wire), 5):
        for event in client.feed(wire[start : start + 5]):
            print(event)

# %% [markdown]
# ### Exercise 8 · The largest rate (4 points)
#
# "How many users can it take?" is a question with a procedure. MLPerf's *server scenario* asks for the largest rate of requests, arriving
# as a Poisson process, at which the latency keeps its limit at a high percentile. It is searched, and then it is **verified**: runs are
# random, and near the limit a run may keep it by luck.
#
# Here `meets(rate)` makes one run at a rate, minutes long on a real server, and says whether the objective was met. So every run counts.
#
# **Search.** Run `low`; if it isn't met, there is no answer: None. Run `high`; if it is met, the search is over, and `high` is the candidate. Otherwise
# take the middle between the largest rate that was met and the smallest that wasn't, run it, and go on, as long as they are more than `precision` apart. The
# candidate is the largest rate that was met. (`low` was met, or there would be no search: so it is a candidate, too, the last one.)
#
# **Verify.** Run the candidate `verify` times more; each has to meet. At the first that doesn't, the candidate is out, without further runs of it, and
# the next smaller rate that was met in the search takes its place, and is verified in the same way. If there is none left: None.
#
# So what comes out was run 1 + `verify` times, and met each time. With noise it is a rate that the server can be trusted with, and not the largest that was ever
# seen: luck in the search is caught, bad luck isn't. Who wants to be sure of that as well must make longer runs.
#
# <details><summary>Hint 1</summary>Keep a list of the rates that were met. In the search they only grow.</details>
# <details><summary>Hint 2</summary>all(meets(rate) for _ in range(verify)) ends at the first that doesn't.</details>


# %% nbgrader={"grade": false, "grade_id": "largest-rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_rate(meets, low, high, precision, verify=5):
    """The largest rate at which a server keeps its promise, searched and verified.

    Args:
        meets: meets(rate) makes a run at a rate and says whether the objective was met, True
            or False. Runs at the same rate may differ.
        low, high: rates between which it is searched, both included, low < high.
        precision: how near together the search ends, more than 0.
        verify: how many further runs have to meet, 0 or more.

    Returns:
        A rate that was met in the search and in all further runs; None if there is none.
    """
    ### BEGIN SOLUTION
    if not meets(low):
        return None
    met, missed = [low], high
    if meets(high):
        met.append(high)
    else:
        while missed - met[-1] > precision:
            middle = (met[-1] + missed) / 2
            if meets(middle):
                met.append(middle)
            else:
                missed = middle
    while met:
        rate = met.pop()
        if all(meets(rate) for _ in range(verify)):
            return rate
    return None
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "largest-rate-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import math

import torch

from fridge.testing import (
    KneeServer,
    as_tensor,
    exercise,
    expect_close,
    expect_equal,
    expect_true,
)

with exercise("largest-rate"):

    def finds(
        server, expected, most_runs, what, cause="", low=1.0, high=16.0, precision=1.0, **verify
    ):
        """The answer, and the runs that it took."""
        got = largest_rate(server, low, high, precision, **verify)
        if expected is None:
            expect_equal(got, None, what, cause)
        elif got is None:
            expect_equal("None: no rate", expected, what, cause)
        else:
            expect_close(
                as_tensor(got), torch.tensor(expected, dtype=torch.float64), what, cause, 1e-6
            )
        count = len(server.runs)
        runs = f"{what}: number of runs"
        expect_true(
            count <= most_runs,
            runs,
            f"at most {most_runs}",
            count,
            "each run takes minutes: none is made that isn't needed",
        )
        if expected is not None:
            further = verify.get("verify", 5)
            expect_equal(
                sum(abs(rate - expected) < 1e-6 for rate, _ in server.runs),
                1 + further,
                f"{what}: runs at the rate that comes out",
                f"once in the search, and {further} times to verify, whichever candidate it is",
            )

    finds(
        KneeServer(knee=6.0),
        5.6875,
        11,
        "a server with its knee at 6, searched from 1 to 16 to a precision of 1",
        "1, 16, 8.5, 4.75, 6.625, 5.6875: the largest that was met",
    )
    finds(
        KneeServer(knee=0.5),
        None,
        1,
        "a server that doesn't meet even at 1",
        "then there is no answer",
    )
    finds(
        KneeServer(knee=99.0),
        16.0,
        7,
        "a server that meets at 16",
        "then high is the candidate, and no other rate is run",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: many knees; a knee at a rate that is run; fine and coarse precisions, and one that is met from the beginning;
    #   luck in the search, at one rate and at several, once and more often; nothing that stands verification; no verification, and more of it;
    #   verify left out; luck at high; wide ranges; rates of a thousandth.
    # Stated by: "as long as they are more than `precision` apart" | "The candidate is the largest rate that was met" | "how near
    #   together the search ends" | "the next smaller rate that was met in the search takes its place" | "If there is none
    #   left: None" | "how many further runs have to meet, 0 or more" | "verify=5" | "Run `high`; if it is met, the search is
    #   over" | "low, high: rates between which it is searched" | "A rate that was met in the search and in all further runs"
    # Right because: a halving needs one run for each bit, whatever the server; and a rate that has to meet again and again
    #   isn't there by luck.

    def searched(knee, lucky, low, high, precision, verify, times=1):
        """(the answer, runs) of the procedure as the text has it."""
        server = KneeServer(knee, lucky, times)
        met, missed = ([low] if server(low) else []), high
        if met and server(high):
            met.append(high)
        elif met:
            while missed - met[-1] > precision:
                middle = (met[-1] + missed) / 2
                met, missed = ([*met, middle], missed) if server(middle) else (met, middle)
        for rate in reversed(met):
            if all(server(rate) for _ in range(verify)):
                return rate, len(server.runs)
        return None, len(server.runs)

    def as_stated(
        knee,
        what,
        cause="",
        lucky=-math.inf,
        low=1.0,
        high=16.0,
        precision=1.0,
        verify=5,
        times=1,
    ):
        expected, runs = searched(knee, lucky, low, high, precision, verify, times)
        server = KneeServer(knee, lucky, times)
        finds(server, expected, runs, what, cause, low, high, precision, verify=verify)

    for at in (1.0, 1.2, 2.875, 4.75, 8.4999, 8.5, 11.0, 15.9, 15.99999):
        as_stated(at, f"a knee at {at}, searched from 1 to 16 to a precision of 1")
    for precision in (15.0, 20.0, 7.5, 7.4999, 0.3, 0.001):
        as_stated(
            6.0,
            f"a knee at 6, searched from 1 to 16 to a precision of {precision}",
            "stop when they are no more than that apart",
            precision=precision,
        )
    out = "a rate that fails a further run is out; the next smaller one that was met takes its place"
    for times in (2, 4, 5):
        luck = f"a knee at 6, and {times} lucky runs at each rate up to 7"
        as_stated(6.0, luck, out, lucky=7.0, times=times)
    as_stated(6.0, "a knee at 6, and luck up to 7", out, lucky=7.0)
    as_stated(6.0, "a knee at 6, and luck up to 14", out, lucky=14.0)
    as_stated(
        3.0,
        "a knee at 3, and luck up to 15.9: a row of lucky runs",
        out,
        lucky=15.9,
        precision=0.25,
    )
    as_stated(
        1.5, "a knee at 1.5, and luck up to 10: only low stands verification", out, lucky=10.0
    )
    as_stated(6.0, "a knee at 6, and luck at high, too", out, lucky=20.0)
    none = "nothing that was met stands verification: None"
    as_stated(0.5, "a knee at 0.5, and luck up to 9", none, lucky=9.0)
    as_stated(0.5, "a knee at 0.5, and luck everywhere", none, lucky=99.0)
    as_stated(6.0, "no verification", "then the search's candidate is the answer", verify=0)
    as_stated(
        6.0,
        "no verification, and luck up to 10",
        "then the search's candidate is the answer",
        lucky=10.0,
        verify=0,
    )
    as_stated(6.0, "one run to verify, and luck up to 7", out, lucky=7.0, verify=1)
    as_stated(6.0, "twenty runs to verify", verify=20)
    most = largest_rate(KneeServer(6.0, 7.0), 1.0, 16.0, 1.0)
    expect_equal(most, 4.75, "a knee at 6, luck up to 7, verify left out: the answer", out)
    lucky = KneeServer(6.0, 7.0)
    finds(
        lucky,
        4.75,
        searched(6.0, 7.0, 1.0, 16.0, 1.0, 5)[1],
        "a knee at 6, luck up to 7, verify left out",
        out,
    )
    as_stated(700.0, "a knee at 700, searched from 1 to 1000", high=1000.0, precision=2.0)
    as_stated(
        0.0042,
        "a knee at 0.0042, searched from 0.001 to 0.02",
        low=0.001,
        high=0.02,
        precision=0.0005,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Your three functions of exercise 1 and this one, on the server in virtual time. The objective: 99 of 100 requests with a first token
# within a second and 12 tokens a second from then on. A run is 400 requests, and each run has other random arrivals. Predict: it has 16 places, and a
# reply takes about two seconds at most. At what rate does it break?

# %% tags=["for-real"]
limits = {"ttft": 1.0, "tpot": 1 / 12}
seeds = iter(range(10_000))


def virtual_run(rate, count=400):
    """(seconds, records) of a run at a rate, with new random arrivals."""
    due = virtual.arrivals(rate, count, seed=next(seeds))
    return due[-1], virtual.serve(due)


def objective(rate):
    seconds, records = virtual_run(rate)
    met = goodput(records, seconds, **limits) * seconds >= 0.99 * len(records)
    print(f"{rate:7.3f} requests/s: {'met' if met else 'missed'}")
    return met


if scoreboard.ready("latencies", "goodput", "largest-rate"):
    rate_found = largest_rate(objective, low=1, high=16, precision=0.25)
    print(f"the largest rate that keeps the promise: {rate_found} requests/s")

# %% tags=["for-real"]
if scoreboard.ready("latencies", "goodput", "largest-rate"):
    rates = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14]
    runs = {rate: virtual_run(rate) for rate in rates}
    good = [goodput(records, seconds, **limits) for seconds, records in runs.values()]
    served = [len(records) / records[-1]["tokens"][-1] for _, records in runs.values()]
    pictures.goodput_over_rate(
        rates,
        {"requests served": served, "goodput": good},
        rate_found,
        "Beyond the knee the server still serves as many, and nobody is content",
    )

# %% [markdown]
# *In words: over the rate of requests two curves. The requests served a second follow the diagonal up to seven and then stay where they are.
# Goodput leaves the diagonal much earlier, and is next to nothing where the other curve is at its height. A dashed line marks the rate that was
# found: there both are still on the diagonal.*
#
# Throughput says nothing about what users feel: at 12 requests a second this server is busier than ever. And look where the limit that breaks
# first comes from: at full width a step takes 40 + 16 · 4 = 104 ms, and the promise was 83. The batch of unit 04 that makes a server efficient
# makes each reader's text slower.
#
# ## 5 · For real
#
# `fridge.serving.api` is a whole server, made of these parts: HTTP, a thread that steps the engine, limits, a page to chat on. It has parts of its own,
# and takes yours in their place. From here on every token of a reply goes through what you wrote. (Token choice alone stays the engine's own, which
# makes it for the whole batch.)

# %% tags=["for-real"]
from contextlib import ExitStack

from fridge.serving import api

house, parts = (
    ExitStack(),
    (
        "detokenizer",
        "stop-matcher",
        "dispatcher",
        "chat-chunks",
        "error-body",
        "event-stream",
        "sse-parser",
    ),
)
engine = Engine(model, num_blocks=256, max_sequences=8, max_waiting=48, make_linear=Int8Linear)
url = ""
if scoreboard.ready(*parts):
    mine = api.Parts(
        detokenizer=Detokenizer,
        stops=StopMatcher,
        dispatcher=Dispatcher,
        chunks=chat_chunks,
        error=error_body,
    )
    try:
        url = house.enter_context(api.running(engine, mine))
        print(f"your server: {url}")
    except api.Missing as missing:
        print(missing)

# %% [markdown]
# A client of twenty lines: it posts JSON, and your `SSEParser` reads what comes back, at most 64 bytes at a time.


# %% tags=["for-real"]
import urllib.error
import urllib.request


def chat(text, **wishes):
    """The chunks of a streamed reply, as they come."""
    body = {
        "model": api.model_name(),
        "messages": [{"role": "user", "content": text}],
        "stream": True,
    }
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body | {"temperature": 0, "max_tokens": 40} | wishes).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        reader = SSEParser()
        while data := answer.read1(64):
            for event in reader.feed(data):
                if event != "[DONE]":
                    yield json.loads(event)


def show(chunks):
    """Print a reply's pieces with a mark between them, and why it ended."""
    for chunk in chunks:
        for choice in chunk["choices"]:
            print(choice["delta"].get("content") or "", end="|", flush=True)
            if choice["finish_reason"]:
                print(f"\nfinish: {choice['finish_reason']}")


if url:
    show(chat("What is the capital of France?"))
    show(chat("Repeat this: 🐘🐘🐘 大象"))
    show(chat("Count from one to ten.", stop=["5", "five"]))

# %% [markdown]
# Each `|` is the end of a chunk. Elephants come whole, and nothing of the stop string is to be seen.
#
# What happens when a client asks for something impossible, and when one hangs up in the middle?

# %% tags=["for-real"]
if url:
    try:
        next(chat("Hello", temperature=-1))
    except urllib.error.HTTPError as refusal:
        print(refusal.code, refusal.read().decode())

    reply = chat("Tell me a very long story about a fridge.", max_tokens=400)
    for _ in range(5):
        next(reply)
    allocator = engine.scheduler.allocator
    print(f"while it is told: {allocator.num_blocks - allocator.num_free} blocks have an owner")
    reply.close()  # the connection, too
    time.sleep(2)
    print(
        f"after the client hung up: {allocator.num_blocks - allocator.num_free} blocks, engine busy: {engine.busy}"
    )

# %% [markdown]
# A server that doesn't notice goes on for the rest of 400 tokens, in a place of the batch that somebody else is waiting for.
#
# ### Somebody else's client
#
# OpenAI's own client knows nothing of this course. (`pip install openai`; the cell is skipped where it isn't installed.) It reads your chunks with its own
# models, and says so if a field is missing.

# %% tags=["for-real"]
import importlib.util

if url and importlib.util.find_spec("openai"):
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    stream = client.chat.completions.create(
        model=api.model_name(),
        messages=[{"role": "user", "content": "Name three animals."}],
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="")
        else:
            print(
                f"\n{type(chunk).__name__}: {chunk.usage.prompt_tokens} + {chunk.usage.completion_tokens} tokens"
            )
    try:
        client.chat.completions.create(
            model=api.model_name(),
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=10**6,
        )
    except openai.BadRequestError as error:
        print(type(error).__name__, error.body)

# %% [markdown]
# ### How fast does it feel?
#
# Now the load generator: an open loop with Poisson arrivals, against your server, through HTTP. Short prompts, and replies of 16 tokens. Which rates are
# worth a run depends on your machine, so the cell asks it first: 16 requests at once, two rounds of the eight places. Requests by seconds are its
# *capacity*. And the promise is one that this machine can keep: the first token within half a round, and then two thirds of the speed that it had
# with all places taken.
#
# Then four runs, at 0.5, 0.8, 1.2 and 2 times the capacity. Predict: in which of them are all requests good? And what does TTFT say in the last one? (On a
# machine that does something else besides, the numbers are that machine's, not the server's.)

# %% tags=["for-real"]
from fridge.serving.bench import load
from fridge.serving.traces import Request


def measured_run(due):
    """(seconds, records) of a run against the server, a request at each of these times."""
    wanted = [Request(asked[place % len(asked)][:24], 16) for place in range(len(due))]
    found = load.run(url, api.model_name(), wanted, due)
    records = [
        {
            "scheduled": one.scheduled,
            "sent": one.sent,
            "tokens": one.arrivals,
            "finished": not one.failure,
        }
        for one in found
    ]
    return max(one.ended for one in found), records


def in_words(records):
    """TTFT and TPOT of a run, p50 and p95."""
    ttft, tpot, _, _ = zip(*map(latencies, records))
    row = [percentile(list(values), q) for values in (ttft, tpot) for q in (50, 95)]
    return f"{row[0]:10.2f} s{row[1]:6.2f} s{1000 * row[2]:9.0f} ms{1000 * row[3]:5.0f} ms"


if url and scoreboard.ready("latencies", "goodput"):
    with busy.watched():
        seconds, records = measured_run([0.0] * 16)
        capacity = 16 / seconds
        full = percentile([latencies(record)[1] for record in records], 50)
        promise = {"ttft": seconds / 4, "tpot": 1.5 * full}
        print(f"capacity: {capacity:.1f} requests/s", end="; ")
        print(
            f"promise: {promise['ttft']:.2f} s, then {1000 * promise['tpot']:.0f} ms a token\n"
        )
        print(f"{'rate':>5}{'TTFT p50':>12}{'p95':>8}{'TPOT p50':>12}{'p95':>8}", end="")
        print(f"{'good a second':>16}{'good':>7}")
        count = min(48, max(24, int(20 * capacity)))  # fewer where they would take minutes
        for share in (0.5, 0.8, 1.2, 2):
            rate = share * capacity
            seconds, records = measured_run(load.poisson_arrivals(rate, count, seed=8))
            good = goodput(records, seconds, **promise)
            print(f"{rate:5.1f}{in_words(records)}{good:14.2f}", end="")
            print(f"{good * seconds / count:9.0%}")

# %% tags=["for-real"]
house.close()

# %% [markdown]
# Read it from the top. At half of the capacity TTFT is little more than a prompt's own step, and all or nearly all requests are good: goodput is the rate,
# as far as a few dozen random arrivals keep it. At twice the capacity requests come faster than they are served. The queue grows as long as the run
# lasts, those at its end wait longest, and most are good no more. TTFT is then a matter of how long the run was, and no number to quote. TPOT grows until all
# places are taken, and no further: who has a place is served as before. Between these two rows lies the knee.
#
# ### Beside others
#
# And the same from outside, as an operator would do it: the course's server (with the library's own parts), llama.cpp's and vLLM's, one after the other on one machine, under
# the same open loop with prompts and replies of mixed lengths. `make bench-api` measures it; it takes an hour, so its raw figures are kept. Every request's times are
# among them, and your functions read them.

# %% tags=["for-real"]
from fridge.serving.bench import api_figures
from fridge.serving.bench.latencies import told

try:
    results = api_figures.kept()
    print(api_figures.where(results))
except FileNotFoundError:
    results = None
    print(
        "No figures have come with the course: `python -m fridge.serving.bench.api` makes some."
    )

# %% tags=["for-real"]
if results and scoreboard.ready("latencies", "goodput"):
    brisk = next(one for one in results["objectives"] if one["name"] == "brisk")
    print(
        f"good: a first token in {brisk['ttft']:g} s, then {1000 * brisk['tpot']:g} ms for each\n"
    )
    print(f"{'server':28}{'rate':>6}{'TTFT p95':>12}{'TPOT p95':>12}{'good a second':>16}")
    for name, server in results["servers"].items():
        for rate, found in server["rates"].items():
            records = [told(entry) for entry in found["records"]]
            ttft, tpot, _, _ = zip(*map(latencies, records))
            each = [value for value in tpot if value is not None]
            good = goodput(records, found["seconds"], brisk["ttft"], brisk["tpot"])
            print(f"{name:28}{rate:>6}{percentile(list(ttft), 95):10.2f} s", end="")
            print(f"{1000 * percentile(each, 95):9.0f} ms{good:16.2f}")

# %% tags=["for-real"]
if results:
    api_figures.goodput(results)

# %% [markdown]
# *In words: over the rate at which requests arrive, for each server a curve of how many a second were good ones. A pale diagonal is where all are good. Each curve leaves
# it at a rate of its own, and comes down from there.*
#
# Where servers compute with different numbers (float32, integers of eight bits, four bits), that is part of the difference, and the names say so. One machine, one model of
# 135 million weights: on a card of yours the order may be another.
#
# ### For use
#
# `fridge serve` in a terminal starts the same server with the library's own parts, `fridge serve --int8` with integer weights. Open the address in
# a browser, and talk to your engine; the page shows TTFT, tokens per second and the block table as it fills. Any program that knows OpenAI's API or Ollama's can use it.
# For more than yourself, take vLLM, SGLang or llama.cpp's server: several processes and cards, many models and adapters, structured output, tools, authentication,
# years of other people's bugs.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | a server's number is the largest Poisson rate at which p99 keeps its limits: TTFT 2 s and TPOT 200 ms for Llama-2-70B | MLPerf Inference, loadgen's `mlperf.conf` | limits for the same two in the table above, set by your machine; a run there has 48 requests at most, MLPerf's lasts ten minutes at least |
# | latency counts from when a query was scheduled; a rate is found by halving, and verified by five runs | MLPerf's first rules (*Inference Rules* 0.5, 2019, section "LoadGen Operation"); newer ones ask for one long run | section 3: the same run with both clocks; exercise 8 |
# | load generators that send late leave the worst waits out: *coordinated omission* | Tene, *How NOT to measure latency*, a talk, since 2012 | ten seconds of stall, a p95 of a fifth of a second |
# | goodput for each card: up to 7.4 times more requests within their limits than with systems of its time, for 90 of 100 requests | Zhong and others, 2024 (DistServe, arXiv 2401.09670) | the knee in exercise 8: throughput stays, goodput falls to nothing |
# | min-p keeps text sensible at high temperatures, and people prefer it | Nguyen and others, 2024 (arXiv 2407.01082). Schaeffer and others, 2025 (arXiv 2506.13681), went through its data again, and found it no better than the older filters | the list below exercise 2: what is left at temperature 1.5 |
#
# Where the numbers part from a product's: one process does everything here, and Python's lock is shared by the engine's thread and the event loop. What that
# costs wasn't measured. Products have a process for each.
#
# ## 7 · What this unit doesn't claim
#
# - **That it is safe to put on the internet.** It has limits and a key. It has no users, no quota, no encryption, and has been attacked by its own tests only.
# - **Fairness.** First come, first served: who sends a hundred requests has a hundred places in the queue. Products count by user.
# - **That streams are always right.** Ours tell nothing that is taken back; and a filter that has to see a whole sentence can't work on a stream at all.
# - **Exact percentiles.** p99 of 48 requests is the largest of them. For a p99 within 0.05 percent, MLPerf's rules compute 262 742 queries; its first ones
#   asked for 270 336 in each run with that limit, newer ones let a run end earlier and ask more of it.
# - Tools, structured output, images: all of them are more fields in the same messages.
#
# Three things to read next:
#
# 1. *Server-sent events*, in WHATWG's HTML standard, section 9.2: the grammar of exercise 7 on two pages.
# 2. Reddi and others, *MLPerf Inference Benchmark*, 2020 (arXiv 1911.02549): why scenarios, and why rates are searched.
# 3. Zhong and others, *DistServe: Disaggregating Prefill and Decoding for Goodput-optimized LLM Serving*, 2024 (arXiv 2401.09670): what you do when TTFT and TPOT
#    are in each other's way.
#
# ## What stays
#
# A reply is a stream of certainties: what was shown stays. "Fast" is a promise to each user, counted from when they wished to ask; and the rate at which it is kept is
# searched, and then verified.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("09-serving")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("09-serving")
