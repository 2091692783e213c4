"""Sources: a link to a work in references.bib is a citation of it.

A notebook holds a plain link, which reads well everywhere: `[Huang et al. (2017)](…)`,
or `[Huang et al., 2017](…)` inside brackets. On a page the same words lead to the list
of sources at the page's foot.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pybtex.database import parse_file
from sphinxcontrib.bibtex.plugin import register_plugin
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

FILE = "references.bib"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((https?://[^\s)]+)\)")


def round_brackets():
    return BracketStyle(left="(", right=")")


@dataclass
class AuthorYearInRoundBrackets(AuthorYearReferenceStyle):
    "Huang et al. (2017)."

    bracket_textual: BracketStyle = field(default_factory=round_brackets)
    bracket_parenthetical: BracketStyle = field(default_factory=round_brackets)


@cache
def keys(folder):
    "The key of each work of references.bib, by each address that the work has."
    found = {}
    for key, work in parse_file(Path(folder, FILE)).entries.items():
        fields = work.fields
        found |= {fields["url"]: key} if "url" in fields else {}
        found |= {f"https://doi.org/{fields['doi']}": key} if "doi" in fields else {}
        if "eprint" in fields:
            found[f"https://arxiv.org/abs/{fields['eprint']}"] = key
    return found


def cite(cells, folder, docname):
    """Make citations of the links to works, and list these at the end.

    `cells` are those of a notebook, changed in place.
    """
    known, cited, prefix = keys(folder), set(), f"{docname}-"

    def citation(link):
        key = known.get(link[2])
        if not key:
            return link[0]
        cited.add(key)
        how = "t" if link[1].endswith(")") else "alp"
        return f"{{cite:{how}}}`{prefix}{key}`"

    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = LINK.sub(citation, "".join(cell["source"]))
    if cited:
        listing = (
            f"```{{bibliography}}\n:filter: docname in docnames\n"
            f":keyprefix: {prefix}\n:labelprefix: {prefix}\n:style: plain\n```"
        )
        source = f"## Sources\n\n{listing}"
        foot = dict(cell_type="markdown", id="sources", metadata={}, source=source)
        cells.append(foot)


def setup(app):
    group = "sphinxcontrib.bibtex.style.referencing"
    register_plugin(group, "author_year_round", AuthorYearInRoundBrackets)
    app.setup_extension("sphinxcontrib.bibtex")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
