"""The notebooks are the source.

Exporting and cleaning them again changes nothing, their outputs are up to date, every
supported Python reads the code, and ruff finds nothing.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from wheelhouse import ROOT

sys.path.insert(0, str(ROOT))
from book import outputs
from book.install import written_anew

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # Python 3.10

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
VERSIONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
FOLDERS = ["tutorial_lib", "tests", "benchmarks", "book", "nbs", "practice"]


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    "A copy of the sources after `nbdev-export` and `nbdev-clean`."
    copy = tmp_path_factory.mktemp("again")
    for folder in ("nbs", "tutorial_lib"):
        shutil.copytree(
            ROOT / folder,
            copy / folder,
            ignore=shutil.ignore_patterns("__pycache__", ".*"),
        )
    for file in ("pyproject.toml", "README.md", "settings.ini"):
        shutil.copy(ROOT / file, copy)
    for command in ("nbdev-export", "nbdev-clean"):
        subprocess.run([Path(sys.executable).with_name(command)], cwd=copy, check=True)
    return copy


def texts(folder):
    "The modules and notebooks in a folder, also in its sub-folders: path -> text."
    return {
        p.relative_to(folder): p.read_text(encoding="utf-8")
        for p in folder.rglob("*")
        if p.suffix in (".py", ".ipynb") and "checkpoints" not in p.parent.name
    }


@pytest.mark.parametrize(
    "folder, how", [("tutorial_lib", "nbdev-export"), ("nbs", "nbdev-clean")]
)
def test_again_is_the_same(again, folder, how):
    here, there = (texts(root / folder) for root in (ROOT, again))
    assert here.keys() == there.keys()
    changed = [str(p) for p in here if here[p] != there[p]]
    assert not changed, f"{changed} differ from what the notebooks give: run {how}"


# Chapters that wait for `make outputs`, with the hash of their code: their pages say of
# which day their outputs are. Any further change makes the test fail.
WAITING = {}


@pytest.mark.parametrize("path", outputs.chapters(), ids=lambda p: p.stem)
def test_stamp_is_fresh(path):
    is_stale, is_waiting = outputs.is_stale(path), path.stem in WAITING
    if is_stale and WAITING.get(path.stem) == outputs.fingerprint(path):
        pytest.skip(f"{path.name} waits for `make outputs`")
    old = f"{path.name} shows outputs of older code: run `make outputs`"
    assert not is_stale, old
    assert not is_waiting, f"{path.name} is fresh: take it out of WAITING"
    stamp = nbformat.read(path, 4).metadata.stamp
    assert set(stamp) == {"hash", "versions", "device", "data", "date", "minutes"}
    told = re.search(r"(\d+) core", stamp.device)
    n_cores = int(told[1]) if told else 2
    assert stamp.minutes * n_cores <= 30, "15 minutes on the real sets, on two cores"


def test_a_chapter_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["outputs.py", "--check", "16_none"])
    with pytest.raises(SystemExit):
        outputs.read_arguments()
    assert "no chapter begins with '16_none'" in capsys.readouterr().err


def test_words_do_not_make_outputs_stale():
    old = 'def f(x):\n    "Twice x."\n    return 2*x   # doubled\n'
    words = '    """Twice `x`,\n    of any dtype."""\n\n    # twice\n'
    new = f"def f(x):\n{words}    return 2*x\n"
    assert outputs.code(old) == outputs.code(new)
    assert outputs.code(old) != outputs.code(old.replace("2*x ", "3*x "))
    assert outputs.code("%pip install a") != outputs.code("%pip install b")
    assert outputs.code('s = "a # b"\n"c"') == 's = "a # b"\n"c"'
    assert outputs.code('"shown"') == '"shown"'


def test_words_and_order_of_a_module_do_not_make_outputs_stale():
    f, x = "@cache\ndef f():\n    return x\n", 'x = 1  # one\n"Two."\n'
    one = outputs.module_code(f'"What it holds."\n__all__ = ["x", "f"]\n{x}\n{f}')
    assert one == outputs.module_code(f'__all__ = ["f", "x"]\n{f}\n\n{x}')
    assert one == "@cache\ndef f():\n    return x\nx = 1"


def test_the_cell_that_installs_does_not_make_outputs_stale(tmp_path):
    "It runs on Colab alone. Any other change of code does."
    text = (ROOT / "nbs" / "02_tensors.ipynb").read_text(encoding="utf-8")
    anew = written_anew(text, SimpleNamespace(install="git+https://example.org/x"))
    other = text.replace('"import torch\\n"', '"import torch as t\\n"')
    assert text not in (anew, other)
    found = []
    for i, version in enumerate((text, anew, other)):
        path = tmp_path / f"{i}.ipynb"
        path.write_text(version, encoding="utf-8")
        found.append(outputs.fingerprint(path))
    assert found[0] == found[1] != found[2]


# ---- every supported Python reads the code

# Compiles a list of [name, source] on stdin, and prints what is wrong with each.
COMPILE = """
import json, sys, warnings
warnings.simplefilter("error", SyntaxWarning)
for name, source in json.load(sys.stdin):
    try: compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as e: print(f"{name}, line {e.lineno}: {e.msg}: {e.text}")
"""


def sources():
    "All code: [name, source] of each Python file, and of each cell of a notebook."
    found = []
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            found.append([name, path.read_text(encoding="utf-8")])
        if path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts:
            for i, cell in enumerate(nbformat.read(path, 4).cells):
                if cell.cell_type == "code":
                    found.append([f"{name}, cell {i}", outputs.python(cell.source)])
    return found


def python(version):
    "An interpreter of a version, such as 3.10; None: it is not on this machine."
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        sys.executable,
        *pyenv.glob(f"versions/{version}*/bin/python{version}"),
        *pyenv.glob(f"pyenv-win/versions/{version}*/python.exe"),
        shutil.which(f"python{version}"),
    ]
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        # pyenv puts a shim on the PATH for versions that are not in use
        command = [candidate, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.stdout.strip() == version:
            return candidate
    return None


def test_supported_versions_are_one_after_the_other():
    numbers = [int(version.partition(".")[2]) for version in VERSIONS]
    assert PROJECT["requires-python"] == f">={VERSIONS[0]}" and len(numbers) > 1
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert VERSIONS[0] in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_python_compiles_every_file(version):
    if not (interpreter := python(version)):
        pytest.skip(f"no python{version} on the PATH, and none in pyenv's folder")
    done = subprocess.run(
        [interpreter, "-I", "-c", COMPILE],
        input=json.dumps(sources()),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_oldest_grammar_reads_every_file():
    "Less than its interpreter says, but it can be said on any machine."
    oldest = tuple(map(int, VERSIONS[0].split(".")))
    for name, source in sources():
        ast.parse(source, name, feature_version=oldest)


def test_what_a_version_cannot_read_is_seen():
    if not (interpreter := python("3.10")):
        pytest.skip("there is no Python 3.10 on this machine")
    lines = [
        ["a.py", "x[*y, z]"],
        ["b.py", "f'{x[*y, z]}'"],
        ["c.py", "f'{'a'}'"],
        ["d.py", "x[(*y, z)]"],
    ]
    done = subprocess.run(
        [interpreter, "-I", "-c", COMPILE],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
    )
    assert [
        line.partition(",")[0]
        for line in done.stdout.splitlines()
        if ".py, line" in line
    ] == ["a.py", "b.py", "c.py"]


# ---- ruff, as pyproject.toml has it

LINTED = ["book", "nbs", "tests", "benchmarks", "tutorial_lib/__init__.py"]
GENERATED = ["tutorial_lib", "practice"]  # cells of notebooks, linted where they stand


def ruff(*arguments, **kwargs):
    command = [sys.executable, "-m", "ruff", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **kwargs)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", *LINTED),
        ("check", "--select", "E9,F", *GENERATED),
        ("format", "--check", *LINTED),
    ],
    ids=["lint", "names", "format"],
)
def test_ruff_finds_nothing(arguments):
    done = ruff(*arguments, "--no-cache", "--output-format", "concise")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "source, rule",
    [
        ("layer[*path, name]\n", "invalid-syntax"),
        ("print(nowhere)\n", "F821"),
        ("import os\n", "F401"),
        ("x = 1 +\n", "invalid-syntax"),
        ("x = 1; y = 2\n", "E702"),
        (f"x = {'1' * 90}\n", "E501"),
    ],
)
def test_ruff_sees_what_it_has_to(source, rule):
    name = "tests/new.py"
    done = ruff("check", "--no-cache", "--stdin-filename", name, "-", input=source)
    assert rule in done.stdout


def test_no_exceptions_are_listed():
    "A rule holds everywhere, or pyproject.toml says why it holds nowhere."
    marks = "no" + "qa", "fmt:" + " skip", "fmt:" + " off"
    for name, source in sources():
        assert not [mark for mark in marks if mark in source], name
