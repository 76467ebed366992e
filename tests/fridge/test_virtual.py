"""The server in virtual time: everybody is served, nobody before their time, and a stall costs what it must."""

import pytest

from fridge.serving import virtual


@pytest.mark.parametrize("most_open", [None, 1, 4])
def test_everybody_is_served_in_order(most_open):
    due = virtual.arrivals(3.0, 50, seed=2)
    records = virtual.serve(due, reply_tokens=5, places=3, most_open=most_open)
    for record, when in zip(records, due, strict=True):
        assert record["finished"]
        assert len(record["tokens"]) == 5
        assert record["scheduled"] == when <= record["sent"] < record["tokens"][0]
        assert record["tokens"] == sorted(record["tokens"])
    firsts = [record["tokens"][0] for record in records]
    assert firsts == sorted(firsts)
    if most_open is None:
        assert all(record["sent"] == record["scheduled"] for record in records)


def test_one_alone_takes_its_steps():
    (record,) = virtual.serve([1.0], reply_tokens=3, step=0.5, each=0.25)
    assert record["tokens"] == [1.75, 2.5, 3.25]


def test_a_connection_at_a_time_sends_when_it_is_free():
    first, second = virtual.serve([0.0, 0.1], reply_tokens=2, step=1.0, each=0.0, most_open=1)
    assert first["tokens"] == [1.0, 2.0]
    assert second["sent"] == 2.0
    assert second["tokens"] == [3.0, 4.0]


def test_a_stall_is_in_one_step():
    (record,) = virtual.serve([0.0], reply_tokens=3, step=1.0, each=0.0, stall=(1.5, 10.0))
    assert record["tokens"] == [1.0, 12.0, 13.0]


def test_who_is_not_done_at_the_end_is_not_finished():
    records = virtual.serve([0.0, 100.0], reply_tokens=4, step=1.0, each=0.0, until=2.5)
    assert [(len(record["tokens"]), record["finished"]) for record in records] == [(3, False), (0, False)]


def test_arrivals_have_their_rate():
    times = virtual.arrivals(20.0, 4000, seed=1)
    assert times[-1] == pytest.approx(200, rel=0.1)
    assert times == virtual.arrivals(20.0, 4000, seed=1) != virtual.arrivals(20.0, 4000, seed=2)
