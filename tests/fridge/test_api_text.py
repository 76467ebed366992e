"""From tokens to text: detokenizer, stop strings, both behind one another, and the events that carry the text."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fridge.serving.api import Detokenizer, SSEParser, StopMatcher
from fridge.serving.api.sse import event
from fridge.serving.api.text import TextPipe

# Beginnings, middles and ends of characters, well and badly put together.
BYTES = st.binary(max_size=4) | st.sampled_from([b"\xf0\x9f", b"\x90\x98", b"\xe2\x82", b"\xac", b"\xc3", b"\xed\xa0"])


@given(st.lists(BYTES, max_size=12))
def test_all_pieces_are_the_text_of_all_bytes(words):
    """Guards against characters that are lost or doubled between two tokens, and against other U+FFFD than Python's."""
    detokenizer = Detokenizer(words)
    pieces = [detokenizer.push(token) for token in range(len(words))]
    assert "".join(pieces) + detokenizer.flush() == b"".join(words).decode("utf-8", errors="replace")


@given(st.lists(BYTES, min_size=1, max_size=6), st.lists(BYTES, max_size=3))
def test_what_is_told_is_certain_and_all_that_is(words, more):
    """Guards against a piece that a later byte would change, and against text that is held back for nothing."""
    detokenizer = Detokenizer(words)
    told = "".join(detokenizer.push(token) for token in range(len(words)))
    whole = b"".join(words)
    assert (whole + b"".join(more)).decode("utf-8", errors="replace").startswith(told)
    continuations = [b"", *(bytes([byte]) * times for byte in (0x41, 0x80, 0x90, 0xA0) for times in (1, 2, 3))]
    texts = [(whole + one).decode("utf-8", errors="replace") for one in continuations]
    ends = range(len(texts[0]) + 1)
    certain = max(end for end in ends if all(text[:end] == texts[0][:end] for text in texts))
    assert told == texts[0][:certain], "with each of these ends the text begins so"


def expected(text: str, stops: list[str]) -> tuple[str, bool]:
    """What is shown of a text, by trying every end."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


@st.composite
def cut_texts(draw):
    """A text of few letters, stop strings of the same letters, and cuts."""
    letters = st.text("ab", max_size=14)
    stops = draw(st.lists(st.text("ab", min_size=1, max_size=5), max_size=3))
    return draw(st.lists(letters, max_size=6)), stops


@given(cut_texts())
def test_a_reply_ends_before_its_first_stop_string_however_it_is_cut(case):
    """Guards against a stop string that lies across two pieces, and one that overlaps with its own beginning."""
    pieces, stops = case
    matcher = StopMatcher(stops)
    shown, seen = "", ""
    for piece in pieces:
        shown += matcher.push(piece)
        seen += piece
        _, stopped = expected(seen, stops)
        assert matcher.stopped == stopped
        if not stopped:
            held = max((size for stop in stops for size in range(len(stop)) if seen.endswith(stop[:size])), default=0)
            assert shown == seen[: len(seen) - held], "holds back what may become one, and no more"
    if not matcher.stopped:
        shown += matcher.flush()
    assert shown == expected("".join(pieces), stops)[0]
    if matcher.stopped:
        assert matcher.push("more") == ""


def test_an_empty_stop_string_is_refused():
    """Guards against a reply that ends before it begins."""
    with pytest.raises(ValueError, match="at least one letter"):
        StopMatcher(["a", ""])


def test_a_stop_string_may_end_in_the_last_flush():
    """Guards against half a character at the end of a reply that is shown although it is a stop string."""
    words = [b"a", b"\xf0\x9f"]
    pipe = TextPipe(Detokenizer(words), StopMatcher(["\ufffd"]))
    assert [pipe.push(0), pipe.push(1), pipe.flush(), pipe.stopped] == ["a", "", "", True]


STREAM = (
    b"\xef\xbb\xbfdata: one\r\n\r\n: a comment\n\ndata:two\ndata\ndata:  three\n\nevent: x\nid: 1\n\n"
    b"data: \xf0\x9f\x90\x98\r\rdata:\n\ndata: never ended\n"
)
PAYLOADS = ["one", "two\n\n three", "🐘", ""]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_however_the_bytes_are_cut(cuts):
    """Guards against a \\r\\n, a character or a byte order mark that is cut in the middle."""
    places = [0, *sorted(cuts), len(STREAM)]
    parser = SSEParser()
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert [payload for piece in pieces for payload in parser.feed(piece)] == PAYLOADS


def test_an_event_is_complete_with_its_empty_line():
    """Guards against an event that waits for the next one: the last byte of its empty line is enough."""
    for end in (b"\n", b"\r", b"\r\n"):
        assert SSEParser().feed(b"data: x" + 2 * end) == ["x"]


@given(st.text())
def test_json_comes_out_as_it_went_in(text):
    """Guards against line breaks in JSON, which would end an event, U+2028 among them."""
    [payload] = SSEParser().feed(event({"a": text}))
    assert json.loads(payload) == {"a": text}
