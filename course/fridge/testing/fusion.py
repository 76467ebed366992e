"""What tests of unit 10 own: operations in kernels that may run, a device that captures, a card with a clock.

The device follows what CUDA graphs promise (launches that are recorded with their buffers, and replayed as one), the
card what an autotuner meets: a first run that compiles, noise that only ever adds time, tiles that don't fit.
"""

import random
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from fridge.fusion.graphs import ACROSS, PRODUCT, Kernel, Op
from fridge.testing.expect import InWords, describe, wrong
from fridge.testing.shares import ALWAYS
from fridge.testing.streaming import expect_json
from fridge.workbench import arguments

PARTS = ("ops", "reads", "writes")  # of a kernel
WIDTH = 4  # columns of a device's buffers
MOST_ROWS = 2**16  # of a device: of its buffers, and of what its replays found
MOST_STEPS = 10_000  # of a device: captures, and launches, those within a graph, too
MOST_RUNS, MOST_SIDES = 10_000, 8  # of a card; of a shape that it runs
TICK = 2.0**-20  # of a card's clock, in seconds: sums and differences of it are exact


def expect_kernels(got: Any, ops: list[Op], outputs: Iterable[str], what: str) -> list[Kernel]:
    """A learner's list of kernels as plain dicts: each operation in one of them, and all can run in this order.

    Raises:
        Wrong: they can't, with the reason.
    """
    kernels = _plain_kernels(got, what)
    by_name = {op["name"]: op for op in ops}
    home: dict[str, int] = {}
    for number, kernel in enumerate(kernels):
        for name in kernel["ops"]:
            if name not in by_name:
                raise wrong(f"{what}: operations of kernel {number}", "names of operations", name)
            if name in home:
                cause = "one kernel computes it and writes it; others read it"
                raise wrong(f"{what}: kernels that hold {name!r}", "one", InWords("two, or one twice"), cause)
            home[name] = number
    if missing := [name for name in by_name if name not in home]:
        raise wrong(f"{what}: operations in the kernels", "all", InWords(f"without {describe(missing[:3])}"))
    known = set(by_name) | {part for op in ops for part in op["of"]}
    for number, kernel in enumerate(kernels):
        _expect_legal(number, kernel, by_name, home, known, kernels, what)
    _expect_order(kernels, by_name, home, what)
    left = [name for name in outputs if name in home and name not in kernels[home[name]]["writes"]]
    if left:
        cause = "an output is needed outside, whoever else reads it"
        raise wrong(f"{what}: outputs that nobody writes", "none", left, cause)
    return kernels


def expect_lean(kernels: list[Kernel], ops: list[Op], outputs: Iterable[str], what: str) -> None:
    """What `expect_kernels` returned moves nothing in vain: each value is read once, and written where it is needed.

    Raises:
        Wrong: a kernel reads or writes more than that.
    """
    by_name = {op["name"]: op for op in ops}
    wanted = set(outputs)
    for kernel in kernels:
        own = set(kernel["ops"])
        wanted |= {part for name in kernel["ops"] for part in by_name[name]["of"]} - own
    for number, kernel in enumerate(kernels):
        own = set(kernel["ops"])
        needs = {part for name in kernel["ops"] for part in by_name[name]["of"]} - own
        for part, right, why in (
            ("reads", needs, "what a kernel needs and doesn't make, each value once"),
            ("writes", own & wanted, "what another kernel or the outside needs, each value once"),
        ):
            if sorted(kernel[part]) != sorted(right):
                said = f"{what}: kernel {number}, {describe(kernel['ops'])}: {part!r}, in any order"
                raise wrong(said, describe(sorted(right)), sorted(kernel[part]), why)


def expect_named(got: Any, names: Iterable[str], what: str) -> dict[str, Any]:
    """The values of these names in what is to be a dict with them, and with no other.

    Raises:
        Wrong: it is none, or has others.
    """
    names = list(names)
    if not issubclass(type(got), dict):
        raise wrong(what, f"a dict with {', '.join(map(repr, names))}", got)
    own = dict(dict.items(got))
    if any(type(name) is not str for name in own) or sorted(own) != sorted(names):
        raise wrong(f"names in {what}", ", ".join(map(repr, names)), InWords(describe(list(own))))
    return own


def fewest_kernels(ops: Iterable[Op]) -> int:
    """How many kernels a list of operations needs at least; as many suffice.

    Kernels of operations by row are taken in stages. Whoever reads a product, or an across result, comes in a later
    stage than whatever that one was made of.
    """
    stages: dict[str, int] = {}  # of a product: the stage of the last thing that it was made of; 0 for none
    later: set[str] = set()  # names whose readers come in a later stage
    products = 0
    for op in ops:
        before = [stages[name] + (op["kind"] != PRODUCT and name in later) for name in op["of"] if name in stages]
        is_product = op["kind"] == PRODUCT
        products += is_product
        stages[op["name"]] = max([0 if is_product else 1, *before])
        if is_product or op["kind"] == ACROSS:
            later.add(op["name"])
    last = max((stages[op] for op in stages), default=0)
    return products + last


def _plain_kernels(got: Any, what: str) -> list[Kernel]:
    own = expect_json(got, f"{what}: what fuse returns")
    if type(own) is not list:
        raise wrong(f"{what}: what fuse returns", "a list of kernels", got)
    for number, kernel in enumerate(own):
        if type(kernel) is not dict or sorted(kernel) != sorted(PARTS):
            raise wrong(f"{what}: kernel {number}", "a dict with 'ops', 'reads' and 'writes'", kernel)
        for part in PARTS:
            if type(kernel[part]) is not list or any(type(name) is not str for name in kernel[part]):
                raise wrong(f"{what}: kernel {number}, {part!r}", "a list of names", kernel[part])
    return own


def _expect_legal(
    number: int,
    kernel: Kernel,
    by_name: dict[str, Op],
    home: dict[str, int],
    known: set[str],
    kernels: list[Kernel],
    what: str,
) -> None:
    names = kernel["ops"]
    where = f"{what}: kernel {number}, {describe(names)}"
    if not names:
        raise wrong(where, "at least one operation", names)
    products = [name for name in names if by_name[name]["kind"] == PRODUCT]
    if products and len(names) > 1:
        raise wrong(
            f"{where}: beside the product {products[0]!r}", "nothing", names, "a product is a kernel of its own"
        )
    made: set[str] = set()
    for name in names:
        for part in by_name[name]["of"]:
            if home.get(part) == number and part not in made:
                raise wrong(f"{where}: what stands before {name!r}", f"{part!r}, which it reads", InWords("not yet"))
            if part in made and by_name[part]["kind"] == ACROSS:
                cause = "an across result is complete only when its kernel has ended"
                raise wrong(f"{where}: {name!r} reads {part!r}", "another kernel", InWords("the same one"), cause)
            if part not in made and part not in kernel["reads"]:
                cause = "a kernel reads each value that it needs and doesn't make"
                raise wrong(f"{where}: 'reads', for {name!r}", f"{part!r} among them", kernel["reads"], cause)
        made.add(name)
    if strange := [name for name in kernel["reads"] if name in made or name not in known]:
        raise wrong(f"{where}: 'reads'", "inputs, and results of other kernels", strange)
    if strange := [name for name in kernel["writes"] if name not in made]:
        raise wrong(f"{where}: 'writes'", "results of its own operations", strange)
    for name in kernel["reads"]:
        if name in home and home[name] != number and name not in kernels[home[name]]["writes"]:
            cause = "what another kernel reads must be written"
            raise wrong(
                f"{where}: who writes {name!r}, which it reads", f"kernel {home[name]}", InWords("nobody"), cause
            )


def _expect_order(kernels: list[Kernel], by_name: dict[str, Op], home: dict[str, int], what: str) -> None:
    waits = [
        {home[part] for name in kernel["ops"] for part in by_name[name]["of"] if part in home} - {number}
        for number, kernel in enumerate(kernels)
    ]
    late = next(((number, other) for number, others in enumerate(waits) for other in others if other > number), None)
    if late is None:
        return
    done: set[int] = set()
    while ready := {number for number in range(len(kernels)) if number not in done and waits[number] <= done}:
        done |= ready
    stuck = sorted(set(range(len(kernels))) - done)
    if stuck:
        # Of those that wait for ever, some only wait for others: a cycle is found by going from one to the next.
        way = [stuck[0]]
        while (following := min(waits[way[-1]] - done)) not in way:
            way.append(following)
        ring = way[way.index(following) :]
        names = "; ".join(describe(kernels[number]["ops"]) for number in ring[:3])
        cause = "a result goes out to another kernel and comes back: the later operation needs a later kernel"
        raise wrong(f"{what}: kernels that wait for each other", "none", InWords(names), cause)
    number, other = late
    cause = "the kernels stand in an order in which they can run"
    raise wrong(f"{what}: kernel {number} needs kernel {other}", "an earlier one", InWords("a later one"), cause)


class Device:
    """A GPU as CUDA graphs see it: buffers, launches that cost, and launches that are recorded and replayed as one.

    Attributes:
        launches: what was launched: each kernel by itself, and each replay as one.
        captures: graphs that were captured.
        buffers: how many were made.
        replayed: what each replay found in the buffer that its first kernel reads, a copy.
        learner_may: what a learner's code may use of it when the test runs in another process.
        learner_shares: method whose tensor changes there, too, whenever it does here.

    Its tensors are plain ones, also where they are asked for in `torch.inference_mode`: later writes must find them so.
    """

    learner_may = ("buffer", "write", "read", "begin", "end", "replay")
    learner_shares: ClassVar = {"read": ALWAYS}

    def __init__(self) -> None:
        self.launches = self.captures = self.kernels_run = 0
        self._rows = self._steps = 0
        self.replayed: list[Tensor] = []
        self._memory: list[Tensor] = []
        self._shown: dict[int, Tensor] = {}  # what `read` gave, which changes with the buffer
        self._recording: list[tuple[str, int, int]] | None = None
        self._graphs: list[list[tuple[str, int, int]]] = []

    @property
    def buffers(self) -> int:
        """How many were made."""
        return len(self._memory)

    @torch.inference_mode(False)
    def buffer(self, rows: Any) -> int:
        """Make a buffer [rows, 4] of NaN; its number."""
        count = arguments.whole(rows)
        if count is None or count < 1:
            raise wrong("rows of device.buffer(…)", "a whole number, 1 or more", rows)
        self._outside("device.buffer")
        self._take_rows(count)
        self._memory.append(torch.full((count, WIDTH), torch.nan))
        return len(self._memory) - 1

    @torch.inference_mode(False)
    def write(self, buffer: Any, values: Any) -> None:
        """Copy [rows, 4] into the buffer's first rows; the others stay as they are."""
        number, own = self._number(buffer, "device.write"), arguments.tensor(values)
        self._outside("device.write")
        memory = self._memory[number]
        if own is None or own.dim() != 2 or own.shape[1] != WIDTH or not 0 < len(own) <= len(memory):
            raise wrong(f"what is written to a buffer of {len(memory)} rows", f"[rows, {WIDTH}], no more rows", values)
        memory[: len(own)] = own.float()
        self._show(number)

    @torch.inference_mode(False)
    def read(self, buffer: Any) -> Tensor:
        """The buffer's memory, all rows: what is written there later, shows in it."""
        number = self._number(buffer, "device.read")
        self._outside("device.read")
        if number not in self._shown:
            self._shown[number] = self._memory[number].clone()
        return self._shown[number]

    def begin(self) -> None:
        """Begin to capture: launches are recorded from here on, and don't run."""
        self._outside("device.begin")
        self._recording = []

    def end(self) -> int:
        """End the capture; the graph's number."""
        if self._recording is None:
            raise wrong("device.end()", "a capture that has begun", InWords("none"))
        self._take_step()
        self._graphs.append(self._recording)
        self._recording = None
        self.captures += 1
        return len(self._graphs) - 1

    @torch.inference_mode(False)
    def replay(self, graph: Any) -> None:
        """Run what was recorded, on the buffers that were recorded, as one launch."""
        number = arguments.whole(graph)
        if number is None or not 0 <= number < len(self._graphs):
            raise wrong("the graph of device.replay(…)", "a number that device.end gave", graph)
        self._outside("device.replay")
        recorded = self._graphs[number]
        if not recorded:
            raise wrong(
                "kernels in the graph that is replayed", "those of a step", InWords("none: nothing was captured")
            )
        found = self._memory[recorded[0][1]]
        self._take_rows(len(found))
        self.launches += 1
        self.replayed.append(found.clone())
        for kernel in recorded:
            self._run(*kernel)

    def launch(self, kernel: str, x: int, y: int) -> None:
        """For a test's step: launch a kernel that reads buffer x and writes buffer y; record it in a capture."""
        if self._recording is not None:
            self._take_step()
            self._recording.append((kernel, x, y))
            return
        self.launches += 1
        self._run(kernel, x, y)

    @torch.inference_mode(False)
    def step(self, x: Any, y: Any) -> None:
        """A step of three kernels from buffer x [rows, 4] to y [rows, 4], each row for itself."""
        source, target = self._number(x, "step"), self._number(y, "step")
        rows = [len(self._memory[number]) for number in (source, target)]
        if source == target or rows[0] != rows[1]:
            got = InWords(f"rows {rows}, buffers {[source, target]}")
            raise wrong("the buffers of step", "two of as many rows", got)
        for kernel, place in (("scale", source), ("square", target), ("sum", target)):
            self.launch(kernel, place, target)

    def _run(self, kernel: str, x: int, y: int) -> None:
        self._take_step()
        values = self._memory[x]
        made = {
            "scale": lambda: 2 * values + 1,
            "square": lambda: values.square(),
            "sum": lambda: values - values.sum(1, keepdim=True),
        }[kernel]()
        self._memory[y].copy_(made)
        self.kernels_run += 1
        self._show(y)

    def _show(self, number: int) -> None:
        if number in self._shown:
            self._shown[number].copy_(self._memory[number])

    def _number(self, buffer: Any, what: str) -> int:
        number = arguments.whole(buffer)
        if number is None or not 0 <= number < len(self._memory):
            raise wrong(f"the buffer of {what}(…)", "a number that device.buffer gave", buffer)
        return number

    def _take_rows(self, rows: int) -> None:
        self._rows += rows
        if self._rows > MOST_ROWS:
            raise wrong("rows of all buffers and replays of a device", f"at most {MOST_ROWS}", self._rows)

    def _take_step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise wrong("captures and kernels of a device", f"at most {MOST_STEPS}", InWords("more"))

    def _outside(self, what: str) -> None:
        if self._recording is not None:
            cause = "between begin and end there are launches alone; buffers are made, filled and read outside"
            raise wrong(f"{what} within a capture", "nothing but launches", InWords(what), cause)


def stepped(rows: Tensor) -> Tensor:
    """What the step of a `Device` makes of rows, in float64."""
    squares = (2 * rows.double() + 1).square()
    return squares - squares.sum(1, keepdim=True)


class Card:
    """A card with a clock of its own: runs of a kernel take the time that the test has written down, and noise.

    Args:
        times: (tile, shape) -> seconds of a run without noise; a tile that isn't there doesn't fit.
        seed: of the noise, which only ever adds time; None: without noise.
        calm: the one timed run of each tile and shape that noise leaves alone, from 1.

    Attributes:
        runs: (tile, shape) in order, those that failed, too.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("run", "clock")

    def __init__(self, times: dict[tuple[int, tuple[int, ...]], float], seed: int | None = None, calm: int = 1):
        self.times, self.calm = times, calm
        self.runs: list[tuple[int, tuple[int, ...]]] = []
        self._now = 1000.0
        self._noise = None if seed is None else random.Random(seed)
        self._turns: dict[tuple[int, tuple[int, ...]], int] = {}

    def clock(self) -> float:
        """Seconds now."""
        return self._now

    def run(self, tile: Any, shape: Any) -> None:
        """Run the kernel once. The first run of a tile for a shape compiles it, too, which takes a second.

        Raises:
            NoRoom: the tile doesn't fit for this shape.
        """
        number, sides = arguments.whole(tile), arguments.wholes(shape)
        if number is None or sides is None or len(sides) > MOST_SIDES or len(self.runs) >= MOST_RUNS:
            got = InWords(f"run({arguments.said(tile)}, {arguments.said(shape)})")
            expected = f"a tile, a tuple of {MOST_SIDES} whole numbers at most; {MOST_RUNS} runs at most"
            raise wrong("card.run(tile, shape)", expected, got)
        key = (number, tuple(sides))
        self.runs.append(key)
        if key not in self.times:
            raise NoRoom("this tile doesn't fit into SRAM")
        turn = self._turns[key] = self._turns.get(key, -1) + 1
        spent = self.times[key] + (1.0 + 0.001 * number if not turn else 0.0)
        if self._noise is not None and turn and turn != self.calm:
            spent += self.times[key] * self._noise.choice([0.5, 2.0, 9.0])
        self._now += round(spent / TICK) * TICK


class NoRoom(ValueError):
    """A tile that doesn't fit into SRAM. It is an answer, which code may count on, and no mistake."""

    is_an_answer = True
