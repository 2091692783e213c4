"""Make practice/NN_name.ipynb from the chapters: their exercises without the solutions, for Colab.

In a chapter the cells of an exercise carry tags: exercise (the statement), hint, given, solution, check. A lesson cell
that the exercises need carries the tag practice.
"""

import argparse
import ast
import os
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from book.identity import identity  # noqa: E402

KINDS = ("exercise", "hint", "given", "solution", "check")
CHECK = re.compile(
    r'check\("(\d\d\.[a-z])", '
)  # the cell that ends an exercise, and the exercise's name


def chapters():
    "The notebooks that have exercises, in the order of their numbers."
    return [
        p
        for p in sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
        if any(kind(c) for c in nbformat.read(p, 4).cells)
    ]


def kind(cell):
    "What a cell is to an exercise: one of `KINDS`, or None."
    return next((k for k in KINDS if k in cell.metadata.get("tags", [])), None)


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
    "A solution without its answers: signatures and docstrings stay, values and bodies become `...`."
    lines = source.splitlines()
    return "\n\n".join(_stub(node, lines) for node in ast.parse(source).body)


def _stub(node, lines):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    if isinstance(node, ast.Assign):
        names = [t.id for t in getattr(node.targets[0], "elts", node.targets[:1])]
        return ", ".join(names) + " = " + ", ".join("..." for _ in names)
    first, *rest = node.body
    head = "\n".join(
        [
            *lines[node.lineno - 1 : first.lineno - 1],
            lines[first.lineno - 1][: first.col_offset],
        ]
    ).rstrip()
    parts = [head]
    if ast.get_docstring(node) is not None:
        parts += lines[first.lineno - 1 : first.end_lineno]
    methods = (
        [n for n in rest if isinstance(n, ast.FunctionDef)]
        if isinstance(node, ast.ClassDef)
        else []
    )
    if methods:
        return "\n".join([*parts, *(_stub(n, lines) for n in methods)])
    return (
        f"{head} ..."
        if len(parts) == 1
        else "\n".join([*parts, " " * (node.col_offset + 4) + "..."])
    )


def practice(path, solved=False):
    "The practice notebook of a chapter; `solved` leaves its solutions in."
    nb, me = nbformat.read(path, 4), identity(ROOT, env={})
    title = nb.cells[0].source.splitlines()[0].removeprefix("# ")
    colab = next(c for c in nb.cells if c.cell_type == "code")
    cells = [
        new_markdown_cell(
            f"# {title}: practice\n\n> Write an answer in place of each `...`. Run it, then run the check under it.\n\n"
            f"The chapter that teaches what you need is [{title}]({me.book_url}nbs/{path.stem}.html). "
            "Its page has the solutions too, each behind a click.",
            id="title",
        ),
        new_code_cell(colab.source, id=colab.id),
        new_code_cell("from tutorial_lib.practice import check", id="check"),
    ]
    cells += [
        new_code_cell(re.sub(r"^#\|.*\n", "", c.source, flags=re.M), id=c.id)
        for c in nb.cells
        if "practice" in c.metadata.get("tags", [])
    ]
    for part in exercises(nb).values():
        for c in part:
            if kind(c) == "exercise":
                cells.append(
                    new_markdown_cell(re.sub(r"^### ", "## ", c.source), id=c.id)
                )
            elif kind(c) == "hint":
                cells.append(
                    new_markdown_cell(
                        f"<details><summary>Hint</summary>\n\n{c.source}\n\n</details>",
                        id=c.id,
                    )
                )
            elif kind(c) == "solution" and c.cell_type == "code":
                cells.append(
                    new_code_cell(c.source if solved else stub(c.source), id=c.id)
                )
            elif c.cell_type == "code":
                cells.append(new_code_cell(c.source, id=c.id))
    return new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {
                "display_name": "python3",
                "language": "python",
                "name": "python3",
            }
        },
    )


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
        os.replace(part, file)
        print(file.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
