import json
import os
import shutil
import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from wheelhouse import build_wheel, link_dependencies

pytest_plugins = ["book_fixtures"]

DURATIONS = Path(__file__).with_name("durations.json")
LONG = 10  # seconds from which a test is placed by itself, and a file with care

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One core a worker, and a core for what it starts.
    os.environ["OMP_NUM_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # This is a job in the background. Programs that the tests stop with Ctrl-C would
    # ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_graphs(tmp_path_factory):
    "Frozen networks are kept in a folder of the tests, not in that of the user."
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    os.environ["TUTORIAL_CACHE"] = str(shared / "graphs")


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


def pytest_addoption(parser):
    parser.addoption(
        "--record-durations",
        action="store_true",
        help="write how long the tests took into tests/durations.json",
    )


def pytest_configure(config):
    is_worker = hasattr(config, "workerinput")
    if config.getoption("--record-durations") and not is_worker:
        config.pluginmanager.register(Recorder(config.option.markexpr))


class Recorder:
    """Writes durations.json: seconds of each file, and of each very long test in it.

    `selection` is what -m says: the quick tests of a file and its long ones take
    different times.
    """

    def __init__(self, selection):
        self.selection, self.files, self.tests = selection, Counter(), Counter()

    def pytest_runtest_logreport(self, report):
        file = report.nodeid.partition("::")[0]
        self.files[file] += report.duration
        if report.when == "call" and report.duration >= LONG:
            self.tests[report.nodeid] = report.duration
            self.files[file] -= report.duration

    def pytest_sessionfinish(self):
        found = {
            name: round(seconds)
            for name, seconds in sorted((self.files + self.tests).items())
            if seconds >= 1
        }
        durations = read_durations() | {self.selection: found}
        DURATIONS.write_text(json.dumps(durations, indent=1, sort_keys=True) + "\n")


def read_durations():
    return json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}


def known_seconds(selection):
    "What the selection took, or where it is another, what all of them took."
    durations = read_durations()
    if selection in durations:
        return durations[selection]
    return sum(map(Counter, durations.values()), Counter())


def pytest_collection_modifyitems(config, items):
    """Two workers end at about the same time, and what waits for the book comes last.

    pytest-xdist gives the first half of the tests to one worker, the other half to the
    other; who is done takes tests from the end of the other's. So each half begins with
    what takes longest. A file stays together, but for its tests that take as long as
    a file. The files that take no time fill the halves up to the same number of tests.
    """
    seconds = known_seconds(config.option.markexpr)
    units = defaultdict(list)
    for item in items:
        file = item.nodeid.partition("::")[0]
        name = item.nodeid if item.nodeid in seconds else file
        units[name, "book" in item.fixturenames].append(item)

    first, last, total = ([], []), ([], []), [0, 0]
    quick = []
    for (name, needs_book), tests in sorted(
        units.items(), key=lambda unit: -seconds.get(unit[0][0], 0)
    ):
        lighter = total.index(min(total))
        if needs_book:
            last[lighter].extend(tests)
        elif seconds.get(name, 0) >= LONG:
            first[lighter].extend(tests)
        else:
            quick.extend(tests)
            continue
        total[lighter] += seconds.get(name, 0)
    n = max(0, len(items) // 2 - len(first[0]) - len(last[0]))
    items[:] = [*first[0], *quick[:n], *last[0], *first[1], *quick[n:], *last[1]]
