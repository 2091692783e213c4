"""Tables of licenses, and how to cite the book, made from what the code knows.

The networks are those that the library measured, the libraries those that the package
asks for, and the citation is CITATION.cff.
"""

from importlib.metadata import metadata
from pathlib import Path

import yaml
from docutils import nodes
from packaging.requirements import Requirement
from sphinx.util.docutils import SphinxDirective

from book.command import code, table

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # Python 3.10


def network_rows():
    "A row for each measured network: its name, who trained it, and the license."
    from tutorial_lib.core.backbones import find_backbone
    from tutorial_lib.core.pretrained import measured_backbones

    rows = []
    for row in measured_backbones():
        network = find_backbone(row["name"])
        is_address = "://" in network.source
        source = row["weights"] if is_address else network.source
        rows.append([code(row["name"]), source, network.license])
    return rows


def license_of(package):
    "What an installed package says of its license, in one line; empty: nothing."
    about = metadata(package)
    if expression := about.get("License-Expression"):
        return expression
    trove = about.get_all("Classifier") or []
    named = [line.split(" :: ")[-1] for line in trove if line.startswith("License ::")]
    if named:
        return ", ".join(named)
    stated = (about.get("License") or "").strip().splitlines()
    return "" if stated[:1] in ([], ["UNKNOWN"]) else stated[0]


def library_rows(pyproject, extra=""):
    """A row for each library that the package asks for: its name and its license.

    `pyproject`: the text of pyproject.toml; `extra`: one of its extras, such as book.
    Packages that hold weights are left out: they stand among the networks.
    """
    from tutorial_lib.core.pretrained import WEIGHTS

    of_weights = {getattr(weights, "package", "") for weights in WEIGHTS.values()}
    project = tomllib.loads(pyproject)["project"]
    asked = project["dependencies"]
    if extra:
        asked = project["optional-dependencies"][extra]
    names = [Requirement(line).name for line in asked]
    return [[name, license_of(name)] for name in names if name not in of_weights]


def bibtex(cff, year):
    "The text of CITATION.cff as an entry of BibTeX."
    about = yaml.safe_load(cff)
    authors = " and ".join(author["name"] for author in about["authors"])
    fields = {
        "title": f"{{{about['title']}}}",
        "author": f"{{{authors}}}",
        "year": year,
        "version": about["version"],
        "url": about["url"],
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@software{tutorial_lib,", *lines, "}"])


class FromFile(SphinxDirective):
    "What the directives below share: a page that is built anew when a file changes."

    def read(self, name):
        file = Path(self.env.srcdir, name)
        self.env.note_dependency(str(file))
        return file.read_text(encoding="utf-8")


class Networks(SphinxDirective):
    "`{networks}`: whose weights they are, and their licenses."

    def run(self):
        return [table(("Network", "Weights", "License"), network_rows())]


class Libraries(FromFile):
    "`{libraries}`, or `{libraries} book`: what pip installs, and the licenses."

    optional_arguments = 1

    def run(self):
        rows = library_rows(self.read("pyproject.toml"), *self.arguments)
        return [table(("Library", "License"), rows)]


class Citation(FromFile):
    "`{citation}`: an entry of BibTeX."

    def run(self):
        text = bibtex(self.read("CITATION.cff"), self.config.copyright)
        return [nodes.literal_block(text, text, language="text")]


def setup(app):
    app.add_directive("networks", Networks)
    app.add_directive("libraries", Libraries)
    app.add_directive("citation", Citation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
