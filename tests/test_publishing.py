"""What the world sees first.

Links, badges, citation, changelog, and the workflows that nobody runs by hand.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import tutorial_lib
from book.identity import identity
from book.install import written_anew

try:
    import tomllib
except ImportError:
    import tomli as tomllib  # Python 3.10


ROOT = Path(__file__).resolve().parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


ME = identity(ROOT, env={})
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
MAKEFILE = read("Makefile")

workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)


def check_schema(schema, *paths):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*command, *paths], capture_output=True, text=True)
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


def is_right(url):
    "Whether a link leads to what this book owns, or elsewhere on purpose."
    if url.startswith("https://github.com/"):
        return url.startswith(f"{ME.repo_url}/")
    if url.startswith("../../actions/"):  # GitHub's own pages, from its front page
        return True
    if url.startswith("#"):
        headings = re.findall(r"^#+ (.+)$", read("README.md"), re.M)
        return url[1:] in [h.lower().replace(" ", "-") for h in headings]
    if "github.io" in url:
        return url.startswith(ME.book_url)
    if url.startswith("https://colab.research.google.com/github/"):
        notebook = url.removeprefix(f"{ME.colab_url}/")
        return notebook != url and (ROOT / notebook).is_file()
    return "://" in url or (ROOT / url).is_file()


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_follow_settings(name):
    for url in filter(None, sum(links(name), ())):
        assert is_right(url), f"{name} links to {url}, which is elsewhere or not there"
        if workflow := re.search(r"/workflows/[\w.]+", url):
            assert (ROOT / f".github{workflow[0]}").is_file(), url


def test_badges_are_those_of_whoever_shows_them():
    "Those of the workflows name no owner: in a fork they show the fork's."
    badges = re.findall(r"^\[!\[.*?\]\((.+?)\)\]\((.+?)\)$", read("README.md"), re.M)
    actions = "../../actions/workflows"
    colab = "https://colab.research.google.com/assets/colab-badge.svg"
    assert badges == [
        (f"{actions}/test.yml/badge.svg", f"{actions}/test.yml"),
        (f"{actions}/book.yml/badge.svg", f"{actions}/book.yml"),
        (colab, f"{ME.colab_url}/nbs/00_sample.ipynb"),
    ]


NOTEBOOKS = [*ROOT.glob("nbs/*.ipynb"), *ROOT.glob("practice/*.ipynb")]


def test_first_cells_install_what_settings_say():
    texts = {path: path.read_text(encoding="utf-8") for path in NOTEBOOKS}
    old = [p.name for p, text in texts.items() if written_anew(text, ME) != text]
    assert not old, f"{old} install something else: run `python book/install.py`"


@pytest.mark.parametrize("on_index", ["yes", "no"])
def test_what_pip_is_told_to_install(on_index, tmp_path):
    settings = read("settings.ini")
    said = re.sub("on_index = .*", f"on_index = {on_index}", settings)
    (tmp_path / "settings.ini").write_text(said, encoding="utf-8")
    me = identity(tmp_path, env={"GITHUB_REPOSITORY": "someone/fork"})
    repository = "git+https://github.com/someone/fork"
    assert me.install == (ME.pypi_name if on_index == "yes" else repository)
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        anew = written_anew(text, me)
        assert f"%pip install -q {me.install}" in anew
        assert written_anew(anew, ME) == text, "nothing else is changed"


def test_card_is_one_that_readers_of_cards_take():
    with Image.open(ROOT / "book" / "assets" / "card.png") as card:
        assert (card.format, card.size) == ("PNG", (1200, 630))
        assert card.text["Title"] == ME.title, "run `python book/animals.py`"


def test_readme_lists_the_chapters_that_exist():
    readme = read("README.md")
    assert readme.startswith(f"# {ME.title}\n")
    assert f"pip install {ME.install}\n" in readme
    chapters = sorted(p.stem for p in (ROOT / "nbs").glob("[0-9]*.ipynb"))
    assert re.findall(r"\[\w+\]\(nbs/(\w+)\.ipynb\) \|", readme) == chapters


# Version


def test_changelog_begins_with_this_version():
    heading = re.search(r"^## \[(.+)\] - (.+)$", read("CHANGELOG.md"), re.M)
    version, date = heading.groups()
    assert version == tutorial_lib.__version__
    assert date == "Unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", date)


def test_citation_fits_the_package():
    check_schema("vendor.citation-file-format", ROOT / "CITATION.cff")
    cff = yaml.safe_load(read("CITATION.cff"))
    assert cff["version"] == tutorial_lib.__version__
    assert cff["license"] == PROJECT["license"]
    assert cff["title"] == ME.title
    assert (cff["url"], cff["repository-code"]) == (ME.book_url, ME.repo_url)
    assert cff["authors"] == PROJECT["authors"]


# Commands


def check_command(line):
    """Hold a shell command to what it names.

    That is the Makefile's targets and variables, pyproject.toml's extras, and the files
    of the tree.
    """
    for call in re.findall(r"(?:^|[;&|]\s*)make\b([^#;&|\n]*)", line, re.M):
        call = re.sub(r'"[^"]*"', '""', call)
        for word in call.split():
            name, is_variable, _ = word.partition("=")
            where = rf"^{name}:"
            if is_variable:
                where = rf"^{name} *[?:]?=|\$\(if \$\({name}\)"
            known = re.search(where, MAKEFILE, re.M)
            assert known, f"{line!r}: the Makefile knows no {name}"
    known = PROJECT["optional-dependencies"]
    for extra in re.findall(r"\w+", " ".join(re.findall(r"\.\[([\w,]+)\]", line))):
        assert extra in known, f"{line!r}: pyproject.toml has no extra {extra}"
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


PINNED = re.compile(r"actions/[\w-]+@v\d+|pypa/gh-action-pypi-publish@release/v1")


@workflows
def test_workflow_pins_actions_and_asks_for_little(path):
    for action in (s["uses"] for s in steps(path) if "uses" in s):
        assert PINNED.fullmatch(action)
    assert load(path)["permissions"] == {"contents": "read"}
    writes = set()
    for job, spec in load(path)["jobs"].items():
        permissions = spec.get("permissions", {})
        writes |= {(job, what) for what, how in permissions.items() if how == "write"}
    assert writes == MAY_WRITE.get(path.stem, set())


def test_workflows_follow_settings_and_the_oldest_python():
    folder = ROOT / ".github" / "workflows"
    test, book = load(folder / "test.yml"), load(folder / "book.yml")
    for workflow in test, book:
        on = workflow[True]  # what YAML makes of the key `on`
        assert on["push"]["branches"] == [ME.branch]
    runs = test["jobs"]["make"]["strategy"]["matrix"]["include"]
    assert f">={runs[0]['python']}" == PROJECT["requires-python"]


WITHOUT_BOOK = """
import sys
BOOK = {"docutils", "jupyter_book", "myst_nb", "sphinx"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BOOK:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]: __import__(name)
"""


@pytest.mark.parametrize("workflow", ["colab", "release"])
def test_workflow_without_the_book_can_import_its_tests(workflow):
    "These workflows install `.[dev]` alone: their tests do without the extra `book`."
    source = read(f".github/workflows/{workflow}.yml")
    modules = re.findall(r"tests/(\w+)\.py", source)
    assert '.[dev]"' in source and "book]" not in source and modules
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_BOOK, "conftest"]
    done = subprocess.run(
        [*command, *modules],
        cwd=ROOT / "tests",
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # as pytest does it
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
