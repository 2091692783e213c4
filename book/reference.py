"""The reference.

It gives autodoc what stands in docments and docstrings, links entries to source and
lesson, and names in prose to entries.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
import warnings
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from tokenize import OP, generate_tokens

import numpy as np
from docutils import nodes
from fastcore.docments import docments
from sphinx import addnodes
from sphinx.pycode import ModuleAnalyzer

from book.cells import read_cell
from book.folds import FoldBar
from book.identity import identity
from book.nbdev_pages import hands_on, names, tags
from book.records import comments_in, fields_of, is_record

PACKAGE = "tutorial_lib"


def escaped(text):
    "Text between backticks in double ones; marks of reStructuredText as they stand."
    parts = re.split(r"(`[^`]+`)", text)
    for i, part in enumerate(parts):
        if part.startswith("`"):
            parts[i] = f"`{part}`"
        else:
            parts[i] = re.sub(r"[*|\\]|_\b", r"\\\g<0>", part)
    return "".join(parts)


def as_rst(lines):
    """Markdown lines as reStructuredText.

    `code` in double backticks, fences as code blocks, other marks as they stand.
    """
    out, fence = [], False
    for line in lines:
        if line.lstrip().startswith("```"):
            fence = not fence
            out += ["", ".. code-block:: python", ""] if fence else [""]
            continue
        if fence:
            out.append("    " + line)
            continue
        bullet, text = re.match(r"(\s*(?:[-*] )?)(.*)", line).groups()
        before = out[-1] if out else ""
        begins_list = bullet.strip() and not re.match(r"\s*[-*] |  ", before)
        if begins_list and before.strip():
            out.append("")
        out.append(bullet + escaped(text))
    return out


@cache
def lessons(root):
    """Where the book teaches each module and exported name.

    Dotted name -> (page, its cell's anchor or "" if hidden).
    """
    found = {}
    for path in sorted(Path(root, "nbs").glob("*.ipynb")):
        module, page = None, f"nbs/{path.stem}"
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            directives, code = read_cell("".join(cell["source"]))
            if "default_exp" in directives:
                module = f"{PACKAGE}.{directives['default_exp']}"
                found[module] = page, ""
            if "export" in directives:
                is_hidden = "remove-cell" in tags(directives, code)
                anchor = "" if is_hidden else f"cell-{cell['id']}"
                found |= {f"{module}.{name}": (page, anchor) for name in names(code)}
    return found


def source_of(function):
    return textwrap.dedent(inspect.getsource(function))


def comment_beside_keys(function):
    "What stands beside `**keys`, which docments does not see: their name, the comment."
    source = source_of(function)
    keys = ast.parse(source).body[0].args.kwarg
    if not keys or keys.lineno == line_of_colon(source):
        return "", ""
    return keys.arg, comments_in(source).get(keys.lineno, "")


def line_of_colon(source):
    "The number of the line on which the signature of a function ends, or 0."
    depth = None
    for token in generate_tokens(StringIO(source).readline):
        if token.string in ("def", "class") and depth is None:
            depth = 0
        elif depth is not None and token.type == OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if token.string == ":" and not depth:
                return token.start[0]
    return 0


def comments_of(function):
    """The comments in a signature: argument -> text.

    What stands beside the colon at its end is about what comes back, whether that has
    an annotation or not, and whatever argument stands on the same line.
    """
    source = source_of(function)
    colon, definition = line_of_colon(source), ast.parse(source).body[0]
    found = {arg: text for arg, text in docments(function).items() if text}
    args = [arg for arg in ast.walk(definition) if isinstance(arg, ast.arg)]
    beside_colon = [arg.arg for arg in args if arg.end_lineno == colon]
    for name in ["return", "self", "cls", *beside_colon]:
        found.pop(name, None)
    keys, text = comment_beside_keys(function)
    body_begins_below = definition.body[0].lineno > colon
    back = comments_in(source).get(colon, "") if body_begins_below else ""
    return found | ({keys: text} if text else {}), back


def arguments(obj):
    """The comments beside a signature, as fields.

    One is for the arguments, and one for what comes back.
    """
    if isinstance(obj, property):
        obj = obj.fget
    function = inspect.unwrap(obj.__init__ if isinstance(obj, type) else obj)
    comments, back = {}, ""
    if inspect.isfunction(function) or inspect.ismethod(function):
        comments, back = comments_of(function)
    if isinstance(obj, type):
        back = ""
    docs = {arg: in_one_line(text) for arg, text in comments.items() if text}
    fields = [":Arguments:"] if docs else []
    for arg, text in docs.items():
        fields += [f"  **{arg}**", f"    {text}"]
    if back:
        fields.append(f":Returns: {in_one_line(back)}")
    return fields


def in_one_line(text):
    return " ".join(as_rst(text.splitlines()))


def process_docstring(app, what, name, obj, options, lines):
    """On `autodoc-process-docstring`: what an entry says.

    The docstring in its own words, then the arguments, then the lesson.
    """
    if what == "module":  # the chapter's whole opening: its first paragraph is enough
        opening = "\n".join(lines).split("\n\n")[0]
        promise = re.sub(r"^You will (be able to )?", "", opening)
        lines[:] = (promise[:1].upper() + promise[1:]).splitlines()
    if hasattr(obj, "model_fields"):  # its keys stand in the table of fields
        lines[:] = "\n".join(lines).split("\n\n- `")[0].splitlines()
    lines[:] = [*as_rst(lines), ""]
    if is_record(obj):
        lines += [f".. record-fields:: {name}", ""]
    elif what in ("class", "exception", "function", "method", "property"):
        lines += arguments(obj)
    page, anchor = lessons(str(app.srcdir)).get(name, ("", ""))
    if page and what in ("module", "class", "exception", "function", "data"):
        lesson = f":ref:`{page}#{anchor}`" if anchor else f":doc:`/{page}`"
        lines.append(f":Taught in: {lesson}")
    lines.append("")


def process_signature(app, what, name, obj, options, signature, back):
    """On `autodoc-process-signature`: a signature that can be read.

    A default that has no name in the source, such as a lambda, is three dots. The
    fields of a record stand in a table below its name, so it has no signature. Where a
    metaclass makes a signature, `self` may stand in it.
    """
    if is_record(obj):
        return "", None
    signature = re.sub(r"^\(self(, |(?=\)))", "(", signature or "")
    return re.sub(r"=\s*<[^,]*>", "=...", signature), back


def skip_member(app, what, name, obj, skip, options):
    "On `autodoc-skip-member`: the fields of a record stand in its table."
    place = app.env.temp_data
    if what != "class" or not place.get("autodoc:class"):
        return skip
    owner = getattr(import_module(place["autodoc:module"]), place["autodoc:class"])
    if not is_record(owner):
        return skip
    return skip or name in {"model_config", *(field for field, *_ in fields_of(owner))}


def module_file(root, module):
    return Path(root, f"{module.replace('.', '/')}.py")


def home_of(root, module, name):
    "The module that defines a name: a chapter hands on names of the ground floor."
    code = module_file(root, module).read_text(encoding="utf-8")
    name = name.partition(".")[0]
    if name in names(code):
        return module
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and name in {a.name for a in node.names}:
            return f"{PACKAGE}.{node.module.removeprefix(f'{PACKAGE}.')}"
    return module


def handed_on(code):
    "The names of other modules that a module gives to its readers, as `_all_` says."
    for node in ast.parse(code).body:
        if hands_on(node):
            return [element.id for element in node.value.elts]
    return []


def comments_of_constants(root, module):
    "The comment above each constant of a module, or beside it: name -> its lines."
    code = module_file(root, module).read_text(encoding="utf-8")
    lines, found, beside = code.splitlines(), {}, comments_in(code)
    for name, (first, last) in names(code).items():
        comment, other = [], beside.get(last) or beside.get(first, "")
        while first > 1 and re.match("#(?! %%)", lines[first - 2]):
            comment.insert(0, lines[first - 2].lstrip("#: "))
            first -= 1
        found[name] = [*(comment or [other]), ""]
    for name in handed_on(code):
        found |= {name: comments_of_constants(root, home_of(root, module, name))[name]}
    return found


def describe_constants(app):
    """On `builder-inited`: give each public constant its comment.

    Without one autodoc does not list it.
    """
    for path in Path(app.srcdir, PACKAGE).glob("[a-z]*.py"):
        module = f"{PACKAGE}.{path.stem}"
        with warnings.catch_warnings():
            # What libraries say as they are imported is not about the book.
            warnings.simplefilter("ignore")
            analyzer = ModuleAnalyzer.for_module(module)
        analyzer.analyze()
        for name, comment in comments_of_constants(app.srcdir, module).items():
            is_public = not name.startswith("_") and "." not in name
            if is_public and name not in analyzer.tags:
                analyzer.attr_docs.setdefault(("", name), comment)


def source_link(root, me, module, name):
    "Where a name stands on GitHub, with its lines."
    path = module_file("", home_of(root, module, name)).as_posix()
    span = names(Path(root, path).read_text(encoding="utf-8")).get(name)
    lines = f"#L{span[0]}-L{span[1]}" if span else ""
    return f"{me.repo_url}/blob/{me.branch}/{path}{lines}"


def configure(app, config):
    "On `config-inited`: read the library of this very tree, and link its source."
    sys.path.insert(0, str(app.srcdir))
    me = identity(app.confdir)

    def resolve(domain, info):
        return source_link(app.srcdir, me, info["module"], info["fullname"])

    config.linkcode_resolve = resolve


def public_names(env):
    """What inline code may name, with its entry in the reference.

    `split`, `data.split` and `tutorial_lib.data.split` are names of one entry.
    """
    found = {}
    # What a chapter hands on has two entries: that of the chapter counts.
    for full, entry in sorted(env.get_domain("py").objects.items(), key=is_of_chapter):
        path = full.removeprefix(f"{PACKAGE}.").removeprefix("core.")
        module, _, name = path.partition(".")
        found[full] = full, entry
        if name:
            found[f"{module}.{name}"] = found[name] = full, entry
    return found


def is_of_chapter(item):
    return not item[0].startswith(f"{PACKAGE}.core.")


@cache
def own_names(root, page):
    "The names of the library that a chapter's code exports or imports."
    path = Path(root, f"{page}.ipynb")
    if not path.exists():
        return set()
    taught = [name for name, (where, _) in lessons(root).items() if where == page]
    found = {name.rpartition(".")[2] for name in taught}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = "".join(cell["source"])
        pattern = rf"^from {PACKAGE}\.[\w.]+ import \(?([\w\s,]+)"
        for imported in re.findall(pattern, code, re.M):
            found |= set(re.findall(r"\w+", imported))
    return found


def is_ours(root, page, name, full=""):
    """Whether a name in a page's prose is the library's.

    `split` may be NumPy's, where a chapter has not got ours. And a name of the ground
    floor, such as `nested`, may be no more than a word.
    """
    is_inside = full.startswith(f"{PACKAGE}.core.")
    if page.startswith("book/reference/") or not (is_inside or hasattr(np, name)):
        return True
    return name in own_names(root, page)


# Where `train` is the command, and no function of Python.
OF_COMMAND = "nbs/cli", "book/questions", "book/reference/cli"


def command_sections(page):
    "What inline code on a page may name of the command: name -> anchor in its page."
    from tutorial_lib.core.commands import COMMANDS

    if page not in OF_COMMAND:
        return {}
    return {c.name: nodes.make_id(f"tutorial-lib {c.name}") for c in COMMANDS}


# A bar opens its fold at a click, so no link may stand on it.
NO_LINKS = nodes.reference, nodes.title, addnodes.desc_signature, FoldBar


def is_inside(node, kinds):
    "Whether a node stands anywhere inside one of these kinds."
    while node := node.parent:
        if isinstance(node, kinds):
            return True
    return False


def link_names(app, doctree, docname):
    "On `doctree-resolved`: link inline code to the entries of the reference."
    known, commands = public_names(app.env), command_sections(docname)
    for node in list(doctree.findall(nodes.literal)):
        if "no-link" in node["classes"]:
            continue
        name = node.astext().removesuffix("()")
        full, entry = known.get(name, ("", None))
        if name in commands:
            full, page, anchor = f"tutorial-lib {name}", OF_COMMAND[-1], commands[name]
        elif full and is_ours(str(app.srcdir), docname, name, full):
            page, anchor = entry.docname, entry.node_id
        else:
            continue
        if is_inside(node, NO_LINKS):
            continue
        uri = app.builder.get_relative_uri(docname, page) + f"#{anchor}"
        style = dict(internal=True, classes=["api"])
        link = nodes.reference("", "", refuri=uri, reftitle=full, **style)
        node.replace_self(link)
        link += node


def visit_parameters(self, node):
    self.context.append(len(self.body))
    type(self).visit_desc_parameterlist(self, node)


LINES = {"dl": "sig-lines", "dd": "sig-line"}


def depart_parameters(self, node):
    """The arguments of a signature, one a line.

    Sphinx makes a list of descriptions of them, in which nothing is described.
    """
    type(self).depart_desc_parameterlist(self, node)
    start = self.context.pop()
    html = "".join(self.body[start:])
    for tag, name in LINES.items():
        html = html.replace(f"<{tag}>", f'<span class="{name}">')
        html = html.replace(f"</{tag}>", "</span>")
    self.body[start:] = [html]


def setup(app):
    visitors = visit_parameters, depart_parameters
    app.add_node(addnodes.desc_parameterlist, override=True, html=visitors)
    app.connect("config-inited", configure)
    app.connect("builder-inited", describe_constants)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("doctree-resolved", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
