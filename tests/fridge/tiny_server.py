"""A tiny engine with letters for tokens, and clients for it: what the tests of the API server share."""

import threading
from collections.abc import Mapping, Sequence

from fridge.serving.engine import Engine
from fridge.testing import tiny_llama

STOP = 63
LETTERS = "abcdefghijklmnopqrstuvwxyz .,:;!?'-0123456789\n"
ELEPHANT = "🐘".encode()
NAME = "tiny"


class TinyLanguage:
    """64 tokens: a letter each, the four bytes of an elephant, bytes that can't be UTF-8, and one that ends a reply."""

    vocabulary: Sequence[bytes] = [
        *(letter.encode() for letter in LETTERS),
        *(bytes([byte]) for byte in ELEPHANT),
        *(bytes([0xF8 + place % 8]) for place in range(STOP - len(LETTERS) - 4)),
        b"",
    ]
    stop_token: int | None = STOP
    context: int | None = None

    def encode(self, text: str) -> list[int]:
        """A token for each letter; those that it doesn't know are question marks."""
        return [LETTERS.find(letter) if letter in LETTERS else LETTERS.index("?") for letter in text.lower()]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """role: content, a line each."""
        if messages[-1]["role"] == "system":
            raise ValueError("somebody has to say something")
        return self.encode("".join(f"{one['role']}: {one['content']}\n" for one in messages) + "assistant: ")


class GatedEngine(Engine):
    """An engine that takes a step only when a test lets it. `open()` lets it run."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._steps = threading.Semaphore(0)
        self.taken = 0

    def allow(self, steps: int = 1) -> None:
        self._steps.release(steps)

    def open(self) -> None:
        self._steps.release(1_000_000)

    def step(self):
        self._steps.acquire()
        self.taken += 1
        return super().step()


def tiny_engine(kind: type[Engine] = Engine, **changes) -> Engine:
    """256 blocks of 16: 4096 tokens."""
    return kind(tiny_llama(seed=3), **{"num_blocks": 256, "max_waiting": 64, **changes})
