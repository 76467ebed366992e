"""What tests of unit 09 own: it does what its exercise's text says, and tells misuse from an answer."""

import pytest

from fridge.testing import KneeServer, ScriptedEngine, ScriptedPipes, expect_fields, expect_json, stream_events, told
from fridge.testing.outcome import Wrong
from fridge.testing.streaming import Broken, Full, Refused


def served(engine, steps):
    return [triple for _ in range(steps) for triple in engine.step()]


def test_an_engine_repeats_its_prompts_and_ends_them():
    engine = ScriptedEngine()
    ann = engine.add(prompt=[1, -1, 2, 3], max_new_tokens=2)
    bob = engine.add(prompt=[4, 9, 5], max_new_tokens=9, stop_token=9)
    triples = served(engine, 4)
    assert [triple for triple in triples if triple[0] == ann] == [(ann, 1, None), (ann, 2, "length")]
    assert [triple for triple in triples if triple[0] == bob] == [(bob, 4, None), (bob, 9, "stop")]
    assert not engine.busy
    assert engine.steps == 4


def test_numbers_are_given_once_and_in_no_order():
    engine = ScriptedEngine(places=500)
    numbers = [engine.add(prompt=[1], max_new_tokens=1) for _ in range(400)]
    assert len(set(numbers)) == 400
    assert numbers != sorted(numbers)


def test_an_engine_refuses_by_answers_and_objects_to_misuse():
    engine = ScriptedEngine(places=1)
    number = engine.add(prompt=[1, 2], max_new_tokens=2)
    for error, wishes in ((Full, {"prompt": [1]}), (Refused, {"prompt": []})):
        with pytest.raises(error) as refused:
            engine.add(max_new_tokens=1, **wishes)
        assert refused.value.is_an_answer
    for wishes in (
        *({"prompt": [1]}, {"prompt": [1], "max_new_tokens": 1, "stops": []}, {"prompt": "12"}),
        *({"prompt": [1] * 2000, "max_new_tokens": 1}, {"prompt": [1], "max_new_tokens": 1, "stop_token": "9"}),
    ):
        with pytest.raises(Wrong):
            engine.add(**wishes)
    with pytest.raises(Wrong):
        engine.cancel(5)
    assert engine.cancel(number)
    assert not engine.cancel(number)
    assert engine.cancelled == [number]


@pytest.mark.parametrize(
    ("stops", "tokens", "texts"),
    [
        ([], [1, 102, 103, 4, ""], ["a", "", "b", "cd", ""]),
        (["b"], [101, 2], ["", "a"]),
        ([], [101, ""], ["", "a"]),
    ],
)
def test_a_pipe_holds_letters_back(stops, tokens, texts):
    pipe = ScriptedPipes()(stops)
    assert [pipe.flush() if token == "" else pipe.push(token) for token in tokens] == texts


def test_a_pipe_writes_down_what_it_must_not_be_asked():
    pipes = ScriptedPipes()
    stopped, broken = pipes(["a"]), pipes()
    assert stopped.push(1) == ""
    assert stopped.stopped
    stopped.flush()
    stopped.push(1)
    with pytest.raises(Broken):
        broken.push(66)
    broken.push(1)
    assert len(pipes.complaints) == 3
    with pytest.raises(Refused):
        pipes(["?"])
    for many in ([""] * 2000, ["x" * 2000]):
        with pytest.raises(Wrong, match="stops"):
            pipes(many)


@pytest.mark.parametrize(
    ("given", "events"),
    [
        ({"prompt": [1, 102], "most": 9}, [("a", None), ("b", "length")]),
        ({"prompt": [1, 102, 9], "most": 9, "stop_token": 9}, [("a", None), ("b", "stop")]),
        ({"prompt": [-1, 101, 2, 3], "most": 9, "stops": ["b"]}, [("a", "stop")]),
        ({"prompt": [1, 2, 3], "most": 2}, [("a", None), ("b", "length")]),
    ],
)
def test_what_a_reader_is_told(given, events):
    assert told(**given) == events


def test_a_server_has_a_knee_and_luck():
    server = KneeServer(2.0, lucky=3.0, times=2)
    assert [server(rate) for rate in (2.0, 2.5, 2.5, 2.5, 3.5)] == [True, True, True, False, False]
    with pytest.raises(Wrong):
        server("2")


def test_a_stream_s_events():
    data = b"\xef\xbb\xbfdata: a\r\ndata:b\r\n\r\n: x\rdata\r\rdata: \xff\n\ndata: c\n"
    assert stream_events(data) == ["a\nb", "", "\ufffd"]


def test_json_is_plain_and_other_things_are_no_json():
    assert expect_json({"a": (1, 2.5, None, True, {"b": "c"})}, "x") == {"a": [1, 2.5, None, True, {"b": "c"}]}
    for odd in ({1: 2}, {1, 2}, float("inf"), b"x", object()):
        with pytest.raises(Wrong):
            expect_json(odd, "x")
    expect_fields({"a": 1, "b": 2}, {"a": 1}, "x")
    for got in ({"b": 2}, {"a": 2}, [1], None):
        with pytest.raises(Wrong):
            expect_fields(got, {"a": 1}, "x")
