"""Exercises: their checks tell an empty, a right and a wrong answer apart, and the practice notebooks are those of the chapters."""

import importlib
import io
import re
import sys
from contextlib import redirect_stdout
from functools import cache

import nbformat
import pytest
from wheelhouse import ROOT

sys.path.insert(0, str(ROOT))
from book.practice import chapters, exercises, practice, stub, text
from tutorial_lib.practice import _CHECKS, check

IDS = (ROOT / "tests" / "exercise_ids.txt").read_text().split()
CHAPTER = {path.stem[:2]: path for path in chapters()}
WRONG = {
    name: cases
    for number in CHAPTER
    for name, cases in importlib.import_module(f"wrong_{number}").WRONG.items()
}
every_chapter = pytest.mark.parametrize("path", CHAPTER.values(), ids=lambda p: p.stem)
every_exercise = pytest.mark.parametrize("name", sorted(WRONG))


def test_every_chapter_has_two_to_four_exercises_and_ids_never_change():
    found = {
        name: path
        for path in CHAPTER.values()
        for name in exercises(nbformat.read(path, 4))
    }
    assert sorted(p.stem for p in CHAPTER.values()) == sorted(
        p.stem for p in (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb")
    )
    assert set(found) == set(_CHECKS) == set(WRONG) == set(IDS), (
        "ids that readers know never go; add a new one to tests/exercise_ids.txt"
    )
    assert all(name[:2] == path.stem[:2] for name, path in found.items())
    assert all(
        2 <= len(exercises(nbformat.read(path, 4))) <= 4 for path in CHAPTER.values()
    )


@every_chapter
def test_practice_notebook_is_up_to_date(path):
    assert (ROOT / "practice" / path.name).read_text(encoding="utf-8") == text(path), (
        "run `make practice`"
    )


def test_stub_keeps_signatures_and_nothing_else():
    source = (
        'import re\n\ndef f(x,  # a number\n      ):\n    """Twice x.\n\n    Always."""\n    y = 2*x\n    return y\n\n'
        'class A(dict):\n    "An A."\n    n = 3\n    def g(self): return 1\n    def h(self):\n        return 2\n\nanswer = {1: 2}\na, b = 1, 2\n'
    )
    assert (
        stub(source)
        == 'import re\n\ndef f(x,  # a number\n      ):\n    """Twice x.\n\n    Always."""\n    ...\n\n'
        'class A(dict):\n    "An A."\n    def g(self): ...\n    def h(self): ...\n\nanswer = ...\n\na, b = ..., ...'
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    "What the cells of a practice notebook define, up to each exercise's check: (name, solved) -> (answer, source). A chapter is run when it is asked for."

    @cache
    def of_chapter(number, solved):
        found, space, source = {}, {"__name__": "__main__"}, ""
        for cell in practice(CHAPTER[number], solved).cells:
            if cell.cell_type != "code" or "google.colab" in cell.source:
                continue
            if m := re.match(r'check\("(.+?)", (.+)\)$', cell.source):
                found[m[1]] = eval(m[2], space), source
            else:
                source = cell.source
                file = tmp_path_factory.mktemp("cells") / "cell.py"
                lines = [
                    line for line in source.splitlines() if not line.startswith("%")
                ]
                file.write_text("\n".join(lines), encoding="utf-8")
                with redirect_stdout(io.StringIO()):
                    exec(compile("\n".join(lines), str(file), "exec"), space)
        return found

    return lambda name, solved: of_chapter(name[:2], solved)[name]


@every_exercise
def test_stub_is_not_answered(name, answers):
    verdict = check(name, answers(name, False)[0])
    assert verdict.right is None and "Not answered yet" in repr(verdict)


@every_exercise
def test_solution_is_right_and_the_page_shows_its_verdict(name, answers):
    verdict = check(name, answers(name, True)[0])
    assert verdict, verdict
    cells = exercises(nbformat.read(CHAPTER[name[:2]], 4))[name]
    shown = "".join(
        o["data"]["text/plain"]
        for o in cells[-1].outputs
        if o.output_type == "execute_result"
    )
    assert shown == repr(verdict), (
        f"{name}: the chapter shows another verdict: run `make outputs ALL=1`"
    )


@every_exercise
def test_wrong_answers_hear_what_they_lack(name, answers):
    assert len(WRONG[name]) >= 2
    solution = answers(name, True)[1]
    for answer, words in WRONG[name]:
        with redirect_stdout(io.StringIO()):
            verdict = check(name, answer)
        said = " ".join(repr(verdict).split())
        assert verdict.right is False, f"{answer} passes"
        assert words in said, f"{answer}: {words!r} is not in {said!r}"
        assert (
            "Traceback" not in said
            and "tutorial_lib/" not in said
            and solution not in said
        )


def test_an_exercise_that_does_not_exist_is_named():
    with pytest.raises(
        ValueError,
        match=r"there is no exercise '3.a': choose one of .*\(did you mean '04.a'\?\)",
    ):
        check("3.a", 1)


def test_check_can_raise_for_the_tests(monkeypatch):
    monkeypatch.setenv("TUTORIAL_CHECK", "raise")
    with pytest.raises(AssertionError, match="Not answered yet"):
        check(IDS[0], ...)
