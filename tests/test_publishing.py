"""What the world sees first: links, badges, citation, changelog, and the workflows that nobody runs by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tutorial_lib

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
from identity import identity  # noqa: E402

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # Python 3.10

ME = identity(ROOT, env={})
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def check_schema(schema, *paths):
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        schema,
        *paths,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


# Links


def test_urls_of_the_package_follow_settings():
    assert PROJECT["name"] == ME.pypi_name
    assert PROJECT["urls"] == {
        "Homepage": ME.book_url,
        "Repository": ME.repo_url,
        "Issues": f"{ME.repo_url}/issues",
        "Changelog": f"{ME.repo_url}/blob/{ME.branch}/CHANGELOG.md",
    }


def links(name):
    return re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", read(name), re.M)


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_follow_settings(name):
    for url in filter(None, sum(links(name), ())):
        if url.startswith("https://github.com/"):
            assert url.startswith(f"{ME.repo_url}/"), f"{url} is elsewhere"
        elif "github.io" in url:
            assert url.startswith(ME.book_url), (
                f"{url} is not in the book, {ME.book_url}"
            )
        elif url.startswith("https://colab.research.google.com/github/"):
            assert (
                url.startswith(f"{ME.colab_url}/")
                and (ROOT / url.removeprefix(f"{ME.colab_url}/")).is_file()
            ), url
        elif "://" not in url:
            assert (ROOT / url).is_file(), f"{name} links to {url}, which is not there"
        if workflow := re.search(r"/workflows/[\w.]+", url):
            assert (ROOT / f".github{workflow[0]}").is_file(), url


def test_badges_are_those_of_this_book():
    badges = re.findall(r"^\[!\[.*?\]\((.+?)\)\]\((.+?)\)$", read("README.md"), re.M)
    actions = f"{ME.repo_url}/actions/workflows"
    assert badges == [
        (f"{actions}/test.yml/badge.svg", f"{actions}/test.yml"),
        (f"{actions}/book.yml/badge.svg", ME.book_url),
        (
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"{ME.colab_url}/nbs/00_sample.ipynb",
        ),
    ]


def test_readme_lists_the_chapters_that_exist():
    readme = read("README.md")
    assert readme.startswith(f"# {ME.title}\n")
    assert f"pip install {ME.pypi_name}\n" in readme
    assert re.findall(r"\[\w+\]\(nbs/(\w+)\.ipynb\) \|", readme) == sorted(
        p.stem for p in (ROOT / "nbs").glob("[0-9]*.ipynb")
    )


# Version


def test_changelog_begins_with_this_version():
    version, date = re.search(
        r"^## \[(.+)\] - (.+)$", read("CHANGELOG.md"), re.M
    ).groups()
    assert version == tutorial_lib.__version__
    assert date == "Unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_citation_fits_the_package():
    check_schema("vendor.citation-file-format", ROOT / "CITATION.cff")
    cff = yaml.safe_load(read("CITATION.cff"))
    assert (cff["version"], cff["license"], cff["title"]) == (
        tutorial_lib.__version__,
        PROJECT["license"],
        ME.title,
    )
    assert (cff["url"], cff["repository-code"]) == (ME.book_url, ME.repo_url)
    assert cff["authors"] == PROJECT["authors"]


# Commands


def check_command(line):
    "Hold a shell command to the Makefile's targets and variables, pyproject.toml's extras and the files of the tree."
    for call in re.findall(r"(?:^|[;&|]\s*)make\b([^#;&|\n]*)", line, re.M):
        call = re.sub(r'"[^"]*"', '""', call)
        for word in call.split():
            name, is_variable, _ = word.partition("=")
            where = (
                rf"^{name} *[?:]?=|\$\(if \$\({name}\)" if is_variable else rf"^{name}:"
            )
            assert re.search(where, MAKEFILE, re.M), (
                f"{line!r}: the Makefile knows no {name}"
            )
    for extra in re.findall(r"\w+", " ".join(re.findall(r"\.\[([\w,]+)\]", line))):
        assert extra in PROJECT["optional-dependencies"], (
            f"{line!r}: pyproject.toml has no extra {extra}"
        )
    for file in re.findall(r"(?<![\w/.])(?:tests|book|nbs|benchmarks)/[\w./-]+", line):
        assert (ROOT / file).exists(), f"{line!r}: there is no {file}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_of_a_page_exist(name):
    blocks = re.findall(r"```shell\n(.*?)```", read(name), re.S)
    inline = re.findall(r"`((?:make|\.venv)[^`\n]+)`", read(name))
    assert blocks and inline
    for line in [*"".join(blocks).splitlines(), *inline]:
        check_command(line.strip())


WRONG = [
    "make books",
    "cd x && make test NO_SUCH=1",
    'pip install -e ".[dev,bok]"',
    "pytest tests/no.py",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_is_found(line):
    with pytest.raises(AssertionError):
        check_command(line)


# Workflows


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path):
    return [s for job in load(path)["jobs"].values() for s in job["steps"]]


def test_workflows_fit_the_schema():
    assert [p.stem for p in WORKFLOWS] == ["book", "colab", "release", "test"]
    check_schema("vendor.github-workflows", *WORKFLOWS)
    check_schema("custom.github-workflows-require-timeout", *WORKFLOWS)


@workflows
def test_workflow_runs_what_exists(path):
    commands = [s["run"] for s in steps(path) if "run" in s]
    assert commands
    for command in commands:
        check_command(command)


MAY_WRITE = {
    "book": {("deploy", "pages"), ("deploy", "id-token")},
    "release": {("publish", "id-token")},
}


@workflows
def test_workflow_pins_actions_and_asks_for_little(path):
    for action in (s["uses"] for s in steps(path) if "uses" in s):
        assert re.fullmatch(
            r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1", action
        )
    assert load(path)["permissions"] == {"contents": "read"}
    writes = {
        (job, what)
        for job, spec in load(path)["jobs"].items()
        for what, how in spec.get("permissions", {}).items()
        if how == "write"
    }
    assert writes == MAY_WRITE.get(path.stem, set())


def test_workflows_follow_settings_and_the_oldest_python():
    test, book = (
        load(ROOT / f".github/workflows/{name}.yml") for name in ("test", "book")
    )
    for workflow in test, book:
        assert workflow[True]["push"]["branches"] == [
            ME.branch
        ]  # YAML reads `on` as true
    pythons = [
        row["python"] for row in test["jobs"]["make"]["strategy"]["matrix"]["include"]
    ]
    assert f">={pythons[0]}" == PROJECT["requires-python"]


WITHOUT_BOOK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"docutils", "jupyter_book", "myst_nb", "sphinx"}: raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]: __import__(name)
"""


@pytest.mark.parametrize("workflow", ["colab", "release"])
def test_workflow_without_the_book_can_import_its_tests(workflow):
    "These workflows install `.[dev]` alone, so what they test must not need what the extra `book` brings."
    source = read(f".github/workflows/{workflow}.yml")
    modules = re.findall(r"tests/(\w+)\.py", source)
    assert '.[dev]"' in source and "book]" not in source and modules
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_BOOK, "conftest", *modules],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
