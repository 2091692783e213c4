"""Throw-away environments that know `tutorial_lib` from its wheel only.

They are made in a second, with no network.

Such an environment sees every installed dependency through a folder of links,
`tutorial_lib` left out, so that `pip install tutorial_lib` in it does what it does on
Colab: finds the dependencies there and installs the wheel.

    wheel = build_wheel(folder/"wheel")
    python = make_venv(folder/"venv", link_dependencies(folder/"links"))
    run(python, "-m", "pip", "install", "-q", "tutorial_lib", env=offline(wheel))
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "pyproject.toml README.md LICENSE settings.ini tutorial_lib nbs tests"
).split()


def run(*command, **kwargs):
    """Run `command` and return its output.

    A failure raises an error that shows the output.
    """
    command = list(map(str, command))
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    done = subprocess.run(command, text=True, **pipes, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def offline(wheel=None):
    """This process's variables, for a child.

    No way back to the working tree, and pip finds `wheel`'s folder alone.
    """
    env = dict(
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PYTHONUTF8="1",
    )
    if wheel:
        env["PIP_FIND_LINKS"] = str(Path(wheel).parent)
    for name, value in os.environ.items():
        if not name.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV")):
            env[name] = value
    return env


def copy_sources(folder):
    "Put into a new folder what the package is built from."
    folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder)


def build_wheel(folder):
    """The wheel of the working tree, built in `folder` from a copy.

    Where the variable WHEEL names one, it is a copy of that.
    """
    folder = Path(folder)
    if "WHEEL" in os.environ:
        return Path(shutil.copy(ROOT / os.environ["WHEEL"], folder))
    copy = folder / "source"
    copy_sources(copy)
    flags = "-q", "--no-deps", "--no-build-isolation", "-w", folder
    run(sys.executable, "-m", "pip", "wheel", *flags, copy, env=offline())
    return next(folder.glob("*.whl"))


def make_repository(folder, url):
    """A git repository of the sources in `folder`.

    Returned are the variables with which git finds it at `url`, and pip builds from it
    with what is installed here.
    """
    folder = Path(folder)
    copy_sources(folder)
    git = "git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x@example.org"
    run(*git, "init", "-q")
    run(*git, "add", ".")
    run(*git, "commit", "-q", "-m", "The sources")
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
        "PIP_NO_BUILD_ISOLATION": "0",  # of a negative flag: off
    }


def link_dependencies(folder):
    """Fill `folder` with a link to each thing installed beside this Python.

    What belongs to `tutorial_lib` is left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if "tutorial_lib" in entry.name or entry.name == "__pycache__":
                continue
            (folder / entry.name).symlink_to(entry, entry.is_dir())
    return folder


def make_venv(folder, links):
    "The Python of a new environment that sees the dependencies through `links`."
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    site = next(Path(folder).rglob("site-packages"))
    (site / "dependencies.pth").write_text(str(links), encoding="utf-8")
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_colab(folder, links):
    "As `make_venv`; each Python of it has `google.colab` loaded, and no network."
    python = make_venv(folder, links)
    site = next(Path(folder).rglob("site-packages"))
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "offline.py", site)
    (site / "stand_in.pth").write_text("import offline, google.colab\n")
    return python
