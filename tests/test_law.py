"""One law: nbs/NN_name.ipynb exports tutorial_lib/name.py, is a page of the book, and needs no larger number."""

import ast
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb"))
OUTSIDE = (
    "practice",
    "cli",
)  # the checks of the exercises and the command line stand outside the line
MODULES = sorted(
    p
    for p in (ROOT / "tutorial_lib").glob("*.py")
    if not p.stem.startswith("_") and p.stem not in OUTSIDE
)
NUMBERS = {p.stem[3:]: int(p.stem[:2]) for p in CHAPTERS}

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def cells(path, kind):
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == kind]


def library_imports(source):
    "The modules of the library that Python code imports."
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("tutorial_lib.")
                for a in node.names
                if a.name.startswith("tutorial_lib.")
            }
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if node.level:
            package = module
        elif module.partition(".")[0] == "tutorial_lib":
            package = module.partition(".")[2]
        else:
            continue
        found |= {package} if package else {a.name for a in node.names}
    return {name.partition(".")[0] for name in found} & NUMBERS.keys()


def test_numbers_are_unique_and_start_at_zero():
    assert sorted(NUMBERS.values()) == list(range(len(CHAPTERS)))


def test_every_module_has_its_chapter():
    exported = {
        p.stem: re.findall(
            r"^#\|\s*default_exp\s+(\S+)", "\n".join(cells(p, "code")), re.M
        )
        for p in CHAPTERS
    }
    wrong = {
        chapter: names
        for chapter, names in exported.items()
        if names not in ([], [chapter[3:]])
    }
    assert not wrong, f"a chapter exports one module, of its own name: {wrong}"
    assert {names[0] for names in exported.values() if names} == {
        p.stem for p in MODULES
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_module_imports_only_smaller_numbers(path):
    later = {
        m
        for m in library_imports(path.read_text(encoding="utf-8"))
        if NUMBERS[m] >= NUMBERS[path.stem]
    }
    assert not later, (
        f"tutorial_lib/{path.name} imports {later}, of a number that is not smaller"
    )


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_stands_outside_needs_no_chapter_and_no_chapter_needs_it(name):
    source = (ROOT / "tutorial_lib" / f"{name}.py").read_text(encoding="utf-8")
    top = "\n".join(
        ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )
    assert not library_imports(top), (
        f"tutorial_lib/{name}.py imports a chapter before it is asked about it"
    )
    for path in MODULES:
        assert not re.search(
            rf"from \.{name} |tutorial_lib\.{name}", path.read_text(encoding="utf-8")
        ), f"{path.name} imports {name}"


@chapters
def test_chapter_needs_no_later_one(path):
    plain = TransformerManager().transform_cell
    used = set().union(*(library_imports(plain(c)) for c in cells(path, "code")))
    later = {m for m in used if NUMBERS[m] > int(path.stem[:2])}
    assert not later, f"{path.name} uses {later}, of a larger number"


def test_every_chapter_is_a_page_and_every_page_is_there():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    assert [p for p in pages if p.startswith("nbs/")] == [
        f"nbs/{name}" for name in (*(p.stem for p in CHAPTERS), *OUTSIDE)
    ]
    modules = [*sorted((p.stem for p in MODULES), key=NUMBERS.get), *OUTSIDE]
    assert [p for p in pages if p.startswith("book/reference/")] == [
        f"book/reference/{m}" for m in modules
    ]
    for page in [toc["root"], *pages]:
        assert list(ROOT.glob(f"{page}.*")), (
            f"_toc.yml names {page}, which is not there"
        )


@chapters
def test_chapter_has_its_form(path):
    prose = cells(path, "markdown")
    opening = re.match(r"# (.+)\n\n> .+", prose[0])
    assert opening, (
        "a chapter opens with its title and a line, after `>`, that says what its reader will be able to do"
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


def test_no_large_file():
    "A chapter holds its pictures, so it may take 5 MB; anything else 2 MB."

    def limit(path):
        return 5_000_000 if path.suffix == ".ipynb" else 2_000_000

    sizes = {
        p: (ROOT / p).stat().st_size for p in tracked() if "mathjax" not in p.parts
    }
    assert not {str(p): size for p, size in sizes.items() if size > limit(p)}
