"""Exercises: their checks tell an empty, a right and a wrong answer apart.

The practice notebooks are those of the chapters.
"""

import ast
import importlib
import io
import re
import sys
from contextlib import redirect_stdout
from functools import cache
from itertools import pairwise
from types import FunctionType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from wheelhouse import ROOT

sys.path.insert(0, str(ROOT))
from book.practice import chapters, practice, stub, text
from book.practice import exercises as exercises_of
from tutorial_lib.practice import check, exercises

IDS = (ROOT / "tests" / "exercise_ids.txt").read_text().split()
CHAPTER = {path.stem[:2]: path for path in chapters()}
CHECKS = sorted((ROOT / "tutorial_lib" / "checks").glob("[a-z]*.py"))
WRONG = {
    name: cases
    for number in CHAPTER
    for name, cases in importlib.import_module(f"wrong_{number}").WRONG.items()
}
# To exercises that have left their pages: their names and their checks stay.
WRONG_LEFT = importlib.import_module("wrong_left").WRONG
every_chapter = pytest.mark.parametrize("path", CHAPTER.values(), ids=lambda p: p.stem)
every_exercise = pytest.mark.parametrize("name", sorted(WRONG))


def test_every_chapter_has_two_to_four_exercises_and_ids_never_change():
    found = {p: list(exercises_of(nbformat.read(p, 4))) for p in CHAPTER.values()}
    numbered = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
    assert list(found) == numbered
    names = [name for of_one in found.values() for name in of_one]
    assert set(names) == set(WRONG)
    assert sorted([*names, *WRONG_LEFT]) == sorted(IDS), (
        "ids that readers know never go; add a new one to tests/exercise_ids.txt"
    )
    for path, of_one in found.items():
        assert 2 <= len(of_one) <= 4
        assert {name[:2] for name in of_one} == {path.stem[:2]}


def test_every_exercise_has_its_check_in_the_module_of_its_chapter():
    module = "tutorial_lib.checks.{}".format
    expected = {name: module(CHAPTER[name[:2]].stem[3:]) for name in sorted(IDS)}
    assert exercises() == expected
    notebooks = sorted((ROOT / "nbs" / "checks").glob("*.ipynb"))
    assert [p.name for p in notebooks] == [p.name for p in CHAPTER.values()]


@pytest.mark.parametrize("path", CHECKS, ids=lambda p: p.stem)
def test_checks_are_made_of_short_functions(path):
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    lengths = {f.name: f.end_lineno - f.lineno + 1 for f in functions}
    assert not {name: n for name, n in lengths.items() if n > 40}


@every_chapter
def test_practice_notebook_is_up_to_date(path):
    found = (ROOT / "practice" / path.name).read_text(encoding="utf-8")
    assert found == text(path), "run `make practice`"


SOLUTION = '''import re

def f(x,  # a number
      ):
    """Twice x.

    Always."""
    y = 2*x
    return y

class A(dict):
    "An A."
    n = 3
    def g(self): return 1
    def h(self):
        return 2

answer = {1: 2}
a, b = 1, 2
'''
STUB = '''import re

def f(x,  # a number
      ):
    """Twice x.

    Always."""
    ...

class A(dict):
    "An A."
    def g(self): ...
    def h(self): ...

answer = ...

a, b = ..., ...'''


def test_stub_keeps_signatures_and_nothing_else():
    assert stub(SOLUTION) == STUB


QUESTION = "Why is `f` not `g`?"


def cell_of(tag, source, make=new_markdown_cell):
    return make(source, metadata={"tags": [tag]})


def small_chapter():
    "A chapter with a question in the lesson, one at its end, and an exercise."
    solution = cell_of("solution", "def f(x):\n    return x", new_code_cell)
    return [
        new_markdown_cell("# Small"),
        new_code_cell("import sys"),
        cell_of("question", "Which lesson?"),
        cell_of("answer", "This one."),
        new_markdown_cell("## Things to try"),
        cell_of("question", QUESTION),
        cell_of("answer", "It has\n\n- another name."),
        cell_of("exercise", "### Write `f`\n\nDo it."),
        cell_of("tested", "- `x` stays as it was."),
        cell_of("hint", "Return it."),
        solution,
        cell_of("solution", "Words about it."),
        cell_of("check", 'check("99.a", f)', new_code_cell),
        new_markdown_cell("## Recap"),
    ]


def test_questions_and_what_is_also_tested_go_into_the_practice_notebook(tmp_path):
    path = tmp_path / "99_small.ipynb"
    nbformat.write(new_notebook(cells=small_chapter()), path)
    *_, imports, question, answer, exercise, tested, hint, f, call = practice(
        path
    ).cells
    assert imports.source == "from tutorial_lib.practice import check"
    assert question.source == QUESTION
    fold = "<details><summary>{}</summary>\n\n{}\n\n</details>".format
    assert answer.source == fold("Answer", "It has\n\n- another name.")
    assert exercise.source == "## Write `f`\n\nDo it."
    assert tested.source == fold("What the check also tests", "- `x` stays as it was.")
    assert hint.source == fold("Hint", "Return it.")
    assert f.source == "def f(x): ..."
    assert call.source == 'check("99.a", f)'


def tag_of(cell):
    return next(iter(cell.metadata.get("tags", [])), None)


@every_chapter
def test_folds_of_an_exercise_stand_where_the_page_expects_them(path):
    cells = nbformat.read(path, 4).cells
    for before, cell in pairwise(cells):
        is_answer = tag_of(cell) == "answer"
        assert is_answer == (tag_of(before) == "question"), before.source
        if tag_of(cell) == "tested":
            assert tag_of(before) == "exercise", cell.source
        if tag_of(cell) in ("question", "answer", "tested"):
            assert cell.cell_type == "markdown"


def run_cell(source, file, space):
    "Run a cell from a file, which is what a traceback shows of it."
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    file.write_text("\n".join(lines), encoding="utf-8")
    with redirect_stdout(io.StringIO()):
        exec(compile("\n".join(lines), str(file), "exec"), space)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What a practice notebook defines: (name, solved) -> (answer, source).

    A chapter is run when it is asked for, once without its solutions and once with
    them.
    """

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
                run_cell(source, tmp_path_factory.mktemp("cells") / "cell.py", space)
        return found

    return lambda name, solved: of_chapter(name[:2], solved)[name]


def only_words(*_, **__):
    "What it will do."


def ellipsis(*_, **__):
    return ...


def raises(*_, **__):
    raise NotImplementedError


def raises_a_new_one(*_, **__):
    "What it will do."
    raise NotImplementedError()


def raises_with_words(*_, **__):
    raise NotImplementedError("write this function")


def passes(*_, **__):
    pass
    pass


EMPTY = only_words, ellipsis, raises, raises_a_new_one, raises_with_words, passes


def other_stubs(answer):
    "The stub of an exercise, in the other ways in which people write one."
    if isinstance(answer, FunctionType):
        yield from EMPTY
    if isinstance(answer, type):
        methods = [k for k, v in vars(answer).items() if isinstance(v, FunctionType)]
        for empty in EMPTY:
            yield type("Net", answer.__bases__, dict.fromkeys(methods, empty))
        yield type("Net", answer.__bases__, {"__doc__": "What it will be."})
    if isinstance(answer, tuple):
        yield from ([empty] * len(answer) for empty in EMPTY)


def is_not_written(name, verdict):
    said = repr(verdict)
    is_a_line = said.startswith(f"… {name} is not written yet: ") and "\n" not in said
    return verdict.right is None and is_a_line and len(said) < 79


@every_exercise
def test_stub_is_not_written_yet(name, answers):
    answer, _ = answers(name, False)
    for empty in [answer, *other_stubs(answer)]:
        verdict = check(name, empty)
        assert is_not_written(name, verdict), f"{empty}: {verdict}"


@every_exercise
def test_half_of_an_answer_is_not_written_yet(name, answers):
    answer, _ = answers(name, True)
    if isinstance(answer, tuple):
        assert is_not_written(name, check(name, (answer[0], *[...] * len(answer[1:]))))
    if isinstance(answer, dict):
        assert is_not_written(name, check(name, {**answer, [*answer][0]: ...}))
    if isinstance(answer, type):
        half = type("Half", (answer,), {"forward": only_words})
        assert is_not_written(name, check(name, half))


def test_a_method_may_do_nothing(answers):
    answer, _ = answers("04.a", True)
    assert check("04.a", type("Net", (answer,), {"extra": only_words}))


@every_exercise
def test_solution_is_right_and_the_page_shows_its_verdict(name, answers):
    verdict = check(name, answers(name, True)[0])
    assert verdict, verdict
    *_, cell = exercises_of(nbformat.read(CHAPTER[name[:2]], 4))[name]
    results = [o for o in cell.outputs if o.output_type == "execute_result"]
    shown = "".join(o["data"]["text/plain"] for o in results)
    assert shown == repr(verdict), (
        f"{name}: the chapter shows another verdict: run `make outputs ALL=1`"
    )


@every_exercise
def test_wrong_answers_hear_what_they_lack(name, answers):
    _, solution = answers(name, True)
    for said in wrong_verdicts(name, WRONG[name]):
        assert solution not in said


@pytest.mark.parametrize("name", sorted(WRONG_LEFT))
def test_wrong_answers_to_what_has_left_its_page(name):
    for said in wrong_verdicts(name, WRONG_LEFT[name]):
        assert said


def wrong_verdicts(name, cases):
    "What wrong answers hear, in one line each: it names what they lack."
    assert len(cases) >= 2
    for answer, words in cases:
        with redirect_stdout(io.StringIO()):
            verdict = check(name, answer)
        said = " ".join(repr(verdict).split())
        assert verdict.right is False, f"{answer} passes"
        assert words in said, f"{answer}: {words!r} is not in {said!r}"
        assert not [part for part in OURS if part in said]
        yield said


OURS = "Traceback", "tutorial_lib/"  # what no verdict shows


def test_an_exercise_that_does_not_exist_is_named():
    message = r"there is no exercise '4.a': choose one of .*\(did you mean '04.a'\?\)"
    with pytest.raises(ValueError, match=message):
        check("4.a", 1)


def test_check_can_raise_for_the_tests(monkeypatch):
    monkeypatch.setenv("TUTORIAL_CHECK", "raise")
    with pytest.raises(AssertionError, match="00.a is not written yet"):
        check(IDS[0], ...)
