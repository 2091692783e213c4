"""The notebooks are the source: exporting and cleaning them again changes nothing, their outputs are up to date, and every supported Python reads the code."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import outputs  # noqa: E402

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # Python 3.10
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
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


# Chapters that wait for `make outputs`, with the hash of their code: their pages say of which day their outputs are. Any further change makes the test fail.
WAITING = {"06_densenet": "1a4667f04a158793", "10_transfer": "4e0167e221783c83"}


@pytest.mark.parametrize("path", outputs.chapters(), ids=lambda p: p.stem)
def test_stamp_is_fresh(path):
    if outputs.is_stale(path) and WAITING.get(path.stem) == outputs.fingerprint(path):
        pytest.skip(
            f"{path.name} shows outputs of older code, and waits for `make outputs`"
        )
    assert not outputs.is_stale(path), (
        f"{path.name} shows outputs of older code: run `make outputs`"
    )
    stamp = nbformat.read(path, 4).metadata.stamp
    assert set(stamp) == {"hash", "versions", "device", "data", "date", "minutes"}
    cores = int((re.search(r"(\d+) core", stamp.device) or ["", "2"])[1])
    assert stamp.minutes * cores <= 30, (
        "a chapter takes at most 15 minutes on the real sets, on two cores"
    )
    assert path.stem not in WAITING, f"{path.name} is fresh: take it out of WAITING"


def test_words_do_not_make_outputs_stale():
    old = 'def f(x):\n    "Twice x."\n    return 2*x   # doubled\n'
    new = 'def f(x):\n    """Twice `x`,\n    of any dtype."""\n\n    # twice\n    return 2*x\n'
    assert (
        outputs.code(old)
        == outputs.code(new)
        != outputs.code(old.replace("2*x ", "3*x "))
    )
    assert outputs.code("%pip install a") != outputs.code("%pip install b")
    assert outputs.code('s = "a # b"\n"c"') == 's = "a # b"\n"c"'


# ---- every supported Python reads the code

# Compiles what stands on stdin, a list of [name, source], and prints what is wrong with each.
COMPILE = """
import json, sys, warnings
warnings.simplefilter("error", SyntaxWarning)
for name, source in json.load(sys.stdin):
    try: compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as e: print(f"{name}, line {e.lineno}: {e.msg}: {e.text}")
"""


def sources():
    "All code of the repository: [name, source] of each Python file, and of each code cell of a notebook."
    found = []
    for path in sorted(
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
    ):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            found.append([name, path.read_text(encoding="utf-8")])
        if path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts:
            found += [
                [f"{name}, cell {i}", outputs.python(c.source)]
                for i, c in enumerate(nbformat.read(path, 4).cells)
                if c.cell_type == "code"
            ]
    return found


def python(version):
    "The interpreter of a version, such as 3.10: the running one, or one of pyenv, or one on the PATH. None: it is not on this machine."
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    there = [
        *pyenv.glob(f"versions/{version}*/bin/python{version}"),
        *pyenv.glob(f"pyenv-win/versions/{version}*/python.exe"),
        shutil.which(f"python{version}"),
    ]
    for candidate in [sys.executable, *filter(None, there)]:
        asked = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
        if asked.stdout.strip() == version:
            return candidate  # the shims of pyenv are on the PATH, also for versions that are not in use


def test_supported_versions_are_one_after_the_other():
    numbers = [int(version.partition(".")[2]) for version in VERSIONS]
    assert (
        PROJECT["requires-python"] == f">={VERSIONS[0]}"
        and numbers == list(range(numbers[0], numbers[-1] + 1))
        and len(numbers) > 1
    )
    assert VERSIONS[0] in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_python_compiles_every_file(version):
    if not (interpreter := python(version)):
        pytest.skip(
            f"there is no Python {version} on this machine, neither as python{version} on the PATH nor in pyenv's folder"
        )
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


def test_names_are_defined_and_used():
    "Rules E9 and F of ruff, as pyproject.toml has them: syntax for the oldest version, names that nobody defined, imports that nobody uses."
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--output-format",
            "concise",
            *FOLDERS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "source, rule",
    [
        ("layer[*path, name]\n", "invalid-syntax"),
        ("print(nowhere)\n", "F821"),
        ("import os\n", "F401"),
        ("x = 1 +\n", "invalid-syntax"),
    ],
)
def test_ruff_sees_what_it_has_to(source, rule):
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "concise",
        "--stdin-filename",
        "tutorial_lib/new.py",
        "-",
    ]
    assert (
        rule
        in subprocess.run(
            command, input=source, cwd=ROOT, capture_output=True, text=True
        ).stdout
    )
