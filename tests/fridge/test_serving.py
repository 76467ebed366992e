"""The serving loop's numbers, the static baseline, the traces, the simulated memory and the simulated server."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fridge.serving import loop, traces, waste
from fridge.testing import SimulatedServer, Wrong


def requests(*outputs: int) -> list[traces.Request]:
    return [traces.Request([5, 6], output) for output in outputs]


def test_static_batches_take_as_long_as_their_longest() -> None:
    """Guards against a static baseline that lets somebody leave, which would flatter it."""
    run = loop.serve(loop.StaticScheduler(2), requests(1, 4, 2, 2), places=2)
    assert len(run.steps) == 4 + 2
    assert [len(run.replies[f"r{index}"].tokens) for index in range(4)] == [1, 4, 2, 2]
    assert run.tokens == 9
    assert run.utilisation == pytest.approx(9 / 12)
    assert [step.padding for step in run.steps][:4] == [set(), {"r0"}, {"r0"}, {"r0"}]
    assert [step.held for step in run.steps][:2] == [4, 3]  # two prompts; then the one that still wants tokens


def test_times_of_a_reply() -> None:
    """Guards against a TPOT that counts the first token's waiting, or divides by all tokens."""
    served = loop.Served([7, 7, 7], [2.0, 2.5, 3.0])
    assert served.ttft == 2.0
    assert served.tpot == 0.5
    assert loop.Served([7], [2.0]).tpot is None
    run = loop.Run({"a": served, "b": loop.Served([1], [9.0])}, [loop.Step(9.0, {}, set(), 0)], 1)
    assert (run.ttft(), run.ttft(0.95), run.tpot(), run.throughput) == (5.5, 9.0, 0.5, 4 / 9)


def test_counts_of_a_run_and_who_did_best(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards against a step that is counted from 0, and against a short queue that wins because it is short."""
    narrow, wide = (loop.serve(loop.StaticScheduler(n), requests(1, 4, 2, 2), places=n) for n in (2, 4))
    assert (narrow.tokens_per_step, wide.tokens_per_step) == (9 / 6, 9 / 4)
    assert [narrow.first_step(quantile) for quantile in (0, 0.5, 0.95)] == [1, 3, 5]
    assert wide.first_step(0.95) == 1
    one = loop.serve(loop.StaticScheduler(1), requests(4), places=1)
    loop.compare({"narrow": narrow, "wide": wide, "one alone": one})
    *_, last_row, below = capsys.readouterr().out.strip().splitlines()
    assert last_row.split()[:5] == ["one", "alone", "4", "1.0", "1"]
    assert below.endswith("most tokens per second: wide, shortest TTFT: wide, shortest TPOT: narrow")


def test_transformers_in_batches_gives_each_its_own_reply() -> None:
    """Guards against padding that changes a reply, and against an end-of-text token that shortens one."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=3,
    )
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data.normal_(std=0.3)
    wanted = [traces.Request([5, 9, 2, 6], 3), traces.Request([7], 6), traces.Request([1, 1], 2)]
    run = loop.generate_in_batches(model, wanted, batch=2)
    for index, request in enumerate(wanted):
        tokens = list(request.prompt)
        for _ in range(request.output):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        assert run.replies[f"r{index}"].tokens == tokens[len(request.prompt) :]
        assert len(run.replies[f"r{index}"].times) == request.output
    assert len(run.steps) == 6 + 2
    assert run.tokens == 11


def test_traces_have_the_means_that_the_paper_gives() -> None:
    """Guards against a mean that cutting off the longest has lowered."""
    for pairs, means in (
        (traces.sharegpt_like(), traces.SHAREGPT_MEANS),
        (traces.alpaca_like(), traces.ALPACA_MEANS),
    ):
        for column, mean in zip(zip(*pairs, strict=True), means, strict=True):
            assert sum(column) / len(column) == pytest.approx(mean, rel=0.01)
            assert min(column) >= 1
            assert max(column) <= traces.LONGEST
    assert traces.sharegpt_like(seed=1) != traces.sharegpt_like() == traces.sharegpt_like()


def test_the_serving_trace_never_changes() -> None:
    """Guards against another order of draws: figures that are kept would no longer be of the same requests."""
    trace = traces.serving_trace()
    assert (sum(len(r.prompt) for r in trace), sum(r.output for r in trace)) == (1127, 2224)
    assert [r.output for r in trace[:4]] == [56, 256, 89, 26]
    assert all(4 <= len(r.prompt) <= 160 and 4 <= r.output <= 256 for r in trace)


def test_buddies_split_and_join() -> None:
    """Guards against a buddy allocator that loses memory, or overlaps two stretches."""
    arena = waste.Buddies(24)  # 16 + 8
    places = [arena.allocate(size) for size in (5, 9, 3)]
    assert places == [(16, 8), (0, 16), None]
    for place in places[:2]:
        arena.free(place)
    small = [arena.allocate(1) for _ in range(24)]
    assert sorted(offset for offset, _ in small) == list(range(24))
    assert arena.allocate(1) is None
    for place in small:
        arena.free(place)
    assert arena.allocate(16) == (0, 16)


def test_shares_of_a_memory_add_up() -> None:
    """Guards against slots that are counted twice or not at all."""

    def oracle(prompt: int, output: int, generated: int, policy: str) -> tuple[int, int, int]:
        return prompt + generated, output - generated, 0

    usage = waste.simulate([(10, 22)] * 50, "oracle", oracle, slots=64)
    assert sum(usage.shares) == pytest.approx(100)
    assert usage.running == 2
    assert usage.shares[3] == 0
    with pytest.raises(ValueError, match="fit into 64 slots at once"):
        waste.simulate([(10, 22)], "oracle", oracle, slots=64)


class Plans:
    """A scheduler whose plans were written down before."""

    def __init__(self, *plans: object):
        self.plans = list(plans)

    def add(self, *_: object) -> None:
        pass

    def schedule(self) -> object:
        return self.plans.pop(0)

    def update(self, stopped: list[str]) -> list[str]:
        return ["a"] if stopped else []


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        pytest.param([("a", 3)], "what schedule", id="no pair of lists"),
        pytest.param(None, "what schedule", id="nothing"),
        pytest.param(([("a", 1), ("a", 1)], []), "each once", id="twice"),
        pytest.param(([("a", 4)], []), "tokens of 'a'", id="more than are known"),
        pytest.param(([("a", 0)], []), "tokens of 'a'", id="none"),
        pytest.param(([("c", 1)], []), "was added", id="a stranger"),
        pytest.param(([("a", 3), ("b", 3)], []), "tokens in the batch", id="over the budget"),
        pytest.param(([("a", 1)], ["b"]), "in memory", id="preempted what has nothing"),
    ],
)
def test_the_simulated_server_objects(plan: object, words: str) -> None:
    """Guards against a plan that can't be carried out and is counted all the same."""
    server = SimulatedServer(Plans(plan), num_blocks=3, block_size=2, token_budget=5, max_running=2)
    server.add("a", 3, 2)
    server.add("b", 3, 2)
    with pytest.raises(Wrong, match=words):
        server.step()


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        pytest.param([([("a", 4)], [])], "a new token is known when all of them are", id="not known yet"),
        pytest.param([([("a", 0)], [])], "nobody is admitted", id="admitted for nothing"),
        pytest.param([([("a", 3)], []), ([("a", 0)], [])], "who runs comes before who waits", id="runs for nothing"),
        pytest.param([([("a", 3)], []), ([], ["a"]), ([("a", 5)], [])], "prompt and all its generated", id="preempted"),
    ],
)
def test_the_simulated_server_says_why_a_number_of_tokens_is_wrong(plans: list[object], words: str) -> None:
    """Guards against one cause for all: who never saw a preemption was told what a preempted request computes."""
    server = SimulatedServer(Plans(*plans), num_blocks=3, block_size=2, token_budget=5, max_running=2)
    server.add("a", 3, 2)
    for _ in plans[:-1]:
        server.step()
    with pytest.raises(Wrong) as raised:
        server.step()
    assert words in str(raised.value)
    assert ("preempted" in str(raised.value)) is (len(plans) == 3)


def test_the_simulated_server_counts_blocks_and_ends() -> None:
    """Guards against blocks of two requests that are rounded together, and an end that goes unnoticed."""
    server = SimulatedServer(Plans(([("a", 3), ("b", 1)], []), ([("b", 2)], [])), 3, 2, 5, 2)
    server.add("a", 3, 9, stop_after=1)
    server.add("b", 3, 9)
    batch, preempted, finished = server.step()
    assert (batch, preempted, finished) == ({"a": 3, "b": 1}, [], ["a"])
    assert server.blocks_used == 1
    server.requests["b"].stop_after = 1
    server.scheduler.update = lambda stopped: []
    with pytest.raises(Wrong, match="ends after step 2"):
        server.step()
