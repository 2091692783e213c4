"""Pages that everybody can use.

The theme's own parts are mended by the templates in book/templates; what stands in an
article, here.
"""

import re

from bs4 import BeautifulSoup

TABLE = re.compile(r"<table\b.*?</table>", re.S)
# A short piece of inline code, which a browser would break after its - or /.
PIECE = re.compile(r'<span class="pre">(?=[^<]*[-/?])([^<]{2,24})</span>')
# An option in a box of code, which it would break after one of its hyphens.
BOX = re.compile(r"<pre>.*?</pre>", re.S)
OPTION = re.compile(r"(?<=[\s>])--[a-z][a-z-]*(?![^<]*>)")


def mend_table(match):
    """A table with its header cells named for a screen reader.

    A header says what it heads, and an empty one (pandas fills a table's corner with
    them) is no header.
    """
    table = BeautifulSoup(match[0], "html.parser")
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True) and not cell.find("img"):
            cell.name = "td"
        elif not cell.has_attr("scope"):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"
    return str(table)


def keep_whole(body):
    "An article whose short names and options no line ends within."
    body = PIECE.sub(r'<span class="pre whole">\1</span>', body)

    def mended(box):
        return OPTION.sub(r'<span class="whole">\g<0></span>', box[0])

    return BOX.sub(mended, body)


def mend(app, pagename, templatename, context, doctree):
    "On `html-page-context`: an article that says what its parts are."
    if body := context.get("body"):
        # Docutils gives the items of its list of sources a role that no list may hold.
        body = body.replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = TABLE.sub(mend_table, keep_whole(body))


def setup(app):
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
