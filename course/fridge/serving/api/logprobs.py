"""Log-probabilities as the two kinds of OpenAI's completions tell them, from what the engine gives with each token."""

from collections.abc import Sequence
from typing import Any

from fridge.serving.engine import Output

LEAST = -9999.0  # what the API documents for tokens that are hardly possible


def chat_logprobs(outputs: Sequence[Output], vocabulary: Sequence[bytes]) -> dict[str, Any]:
    """For chat completions: an entry for each token, with its bytes, for text alone may be half a character."""
    return {
        "content": [
            {
                **_token(vocabulary[output.token], output.logprob),
                "top_logprobs": [_token(vocabulary[token], logprob) for token, logprob in output.likeliest],
            }
            for output in outputs
        ],
        "refusal": None,
    }


def text_logprobs(outputs: Sequence[Output], vocabulary: Sequence[bytes], offset: int = 0) -> dict[str, Any]:
    """For text completions: four lists side by side.

    Args:
        offset: letters of the reply before the first of these tokens.
    """
    texts = [_text(vocabulary[output.token]) for output in outputs]
    offsets = [offset + sum(map(len, texts[:place])) for place in range(len(texts))]
    likeliest = [{_text(vocabulary[token]): _finite(value) for token, value in output.likeliest} for output in outputs]
    return {
        "tokens": texts,
        "token_logprobs": [_finite(output.logprob) for output in outputs],
        "top_logprobs": likeliest,
        "text_offset": offsets,
    }


def ollama_logprobs(outputs: Sequence[Output], vocabulary: Sequence[bytes]) -> list[dict[str, Any]]:
    """For Ollama's replies: chat's entries as a plain list."""
    return chat_logprobs(outputs, vocabulary)["content"]


def _token(written: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": _text(written), "logprob": _finite(logprob), "bytes": list(written)}


def _finite(logprob: float | None) -> float:
    return LEAST if logprob is None else max(LEAST, logprob)  # JSON has no infinity


def _text(written: bytes) -> str:
    return written.decode("utf-8", errors="replace")
