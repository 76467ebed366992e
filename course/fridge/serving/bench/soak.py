"""`python -m fridge.serving.bench.soak`: half an hour of clients, well-behaved and not, and what is left of it.

Clients arrive by chance and ask for little and for much; one in ten hangs up in the midst of its reply, a few send
nonsense, too much, half a request, or read slowly. Meanwhile the server's memory, threads and open files are looked at.
At the end no block may be left, nothing may have grown, and after a kill -9 a new server must answer at the same port.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import psutil

from fridge.serving.bench.api_servers import CONTESTANTS, Running, running
from fridge.serving.bench.load import body_of, posted
from fridge.serving.traces import Request, serving_trace
from fridge.workbench import measure
from fridge.workbench.terminal import allow_any_letter

KINDS = {"stream": 40, "whole": 35, "hang up": 10, "nonsense": 5, "too large": 3, "half a request": 4, "slow": 3}
LOOK_SECONDS = 10.0
CROWD = 200  # connections at once, half way
PATIENCE = 600.0  # seconds for one client; for all to end
MUCH = 1_100_000  # bytes, more than a body may have
GROWTH_MB = 20.0  # over the last two thirds: what is more than Python's and the allocator's coming and going


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit code: 1 if anything was left or went wrong."""
    allow_any_letter()
    parser = argparse.ArgumentParser(prog="python -m fridge.serving.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=1.5, help="clients in a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soak.json"), help="where the raw figures go")
    options = parser.parse_args(arguments)
    ours = next(one for one in CONTESTANTS if "INT8" in one.name)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with running(ours, measure.processors(), Path(), log) as server:
            results = asyncio.run(_soak(server, options))
            results["log"] = log.read_text(errors="replace")[-2000:]
            os.kill(server.process, signal.SIGKILL)
        results["restart_seconds"] = _restart(server, Path(folder))
    results = {"machine": measure.machine(), "minutes": options.minutes, "rate": options.rate, **results}
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in results.items() if name not in ("samples", "log")}, indent=1))
    return int(bool(results["findings"]))


async def _soak(server: Running, options: argparse.Namespace) -> dict:
    client = _Client(server, random.Random(options.seed))
    process = psutil.Process(server.process)
    for _ in range(10):  # what is made once is no leak
        await client.one("stream")
    samples = [_sample(process)]
    sampling = asyncio.create_task(_sampling(process, samples))
    clients: set[asyncio.Task] = set()
    for crowd in (CROWD, 0):  # at the end of the first half
        end = time.monotonic() + 30 * options.minutes
        while time.monotonic() < end:
            clients.add(asyncio.create_task(client.one()))
            await asyncio.sleep(client.draw.expovariate(options.rate))
            clients = {task for task in clients if not task.done()}
        clients.update(asyncio.create_task(client.one("short")) for _ in range(crowd))
    await asyncio.wait_for(asyncio.gather(*clients), PATIENCE)
    sampling.cancel()
    state = await _idle(server.url)
    await asyncio.sleep(1)
    samples.append(_sample(process))
    counts = {kind: dict(outcomes) for kind, outcomes in sorted(client.outcomes.items())}
    findings = _findings(client, samples, state)
    ends = {"first": samples[0], "last": samples[-1]}
    return {"outcomes": counts, "state": state, "findings": findings, **ends, "samples": samples}


class _Client:
    # Clients of each kind; `outcomes` counts by kind how they fared, `wrong` holds what shouldn't have happened.
    def __init__(self, server: Running, draw: random.Random):
        self._url, self._model, self.draw = server.url, server.model, draw
        self.outcomes: dict[str, Counter] = {}
        self.wrong: list[str] = []
        self._requests = [request for seed in range(20) for request in serving_trace(64, seed=seed)]

    async def one(self, kind: str | None = None) -> None:
        kind = kind or self.draw.choices(list(KINDS), list(KINDS.values()))[0]
        does: dict[str, Callable[[], Awaitable[str]]] = {
            "stream": self._reads,
            "whole": self._waits,
            "short": self._short,
            "hang up": self._hangs_up,
            "nonsense": self._nonsense,
            "too large": self._too_large,
            "half a request": self._half,
            "slow": self._slow,
        }
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await does[kind]()
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            outcome = f"{type(error).__name__}: {str(error)[:120]}"
            if "429" not in outcome:  # a full queue is an answer
                self.wrong.append(f"{kind}: {outcome}")
        self.outcomes.setdefault(kind, Counter())[outcome] += 1

    def _request(self) -> Request:
        return self.draw.choice(self._requests)

    async def _reads(self, pause: float = 0.0) -> str:
        request = self._request()
        data = b""
        async with posted(self._url, "/v1/completions", body_of(self._model, request)) as answer:
            async for piece in answer:
                data += piece
                await asyncio.sleep(pause)
        if b"[DONE]" not in data or f'"completion_tokens":{request.output},'.encode() not in data:
            raise ValueError(f"a stream without its end: {data[-100:]!r}")
        return "complete"

    async def _slow(self) -> str:
        return await self._reads(0.2)

    async def _waits(self, tokens: int | None = None) -> str:
        request = self._request()
        body = json.loads(body_of(self._model, request)) | {"stream": False, "stream_options": None}
        body["max_tokens"] = tokens or request.output
        async with posted(self._url, "/v1/completions", json.dumps(body).encode()) as answer:
            data = b"".join([piece async for piece in answer])
        if json.loads(data)["usage"]["completion_tokens"] != body["max_tokens"]:
            raise ValueError(f"another number of tokens: {data[-100:]!r}")
        return "complete"

    async def _short(self) -> str:
        return await self._waits(4)

    async def _hangs_up(self) -> str:
        after = self.draw.randrange(0, 40)
        async with posted(self._url, "/v1/completions", body_of(self._model, self._request())) as answer:
            async for _ in answer:
                after -= 1
                if after <= 0:
                    return "hung up"
        return "complete before it hung up"

    async def _refused(self, status: str, body: bytes) -> str:
        try:
            async with posted(self._url, "/v1/completions", body):
                raise ValueError("it was accepted")
        except ValueError as error:
            if not str(error).startswith(status):
                raise
            return f"refused with {status}"

    async def _nonsense(self) -> str:
        return await self._refused("400", self.draw.choice([b"{", b"[]", b'{"model": 7}', b"\xff" * 40, b"[" * 50_000]))

    async def _too_large(self) -> str:
        return await self._refused("413", b'{"prompt": "' + b"a" * MUCH + b'"}')

    async def _half(self) -> str:
        place = urlsplit(self._url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"[: self.draw.randrange(50)])
            await writer.drain()
            return "closed by the server" if await reader.read() == b"" else "answered"
        finally:
            writer.close()


def _sample(process: psutil.Process) -> dict[str, float]:
    with process.oneshot():
        return {
            "time": time.time(),
            "resident_mb": process.memory_info().rss / 1e6,
            "threads": process.num_threads(),
            "files": process.num_fds(),
        }


async def _sampling(process: psutil.Process, samples: list[dict[str, float]]) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        samples.append(_sample(process))


def _look(url: str) -> dict:
    with build_opener(ProxyHandler({})).open(f"{url}/state", timeout=60) as answer:
        return json.load(answer)


async def _idle(url: str) -> dict[str, int]:
    # The state once nobody runs or waits any more.
    end = time.monotonic() + PATIENCE
    while True:
        state = await asyncio.to_thread(_look, url)
        if not (state["running"] or state["waiting"]) or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    found = {name: state[name] for name in ("blocks", "free", "waiting", "preemptions")}
    return found | {"running": len(state["running"])}


def _findings(client: _Client, samples: Sequence[dict[str, float]], state: dict[str, int]) -> list[str]:
    findings = client.wrong[:20]
    if state["free"] != state["blocks"] or state["running"] or state["waiting"]:
        findings.append(f"{state['blocks'] - state['free']} blocks are left, {state['running']} requests run")
    settled = samples[len(samples) // 3 :]
    third = max(1, len(settled) // 3)
    early, late = (
        statistics.median(one["resident_mb"] for one in part) for part in (settled[:third], settled[-third:])
    )
    if late - early > GROWTH_MB:
        findings.append(f"memory grew from {early:.0f} to {late:.0f} MB")
    for what in ("threads", "files"):
        if samples[-1][what] > samples[0][what]:
            findings.append(f"{what}: {samples[0][what]} before, {samples[-1][what]} after")
    return findings


def _restart(server: Running, folder: Path) -> float:
    # Seconds until a new server answers at the port of the one that was killed.
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "fridge.notebook.cli", "serve", "--int8", "--port", port]
    begun = time.monotonic()
    with (folder / "again").open("w") as out:
        again = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            asyncio.run(asyncio.wait_for(_answers(server), PATIENCE))
        finally:
            again.terminate()
            again.wait(60)
    return time.monotonic() - begun


async def _answers(server: Running) -> None:
    while True:
        try:
            async with posted(server.url, "/v1/completions", body_of(server.model, Request([5, 6], 4))) as answer:
                async for _ in answer:
                    pass
            return
        except OSError:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
