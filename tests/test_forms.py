"""The page's means, on a small book that is translated: every form keeps its words.

What CONTRIBUTING calls forms: a fold with a name, an output behind a click, a check of
one line, a picture with words, a source, a question, an exercise.
"""

import base64
import io
import shutil
from pathlib import Path

import pytest
import yaml
from babel.messages.pofile import read_po, write_po
from book_site import build
from bs4 import BeautifulSoup
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
    writes,
)
from PIL import Image, ImageChops, ImageOps
from wheelhouse import ROOT

from book.nbdev_pages import folded, read_cell
from book.photographs import is_photograph, lighten, opened
from book.sources import LINK, keys

PAPER = "https://arxiv.org/abs/1608.06993"


def picture(image):
    "A picture as Jupyter stores it."
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"image/png": base64.b64encode(file.getvalue()).decode()}


PLOT = picture(Image.new("RGBA", (80, 40), "#24272c"))
WORDS = (
    "#| fig-cap: A caption with `code`, which\n#|   goes on.\n#| fig-alt: A dark box\n"
)


def markdown(text, *tags):
    return new_markdown_cell(text, metadata={"tags": list(tags)} if tags else {})


def code(text, *tags, **data):
    outputs = [new_output("display_data", {k.replace("_", "/"): data[k]}) for k in data]
    meta = {"tags": list(tags)} if tags else {}
    return new_code_cell(text, outputs=outputs, metadata=meta)


def drawn(text):
    return new_code_cell(text, outputs=[new_output("display_data", PLOT)])


CELLS = [
    markdown("# Forms\n\n> You will see every form."),
    code('#| code-fold: true\n#| code-summary: "`f`: with a name"\nf = 1'),
    code("#| predict\n1 + 1", text_plain="2"),
    code("#| predict: How many?\n2 + 2", text_plain="4"),
    code("#| claim: One is one\nassert 1 == 1"),
    code("#| hide\nis_real = True"),
    drawn(f"{WORDS}plot()"),
    markdown(f"As [Huang et al. (2017)]({PAPER}) say."),
    markdown(f"So it is ([Huang et al., 2017]({PAPER}))."),
    markdown("## Things to try"),
    markdown("What is one?", "question"),
    markdown("One.", "answer"),
    markdown("### Add\n\nWrite `add(a, b)`.", "exercise"),
    markdown("- It keeps the dtype.", "tested"),
    markdown("Use a plus.", "hint"),
    code("def add(a, b):\n    return a + b", "solution"),
    code('check("00.a", add)', "check"),
]


def write_book(tree, cells, **settings):
    "The sources of a small book; `settings` are for Sphinx."
    tree.mkdir()
    for name in "settings.ini", "references.bib":
        shutil.copy(ROOT / name, tree)
    skip = shutil.ignore_patterns("__pycache__", "reference", "locale")
    shutil.copytree(ROOT / "book", tree / "book", ignore=skip)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["sphinx"]["config"] |= settings
    (tree / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    toc = "format: jb-book\nroot: index\nchapters:\n- file: nbs/00_forms\n"
    (tree / "_toc.yml").write_text(toc)
    (tree / "index.md").write_text("# A small book\n")
    (tree / "nbs").mkdir()
    kernel = {"kernelspec": {"display_name": "python3", "name": "python3"}}
    kernel["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    text = writes(new_notebook(cells=cells, metadata=kernel))
    (tree / "nbs" / "00_forms.ipynb").write_text(text, encoding="utf-8")


def translate(messages, folder):
    "A catalog in which each message stands in brackets."
    for template in messages.rglob("*.pot"):
        with template.open(encoding="utf-8") as file:
            catalog = read_po(file, locale="ko")
        for message in catalog:
            if message.id:
                message.string = f"⟦{message.id}⟧"
        path = folder / template.relative_to(messages).with_suffix(".po")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalog)


def make_translated(folder):
    "Build the small book in another language: the path of its page."
    tree = folder / "tree"
    settings = dict(language="ko", locale_dirs=["locale"], gettext_compact=False)
    write_book(tree, CELLS, **settings)
    gettext = "--builder", "custom", "--custom-builder", "gettext"
    said, status = build(tree, folder / "messages", *gettext)
    assert status == 0, said
    messages = folder / "messages" / "_build" / "gettext"
    translate(messages, tree / "locale" / "ko" / "LC_MESSAGES")
    said, status = build(tree, folder / "out", "-W", "--keep-going")
    assert status == 0, said
    return str(folder / "out" / "_build" / "html" / "nbs" / "00_forms.html")


@pytest.fixture(scope="module")
def page(once):
    return Path(once("forms", make_translated))


@pytest.fixture(scope="module")
def article(page):
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").article


def words(node):
    return " ".join(node.get_text().split())


def test_bars_have_their_words_in_every_language(article):
    bars = [words(bar) for bar in article.select("details > summary")]
    assert bars == [
        "⟦f: with a name⟧",
        "⟦Say what comes, then look⟧",
        "⟦How many?⟧",
        "⟦One is one⟧",
        "⟦Answer to question 1⟧",
        "⟦What the check of 00.a also tests⟧",
        "⟦Hint 1 for 00.a⟧",
        "⟦Solution of 00.a⟧",
    ]
    assert article.select_one("summary code").get_text() == "f"
    assert not article.select("details[open]")


def test_a_prediction_hides_the_output_alone(article):
    cell = article.select("div.cell:has(details.fold-predict)")[0]
    assert cell.select_one("details .cell_output") and not cell.select(
        "details .cell_input"
    )
    claim = article.select_one("details.fold-claim")
    assert claim.find_parent("details", class_="fold-predict"), "it gives away"
    assert "assert" in words(claim.select_one(".cell_input"))
    assert "is_real" not in article.get_text()


def test_a_picture_has_words_in_every_language(article):
    figure = article.select_one("div.cell figure")
    caption = words(figure.figcaption).rstrip("#")
    assert caption == "⟦A caption with code, which goes on.⟧"
    image = figure.select_one("img")
    assert image["alt"] == "⟦A dark box⟧" and "plot" in image["class"]


def test_a_source_is_cited_and_listed(article):
    prose = [words(p) for p in article.select("p")]
    assert "⟦As Huang et al. (2017) say.⟧" in prose
    assert "⟦So it is (Huang et al., 2017).⟧" in prose
    entry = article.select_one("#sources .citation")
    assert entry.select_one(f'a[href="{PAPER}"]')
    assert "Densely connected convolutional networks" in words(entry)


def test_everything_opens_by_keyboard(chromium, page):
    tab = chromium.new_page()
    tab.goto(page.as_uri())
    folds = tab.locator("article details")
    for i in range(folds.count()):
        inside = folds.nth(i).locator("> :not(summary)").first
        assert not inside.is_visible()
        folds.nth(i).locator("> summary").focus()
        tab.keyboard.press("Enter")
        assert inside.is_visible()
    tab.close()


@pytest.mark.long
def test_a_picture_without_words_stops_the_build(tmp_path):
    write_book(tmp_path / "tree", [markdown("# Bare"), drawn("plot()")])
    said, status = build(tmp_path / "tree", tmp_path / "out", "-W", "--keep-going")
    assert status != 0
    assert "a picture has no alternative text" in said
    assert "the picture of a cell has no caption" in said


# ---- the functions behind


def test_directives_go_on_in_the_next_lines():
    source = "#| claim: It is\n#|   so, `f`\n#| eval: false\nx = 1\n#|   no\n"
    found, rest = read_cell(source)
    assert found == {"claim": "It is so, `f`", "eval": "false"}
    assert rest == "x = 1\n#|   no\n"


def test_what_is_folded():
    assert folded({"claim": "So"}, "assert x") == ("all", "So", "claim")
    assert folded({"predict": ""}, "x")[0] == "output"
    assert folded({"code-fold": "true"}, "x")[0] == "input"
    assert folded({"export": ""}, "import os") == ("input", "The imports", "code")
    assert folded({"export": ""}, "x = 1") is None


def many_colors():
    noise = Image.effect_noise((300, 200), 90).convert("RGB").resize((600, 400))
    return Image.merge("RGB", [noise.getchannel(0).rotate(90 * i) for i in range(3)])


def test_photographs_are_stored_lightly():
    outputs = [
        new_output("display_data", picture(many_colors())),
        new_output("display_data", PLOT),
    ]
    outputs[0].metadata["image/png"] = {"width": 300}
    assert is_photograph(outputs[0].data) and not is_photograph(PLOT)
    before = len(outputs[0].data["image/png"])
    lighten(outputs)
    assert len(outputs[0].data["image/jpeg"]) < before / 2
    assert outputs[0].metadata == {"image/jpeg": {"width": 300}}
    assert list(outputs[1].data) == ["image/png"]


def test_plots_are_stored_lightly_and_look_the_same():
    gray = Image.linear_gradient("L").resize((640, 480))
    ink = ImageOps.colorize(gray, "#24272c", "#f7f7f7", "#0072b2").convert("RGBA")
    outputs = [new_output("display_data", picture(ink))]
    lighten(outputs)
    stored = opened(outputs[0].data["image/png"])
    apart = ImageChops.difference(stored, ink.convert("RGB"))
    assert len(outputs[0].data["image/png"]) < len(picture(ink)["image/png"])
    assert max(high for _, high in apart.getextrema()) <= 4


@pytest.mark.parametrize("kind", ["plot", "photograph"])
def test_what_a_picture_is_can_be_said(kind):
    outputs = [new_output("display_data", picture(many_colors()))]
    lighten(outputs, kind)
    is_plot = "image/png" in outputs[0].data
    assert is_plot == (kind == "plot")


NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_papers_in_prose_are_in_the_bibliography(path):
    from nbformat import read

    known = keys(str(ROOT))
    for cell in read(path, 4).cells:
        if cell.cell_type != "markdown":
            continue
        for _, address in LINK.findall(cell.source):
            is_paper = address.startswith(("https://arxiv.org/", "https://doi.org/"))
            assert not is_paper or address in known, f"{address}: not in references.bib"


def test_every_work_has_an_address():
    from pybtex.database import parse_file

    assert len(set(keys(str(ROOT)).values())) == len(
        parse_file(ROOT / "references.bib").entries
    )
