"""The landing page's map.

Every chapter of the table of contents, by part, each with the promise that it opens
with.
"""

import re

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class ChapterMap(nodes.General, nodes.Element):
    pass


class ChapterMapDirective(SphinxDirective):
    "`{chapter-map}`: the chapters that exist, drawn when the book is put together."

    def run(self):
        return [ChapterMap()]


def promise(doctree):
    "The line under a chapter's title that says what its reader will be able to do."
    quote = doctree.next_node(nodes.block_quote)
    return (
        [child.deepcopy() for child in quote.next_node(nodes.paragraph).children]
        if quote
        else []
    )


def chapter(app, docname, page):
    title = nodes.reference(
        "",
        "",
        *[n.deepcopy() for n in app.env.titles[page].children],
        internal=True,
        refuri=app.builder.get_relative_uri(docname, page),
        classes=["chapter"],
    )
    words = promise(app.env.get_doctree(page))
    return nodes.list_item(
        "", nodes.paragraph("", "", title), nodes.paragraph("", "", *words)
    )


def draw(app, doctree, docname):
    "On `doctree-resolved`: put the map where the directive stands."
    for place in list(doctree.findall(ChapterMap)):
        parts = []
        for part in app.config.external_site_map.root.subtrees:
            pages = [
                str(item).removesuffix(".ipynb")
                for item in part.items
                if re.match(r"nbs/\d\d_", str(item))
            ]
            if not pages:
                continue
            parts.append(nodes.rubric("", part.caption))
            chapters = [chapter(app, docname, page) for page in pages]
            parts.append(nodes.bullet_list("", *chapters, classes=["chapter-map"]))
        place.replace_self(parts)


def setup(app):
    app.add_node(ChapterMap)
    app.add_directive("chapter-map", ChapterMapDirective)
    app.connect("doctree-resolved", draw, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
