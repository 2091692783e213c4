"""Every page of the book in a real Chromium.

Nothing from outside, no error, no overflow, readable in both themes.
"""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from accessible import barriers, barriers_but_contrast
from book_site import CHAPTERS, PAGES
from bs4 import BeautifulSoup
from cases import long_but

WIDTHS, THEMES = (1400, 390), ("light", "dark")
PHONE = WIDTHS[-1]

# Remembers what a function answered: a page asks the same of thousands of elements.
MEMO = """const memo = f => { const known = new Map();
    return x => { if (!known.has(x)) known.set(x, f(x)); return known.get(x) } };"""

# What sticks out of the window sideways, and does not scroll in a box of its own.
OVERFLOW = """() => {
    MEMO
    const boxed = memo(e => e && e !== document.body
        && (getComputedStyle(e).overflowX !== 'visible' || boxed(e.parentElement)));
    const sticksOut = e => {
        const box = e.getBoundingClientRect();
        return box.width && box.right > innerWidth + 1 && !boxed(e.parentElement)
            && getComputedStyle(e).position !== 'fixed' };
    const out = [...document.querySelectorAll('main *')].filter(sticksOut);
    const wide = document.documentElement.scrollWidth - innerWidth;
    return [...out.slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
        ...(wide > 0 ? [`${wide} px too wide`] : [])];
}""".replace("MEMO", MEMO)

# Boxes of code, outputs and tables that a wide window has to scroll sideways.
SCROLLING = """() => {
    const boxes = 'article :is(pre, table, .cell_output, .output)';
    return [...document.querySelectorAll(boxes)].filter(
        e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1
    ).map(e => `${e.scrollWidth} px: ${e.innerText.slice(0, 80)}`) }"""

# Open all that is folded, or fold it again.
UNFOLD = """isOpen => document.querySelectorAll('article details').forEach(
    e => e.open = isOpen)"""

# Pictures that are stretched in one direction.
STRETCHED = """() => {
    const shown = i => i.clientWidth / i.clientHeight;
    const ratio = i => shown(i) / i.naturalWidth * i.naturalHeight;
    return [...document.querySelectorAll('article img')].filter(
        i => i.clientHeight > 20 && getComputedStyle(i).objectFit != 'cover'
            && Math.abs(ratio(i) - 1) > 0.02).map(i => i.src) }"""

# Text whose contrast with what lies behind it is below 4.5 to 1 (WCAG 2.2, 1.4.3).
FAINT = """() => {
    MEMO
    const canvas = new OffscreenCanvas(1, 1);
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    const rgba = memo(color => {
        pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255] });
    const over = (top, under) => [0, 1, 2].map(
        i => top[i] * top[3] + under[i] * (1 - top[3]));
    const ground = memo(e => {
        if (!e) return [255, 255, 255];
        const color = rgba(getComputedStyle(e).backgroundColor);
        if (color[3] > 0.99) return color.slice(0, 3);
        return over(color, ground(e.parentElement)) });
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = color => {
        const [r, g, b] = color.map(v => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b };
    const isSeen = memo(e => !e.closest('script, style, mjx-container')
        && e.checkVisibility({opacityProperty: true, visibilityProperty: true}));
    const contrast = memo(e => {
        const under = ground(e), text = over(rgba(getComputedStyle(e).color), under);
        const [a, b] = [light(text), light(under)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) });
    const found = new Map();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
        if (!text || !isSeen(e) || contrast(e) >= 4.5) continue;
        const kind = `${e.tagName}.${e.className}`;
        found.set(kind, `${contrast(e).toFixed(2)} ${kind}: ${text.slice(0, 40)}`);
    }
    return [...found.values()].slice(0, 10);
}""".replace("MEMO", MEMO)


@pytest.fixture(scope="module")
def window(chromium):
    "A window that keeps files in its cache, as a reader's does."
    context = chromium.new_context(
        viewport={"width": 1400, "height": 900},
        reduced_motion="reduce",
        color_scheme="light",
    )
    yield context
    context.close()


@pytest.fixture
def tab(window, site):
    """A fresh tab on the book.

    What goes wrong in it is kept: `tab.outside` (requests) and `tab.errors`.
    """
    page = window.new_page()
    page.outside, page.errors = [], []

    def note(text, is_error=True):
        if is_error:
            page.errors.append(text)

    def note_request(request):
        if not request.url.startswith((site, "data:", "blob:")):
            page.outside.append(request.url)

    def note_response(response):
        note(f"{response.status} {response.url}", response.status >= 400)

    page.on("request", note_request)
    page.on("console", lambda message: note(message.text, message.type == "error"))
    page.on("pageerror", lambda error: note(str(error)))
    page.on("response", note_response)
    yield page
    page.evaluate("localStorage.clear()")
    page.close()


STILL = """*, ::before, ::after {
    transition: none !important;
    animation: none !important;
}"""

# Pictures that are to be seen, and hold nothing.
EMPTY = """async () => {
    const images = [...document.images];
    images.forEach(i => i.loading = 'eager');
    await Promise.allSettled(images.map(i => i.decode()));
    const empty = images.filter(i => !i.naturalWidth && i.checkVisibility());
    return empty.map(i => i.src);
}"""

# What lies over and behind outputs. A plot is turned into ink on a dark page.
FILTERS = """() => {
    const outputs = 'article :is(img:not(.plot), .cell_output, .output)';
    return [...document.querySelectorAll(outputs)].map(e => {
        const style = getComputedStyle(e);
        return [style.filter, style.backgroundColor].join(' ');
    });
}"""


def open_folds(tab, number):
    """Open what is folded in the exercises of a chapter with the keyboard.

    All is closed at first, and has a name of its own.
    """
    folds = tab.locator("#things-to-try details:not(details details)")
    summaries = folds.locator("> summary")
    labels = [label.strip() for label in summaries.all_inner_texts()]
    assert len(labels) >= 4 and len(set(labels)) == len(labels)
    kinds = {re.sub(rf"{number}\.[a-z]|\d", "", label).strip() for label in labels}
    assert kinds >= {"Hint  for", "Solution of"}
    for i in range(len(labels)):
        fold = folds.nth(i)
        summary = summaries.nth(i)
        assert summary.get_attribute("aria-label") is None
        assert fold.get_attribute("open") is None
        summary.focus()
        tab.keyboard.press("Enter")
        assert fold.get_attribute("open") is not None


# The pages that `make test` looks at: each kind of page once.
QUICK = "index", "nbs/10_transfer", "nbs/cli", "book/reference/cli"


@pytest.mark.parametrize("name", long_but(QUICK, PAGES))
def test_page(tab, site, name):
    tab.goto(f"{site}{name}.html", wait_until="load")
    tab.add_style_tag(content=STILL)
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")
    tab.evaluate(UNFOLD, True)
    assert not tab.evaluate(EMPTY), "images that show nothing"
    assert not tab.evaluate(SCROLLING), "wider than the column"
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert not tab.evaluate(STRETCHED), f"pictures out of shape at {width} px"
        for theme in THEMES:
            tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            for is_open in False, True:
                tab.evaluate(UNFOLD, is_open)
                wide, faint = tab.evaluate(OVERFLOW), tab.evaluate(FAINT)
                assert not wide, f"{width} px, {theme}"
                assert not faint, f"too little contrast at {width} px, {theme}"
            # Of each kind of page axe sees one in both themes. Its contrasts are slow,
            # and FAINT asks for more.
            if width != PHONE and name in QUICK:
                assert not barriers(tab, theme), theme
            elif width != PHONE and theme == "light":
                assert not barriers_but_contrast(tab)
    # On a phone, in the dark.
    assert set(tab.evaluate(FILTERS)) <= {"none rgba(0, 0, 0, 0)"}, (
        "a white box behind a transparent figure, or a filter over a photograph"
    )
    tab.evaluate(UNFOLD, False)
    if name in CHAPTERS:
        open_folds(tab, Path(name).name[:2])
        assert not tab.evaluate(OVERFLOW), "an open hint or solution is too wide"
    assert not tab.outside, "a page calls other hosts"
    assert not tab.errors


@pytest.mark.parametrize("name", long_but(QUICK, CHAPTERS))
def test_search_finds_the_chapter(tab, site, book, name):
    html = (book / f"{name}.html").read_text("utf-8")
    title = BeautifulSoup(html, "html.parser").h1.get_text().rstrip("#")
    word = max(title.split()[1:], key=len).strip(",.:")
    tab.goto(f"{site}search.html?q={word}")
    result = tab.locator(f'#search-results a[href*="{Path(name).name}.html"]')
    result.first.wait_for(timeout=10_000)
    assert not tab.outside and not tab.errors


def test_search_from_any_page(tab, site):
    tab.goto(f"{site}{CHAPTERS[0]}.html")
    tab.keyboard.press("Control+k")
    tab.locator("#pst-search-dialog input").fill("BREEDS")
    assert not barriers(tab)
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=BREEDS*", wait_until="commit")
    tab.locator("#search-results li a").first.wait_for()
    tab.add_style_tag(content=STILL)
    for theme in THEMES:
        tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert not tab.evaluate(FAINT) and not barriers(tab, theme), theme
    assert not tab.outside and not tab.errors


@pytest.mark.parametrize("opened", ["served", "as a file"])
def test_search_finds_a_section_by_its_heading(tab, site, book, opened):
    name = CHAPTERS[1]
    page = BeautifulSoup((book / f"{name}.html").read_text("utf-8"), "html.parser")
    section = page.article.select("section > section")[1]
    heading = section.h2.get_text().rstrip("#")
    address = site if opened == "served" else f"{book.as_uri()}/"
    tab.goto(f"{address}search.html?q={quote(heading.upper())}")
    link = tab.locator("#search-results li a").first
    assert link.inner_text().endswith(f" › {heading}")
    assert re.match(r"Found: \d+ section", tab.locator("#search-count").inner_text())
    link.click()
    # The page takes the words it marks out of its address.
    place = re.compile(rf"{name}\.html(\?.*)?#{section['id']}$")
    tab.wait_for_url(place, wait_until="commit")
    assert all(url.startswith("file:") for url in tab.outside)
    assert not tab.errors


def test_search_shows_words_in_their_sentence(tab, site):
    tab.goto(f"{site}search.html?q=photographs")
    excerpt = tab.locator("#search-results .excerpt:has(mark)").first
    assert excerpt.locator("mark").first.inner_text().lower() == "photographs"
    text = excerpt.inner_text().strip("… ")
    assert tab.evaluate("t => flat(PAGES).some(s => s.text.includes(t))", text)


SECTIONS = {
    "모델 학습하기": "",
    "Café": "A crème brûlée.",
    "Learn": "Only the head, frozen",
}
ASKED = {
    "학습": "모델 학습하기",
    "CAFE": "Café",
    "brûlée crème": "Café",
    "brulee": "Café",
    "learned": "Learn",
    "how to learning": "Learn",
    "head of a unicorn": "Learn",
    "unicorn": None,
}


@pytest.mark.parametrize("question, heading", ASKED.items())
def test_search_in_other_letters_and_forms(tab, site, question, heading):
    tab.goto(f"{site}search.html")
    sections = [dict(heading=h, id="", text=t) for h, t in SECTIONS.items()]
    pages = [dict(title="Page", url="page.html", sections=sections)]
    find = "([pages, asked]) => find(flat(pages), split(asked))[0]?.section.heading"
    assert tab.evaluate(find, [pages, question]) == heading


# Entries of the reference, headings and prose, from the worst place to the best one.
ENTRIES = [
    ("predict is a word of this text, predict", "far", "predict, and predict"),
    ("How to predict", "how-to-predict", "predict"),
    ("predict", "predict", "predict"),
    ("Model.predict_all", "lib.core.Model.predict_all", "predict"),
    ("Model.predict", "lib.core.Model.predict", "Names the classes."),
]
NAMES = "predict", "Predict", "predict()", "Model.predict", "lib.core.Model.predict"


@pytest.mark.parametrize("question", NAMES)
def test_search_finds_a_name_first(tab, site, question):
    tab.goto(f"{site}search.html")
    sections = [dict(heading=h, id=i, text=t) for h, i, t in ENTRIES]
    pages = [dict(title="Page", url="page.html", sections=sections)]
    find = "([pages, asked]) => find(flat(pages), split(asked))[0].section.id"
    assert tab.evaluate(find, [pages, question]) == "lib.core.Model.predict"


def test_search_finds_headings_before_text(tab, site):
    tab.goto(f"{site}search.html")
    text = "To freeze, freeze the frozen body. " * 9
    sections = [
        dict(heading="Train", id="train", text=f"Freeze the body. {text}"),
        dict(heading="How freezing goes", id="how", text=""),
    ]
    pages = [dict(title="Freeze the body", url="", sections=sections[:1])]
    pages.append(dict(title="Page", url="", sections=sections[1:]))
    find = "([pages, asked]) => find(flat(pages), split(asked)).map(f => f.section.id)"
    assert tab.evaluate(find, [pages, "freeze"]) == ["how", "train"]


def test_search_finds_a_function_before_methods_of_its_name(tab, site):
    tab.goto(f"{site}search.html?q=train")
    first, second = tab.locator("#search-results li a").all_inner_texts()[:2]
    assert first.endswith(" › train") and second.endswith(".train")


def test_search_leads_to_the_api_first(tab, site):
    tab.goto(f"{site}search.html?q=predict")
    links = tab.locator("#search-results li a")
    assert links.first.inner_text().endswith("Model.predict")
    names = [text.rpartition(" › ")[2] for text in links.all_inner_texts()]
    are_names = [name.split(".")[-1] == "predict" for name in names]
    assert are_names == sorted(are_names, reverse=True)


def test_search_shows_no_formula_as_its_source(tab, site):
    tab.goto(f"{site}search.html")
    texts = tab.evaluate("flat(PAGES).flatMap(s => [s.heading, s.title, s.text])")
    assert any("…" in text for text in texts)
    assert not [text for text in texts if re.search(r"…\.(?!\.)", text)]
    tex = re.compile(
        r"\\(frac|sum|log|text|mathbf|hat|sqrt|cdot|times|in|le|ge)\b|_{|\^{"
    )
    assert not [text for text in texts if tex.search(text)]


# Whether the keyboard reaches all code and tables that are wider than their boxes.
REACHED = """() => {
    const boxes = [...document.querySelectorAll('article :is(pre, .cell_output)')];
    return boxes.every(e => e.scrollWidth <= e.clientWidth || e.tabIndex === 0) }"""


def test_everything_opens_by_keyboard(tab, site):
    "On a phone: folds, both sidebars, the search, and the modes of color."
    tab.set_viewport_size({"width": PHONE, "height": 900})
    tab.goto(f"{site}{CHAPTERS[0]}.html")
    tab.add_style_tag(content=STILL)
    folds = tab.locator("article details").all()
    assert folds
    for fold in folds:
        fold.locator("> summary").focus()
        tab.keyboard.press("Enter")
        assert fold.get_attribute("open") is not None
    tab.wait_for_function(REACHED)
    assert not barriers(tab)
    for side in "primary", "secondary":
        tab.locator(f"button.{side}-toggle").focus()
        tab.keyboard.press("Enter")
        tab.locator(f"#pst-{side}-sidebar-modal[open] a").first.wait_for()
        assert not barriers(tab)
        tab.keyboard.press("Escape")
        tab.locator(f"#pst-{side}-sidebar-modal").wait_for(state="hidden")
    tab.locator(".bd-header-article .theme-switch-button").focus()
    mode = tab.evaluate("document.documentElement.dataset.mode")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.documentElement.dataset.mode") != mode
    tab.locator(".bd-header-article .search-button").focus()
    tab.keyboard.press("Enter")
    tab.locator("#pst-search-dialog[open] input:focus").wait_for()


def test_theme_button(tab, site):
    "The button goes through its modes, changes the page, and the choice lasts."
    look = """() => { const {mode, theme} = document.documentElement.dataset;
        return [mode, [theme, getComputedStyle(document.body).backgroundColor]] }"""
    button = tab.locator(".bd-header-article .theme-switch-button")
    tab.goto(f"{site}index.html")
    seen = {}
    for _ in range(3):
        button.click()
        mode, seen[mode] = tab.evaluate(look)
    assert seen.keys() == {"light", "dark", "auto"}
    assert seen["dark"][0] == "dark" and seen["auto"] == seen["light"]
    assert seen["light"][1] != seen["dark"][1]
    while tab.evaluate(look)[0] != "dark":
        button.click()
    tab.goto(f"{site}{CHAPTERS[0]}.html")
    assert tab.evaluate(look) == ["dark", seen["dark"]]


def test_keyboard_opens_folded_code(tab, site, book):
    pages = {name: (book / f"{name}.html").read_text("utf-8") for name in CHAPTERS}
    folding = [name for name, html in pages.items() if "<details" in html]
    if not folding:
        pytest.skip("no chapter folds a cell")
    tab.goto(f"{site}{folding[0]}.html")
    tab.locator("article a, article button, article summary").first.focus()
    for _ in range(200):
        if tab.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
        tab.keyboard.press("Tab")
    code = tab.locator("article details:has(summary:focus)")
    assert not code.locator("pre").is_visible()
    tab.keyboard.press("Enter")
    code = tab.locator("article details[open]")
    assert code.locator("pre").is_visible()


def test_narrow_window_opens_the_table_of_contents(tab, site):
    tab.set_viewport_size({"width": 390, "height": 900})
    tab.goto(f"{site}{CHAPTERS[0]}.html")
    link = tab.locator(f'nav.bd-links a[href="{Path(CHAPTERS[1]).name}.html"]')
    assert not link.is_visible()
    tab.locator("button.primary-toggle").click()
    link.click()
    tab.wait_for_url(f"**/{Path(CHAPTERS[1]).name}.html")


def test_lost_reader_finds_the_book(tab, site):
    """An address deep in the book that names no page.

    The page that comes has its look, and its links lead back.
    """
    tab.goto(f"{site}nbs/no/such/page.html")
    assert tab.locator("article h1").inner_text() == "No page here"
    for error in tab.errors:
        assert "no/such/page" in error or "Failed to load resource" in error
    assert not tab.outside
    tab.locator("article a").first.click()
    tab.wait_for_url(f"{site}index.html")
    tab.goto(f"{site}nbs/no/such/page.html")
    skip = tab.locator("a.skip-link, #pst-skip-link a").first.get_attribute("href")
    assert skip.endswith("/nbs/no/such/page.html#main-content"), skip


def test_page_of_a_lost_reader_opened_as_a_file(tab, book):
    "From a folder, too, it has its look, and its links lead to pages."
    tab.goto((book / "404.html").as_uri())
    sidebar = tab.locator(".bd-sidebar-primary")
    ground = "e => getComputedStyle(document.body).backgroundColor"
    assert tab.evaluate(ground) == "rgb(255, 253, 249)", "the style of the book"
    assert sidebar.is_visible() and not tab.evaluate(EMPTY)
    scripts = "[...document.scripts].map(s => s.src).filter(s => s)"
    for script in tab.evaluate(scripts):
        assert script.startswith(f"{book.as_uri()}/"), script
    tab.locator(".bd-header-article .theme-switch-button").click()
    assert tab.evaluate("document.documentElement.dataset.mode") != "auto"
    # The browser looks ahead, and asks for files before the page has said where it is.
    ahead = "Failed to load resource: net::ERR_FILE_NOT_FOUND"
    assert set(tab.errors) <= {ahead}
    links = tab.locator("nav.bd-links a").evaluate_all("all => all.map(a => a.href)")
    assert len(links) > len(CHAPTERS)
    for link in links:
        assert (book / link.removeprefix(f"{book.as_uri()}/")).is_file(), link
    tab.locator("article a").first.click()
    tab.wait_for_url((book / "index.html").as_uri())
