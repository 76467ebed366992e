"""What a request asks for, whichever API it came by: the one form behind the formats."""

from dataclasses import dataclass, field, replace
from typing import Any

from fridge.serving.api.fields import Fields
from fridge.serving.api.limits import Limits
from fridge.serving.api.refusal import Refused
from fridge.serving.engine import Output, Sampling

NO_MODEL = "model_not_found"


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        prompts: tokens of each; nearly always one.
        max_new_tokens: of each reply.
        sampling, stops: of each reply.
        stop_token: None if the reply goes on behind it.
        choices: replies to each prompt.
        stream: whether pieces are wanted as they come.
        usage: whether a stream ends with the counts.
    """

    prompts: list[list[int]]
    max_new_tokens: int
    sampling: Sampling
    stops: list[str]
    stop_token: int | None
    choices: int = 1
    stream: bool = False
    usage: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts, each counted once."""
        return sum(map(len, self.prompts))

    def wishes(self) -> list[dict[str, Any]]:
        """What a dispatcher is asked for, choice by choice. Each draws by a seed of its own, the same each time."""
        return [
            {
                "stops": self.stops,
                "prompt": prompt,
                "max_new_tokens": self.max_new_tokens,
                "stop_token": self.stop_token,
                "sampling": self._sampling(choice),
            }
            for prompt in self.prompts
            for choice in range(self.choices)
        ]

    def _sampling(self, choice: int) -> Sampling:
        seed = self.sampling.seed
        return self.sampling if seed is None else replace(self.sampling, seed=seed + choice)


@dataclass
class Reply:
    """One choice, as far as it has come. `outputs` are the engine's, without the stop token."""

    text: str = ""
    finish: str | None = None
    outputs: list[Output] = field(default_factory=list)


@dataclass
class Timing:
    """When a request arrived, had its first text and ended, in nanoseconds of one clock that never goes back."""

    arrived: int
    first: int = 0
    ended: int = 0


def stop_strings(fields: Fields, limits: Limits) -> list[str]:
    """`stop`: a string, a list of them, or nothing.

    Raises:
        Refused: an empty one, too many, or one that is too long.
    """
    value = fields.any("stop")
    written = [value] if isinstance(value, str) else value or []
    if not isinstance(written, list):
        raise fields.wrong("stop", "a string or a list of strings")
    stops = [fields.as_text("stop", one) for one in written]
    if len(stops) > limits.stops:
        raise Refused(400, f"{len(stops)} stop strings; {limits.stops} at most", "stop")
    if not all(0 < len(stop) <= limits.stop_letters for stop in stops):
        raise Refused(400, f"a stop string has from 1 to {limits.stop_letters} letters", "stop")
    return stops


def known_model(fields: Fields, name: str) -> None:
    """Refuse any model but the one that is here.

    Raises:
        Refused: 404, another one.
    """
    wanted = fields.text("model")
    if wanted.removesuffix(":latest") != name:  # Ollama's clients may add that
        raise Refused(404, f"there is no model {wanted[:100]!r} here, but {name!r}", "model", NO_MODEL)
