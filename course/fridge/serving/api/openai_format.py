"""OpenAI's answers as JSON: chat completions, text completions, their chunks, errors, models.

The fields are those of the API reference, https://platform.openai.com/docs/api-reference, as the types of the package
`openai` have them. Nothing in here knows of HTTP.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Usage = tuple[int, int]  # tokens of the prompts and of the replies

# https://platform.openai.com/docs/guides/error-codes; what isn't here is the server's fault or the request's.
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def chat_chunks(
    identity: Mapping[str, Any], pieces: Iterable[str], finish: str, usage: Usage | None = None
) -> list[Json]:
    """A streamed chat reply: who speaks, its pieces, why it ends; with `usage` a last chunk that counts tokens.

    Args:
        identity: "id", "created" and "model", the same in all chunks.
        finish: "stop" or "length".
        usage: tokens of the prompt and of the reply, if they were asked for; then all other chunks say null.
    """
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces), {}]
    ends = [None] * (len(deltas) - 1) + [finish]
    choices = [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]
        for delta, end in zip(deltas, ends, strict=True)
    ]
    chunks = [{**identity, "object": "chat.completion.chunk", "choices": choice} for choice in choices]
    if usage is None:
        return chunks
    last = {**identity, "object": "chat.completion.chunk", "choices": [], "usage": counted(usage)}
    return [*({**chunk, "usage": None} for chunk in chunks), last]


def error_body(status: int, message: str, parameter: str | None = None) -> tuple[int, Json]:
    """The status as it is, and the body that says what was wrong, and with which parameter."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return status, {"error": {"message": message, "type": kind, "param": parameter, "code": None}}


def chat_completion(identity: Mapping[str, Any], choices: Sequence[Json], usage: Usage) -> Json:
    """A whole chat reply. A choice has "text", "finish" and "logprobs", as `chat_logprobs` gives them, or None."""
    return {
        **identity,
        "object": "chat.completion",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice["text"], "refusal": None},
                "logprobs": choice["logprobs"],
                "finish_reason": choice["finish"],
            }
            for index, choice in enumerate(choices)
        ],
        "usage": counted(usage),
    }


def text_completion(identity: Mapping[str, Any], choices: Sequence[Json], usage: Usage | None) -> Json:
    """A whole text completion, or a chunk of one, which looks alike. Choices as above, maybe with their "index"."""
    return {
        **identity,
        "object": "text_completion",
        "choices": [
            {
                "index": choice.get("index", index),
                "text": choice["text"],
                "logprobs": choice["logprobs"],
                "finish_reason": choice["finish"],
            }
            for index, choice in enumerate(choices)
        ],
        "usage": usage and counted(usage),
    }


def models(name: str, created: int) -> Json:
    """The list of the one model that is here."""
    return {"object": "list", "data": [model(name, created)]}


def model(name: str, created: int) -> Json:
    """One model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "fridge"}


def counted(usage: Usage) -> Json:
    """Both counts and their sum."""
    prompt, completion = usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
