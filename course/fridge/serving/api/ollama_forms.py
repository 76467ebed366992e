"""Ollama's /api/chat and /api/generate: what a request's JSON asks for, and its answers, one line of JSON each.

The fields are those of Ollama's API page, https://docs.ollama.com/api, as the types of the package `ollama` have them.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fridge.serving.api.asked import Asked, Reply, Timing, known_model, stop_strings
from fridge.serving.api.fields import Fields
from fridge.serving.api.logprobs import ollama_logprobs
from fridge.serving.api.parts import Parts
from fridge.serving.api.refusal import Refused
from fridge.serving.api.service import Service
from fridge.serving.engine import Output, Sampling

# What Ollama takes where a request says nothing: its page on Modelfiles. Its repeat_penalty looks at the last 64 tokens
# alone, this server's at all of them; so nothing is penalised here unless it is asked for.
TEMPERATURE, TOP_K, TOP_P = 0.8, 40, 0.9
ROLES = ("system", "user", "assistant")
DETAILS = {"parent_model": "", "format": "safetensors", "family": "llama", "families": ["llama"]}
DETAILS |= {"parameter_size": "", "quantization_level": ""}
UNKNOWN: dict[str, tuple[Any, ...]] = {
    "format": ("",),
    "tools": ([],),
    "images": ([],),
    "suffix": ("",),
    "template": ("",),
    "context": ([],),
    "think": (False,),
}


class OllamaForm:
    """What both share. Made for each request; attributes as an `OpenAIForm`'s."""

    media = "application/x-ndjson"

    def __init__(self, service: Service, fields: Fields, prompt: list[int]):
        fields.neutral(**UNKNOWN)
        self._name, self._vocabulary = service.name, service.vocabulary
        options = fields.inner("options")
        asked_for = options.whole("num_predict", None, -2)
        new = service.room([prompt], asked_for if (asked_for or 0) > 0 else None, service.limits.reply, "num_predict")
        told = fields.whole("top_logprobs", 0, 0, service.limits.likeliest)
        self.asked = Asked(
            prompts=[prompt],
            max_new_tokens=new,
            sampling=Sampling(
                temperature=options.number("temperature", TEMPERATURE, 0.0),
                top_k=max(0, options.whole("top_k", TOP_K, -1)),
                top_p=options.number("top_p", TOP_P, 0.0, 1.0),
                min_p=options.number("min_p", 0.0, 0.0, 1.0),
                repetition_penalty=options.number("repeat_penalty", 1.0, 0.01, 100.0),
                seed=options.whole("seed", None),
                logprobs=told if fields.flag("logprobs") else None,
            ),
            stops=stop_strings(options, service.limits),
            stop_token=service.language.stop_token,
            stream=fields.flag("stream", True),
        )

    @staticmethod
    def error(parts: Parts, refused: Refused) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer that says what is wrong."""
        return refused.status, {"error": refused.message}

    def broken(self, message: str) -> bytes:
        """The last line of a stream that can't go on."""
        return _line({"error": message})

    def whole(self, replies: Sequence[Reply], timing: Timing) -> dict[str, Any]:
        """The answer in one piece."""
        [reply] = replies
        return self._piece(reply.text, reply.outputs) | self._end(reply, timing)

    def opening(self) -> bytes:
        """Nothing comes before the text."""
        return b""

    def event(self, choice: int, piece: str, finish: str | None, outputs: Sequence[Output]) -> bytes:
        """A piece of the reply."""
        if not (piece or (outputs and self._tells)):
            return b""
        return _line(self._piece(piece, outputs) | {"done": False})

    def closing(self, replies: Sequence[Reply], timing: Timing) -> bytes:
        """Why it has ended, and the counts."""
        [reply] = replies
        return _line(self._piece("", []) | self._end(reply, timing))

    def _piece(self, text: str, outputs: Sequence[Output]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        told = {"logprobs": ollama_logprobs(outputs, self._vocabulary)} if outputs and self._tells else {}
        return {"model": self._name, "created_at": now, **self._said(text), **told}

    def _end(self, reply: Reply, timing: Timing) -> dict[str, Any]:
        return {
            "done": True,
            "done_reason": reply.finish,
            "total_duration": timing.ended - timing.arrived,
            "load_duration": 0,
            "prompt_eval_count": self.asked.prompt_tokens,
            "prompt_eval_duration": timing.first - timing.arrived,
            "eval_count": len(reply.outputs),
            "eval_duration": timing.ended - timing.first,
        }

    def _said(self, text: str) -> Mapping[str, Any]:
        raise NotImplementedError

    @property
    def _tells(self) -> bool:
        return self.asked.sampling.logprobs is not None


class OllamaChat(OllamaForm):
    """/api/chat."""

    def __init__(self, service: Service, fields: Fields):
        known_model(fields, service.name)
        messages = []
        for one in fields.objects("messages"):
            if one.any("role") not in ROLES:
                raise one.wrong("role", f"one of {', '.join(ROLES)}")
            one.neutral(images=([],), tool_calls=([],))
            messages.append({"role": one.text("role"), "content": one.text("content", "")})
        super().__init__(service, fields, service.conversation(messages))

    def _said(self, text: str) -> Mapping[str, Any]:
        return {"message": {"role": "assistant", "content": text}}


class OllamaGenerate(OllamaForm):
    """/api/generate: a prompt, put into the chat template as a user's message unless it is `raw`."""

    def __init__(self, service: Service, fields: Fields):
        known_model(fields, service.name)
        prompt, system = fields.text("prompt", ""), fields.text("system", "")
        if fields.flag("raw"):
            if system:
                raise Refused(400, "a raw prompt has no system message beside it", "system")
            tokens = service.language.encode(prompt)
        else:
            before = [{"role": "system", "content": system}] if system else []
            tokens = service.conversation([*before, {"role": "user", "content": prompt}])
        super().__init__(service, fields, tokens)

    def _said(self, text: str) -> Mapping[str, Any]:
        return {"response": text}


def tags(service: Service) -> dict[str, Any]:
    """/api/tags: the one model that is here."""
    made = datetime.fromtimestamp(service.created, UTC).isoformat().replace("+00:00", "Z")
    one = {"name": service.name, "model": service.name, "modified_at": made, "size": service.bytes, "digest": ""}
    return {"models": [one | {"details": DETAILS}]}


def show(service: Service) -> dict[str, Any]:
    """/api/show: what is known of it."""
    known = {"general.architecture": "llama", "llama.context_length": service.context}
    return {"details": DETAILS, "model_info": known, "capabilities": ["completion"]}


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
