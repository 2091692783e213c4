"""The notebooks are the source: exporting and cleaning them again changes nothing, and their outputs are up to date."""
import shutil, subprocess, sys
from pathlib import Path

import nbformat, pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/"book"))
import outputs      # noqa: E402


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    "A copy of the sources after `nbdev-export` and `nbdev-clean`."
    copy = tmp_path_factory.mktemp("again")
    for folder in ("nbs", "tutorial_lib"):
        shutil.copytree(ROOT/folder, copy/folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for file in ("pyproject.toml", "README.md", "settings.ini"): shutil.copy(ROOT/file, copy)
    for command in ("nbdev-export", "nbdev-clean"):
        subprocess.run([Path(sys.executable).with_name(command)], cwd=copy, check=True)
    return copy


@pytest.mark.parametrize("folder, how", [("tutorial_lib", "nbdev-export"), ("nbs", "nbdev-clean")])
def test_again_is_the_same(again, folder, how):
    here = {p.relative_to(ROOT): p.read_text(encoding="utf-8") for p in (ROOT/folder).iterdir() if p.suffix in (".py", ".ipynb")}
    there = {p.relative_to(again): p.read_text(encoding="utf-8") for p in (again/folder).iterdir() if p.suffix in (".py", ".ipynb")}
    assert here.keys() == there.keys()
    changed = [str(p) for p in here if here[p] != there[p]]
    assert not changed, f"{changed} differ from what the notebooks give: run {how}"


@pytest.mark.parametrize("path", outputs.chapters(), ids=lambda p: p.stem)
def test_stamp_is_fresh(path):
    assert not outputs.is_stale(path), f"{path.name} shows outputs of older code: run `make outputs`"
    stamp = nbformat.read(path, 4).metadata.stamp
    assert set(stamp) == {"hash", "versions", "device", "data", "date", "minutes"}
    assert stamp.minutes <= 15, "a chapter takes at most 15 minutes on the real sets"


def test_words_do_not_make_outputs_stale():
    old = 'def f(x):\n    "Twice x."\n    return 2*x   # doubled\n'
    new = 'def f(x):\n    """Twice `x`,\n    of any dtype."""\n\n    # twice\n    return 2*x\n'
    assert outputs.code(old) == outputs.code(new) != outputs.code(old.replace("2*x ", "3*x "))
    assert outputs.code("%pip install a") != outputs.code("%pip install b")
    assert outputs.code('s = "a # b"\n"c"') == 's = "a # b"\n"c"'
