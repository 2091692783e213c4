"""The built book and a browser, once for all tests of them; conftest.py brings them."""

import shutil
from pathlib import Path
from threading import Thread

import pytest
from book_site import ROOT, build, served


def build_strictly(folder):
    "Build the book there: what the command printed, its exit status and the pages."
    said, status = build(ROOT, folder, "-W", "--keep-going")
    return said, status, str(folder / "_build" / "html")


@pytest.fixture(scope="session", autouse=True)
def book_begins(request, once):
    "Builds the book while the first tests run, if one of the tests needs it."
    if any("book" in item.fixturenames for item in request.session.items):
        Thread(target=once, args=("book", build_strictly)).start()


@pytest.fixture(scope="session")
def book(once):
    "The folder of the strictly built book."
    said, status, pages = once("book", build_strictly)
    assert status == 0, f"the strict build of the book failed:\n{said}"
    return Path(pages)


@pytest.fixture(scope="session")
def site(book):
    "The address of the served book."
    with served(book) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    "A real Chromium, or the test is skipped and says so."
    driver = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    names = "chromium", "chromium-browser", "google-chrome", "chrome"
    found = [path for path in map(shutil.which, names) if path]
    if not found:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    flags = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
               --disable-background-networking --disable-component-update"""
    no_network = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    args = [*flags.split(), no_network]
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=args)
        yield browser
        browser.close()
