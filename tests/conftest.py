import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from wheelhouse import build_wheel, link_dependencies

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One core a worker, and a core for what it starts.
    os.environ["OMP_NUM_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # This is a job in the background. Programs that the tests stop with Ctrl-C would
    # ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)` is what `make(folder)` answers, as JSON gives it back.

    It is made in a new folder of that name, once for all workers of pytest-xdist.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def get(name, make):
        folder, answer = shared / name, shared / f"{name}.json"
        with FileLock(shared / f"{name}.lock"):
            if not answer.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                answer.write_text(json.dumps(make(folder)))
        return json.loads(answer.read_text())

    return get


@pytest.fixture(scope="session")
def wheel(once):
    "The wheel of the working tree, or the one that the variable WHEEL names."
    return Path(once("wheel", lambda folder: str(build_wheel(folder))))


@pytest.fixture(scope="session")
def links(once):
    """A folder through which an environment sees what is installed here.

    `tutorial_lib` is left out.
    """
    return Path(once("links", lambda folder: str(link_dependencies(folder / "site"))))


def pytest_collection_modifyitems(items):
    "The long tests come first for each of two workers, so that at the end none waits for the other."
    long, others = [], []
    for item in items:
        (
            long if item.path.name in ("test_chapters.py", "test_kill.py") else others
        ).append(item)
    m = len(items) // 2 - len(long[::2])
    items[:] = [*long[::2], *others[:m], *long[1::2], *others[m:]]
