"""What `pip install tutorial_lib` gives: a wheel with all that the library needs, and nothing else."""

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

MODULES = sorted(p for p in (ROOT / "tutorial_lib").glob("*.py"))

IMPORT_ALL = """
import importlib, json, pkgutil, tutorial_lib
found = {}
for m in pkgutil.iter_modules(tutorial_lib.__path__):
    module = importlib.import_module(f"tutorial_lib.{m.name}")
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
    info = next(n for n in names if n.endswith(".dist-info/METADATA")).removesuffix(
        "METADATA"
    )
    return PathDistribution(zipfile.Path(wheel, info))


@pytest.fixture(scope="module")
def runtime(metadata):
    "The requirements of `pip install tutorial_lib`, extras left out."
    return [
        r
        for r in map(Requirement, metadata.requires)
        if "extra" not in str(r.marker or "")
    ]


def test_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {
        n.removeprefix("tutorial_lib/") for n in names if n.startswith("tutorial_lib/")
    }
    assert package == {p.name for p in MODULES} | {
        "book.mplstyle",
        "densenet_tiny.safetensors",
        "densenet_tiny.md",
        "scenarios.csv",
        "report.html",
    } | {f"recipes/{p.name}" for p in (ROOT / "tutorial_lib" / "recipes").iterdir()}
    others = [n for n in names if not n.startswith(("tutorial_lib/", "tutorial_lib-"))]
    assert not others, f"{others} would be installed beside the package"
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_every_module_imports_from_an_empty_folder(wheel, links, tmp_path):
    python = make_venv(tmp_path / "venv", links)
    env = offline(wheel)
    with pytest.raises(RuntimeError, match="No module named 'tutorial_lib'"):
        run(python, "-c", "import tutorial_lib", env=env, cwd=tmp_path)
    run(python, "-m", "pip", "install", "-q", "tutorial_lib", env=env)
    (tmp_path / "empty").mkdir()
    found = json.loads(
        run(
            python, "-W", "ignore", "-c", IMPORT_ALL, env=env, cwd=tmp_path / "empty"
        ).splitlines()[-1]
    )
    assert found.keys() == {p.stem for p in MODULES} - {"__init__"}
    for name, module in found.items():
        assert str(tmp_path / "venv") in module["file"], (
            f"{name} comes from {module['file']}, not from the wheel"
        )
        assert not module["missing"], (
            f"tutorial_lib.{name}: __all__ names {module['missing']}, "
            "which the module lacks"
        )
    assert not list((tmp_path / "empty").iterdir()), (
        "an import wrote into the folder that it ran in"
    )


def test_requirements_have_floors_and_no_caps(runtime):
    for r in runtime:
        operators = [s.operator for s in r.specifier]
        assert operators == [">="], (
            f"{r}: a runtime dependency has one floor (>=) and no cap"
        )


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
    more = [
        Requirement(r) for name in direct for r in distribution(name).requires or []
    ]
    return direct | {
        canonicalize_name(r.name)
        for r in more
        if r.marker is None or r.marker.evaluate({"extra": ""})
    }


def imported(path):
    "The top-level packages that a module imports, the standard library and its own package left out."
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0}
    return (
        {n.split(".")[0] for n in names}
        - set(sys.stdlib_module_names)
        - {"tutorial_lib"}
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_requirements_cover_what_modules_import(path, runtime, owners):
    missing = {name for name in imported(path) if not owners[name] & brought(runtime)}
    assert not missing, (
        f"tutorial_lib/{path.name} imports {missing}, which no dependency in "
        "pyproject.toml brings"
    )
