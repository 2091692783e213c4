"""Notebooks as pages.

The directives of nbdev and Quarto say what becomes of a cell, the file's number opens
the title, the stamp closes the page.

Exercises: a statement gets its name and a frame, hints and solutions wait behind a
click, and the section links to the chapter's practice notebook on Colab.
"""

import ast
import json
import re
from pathlib import PurePosixPath

from docutils import nodes

from book.cells import read_cell
from book.install import is_set_up
from book.pictures import options
from book.practice import CHECK
from book.sources import cite

NUMBER = re.compile(r"(\d\d)_")
PREDICT = "Say what comes, then look"
TAGS = {
    ("hide", ""): "remove-cell",
    ("include", "false"): "remove-cell",
    ("echo", "false"): "remove-input",
    ("output", "false"): "remove-output",
}


def tags(directives, code):
    "What the page does with a cell: Jupyter Book's tags for it, sorted."
    if not code.strip() or "default_exp" in directives or is_set_up(code):
        return ["remove-cell"]
    return sorted({TAGS[d] for d in directives.items() if d in TAGS})


def folded(directives, code):
    """What of a cell is folded: (part, words on the bar, kind), or None.

    `part` is "input", "output" or "all".
    """
    if "claim" in directives:
        return "all", directives["claim"] or "This was checked", "claim"
    if "predict" in directives:
        return "output", directives["predict"] or PREDICT, "predict"
    named = directives.get("code-summary")
    if is_imports(directives, code):
        return "input", named or "The imports", "code"
    if directives.get("code-fold") == "true":
        return "input", named or "The code", "code"
    return None


def is_imports(directives, code):
    """Whether a cell exports imports, what a module hands on, and nothing else.

    A module needs them, a reader of the page seldom.
    """
    if "export" not in directives:
        return False
    return all(is_import(node) or hands_on(node) for node in ast.parse(code).body)


def is_import(node):
    return isinstance(node, (ast.Import, ast.ImportFrom))


def hands_on(node):
    "Whether a statement says which imported names a module gives to its readers."
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_all_"


def names(code, inside=""):
    """What Python source defines, in order: name -> (first line, last line).

    A method is named `Class.method`.
    """
    found = {}
    for node in ast.parse(code).body if isinstance(code, str) else code:
        span = node.lineno, node.end_lineno
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[inside + node.name] = span
            if isinstance(node, ast.ClassDef):
                found |= names(node.body, f"{inside}{node.name}.")
        elif isinstance(node, ast.Assign):
            variables = [t.id for t in node.targets if isinstance(t, ast.Name)]
            found |= {inside + variable: span for variable in variables}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[inside + node.target.id] = span
    return found


def exercise_names(cells):
    """For each cell the name of the first exercise that ends at it or after it.

    The name stands in the exercise's check.
    """
    found, name = [], ""
    for cell in reversed(cells):
        if "check" in cell["metadata"].get("tags", []):
            name = CHECK.match("".join(cell["source"]))[1]
        found.append(name)
    return found[::-1]


def dropdown(title, text):
    return f":::{{dropdown}} {title}\n{text}\n:::"


def frame_exercises(cells, docname):
    """Turn the cells of exercises, known by their tags, into what the page shows.

    Returns the folds of solutions, as `folded` does, by the position of the cell.
    """
    folds, n_question = {}, 0
    for i, (cell, name) in enumerate(zip(cells, exercise_names(cells))):
        kinds, text = cell["metadata"].get("tags", []), "".join(cell["source"])
        if "exercise" in kinds:
            heading, _, statement = text.partition("\n")
            heading = heading.replace("### ", f"### {name} ", 1)
            framed = f"::::{{div}} exercise\n{statement.strip()}\n::::"
            cell["source"] = f"{heading}\n\n{framed}"
            n_hint = 0
        elif "tested" in kinds:
            cell["source"] = dropdown(f"What the check of {name} also tests", text)
        elif "hint" in kinds:
            n_hint += 1
            cell["source"] = dropdown(f"Hint {n_hint} for {name}", text)
        elif "question" in kinds:
            n_question += 1
            cell["source"] = f"**Question {n_question}.** {text}"
        elif "answer" in kinds:
            cell["source"] = dropdown(f"Answer to question {n_question}", text)
        elif "solution" in kinds and cell["cell_type"] == "code":
            folds[i] = "input", f"Solution of {name}", "code"
        elif text.startswith("## Things to try") and name:
            notebook = f"practice/{PurePosixPath(docname).name}.ipynb"
            link = f"{{colab}}`Solve them on Colab <{notebook}>`"
            cell["source"] = f"{text}\n\n{link}"
    return folds


def show_doc_text(text):
    """Markdown of nbdev's `show_doc` as the page can read it.

    No rule above it, a name that opens no section, a link without pandoc's attributes.
    """
    link = r"\[source\]\((.*?)(?:#LNone)?\)(?:\{[^}]*\})?"
    heading = re.compile(rf"\A(?:---\n+)?{link}\n+#+ (.+)$", re.M)
    return heading.sub(r"**`\2`** ([source](\1))", text)


def prepare(app, docname, source):
    "On `source-read`: a notebook as Jupyter Book reads it."
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    nb, exports = json.loads(source[0]), {}
    folds = frame_exercises(nb["cells"], docname)
    for i, cell in enumerate(nb["cells"]):
        if cell["cell_type"] != "code":
            continue
        directives, code = read_cell("".join(cell["source"]))
        cell["source"] = code
        documents = cell.get("outputs", []) if "show_doc(" in code else []
        for output in documents:
            text = output.get("data", {}).get("text/markdown")
            if text:
                output["data"]["text/markdown"] = show_doc_text("".join(text))
        meta = cell["metadata"]
        meta["tags"] = sorted({*meta.get("tags", []), *tags(directives, code)})
        meta["mystnb"] = options(directives, cell.get("outputs", []))
        if found := folded(directives, code):
            folds[i] = found
        if "export" in directives:
            exports[i] = f"cell-{cell['id']}"
    cite(nb["cells"], app.srcdir, docname)
    stamp = nb["metadata"].get("stamp")
    app.env.temp_data.update(stamp=stamp, exports=exports, folds=folds)
    source[0] = json.dumps(nb)


def stamp_line(stamp):
    "A stamp as a reader likes it: what made the outputs of a page, in one line."
    versions = stamp["versions"]
    versions = f"torch {versions['torch']}, fastai {versions['fastai']}"
    minutes = max(1, round(stamp["minutes"]))
    time = f"{minutes} minute{'s' * (minutes > 1)}"
    facts = stamp["data"], stamp["device"], versions, stamp["date"], time
    return f"Outputs: {'; '.join(facts)}."


def finish(app, doctree):
    """On `doctree-read`: number the title, and close with the stamp.

    Cells that export get a name of their own.
    """
    docname, data = app.env.docname, app.env.temp_data
    title = next(doctree.findall(nodes.title), None)
    number = NUMBER.match(PurePosixPath(docname).name)
    if title is not None and number:
        shown = nodes.inline("", number[1], classes=["chapter-number"])
        title.insert(0, [shown, nodes.Text(" ")])
    exports, targets = data.get("exports", {}), app.env.get_domain("std")
    for cell in doctree.findall(nodes.container):
        is_code = cell.get("nb_element") == "cell_code"
        anchor = exports.get(cell["cell_index"]) if is_code else None
        if anchor:
            cell["ids"].append(anchor)
            label = f"{docname}#{anchor}".lower()
            targets.note_hyperlink_target(label, docname, anchor, title.astext())
    if data.get("stamp"):
        stamp = nodes.paragraph("", stamp_line(data["stamp"]), classes=["stamp"])
        doctree.next_node(nodes.section).append(stamp)


def setup(app):
    app.connect("source-read", prepare)
    # Before Sphinx collects the titles.
    app.connect("doctree-read", finish, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
