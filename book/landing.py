"""The landing page's map, and the line that installs the library.

The map has every chapter of the table of contents, by part, each with the promise that
it opens with.
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


class InstallLine(SphinxDirective):
    "`{install-line}`: what to type, as settings.ini says."

    def run(self):
        line = f"pip install {self.config.html_context['book'].install}"
        block = nodes.literal_block(line, line, language="text")
        return [nodes.container("", block, classes=["install-line"])]


# A chapter promises what "you will be able to do, and to do". On the map these words
# would be the same on every line, so they are left out.
BEGINNING = re.compile(r"^You will (be able to )?(\w)")
GOES_ON = re.compile(r"(,|;|\band) to (?=\w)")


def promise(doctree):
    "The line under a chapter's title that says what its reader will be able to do."
    quote = doctree.next_node(nodes.block_quote)
    if not quote:
        return []
    words = copies(quote.next_node(nodes.paragraph))
    return [shortened(node) if isinstance(node, nodes.Text) else node for node in words]


def shortened(text):
    "A piece of a promise without the words that all promises have."
    text = BEGINNING.sub(lambda m: m[2].upper(), text)
    return nodes.Text(GOES_ON.sub(r"\1 ", text))


def copies(node):
    "What stands in a node, for another page."
    return [child.deepcopy() for child in node.children]


def chapter(app, docname, page):
    "An entry of the map: a chapter's title, which links to it, and its promise."
    uri = app.builder.get_relative_uri(docname, page)
    style = dict(internal=True, classes=["chapter"])
    words = copies(app.env.titles[page])
    title = nodes.reference("", "", *words, refuri=uri, **style)
    words = promise(app.env.get_doctree(page))
    paragraphs = nodes.paragraph("", "", title), nodes.paragraph("", "", *words)
    return nodes.list_item("", *paragraphs)


def draw(app, doctree, docname):
    "On `doctree-resolved`: put the map where the directive stands."
    for place in list(doctree.findall(ChapterMap)):
        parts = []
        for part in app.config.external_site_map.root.subtrees:
            pages = [str(item).removesuffix(".ipynb") for item in part.items]
            pages = [page for page in pages if re.match(r"nbs/\d\d_", page)]
            if not pages:
                continue
            title = nodes.rubric("", part.caption)
            chapters = [chapter(app, docname, page) for page in pages]
            chapters = nodes.bullet_list("", *chapters, classes=["chapter-map"])
            parts.append(nodes.container("", title, chapters, classes=["part"]))
        place.replace_self(nodes.container("", *parts, classes=["parts"]))


def setup(app):
    app.add_node(ChapterMap)
    app.add_directive("chapter-map", ChapterMapDirective)
    app.add_directive("install-line", InstallLine)
    app.connect("doctree-resolved", draw, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
