"""The page of the command and its reference: every option and key is in their tables.

And the messages that the page tells of are those that the library says.
"""

import ast
import re
import shutil

import nbformat
import pytest
from book_site import ROOT, build, served
from bs4 import BeautifulSoup

from book.command import key_rows, option_rows, status_rows
from tutorial_lib.config import KEYS
from tutorial_lib.core.commands import COMMANDS
from tutorial_lib.core.keys import reason_of_key, unit_of_key

pytest_plugins = ["book_fixtures"]
PAGES = "nbs/cli", "book/reference/cli"


def plain(text):
    "Text as it is read: without marks, with single blanks."
    return " ".join(text.replace("`", "").split())


def test_every_option_is_in_a_row():
    for command in COMMANDS:
        rows = option_rows(command)
        for option, (name, takes, usually, does) in zip(
            command.options, rows, strict=True
        ):
            assert plain(name) in (option.name, option.metavar)
            assert option.help in does and takes
            if option.default is not None:
                assert plain(usually) == str(option.default)
            assert all(choice in takes for choice in option.choices)


def test_every_key_is_in_a_row():
    rows = key_rows(KEYS, KEYS.fields)
    assert [plain(row[0]) for row in rows] == list(KEYS.fields)
    for (name, field), row in zip(KEYS.fields.items(), rows, strict=True):
        assert all(row), f"{name} has an empty cell"
        assert row[2:] == [unit_of_key(field), KEYS.allowed(name), reason_of_key(field)]
    assert rows[0][1] == '`"fast"`'


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    "A book of the two pages, with the look of the whole one."
    source = tmp_path_factory.mktemp("small")
    shutil.copytree(ROOT / "book", source / "book")
    shutil.copytree(ROOT / "tutorial_lib" / "core", source / "tutorial_lib" / "core")
    for name in "__init__.py", "cli.py", "config.py":
        shutil.copy(ROOT / "tutorial_lib" / name, source / "tutorial_lib")
    shutil.copytree(ROOT / "tutorial_lib" / "recipes", source / "tutorial_lib/recipes")
    for name in "_config.yml", "settings.ini", "references.bib":
        shutil.copy(ROOT / name, source)
    (source / "nbs").mkdir()
    shutil.copy(ROOT / "nbs" / "cli.ipynb", source / "nbs")
    (source / "index.md").write_text("# A small book\n")
    files = "".join(f"  - file: {page}\n" for page in PAGES)
    toc = f"format: jb-book\nroot: index\nparts:\n- chapters:\n{files}"
    (source / "_toc.yml").write_text(toc)
    said, status = build(source, source / "out")
    assert status == 0, said
    return source / "out" / "_build" / "html"


@pytest.fixture(scope="module", params=PAGES)
def tables(small_book, request):
    "The tables of a built page: id of what holds it -> rows of texts, without labels."
    text = (small_book / f"{request.param}.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    for label in page.select(".cell-label"):
        label.decompose()
    found = {}
    for table in page.select("table.blocks"):
        rows = [row.find_all("td") for row in table.select("tbody tr")]
        texts = [[plain(cell.get_text()) for cell in row] for row in rows]
        found[table.find_parent(["details", "section"])["id"]] = texts
    return found


def as_read(rows):
    return [[plain(cell) for cell in row] for row in rows]


def test_the_built_page_holds_every_option(tables):
    for command in COMMANDS:
        assert tables[f"tutorial-lib-{command.name}"] == as_read(option_rows(command))
    statuses = [rows for name, rows in tables.items() if "exit-status" in name]
    assert statuses == [as_read(status_rows())]


def test_the_built_page_holds_every_key(tables):
    for name, section in KEYS.sections.items():
        keys = [f"{name}.{key}" for key in section.model_fields]
        assert tables[f"keys-of-{name}"] == as_read(key_rows(KEYS, keys))
    assert tables["recipe"] == as_read(key_rows(KEYS, ["recipe"]))
    assert len(tables) == len(COMMANDS) + 1 + len(KEYS.sections) + 1


# How far the tables, and the words in their cells, stick out of their boxes.
TOO_WIDE = """() => [...document.querySelectorAll('table.blocks')].flatMap(table => {
    const box = table.parentElement, right = box.getBoundingClientRect().right;
    const cells = [...table.querySelectorAll('td *')].filter(e => e.checkVisibility());
    const out = cells.filter(e => e.getBoundingClientRect().right > right + 1);
    const wide = box.scrollWidth > box.clientWidth ? [table.id || 'a table'] : [];
    return [...wide, ...out.map(e => e.outerHTML.slice(0, 80))];
})"""


OPEN = "document.querySelectorAll('details').forEach(e => e.open = true)"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [1400, 1000, 768, 390])
def test_no_table_scrolls_sideways(small_book, chromium, width, page):
    with served(small_book) as site:
        tab = chromium.new_page(viewport={"width": width, "height": 900})
        tab.goto(f"{site}{page}.html")
        tab.evaluate(OPEN)
        assert not tab.evaluate(TOO_WIDE)
        label = tab.locator("table.blocks td:nth-child(2) .cell-label").first
        head = tab.locator("table.blocks thead").first
        has_room = head.bounding_box()["width"] > 1
        assert label.is_visible() != has_room and (width != 390 or not has_room)
        tab.close()


def test_messages_on_the_page_are_those_of_the_library():
    "Those that no cell of the page makes."
    cells = nbformat.read(ROOT / "nbs" / "cli.ipynb", 4).cells
    [rows] = [c.source for c in cells if "| what you read |" in c.source]
    messages = re.findall(r"^\| `([^`]+)`", rows, re.M)
    modules = sorted((ROOT / "tutorial_lib").rglob("*.py"))
    texts = [strings(path.read_text(encoding="utf-8")) for path in modules]
    assert len(messages) >= 4
    for message in messages:
        assert any(message in text for text in texts), message


def strings(source):
    "All text that code can say."
    constants = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return "\n".join(n.value for n in constants if isinstance(n.value, str))


def test_the_page_shows_no_code_of_the_command(small_book):
    page = (small_book / "nbs" / "cli.html").read_text(encoding="utf-8")
    reference = (small_book / "book/reference/cli.html").read_text(encoding="utf-8")
    for text in page, reference:
        article = BeautifulSoup(text, "html.parser").article.get_text()
        assert "def " not in article and "main(" not in article
    assert "$ tutorial-lib train my_photos" in page
