"""A server with a simulated model, which carries out a learner's scheduler's plans and objects to impossible ones."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fridge.testing.expect import wrong
from fridge.workbench import arguments

MOST_NAMES = 10_000  # in one plan: a test's servers have some ten requests


@dataclass
class Served:
    """One request as the server sees it.

    Attributes:
        known: tokens that are known, the prompt's and the generated ones.
        computed: of these, how many have keys and values in memory.
        stop_after: the model ends the reply by itself after so many tokens; None: it never does.
    """

    prompt: int
    max_new_tokens: int
    stop_after: int | None = None
    known: int = 0
    computed: int = 0
    done_at: int | None = None
    first_token_at: int | None = None
    preemptions: int = 0

    @property
    def generated(self) -> int:
        """Tokens of the reply so far."""
        return self.known - self.prompt


@dataclass
class SimulatedServer:
    """Runs a scheduler's plans step by step on `num_blocks` blocks of memory.

    Attributes:
        requests: by name, also those that have ended.
        batches: what each step computed, name -> tokens.
        max_batch: most requests in one step.
    """

    scheduler: Any
    num_blocks: int
    block_size: int
    token_budget: int
    max_running: int
    requests: dict[str, Served] = field(default_factory=dict)
    batches: list[dict[str, int]] = field(default_factory=list)

    def add(self, name: str, prompt: int, output: int, stop_after: int | None = None) -> None:
        """A request arrives."""
        self.scheduler.add(name, prompt, output)
        self.requests[name] = Served(prompt, output, stop_after, known=prompt)

    def step(self) -> tuple[dict[str, int], list[str], list[str]]:
        """One step: (tokens computed by name, names preempted, names finished). Raises Wrong for an impossible plan."""
        batch, preempted = self._plan()
        where = f"step {len(self.batches) + 1}"
        for name in preempted:
            request = self._open(name, f"preempted in {where}")
            if not request.computed:
                raise wrong(f"{where}: preempted", "a request that has something in memory", name)
            request.computed, request.preemptions = 0, request.preemptions + 1
        for name, new in batch.items():
            request = self._open(name, f"in the batch of {where}")
            if not 1 <= new <= request.known - request.computed:
                raise wrong(
                    f"{where}: tokens of {name!r}, {request.computed} of whose {request.known} known ones are computed",
                    f"1 to {request.known - request.computed}",
                    new,
                    _cause(request, new),
                )
            request.computed += new
        if set(batch) & set(preempted):
            raise wrong(
                f"{where}: in the batch and preempted at once",
                "no name",
                sorted(set(batch) & set(preempted)),
                "whoever was admitted last gives up its blocks, and gets no token in that step",
            )
        self._limits(batch, where)
        self.batches.append(batch)
        finished = self._finish(batch)
        return batch, preempted, finished

    def run(self, most_steps: int = 1000) -> int:
        """Steps until every request has ended. Raises Wrong for a step that computes nothing, or too many steps."""
        steps = 0
        while any(request.done_at is None for request in self.requests.values()):
            if steps == most_steps:
                left = [name for name, request in self.requests.items() if request.done_at is None]
                raise wrong(f"requests that have not ended after {steps} steps", "none", left)
            batch, _, _ = self.step()
            if not batch:
                raise wrong("tokens computed in a step while requests wait or run", "at least 1", 0)
            steps += 1
        return steps

    @property
    def blocks_used(self) -> int:
        """Blocks that hold something."""
        return sum(-(-request.computed // self.block_size) for request in self.requests.values())

    def _plan(self) -> tuple[dict[str, int], list[str]]:
        plan = self.scheduler.schedule()
        form = "(batch, preempted): a list of (name, tokens) and a list of names"
        if type(plan) not in (list, tuple) or len(plan) != 2:
            raise wrong("what schedule() returns", form, plan)
        try:
            pairs = [tuple(islice(pair, 3)) for pair in islice(plan[0], MOST_NAMES)]
        except TypeError:
            raise wrong("what schedule() returns", form, plan) from None
        preempted = _names(plan[1])
        numbers = [arguments.whole(pair[1]) for pair in pairs if len(pair) == 2 and type(pair[0]) is str]
        if preempted is None or len(numbers) != len(pairs) or None in numbers:
            raise wrong("what schedule() returns", form, plan)
        batch = {name: new for (name, _), new in zip(pairs, numbers, strict=True)}
        if len(batch) != len(pairs) or len(set(preempted)) != len(preempted):
            raise wrong("names in one batch, and names preempted", "each once", plan)
        return batch, preempted

    def _open(self, name: str, what: str) -> Served:
        if name not in self.requests or self.requests[name].done_at is not None:
            raise wrong(f"a request {what}", "one that was added and hasn't ended", name)
        return self.requests[name]

    def _limits(self, batch: dict[str, int], where: str) -> None:
        if sum(batch.values()) > self.token_budget:
            raise wrong(f"{where}: tokens in the batch", f"at most {self.token_budget}", sum(batch.values()))
        if self.blocks_used > self.num_blocks:
            raise wrong(
                f"{where}: blocks in use",
                f"at most {self.num_blocks}, which is all there are",
                self.blocks_used,
                "each running request holds ceil(tokens / block_size) blocks, with the tokens of this step",
            )
        holding = sum(request.computed > 0 for request in self.requests.values())
        if holding > self.max_running:
            raise wrong(f"{where}: requests with tokens in memory", f"at most {self.max_running}", holding)

    def _finish(self, batch: dict[str, int]) -> list[str]:
        step = len(self.batches)
        stopped, expected = [], []
        for name in batch:
            request = self.requests[name]
            if request.computed < request.known:
                continue
            request.known += 1
            request.first_token_at = request.first_token_at or step
            if request.generated == request.stop_after:
                stopped.append(name)
            if request.generated in (request.stop_after, request.max_new_tokens):
                expected.append(name)
        finished = self.scheduler.update(list(stopped))
        names = _names(finished)
        if names is None:
            raise wrong("what update() returns", "a list of names", finished)
        names = sorted(names)
        if names != sorted(expected):
            replies = ", ".join(
                f"{name} has {self.requests[name].generated} of {self.requests[name].max_new_tokens}" for name in batch
            )
            raise wrong(
                f"requests that update({stopped}) ends after step {step}; tokens of the replies: {replies}",
                sorted(expected),
                names,
                "a request ends when the model stops it or its reply is complete",
            )
        for name in expected:
            self.requests[name].done_at, self.requests[name].computed = step, 0
        return names


def _cause(request: Served, new: int) -> str:
    """Why a request's number of tokens can't be, as far as what the server knows of it isolates that."""
    if request.preemptions:
        return "a preempted request computes its prompt and all its generated tokens again"
    if new > 0:
        return "what is known and not computed is computed, once; a new token is known when all of them are computed"
    if request.computed:
        return "who runs comes before who waits, so that the budget has a token for each that runs"
    return "when the budget is used up, nobody is admitted"


def _names(given: Any) -> list[str] | None:
    """The names in a list, a tuple or a set; None for anything else."""
    try:
        names = list(islice(given, MOST_NAMES))
    except TypeError:
        return None
    return names if type(given) is not str and all(type(name) is str for name in names) else None
