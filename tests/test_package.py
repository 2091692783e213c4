"""What `pip install tutorial_lib` gives.

A wheel with all that the library needs, and nothing else.
"""

import ast
import json
import sys
import zipfile
from collections import defaultdict
from importlib.metadata import PathDistribution, distribution, distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from wheelhouse import ROOT, make_venv, offline, run

LIBRARY = ROOT / "tutorial_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
DATA = {
    "book.mplstyle",
    "densenet_tiny.safetensors",
    "densenet_tiny.md",
    "scenarios.csv",
    "backbones.csv",
    "densenet_size.csv",
    "densenet_cost.csv",
    "pretrain.csv",
    "ladder.csv",
    "ninety.csv",
    "report.html",
}


def in_library(path):
    return path.relative_to(LIBRARY).as_posix()


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES} - {"tutorial_lib"}

IMPORT_ALL = """
import importlib, json, pkgutil, tutorial_lib
found = {}
for m in pkgutil.walk_packages(tutorial_lib.__path__, "tutorial_lib."):
    module = importlib.import_module(m.name)
    missing = [n for n in getattr(module, "__all__", []) if not hasattr(module, n)]
    found[m.name] = dict(file=module.__file__, missing=missing)
import matplotlib.pyplot as plt
plt.style.use("tutorial_lib.book")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def metadata(wheel):
    "The wheel's own metadata, read from the file."
    names = zipfile.ZipFile(wheel).namelist()
    file = next(n for n in names if n.endswith(".dist-info/METADATA"))
    return PathDistribution(zipfile.Path(wheel, file.removesuffix("METADATA")))


@pytest.fixture(scope="module")
def runtime(metadata):
    "The requirements of `pip install tutorial_lib`, extras left out."
    requirements = map(Requirement, metadata.requires)
    return [r for r in requirements if "extra" not in str(r.marker or "")]


def test_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {n for n in names if n.startswith("tutorial_lib/")}
    files = [*MODULES, *(LIBRARY / "recipes").iterdir()]
    expected = DATA | {in_library(path) for path in files}
    assert package == {f"tutorial_lib/{name}" for name in expected}
    others = [n for n in names if not n.startswith(("tutorial_lib/", "tutorial_lib-"))]
    assert not others, f"{others} would be installed beside the package"
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_every_module_imports_from_an_empty_folder(wheel, links, tmp_path):
    python = make_venv(tmp_path / "venv", links)
    env = offline(wheel)
    with pytest.raises(RuntimeError, match="No module named 'tutorial_lib'"):
        run(python, "-c", "import tutorial_lib", env=env, cwd=tmp_path)
    run(python, "-m", "pip", "install", "-q", "tutorial_lib", env=env)
    empty = tmp_path / "empty"
    empty.mkdir()
    said = run(python, "-W", "ignore", "-c", IMPORT_ALL, env=env, cwd=empty)
    found = json.loads(said.splitlines()[-1])
    assert found.keys() == NAMES
    for name, module in found.items():
        file, missing = module["file"], module["missing"]
        assert str(tmp_path / "venv") in file, f"{name} comes from {file}"
        assert not missing, f"{name}: __all__ names {missing}, which it lacks"
    assert not list(empty.iterdir()), "an import wrote into the folder that it ran in"


def test_requirements_have_floors_and_no_caps(runtime):
    for r in runtime:
        operators = [s.operator for s in r.specifier]
        assert operators == [">="], f"{r}: a dependency has one floor (>=) and no cap"


@pytest.fixture(scope="module")
def owners():
    "Top-level package → the distributions that installed it."
    found = defaultdict(set)
    for dist in distributions():
        name = canonicalize_name(dist.metadata["Name"])
        for top in {file.parts[0].removesuffix(".py") for file in dist.files or []}:
            found[top].add(name)
    return found


def brought(requirements):
    "The distributions that `requirements` name, and those that these name in turn."
    direct = {canonicalize_name(r.name) for r in requirements}
    found = set(direct)
    for name in direct:
        for r in map(Requirement, distribution(name).requires or []):
            if r.marker is None or r.marker.evaluate({"extra": ""}):
                found.add(canonicalize_name(r.name))
    return found


def imported(path):
    "The packages of others that a module imports: not the standard library's."
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0}
    ours = {*sys.stdlib_module_names, "tutorial_lib"}
    return {name.split(".")[0] for name in names} - ours


@pytest.mark.parametrize("path", MODULES, ids=in_library)
def test_requirements_cover_what_modules_import(path, runtime, owners):
    missing = {name for name in imported(path) if not owners[name] & brought(runtime)}
    assert not missing, f"pyproject.toml has no dependency that brings {missing}"
