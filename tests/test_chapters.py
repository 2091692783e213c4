"""Every chapter as Colab meets it, on the drawn set and with no network.

An empty folder, the wheel alone, `google.colab` present. That the first cell installs
the package is tried once, with all first cells that there are. The others then run
where it is installed, in forks of one process (see zygote.py).
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from cases import long_but
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from wheelhouse import ROOT, make_colab, make_repository, offline, run
from zygote import zygote

sys.path.insert(0, str(ROOT))
from book.identity import identity
from book.install import SET_UP
from book.practice import practice

ME = identity(ROOT, env={})

CHAPTERS = sorted((ROOT / "nbs").glob("*.ipynb"))
PRACTICE = sorted((ROOT / "practice").glob("*.ipynb"))
ALL = CHAPTERS + PRACTICE
QUICK = [ROOT / "practice" / "04_modules.ipynb"]  # what `make test` runs of them
SECONDS = 120  # for one cell
# Where the package is installed, %pip says what it was asked, and asks nobody.
STARTUP = """
from IPython.core.magic import register_line_magic

@register_line_magic
def pip(line):
    print("pip", line)
"""


def is_code(cell):
    return cell.cell_type == "code"


def has_cells_of_tests(path):
    "Whether a room of the ground floor has cells that are not exported."
    exported = "#| export", "#| default_exp"
    cells = filter(is_code, nbformat.read(path, 4).cells)
    return any(not cell.source.startswith(exported) for cell in cells)


ROOMS = sorted(filter(has_cells_of_tests, (ROOT / "nbs" / "core").glob("*.ipynb")))


def first_code(nb):
    return next(filter(is_code, nb.cells))


def printed(cell):
    return "".join(o["text"] for o in cell.outputs if o.output_type == "stream")


@pytest.fixture(scope="session")
def installed(once, wheel, links):
    "A Python as on Colab, where the wheel is installed."

    def make(folder):
        python = make_colab(folder / "venv", links)
        run(python, "-m", "pip", "install", "-q", "tutorial_lib", env=offline(wheel))
        startup = folder / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "pip.py").write_text(STARTUP)
        return str(python)

    return Path(once("installed", make))


@pytest.fixture(scope="session")
def forks(installed, wheel):
    "The command that forks a kernel of that Python."
    with zygote(installed, offline(wheel)) as command:
        yield command


@pytest.fixture(scope="session")
def drawn(once, installed, wheel):
    """A folder for fastai's data with the two drawn sets that most chapters load.

    To draw them takes seconds, so each chapter begins with a copy.
    """

    def make(folder):
        program = "from tutorial_lib.data import load; load('pets'); load('cifar10')"
        env = {"TUTORIAL_DATA": "sample", "FASTAI_HOME": str(folder)}
        run(installed, "-W", "ignore", "-c", program, env=offline(wheel) | env)
        return str(folder)

    return once("drawn", make)


@pytest.fixture
def env(tmp_path, wheel):
    "The variables to run a notebook with."
    # Sockets need short paths, so that `tmp_path` is no place for temporary files.
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        yield offline(wheel) | {
            "TUTORIAL_DATA": "sample",
            "TUTORIAL_CHECK": "raise",
            "FASTAI_HOME": str(tmp_path / "fastai"),
            "TORCH_HOME": str(tmp_path / "torch"),
            "OFFLINE_LOG": str(tmp_path / "asked.txt"),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "TMPDIR": temporary,
        }


class OneKernel(KernelSpecManager):
    "Offers one kernel, by the command that starts it."

    def __init__(self, command):
        super().__init__()
        self.command = list(map(str, command))

    def get_kernel_spec(self, kernel_name):
        return KernelSpec(argv=self.command, language="python")


@pytest.fixture
def play(tmp_path, env):
    "Run a notebook to its end, in a folder that holds nothing else."
    folder, asked = tmp_path / "content", tmp_path / "asked.txt"
    folder.mkdir()

    def run_it(nb, command):
        km = AsyncKernelManager(
            kernel_name="colab", kernel_spec_manager=OneKernel(command)
        )
        where = {"metadata": {"path": str(folder)}}
        client = NotebookClient(nb, km=km, timeout=SECONDS, resources=where)
        # cleanup_kc: else each kernel would live until the tests end
        client.execute(cleanup_kc=True, env=env)
        assert not asked.exists(), f"it asked for the network: {asked.read_text()}"

    return run_it


@pytest.fixture
def play_installed(play, env, installed, forks, drawn):
    "Run a notebook where the package is installed; its checks' outputs, as text."
    env["IPYTHONDIR"] = str(installed.parents[2] / "ipython")
    shutil.copytree(drawn, env["FASTAI_HOME"])

    def run_it(nb):
        play(nb, forks)
        first = first_code(nb)
        asked = re.findall("%(pip .*)", first.source)
        assert printed(first).splitlines() == asked
        return [
            output["data"]["text/plain"]
            for cell in filter(is_code, nb.cells)
            if cell.source.startswith("check(")
            for output in cell.outputs
            if output.output_type == "execute_result"
        ]

    return run_it


def test_first_cell_installs_the_package(tmp_path, links, play, env):
    """All first cells that there are, one after the other, in a Python without it.

    For git, a copy of the sources stands at the address of the repository.
    """
    if not shutil.which("git"):
        pytest.skip("there is no git on this machine")
    python = make_colab(tmp_path / "venv", links)
    env |= make_repository(tmp_path / "repository", ME.repo_url)
    sources = {first_code(nbformat.read(path, 4)).source for path in ALL}
    where = "import tutorial_lib\n\nprint(tutorial_lib.__file__)"
    nb = new_notebook(
        cells=[new_code_cell(source) for source in [*sorted(sources), where]]
    )
    play(nb, [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    assert str(tmp_path / "venv") in printed(nb.cells[-1])


@pytest.mark.parametrize("path", ALL, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_first_cell_does_nothing_elsewhere(path):
    first = first_code(nbformat.read(path, 4))
    library = SET_UP.fullmatch(first.source)["library"]
    assert library == ME.install, "run `.venv/bin/python book/install.py`"
    assert "google.colab" not in sys.modules and not first.outputs


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs_as_on_colab(path, play_installed):
    play_installed(nbformat.read(path, 4))


def test_rooms_of_the_ground_floor_run(play, forks):
    "In one kernel, one after the other, each in a namespace of its own."
    cells = []
    for path in ROOMS:
        sources = (c.source for c in nbformat.read(path, 4).cells if is_code(c))
        cells += [f"# core/{path.name}\n%reset -f", *sources]
    play(new_notebook(cells=list(map(new_code_cell, cells))), forks)


@pytest.mark.parametrize("path", long_but(QUICK, PRACTICE), ids=lambda p: p.stem)
def test_practice_runs_unsolved_and_then_solved(path, play_installed, env):
    del env["TUTORIAL_CHECK"]
    both = nbformat.read(path, 4)
    solved = practice(ROOT / "nbs" / path.name, solved=True)
    for i, cell in enumerate(solved.cells):
        cell["id"] = f"solved-{i}"
    both.cells += solved.cells
    verdicts = play_installed(both)
    n = len(verdicts) // 2
    assert len(verdicts) in (4, 6, 8), verdicts
    unsolved = re.compile(r"… \d\d\.[a-z] is not written yet: ")
    assert all(unsolved.match(v) for v in verdicts[:n]), verdicts
    assert all(v.startswith("✓") for v in verdicts[n:]), verdicts


def test_network_is_blocked(installed, env, tmp_path):
    program = "import urllib.request as r; r.urlopen('http://example.org')"
    done = subprocess.run(
        [installed, "-c", program], env=env, capture_output=True, text=True
    )
    assert done.returncode and "the network is blocked here" in done.stderr
    assert "example.org" in (tmp_path / "asked.txt").read_text()
