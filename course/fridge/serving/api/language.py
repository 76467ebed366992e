"""Text and tokens of one model, as the server needs them: prompts in, bytes out."""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from fridge import models


class Language(Protocol):
    """What the server asks of a tokenizer.

    Attributes:
        vocabulary: the bytes of each token; none of those that only say how a conversation is laid out.
        stop_token: the one that ends a reply; None if there is none.
        context: positions that the model was trained for; None if that isn't known.
    """

    vocabulary: Sequence[bytes]
    stop_token: int | None
    context: int | None

    def encode(self, text: str) -> list[int]:
        """The tokens of a text that is to be continued."""

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the assistant speaks next. Messages have "role" and "content".

        Raises:
            ValueError: the model's chat template can't take these messages, or it has none.
        """


class ModelLanguage:
    """A tokenizer of transformers'. Attributes and methods as `Language`'s.

    Args:
        context: positions that the model was trained for, if that is known.

    Raises:
        ValueError: its tokens are neither byte-level (GPT-2's way) nor SentencePiece's, so their bytes aren't known.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: int | None = None):
        self._tokenizer = tokenizer
        self.vocabulary = token_bytes(tokenizer)
        self.stop_token = tokenizer.eos_token_id
        self.context = context

    @classmethod
    def of_chosen_model(cls) -> "ModelLanguage":
        """The chosen model's. Raises as `models.load_tokenizer` does, and ValueError as above."""
        config = json.loads((models.folder() / "config.json").read_text(encoding="utf-8"))
        return cls(models.load_tokenizer(), config.get("max_position_embeddings"))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text that is to be continued."""
        return self._tokenizer(text)["input_ids"]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the assistant speaks next."""
        from jinja2 import TemplateError

        try:
            text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ValueError(f"the model's chat template refuses these messages: {error}") from error
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> list[bytes]:
    """The bytes of each token by its number; b"" for those that lay out a conversation and for numbers without one."""
    kinds = _kinds(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"])
    if "ByteLevel" not in kinds and "ByteFallback" not in kinds:
        raise ValueError(f"the server reads byte-level and SentencePiece tokenizers; this one decodes by {kinds}")
    read = _byte_level if "ByteLevel" in kinds else _sentencepiece
    added = tokenizer.added_tokens_decoder
    vocabulary = tokenizer.get_vocab()
    found = [b""] * (max(vocabulary.values()) + 1)
    for written, token in vocabulary.items():
        found[token] = read(written) if token not in added else _added(added[token])
    return found


def _kinds(decoder: dict | None) -> set[str]:
    decoders = (decoder or {}).get("decoders", [decoder] if decoder else [])
    return {one["type"] for one in decoders}


def _added(token: AddedToken) -> bytes:
    return b"" if token.special else token.content.encode()


def _byte_level(written: str) -> bytes:
    # A byte that isn't a visible letter stands in the vocabulary as one of those behind U+0100.
    return bytes(_BYTES[letter] for letter in written)


def _sentencepiece(written: str) -> bytes:
    if len(written) == 6 and written.startswith("<0x") and written.endswith(">"):
        return bytes([int(written[3:5], 16)])
    return written.replace("▁", " ").encode()


def _letters() -> dict[str, int]:
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTES = _letters()
