"""Tokenizers as the server needs them: bytes of each token, prompts, conversations."""

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fridge.serving.api import Detokenizer
from fridge.serving.api.language import ModelLanguage, token_bytes

TEXTS = ["Hello, world!\n\tTabs and  two spaces", "naïve café, 把大象装进冰箱, 🐘🐘 and ‏עברית", "\u0000\u0085\ufeff¡"]


@pytest.fixture(scope="module")
def language(default_folder):
    return ModelLanguage.of_chosen_model()


def test_the_bytes_of_a_texts_tokens_are_the_text(language):
    """Guards against a byte that is taken for the letter that stands for it in a byte-level vocabulary."""
    for text in TEXTS:
        tokens = language.encode(text)
        assert b"".join(language.vocabulary[token] for token in tokens) == text.encode()
        detokenizer = Detokenizer(language.vocabulary)
        assert "".join([*map(detokenizer.push, tokens), detokenizer.flush()]) == text


def test_tokens_that_lay_out_a_conversation_say_nothing(language):
    """Guards against <|im_end|> in what a reader sees, and against a reply that ends with another token."""
    tokens = language.chat([{"role": "user", "content": "hi"}])
    assert language.stop_token in tokens, "each message ends with it"
    assert language.vocabulary[language.stop_token] == b""
    said = b"".join(language.vocabulary[token] for token in tokens).decode()
    assert "<|" not in said
    assert said.endswith("user\nhi\nassistant\n")
    assert language.context == 8192


def test_sentencepieces_bytes():
    """Guards against ▁ in a reply, and against <0x0A> that isn't a line break."""
    vocabulary = {"<unk>": 0, "</s>": 1, "▁": 2, "h": 3, "i": 4, "<0x0A>": 5, "<0xF0>": 6, "▁hi": 7, "[X]": 8}
    bare = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    bare.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bare.pre_tokenizer = pre_tokenizers.Metaspace()
    bare.add_special_tokens(["</s>"])
    bare.add_tokens([AddedToken("[X]", special=False)])
    found = token_bytes(PreTrainedTokenizerFast(tokenizer_object=bare))
    assert found[1:] == [b"", b" ", b"h", b"i", b"\n", b"\xf0", b" hi", b"[X]"]


def test_a_tokenizer_of_another_kind_is_refused():
    """Guards against replies of wrong bytes: WordPiece's tokens don't say where spaces were."""
    bare = Tokenizer(models.WordPiece({"[UNK]": 0, "hi": 1}, unk_token="[UNK]"))
    bare.decoder = decoders.WordPiece()
    with pytest.raises(ValueError, match="WordPiece"):
        token_bytes(PreTrainedTokenizerFast(tokenizer_object=bare))
