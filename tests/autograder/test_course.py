"""Where things lie: a unit that isn't finished stops nobody from working on another."""

import pytest

from autograder.cli import main
from autograder.course import CourseError, find_units, repository, slug


def test_a_folder_without_a_master_is_no_unit_and_is_named(mini, monkeypatch, capsys):
    """A new unit's empty folder used to break build, lint and grading of all others."""
    (mini / "solutions" / "01-new").mkdir()
    assert [unit.name for unit in find_units(mini)] == ["00-mini"]
    assert [unit.name for unit in find_units(mini, ["00-mini"])] == ["00-mini"]
    with pytest.raises(CourseError, match=r"01-new must hold one master .* found 0"):
        find_units(mini, ["01-new"])
    monkeypatch.chdir(mini)
    assert main(["lint", "00-mini"]) == 0
    assert "01-new" not in capsys.readouterr().err, "nobody asked for it"
    assert main(["lint"]) == 0
    assert "01-new must hold one master" in capsys.readouterr().err


def test_a_folder_with_two_masters_is_not_guessed_at(mini):
    """One of the two would be graded against the other's answers."""
    master = mini / "solutions" / "00-mini" / "mini.py"
    master.with_name("copy.py").write_text(master.read_text())
    assert find_units(mini) == []
    with pytest.raises(CourseError, match="found 2"):
        find_units(mini, ["00-mini"])


@pytest.mark.parametrize(
    "address",
    [
        "school/fridge-2027",
        "school/fridge-2027.git",
        "school/fridge-2027/",
        "github.com/school/fridge-2027",
        "https://github.com/school/fridge-2027",
        "https://github.com/school/fridge-2027.git",
        "https://github.com/school/fridge-2027.git/",
        "https://www.GitHub.com/school/fridge-2027/",
        "http://github.com/school/fridge-2027",
        "https://ada:a-secret-token@github.com/school/fridge-2027.git",
        "git@github.com:school/fridge-2027.git",
        "git@github.com:/school/fridge-2027",
        "ssh://git@github.com/school/fridge-2027.git",
        "ssh://git@github.com:22/school/fridge-2027.git",
        "git://github.com/school/fridge-2027.git",
        " school/fridge-2027 ",
    ],
)
def test_a_repository_in_all_forms_that_people_copy(address):
    """Each of them used to become part of a badge as it was, `.git`, password and all."""
    assert slug(address) == "school/fridge-2027"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "fridge-2027",
        "school/",
        "/fridge-2027",
        "school/.git",
        "school/..",
        "school/course/fridge-2027",
        "https://github.com/school/fridge-2027/tree/main",
        "https://gitlab.com/school/fridge-2027",
        "https://github.com.evil.example/school/fridge-2027",
        "git@gitee.com:school/fridge-2027.git",
        "学校/冰箱",
        "school/fridge 2027",
        "../fridge-2027",
    ],
)
def test_what_is_no_repository_on_github_is_a_sentence(address):
    """Colab and Binder would be asked for it, and answer 404."""
    with pytest.raises(CourseError, match=r"is no repository on GitHub.*give owner/name"):
        slug(address)


def test_the_address_in_pyproject_may_be_gits_too(mini):
    """It is what `git remote -v` shows, and what a fork's owner pastes."""
    project = mini / "pyproject.toml"
    before = repository(mini)
    project.write_text(project.read_text().replace(before, f"{before}.git"))
    assert repository(mini) == before
