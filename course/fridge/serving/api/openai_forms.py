"""OpenAI's two kinds of completions: what a request's JSON asks for, and what its answers look like on the wire."""

import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

from fridge.serving.api import openai_format, sse
from fridge.serving.api.asked import Asked, Reply, Timing, known_model, stop_strings
from fridge.serving.api.fields import Fields
from fridge.serving.api.limits import Limits
from fridge.serving.api.logprobs import chat_logprobs, text_logprobs
from fridge.serving.api.openai_format import Usage
from fridge.serving.api.parts import Parts
from fridge.serving.api.refusal import Refused
from fridge.serving.api.service import Service
from fridge.serving.engine import Output, Sampling

log = logging.getLogger(__name__)

HOTTEST = 2.0  # temperature
COMPLETION = 16  # tokens, as the API documents for text completions
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What changes nothing in each field that this server doesn't know. Fields beyond these are left unread.
UNKNOWN: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}


class OpenAIForm:
    """What both kinds share. Made for each request.

    Attributes:
        media: of a streamed answer.
        asked: what the request asks for.
    """

    media = sse.TYPE
    prefix: str

    def __init__(self, service: Service, fields: Fields):
        self.asked: Asked
        self._parts, self._vocabulary = service.parts, service.vocabulary
        self._identity = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": service.name,
        }
        known_model(fields, service.name)
        fields.neutral(**UNKNOWN)

    @staticmethod
    def error(parts: Parts, refused: Refused) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer that says what is wrong; the library's if a learner's part can't make one."""
        said = refused.status, refused.message, refused.parameter
        try:
            status, body = parts.error(*said)
            return status, {**body, "error": {**body["error"], "code": refused.code}}
        except Exception:
            log.exception("error_body failed; the client is to read of its own mistake nevertheless")
            return openai_format.error_body(*said)

    def broken(self, message: str) -> bytes:
        """The last event of a stream that can't go on; without [DONE] behind it."""
        return sse.event(self.error(self._parts, Refused(500, message))[1])

    def _usage(self, generated: int) -> Usage:
        return self.asked.prompt_tokens, generated


class ChatForm(OpenAIForm):
    """/v1/chat/completions."""

    prefix = "chatcmpl"

    def __init__(self, service: Service, fields: Fields):
        super().__init__(service, fields)
        told = fields.whole("top_logprobs", 0, 0, service.limits.likeliest)
        wants = fields.flag("logprobs")
        if told and not wants:
            raise Refused(400, "top_logprobs needs logprobs to be true", "top_logprobs")
        prompt = service.conversation(_messages(fields))
        parameter = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
        new = service.room([prompt], fields.whole(parameter, None, 1), service.limits.reply, parameter)
        self.asked = _asked(service, fields, [prompt], new, told if wants else None)

    def whole(self, replies: Sequence[Reply], timing: Timing) -> dict[str, Any]:
        """The answer in one piece."""
        choices = [
            {"text": reply.text, "finish": reply.finish, "logprobs": self._logprobs(reply.outputs)} for reply in replies
        ]
        return openai_format.chat_completion(self._identity, choices, self._usage(_tokens(replies)))

    def opening(self) -> bytes:
        """Who speaks, for each choice."""
        return b"".join(self._event(choice, self._chunks([], "stop")[0], []) for choice in range(self.asked.choices))

    def event(self, choice: int, piece: str, finish: str | None, outputs: Sequence[Output]) -> bytes:
        """A piece of a choice, or why it ends, or both."""
        written = b""
        if piece or (outputs and self._tells):
            written += self._event(choice, self._chunks([piece], "stop")[1], outputs)
        if finish:
            written += self._event(choice, self._chunks([], finish)[1], [])
        return written

    def closing(self, replies: Sequence[Reply], timing: Timing) -> bytes:
        """The counts, if they are asked for, and that this is all."""
        if not self.asked.usage:
            return sse.DONE
        counted = self._parts.chunks(self._identity, [], "stop", self._usage(_tokens(replies)))[-1]
        return sse.event(counted) + sse.DONE

    def _chunks(self, pieces: list[str], finish: str) -> list[dict[str, Any]]:
        # One piece at a time: the first chunk is always the role's, the second the piece's, or else the ending.
        return self._parts.chunks(self._identity, pieces, finish, self._usage(0) if self.asked.usage else None)

    def _event(self, choice: int, chunk: dict[str, Any], outputs: Sequence[Output]) -> bytes:
        [only] = chunk["choices"]
        only = {**only, "index": choice}
        if outputs and self._tells:
            only["logprobs"] = self._logprobs(outputs)
        return sse.event({**chunk, "choices": [only]})

    @property
    def _tells(self) -> bool:
        return self.asked.sampling.logprobs is not None

    def _logprobs(self, outputs: Sequence[Output]) -> dict[str, Any] | None:
        return chat_logprobs(outputs, self._vocabulary) if self._tells else None


class TextForm(OpenAIForm):
    """/v1/completions."""

    prefix = "cmpl"

    def __init__(self, service: Service, fields: Fields):
        super().__init__(service, fields)
        prompts = _prompts(service, fields)
        new = service.room(prompts, fields.whole("max_tokens", None, 1), COMPLETION, "max_tokens")
        told = fields.whole("logprobs", None, 0, service.limits.likeliest)
        self.asked = _asked(service, fields, prompts, new, told)
        self._letters: dict[int, int] = {}  # of each choice, told so far

    def whole(self, replies: Sequence[Reply], timing: Timing) -> dict[str, Any]:
        """The answer in one piece."""
        choices = [self._choice(index, reply.text, reply.finish, reply.outputs) for index, reply in enumerate(replies)]
        return openai_format.text_completion(self._identity, choices, self._usage(_tokens(replies)))

    def opening(self) -> bytes:
        """Nothing comes before the text."""
        return b""

    def event(self, choice: int, piece: str, finish: str | None, outputs: Sequence[Output]) -> bytes:
        """A piece of a choice, or why it ends, or both."""
        return self._event([self._choice(choice, piece, finish, outputs)], None)

    def closing(self, replies: Sequence[Reply], timing: Timing) -> bytes:
        """The counts, if they are asked for, and that this is all."""
        counted = self._event([], self._usage(_tokens(replies))) if self.asked.usage else b""
        return counted + sse.DONE

    def _event(self, choices: Sequence[dict[str, Any]], usage: Usage | None) -> bytes:
        chunk = openai_format.text_completion(self._identity, choices, usage)
        if not self.asked.usage:
            del chunk["usage"]
        return sse.event(chunk)

    def _choice(self, index: int, text: str, finish: str | None, outputs: Sequence[Output]) -> dict[str, Any]:
        logprobs = None
        if self.asked.sampling.logprobs is not None:
            logprobs = text_logprobs(outputs, self._vocabulary, self._letters.get(index, 0))
            self._letters[index] = self._letters.get(index, 0) + sum(map(len, logprobs["tokens"]))
        return {"index": index, "text": text, "finish": finish, "logprobs": logprobs}


def _asked(service: Service, fields: Fields, prompts: list[list[int]], new: int, told: int | None) -> Asked:
    limits: Limits = service.limits
    choices = fields.whole("n", 1, 1, limits.choices)
    if choices * len(prompts) > limits.choices:
        raise Refused(400, f"{choices} replies to each of {len(prompts)} prompts; {limits.choices} in all", "n")
    top_k = fields.whole("top_k", 0, -1)  # -1 is vLLM's way to say all
    return Asked(
        prompts=prompts,
        max_new_tokens=new,
        sampling=Sampling(
            temperature=fields.number("temperature", 1.0, 0.0, HOTTEST),
            top_k=max(0, top_k),
            top_p=fields.number("top_p", 1.0, 0.0, 1.0),
            min_p=fields.number("min_p", 0.0, 0.0, 1.0),
            repetition_penalty=fields.number("repetition_penalty", 1.0, 0.01, 100.0),
            seed=fields.whole("seed", None),
            logprobs=told,
        ),
        stops=stop_strings(fields, limits),
        stop_token=None if fields.flag("ignore_eos") else service.language.stop_token,
        choices=choices,
        stream=fields.flag("stream"),
        usage=fields.inner("stream_options").flag("include_usage"),
    )


def _messages(fields: Fields) -> list[dict[str, str]]:
    messages = []
    for one in fields.objects("messages"):
        role = ROLES.get(one.any("role") if isinstance(one.any("role"), str) else "")
        if role is None:
            raise one.wrong("role", f"one of {', '.join(ROLES)}")
        messages.append({"role": role, "content": _content(one)})
    return messages


def _content(message: Fields) -> str:
    # A string, or a list of parts, of which only text can be read.
    parts = message.any("content")
    if not isinstance(parts, list):
        return message.text("content")
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        raise message.wrong("content", "text alone: this model neither sees nor hears")
    return "".join(message.as_text("content", part.get("text")) for part in parts)


def _prompts(service: Service, fields: Fields) -> list[list[int]]:
    # A text, tokens, or a list of either.
    prompt = fields.any("prompt")
    several = isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], str | list)
    written = prompt if several else [prompt]
    if len(written) > service.limits.choices:
        raise Refused(400, f"{len(written)} prompts; {service.limits.choices} at most", "prompt")
    prompts = []
    for one in written:
        if isinstance(one, list):
            if not all(type(token) is int and token >= 0 for token in one):
                raise fields.wrong("prompt", "text or tokens")
            prompts.append(one)
        else:
            prompts.append(service.language.encode(fields.as_text("prompt", one)))
    return prompts


def _tokens(replies: Sequence[Reply]) -> int:
    return sum(len(reply.outputs) for reply in replies)
