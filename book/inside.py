"""What is inside the library, under `core`: a light page that is read from the code.

`{rooms}` names rooms of the ground floor. Of each it gives the line that says what the
room holds, and the names that others may use, with signature and first line. Its option
`elsewhere` has the names that have an entry on another page, though no chapter hands
them on.
"""

import ast
from functools import cache
from pathlib import Path

from docutils import nodes

from book.command import Tables
from book.folds import words
from book.identity import identity
from book.nbdev_pages import names
from book.reference import PACKAGE, handed_on, home_of

CORE = f"{PACKAGE}/core"


def first_line(node):
    "The first paragraph of a docstring, in one line."
    doc = ast.get_docstring(node) or ""
    return " ".join(doc.partition("\n\n")[0].split())


def public(tree):
    "The names that a module says are for others."
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def arguments_of(node):
    "The arguments of a function with their defaults, and without types."
    arguments = node.args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    text = ast.unparse(arguments)
    return f"({text.removeprefix('self').removeprefix(', ')})"


def methods_of(node):
    "The methods of a class that are for others."
    found = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
    return [name for name in found if not name.startswith("_")]


def signature(node):
    "What is called, and with what; of a class its first arguments, where it has some."
    if isinstance(node, ast.FunctionDef):
        return arguments_of(node)
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return arguments_of(child)
    fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]
    return f"({', '.join(fields)})" if fields else ""


def entries_of(source):
    """The functions and classes of a room that are for others, in order.

    Each is (name, signature, what it says).
    """
    tree = ast.parse(source)
    known, found = public(tree), []
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if node.name not in known:
            continue
        text = first_line(node)
        if isinstance(node, ast.ClassDef) and (methods := methods_of(node)):
            methods = ", ".join(f"`{method}`" for method in methods)
            text = f"{text} Methods: {methods}."
        found.append((node.name, signature(node), text))
    return found


@cache
def entries_elsewhere(root):
    "The names of the ground floor that chapters hand on: they have entries there."
    found = set()
    for path in Path(root, PACKAGE).glob("[a-z]*.py"):
        for name in handed_on(path.read_text(encoding="utf-8")):
            found.add(f"{home_of(root, f'{PACKAGE}.{path.stem}', name)}.{name}")
    return found


class Rooms(Tables):
    "`{rooms} text files …`: a section for each of these rooms of the ground floor."

    has_content = True
    option_spec = {"elsewhere": str.split}

    def run(self):
        return [self.room(name) for name in " ".join(self.content).split()]

    def room(self, name):
        self.depends_on(f"core.{name}")
        path = f"{CORE}/{name}.py"
        source = Path(self.env.srcdir, path).read_text(encoding="utf-8")
        holds = nodes.paragraph("", "", *words(first_line(ast.parse(source))))
        me, lines = identity(self.env.srcdir), names(source)
        entries = nodes.definition_list(classes=["room"])
        for entry, *about in entries_of(source):
            first, last = lines[entry]
            span = f"#L{first}-L{last}"
            url = f"{me.repo_url}/blob/{me.branch}/{path}{span}"
            entries += self.entry(f"{PACKAGE}.core.{name}", entry, url, *about)
        return self.section(f"core {name}", f"`core.{name}`", holds, entries)

    def entry(self, room, name, url, arguments, text):
        link = nodes.reference("", "", nodes.literal("", name), refuri=url)
        call = nodes.literal("", arguments, classes=["arguments"])
        term = nodes.term("", "", link, *([call] if arguments else []))
        says = nodes.definition("", nodes.paragraph("", "", *words(text)))
        place = f"{room}.{name}"
        term["ids"].append(place)
        elsewhere = entries_elsewhere(self.env.srcdir)
        if place not in elsewhere and name not in self.options.get("elsewhere", []):
            kind = "class" if name[:1].isupper() else "function"
            self.env.get_domain("py").note_object(place, kind, place, location=term)
        return nodes.definition_list_item("", term, says)


def setup(app):
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
