"""Make practice/NN_name.ipynb from the chapters: exercises without their solutions.

They are for Colab. In a chapter the cells of an exercise carry tags: exercise (the
statement), tested (what the check also tests), hint, given, solution, check. A quick
question beside them has the tag question, what is to be said of it the tag answer. A
lesson cell that the exercises need carries the tag practice.
"""

import argparse
import ast
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from book.cells import read_cell
from book.identity import identity

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("exercise", "tested", "hint", "given", "solution", "check")
FOLDS = {"tested": "What the check also tests", "hint": "Hint", "answer": "Answer"}
OPENING = """# {title}: practice

> Write an answer in place of each `...`. Run it, then run the check under it.

The chapter that teaches what you need is [{title}]({page}). \
Its page has the solutions too, each behind a click."""
# The cell that ends an exercise, and the exercise's name.
CHECK = re.compile(r'check\("(\d\d\.[a-z])", ')


def chapters():
    "The notebooks that have exercises, in the order of their numbers."
    return [
        p
        for p in sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
        if any(kind(c) for c in nbformat.read(p, 4).cells)
    ]


def kind(cell):
    "What a cell is to an exercise: one of `KINDS`, or None."
    return tagged(cell, KINDS)


def tagged(cell, tags):
    "The first of some tags that a cell carries, or None."
    return next((tag for tag in tags if tag in cell.metadata.get("tags", [])), None)


def exercises(nb):
    "The exercises of a chapter: name -> its cells, in order."
    found, cells = {}, []
    for cell in nb.cells:
        if kind(cell):
            cells.append(cell)
        if kind(cell) == "check":
            found[CHECK.match(cell.source)[1]] = cells
            cells = []
    assert not cells, f"an exercise has no check cell: {cells[0].source}"
    return found


def stub(source):
    """A solution without its answers.

    Signatures and docstrings stay, values and bodies become `...`.
    """
    lines = source.splitlines()
    return "\n\n".join(_stub(node, lines) for node in ast.parse(source).body)


def _stub(node, lines):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    if isinstance(node, ast.Assign):
        names = [t.id for t in getattr(node.targets[0], "elts", node.targets[:1])]
        return ", ".join(names) + " = " + ", ".join("..." for _ in names)
    first, *rest = node.body
    signature = lines[node.lineno - 1 : first.lineno]
    signature[-1] = signature[-1][: first.col_offset]
    head = "\n".join(signature).rstrip()
    parts = [head]
    if ast.get_docstring(node) is not None:
        parts += lines[first.lineno - 1 : first.end_lineno]
    if isinstance(node, ast.ClassDef):
        methods = [n for n in rest if isinstance(n, ast.FunctionDef)]
        if methods:
            return "\n".join([*parts, *(_stub(n, lines) for n in methods)])
    if len(parts) == 1:
        return f"{head} ..."
    return "\n".join([*parts, " " * (node.col_offset + 4) + "..."])


def practice(path, solved=False):
    "The practice notebook of a chapter; `solved` leaves its solutions in."
    nb, me = nbformat.read(path, 4), identity(ROOT, env={})
    title = nb.cells[0].source.splitlines()[0].removeprefix("# ")
    colab = next(c for c in nb.cells if c.cell_type == "code")
    cells = [
        new_markdown_cell(
            OPENING.format(title=title, page=f"{me.book_url}nbs/{path.stem}.html"),
            id="title",
        ),
        new_code_cell(colab.source, id=colab.id),
        new_code_cell("from tutorial_lib.practice import check", id="check"),
    ]
    cells += [
        new_code_cell(without_directives(c.source), id=c.id)
        for c in nb.cells
        if "practice" in c.metadata.get("tags", [])
    ]
    cells += [_practice_cell(c, solved) for c in _things_to_try(nb) if _stays(c)]
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def without_directives(source):
    "A cell as Colab needs it: what the page does with it is left out."
    return read_cell(source)[1]


def _things_to_try(nb):
    "The cells of a chapter from where its readers take over."
    heads = [c.source.startswith("## Things to try") for c in nb.cells]
    return nb.cells[heads.index(True) :]


def _stays(cell):
    "What a solution says in words is for the page alone."
    if cell.cell_type == "code":
        return kind(cell)
    return tagged(cell, ("exercise", "question", *FOLDS))


def _practice_cell(cell, solved):
    if cell.cell_type == "markdown":
        source = re.sub(r"^### ", "## ", cell.source)
        if fold := tagged(cell, FOLDS):
            bar = f"<details><summary>{FOLDS[fold]}</summary>"
            source = f"{bar}\n\n{source}\n\n</details>"
        return new_markdown_cell(source, id=cell.id)
    source = without_directives(cell.source)
    if kind(cell) == "solution" and not solved:
        source = stub(source)
    return new_code_cell(source, id=cell.id)


def text(path):
    "What the file practice/NN_name.ipynb of a chapter has to hold."
    return nbformat.writes(practice(path)) + "\n"


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    (ROOT / "practice").mkdir(exist_ok=True)
    for path in chapters():
        file = ROOT / "practice" / path.name
        part = file.with_suffix(".part")
        part.write_text(text(path), encoding="utf-8", newline="\n")
        part.replace(file)
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
