"""What the tests of the book share.

Which pages it has, how it is built, and how it is served.
"""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from wheelhouse import ROOT

sys.path.insert(0, str(ROOT))
from book.identity import identity

ME = identity(ROOT)
PREFIX = ME.prefix  # where GitHub Pages serves the book


def toc_pages(root=ROOT):
    "The pages of the table of contents, in order, as `nbs/00_sample`."
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]]
    for part in toc["parts"]:
        pages += [chapter["file"] for chapter in part["chapters"]]
    return pages


CHAPTERS = [page for page in toc_pages() if re.match(r"nbs/\d\d_", page)]
PAGES = [*toc_pages(), "search", "404"]


@functools.cache
def soup(path):
    "A built page, parsed."
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def build(source, out, *flags, **env):
    "Build the book; returns what the command printed and its exit status."
    tool = Path(sys.executable).with_name("jupyter-book")
    command = [tool, "build", source, "--path-output", out, "--all", "-q", *flags]
    env = {**os.environ, "NO_COLOR": "1", **env}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    return done.stdout + done.stderr, done.returncode


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves the book as GitHub Pages does.

    Under its prefix, and 404.html for what is not there.
    """

    protocol_version = "HTTP/1.1"  # one connection for many files

    def log_message(self, *args):
        pass

    def copyfile(self, source, out):
        with suppress(ConnectionError):
            super().copyfile(source, out)  # the browser went on to another page

    def translate_path(self, path):
        if not path.startswith(PREFIX):
            return os.devnull + "/outside"
        return super().translate_path(path.removeprefix(PREFIX))

    def end_headers(self):
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()

    def send_error(self, code, message=None, explain=None):
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(folder):
    "The address of the served book, with its prefix and a slash at the end."
    pages = functools.partial(Pages, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    server.shutdown()
