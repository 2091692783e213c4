"""What opens on a page: a `<details>` element whose bar has words.

Folded code, outputs that wait behind a click, and checks of one line. The bar is text
of the document, so it is translated with the page.
"""

import re

from docutils import nodes
from sphinx.transforms import SphinxTransform


class Fold(nodes.General, nodes.Element):
    "A part of a cell that is closed at first."


class FoldBar(nodes.General, nodes.TextElement):
    "The words on which a reader clicks."


def words(text):
    "Text with `code` in backticks, as nodes."
    parts = re.split(r"`([^`]+)`", text)  # text and code in turn
    return [
        nodes.literal(part, part) if i % 2 else nodes.Text(part)
        for i, part in enumerate(parts)
        if part
    ]


def fold(contents, text, kind, near):
    "A closed fold of nodes; `near` says where in the source it stands."
    bar = FoldBar(text, "", *words(text))
    bar.source, bar.line = near.source, near.line
    return Fold("", bar, *contents, classes=["fold", f"fold-{kind}"])


class FoldCells(SphinxTransform):
    """Folds the cells that `prepare` has marked; before the page is translated.

    A check right after a prediction would give it away, so it waits behind the same
    click.
    """

    default_priority = 5

    def apply(self):
        folds = self.env.temp_data.get("folds", {})
        cells = list(self.document.findall(nodes.container))
        cells = [cell for cell in cells if cell.get("nb_element") == "cell_code"]
        for cell in cells:
            if cell["cell_index"] in folds:
                fold_part(cell, *folds[cell["cell_index"]])
        for cell in cells:
            if has_fold(cell, "claim") and has_fold(before(cell), "predict"):
                prediction = before(cell).children[-1]
                cell.parent.remove(cell)
                prediction.append(cell)


def fold_part(cell, part, text, kind):
    "Put a cell's input, its output or all of it into a fold, if it has that."
    chosen = [child for child in cell if is_folded(child, part)]
    if chosen:
        place = cell.index(chosen[0])
        for child in chosen:
            cell.remove(child)
        cell.insert(place, fold(chosen, text, kind, near=cell))


def before(node):
    "What stands right before a node, or None."
    place = node.parent.index(node)
    return node.parent[place - 1] if place else None


def has_fold(cell, kind):
    "Whether a cell ends with a fold of this kind."
    last = cell.children[-1] if cell is not None and cell.children else None
    return isinstance(last, Fold) and f"fold-{kind}" in last["classes"]


def is_folded(child, part):
    "Whether a child of a cell goes into the fold: `part` is input, output or all."
    is_input = child.get("nb_element") == "cell_code_source"
    return part == "all" or part == ("input" if is_input else "output")


def visit_fold(self, node):
    self.body.append(self.starttag(node, "details"))


def depart_fold(self, node):
    self.body.append("</details>\n")


def visit_bar(self, node):
    self.body.append(self.starttag(node, "summary", suffix=""))


def depart_bar(self, node):
    self.body.append("</summary>\n")


def setup(app):
    app.add_node(Fold, html=(visit_fold, depart_fold))
    app.add_node(FoldBar, html=(visit_bar, depart_bar))
    app.add_transform(FoldCells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
