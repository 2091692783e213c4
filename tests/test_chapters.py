"""Every chapter as Colab meets it: an empty folder, the wheel alone, `google.colab` present; on the drawn set, with no network."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from wheelhouse import ROOT, make_venv, offline, run

sys.path.insert(0, str(ROOT))
from book.practice import practice

CHAPTERS = sorted((ROOT / "nbs").glob("*.ipynb"))
PRACTICE = sorted((ROOT / "practice").glob("*.ipynb"))
SECONDS = 120  # for one cell


@pytest.fixture
def colab(tmp_path, wheel, links):
    "A Python that has the dependencies, pip, `google.colab` and no network, and the variables to run it with."
    python = make_venv(tmp_path / "venv", links)
    site = next((tmp_path / "venv").rglob("site-packages"))
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "offline.py", site)
    (site / "stand_in.pth").write_text("import offline, google.colab\n")
    return python, offline(wheel) | {
        "TUTORIAL_DATA": "sample",
        "FASTAI_HOME": str(tmp_path / "fastai"),
        "TORCH_HOME": str(tmp_path / "torch"),
        "OFFLINE_LOG": str(tmp_path / "asked.txt"),
    }


class OneKernel(KernelSpecManager):
    "Offers one kernel: the Python at hand."

    def __init__(self, python):
        super().__init__()
        self.python = python

    def get_kernel_spec(self, kernel_name):
        return KernelSpec(
            argv=[
                str(self.python),
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
            ],
            language="python",
        )


def play(nb, colab, tmp_path):
    "Run a notebook to its end in a folder that holds nothing else; what its checks showed."
    python, env = colab
    (tmp_path / "content").mkdir()
    km = AsyncKernelManager(kernel_name="colab", kernel_spec_manager=OneKernel(python))
    client = NotebookClient(
        nb,
        km=km,
        timeout=SECONDS,
        resources={"metadata": {"path": str(tmp_path / "content")}},
    )
    client.execute(
        cleanup_kc=True, env=env
    )  # else the kernel of each chapter would live until the tests end
    asked = tmp_path / "asked.txt"
    assert not asked.exists(), f"it asked for the network: {asked.read_text()}"
    where = run(
        python,
        "-c",
        "import tutorial_lib; print(tutorial_lib.__file__)",
        env=env,
        cwd=tmp_path,
    )
    assert str(tmp_path / "venv") in where, "its first cell did not install the package"
    checks = [
        c for c in nb.cells if c.cell_type == "code" and c.source.startswith("check(")
    ]
    return [
        o["data"]["text/plain"]
        for c in checks
        for o in c.outputs
        if o.output_type == "execute_result"
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs_as_on_colab(path, colab, tmp_path):
    colab[1]["TUTORIAL_CHECK"] = "raise"
    play(nbformat.read(path, 4), colab, tmp_path)


@pytest.mark.parametrize("path", PRACTICE, ids=lambda p: p.stem)
def test_practice_runs_unsolved_and_then_solved(path, colab, tmp_path):
    both, solved = (
        nbformat.read(path, 4),
        practice(ROOT / "nbs" / path.name, solved=True),
    )
    for i, cell in enumerate(solved.cells):
        cell["id"] = f"solved-{i}"
    both.cells += solved.cells
    verdicts = play(both, colab, tmp_path)
    n = len(verdicts) // 2
    assert len(verdicts) in (4, 6, 8) and all(
        re.match(r"… \d\d\.[a-z]\n  Not answered yet", v) for v in verdicts[:n]
    ), verdicts
    assert all(v.startswith("✓") for v in verdicts[n:]), verdicts


def test_network_is_blocked(colab, tmp_path):
    python, env = colab
    program = "import urllib.request as r; r.urlopen('http://example.org')"
    done = subprocess.run(
        [python, "-c", program], env=env, capture_output=True, text=True
    )
    assert done.returncode and "the network is blocked here" in done.stderr
    assert "example.org" in (tmp_path / "asked.txt").read_text()


@pytest.mark.parametrize(
    "path", CHAPTERS + PRACTICE, ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_first_cell_does_nothing_elsewhere(path):
    first = next(c for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    assert re.match(
        r"import sys\n\nif \"google\.colab\" in sys\.modules:\n    %pip install -q tutorial_lib\b.*$",
        first.source,
    )
    assert "google.colab" not in sys.modules and not first.outputs
