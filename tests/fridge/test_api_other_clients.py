"""The server under clients that others wrote, where they are installed: LangChain's, and LiteLLM by both APIs."""

import pytest
from tiny_server import NAME, chat, served

HELLO = [{"role": "user", "content": "hello"}]


def test_langchains_client():
    """Guards against a server that only the official client takes for OpenAI's."""
    langchain = pytest.importorskip("langchain_openai")
    with served() as url:
        model = langchain.ChatOpenAI(base_url=f"{url}/v1", api_key="none", model=NAME, temperature=0, max_tokens=8)
        whole = model.invoke("hello")
        assert "".join(piece.content for piece in model.stream("hello")) == whole.content
        assert (whole.usage_metadata["output_tokens"], whole.response_metadata["finish_reason"]) == (8, "length")


@pytest.mark.parametrize("kind", ["openai", "ollama", "ollama_chat"])
def test_litellm(kind, monkeypatch):
    """Guards against lines and events that only a forgiving client reads."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")
    with served() as url:
        place = {"api_base": f"{url}/v1", "api_key": "none"} if kind == "openai" else {"api_base": url}
        wish = chat() | {"model": f"{kind}/{NAME}"} | place
        whole = litellm.completion(**wish)
        pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**wish, stream=True)]
        assert "".join(pieces) == whole.choices[0].message.content
        assert whole.usage.completion_tokens == 5
