"""The built book.

What a strict build does not catch, and that its links come from settings.ini.
"""

import json
import re
import shutil
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
from book_site import CHAPTERS, ME, PAGES, PREFIX, ROOT, build, soup, toc_pages
from fastcore.basics import AttrDict

import tutorial_lib
from book.accessible import TABLE, keep_whole, mend_table
from book.identity import configure, identity
from book.landing import shortened
from book.light import PLAIN, size, with_files, with_sizes
from book.nbdev_pages import folded, names, read_cell, show_doc_text, stamp_line, tags
from book.reference import OF_COMMAND, as_rst, is_ours
from tutorial_lib.core.cells import read_scenarios
from tutorial_lib.core.commands import COMMANDS
from tutorial_lib.core.pretrained import measured_backbones

MODULES = sorted(path.stem for path in (ROOT / "tutorial_lib").glob("[a-z]*.py"))
FOR_PYTHON = [name for name in MODULES if name != "cli"]  # that page shows the command


@cache
def places(path):
    "Where a link to a page can lead: the ids on it."
    return {node["id"] for node in soup(path).find_all(id=True)}


def notebook(name):
    return json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))


@pytest.fixture(params=PAGES)
def page(request, book):
    "Each page of the book, parsed, with its name."
    found = soup(book / f"{request.param}.html")
    found.page = request.param
    return found


# ---- the table of contents is whole


def test_toc_lists_every_chapter_and_module():
    notebooks = (ROOT / "nbs").glob("[0-9][0-9]_*.ipynb")
    assert [Path(p).name for p in CHAPTERS] == sorted(p.stem for p in notebooks)
    references = [p for p in toc_pages() if p.startswith("book/reference/")]
    beside = ["index", "inside"]  # where to begin, and what the modules are made of
    assert sorted(Path(p).name for p in references) == sorted([*MODULES, *beside])


# ---- pages


def test_page_has_one_title(page):
    titles = page.main.find_all("h1")
    titles = [h for h in titles if not h.find_parent(id="jb-print-docs-body")]
    assert len(titles) == 1, titles


@pytest.mark.parametrize("name", CHAPTERS)
def test_title_bears_the_number_of_the_file(book, name):
    number = Path(name).name[:2]
    page, home = soup(book / f"{name}.html"), soup(book / "index.html")
    assert page.article.h1.get_text().startswith(f"{number} ")
    assert page.title.get_text().strip().startswith(f"{number} ")
    link = home.select_one(f'nav.bd-links a[href="{name}.html"]')
    assert link.get_text().strip().startswith(f"{number} ")
    on_map = home.select_one(f'ul.chapter-map a[href="{name}.html"]')
    assert on_map, "the first page's map lacks the chapter"


def test_page_shows_no_plumbing(page):
    text = page.article.get_text() if page.article else ""
    assert not re.search(r"^\s*#\s*\|", text, re.M), "a directive of nbdev shows"
    assert "google.colab" not in text and "default_exp" not in text
    notes = page.main.find_all(string=re.compile(r"\[\^"))
    notes = [note for note in notes if not note.find_parent(["code", "pre"])]
    assert not notes, "a footnote that nothing defines"
    assert str(ROOT) not in str(page), "a path of the machine that built the book"


def what_is_wrong(link, tag, attribute, book, page):
    "What is wrong with a link of a page: nothing, or a text."
    target = link[attribute]
    url = urlsplit(urljoin(f"http://book{PREFIX}{page}.html", target))
    if url.scheme in ("data", "mailto"):
        return ""
    if url.netloc != "book":
        may_lead_outside = tag == "a" or link.get("rel") == ["canonical"]
        return "" if may_lead_outside else f"{target}: calls another host"
    file = book / (unquote(url.path).removeprefix(PREFIX) or "index.html")
    if not url.path.startswith(PREFIX) or not file.is_file():
        return target
    if tag == "a" and url.fragment and unquote(url.fragment) not in places(file):
        return f"{target}: no such place on the page"
    return ""


LINKS = dict(a="href", img="src", link="href", script="src", source="srcset")


def test_links_and_images_resolve(page, book):
    broken = []
    for tag, attribute in LINKS.items():
        for link in page.find_all(tag, **{attribute: True}):
            broken.append(what_is_wrong(link, tag, attribute, book, page.page))
    broken = list(filter(None, broken))
    assert not broken, broken


def shown_cells(name):
    "For each code cell that the page shows, whether a part of it is folded."
    for cell in notebook(name)["cells"]:
        if cell["cell_type"] != "code":
            continue
        directives, code = read_cell("".join(cell["source"]))
        if "remove-cell" not in tags(directives, code):
            is_solution = "solution" in cell["metadata"].get("tags", [])
            yield is_solution or folded(directives, code) is not None


@pytest.mark.parametrize("name", CHAPTERS)
def test_folded_code_and_hidden_cells(book, name):
    """A cell that hides stays off the page, a folded one is closed.

    As many as the notebook says.
    """
    are_folded = list(shown_cells(name))
    page = soup(book / f"{name}.html")
    assert len(page.select("div.cell")) == len(are_folded)
    assert len(page.select("div.cell details.fold")) == sum(are_folded)
    assert not page.select("div.cell details[open]")


@pytest.mark.parametrize("name", CHAPTERS)
def test_stamp_closes_the_chapter(book, name):
    stamp = notebook(name)["metadata"].get("stamp")
    if not stamp:
        pytest.skip("the chapter has no stamp yet: make outputs")
    shown = soup(book / f"{name}.html").select_one("p.stamp").get_text()
    assert shown == stamp_line(stamp)


# ---- the pages are light


def test_page_weighs_little(page, book):
    assert (book / f"{page.page}.html").stat().st_size <= 400_000


def test_pictures_weigh_little(book):
    weights = {path.name: path.stat().st_size for path in book.glob("_images/*")}
    heavy = [name for name, weight in weights.items() if weight > 400_000]
    assert not heavy
    assert sum(weights.values()) <= 11_500_000


def test_pictures_have_their_place_and_wait(page):
    pictures = page.article.find_all("img") if page.article else []
    for i, picture in enumerate(pictures):
        assert picture.get("width") and picture.get("height"), picture
        assert picture["decoding"] == "async"
        assert picture.get("loading") == ("lazy" if i else None), picture


# ---- the search


def squashed(text):
    return " ".join(text.split())


def test_search_knows_every_section_and_no_code(book):
    script = (book / "_static" / "sections.js").read_text(encoding="utf-8")
    pages = json.loads(script.removeprefix("const PAGES = ").rstrip(";\n"))
    assert [page["url"] for page in pages] == [f"{page}.html" for page in toc_pages()]
    for page in pages:
        built = soup(book / page["url"])
        known = {section["id"] for section in page["sections"]}
        assert {s["id"] for s in built.article.select("section section")} <= known
        assert known <= places(book / page["url"]) | {""}
        text = " ".join(section["text"] for section in page["sections"])
        code = {squashed(pre.get_text()) for pre in built.select("article .cell pre")}
        assert not [lines for lines in code if len(lines) > 60 and lines in text]
        assert text.strip()


# ---- the publisher


def test_settings_give_the_identity():
    me = identity(ROOT, env={})
    assert me.repo_url == f"https://github.com/{me.user}/{me.repo}"
    own = identity(ROOT, env={"GITHUB_REPOSITORY": f"{me.user}/{me.repo}"})
    assert own == me, "the publisher's own URL stands"
    fork = identity(ROOT, env={"GITHUB_REPOSITORY": "Someone/fork"})
    assert (fork.user, fork.repo) == ("Someone", "fork")
    assert fork.book_url == "https://someone.github.io/fork/"
    for name in "title", "branch", "pypi_name":
        assert fork[name] == me[name]


def test_config_repeats_nothing_of_the_identity():
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    for key in ("user", "book_url", "title", "repo_url"):
        assert ME[key] not in config, key
    config = AttrDict(html_theme_options={"logo": {}}, html_context={})
    configure(SimpleNamespace(confdir=ROOT), config)
    assert config.html_title == config.project == ME.title
    assert config.html_context["book"].prefix == PREFIX
    assert config.html_theme_options["repository_url"] == ME.repo_url


@pytest.mark.parametrize("name", CHAPTERS)
def test_buttons_of_a_chapter(book, name):
    buttons = soup(book / f"{name}.html").select("a.page-button")
    links = {a.get_text(strip=True): a["href"] for a in buttons}
    assert links["Open in Colab"] == f"{ME.colab_url}/{name}.ipynb"
    assert links["Source"].startswith(f"{ME.repo_url}/blob/{ME.branch}/{name}.ipynb")
    assert links["Report a problem"].startswith(f"{ME.repo_url}/issues/new?")


def test_first_page_has_two_doors_and_the_way_to_install(book):
    home = soup(book / "index.html")
    doors = home.select(".doors .sd-card")
    leads_to = [door.find("a", class_="sd-stretched-link")["href"] for door in doors]
    assert leads_to == [f"{CHAPTERS[0]}.html", "nbs/cli.html"]
    assert all(door.find("img", alt=True) for door in doors)
    links = {a["href"] for a in home.article.find_all("a", href=True)}
    assert f"{ME.colab_url}/{CHAPTERS[0]}.ipynb" in links
    installs = home.select_one(".install-line pre").get_text()
    assert installs.strip() == f"pip install {ME.install}"


def test_entries_of_the_map_begin_in_different_ways(book):
    entries = soup(book / "index.html").select("ul.chapter-map li p + p")
    first = [entry.get_text().split()[0] for entry in entries]
    assert len(first) == len(CHAPTERS) and "You" not in first
    assert max(Counter(first).values()) <= 3, first


def test_a_promise_is_shortened():
    assert shortened("You will be able to draw it, and to judge it.") == (
        "Draw it, and judge it."
    )
    assert shortened("You will make it to last.") == "Make it to last."


# ---- sources


def rows_of(book, heading):
    "The table under a heading of the page of sources, as rows of texts."
    section = soup(book / "book/sources.html").find("section", id=heading)
    rows = [row.find_all("td") for row in section.select("tbody tr")]
    return [[cell.find("p").contents[-1].get_text() for cell in row] for row in rows]


def test_page_of_sources_has_every_network_and_library(book):
    networks = {name: license for name, _, license in rows_of(book, "networks")}
    assert networks == {row["name"]: row["license"] for row in measured_backbones()}
    shown = [name for name, license in rows_of(book, "libraries") if license]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.search(r"^dependencies = \[(.*?)\]$", pyproject, re.M | re.S)[1]
    asked = re.findall(r'"([\w.-]+)>=', asked)
    assert sorted(shown) == sorted(n for n in asked if not n.endswith("-model"))


def test_page_of_sources_has_every_data_set(book):
    sets = soup(book / "book/sources.html").find("section", id="data-sets").get_text()
    names = {"pets": "Oxford-IIIT Pet", "cifar10": "CIFAR-10", "digits": "Digits"}
    used = {"drawn": "The drawn set", "flowers": "Flowers"} | names
    used["textures"] = "Describable Textures"
    measured = {name.partition(",")[0] for name in read_scenarios()["set"]}
    kinds = [name.partition("_") for name in measured_backbones()[0]]
    measured |= {kind for kind, _, pooling in kinds if pooling == "both"}
    for name in measured:
        assert used[name] in sets, f"{name} was measured and is not on the page"


def test_citation_is_that_of_the_file(book):
    shown = soup(book / "book/questions.html").find("section", id="how-do-i-cite")
    text = shown.pre.get_text()
    for words in (ME.title, tutorial_lib.__version__, ME.book_url):
        assert words in text


def test_sitemap_and_cards_of_links(book):
    sitemap = ElementTree.parse(book / "sitemap.xml").iter()
    addresses = {e.text for e in sitemap if e.tag.endswith("loc")}
    assert addresses == {f"{ME.book_url}{page}.html" for page in toc_pages()}
    page, address = soup(book / f"{CHAPTERS[0]}.html"), f"{CHAPTERS[0]}.html"
    assert page.find("link", rel="canonical")["href"] == ME.book_url + address

    def card(name):
        return page.find("meta", property=f"og:{name}")["content"]

    assert card("site_name") == ME.title
    assert card("url") == ME.book_url + address
    assert card("image") == f"{ME.book_url}_static/card.png"
    assert (book / "_static" / "card.png").is_file()


@pytest.mark.long
def test_forks_book_links_to_the_fork(tmp_path):
    tree = tmp_path / "fork"
    later = shutil.ignore_patterns("__pycache__", "0[1-9]_*", "[1-9]?_*")
    for name in ("book", "nbs"):
        shutil.copytree(ROOT / name, tree / name, ignore=later)
    for name in ("_config.yml", "settings.ini", "references.bib", "index.md"):
        shutil.copy(ROOT / name, tree)
    toc = f"root: index\nparts:\n- chapters:\n  - file: {CHAPTERS[0]}\n"
    (tree / "_toc.yml").write_text(f"format: jb-book\n{toc}")
    said, status = build(tree, tmp_path / "out", GITHUB_REPOSITORY="someone/fork")
    assert status == 0, said
    page = tmp_path / "out" / "_build" / "html" / f"{CHAPTERS[0]}.html"
    html = page.read_text(encoding="utf-8")
    assert "colab.research.google.com/github/someone/fork/" in html
    assert "https://someone.github.io/fork/" in html
    assert f"{ME.user}/{ME.repo}" not in html


# ---- the reference


def reference(book, module):
    "The page of a module, and the module."
    page = soup(book / f"book/reference/{module}.html")
    return page, import_module(f"tutorial_lib.{module}")


@pytest.mark.parametrize("module", FOR_PYTHON)
def test_reference_is_whole(book, module):
    """Every public name has its entry.

    With its source on the right lines and the chapter that teaches it.
    """
    page, library = reference(book, module)
    blob = re.escape(f"{ME.repo_url}/blob/{ME.branch}")
    file = r"tutorial_lib/(?:core/)?\w+\.py"
    source = re.compile(rf"{blob}/({file})#L(\d+)-L\d+")
    lesson = dict(href=re.compile("nbs/"))
    for name in library.__all__:
        entry = page.find(id=f"tutorial_lib.{module}.{name}")
        assert entry, f"no entry for {name}"
        link = entry.find("a", class_="reference external")["href"]
        path, first = source.fullmatch(link).groups()
        home = getattr(getattr(library, name), "__module__", None)
        is_ours = str(home).startswith("tutorial_lib.")
        assert not is_ours or path == f"{home.replace('.', '/')}.py", link
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        assert name in lines[int(first) - 1], f"{link} does not show {name}"
        taught = entry.find_parent("dl").find("a", **lesson) or page.find("a", **lesson)
        has_number = taught and taught.get_text()[:2].isdigit()
        assert has_number or module == "practice", f"{name} names no chapter"


def squeezed(text):
    "Text as it can be compared, whatever stands between its words."
    return "".join(text.replace("`", "").split())


@pytest.mark.parametrize("module", FOR_PYTHON)
def test_reference_explains_arguments(book, module):
    from fastcore.docments import docments

    page, library = reference(book, module)
    for name in library.__all__:
        obj = getattr(library, name)
        if not callable(obj):
            continue
        entry = page.find(id=f"tutorial_lib.{module}.{name}").find_parent("dl")
        shown = "".join(entry.get_text().split())
        for argument, text in docments(obj).items():
            is_no_argument = argument == "return" and isinstance(obj, type)
            if text and not is_no_argument:
                assert squeezed(text) in shown, f"{name}: {argument}"


def test_names_in_prose_link_to_the_reference(book):
    public = set()
    for module in FOR_PYTHON:
        public |= set(import_module(f"tutorial_lib.{module}").__all__)
    n_link = 0
    for name in CHAPTERS:
        for code in soup(book / f"{name}.html").select("article p code"):
            word, link = code.get_text().removesuffix("()"), code.find_parent("a")
            if word not in public:
                continue
            is_linked = bool(link and "/reference/" in link["href"])
            assert is_linked == is_ours(str(ROOT), name, word), (name, word)
            n_link += is_linked
    assert n_link, "no chapter's prose names anything of the library"


@pytest.mark.parametrize("name", OF_COMMAND)
def test_on_pages_of_the_command_its_words_are_no_functions(book, name):
    commands, n_link = {command.name for command in COMMANDS}, 0
    for code in soup(book / f"{name}.html").select("article p code, article dd code"):
        word, link = code.get_text(), code.find_parent("a")
        if word in commands and link:
            here, _, anchor = link["href"].rpartition("#")
            assert anchor == f"tutorial-lib-{word}", link
            assert not here or here.endswith("reference/cli.html"), link
            n_link += 1
    assert n_link, f"{name} names no command"
    for code in soup(book / f"{name}.html").select(
        "table.blocks td:not(:last-child) a"
    ):
        pytest.fail(f"{code}: it is a value, and no name")


def test_no_link_stands_in_a_title_or_on_a_bar(page):
    links = page.select("article :is(h1, h2, h3, h4, summary) a:not(.headerlink)")
    assert not links, f"{page.page}: {links}"


def test_a_name_that_numpy_has_too_links_where_the_chapter_has_ours():
    root = str(ROOT)
    assert is_ours(root, "nbs/02_tensors", "verify_images")
    assert not is_ours(root, "nbs/02_tensors", "split")
    assert is_ours(root, "nbs/01_data", "split")
    assert is_ours(root, "book/reference/data", "split")


# ---- the extension's own functions


def test_read_cell():
    folded = "#| export\n#|code-fold: true\n\nx = 1\n#| no\n"
    assert read_cell(folded) == ({"export": "", "code-fold": "true"}, "x = 1\n#| no\n")
    assert read_cell("# a comment\nx") == ({}, "# a comment\nx")


INSTALL = 'import sys\nif "google.colab" in sys.modules:\n    %pip install -q x'
TAGS = {
    "#| hide\nx = 1": ["remove-cell"],
    "#| default_exp data": ["remove-cell"],
    "#| export": ["remove-cell"],
    INSTALL: ["remove-cell"],
    "#| echo: false\nplot()": ["remove-input"],
    "#| output: false\nx": ["remove-output"],
    "#| export\n#| code-fold: true\ndef f(): pass": [],
    "#| export\nimport os": [],
    "#| export\nfrom a import b\n\n_all_ = [b]": [],
    "import os": [],
    "#| export\ndef f(): pass": [],
    "#| eval: false\nx": [],
}


@pytest.mark.parametrize("source, expected", TAGS.items())
def test_tags(source, expected):
    assert tags(*read_cell(source)) == expected


def test_names():
    code = (
        "A, b = 1, 2\nC = 3\nd: int = 4\n"
        "class E:\n    x = 1\n    def f(self): pass\n"
        "def g():\n    y = 1\n"
    )
    classes = {"E": (4, 6), "E.x": (5, 5), "E.f": (6, 6)}
    assert names(code) == {"C": (2, 2), "d": (3, 3), **classes, "g": (7, 8)}


def test_as_rst():
    text = "Takes `x`, *all* of `**kw`, a_b and c_."
    assert as_rst([text]) == [r"Takes ``x``, \*all\* of ``**kw``, a_b and c\_."]
    found = as_rst(["These:", "- one", "  more", "- two"])
    assert found == ["These:", "", "- one", "  more", "- two"]
    found = as_rst(["```", "f(*x)", "```"])
    assert found == ["", ".. code-block:: python", "", "    f(*x)", ""]


def test_show_doc_opens_no_section_and_links_to_a_file():
    attributes = '{target="_blank" style="float:right"}'
    link = f"[source](https://h/learner.py#LNone){attributes}"
    rest = "\n\n```python\n# a\n```\n\n*Cut.*"
    stored = f"---\n\n{link}\n\n### create_body{rest}"
    shown = f"**`create_body`** ([source](https://h/learner.py)){rest}"
    assert show_doc_text(stored) == shown
    shown = show_doc_text("[source](https://h/a.py#L12){x}\n\n#### f")
    assert shown == "**`f`** ([source](https://h/a.py#L12))"


def test_headers_of_a_table_say_what_they_head():
    head = "<thead><tr><th></th><th>loss</th></tr></thead>"
    rows = "<tbody><tr><th>0</th><td>0.5</td></tr></tbody>"
    table = TABLE.sub(mend_table, f"<p>a</p><table>{head}{rows}</table>")
    head = '<thead><tr><td></td><th scope="col">loss</th></tr></thead>'
    rows = '<tbody><tr><th scope="row">0</th><td>0.5</td></tr></tbody>'
    assert table == f"<p>a</p><table>{head}{rows}</table>"


def test_short_names_and_options_stay_whole():
    def code(*pieces):
        return "".join(f'<span class="{name}">{text}</span>' for name, text in pieces)

    long = "https://github.com/tutorial-lib/tutorial_lib"
    body = code(("pre", "--resume"), ("pre", "train"), ("pre", long))
    whole = code(("pre whole", "--resume"), ("pre", "train"), ("pre", long))
    assert keep_whole(body) == whole
    box = '<pre><span class="a --x">train</span> a--b{}\n</pre><p>a --b</p>'
    option = '<span class="whole">--as-begun</span>'
    for space in " ", '<span class="w"> </span>':
        assert keep_whole(box.format(f"{space}--as-begun")) == box.format(
            space + option
        )


def test_code_is_marked_up_where_it_has_a_color():
    marked = '<span class="k">if</span><span class="w"> </span><span class="n">a</span>'
    assert PLAIN.sub(r"\1", marked) == '<span class="k">if</span> a'


def test_size_of_a_drawing(tmp_path):
    drawing = tmp_path / "a.svg"
    for sides, expected in {
        'width="72pt" height="36pt"': [96, 48],
        'width="10" height="20px"': [10, 20],
        'width="100%" height="20px"': None,
        'viewBox="0 0 1 1"': None,
    }.items():
        drawing.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {sides}/>')
        assert size(drawing) == expected


def test_pictures_but_the_first_wait():
    files = {"animals.webp": ROOT / "book" / "assets" / "animals.webp"}
    first, second = with_sizes(
        '<img src="../_images/animals.webp"/><img alt="b" src="b%20c.png"/>', files
    ).split("/>")[:2]
    width, height = size(files["animals.webp"])
    sides = f'width="{width}" height="{height}"'
    assert first == f'<img decoding="async" {sides} src="../_images/animals.webp"'
    assert second == '<img decoding="async" loading="lazy" alt="b" src="b%20c.png"'


def test_a_file_that_an_output_offers_is_no_part_of_the_page(tmp_path):
    offer = '<a download="a.html" href="data:text/html;base64,PGI+">a</a>'
    body = with_files(offer, tmp_path, lambda path: f"../{path.name}")
    assert body == '<a download="a.html" href="../a.html">a</a>'
    assert [path.read_bytes() for path in tmp_path.glob("*/a.html")] == [b"<b>"]


def test_stamp_line():
    stamp = {
        "versions": {"fastai": "2.8.12", "python": "3.11.4", "torch": "2.15.0"},
        "device": "CPU, 2 cores",
        "data": "cifar10 (60,000 JPG files)",
        "date": "2026-11-21",
        "minutes": 5.6,
    }
    assert stamp_line(stamp) == (
        "Outputs: cifar10 (60,000 JPG files); CPU, 2 cores; "
        "torch 2.15.0, fastai 2.8.12; 2026-11-21; 6 minutes."
    )
