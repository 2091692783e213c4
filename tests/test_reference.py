"""The reference: its order, its examples and tables, and what is inside the library."""

import ast
import doctest
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from book_site import ME, ROOT, soup, toc_pages

from book.inside import entries_of, first_line, public
from book.records import fields_of, is_record, type_text
from book.reference import arguments, comment_beside_keys
from tutorial_lib.config import Config, DataConfig

REFERENCE = [page for page in toc_pages() if page.startswith("book/reference/")]
SOURCES = {page: (ROOT / f"{page}.md").read_text("utf-8") for page in REFERENCE}
MODULES = sorted({Path(page).name for page in REFERENCE} - {"index", "inside"})
CORE = sorted(path.stem for path in (ROOT / "tutorial_lib/core").glob("[a-z]*.py"))


# ---- the order: what people use first stands first


def test_what_is_used_first_stands_first():
    names = [Path(page).name for page in REFERENCE]
    assert names[:3] == ["index", "trainer", "cli"]
    assert names[-1] == "inside"
    first = re.findall(r"^\.\. auto(?:function|class):: (\w+)", trainer(), re.M)
    assert first[:3] == ["train", "load_model", "Model"]


def trainer():
    return SOURCES["book/reference/trainer"]


def test_where_to_begin_leads_to_entries(book):
    page = soup(book / "book/reference/index.html")
    rows = page.select("article table tbody tr")
    assert len(rows) > 20
    for row in rows:
        use = row.find_all("td")[-1]
        names = [code for code in use.find_all("code") if "=" not in code.get_text()]
        assert names or use.find("a"), row.get_text()
        for name in names:
            link = name.find_parent("a")
            assert link and "#tutorial_lib." in link["href"], f"{name} leads nowhere"


# ---- examples

TIME = re.compile(r"\b\d+ (s|seconds|minutes)\b")


class SameButForTime(doctest.OutputChecker):
    "Compares what an example prints, and not how long it took."

    def check_output(self, want, got, flags):
        want, got = (TIME.sub("some time", text) for text in (want, got))
        return super().check_output(want, got, flags)


def mistakes_in(text, name):
    "Run the examples of a text. Returns what is wrong, and how many there are."
    example = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    said = []
    runner = doctest.DocTestRunner(SameButForTime(), verbose=False)
    runner.run(example, out=said.append)
    return "".join(said), len(example.examples)


WITH_EXAMPLES = [page for page, source in SOURCES.items() if ">>> " in source]


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_print_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said, n = mistakes_in(SOURCES[page], page)
    assert n and not said, said


def test_an_example_that_prints_something_else_is_seen():
    assert mistakes_in(">>> 1 + 1\n2\n", "sum") == ("", 1)
    assert "Got:" in mistakes_in(">>> 1 + 1\n3\n", "sum")[0]
    assert not mistakes_in(">>> print('after 5 s')\nafter 1 s\n", "time")[0]


MOST_USED = {
    "trainer": ["train", "load_model", "Model", "evaluate"],
    "scenarios": ["advise"],
    "config": ["Config", "load_config"],
    "data": ["load", "image_files", "read_images", "split"],
    "transfer": ["features", "linear_probe"],
    "modules": ["n_params"],
}


@pytest.mark.parametrize("module, names", MOST_USED.items())
def test_what_is_used_most_has_an_example(book, module, names):
    page = soup(book / f"book/reference/{module}.html")
    for name in names:
        entry = page.find(id=f"tutorial_lib.{module}.{name}").find_parent("dl")
        example = entry.select_one("div.doctest")
        assert example and name.lower() in example.get_text().lower(), name


# ---- arguments


def copy(
    path,  # of a file
    **keys,  # of `open`
): ...


def test_keys_are_explained():
    assert comment_beside_keys(copy) == ("keys", "of `open`")
    assert comment_beside_keys(soup.__wrapped__) == ("", "")
    fields = arguments(copy)
    assert fields[-2:] == ["  **keys**", "    of ``open``"], fields
    assert not [line for line in fields if "Returns" in line]


class Box:
    def __init__(
        self,  # no argument of a reader
        **keys,  # of `open`
    ): ...

    def table(self): ...  # not in the signature

    def size(self):  # in inches
        ...

    def cut(self, side, *, at: dict[str, int] = None):  # both `parts`
        ...

    @property
    def lid(self):  # a `Lid`
        ...

    def fill(
        self,
        what,  # sand
    ):  # the box
        ...


RETURNS = {"size": "in inches", "cut": "both ``parts``", "lid": "a ``Lid``"}


@pytest.mark.parametrize("name, text", RETURNS.items())
def test_a_comment_beside_the_colon_is_about_what_comes_back(name, text):
    assert arguments(getattr(Box, name)) == [f":Returns: {text}"]


def test_self_is_no_argument():
    assert arguments(Box) == [":Arguments:", "  **keys**", "    of ``open``"]
    fill = [":Arguments:", "  **what**", "    sand", ":Returns: the box"]
    assert arguments(Box.fill) == fill
    assert arguments(Box.table) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_entry_says_something(book, module):
    page = soup(book / f"book/reference/{module}.html")
    entries = page.select("dl.py")
    assert entries or module == "cli"
    for entry in entries:
        name, about = entry.find("dt").get("id"), entry.find("dd")
        first = about.find(recursive=False)
        assert first, f"{name} says nothing"
        if first.name == "dl":  # not its own words
            start = first.get_text(strip=True)
            assert start.startswith(("Arguments", "Returns")), f"{name} says nothing"
        fields = [field.get_text().strip(":") for field in entry.select("dt, strong")]
        words = [word.get_text() for word in entry.select("dt .sig-param .n")]
        assert not {"self", "cls"} & {*fields, *words}, name


# ---- the fields of a record


@dataclass
class Cat:
    "A cat."

    name: str  # as its owner calls it
    kind: Literal["house", "wild"] = "house"
    path: Path | None = None  # of its `picture`
    toys: list = field(default_factory=list)
    _asleep: bool = True


class Dog(NamedTuple):
    "A dog."

    name: str  # as its owner calls it
    # What it does on that word.
    sit: object = lambda: True
    tricks: tuple = ()


def test_fields_of_records():
    assert fields_of(Cat) == [
        ("name", str, "", "as its owner calls it"),
        ("kind", Literal["house", "wild"], "'house'", ""),
        ("path", Path | None, "None", "of its `picture`"),
        ("toys", list, "list()", ""),
    ]
    assert fields_of(Dog) == [
        ("name", str, "", "as its owner calls it"),
        ("sit", object, "...", "What it does on that word."),
        ("tricks", tuple, "()", ""),
    ]
    name, kind, default, text = fields_of(DataConfig)[1]
    assert (name, kind, default) == ("valid", float, "0.2")
    assert text.startswith("Held out to judge while training")
    assert not is_record(dict) and not is_record(Cat("Tom"))


def test_a_section_of_a_record_says_what_it_is_about():
    fields = {name: about for name, *about in fields_of(Config)}
    assert fields["data"] == [DataConfig, "", DataConfig.__doc__.splitlines()[0]]


def test_types_as_people_write_them():
    assert type_text(Path | None) == "Path | None"
    assert type_text(Literal["house", "wild"]) == "'house' | 'wild'"
    assert type_text(dict[str, Path]) == "dict[str, Path]"


@pytest.mark.parametrize("module", MODULES)
def test_fields_of_a_record_are_one_table(book, module):
    library = import_module(f"tutorial_lib.{module}")
    html = soup(book / f"book/reference/{module}.html")
    for name in library.__all__:
        record = getattr(library, name)
        if not is_record(record):
            continue
        place = f"tutorial_lib.{module}.{name}"
        entry = html.find(id=place).find_parent("dl")
        [table] = entry.select("table.fields")
        rows = [row.get("id") for row in table.select("tbody tr")]
        assert rows == [f"{place}.{key}" for key, *_ in fields_of(record)]
        assert not entry.select("dl.attribute"), f"{name} says its fields twice"
        assert not table.select("td:first-child a"), f"{name}: a field is no function"


# ---- inside the library


def test_every_room_is_named_once():
    inside = SOURCES["book/reference/inside"]
    blocks = re.findall(r"```{rooms}\n(?::.*\n)?([a-z\s]+)```", inside)
    assert sorted(" ".join(blocks).split()) == CORE


def test_inside_has_every_name_that_is_for_others(book):
    path = book / "book/reference/inside.html"
    assert path.stat().st_size < 400_000
    page = soup(path)
    for room in CORE:
        file = f"tutorial_lib/core/{room}.py"
        source = (ROOT / file).read_text(encoding="utf-8")
        lines = source.splitlines()
        for name, _, text in entries_of(source):
            entry = page.find("dt", id=f"tutorial_lib.core.{room}.{name}")
            address, line = entry.a["href"].rsplit("#", 1)
            assert address == f"{ME.repo_url}/blob/{ME.branch}/{file}"
            assert f" {name}" in lines[int(re.match(r"L(\d+)-", line)[1]) - 1]
            says = entry.find_next_sibling("dd").get_text().strip()
            assert says == text.replace("`", "").strip(), name


def unexplained(source):
    "The public functions and classes of a source that say nothing."
    tree = ast.parse(source)
    kinds = ast.FunctionDef, ast.ClassDef
    found = [node for node in tree.body if isinstance(node, kinds)]
    known = public(tree)
    return [n.name for n in found if n.name in known and not first_line(n)]


@pytest.mark.parametrize("room", CORE)
def test_every_name_inside_says_what_it_is(room):
    assert not unexplained((ROOT / f"tutorial_lib/core/{room}.py").read_text("utf-8"))


def test_a_name_that_says_nothing_is_seen():
    source = """
__all__ = ["f", "g", "A"]
def f(): "Does it."
def g(): ...
def h(): ...
class A:
    def go(self): "Goes."
"""
    assert unexplained(source) == ["g", "A"]


def test_entries_of_a_room():
    source = '''
__all__ = ["A", "B", "f"]
N: int = 1
class A:
    "Holds.\\n\\nMore."
    def __init__(self, x: int, y=None): ...
    def go(self): ...
    def _hide(self): ...
class B:
    x: int
    y: int = 2
def f(a: int, *, b: str = "c", **more) -> int:
    """Does
    `it`."""
def g(): ...
'''
    assert entries_of(source) == [
        ("A", "(x, y=None)", "Holds. Methods: `go`."),
        ("B", "(x, y)", ""),
        ("f", "(a, *, b='c', **more)", "Does `it`."),
    ]


# ---- lists that a screen reader can read


@pytest.mark.parametrize("page", REFERENCE)
def test_lists_of_descriptions_are_whole(book, page):
    "Such a list holds groups: what is described, then its descriptions."
    for listing in soup(book / f"{page}.html").find_all("dl"):
        tags = [child.name for child in listing.find_all(recursive=False)]
        kinds = " ".join(tags)
        assert re.fullmatch(r"(dt )+dd( dd| (dt )+dd)*", kinds), (page, kinds)
