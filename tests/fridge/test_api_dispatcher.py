"""The dispatcher over a scripted engine: order, ends, cancels, one bad pipe among good ones, and nothing that leaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fridge.serving.api import Dispatcher, StopMatcher
from fridge.serving.api.text import TextPipe
from fridge.serving.engine import QueueFull

BAD = 99  # a token that no pipe can take


class Scripted:
    """Says what each prompt asks for: its tokens one a step, the last with a finish. Records what is cancelled."""

    def __init__(self, most: int = 100):
        self.most, self.running, self.cancelled, self._next = most, {}, [], 0

    def add(self, prompt, finish="length"):
        if not prompt:
            raise ValueError("an empty prompt")
        if len(self.running) >= self.most:
            raise QueueFull("full")
        number, self._next = self._next, self._next + 1
        self.running[number] = list(prompt), finish
        return number

    def step(self):
        said = []
        for number, (tokens, finish) in list(self.running.items()):
            token = tokens.pop(0)
            said.append((number, token, None if tokens else finish))
            if not tokens:
                del self.running[number]
        return said

    def cancel(self, number):
        self.cancelled.append(number)
        return self.running.pop(number, None) is not None


class Letters:
    """A detokenizer: the letter of a token; 99 is none."""

    def push(self, token):
        return [*"abcdefghijklmnopqrstuvwxyz"][token]

    def flush(self):
        return ""


def dispatcher(engine):
    return Dispatcher(engine, lambda stops: TextPipe(Letters(), StopMatcher(stops)))


def text(events):
    return "".join(piece for piece, _ in events)


def test_each_reader_gets_its_own_events_in_order_whenever_it_reads():
    """Guards against a reader who must read to let others go on, and against events of a neighbour."""
    engine = Scripted()
    hub = dispatcher(engine)
    quick, slow = hub.submit(prompt=[0, 1, 2]), hub.submit(prompt=[3, 4, 5], finish="stop")
    seen = []
    for _ in range(3):
        hub.step()
        seen.append(hub.read(quick))
    assert seen == [[("a", None)], [("b", None)], [("c", "length")]]
    assert hub.read(slow) == [("d", None), ("e", None), ("", "stop")], "the stop token is no part of the reply"
    assert hub.open == 0
    for number in (quick, slow, 77):
        with pytest.raises(KeyError):
            hub.read(number)


def test_a_stop_string_ends_a_request_in_the_engine_too():
    """Guards against an engine that computes on for a reader who has all it wanted."""
    engine = Scripted()
    hub = dispatcher(engine)
    number = hub.submit(["bc"], prompt=[0, 1, 2, 3, 4])
    for _ in range(4):
        hub.step()
    assert hub.read(number) == [("a", None), ("", "stop")]
    assert (engine.cancelled, engine.running) == ([number], {})


def test_a_stop_string_in_the_last_token_cancels_nothing():
    """Guards against cancelling what has just ended, and against "length" where a stop string says stop."""
    engine = Scripted()
    hub = dispatcher(engine)
    number = hub.submit(["b"], prompt=[0, 1])
    hub.step(), hub.step()
    assert hub.read(number) == [("a", None), ("", "stop")]
    assert engine.cancelled == []


def test_what_was_held_back_comes_with_the_end():
    """Guards against a reply that loses its last letters because a stop string might have begun with them."""
    for finish, held in (("length", "ab"), ("stop", "a")):
        hub = dispatcher(Scripted())
        number = hub.submit(["abc"], prompt=[0, 1], finish=finish)
        hub.step()
        assert hub.read(number) == [], "an event that says nothing isn't one"
        hub.step()
        assert hub.read(number) == [(held, finish)]


def test_one_bad_request_hurts_nobody_else():
    """Guards against a pipe's exception that ends the step for all behind it."""
    engine = Scripted()
    hub = dispatcher(engine)
    first, bad, last = hub.submit(prompt=[0, 1]), hub.submit(prompt=[0, BAD, 1]), hub.submit(prompt=[2, 3])
    worst = hub.submit(prompt=[0, BAD])
    hub.step(), hub.step()
    assert text(hub.read(first)) == "ab"
    assert text(hub.read(last)) == "cd"
    assert hub.read(bad) == hub.read(worst) == [("a", None), ("", "error")]
    assert (engine.cancelled, engine.running, hub.open) == ([bad], {}, 0)


def test_a_refused_request_leaves_nothing():
    """Guards against a number or a box for a request that the engine doesn't know."""
    hub = dispatcher(Scripted(most=1))
    with pytest.raises(ValueError, match="empty"):
        hub.submit(prompt=[])
    hub.submit(prompt=[1])
    with pytest.raises(QueueFull):
        hub.submit(prompt=[1])
    assert hub.open == 1
    with pytest.raises(ValueError, match="letter"):
        hub.submit([""], prompt=[1])
    assert hub.open == 1


def test_a_pipe_that_can_not_be_made_leaves_nothing_in_the_engine():
    """Guards against a request without a reader, because its stop strings were refused after it was added."""
    engine = Scripted()
    with pytest.raises(ValueError, match="letter"):
        dispatcher(engine).submit([""], prompt=[1])
    assert engine.running == {}


@given(st.data())
def test_nothing_is_left_after_all_have_ended_or_left(data):
    """Guards against leaks: after any order of submits, steps, reads and cancels, no number, no request, no event."""
    engine = Scripted(most=4)
    hub = dispatcher(engine)
    known, heard, prompts = set(), {}, {}
    for _ in range(data.draw(st.integers(0, 25))):
        what = data.draw(st.sampled_from(["submit", "step", "step", "read", "cancel"]))
        if what == "submit":
            prompt = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
            try:
                number = hub.submit(prompt=prompt)
            except QueueFull:
                continue
            known.add(number)
            heard[number], prompts[number] = "", prompt
        elif what == "step":
            hub.step()
        elif known:
            number = data.draw(st.sampled_from(sorted(known)))
            if what == "cancel":
                hub.cancel(number), hub.cancel(number)
                known.discard(number)
                assert number not in engine.running
            else:
                events = hub.read(number)
                heard[number] += text(events)
                if events and events[-1][1]:
                    known.discard(number)
                    assert heard[number] == "".join("abcd"[token] for token in prompts[number])
        assert hub.open == len(known)
    for number in known:
        hub.cancel(number)
    assert (hub.open, engine.running) == (0, {})
