"""The first cell that a learner runs: what it says about machines that this one isn't."""

import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fridge.notebook import environment, facts
from fridge.notebook.environment import BAD, FINE, NOTE
from fridge.weights import embedded

GB = 1e9
HERE = Path("/here")


def test_this_machine_is_ready(capsys: pytest.CaptureFixture) -> None:
    """Guards against a false alarm on a machine where all other tests run, and against findings without advice."""
    report = environment.show()
    assert report.ready, report
    assert "This machine is ready." in repr(report)
    assert [finding.what for finding in report.findings] == [
        "Python",
        "packages",
        "memory",
        "cores",
        "GPU",
        "disk",
        "saving",
        "model",
    ]
    for finding in report.findings:
        assert finding.advice.endswith("."), finding
        assert finding.advice in repr(report)
    assert report._repr_html_().count("<tr>") == 1 + len(report.findings)


@pytest.mark.parametrize(
    ("finding", "state", "advice"),
    [
        (environment.python("3.12.1", ">=3.11,<3.14"), FINE, "tested"),
        (environment.python("3.10.9", ">=3.11,<3.14"), BAD, "make lab PYTHON="),
        (environment.python("3.14.0", ">=3.11,<3.14"), BAD, ">=3.11,<3.14"),
        (environment.not_installed(), BAD, "pip install -e ."),
        (environment.memory(8 * GB, 5 * GB), FINE, "below 2 GB"),
        (environment.memory(2 * GB, 1.7 * GB), NOTE, "one notebook at a time"),
        (environment.memory(8 * GB, 0.5 * GB), BAD, "Shut Down All Kernels"),
        (environment.memory(0.9 * GB, 0.9 * GB), BAD, "Colab"),
        (environment.cores(2), FINE, "Two are enough"),
        (environment.cores(1), NOTE, "twice"),
        (environment.gpu(None), FINE, "None is needed"),
        (environment.gpu(None, driver=True), NOTE, "nvidia-smi"),
        (environment.gpu("T4", 15 * GB), FINE, "Graded cells run on the CPU"),
        (environment.gpu("T4", 0.2 * GB), NOTE, "CUDA_VISIBLE_DEVICES"),
        (environment.disk(5 * GB, HERE, model_ready=False), FINE, "Enough"),
        (environment.disk(0.5 * GB, HERE, model_ready=False), BAD, "FRIDGE_CACHE"),
        (environment.disk(0.5 * GB, HERE, model_ready=True), FINE, "Enough"),
        (environment.disk(0.0, HERE, model_ready=True), BAD, "Free 0.1 GB"),
        (environment.saving(True), FINE, "Ctrl+S"),
        (environment.saving(False), BAD, "Copy the course"),
        (environment.model("M", facts.READY, online=False), FINE, "no network is needed"),
        (environment.model("M", facts.INSTALLED, online=False), NOTE, "half a minute"),
        (environment.model("M", facts.ABSENT, online=True), NOTE, "models.install()"),
        (environment.model("M", facts.ABSENT, online=False), BAD, "HF_ENDPOINT"),
        (environment.model("/tmp/x", facts.WRONG, online=True), BAD, "unset it"),
    ],
)
def test_each_finding_says_what_to_do(finding: environment.Finding, state: str, advice: str) -> None:
    """Guards against a machine called ready that is not, and against advice for another trouble."""
    assert finding.state == state, finding
    assert advice in finding.advice, finding


def test_packages_that_do_not_fit_are_named_with_the_command() -> None:
    """Guards against transformers 4, whose errors come much later and name nothing that a learner knows."""
    findings = environment.packages({"transformers>=5.0,<6": "4.57.1", "torch>=2.6": "2.13.0+cpu", "gguf>=0.17": None})
    assert [(one.state, one.found) for one in findings] == [(BAD, "transformers 4.57.1"), (BAD, "gguf is missing")]
    assert re.search(r'pip install "transformers\S*>=5\.0\S*"`, then restart the kernel', findings[0].advice)
    fine = environment.packages({"transformers>=5.0,<6": "5.23.0", "torch>=2.6": "2.13.0+cpu"})
    assert [(one.state, one.found) for one in fine] == [(FINE, "transformers 5.23.0, torch 2.13.0+cpu")]


def test_what_is_installed_is_asked_for_by_requirement() -> None:
    """Guards against extras (a learner on Colab has no JupyterLab) and other systems' packages taken for missing."""
    found = facts.installed(["pytest", 'x-none>=1; extra == "lab"', 'x-none; sys_platform == "none"', "x-none>=1"])
    assert found == {"pytest": pytest.__version__, "x-none>=1": None}


def test_torch_is_not_imported_where_a_package_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against the traceback of a broken torch in place of the finding about it."""
    monkeypatch.setattr(facts, "installed", lambda _: {"torch>=2.6": "1.13"})
    monkeypatch.setattr(facts, "gpu", lambda: pytest.fail("torch was asked"))
    report = environment.show()
    assert not report.ready
    assert "GPU" not in [finding.what for finding in report.findings]
    assert "restart the kernel, and run this cell again" in repr(report)


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    """Guards against Binder, whose containers see the whole machine's memory and get 2 GB of it."""
    names = ("memory.max", "memory.current", "memory.stat")
    if version == "v1":
        names = tuple(f"memory/{name}" for name in ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"))
    for name, text in zip(names, ("2000000000\n", "900000000\n", "anon 1\ninactive_file 400000000\n"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(facts, "CGROUP_FOLDER", tmp_path)
    assert facts.memory() == (2_000_000_000, 1_500_000_000)
    (tmp_path / names[0]).write_text("max\n")
    assert facts.memory()[0] > 2_000_000_000


def test_where_the_model_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against a model that is called ready and then fetched, or fetched though it is there."""
    monkeypatch.setenv("FRIDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "gguf_file", lambda: None)
    assert facts.model_state() == facts.ABSENT
    monkeypatch.setattr(embedded, "gguf_file", lambda: tmp_path)
    assert facts.model_state() == facts.INSTALLED
    (tmp_path / f"{embedded.NAME}-{embedded.CONVERSION}").mkdir()
    assert facts.model_state() == facts.READY
    monkeypatch.setenv("FRIDGE_MODEL", str(tmp_path))
    assert facts.model_state() == facts.WRONG, "a folder without config.json"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert facts.model_state() == facts.WRONG, "a config without weights"
    save_file({"w": np.zeros(3)}, tmp_path / "model.safetensors")
    assert facts.model_state() == facts.READY
    monkeypatch.setenv("FRIDGE_MODEL", "./nowhere")
    assert facts.model_state() == facts.WRONG
    monkeypatch.setenv("FRIDGE_MODEL", "someone/not-in-this-cache")
    assert facts.model_state() == facts.ABSENT


def test_the_converted_model_is_where_models_looks_for_it(default_folder: Path) -> None:
    """Guards against another folder's name in `facts`: every learner would be told to wait half a minute."""
    assert default_folder.is_dir()
    assert facts.model_state() == facts.READY


def test_whether_there_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a server's refusal (403, as mirrors like to say) taken for no network, and a mirror ignored."""
    asked = []

    def answer(error: Exception) -> None:
        def urlopen(address: str, timeout: float) -> None:
            asked.append(address)
            raise error

        monkeypatch.setattr(facts.urllib.request, "urlopen", urlopen)

    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror.test/simple")
    answer(urllib.error.HTTPError("", 403, "", {}, None))
    assert facts.online()
    answer(urllib.error.URLError("no route"))
    assert not facts.online()
    monkeypatch.setenv("FRIDGE_MODEL", "someone/model")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.test")
    assert not facts.online()
    assert asked == ["http://mirror.test/simple"] * 2 + ["http://hub.test"]


def test_a_folder_that_can_not_be_written_to(tmp_path: Path) -> None:
    """Guards against an hour's work that JupyterLab can't save."""
    assert facts.writable(tmp_path)
    assert not facts.writable(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_looking_imports_no_torch(child) -> None:
    """Guards against a check that can't start where torch is broken: its module must not need it."""
    done = child("-c", "import sys; from fridge.notebook import environment; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_a_full_look_in_a_fresh_process_needs_no_network(child) -> None:
    """Guards against a start page that hangs behind a firewall: with the model on disk nobody is asked."""
    code = (
        "import urllib.request; from fridge.notebook import environment\n"
        "def refuse(*_, **__): raise SystemExit('the network was asked')\n"
        "urllib.request.urlopen = refuse\nprint(environment.show().ready)"
    )
    done = child("-c", code)
    assert done.stdout == "True\n", done.stderr
