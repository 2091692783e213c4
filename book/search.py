"""The book's search: sections, by their headings and their prose.

It takes the place of Sphinx's, which indexes pages with their code and fetches them
for its excerpts. The index is a script, so the search works from files too.
"""

import json
import re
import unicodedata
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

# What is not prose, and what is a section of its own.
PASSED_OVER = (
    nodes.comment,
    nodes.literal_block,
    nodes.math_block,
    nodes.raw,
    nodes.section,
    nodes.system_message,
    nodes.title,
    addnodes.desc,
    addnodes.toctree,
)


def prose(node):
    "The prose of a node: no code, no outputs, and not that of the sections in it."
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.math):
        return formula(node.astext())
    if isinstance(node, PASSED_OVER) or is_unnamed(node) or is_label(node):
        return ""
    if node.get("nb_element") == "cell_code":
        return " ".join(caption.astext() for caption in node.findall(nodes.caption))
    between = "" if isinstance(node, nodes.TextElement) else " "
    words = between.join(prose(child) for child in node.children)
    return words if words.strip() else ""


def words_of(title):
    return "".join(prose(child) for child in title.children)


def formula(tex):
    "A formula as it reads in a sentence: `n`, `2 + 2`, or else three dots."
    return "…" if re.search(r"[\\^_{}]", tex) else tex


def is_unnamed(node):
    "Whether a node is a reference that only gets its words when a page is written."
    if not isinstance(node, addnodes.pending_xref):
        return False
    return node.get("refdomain") in ("std", "cite") and not node.get("refexplicit")


def is_label(node):
    "Whether a node repeats the name of its column, or names what says nothing."
    if isinstance(node, nodes.field):
        return not prose(node.children[1])
    return "cell-label" in node.get("classes", ())


def tidy(text):
    "Text in one line, its letters composed. Three dots also end a sentence."
    text = re.sub(r"…\.(?!\.)", "…", " ".join(text.split()))
    return unicodedata.normalize("NFC", text)


def record(heading, node, ids):
    "What the search knows of a section."
    text = " ".join(prose(child) for child in node.children)
    return {"heading": tidy(heading), "id": ids[0], "text": tidy(text)}


def sections(doctree):
    "The sections of a page, and the entries of its reference, in order."
    found = []
    for node in doctree.findall():
        if isinstance(node, nodes.section):
            title = node.next_node(nodes.title)
            found.append(record(words_of(title), node, node["ids"]))
        elif isinstance(node, addnodes.desc):
            signature = node.next_node(addnodes.desc_signature)
            if signature["ids"]:
                name = signature.get("fullname") or signature["ids"][0]
                content = node.next_node(addnodes.desc_content)
                found.append(record(name, content, signature["ids"]))
    return found


def page(app, docname):
    "What the search knows of a page. Its first section is the page itself."
    found = sections(app.env.get_doctree(docname))
    if found:
        found[0]["id"] = ""
    title = tidy(words_of(app.env.titles[docname]))
    url = app.builder.get_target_uri(docname)
    return {"title": title, "url": url, "sections": found}


def replace_sphinx(app):
    "On `builder-inited`: no index of Sphinx's, but the search page all the same."
    app.builder.search = False
    app.config.html_additional_pages["search"] = "search.html"


def write_index(app, exception):
    "On `build-finished`: all sections, in the order of the book."
    if exception or app.builder.format != "html":
        return
    pages = [page(app, docname) for docname in app.env.collect_relations()]
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    script = Path(app.outdir, "_static", "sections.js")
    script.write_text(f"const PAGES = {text};\n", encoding="utf-8")


def setup(app):
    app.connect("builder-inited", replace_sphinx)
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
