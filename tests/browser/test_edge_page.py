"""The page of `fridge edge` in a real browser: the course's file in a tab, a learner's own, and files that are none."""

import json

import pytest
from looks import looks

from fridge import models
from fridge.quantization import mixed
from fridge.serving import edge

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
LOAD_MS = WRITE_MS = 240_000  # seen: 3 s each
# What a browser with a GPU has, and a WebLLM that says what it was asked.
ADAPTER = "Object.defineProperty(navigator, 'gpu', {value: {requestAdapter: async () => ({})}})"
FAKE_WEBLLM = """
export async function CreateMLCEngine(model, {initProgressCallback}) {
  initProgressCallback({text: "half of it"});
  return {
    completions: {create: async (asked) => ({
      choices: [{text: `${model} <b>${asked.prompt}</b> ${asked.max_tokens}`}],
      usage: {extra: {decode_tokens_per_s: 12.34}},
    })},
    unload: async () => {},
  };
}
"""


@pytest.fixture
def asked(page):
    """The addresses that the page asks for."""
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


def load(page):
    page.get_by_role("button", name="Load").click()
    done = page.get_by_text("Loaded. Press Write.")
    done.or_(page.locator("#trouble:not([hidden])")).wait_for(timeout=LOAD_MS)
    assert page.locator("#trouble").text_content() == ""


def write(page, tokens):
    page.get_by_label("Tokens", exact=True).fill(str(tokens))
    page.get_by_role("button", name="Write", exact=True).click()


def until_written(page):
    page.locator("#write:not([disabled])").wait_for(timeout=WRITE_MS)
    assert page.locator("#trouble").text_content() == ""


def test_the_courses_file_writes_in_a_tab(page, asked, artifacts):
    """A wllama that can't read the course's file, figures that stay empty, a page that asks others or is too wide."""
    file = models.gguf()
    with edge.running(file) as url:
        page.goto(url)
        page.get_by_text(f"{file.name}, 98,362,432 bytes").wait_for()
        assert page.evaluate("crossOriginIsolated"), "or else there are no threads"
        page.get_by_text("no adapter for it").wait_for()
        assert page.locator("#webllm").is_hidden()
        load(page)
        write(page, 24)
        until_written(page)
        assert page.locator("#text").text_content().startswith("The capital of France is Paris.")
        timings = json.loads(page.locator("#figures").get_attribute("data-timings"))
        assert timings["predicted_n"] == 24
        assert float(page.locator("#speed").text_content()) == pytest.approx(timings["predicted_per_second"], abs=0.06)
        for look in looks(page):
            page.screenshot(path=artifacts / f"edge-{look}.png", full_page=True)
        (artifacts / "edge-timings.json").write_text(json.dumps(timings))
        page.get_by_label("The text goes on after").fill("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,")
        write(page, 1024)
        page.locator("#figures[data-timings]").wait_for()
        page.get_by_role("button", name="Stop").click()
        until_written(page)
        stopped = page.locator("#text").text_content()
        page.wait_for_timeout(1000)
        assert page.locator("#text").text_content() == stopped
        assert json.loads(page.locator("#figures").get_attribute("data-timings"))["predicted_n"] < 1024
    assert all(one.startswith((url, f"blob:{url}")) for one in asked)


def test_a_learners_own_file(page, tmp_path):
    """Unit 11's capstone in the tab: the matrices in other formats, chosen by hand in the page."""
    shipped = mixed.shipped(models.load(), models.load_tokenizer())
    kinds = dict.fromkeys(shipped.groups["embedding"], "Q8_0")
    kinds |= {name: "Q4_0" for group in ("attention", "MLP") for name in shipped.groups[group]}
    own = tmp_path / "我的 file.gguf"
    own.write_bytes(mixed.file(shipped.metadata, shipped.tensors, kinds))
    with edge.running(None) as url:
        page.goto(url)
        page.get_by_text("No file yet: choose one.").wait_for()
        assert page.get_by_role("button", name="Load").is_disabled()
        page.locator("#pick").set_input_files(own)
        page.get_by_text(f"我的 file.gguf, {own.stat().st_size:,} bytes").wait_for()
        load(page)
        write(page, 4)
        until_written(page)
        assert "France is" in page.locator("#text").text_content()
        assert page.locator("#bytes").text_content() == f"{own.stat().st_size:,}"


def test_a_file_that_no_llama_can_read(page, tmp_path):
    """wllama says that it has loaded such a file: a page that believes it, or runs what the file says."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF\x03\0\0\0" + b"<img src=x onerror=document.title='pwned'>" * 50)
    with edge.running(bad) as url:
        page.goto(url)
        page.get_by_role("button", name="Load").click()
        page.locator("#trouble:not([hidden])").wait_for(timeout=LOAD_MS)
        assert page.locator("#trouble").text_content().startswith("llama.cpp can't run this file. gguf_init")
        assert page.get_by_role("button", name="Write", exact=True).is_disabled()
        assert page.get_by_role("button", name="Load").is_enabled(), "another one may be tried"
        assert page.title() == "Elephant in the Fridge: a model in this tab"


def test_webllm_is_offered_where_there_is_an_adapter(page):
    """WebLLM itself comes from elsewhere: what is tested is that it is asked when it can run, and only then."""
    answer = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
    page.add_init_script(ADAPTER)
    page.route(
        "https://cdn.jsdelivr.net/**",
        lambda route: route.fulfill(body=FAKE_WEBLLM, content_type="text/javascript", headers=answer),
    )
    with edge.running(None) as url:
        page.goto(url)
        page.get_by_text("It would fetch SmolLM2-135M-Instruct-q0f32-MLC").wait_for()
        page.get_by_role("button", name="Fetch it and write").click()
        said = page.locator("#webllm-said")
        said.get_by_text("12.3 tokens per second").wait_for()
        assert said.text_content().startswith("SmolLM2-135M-Instruct-q0f32-MLC <b>The capital of France is</b> 32")
        page.context.set_offline(True)
        page.get_by_text("There is an adapter, but no internet").wait_for()
        assert page.locator("#webllm").is_hidden()


def test_webllm_that_cannot_be_had_says_so(page):
    page.add_init_script(ADAPTER)
    page.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())
    with edge.running(None) as url:
        page.goto(url)
        page.get_by_role("button", name="Fetch it and write").click()
        page.locator("#webllm-said").get_by_text("WebLLM couldn't run:").wait_for()
