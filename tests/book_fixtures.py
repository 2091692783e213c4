"""The built book and a browser, once for all tests of them: `pytest_plugins = ["book_fixtures"]` brings them."""

import json
import os
import shutil

import pytest
from book_site import ROOT, build, served
from filelock import FileLock


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    "The folder of the strictly built book. It is built once, however many workers pytest-xdist starts."
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    result = shared / "book.json"
    with FileLock(shared / "book.lock"):
        if not result.exists():
            result.write_text(
                json.dumps(build(ROOT, shared / "book", "-W", "--keep-going"))
            )
    said, status = json.loads(result.read_text())
    assert status == 0, f"the strict build of the book failed:\n{said}"
    return shared / "book" / "_build" / "html"


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
    path = next(
        filter(
            None,
            map(
                shutil.which,
                ("chromium", "chromium-browser", "google-chrome", "chrome"),
            ),
        ),
        None,
    )
    if not path:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    flags = """--no-sandbox --disable-gpu --disable-quic --no-first-run
               --disable-background-networking --disable-component-update --disable-sync"""
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags.split())
        yield browser
        browser.close()
