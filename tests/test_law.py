"""The law of the house, as the imports hold it.

Chapters use chapters of smaller numbers and the ground floor; the ground floor uses no
chapter; nobody takes a private name from another module; checks and the command line
stand outside; nothing heavy is imported before it is needed.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt
from wheelhouse import ROOT

sys.path.insert(0, str(ROOT))
from book.outputs import library_imports

CHAPTERS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
NUMBERS = {path.stem[3:]: int(path.stem[:2]) for path in CHAPTERS}
FREE = {12, 16, 17, 18}  # numbers of chapters that will come

# The ground floor: a room uses those before it, and no chapter.
CORE = (
    "canvas",
    "drawing",
    "text",
    "layers",
    "keys",
    "statistics",
    "architectures",
    "files",
    "downloads",
    "formats",
    "metadata",
    "images",
    "folders",
    "layout",
    "notes",
    "scratch",
    "console",
    "options",
    "commands",
    "places",
    "names",
    "runs",
    "fonts",
    "cells",
    "advice",
    "page",
    "arrays",
    "heads",
    "weights",
    "probes",
    "cache",
    "machine",
    "graphs",
    "pretrained",
    "frozen",
    "backbones",
    "engine",
    "diagrams",
    "export",
    "features",
    "experiment",
    "bodies",
    "inputs",
    "models",
    "seeds",
    "processes",
    "stock",
    "resume",
    "requests",
    "batches",
    "optimizers",
    "training",
    "budget",
    "plan",
    "jobs",
    "tuning",
    "evaluation",
)
OUTSIDE = "practice", "cli"  # exercises and the command line stand outside the line
CHECKS = sorted((ROOT / "nbs" / "checks").glob("[0-9][0-9]_*.ipynb"))
FACE = "__init__"

LIBRARY = ROOT / "tutorial_lib"
MODULES = {
    ".".join(path.relative_to(LIBRARY).with_suffix("").parts): path
    for path in sorted(LIBRARY.rglob("*.py"))
    if not path.stem.startswith("_")
}
TOP = sorted(name for name in MODULES if "." not in name and name not in OUTSIDE)
IMPORTERS = "tutorial_lib", "tests", "benchmarks", "book"
CODE = [path for name in IMPORTERS for path in sorted((ROOT / name).rglob("*.py"))]
CODE += sorted((ROOT / "nbs").rglob("*.ipynb"))

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
modules = pytest.mark.parametrize("name", MODULES)


def cells(path, kind):
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == kind]


def source_of(path):
    "The Python code of a file, or of all cells of a notebook."
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    plain = TransformerManager().transform_cell
    return "\n".join(plain(cell) for cell in cells(path, "code"))


def rank(name):
    "Where a module stands in the line: it may use what stands lower."
    room = name.removeprefix("core.")
    if room != name:
        return (0, CORE.index(room))
    return (1, NUMBERS[name])


def top_level(source):
    "The import statements that run when code is imported."
    body = ast.parse(source).body
    imports = [n for n in body if isinstance(n, (ast.Import, ast.ImportFrom))]
    return "\n".join(map(ast.unparse, imports))


def test_every_number_is_a_chapter_or_free():
    numbers = [*NUMBERS.values(), *FREE]
    assert sorted(numbers) == list(range(len(numbers)))


def test_every_notebook_exports_the_module_of_its_name():
    exported = {}
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        code = "\n".join(cells(path, "code"))
        exported[path] = re.findall(r"^#\|\s*default_exp\s+(\S+)", code, re.M)
    for path, names in exported.items():
        *folder, room = path.relative_to(ROOT / "nbs").with_suffix("").parts
        expected = ".".join([*folder, re.sub(r"^\d\d_", "", room)])
        has_no_module = path in CHAPTERS and not names
        assert has_no_module or names == [expected], f"{path.name} exports {names}"
    assert {n for names in exported.values() for n in names} == MODULES.keys()


def test_the_ground_floor_has_the_rooms_of_its_list():
    rooms = {n.removeprefix("core.") for n in MODULES if n.startswith("core.")}
    assert rooms == set(CORE)


def test_every_check_belongs_to_a_chapter():
    assert {p.stem for p in CHECKS} <= {p.stem for p in CHAPTERS}


@pytest.mark.parametrize("name", [n for n in MODULES if not n.startswith("checks.")])
def test_module_uses_only_what_stands_lower(name):
    if name in OUTSIDE:
        pytest.skip("it stands outside the line")
    used = library_imports(MODULES[name].read_text(encoding="utf-8"), name)
    outside = {n for n in used if n in OUTSIDE or n.startswith("checks.")}
    assert not outside, f"{name} imports {outside}"
    higher = {n for n in used if rank(n) >= rank(name)}
    assert not higher, f"{name} imports {higher}, which do not stand lower"


@chapters
def test_chapter_needs_no_later_one(path):
    used = library_imports(source_of(path)) - set(OUTSIDE)
    later = {n for n in used if rank(n) > (1, int(path.stem[:2]))}
    assert not later, f"{path.name} uses {later}, of a larger number"


@modules
def test_outside_of_the_line_nothing_is_imported_before_it_is_asked_for(name):
    if name not in OUTSIDE and not name.startswith("checks."):
        pytest.skip("it stands in the line")
    used = library_imports(top_level(MODULES[name].read_text(encoding="utf-8")), name)
    above = {n for n in used if not n.startswith("core.")}
    allowed = {"practice"} if name.startswith("checks.") else set()
    assert above <= allowed, f"{name} imports {above} before it is asked about it"


def private_names(source):
    "Names with a leading underscore that code takes from modules of the library."
    tree, found, aliases = ast.parse(source), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if not node.level and module.partition(".")[0] != "tutorial_lib":
                continue
            found |= {f"{module}.{a.name}" for a in node.names if is_private(a.name)}
            aliases |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.Import):
            ours = [a for a in node.names if a.name.startswith("tutorial_lib")]
            aliases |= {a.asname or a.name for a in ours}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner in aliases & {n.rpartition(".")[2] for n in MODULES} | {
                f"tutorial_lib.{n}" for n in MODULES
            }:
                found.add(f"{owner}.{node.attr}")
    return found


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", CODE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nobody_takes_a_private_name_from_another_module(path):
    assert not private_names(source_of(path))


PRIVATE = [
    "from tutorial_lib.core.files import _write",
    "from ..core.files import (\n    whole,\n    _write,\n)",
    "from tutorial_lib import data\ndata._write()",
    "import tutorial_lib.data\ntutorial_lib.data._write()",
]


@pytest.mark.parametrize("source", PRIVATE)
def test_private_names_are_seen(source):
    assert private_names(source)
    assert not private_names(source.replace("_write", "write"))


# In an order in which nothing needs more than what stands behind it.
HEAVY = {
    "tutorial_lib": ("torch", "fastai", "torchvision", "pandas", "PIL"),
    "tutorial_lib.config": ("torch", "fastai", "torchvision", "pandas"),
    "tutorial_lib.cli": ("torch", "fastai", "torchvision", "pandas"),
    "tutorial_lib.practice": ("torch", "fastai", "torchvision", "pandas"),
    "tutorial_lib.core.pretrained": ("torch", "fastai", "torchvision", "pandas"),
    "tutorial_lib.core.models": ("torch", "fastai", "timm", "pandas", "sklearn"),
    "tutorial_lib.core.notes": ("torch", "fastai", "torchvision"),
    "tutorial_lib.data": ("torch", "fastai", "torchvision", "sklearn"),
    "tutorial_lib.trainer": ("torch", "fastai", "timm", "sklearn", "matplotlib"),
    "tutorial_lib.report": ("torch", "fastai", "torchvision"),
    "tutorial_lib.transfer": ("fastai",),
    "tutorial_lib.scenarios": ("fastai",),
}


def test_nothing_heavy_is_imported_before_it_is_needed():
    program = f"""
import sys

for name in {list(HEAVY)}:
    __import__(name)
    print(name, *sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        name, *imported = line.split()
        heavy = set(HEAVY[name]) & set(imported)
        assert not heavy, f"{name} imports {heavy}"


def test_every_chapter_is_a_page_and_every_page_is_there():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    expected = [f"nbs/{name}" for name in (*(p.stem for p in CHAPTERS), "practice")]
    # The page of the command opens the part on the reader's own images.
    expected.insert(expected.index("nbs/13_config"), "nbs/cli")
    assert [p for p in pages if p.startswith("nbs/")] == expected
    firsts = {part["caption"]: part["chapters"][0]["file"] for part in toc["parts"]}
    assert firsts["IV Your images"] == "nbs/cli"
    modules = [*TOP, *OUTSIDE, "index", "inside"]  # in the order of their use
    assert sorted(p for p in pages if p.startswith("book/reference/")) == sorted(
        f"book/reference/{m}" for m in modules
    )
    for page in [toc["root"], *pages]:
        assert list(ROOT.glob(f"{page}.*")), (
            f"_toc.yml names {page}, which is not there"
        )


@chapters
def test_chapter_has_its_form(path):
    prose = cells(path, "markdown")
    opening = re.match(r"# (.+)\n\n> .+", prose[0])
    assert opening, (
        "a chapter opens with its title and a line, after `>`, that says what its "
        "reader will be able to do"
    )
    title = opening[1]
    assert not re.search(r"\d", title), (
        "the book puts the chapter's number before its title"
    )
    tokens = MarkdownIt().parse("\n\n".join(prose))
    heads = [
        (t.tag, tokens[i + 1].content)
        for i, t in enumerate(tokens)
        if t.type == "heading_open"
    ]
    assert [h for tag, h in heads if tag == "h1"] == [title], "one title"
    assert [h for tag, h in heads if tag == "h2"][-2:] == ["Things to try", "Recap"], (
        "the chapter's end"
    )
    after = CHAPTERS[CHAPTERS.index(path) + 1 :][:1]
    assert all(p.name in prose[-1] for p in after), (
        "the recap ends with a link to the next chapter"
    )


@chapters
def test_prose_is_markdown(path):
    parser = MarkdownIt().enable("table")
    for source in cells(path, "markdown"):
        inline = [
            t
            for block in parser.parse(source)
            for t in [block, *(block.children or [])]
        ]
        raw = [t.content for t in inline if t.type in ("html_block", "html_inline")]
        assert not raw, f"raw HTML cannot be translated: {raw}"


def tracked():
    "The files that git tracks, as relative paths."
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [
        Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file()
    ]


MACHINE = re.compile(
    r"(?<![\w.~/\-])/(?:work|root|home|Users)/[\w.]|\b[A-Z]:\\+(?:Users|Windows|Program)"
)
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs\.org|conda\.anaconda\.org"
)


WRONG = [
    "see /root" + "/x.py",
    '"/home' + '/me/a"',
    "C:" + "\\Users\\me",
    "//pypi" + ".org/simple",
]


@pytest.mark.parametrize("text", WRONG)
def test_the_next_test_can_see(text):
    assert MACHINE.search(text) or REGISTRY.search(text)


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path}: {m.group()}"
            for pattern in (MACHINE, REGISTRY)
            for m in pattern.finditer(text)
        ]
    assert not found


BRITISH = re.compile(
    r"colo[u]r|gre[y]\b|normali[s]|regulari[s]|labelle[d]|neighbo[u]r|centr[e]\b|licen[c]e",
    re.IGNORECASE,
)


def words_of(path):
    "What somebody wrote: of a notebook the sources, without outputs."
    if path.suffix == ".ipynb":
        return "\n".join(cells(ROOT / path, "markdown") + cells(ROOT / path, "code"))
    return (ROOT / path).read_text(encoding="utf-8")


def test_spelling_is_american():
    kinds = ".ipynb", ".md", ".py", ".toml", ".yml"
    pages = [path for path in tracked() if path.suffix in kinds]
    found = {str(path): BRITISH.findall(words_of(path)) for path in pages}
    assert not {path: words for path, words in found.items() if words}


def test_no_large_file():
    "A chapter holds its pictures, so it may take 3 MB; anything else 2 MB."

    def limit(path):
        return 3_000_000 if path.suffix == ".ipynb" else 2_000_000

    sizes = {
        p: (ROOT / p).stat().st_size for p in tracked() if "mathjax" not in p.parts
    }
    assert not {str(p): size for p, size in sizes.items() if size > limit(p)}
