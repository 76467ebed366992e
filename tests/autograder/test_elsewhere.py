"""What works where a learner worked and not in grading: lines that fail here, lost names, compilers, newer Pythons."""

import sys
from collections.abc import Callable, Iterator

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from autograder import pythons
from autograder.course import find_units
from autograder.isolation.cell_run import run_through
from autograder.isolation.sandbox import SandboxError
from autograder.notebooks import grade_id
from autograder.submissions.lost_names import LostNames
from autograder.submissions.record import Record, unpack
from autograder.submissions.release import read_release
from autograder.submissions.worker import Desk, pack_task

RIGHT = "2 * layers * kv_heads * head_dim * tokens * batch * bytes_per_value"
HEAD = "def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):\n"
ANSWER = f"{HEAD}    return KV // 2 * {RIGHT}"


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


@pytest.fixture
def graded(root, desk) -> Callable[..., Record]:
    """Hand unit 03 in with one exercise answered and a cell of the learner's own before it; the record of it."""
    unit = find_units(root, ["03-kv-cache"])[0]
    release = read_release(unit)

    def graded_(own: str, answer: str = ANSWER, version: str = "3.11.2") -> Record:
        notebook = nbformat.read(unit.release, as_version=4)
        notebook.metadata["language_info"] = {"name": "python", "version": version}
        at = next(index for index, cell in enumerate(notebook.cells) if grade_id(cell) == "memory")
        notebook.cells[at].source = answer
        notebook.cells.insert(at, new_code_cell(own))
        try:
            answered = desk.answer(pack_task(release, "key", nbformat.writes(notebook).encode()))
        except SandboxError as error:
            pytest.skip(f"this host gives no sandbox: {error}")
        return unpack(answered[1:], "key", release)

    return graded_


@pytest.mark.parametrize(
    "line",
    [
        "from google.colab import drive; drive.mount('/content/drive')",
        "from google.colab import files, userdata\nwith files.upload() as f: pass\nTOKEN = userdata.get('HF_TOKEN')",
        "import google.colab.drive as d\nd.mount('/content')",
        "name = input('your name: ')",
        "import seaborn as sns",
        "import os\nos.chdir('/content/drive/MyDrive')",
        "%load_ext a_package_that_is_not_here",
        "%cd /content",
        "!nvidia-smi",
        "assert torch.cuda.is_available(), 'a GPU, please'",
        "data = open('data.csv').read()",
        "for _ in range(2):\n    1 / 0",
    ],
)
def test_what_follows_a_line_that_fails_here_still_runs(graded, line):
    """Guards against points lost to the learner's machine: a line that worked there takes the functions below along."""
    assert graded(f"{line}\nKV = 2").scores["memory-test"] == 2


def test_a_statement_that_says_stop_stops_the_cell(graded):
    """Guards against running what the learner's kernel never ran: an older answer below `raise`."""
    for stop in ("raise RuntimeError", "import sys; sys.exit()"):
        record = graded(f"KV = 2\n{stop}\nKV = 7")
        assert record.scores["memory-test"] == 2, stop


def test_two_statements_on_a_line_and_lines_keep_their_numbers(graded):
    record = graded("a = 1; import seaborn; KV = 2\n\n\n1 / 0\nprint('last')")
    assert record.scores["memory-test"] == 2
    own = next(cell for cell in record.notebook["cells"] if cell.get("id") == "own-1")
    kinds = [output.get("ename", output.get("text")) for output in own["outputs"]]
    assert kinds[:3] == ["last\n", "ModuleNotFoundError", "ZeroDivisionError"]
    assert "1 / 0" in "".join(own["outputs"][2]["traceback"])
    assert "4" in "".join(own["outputs"][2]["traceback"])


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("import seaborn as KV", "`KV` should come from the line `import seaborn as KV`, which failed in grading"),
        ("KV = int(input())", "`KV` should come from the line `KV = int(input())`, which failed in grading (EOFError"),
        ("KV = 2 +", "`KV` is defined in a cell that is not valid Python here (SyntaxError"),
        ("with open('x') as f:\n    KV = f", "which failed in grading (FileNotFoundError"),
        ("import os\nKV = 1\nos._exit(3)", "`KV` is defined in a cell that was stopped: the process ended"),
    ],
)
def test_a_lost_name_is_traced_to_its_line(graded, own, said):
    """Guards against "misspelt" for a name that is spelt well: the message names what failed."""
    message = graded(own).messages["memory-test"]
    assert said in message
    assert "misspelt" not in message


def test_a_name_of_a_cell_that_grading_skips_is_named(graded):
    answer = f"{HEAD}    assert model.config.layers\n    return {RIGHT}"
    message = graded("", answer).messages["memory-test"]
    assert "`model` is made by a cell that runs the real model, and grading skips those" in message
    graded_with_own = graded("class model:\n    class config:\n        layers = 30", answer)
    assert graded_with_own.scores["memory-test"] == 2


def test_a_package_that_an_answer_imports_inside_is_named(graded):
    message = graded("", f"{HEAD}    import seaborn\n    return {RIGHT}").messages["memory-test"]
    assert "seaborn is not among the course's packages" in message


@pytest.mark.parametrize("decorator", ["@torch.compile", "@torch.compile(mode='max-autotune')", "@torch.jit.ignore"])
def test_a_compiled_answer_counts(graded, decorator):
    """Guards against a compiler that the sandbox doesn't have."""
    assert graded("KV = 2", f"import torch\n\n{decorator}\n{ANSWER}").scores["memory-test"] == 2


def test_a_notebook_of_a_newer_python_says_so(graded):
    newer = f"3.{sys.version_info.minor + 1}"
    record = graded("KV = 2", f"{ANSWER}\nmatch = £", version=f"{newer}.1")
    assert f"written with Python {newer}, graded with {pythons.HERE}" in record.messages["memory-test"]
    assert any(f"written with Python {newer}" in repair for repair in record.repairs)
    assert record.notebook["metadata"]["language_info"]["version"] == f"{newer}.1"
    assert not graded("KV = 2").repairs


@pytest.mark.parametrize("version", [None, 3.12, "", "3.", "4.0", "3.999", "2.7.18", "3.12<script>", ["3.12"], {}])
def test_a_version_is_a_version_or_nothing(version):
    """Metadata come from a stranger and are shown to an instructor."""
    assert pythons.written_with({"language_info": {"version": version}}) in ("",)
    assert pythons.newer_than_here({"language_info": version}) == ""


def test_the_newest_python_is_pyprojects():
    assert pythons.newest() == "3.13"


@pytest.mark.parametrize(
    "failures", [None, {}, [[1]], [[1, 2, 3]], [["1", "a", "b"]], [[10**9, "E", "m"]], [[-1, "E", "m"]]]
)
def test_a_forged_list_of_failures_says_nothing(failures):
    """It comes from the learner's process."""
    lost = LostNames()
    lost.failed("KV = 2", failures)
    assert lost.cause(NameError("name 'KV' is not defined")) == ""


def test_a_cell_that_only_fails_ends():
    """Guards against a cell of ten thousand failing lines, each with a traceback."""

    class Shell:
        user_ns: dict = {}  # noqa: RUF012 - one cell

        def run_cell(self, source, store_history):
            self.user_ns.clear()
            error = None
            try:
                exec(compile(source, "cell", "exec"), self.user_ns)
            except Exception as raised:
                error = raised
            return type("Result", (), {"error_before_exec": None, "error_in_exec": error})

        def transform_cell(self, source):
            return source

    seen = []
    run_through(Shell(), "1 / 0\n" * 10_000, lambda error, line: seen.append(line))
    assert seen == list(range(1, 51))


@pytest.mark.parametrize("asked", ["import google.colab", "from google.colab import drive"])
def test_whether_this_is_colab_is_answered_with_no(graded, asked):
    """Guards against the branch for Colab, whose files aren't here."""
    own = f"try:\n    {asked}\n    KV = int(open('/content/kv.txt').read())\nexcept ImportError:\n    KV = 2"
    assert graded(own).scores["memory-test"] == 2


@pytest.mark.parametrize("magic", ["%%time", "%%capture"])
def test_a_magic_over_a_whole_cell_loses_nothing_behind_a_failing_line(graded, magic):
    assert graded(f"{magic}\nimport seaborn\nKV = 2").scores["memory-test"] == 2


@pytest.mark.parametrize(
    ("source", "line", "statement"),
    [
        ("\n\na = 1\nKV = a\nKV = open('n')\ny = 1", 3, "KV = open('n')"),
        ("%matplotlib inline\nKV = open('n').read()", 2, "KV = open('n').read()"),
        ("a = 'q\x0cr'\nKV = open('n')", 2, "KV = open('n')"),
    ],
)
def test_a_line_is_found_as_ipython_counts(source, line, statement):
    lost = LostNames()
    lost.failed(source, [[line, "E", "m"]])
    assert f"`{statement}`" in lost.cause(NameError("name 'KV' is not defined"))
