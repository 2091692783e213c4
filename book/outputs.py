"""Run the chapters on the real sets and stamp what they show.

A stamp in a notebook's metadata says which code made its outputs, on what, when, and
how long it took. An output whose code has changed since is stale: `--check` (and the
tests) name it, and a run makes it anew.
"""

import argparse
import ast
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import time
import tokenize
import warnings
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from book.cells import read_cell
from book.install import is_set_up
from book.photographs import lighten

ROOT = Path(__file__).resolve().parents[1]


def chapters():
    """The notebooks, in the order of their numbers.

    Those on the command line and on checks come last.
    """
    return sorted((ROOT / "nbs").glob("*.ipynb"))


def python(source):
    "The `source` of a cell as plain Python: magics become strings."
    return re.sub(r"^(\s*)([%!].*)$", lambda m: m[1] + repr(m[2]), source, flags=re.M)


def is_string(node):
    "Whether a statement is a string alone: a docstring, of a name or of a definition."
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)


def without_words(source, is_module):
    """The lines of `source`, empty where they held comments and docstrings.

    `is_module`: a string at the top is one of them; in a cell it may be what it shows.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    definitions = [ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]
    definitions += [ast.Module] * is_module
    for node in ast.walk(ast.parse(source)):
        for doc in filter(is_string, node.body if type(node) in definitions else []):
            start, end = doc.lineno - 1, doc.end_lineno
            if not lines[start][: doc.col_offset].strip():
                lines[start:end] = [""] * (end - start)
    return [line.rstrip() for line in lines]


def code(source):
    """The `source` of a cell without comments, docstrings and blank lines.

    Better words do not make outputs stale.
    """
    return "\n".join(filter(None, without_words(python(source), is_module=False)))


def module_code(source):
    """The `source` of a module without comments, docstrings and blank lines.

    Its statements are sorted: where a function stands makes no outputs stale.
    """
    lines = without_words(source, is_module=True)
    statements = []
    for node in ast.parse(source).body:
        decorators = getattr(node, "decorator_list", [])
        start = min(part.lineno for part in [node, *decorators])
        statement = "\n".join(filter(None, lines[start - 1 : node.end_lineno]))
        if not statement.startswith("__all__ ="):
            statements.append(statement)
    return "\n".join(sorted(filter(None, statements)))


def module(name):
    "The file of a module of the library, such as core.files."
    return (ROOT / "tutorial_lib").joinpath(*name.split(".")).with_suffix(".py")


def library_imports(source, importer=""):
    """The modules of the library that Python code imports, such as core.files.

    `importer`: the module that holds the code, which relative imports start from.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            asked = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["tutorial_lib", *importer.split(".")][: -node.level]
                base = ".".join([*package, *filter(None, [base])])
            asked = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        ours = [name for name in asked if "tutorial_lib." in name]
        found |= {name.removeprefix("tutorial_lib.") for name in ours}
    return {name for name in found if module(name).is_file()}


@cache
def code_and_imports(name):
    "The code of a module of the library, and the modules of the library it imports."
    source = module(name).read_text(encoding="utf-8")
    return module_code(source), library_imports(source, name)


def fingerprint(path):
    """A hash of a chapter's code and of all modules of the library that it leads to.

    The checks of the exercises are left out: a test compares what they print with what
    the chapter shows. So is the cell that installs the library: it runs on Colab alone.
    """
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    cells = [source for source in cells if not is_set_up(source)]
    own = "\n".join(map(code, cells))
    used, todo = {}, library_imports("\n".join(map(python, cells)))
    while todo:
        name = todo.pop()
        if name in used or name == "practice":
            continue
        used[name], more = code_and_imports(name)
        todo |= more
    everything = "\n".join([own, *(used[name] for name in sorted(used))])
    return hashlib.sha256(everything.encode()).hexdigest()[:16]


def is_stale(path):
    "Whether a chapter's outputs were made by other code than it holds now."
    stamp = nbformat.read(path, 4).metadata.get("stamp", {})
    return stamp.get("hash") != fingerprint(path)


def data_used(nb):
    "The sets that a chapter loads by name, each as it was found on this machine."
    from tutorial_lib.data import image_files, load

    source = "\n".join(c.source for c in nb.cells if c.cell_type == "code")
    found = []
    loaded = set(re.findall(r"""\bload\(["'](pets|cifar10)["']\)""", source))
    for name in sorted(loaded):
        files = image_files(load(name))
        kinds = {file.suffix.lstrip(".").upper() for file in files}
        kinds = {kind.replace("JPEG", "JPG") for kind in kinds}
        found.append(f"{name} ({len(files):,} {'/'.join(sorted(kinds))} files)")
    if found:
        return ", ".join(found)
    return "the drawn set" if "sample(" in source else "no data set"


def device():
    """What a run is computed on.

    Cores that this process may use, and whether they multiply bfloat16, which halves
    the time of some chapters.
    """
    import torch

    from tutorial_lib.core.engine import bf16_is_fast
    from tutorial_lib.core.machine import n_cores

    if torch.cuda.is_available():
        return "GPU"
    cores = n_cores()
    bf16 = "" if bf16_is_fast("cpu") else ", no bfloat16"
    return f"CPU, {cores} core{'s' * (cores > 1)}{bf16}"


def is_for_the_page(output):
    "Progress bars and warnings are not."
    return not (output.output_type == "stream" and output.name == "stderr")


def make_stamp(path, nb, minutes):
    "What made the outputs of a chapter."
    packages = "torch", "torchvision", "fastai"
    versions = {name: version(name).split("+")[0] for name in packages}
    return {
        "hash": fingerprint(path),
        "data": data_used(nb),
        "date": date.today().isoformat(),
        "minutes": round(minutes, 1),
        "device": device(),
        "versions": {"python": platform.python_version(), **versions},
    }


def core_seconds():
    "Seconds in which cores were busy with the kernels that have ended."
    from resource import RUSAGE_CHILDREN, getrusage  # not on Windows

    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(path):
    """Run a chapter from a fresh kernel and write it back whole, with its stamp.

    Where others use the machine too, what its cores did for the chapter is the time.
    """
    warnings.simplefilter("ignore", FutureWarning)  # of libraries, not of ours
    os.environ["TUTORIAL_CHECK"] = "raise"  # a wrong solution of an exercise stops it
    nb, start, core_start = nbformat.read(path, 4), time.time(), core_seconds()
    place = {"metadata": {"path": str(path.parent)}}
    kernel = dict(kernel_name="python3", resources=place)
    NotebookClient(nb, timeout=1800, **kernel).execute()
    minutes = min(time.time() - start, core_seconds() - core_start) / 60
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = list(filter(is_for_the_page, cell.outputs))
            lighten(cell.outputs, read_cell(cell.source)[0].get("picture"))
    kept = "kernelspec", "language_info"
    nb.metadata = {key: value for key, value in nb.metadata.items() if key in kept}
    nb.metadata["stamp"] = make_stamp(path, nb, minutes)
    part = path.with_suffix(".part")
    nbformat.write(nb, part)
    part.replace(path)
    clean = Path(sys.executable).with_name("nbdev-clean")
    subprocess.run([clean, "--fname", path], check=True, cwd=ROOT)
    return minutes


def read_arguments():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    what = "beginnings of names, such as 04 or cli (default: all that are stale)"
    parser.add_argument("chapters", nargs="*", help=what)
    parser.add_argument("--all", action="store_true", help="fresh chapters too")
    what = "only name the stale chapters; exit status 1 if there are any"
    parser.add_argument("--check", action="store_true", help=what)
    args = parser.parse_args()
    if os.environ.get("TUTORIAL_DATA") and not args.check:
        parser.error(
            "TUTORIAL_DATA is set, but outputs are made on the real sets: unset it"
        )
    for asked in args.chapters:
        if not any(p.name.startswith(asked) for p in chapters()):
            parser.error(
                f"no chapter begins with {asked!r}: give one such as 04 or cli"
            )
    return args


def main():
    args = read_arguments()
    todo = [p for p in chapters() if p.name.startswith(tuple(args.chapters) or "")]
    if not args.all:
        todo = [p for p in todo if is_stale(p)]
    if args.check:
        for path in todo:
            print(f"{path.name}: stale. Run `make outputs`.")
        sys.exit(bool(todo))
    if not todo:
        print("Every chapter's outputs are fresh.")
    for path in todo:
        print(f"{path.name} ...", end=" ", flush=True)
        print(f"{run(path):.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
