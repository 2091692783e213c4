import os
import signal

import pytest
from hypothesis import settings
from wheelhouse import build_wheel, link_dependencies

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # one core a worker, and a core for what it starts
    os.environ["OMP_NUM_THREADS"] = "1"

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # of a job in the background; programs that the tests stop with Ctrl-C would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    "The wheel of the working tree, or the one that the variable WHEEL names."
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def links(tmp_path_factory):
    "A folder through which an environment sees all that is installed here, but for `tutorial_lib`."
    return link_dependencies(tmp_path_factory.mktemp("links") / "site")


def pytest_collection_modifyitems(items):
    "The long tests come first for each of two workers, so that at the end none waits for the other."
    long, others = [], []
    for item in items:
        (
            long if item.path.name in ("test_chapters.py", "test_kill.py") else others
        ).append(item)
    m = len(items) // 2 - len(long[::2])
    items[:] = [*long[::2], *others[:m], *long[1::2], *others[m:]]
