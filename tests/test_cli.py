"""The command line: what it does, and what it says when it cannot.

Its help is true, and fast.
"""

import csv
import errno
import io
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import draw
from PIL import Image

import tutorial_lib
from tutorial_lib import cli, scenarios
from tutorial_lib.cli import main
from tutorial_lib.core.commands import COMMANDS, make_parser
from tutorial_lib.core.console import CsvRows, spreadsheet_cell
from tutorial_lib.core.names import given_files, local_place, names_on_stdin
from tutorial_lib.core.pretrained import (
    USUAL,
    measured_backbone,
    measured_backbones,
    usual_accuracy,
)
from tutorial_lib.sample import sample

ROOT = Path(__file__).resolve().parents[1]
BY_NAME = {command.name: command for command in COMMANDS}
THREE_BREEDS = "striped_long,masked_round,spotted_floppy"
TWO_BREEDS = "striped_long,masked_round"
QUICK = [
    "train.strategy=probe",
    "output.report=false",
]  # seconds matter here, what is learned does not
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Each test runs in a folder of its own.

    Data and weights are those that are drawn or shipped.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", "sample")


@pytest.fixture
def stand_in(monkeypatch):
    "Put a function in the place of the command `config`."

    def put(f):
        monkeypatch.setitem(cli.RUNS, "config", f)

    return put


def run(*args, **kwargs):
    "The command in a process of its own."
    env = (
        {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        | kwargs.pop("env", {})
        | {"PYTHONUTF8": "1"}
    )
    kwargs = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE) | kwargs
    return subprocess.run([sys.executable, *args], env=env, encoding="utf-8", **kwargs)


def once(args, capsys):
    "The status of a command in this process, its stdout and its stderr."
    capsys.readouterr()
    return main([str(a) for a in args]), *capsys.readouterr()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A folder with my_photos and a complete run on it. Tests copy what they change."
    folder, here = tmp_path_factory.mktemp("made"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TUTORIAL_DATA", "sample")
        few = f"--n 36 --size 32 --breeds {THREE_BREEDS}".split()
        assert main(["sample", "my_photos", *few]) == 0
        assert main(["train", "my_photos", "train.strategy=probe"]) == 0
    assert Path.cwd() == here
    return folder


@pytest.fixture
def here(made, tmp_path):
    "The folder that the test is in, with a copy of `made`."
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))


# ---- help

LOADED = """
import contextlib, io, sys
before = set(sys.modules)
from tutorial_lib.cli import main
lines = [
    ["--help"], *([name, "--help"] for name in NAMES), ["--version"],
    [], ["no"], ["sample", "--no"], ["predict", "a"],
]
nowhere = io.StringIO()
with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
    for args in lines:
        main(args)
print(*sorted(set(sys.modules) - before))
"""


def test_help_imports_the_standard_library_alone():
    loaded = run("-c", LOADED.replace("NAMES", repr(list(BY_NAME)))).stdout.split()
    ours = {"cli", "core", "core.commands", "core.console", "core.options"}
    assert {m for m in loaded if m.startswith("tutorial_lib")} == {
        "tutorial_lib",
        *(f"tutorial_lib.{name}" for name in ours),
    }
    assert (
        not {m.partition(".")[0] for m in loaded}
        - sys.stdlib_module_names
        - {"tutorial_lib"}
    )
    assert not {"torch", "fastai", "numpy"} & set(loaded)


WITHOUT_FASTAI = """
import sys
sys.modules["fastai"] = None  # who imports it fails
from tutorial_lib.cli import main
sys.exit(main(["config"]) or main(["report", "runs/my_photos"]))
"""


@pytest.mark.long
def test_config_and_report_need_no_fastai(here):
    done = run("-c", WITHOUT_FASTAI)
    page = Path("runs/my_photos/report/report.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"the configuration is right: recipe fast\n{page}\n"


def test_help_names_commands_statuses_and_the_way_on(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert re.findall(r"^    (\w+) +[A-Z]", text, re.M) == list(BY_NAME)
    assert set(BY_NAME) == {
        "sample",
        "advise",
        "train",
        "predict",
        "evaluate",
        "report",
        "config",
        "models",
    }
    assert re.findall(r"^  (\d+) ", text, re.M) == ["0", "1", "2", "3", "130", "141"]
    assert "tutorial-lib COMMAND --help" in text


def test_help_begins_with_the_four_commands_of_a_first_session(capsys):
    main(["--help"])
    lines = re.findall(
        r"^  ((?:pip|tutorial-lib) [^#\n]*[^#\n ])", capsys.readouterr().out, re.M
    )
    assert lines[:4] == [
        "pip install tutorial_lib",
        "tutorial-lib sample my_photos",
        "tutorial-lib train my_photos",
        "tutorial-lib predict runs/my_photos photo.jpg",
    ]
    assert set(lines[1:]) == {command.examples[0] for command in COMMANDS}, (
        "each command has an example here"
    )


@pytest.mark.parametrize(
    "line", [["--help"], *([name, "--help"] for name in BY_NAME)], ids=" ".join
)
def test_help_fits_a_terminal(line, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(line)
    assert all(len(row) < 80 for row in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("name", BY_NAME)
def test_help_of_a_command_explains_each_argument_and_shows_its_examples(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    examples = BY_NAME[name].examples
    assert text.endswith("\nexamples:\n" + "".join(f"  {line}\n" for line in examples))
    assert all(f"tutorial-lib {name} " in f"{line} " for line in examples)
    for option in BY_NAME[name].options:
        shown = option.name if option.is_option else option.metavar or option.name
        assert re.search(rf"^  {shown}\b", text, re.M) and option.help
        if option.default is not None:
            assert f"(default {option.default})" in " ".join(text.split())


@pytest.mark.parametrize("name", BY_NAME)
def test_each_example_is_a_line_that_the_parser_takes(name):
    for line in BY_NAME[name].examples:
        words = shlex.split(line.partition("tutorial-lib ")[2].partition(" > ")[0])
        assert make_parser().parse_args(words).command == name


def test_every_command_is_run_by_a_function():
    assert list(cli.RUNS) == list(BY_NAME)


@pytest.mark.long
def test_examples_of_the_help_run_in_their_order(monkeypatch, capsys):
    """The four commands of a first session, and the others after them.

    The first one draws few pictures, and small ones: they teach the test as much.
    """

    def few(folder, n, size, seed, breeds, test):
        return sample(folder, 18, 32, seed, THREE_BREEDS.split(","), test)

    monkeypatch.setattr("tutorial_lib.sample.sample", few)
    main(["--help"])
    examples = re.findall(r"^  tutorial-lib ([^#\n]+)", capsys.readouterr().out, re.M)
    assert len(examples) == len(COMMANDS)
    for example in examples:
        status, out, err = once(shlex.split(example), capsys)
        assert status == 0, err
        assert re.search("my_photos|photo.jpg|recipe:|densenet_tiny", out)
        if not Path("photo.jpg").exists():
            shutil.copy(next(Path("my_photos").rglob("*.jpg")), "photo.jpg")
    assert Path("runs/my_photos/report/report.html").stat().st_size > 10_000


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
BREED = re.compile(r"(striped|spotted|masked|patched)_(pointy|floppy|round|long)")


def shape(text):
    "Text without what another run may answer: numbers, and which breed it was."
    return BREED.sub("BREED", NUMBER.sub("0", text)).strip()


def test_readme_shows_what_the_four_commands_print(monkeypatch, capsys):
    "As in the test before, with few pictures, and without fine-tuning."

    def few(folder, n, size, seed, breeds, test):
        breeds = ["masked_long", "masked_round", "spotted_floppy"]
        return sample(folder, 18, 32, seed, breeds, test)

    monkeypatch.setattr("tutorial_lib.sample.sample", few)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    session = re.search(r"```console\n(.*?)```", readme, re.S)[1]
    shown = re.findall(r"^\$ tutorial-lib (.+)\n((?:(?!\$).*\n)+)", session, re.M)
    assert [line.split()[0] for line, _ in shown] == [
        "sample",
        "train",
        "predict",
        "report",
    ]
    for line, printed in shown:
        quick = ["train.strategy=probe"] if line.startswith("train") else []
        status, out, err = once([*shlex.split(line), *quick], capsys)
        assert status == 0, err
        assert shape(out) == shape(printed), line


MISTAKES = [
    ("my_photos has one class only, 'cat'", ["train", "my_photos"]),
    ("1 images lie in no class folder", ["train", "my_photos/cat"]),
    ("my_photos is not empty", ["sample", "my_photos"]),
]


@pytest.mark.parametrize("error, line", MISTAKES, ids=[e for e, _ in MISTAKES])
def test_page_of_questions_has_errors_as_they_are(error, line, capsys):
    Path("my_photos/cat").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save("my_photos/cat/1.jpg")
    page = (ROOT / "book" / "questions.md").read_text(encoding="utf-8")
    status, _, err = once(line, capsys)
    assert status == 1 and error in err
    assert f"`{error}`\n: " in page


def test_page_of_the_command_names_the_formats_that_are_read():
    from tutorial_lib.core.formats import FORMATS, not_supported

    page = (ROOT / "nbs" / "cli.ipynb").read_text(encoding="utf-8")
    named = re.search(r"What is read is (.+?)\.", page)[1].upper()
    assert {*FORMATS} <= {*re.findall(r"\w+", named)}
    questions = (ROOT / "book" / "questions.md").read_text(encoding="utf-8")
    assert f"`{not_supported('HEIC')}`\n: " in questions


def test_version_and_the_installed_program():
    program = Path(
        sysconfig.get_path("scripts"),
        "tutorial-lib.exe" if os.name == "nt" else "tutorial-lib",
    )
    for command in [program], [sys.executable, "-m", "tutorial_lib.cli"]:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            f"tutorial-lib {tutorial_lib.__version__}\n",
            "",
        )


# ---- sample


def test_sample_makes_the_pictures_of_the_library_one_sub_folder_a_class(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        tempfile, "tempdir", str(tmp_path / "no_such")
    )  # another disk could be there, from which nothing can be renamed
    line = f"sample new --n 7 --size 32 --seed 3 --breeds {TWO_BREEDS}"
    assert main(line.split()) == 0
    assert capsys.readouterr() == ("new: 7 pictures, 2 classes\n", "")
    flat = sample(
        tmp_path / "flat", n=7, size=32, seed=3, breeds=["striped_long", "masked_round"]
    )
    assert everything("new") == sorted(
        [
            "masked_round",
            "striped_long",
            *(f"{f.name.rpartition('_')[0]}/{f.name}" for f in flat.iterdir()),
        ]
    )
    assert all(
        (Path("new") / f.name.rpartition("_")[0] / f.name).read_bytes()
        == f.read_bytes()
        for f in flat.iterdir()
    )
    assert everything(".")[0] == "flat", "something else is left behind"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path, capsys):
    for name in "dead", "alive", "young", "mine":
        (tmp_path / f".tutorial-lib-{name}" / "new").mkdir(parents=True)
        if name != "mine":
            (tmp_path / f".tutorial-lib-{name}" / ".lock").touch()
        if name != "young":
            os.utime(tmp_path / f".tutorial-lib-{name}", (1e9, 1e9))
    with FileLock(tmp_path / ".tutorial-lib-alive" / ".lock"):
        assert main("sample new --n 1 --size 32".split()) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".tutorial-lib-alive",
        ".tutorial-lib-mine",
        ".tutorial-lib-young",
        "new",
    ]


@posix
def test_a_killed_sample_leaves_what_the_next_one_removes(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "tutorial_lib.cli", "sample", "big", "--n", "100000"],
        stderr=subprocess.DEVNULL,
    ) as drawing:
        while len(list(tmp_path.glob(".tutorial-lib-*/*"))) < 2:
            assert drawing.poll() is None  # the lock, and what is being drawn
        drawing.kill()
    [left] = tmp_path.iterdir()
    os.utime(left, (1e9, 1e9))
    assert main("sample new --n 1 --size 32".split()) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_sample_holds_out(tmp_path, capsys):
    line = f"sample new --n 4 --size 32 --test 2 --breeds {TWO_BREEDS}"
    assert main(line.split()) == 0
    assert capsys.readouterr().out == "new: 6 pictures, 2 classes\n"
    parts = {
        p.parent.relative_to("new").as_posix(): len(list(p.parent.iterdir()))
        for p in Path("new").rglob("*.jpg")
    }
    assert parts == {
        "train/striped_long": 2,
        "train/masked_round": 2,
        "test/striped_long": 1,
        "test/masked_round": 1,
    }


@pytest.mark.parametrize(
    "args, folder",
    [
        (["나의 사진"], "나의 사진"),
        (["--", "-x"], "-x"),
        (["./-x"], "-x"),
        (["a b/c/d"], "a b/c/d"),
        (["empty"], "empty"),
        (["~"], "~"),
        (["empty/../new"], "new"),
        (["*"], "*") if os.name != "nt" else (["new"], "new"),
    ],
)
def test_sample_into_folders_of_any_name(args, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["sample", "--n", "1", "--size", "32", *args]) == 0, (
        capsys.readouterr().err
    )
    assert everything(folder) == [
        "striped_pointy",
        "striped_pointy/striped_pointy_1.jpg",
    ]
    assert {p.split("/")[0] for p in everything(".")} == {"empty", folder.split("/")[0]}


NO_MEMORY = (
    "the memory is full: end other programs, or use fewer pictures; "
    "in a training a smaller train.batch_size or data.size helps"
)


def test_sample_through_a_link_and_a_name_of_full_length(tmp_path, capsys):
    (tmp_path / "real").mkdir()
    try:
        (tmp_path / "link").symlink_to("real")
    except OSError:
        pytest.skip("this account makes no links")
    long = "n" * (100 if os.name == "nt" else 250)
    for name in "link", long:
        assert main(["sample", "--n", "1", "--size", "32", name]) == 0, (
            capsys.readouterr().err
        )
    assert (tmp_path / "link").is_symlink() and everything("real") and everything(long)


@pytest.mark.parametrize(
    "stop, status, words",
    [
        (lambda: signal.raise_signal(signal.SIGINT), 130, "tutorial-lib: stopped\n"),
        (
            lambda: (_ for _ in ()).throw(
                OSError(errno.ENOSPC, "No space left on device", "a.jpg")
            ),
            1,
            "tutorial-lib: error: a.jpg: No space left on device: "
            "delete something, or use a folder on another disk\n",
        ),
        (
            lambda: (_ for _ in ()).throw(MemoryError()),
            1,
            f"tutorial-lib: error: {NO_MEMORY}\n",
        ),
    ],
    ids=["Ctrl-C", "full disk", "no memory"],
)
def test_sample_writes_all_or_nothing(
    stop, status, words, tmp_path, monkeypatch, capsys
):
    from tutorial_lib import sample as module

    drawn, draw = [], module.draw

    def stopped(*args):
        drawn.append(args)
        if len(drawn) == 4:
            stop()
        return draw(*args)

    monkeypatch.setattr(module, "draw", stopped)
    (tmp_path / "empty").mkdir()
    for folder in "empty", "a/b":
        drawn.clear()
        assert main(["sample", folder, "--n", "6", "--size", "32"]) == status
        assert (
            len(drawn) == 4
            and everything(".") == ["empty"]
            and capsys.readouterr() == ("", words)
        )


# ---- advise


class Found(SimpleNamespace):
    def to_dict(self):
        return {"folder": self.folder, "low": float("nan"), "counts": {"고양이": 3}}

    def __str__(self):
        return f"Use first: {self.body} on {self.folder}"


def test_advise_prints_words_or_json(monkeypatch, capsys):
    monkeypatch.setattr(
        scenarios, "advise", lambda folder, body: Found(folder=folder, body=body)
    )
    assert main(["advise", "내 사진"]) == 0
    assert capsys.readouterr() == ("Use first: auto on 내 사진\n", "")
    assert main(["advise", "./-x", "--body", "densenet_tiny"]) == 0
    assert capsys.readouterr().out == "Use first: densenet_tiny on ./-x\n"
    assert main(["advise", "--json", "--", "-x"]) == 0
    text = capsys.readouterr().out
    assert text.isascii() and json.loads(text) == {
        "folder": "-x",
        "low": None,
        "counts": {"고양이": 3},
    }
    assert "NaN" not in text


def test_advise_offers_the_bodies_that_the_library_knows(here):
    body = next(o for o in BY_NAME["advise"].options if o.name == "--body")
    with pytest.raises(ValueError) as e:
        scenarios.advise("my_photos", body="none")
    auto, others = body.choices[0], body.choices[1:]
    assert str(e.value).endswith(f"give {auto}, {' or '.join(others)}")


# ---- train


def test_train_says_what_it_made_and_how_to_go_on(here, capsys):
    status, out, err = once(
        ["train", "my_photos", "train.strategy=probe", "data.test=0.2"], capsys
    )
    assert status == 0, err
    result = json.loads(Path("runs/my_photos_2/result.json").read_text())
    made = Path("runs/my_photos_2")
    head = made / "head.safetensors"
    assert out.splitlines() == [
        f"accuracy {result['accuracy']:.3f} on the test part",
        f"run      {made}",
        f"model    {head}, {head.stat().st_size:,} bytes",
        f"report   {made / 'report' / 'report.html'}",
        f"next     tutorial-lib predict {made} photo.jpg",
    ]
    assert "done: probe" in err and "Traceback" not in err
    assert (
        Path("runs/my_photos_2/report/report.html").is_file()
        and Path("runs/my_photos/result.json").is_file()
    ), "an older run stays"


def test_train_in_json_with_the_folder_from_the_configuration(here, tmp_path, capsys):
    Path("mine.yaml").write_text(
        "data: {folder: my_photos}\noutput: {runs: elsewhere}\n"
    )
    named = "output.run_name=내 모형"
    status, out, err = once(
        ["train", *QUICK, "--config", "mine.yaml", "--json", named], capsys
    )
    assert status == 0, err
    told = json.loads(out)
    assert (told["run"], told["model"], told["report"]) == (
        str(Path("elsewhere/내 모형")),
        str(Path("elsewhere/내 모형/head.safetensors")),
        None,
    )
    assert {"accuracy", "part", "bytes", "strategy", "seconds"} <= set(
        told
    ) and 0 <= told["accuracy"] <= 1
    assert told["bytes"] == Path(told["model"]).stat().st_size


def test_paths_outside_of_the_current_folder_stay_as_they_were_given(
    here, tmp_path, monkeypatch, capsys
):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for runs in tmp_path / "others", Path("../more"):
        status, out, err = once(
            ["train", "../my_photos", *QUICK, f"output.runs={runs}"], capsys
        )
        assert status == 0 and f"run      {runs / 'my_photos'}\n" in out, err


@pytest.mark.parametrize("name", ["-내 사진", "a=b", "it's"])
def test_train_on_folders_of_any_name(name, here, capsys):
    Path("my_photos").rename(name)
    status, out, err = once(["train", *QUICK, "--", name], capsys)
    assert status == 0, err
    words = shlex.split(out.splitlines()[-1].removeprefix("next"))
    shutil.copy(next(Path(name).rglob("*.jpg")), "photo.jpg")
    assert words[:2] == ["tutorial-lib", "predict"] and once(words[1:], capsys)[0] == 0


@posix
@pytest.mark.long
def test_ctrl_c_in_the_midst_of_a_training_and_resume(here, capsys):
    words = [
        "train",
        "my_photos",
        "train.strategy=head",
        "train.epochs=4",
        "output.report=false",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "tutorial_lib.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        for line in training.stderr:
            if line.startswith("epoch 2"):
                break  # the checkpoint of epoch 1 is there
        training.send_signal(signal.SIGINT)
        out, last = training.stdout.read(), training.stderr.read().splitlines()[-1]
    again = f"tutorial-lib {shlex.join(words)} --resume"
    assert (training.returncode, out, last) == (
        130,
        "",
        f"tutorial-lib: stopped: go on with `{again}`",
    )
    run = Path("runs/my_photos_2")
    assert not (run / "result.json").exists()
    status, out, err = once(
        ["train", "my_photos", "--resume"], capsys
    )  # the keys may be left away: the run knows them
    assert status == 0 and re.search(r"^resumed at step [1-4] of 4$", err, re.M), err
    assert f"run      {run}\n" in out and not Path("runs/my_photos_3").exists()
    epochs = [
        float(row["epoch"]) for row in csv.DictReader((run / "history.csv").open())
    ]
    assert epochs == sorted(set(epochs)) and set(epochs) == {0, 1, 2, 3, 4}
    status, out, err = once(shlex.split(again)[1:], capsys)
    assert (
        status == 0
        and "is complete: there is nothing to resume" in err
        and f"run      {run}\n" in out
    )


@pytest.mark.parametrize(
    "line, again",
    [
        ("train my_photos", "train my_photos --resume"),
        ("train -- -x", "train ./-x --resume"),
        (
            "train --config 'a b.yaml' 'my photos' train.lr=0.1 --resume",
            "train 'my photos' train.lr=0.1 --config 'a b.yaml' --resume",
        ),
        ("train data.folder=x", "train data.folder=x --resume"),
        ("train x --device cuda:1", "train x --device cuda:1 --resume"),
    ],
)
def test_the_line_to_go_on_with(line, again, monkeypatch, capsys):
    import tutorial_lib.trainer

    def stopped(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(tutorial_lib.trainer, "train", stopped)
    Path("a b.yaml").write_text("recipe: fast")
    assert once(shlex.split(line), capsys) == (
        130,
        "",
        f"tutorial-lib: stopped: go on with `tutorial-lib {again}`\n",
    )


def test_two_do_not_work_in_one_run(here, capsys):
    assert main(["train", "my_photos", *QUICK]) == 0
    run = Path("runs/my_photos_2")
    (run / "result.json").unlink()
    with FileLock(run / ".lock"):
        status, out, err = once(["train", "my_photos", *QUICK, "--resume"], capsys)
    assert (
        (status, out) == (1, "")
        and "another process is at work in " in err.splitlines()[-1]
        and "fault" not in err
        and "Traceback" not in err
    )


# ---- predict


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def photos(here):
    """Three pictures in a folder, and beside them what is none.

    Broken, cut, hidden, and a file of another kind.
    """
    (here / "내 폴더" / "sub").mkdir(parents=True)
    for file, new in zip(
        sorted((here / "my_photos").rglob("*_1.jpg")),
        ["a b.jpg", "sub/-x.jpg", "사진.png"],
        strict=True,
    ):
        shutil.copy(file, here / "내 폴더" / new)
    whole = (here / "내 폴더" / "a b.jpg").read_bytes()
    for name, data in {
        "cut.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "notes.txt": b"mine",
        "._a.jpg": b"mac",
        "web.png": b"<html>",
    }.items():
        (here / "내 폴더" / name).write_bytes(data)
    return "내 폴더"


def test_predict_names_files_in_their_order(here, made, capsys):
    from tutorial_lib.trainer import load_model

    files = [str(p) for p in sorted(Path("my_photos").rglob("*.jpg"), reverse=True)][:5]
    files[1:1] = ["nowhere.jpg"]
    status, out, err = once(
        ["predict", "runs/my_photos", *files, "--top-k", "2"], capsys
    )
    rows, known = (
        table(out),
        load_model("runs/my_photos").predict(files[:1] + files[2:], 2).table(),
    )
    assert status == 3 and list(rows[0]) == [
        "file",
        "label",
        "confidence",
        "label_2",
        "confidence_2",
        "error",
    ]
    assert [r["file"] for r in rows] == files
    assert rows[1] == dict(
        file="nowhere.jpg",
        label="",
        confidence="",
        label_2="",
        confidence_2="",
        error="there is no such file",
    )
    for row, said in zip(rows[:1] + rows[2:], known.to_dict("records")):
        assert (row["label"], row["label_2"], row["error"]) == (
            said["label"],
            said["label_2"],
            "",
        )
        assert abs(float(row["confidence"]) - said["confidence"]) < 1e-4
    assert (
        err == "tutorial-lib: nowhere.jpg: there is no such file\n"
        "tutorial-lib: 1 of 6 files could not be read\n"
    )
    status, out, err = once(
        ["predict", "runs/my_photos/head.safetensors", files[0], "--format", "json"],
        capsys,
    )
    assert (status, err) == (0, "") and [
        (r["file"], r["label"], r["error"]) for r in json.loads(out)
    ] == [(files[0], rows[0]["label"], None)]
    assert {"label_3", "confidence_3"} <= set(
        json.loads(out)[0]
    ) and "label_4" not in json.loads(out)[0], (
        "all classes, where there are fewer than asked for"
    )


def test_predict_lists_as_many_classes_as_the_training_was_told(here, capsys):
    assert once(["train", "my_photos", *QUICK, "evaluation.top_k=1"], capsys)[0] == 0
    file = next(Path("my_photos").rglob("*.jpg"))
    assert once(["predict", "runs/my_photos_2", file], capsys)[1].startswith(
        "file,label,confidence,error\n"
    )
    assert once(["predict", "runs/my_photos_2", file, "--top-k", 3], capsys)[
        1
    ].startswith("file,label,confidence,label_2,confidence_2,label_3,")


def test_predict_folders_and_what_is_no_picture_in_them(photos, capsys):
    status, out, err = once(
        ["predict", "runs/my_photos", photos, "--top-k", "1"], capsys
    )
    found = {
        Path(r["file"]).relative_to(photos).as_posix(): r["error"] for r in table(out)
    }
    assert status == 3 and list(found) == sorted(
        ["a b.jpg", "cut.jpg", "empty.jpg", "sub/-x.jpg", "web.png", "사진.png"]
    )
    assert [name for name, error in found.items() if not error] == [
        "a b.jpg",
        "sub/-x.jpg",
        "사진.png",
    ]
    assert (
        found["empty.jpg"] == "empty file"
        and found["web.png"] == "a web page, not an image"
        and "broken" in found["cut.jpg"]
    )
    assert (
        err.splitlines()[-1] == "tutorial-lib: 3 of 6 files could not be read"
        and len(err.splitlines()) == 4
    )


def test_predict_names_that_begin_with_a_dash_or_come_from_stdin(
    photos, monkeypatch, capsys
):
    shutil.copy(f"{photos}/a b.jpg", "-x.jpg")
    for args in (
        ["predict", "runs/my_photos", "./-x.jpg"],
        ["predict", "--format", "csv", "--", "runs/my_photos", "-x.jpg"],
    ):
        assert once(args, capsys)[0] == 0
    lines = f"{photos}/a b.jpg\r\n\n{photos}/sub\n-x.jpg\n-\nnot\udcff.jpg"
    monkeypatch.setattr(
        sys,
        "stdin",
        io.TextIOWrapper(io.BytesIO(lines.encode("utf-8", "surrogateescape")), "utf-8"),
    )
    status, out, err = once(
        [
            "predict",
            "runs/my_photos",
            "-",
            "사진.jpg",
            "--top-k",
            "1",
            "--format",
            "json",
            "--output",
            "out.json",
        ],
        capsys,
    )
    assert (status, out) == (3, "out.json: 6 files\n")
    rows = json.loads(Path("out.json").read_text("utf-8", "surrogateescape"))
    names = [
        f"{photos}/a b.jpg",
        f"{photos}/sub{os.sep}-x.jpg",
        "-x.jpg",
        "-",
        "not\udcff.jpg",
        "사진.jpg",
    ]
    assert [r["file"] for r in rows] == names and [bool(r["error"]) for r in rows] == [
        False
    ] * 3 + [True] * 3
    assert "사진" in Path("out.json").read_text("utf-8", "surrogateescape")


def test_predict_where_nothing_can_be_read(here, monkeypatch, capsys):
    Path("empty").mkdir()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    for args, out, err in [
        (
            ["empty"],
            "file,label,confidence,error\n",
            "tutorial-lib: empty: there is no picture in it\n",
        ),
        (["-", "--format", "json"], "[]\n", ""),
    ]:
        assert once(["predict", "runs/my_photos", *args, "--top-k", 1], capsys) == (
            3,
            out,
            f"{err}tutorial-lib: 0 of 0 files could not be read\n",
        )
    status, out, err = once(["predict", "runs/my_photos", "nowhere"], capsys)
    assert status == 3 and len(table(out)) == 1


def test_predict_keeps_few_pictures_in_memory_and_writes_all_or_nothing(
    here, monkeypatch, capsys
):
    from tutorial_lib.core import models

    sizes, file = [], str(next(Path("my_photos").rglob("*.jpg")))

    def counted(model, files, *args, **kwargs):
        sizes.extend([len(files)] * bool(files))
        if len(sizes) == 5:
            signal.raise_signal(signal.SIGINT)
        return models.Answers(models.Answer(file, ("a",), (0.5,)) for file in files)

    monkeypatch.setattr(models.Model, "predict", counted)
    before = everything(".")
    assert (
        once(
            ["predict", "runs/my_photos", *[file] * 600, "--output", "out.csv"], capsys
        )[0]
        == 0
    )
    assert sizes == [256, 256, 88] and len(table(Path("out.csv").read_text())) == 600
    whole = Path("out.csv").read_bytes()
    status, _, err = once(
        ["predict", "runs/my_photos", file, "--output", "out.csv"], capsys
    )
    assert (
        status == 1
        and "out.csv is there, and nothing is overwritten: " in err
        and "give another name, or delete it" in err
        and Path("out.csv").read_bytes() == whole
    )
    assert (
        once(
            ["predict", "runs/my_photos", *[file] * 600, "--output", "other.csv"],
            capsys,
        )[0]
        == 130
    )
    assert everything(".") == sorted([*before, "out.csv"]), (
        "half a table, or a hidden folder, is left"
    )


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


def forged(path, about, **tensors):
    import torch
    from safetensors.torch import save_file

    save_file(
        {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)} | tensors,
        path,
        about,
    )


HOSTILE = {
    "a pickle": lambda path, head: path.write_bytes(pickle.dumps(Evil())),
    "empty": lambda path, head: path.write_bytes(b""),
    "cut": lambda path, head: path.write_bytes(head[:-9]),
    "a long header": lambda path, head: path.write_bytes(
        (2**62).to_bytes(8, "little") + head[8:]
    ),
    "of another kind": lambda path, head: forged(path, None),
    "no JSON": lambda path, head: forged(path, {"tutorial_lib": "{"}),
    "a list": lambda path, head: forged(path, {"tutorial_lib": "[]"}),
    "deep": lambda path, head: forged(path, {"tutorial_lib": "[" * 100_000}),
    "of a later version": lambda path, head: forged(
        path, {"tutorial_lib": '{"format": 2}'}
    ),
    "with a path as its body": lambda path, head: path.write_bytes(
        head.replace(b"densenet_tiny", b"../etc/passwd")
    ),
    "of another body": lambda path, head: path.write_bytes(
        re.sub(rb'(fingerprint\\": \\").{8}', rb"\g<1>00000000", head)
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_of_models_are_refused_in_one_line_and_run_nothing(
    kind, here, capsys
):
    head, file = (
        Path("runs/my_photos/head.safetensors"),
        next(Path("my_photos").rglob("*.jpg")),
    )
    whole = head.read_bytes()
    HOSTILE[kind](head, whole)
    assert head.read_bytes() != whole
    for run in "runs/my_photos", head:
        status, out, err = once(["predict", run, file], capsys)
        assert (
            (status, out) == (1, "")
            and err.startswith("tutorial-lib: error: ")
            and str(head) in err
            and err.count("\n") == 1
        ), err
        assert "fault" not in err and not Path("it_ran").exists()


# ---- evaluate and report


def test_evaluate_shows_the_scores_of_the_run(here, capsys):
    from tutorial_lib.report import class_table, read_run, scores

    judged = read_run("runs/my_photos").only("valid")
    score = scores(judged.y, judged.probs)
    status, out, err = once(["evaluate", "runs/my_photos"], capsys)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert (
        lines[0]
        == f"{Path('runs/my_photos')}, part valid: {len(judged)} images, 3 classes"
    )
    low, high = score.accuracy_low, score.accuracy_high
    assert (
        lines[1] == f"accuracy           {score.accuracy:.3f}, "
        f"between {low:.3f} and {high:.3f} with 95 % confidence"
    )
    assert lines[2] == f"balanced accuracy  {score.balanced_accuracy:.3f}"
    known = class_table(judged.y, judged.pred, judged.classes)
    shown = [
        (name, int(right), int(images))
        for name, right, images in re.findall(r"(\w+): (\d+) of (\d+) right", out)
    ]
    assert sorted(shown) == sorted(zip(known["class"], known.right, known.images)) and [
        r / n for _, r, n in shown
    ] == sorted(r / n for _, r, n in shown)
    assert (
        lines[-1] == f"report             {Path('runs/my_photos/report/report.html')}"
    )
    shutil.rmtree("runs/my_photos/report")
    assert (
        once(["evaluate", "runs/my_photos"], capsys)[1].splitlines()[-1]
        == f"report             none yet: tutorial-lib report {Path('runs/my_photos')}"
    )
    told = json.loads(once(["evaluate", "--json", "runs/my_photos"], capsys)[1])
    assert (
        told["scores"]["accuracy"] == pytest.approx(score.accuracy)
        and [c["class"] for c in told["classes"]] == judged.classes
    )
    assert (told["run"], told["part"], told["report"]) == (
        str(Path("runs/my_photos")),
        "valid",
        None,
    )


def test_evaluate_by_other_pictures(here, capsys):
    line = f"sample more --n 6 --size 32 --seed 5 --breeds {TWO_BREEDS}"
    assert once(line.split(), capsys)[0] == 0
    status, out, err = once(["evaluate", "runs/my_photos", "more"], capsys)
    assert status == 0 and out.startswith(
        f"{Path('runs/my_photos/evaluations/more')}, part test: 6 images, 3 classes\n"
    ), err
    assert out.count(" right\n") == 2, "a class without images is not among the worst"
    text = once(
        [
            "evaluate",
            "runs/my_photos/head.safetensors",
            "more",
            "--out",
            "판정",
            "--json",
        ],
        capsys,
    )[1]
    assert (
        "NaN" not in text
        and json.loads(text)["run"] == "판정"
        and None in [c["recall"] for c in json.loads(text)["classes"]]
    )
    Path("more/striped_long").rename("more/striped_lung")
    status, out, err = once(["evaluate", "runs/my_photos", "more"], capsys)
    assert (
        status == 1 and "'striped_lung'" in err and "did you mean 'striped_long'" in err
    )


def test_report_is_written_anew_and_nothing_else_is_overwritten(here, capsys):
    assert once(
        ["report", "runs/my_photos", "--part", "train", "--out", "다른 곳"], capsys
    ) == (0, f"{Path('다른 곳/report.html')}\n", "")
    page = Path("다른 곳/report.html").read_text("utf-8")
    assert "train" in page and page != Path(
        "runs/my_photos/report/report.html"
    ).read_text("utf-8")
    shutil.move("my_photos", "moved")
    assert once(["report", "runs/my_photos", "--images", "moved"], capsys)[:2] == (
        0,
        f"{Path('runs/my_photos/report/report.html')}\n",
    )
    assert "is gone" not in Path("runs/my_photos/report/report.html").read_text("utf-8")
    for args, words in [
        (["--part", "test"], "has no pictures in the part 'test': it has train, valid"),
        (["--out", "moved"], "moved is there and is no report"),
    ]:
        status, out, err = once(["report", "runs/my_photos", *args], capsys)
        assert (status, out) == (1, "") and words in err and err.count("\n") == 1


# ---- config


def test_config_shows_a_configuration_that_can_be_read_back(capsys):
    from tutorial_lib.config import annotated, load_config

    assert once(["config", "--show"], capsys) == (0, annotated(), "")
    status, text, _ = once(["config", "recipe=full", "--show", "train.lr=0.5"], capsys)
    Path("내 설정.yaml").write_text(text, "utf-8")
    assert status == 0 and load_config("내 설정.yaml") == load_config(
        None, ["recipe=full", "train.lr=0.5"]
    )
    assert once(["config", "내 설정.yaml"], capsys) == (
        0,
        "내 설정.yaml is right: recipe full, and\n"
        "  train.lr: 0.5, where the recipe says 0.001\n",
        "",
    )
    assert once(["config"], capsys) == (
        0,
        "the configuration is right: recipe fast\n",
        "",
    )


def test_mistakes_of_a_configuration_come_in_a_line_each(tmp_path, capsys):
    Path("a=b.yaml").write_text("recipe: full\ntrain:\n  epoch: 5\n  lr: fast\n")
    status, out, err = once(["config", "a=b.yaml", "data.vlid=0.1"], capsys)
    assert (status, out) == (1, "") and all(
        line.startswith("tutorial-lib: error: ") for line in err.splitlines()
    )
    assert [
        line.removeprefix("tutorial-lib: error: ").partition(":")[0]
        for line in err.splitlines()
    ] == ["a=b.yaml, line 3", "a=b.yaml, line 4", "command line, data.vlid=0.1"]
    assert "did you mean train.epochs?" in err and "did you mean data.valid?" in err
    assert once(
        ["train", "my_photos", "--config", "a=b.yaml", "data.vlid=0.1"], capsys
    ) == (status, out, err), "and before anything begins"
    assert "ConfigError" in once(["--debug", "config", "a=b.yaml"], capsys)[2]


# ---- models


ACCURACY = re.compile(r" 0\.\d{3}")


@pytest.mark.parametrize("columns", [200, 80, 40, 20])
def test_models_fits_a_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, err = once(["models"], capsys)
    assert (status, err) == (0, "")
    for row in measured_backbones():
        assert row["name"] in out and row["license"] in out
        assert f"{int(row['parameters']):,}" in out and row["ms"] in out
        assert row["weights"] in " ".join(out.split())
        accuracy = usual_accuracy(row, "pets")
        assert not accuracy or f"{float(accuracy):.3f}" in out
    longest = max(len(word) for word in out.split())
    assert all(len(line) <= max(columns, 12 + longest) for line in out.splitlines())
    assert f"auto {USUAL}:" in " ".join(out.split())


def test_models_shows_all_of_one(capsys):
    status, out, err = once(["models", "efficientnet_lite0"], capsys)
    assert (status, err) == (0, "")
    row = measured_backbone("efficientnet_lite0")
    words = " ".join(out.split())
    assert all(f"{key} {text}" in words for key, text in row.items() if text)


def test_models_as_json(capsys):
    status, out, _ = once(["models", "--json"], capsys)
    assert status == 0 and json.loads(out) == measured_backbones()
    status, out, _ = once(["models", "densenet_tiny", "--json"], capsys)
    assert status == 0 and json.loads(out) == measured_backbone("densenet_tiny")


@pytest.mark.parametrize(
    "name, near",
    [
        ("efficientnet-lite0", "did you mean efficientnet_lite0?"),
        ("SqueezeNet1_0", "did you mean squeezenet1_0?"),
        ("zzz", "that were measured. It has efficientnet_lite0, "),
    ],
)
def test_models_does_not_know_a_name(name, near, capsys):
    status, out, err = once(["models", name], capsys)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"tutorial-lib: error: there is no network {name!r} in the ")
    assert near in err


QUICK_MODELS = """
import sys
from tutorial_lib.cli import main
status = main(["models"]) or main(["models", "densenet_tiny"])
print(*sorted({m.partition(".")[0] for m in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


def test_models_imports_nothing_heavy():
    done = run("-c", QUICK_MODELS)
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "torchvision", "fastai", "timm", "pandas", "numpy"}
    assert not heavy & set(done.stderr.split())


# ---- the order of options and names

PIECES = [
    ["runs/my photos"],
    ["-"],
    ["a.jpg"],
    ["-5"],
    ["--top-k", "3"],
    ["--format=json"],
    ["--output", "-x"[1:]],
    ["--debug"],
]


@settings(max_examples=40)
@given(st.permutations(PIECES[4:]), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_options_may_stand_anywhere(options, places):
    words, names = [], list(PIECES[:3])
    for i, name in enumerate([*names, []]):
        words += [
            w for option, at in zip(options, places) if at % 4 == i for w in option
        ] + name
    args = make_parser().parse_args(["predict", *words])
    assert (args.RUN, args.FILE, args.top_k, args.format, args.output, args.debug) == (
        "runs/my photos",
        ["-", "a.jpg"],
        3,
        "json",
        "x",
        True,
    )


# ---- what is wrong, in one line

WRONG = {
    "": (2, "there is no command: see `tutorial-lib --help`"),
    "trian my_photos": (2, "argument COMMAND: invalid choice: 'trian' (choose from "),
    "--see 3": (2, "see `tutorial-lib --help`"),
    "sample": (
        2,
        "the following arguments are required: FOLDER: "
        "see `tutorial-lib sample --help`",
    ),
    "sample new --see 3": (
        2,
        "unrecognized arguments: --see 3: see `tutorial-lib sample --help`",
    ),
    "sample new other": (
        2,
        "unrecognized arguments: other: see `tutorial-lib sample --help`",
    ),
    "sample -x": (2, "see `tutorial-lib sample --help`"),
    "sample new --n many": (
        2,
        "argument --n: invalid int value: 'many': see `tutorial-lib sample --help`",
    ),
    "sample new --n": (
        2,
        "argument --n: expected one argument: see `tutorial-lib sample --help`",
    ),
    "advise new --body resnet": (
        2,
        "argument --body: invalid choice: 'resnet' (choose from ",
    ),
    "sample new --n 0": (
        1,
        "n is 0 and test is 0: n must be 1 or more, test 0 or more.",
    ),
    "sample new --test -1": (
        1,
        "n is 600 and test is -1: n must be 1 or more, test 0 or more.",
    ),
    "sample new --size 8": (
        1,
        "size is 8: it must be a whole number of pixels from 32 to 256.",
    ),
    "sample new --breeds stripy_long": (
        1,
        "No breed is called 'stripy_long'. Did you mean 'striped_long'? "
        "The breeds are ",
    ),
    "sample new --breeds=": (1, "No breed is called ''. The breeds are "),
    "sample full": (
        1,
        "full is not empty, it holds 'a.txt' for one, and nothing is overwritten: "
        "give a new folder, or delete this one",
    ),
    "sample file": (1, "file is a file: give the name of a folder"),
    "sample file/new": (
        1,
        "file is a file, so file/new cannot be made in it: give another folder",
    ),
    "sample .": (1, "'.' is the folder that you are in: give the name of a new one"),
    "sample ''": (1, "'' is the folder that you are in: give the name of a new one"),
    "sample " + "n" * 300: (1, ": give a shorter name") if os.name != "nt" else (1, ""),
    "advise https://a/b": (
        1,
        "https://a/b is an address, and nothing is downloaded: "
        "save it on this machine first",
    ),
    "train https://a/b": (1, "https://a/b is an address, and nothing is downloaded"),
    "predict https://a/b a.jpg": (
        1,
        "https://a/b is an address, and nothing is downloaded",
    ),
    "advise nowhere": (1, "there is no folder nowhere: check the name"),
    "advise ~no-such-user/x": (
        1,
        "a name begins with ~, and no user of this machine is called so: "
        "check the name, or write ./~name",
    ),
    "train": (
        1,
        "there is no folder of images: "
        "name one, or set data.folder in the configuration",
    ),
    "train nowhere": (1, "nowhere: check the name"),
    "train file": (1, "file is a file: give the folder that it is in"),
    "train full": (1, "full has nothing to learn from"),
    "train full train.lrr=1": (
        1,
        "command line, train.lrr=1: there is no key train.lrr: did you mean train.lr?",
    ),
    "train full train.lr=fast": (
        1,
        'command line, train.lr=fast: train.lr is "fast": it takes a number, above 0',
    ),
    "train photos=2": (1, "command line, photos=2: there is no key photos"),
    "train full lr": (1, "command line, lr: write key=value, such as train.lr=1e-3"),
    "train full --config no.yaml": (1, "no.yaml is not there: check the name"),
    "train full --lr 0.1": (
        2,
        "unrecognized arguments: --lr: see `tutorial-lib train --help`",
    ),
    "train full --config": (
        2,
        "argument --config: expected one argument: see `tutorial-lib train --help`",
    ),
    "predict": (
        2,
        "the following arguments are required: RUN, FILE: "
        "see `tutorial-lib predict --help`",
    ),
    "predict full": (
        2,
        "the following arguments are required: FILE: see `tutorial-lib predict --help`",
    ),
    "predict full a.jpg": (
        1,
        "full holds neither model.safetensors nor head.safetensors: it is no run",
    ),
    "predict nowhere a.jpg": (1, "nowhere"),
    "predict file a.jpg": (1, "file"),
    "predict full a.jpg --top-k 0": (
        2,
        "argument --top-k: '0': give a whole number, 1 or more: "
        "see `tutorial-lib predict --help`",
    ),
    "predict full a.jpg --format xml": (
        2,
        "argument --format: invalid choice: 'xml' (choose from ",
    ),
    "predict full a.jpg --output file": (
        1,
        "file is there, and nothing is overwritten: give another name, or delete it",
    ),
    "predict full a.jpg --output no/a.csv": (1, "no/a.csv: there is no folder "),
    "evaluate": (
        2,
        "the following arguments are required: RUN: see `tutorial-lib evaluate --help`",
    ),
    "evaluate nowhere": (1, "nowhere is no folder: give the folder of a run"),
    "evaluate full": (1, "run.json is not there: full is no run"),
    "evaluate full --out x": (
        1,
        "--out is for the evaluation of a FOLDER: give one, or leave it away",
    ),
    "evaluate file full": (
        1,
        "file is the file of a model, which has no place for an evaluation: "
        "give --out FOLDER",
    ),
    "evaluate full nowhere": (
        1,
        "full holds neither model.safetensors nor head.safetensors: it is no run",
    ),
    "report nowhere": (1, "nowhere is no folder: give the folder of a run"),
    "report full": (1, "run.json is not there: full is no run"),
    "report full --part all": (
        2,
        "argument --part: invalid choice: 'all' (choose from ",
    ),
    "config nowhere.yaml": (1, "nowhere.yaml is not there: check the name"),
    "config full": (1, "full is a folder: give the name of a YAML file"),
    "config data.test=2": (
        1,
        "command line, data.test=2: data.test is 2: "
        "it takes a number, at least 0 and at most 0.9",
    ),
    "config file": (1, "stands where keys have to be"),
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:30] or "nothing")
def test_what_is_wrong_is_said_in_one_line(line, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    for name in "full/a.txt", "file":
        (tmp_path / name).write_text("mine")
    before = everything(tmp_path)
    status, words = WRONG[line]
    assert main(shlex.split(line)) == status
    out, err = capsys.readouterr()
    assert (
        out == ""
        and err.startswith("tutorial-lib: error: ")
        and words in err
        and err.count("\n") == 1
        and err.endswith("\n")
    ), err
    assert (
        everything(tmp_path) == before
        and (tmp_path / "file").read_text()
        == (tmp_path / "full" / "a.txt").read_text()
        == "mine"
    )


def test_a_place_that_cannot_be_written_to_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert main(["sample", "a/b"]) == 1
    assert capsys.readouterr().err == (
        f"tutorial-lib: error: {tmp_path} cannot be written to, "
        "so a/b cannot be made in it: give another folder\n"
    )


FAULTS = [
    (
        KeyError("head"),
        "KeyError: 'head': this is a fault in tutorial_lib, so please run the command "
        "again with --debug, and report what it prints",
    ),
    (RuntimeError("one\ntwo"), "RuntimeError: one two: this is a fault"),
    (ValueError("one\n\ntwo"), "one  two"),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "a  b"),
        "a  b: No such file: check the name",
    ),
    (
        PermissionError(errno.EACCES, "Permission denied", "b"),
        "b: Permission denied: check who may read and write it, or use another folder",
    ),
    (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    (OSError("with advice"), "with advice"),
    (
        OSError(errno.ENOTEMPTY, "Directory not empty", "tmp", None, "new"),
        "new: Directory not empty",
    ),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
    (
        RuntimeError("another process is at work in runs/x: wait for it"),
        "another process is at work in runs/x: wait for it\n",
    ),
    *(
        (
            error,
            f"{NO_MEMORY}\n",
        )
        for error in (
            MemoryError(),
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: not enough memory: "
                "you tried to allocate 9 bytes"
            ),
            type("OutOfMemoryError", (RuntimeError,), {})(
                "CUDA out of memory. Tried to allocate 9 GiB"
            ),
        )
    ),
]


@pytest.mark.parametrize(
    "error, words",
    FAULTS,
    ids=lambda x: type(x).__name__ if isinstance(x, Exception) else "",
)
def test_errors_of_all_kinds_in_one_line_and_with_debug_a_traceback(
    error, words, stand_in, capsys
):
    def fails(args):
        raise error

    stand_in(fails)
    assert main(["config"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"tutorial-lib: error: {words}") and err.count("\n") == 1
    for line in ["--debug", "config"], ["config", "--debug"]:
        assert main(line) == 1
        err = capsys.readouterr().err
        assert (
            err.startswith("Traceback")
            and "in fails" in err
            and type(error).__name__ in err
        )


def test_warnings_of_libraries_are_not_the_readers(stand_in, recwarn, capsys):
    def warn(args):
        for kind in FutureWarning, DeprecationWarning, UserWarning:
            warnings.warn("a word", kind, stacklevel=1)

    stand_in(warn)

    def heard(*line):
        recwarn.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert main([*line, "config"]) == 0
        return [w.category for w in recwarn]

    capsys.readouterr()
    assert heard() == []  # what is for everybody is said in one line
    assert capsys.readouterr().err == "tutorial-lib: warning: a word\n"
    assert heard("--debug") == [FutureWarning, DeprecationWarning, UserWarning]


def test_a_name_that_the_terminal_cannot_show_stops_nothing(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["sample", "사진", "--n", "1", "--size", "32"]) == 0
    assert (
        out.buffer.getvalue() == b"\\uc0ac\\uc9c4: 1 pictures, 1 classes\n"
        and everything("사진")
    )


# ---- stdout is for the answer

NOISY = """
import os, subprocess, sys
from tutorial_lib import cli
def answer(args):
    print("a print")
    os.write(1, b"a write\\n")
    subprocess.run(["echo", "a program"])
    args.answer.write("the answer\\n")
    sys.stdout.write("another print\\n")
cli.RUNS["config"] = answer
status = cli.main(["config"])
print("the caller's own", file=sys.stdout, flush=True)
sys.exit(status)
"""


@posix
def test_what_is_not_the_answer_goes_to_stderr_below_python_too():
    done = run("-c", NOISY)
    assert (done.returncode, done.stdout) == (0, "the answer\nthe caller's own\n")
    assert sorted(done.stderr.splitlines()) == [
        "a print",
        "a program",
        "a write",
        "another print",
    ]


def test_a_cache_that_cannot_be_written_is_said_in_one_line(here, monkeypatch, capsys):
    "And the answer is the same."
    file = str(next(Path("my_photos").rglob("*.jpg")))
    want = once(["predict", "runs/my_photos", file], capsys)[:2]
    Path("file").touch()
    monkeypatch.setenv("TUTORIAL_CACHE", "file/cache")
    status, out, err = once(["predict", "runs/my_photos", file], capsys)
    assert (status, out) == want and err.count("\n") == 1
    assert err.startswith(
        "tutorial-lib: warning: the graph of the network cannot be kept"
    )


def test_what_a_library_prints_is_not_in_the_answer(here, monkeypatch, capsys):
    "As torch.hub does when it downloads the weights of a body."
    from tutorial_lib.core import models

    load = models.load_model

    def downloads(path, device=None):
        print('Downloading: "https://example.org/a.pth"')
        return load(path, device)

    monkeypatch.setattr("tutorial_lib.core.models.load_model", downloads)
    file = next(Path("my_photos").rglob("*.jpg"))
    status, out, err = once(
        ["predict", "runs/my_photos", file, "--format", "json"], capsys
    )
    assert (
        status == 0
        and json.loads(out)[0]["file"] == str(file)
        and err == 'Downloading: "https://example.org/a.pth"\n'
    )
    assert once(["evaluate", "runs/my_photos", "my_photos", "--json"], capsys)[
        1
    ].startswith("{")
    before = sys.stdout
    for line in ["predict", "nowhere", "a.jpg"], ["predict", "runs/my_photos", file]:
        main([str(word) for word in line])
    assert sys.stdout is before


class OnWindows(io.TextIOWrapper):
    """stdout into a file on Windows.

    The code page is not UTF-8, and a line ends in two characters.
    """

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding, newline="\r\n")


def told(args, monkeypatch, encoding="cp949"):
    "The status of a command, and the bytes of its stdout."
    monkeypatch.setattr(sys, "stdout", out := OnWindows(encoding))
    status = main([str(a) for a in args])
    out.flush()
    return status, out.buffer.getvalue()


@pytest.mark.parametrize("encoding", ["cp949", "cp1252", "ascii", "utf-8"])
def test_a_table_is_utf8_and_json_is_ascii_whatever_the_code_page_is(
    encoding, here, monkeypatch
):
    file = next(Path("my_photos").rglob("*.jpg"))
    names = ["café.jpg", "고양이.jpg", "😀.jpg"]
    for name in names:
        shutil.copy(file, name)
    status, data = told(
        ["predict", "runs/my_photos", *names, "--top-k", 1], monkeypatch, encoding
    )
    assert (
        status == 0
        and [row["file"] for row in table(data.decode("utf-8"))] == names
        and b"\r" not in data
    )
    status, data = told(
        ["predict", "runs/my_photos", *names, "--format", "json"], monkeypatch, encoding
    )
    assert (
        status == 0
        and [row["file"] for row in json.loads(data.decode("ascii"))] == names
    )
    assert (
        told(["config", "--show", "data.folder=고양이 😀"], monkeypatch, encoding)[1]
        .decode("utf-8")
        .count("\n  folder: 고양이 😀\n")
        == 1
    )
    lines = [["evaluate", "runs/내 모형", "--json"]]
    if encoding == "cp949":  # one training is enough: its JSON is written as others are
        run_name = "output.run_name=내 모형"
        lines.insert(0, ["train", "my_photos", *QUICK, run_name, "--json"])
    else:
        Path("runs/my_photos").rename("runs/내 모형")
    for line in lines:
        status, data = told(line, monkeypatch, encoding)
        assert status == 0 and json.loads(data.decode("ascii"))["run"] == str(
            Path("runs/내 모형")
        )
    text = told(["evaluate", "runs/내 모형"], monkeypatch, encoding)[1].decode(encoding)
    assert "accuracy" in text and (r"\ub0b4 \ubaa8\ud615" in text or "내 모형" in text)


@posix
def test_a_name_that_is_no_utf8_goes_out_as_it_is(here, monkeypatch):
    name = os.fsdecode(b"caf\xe9.jpg")
    shutil.copy(next(Path("my_photos").rglob("*.jpg")), name)
    for encoding in "cp949", "utf-8":
        status, data = told(
            ["predict", "runs/my_photos", name, "--top-k", 1], monkeypatch, encoding
        )
        assert status == 0 and b"\ncaf\xe9.jpg," in data
    assert (
        json.loads(
            told(["predict", "runs/my_photos", name, "--format", "json"], monkeypatch)[
                1
            ]
        )[0]["file"]
        == name
    )
    assert (
        told(
            [
                "predict",
                "runs/my_photos",
                name,
                "고양이",
                "--format",
                "json",
                "--output",
                "a.json",
            ],
            monkeypatch,
        )[0]
        == 3
    )
    text = Path("a.json").read_text("utf-8")  # strictly
    assert [row["file"] for row in json.loads(text)] == [
        name,
        "고양이",
    ] and "고양이" in text
    assert (
        told(
            ["predict", "runs/my_photos", name, "--excel", "--output", "a.csv"],
            monkeypatch,
        )[0]
        == 0
    )
    assert r"caf\udce9.jpg" in Path("a.csv").read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-x",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1+1",
        "＝1+1",
        "007",
        "1e5",
        "1E-5",
        "12",
        "1.5",
        "1,5",
        "1/2",
        "3-1",
        "2020-01-01",
        "10:30",
        "5 %",
        "$5",
        "MAR1",
        "1-Mar",
        "sept2",
        "June 3",
        "2 pm",
        "TRUE",
        "false",
        "(5)",
    ],
)
def test_excel_gets_text_that_it_does_not_change(text):
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "cell",
    [
        "cat",
        "고양이",
        "a=1",
        "p003.png",
        "runs/1/2.jpg",
        "marble",
        "e5 car",
        "January",
        "nan",
        "None",
        "",
        "truly",
        "x-1",
        "a@b",
        0.5,
        1,
        None,
    ],
)
def test_excel_gets_all_else_as_it_is(cell):
    assert spreadsheet_cell(cell) == cell


def test_a_table_for_excel(here, monkeypatch, capsys):
    from tutorial_lib.core import models

    classes = ["=1+1", "007", "1e5", "고양이, 개"]

    def named(model, files, *args, **kwargs):
        told = zip(files, classes, [0.5, 0.25, 1.0, 1e-5])
        return models.Answers(models.Answer(f, (c,), (p,)) for f, c, p in told)

    monkeypatch.setattr(models.Model, "predict", named)
    files = [str(f) for f in list(Path("my_photos").rglob("*.jpg"))[:4]]
    assert (
        once(
            ["predict", "runs/my_photos", *files, "--excel", "--output", "x.csv"],
            capsys,
        )[0]
        == 0
    )
    data = Path("x.csv").read_bytes()
    assert (
        data.startswith(b"\xef\xbb\xbffile,label,confidence,error\r\n")
        and data.count(b"\n") == data.count(b"\r\n") == 5
        and data.count(b"\xef\xbb\xbf") == 1
    )
    rows = table(data.decode("utf-8-sig"))
    assert [r["label"] for r in rows] == ["'=1+1", "'007", "'1e5", "고양이, 개"] and [
        float(r["confidence"]) for r in rows
    ] == [0.5, 0.25, 1.0, 0.0]
    assert (
        told(["predict", "runs/my_photos", *files, "--excel"], monkeypatch)[1] == data
    )
    assert once(
        ["predict", "runs/my_photos", *files, "--excel", "--format", "json"], capsys
    ) == (
        1,
        "",
        "tutorial-lib: error: --excel is for a table: "
        "leave --format json away, or --excel\n",
    )


# ---- names, as people write them


def on_stdin(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


LISTS = {
    "a byte-order mark": "\ufeffa.jpg\nb c.jpg\n".encode(),
    "Windows": b"a.jpg\r\nb c.jpg\r\n\r\n",
    "UTF-16": "a.jpg\r\nb c.jpg\r\n".encode("utf-16"),
    "UTF-16, the other way": "\ufeffa.jpg\nb c.jpg".encode("utf-16-be"),
    "UTF-16 without a mark": "a.jpg\r\nb c.jpg\r\n".encode("utf-16-le"),
    "UTF-16 without a mark, the other way": "a.jpg\r\nb c.jpg\r\n".encode("utf-16-be"),
    "in quotes": b"\"a.jpg\"\n'b c.jpg'\n",
    "blanks": b"  a.jpg\t\n b c.jpg  \r\n",
    "NUL": b"a.jpg\0b c.jpg\0",
    "NUL without the last": b"./a.jpg\0./b c.jpg",
    "blanks and quotes": b' "a.jpg" \r\n "b c.jpg"\r\n',
}


@pytest.mark.parametrize("kind", LISTS)
def test_names_on_stdin_as_other_programs_write_them(kind, monkeypatch):
    for name in "a.jpg", "b c.jpg":
        Path(name).touch()
    on_stdin(monkeypatch, LISTS[kind])
    assert [(os.path.normpath(name), why) for name, why in given_files(["-"])] == [
        ("a.jpg", ""),
        ("b c.jpg", ""),
    ]


@posix
def test_what_is_there_is_meant_as_it_is_written(monkeypatch):
    names = [
        " a.jpg ",
        '"a.jpg"',
        "a.jpg",
        "[a].jpg",
        "*.jpg",
        "~",
        "a\r",
        "file:a.jpg",
        "line\nbreak.jpg",
        "https:",
    ]
    for name in names:
        Path(name).touch()
    assert [name for name, _ in given_files(names)] == names
    on_stdin(monkeypatch, "\0".join(names).encode())
    assert [name for name, _ in given_files(["-"])] == names
    on_stdin(monkeypatch, b"?.jpg\n")
    assert list(given_files(["-"])) == [("?.jpg", "")], (
        "a name from a program is no pattern"
    )


def test_a_pattern_that_no_shell_expanded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in (
        "b.png",
        "a.png",
        "sub/c.png",
        "sub/deep/d.png",
        ".e.png",
        "runs/x/report/f.png",
        "runs/x/config.yaml",
        "runs/x/split.csv",
        "runs/x/stock.json",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")

    def found(*words):
        return [(Path(name).as_posix(), why) for name, why in given_files(words)]

    assert found("*.png") == found("'*.png'") == [("a.png", ""), ("b.png", "")]
    assert found("?.png", "sub/[c].png") == [
        ("a.png", ""),
        ("b.png", ""),
        ("sub/c.png", ""),
    ]
    capsys.readouterr()
    assert (
        found("**/*.png")
        == found("**")
        == [("a.png", ""), ("b.png", ""), ("sub/c.png", ""), ("sub/deep/d.png", "")]
    )
    assert (
        capsys.readouterr()
        .err.splitlines()[0]
        .startswith(f"tutorial-lib: **/*.png: left out, 1: {Path('runs/x')} (")
    )
    assert found("runs/x/report/*.png") == [("runs/x/report/f.png", "")], (
        "who names it means it"
    )
    assert found("~/a.*") == [((tmp_path / "a.png").as_posix(), "")]
    assert found("*.gif") == [
        ("*.gif", "no file is called so, nor like it as a pattern")
    ]
    if os.name != "nt":
        Path("sub/loop").symlink_to(tmp_path / "sub")
        assert found("sub/**/*.png") == [("sub/c.png", ""), ("sub/deep/d.png", "")]


def test_addresses_and_other_ways_to_say_where(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = tmp_path / "내 사진 #1.jpg"
    file.touch()
    for word in (
        file.as_uri(),
        file.as_uri().replace("file://", "FILE://localhost"),
        f"~/{file.name}",
        f" '{file}' ",
    ):
        assert [*map(Path, next(zip(*given_files([word]))))] == [file]
    for word in (
        "https://example.org/cat.jpg",
        "HTTP://a/b.png?x=1",
        "s3://photos/a.jpg",
        "ftp://a/b.jpg",
    ):
        assert list(given_files([word])) == [
            (
                word,
                "an address, and nothing is downloaded: save it on this machine first, "
                "and give the name that it has here",
            )
        ]
    assert (
        local_place("C:/a.jpg") == "C:/a.jpg"
        and local_place(None) is None
        and local_place("~no-such-user/x") == "~no-such-user/x"
    )
    with pytest.raises(
        ValueError, match="^https://a/runs is an address, and nothing is downloaded"
    ):
        local_place("https://a/runs")


def test_figures_of_reports_are_not_predicted(here, capsys):
    status, out, err = once(["predict", "runs/my_photos", ".", "--top-k", 1], capsys)
    files = [row["file"] for row in table(out)]
    assert (
        status == 0
        and len(files) == 36
        and all(Path(file).parts[0] == "my_photos" for file in files)
    ), files
    assert (
        err.startswith(f"tutorial-lib: .: left out, 1: {Path('runs/my_photos')} (")
        and err.count("\n") == 1
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-8"])
@pytest.mark.parametrize(
    "text, names",
    [
        ("photos/a.png\n", ["photos/a.png"]),
        ("photos/a.png", ["photos/a.png"]),
        ("a.png\r\nb.png\r\n", ["a.png\r", "b.png\r"]),
    ],
)
def test_names_of_powershell_without_a_mark(encoding, text, names, monkeypatch):
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode(encoding)), "utf-8")
    )
    assert [name.strip() for name in names_on_stdin()] == [
        name.strip() for name in names
    ]


def test_a_closed_stdin_is_named(monkeypatch, here, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert once(["predict", "runs/my_photos", "-"], capsys)[::2] == (
        1,
        "tutorial-lib: error: `-` means names from stdin, and stdin is closed: "
        "write them into it, one a line\n",
    )


def test_two_folders_in_place_of_the_one_above(here, capsys):
    a, b = sorted(Path("my_photos").iterdir())[:2]
    status, out, err = once(["train", a, b], capsys)
    assert (status, out, err) == (
        1,
        "",
        f"tutorial-lib: error: {a} and {b} are two folders: give the one that holds "
        f"all classes, {Path('my_photos').absolute()}\n",
    )


def test_a_carriage_return_in_a_cell_ends_no_row():
    out = io.StringIO(newline="")
    rows = CsvRows(out, ["file", "label", "error", "confidence"])
    for row in ["a\rb", "c", None, 0.5], ["d", "e", "f", 1]:
        rows.write(row)
    assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:] == [
        ["a\rb", "c", "", "0.5"],
        ["d", "e", "f", "1"],
    ]


@posix
def test_what_is_left_out_of_a_folder_is_said(monkeypatch, capsys):
    "Whatever `image_files` leaves out, and why."
    from tutorial_lib.core import folders

    Path("photos/sub").mkdir(parents=True)
    Path("photos/more").symlink_to("sub")
    top = Path("photos").absolute()
    found = folders.ImageFiles(
        [top / "a.jpg"],
        [
            (top / "more", "link, not followed"),
            (top / "sub" / "b.jpg", "link, not followed: it is counted already"),
            (top / "b.heic", "HEIC"),
            (top / ".c", "hidden"),
            (top / "notes.txt", "not an image"),
        ],
    )
    monkeypatch.setattr(folders, "image_files", lambda folder, links: found)
    assert list(given_files(["photos"])) == [
        ("photos/a.jpg", ""),
        ("photos/b.heic", "HEIC"),
    ]
    assert capsys.readouterr() == (
        "",
        "tutorial-lib: photos: left out, 2: more (link, not followed) and more\n",
    )


@posix
def test_links_out_of_a_folder_are_followed_and_said(tmp_path, capsys):
    "As a training follows them."
    inside, outside = (
        draw(tmp_path / "photos", 6),
        draw(tmp_path / "other" / "photos", 6),
    )
    (inside / "more").symlink_to(outside)
    assert len(list(given_files(["photos"]))) == 12
    assert capsys.readouterr() == (
        "",
        "tutorial-lib: photos: Links, 1: what they lead to lies outside of the folder, "
        f"and is used, such as more -> {os.path.realpath(outside)}.\n",
    )


# ---- what stands in the wrong place is named


def test_run_and_picture_the_other_way_round(here, capsys):
    Path("my photos").mkdir()
    shutil.copy(next(Path("my_photos").rglob("*.jpg")), "photo.jpg")
    for line, right in [
        ("predict photo.jpg runs/my_photos", "predict runs/my_photos photo.jpg"),
        (
            "predict 'my photos' runs/my_photos a.jpg",
            "predict runs/my_photos 'my photos' a.jpg",
        ),
        (
            "predict nowhere.jpg runs/my_photos/head.safetensors",
            "predict runs/my_photos/head.safetensors nowhere.jpg",
        ),
        ("evaluate my_photos runs/my_photos", "evaluate runs/my_photos my_photos"),
    ]:
        status, out, err = once(shlex.split(line), capsys)
        assert (
            (status, out) == (1, "")
            and err.count("\n") == 1
            and f" is one. The run comes first: `tutorial-lib {right}`\n" in err
        ), err
    assert once(["predict", "runs/my_photos", "photo.jpg"], capsys)[0] == 0
    status, out, err = once(["predict", "runs", "photo.jpg"], capsys)
    assert (
        status == 1
        and "runs is a folder of runs: give one of them, such as "
        f"{Path('runs/my_photos')}\n"
        in err
    )


def zipped(path):
    import torch

    torch.save({"a": torch.zeros(2)}, path)


@pytest.mark.parametrize(
    "name, make, words",
    [
        ("photo.jpg", lambda path: sample_picture(path), "a picture"),
        ("x.csv", lambda path: path.write_text("a,b\n1,2\n"), "text"),
        ("one.csv", lambda path: path.write_text("a"), "text"),
        (
            "best.pt",
            zipped,
            "a model of another program (torch.save writes such files)",
        ),
        (
            "export.pkl",
            lambda path: path.write_bytes(b"\x80\x04."),
            "a pickle of Python",
        ),
        (
            "photos.zip",
            lambda path: shutil.make_archive("photos", "zip", "in_zip"),
            "a zip file",
        ),
        ("net.onnx", lambda path: path.write_bytes(b"\x08\x07\x12"), "a model of ONNX"),
        (
            "net.h5",
            lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
            "a model of Keras",
        ),
    ],
)
def test_a_file_that_is_no_model_is_named(name, make, words, tmp_path, capsys):
    Path("in_zip").mkdir()
    make(tmp_path / name)
    for line in (
        ["predict", name, "a.jpg"],
        ["evaluate", name, "in_zip", "--out", "there"],
    ):
        status, out, err = once(line, capsys)
        assert (
            (status, out) == (1, "")
            and err.startswith(f"tutorial-lib: error: {name} is {words}")
            and err.count("\n") == 1
        )
        assert (
            "give the folder of a run first, "
            "or a file *.safetensors that `tutorial-lib train` wrote" in err
        )


def sample_picture(path):
    shutil.copy(next(sample(path.with_name("drawn"), 1, 32).glob("*.jpg")), path)


def test_evaluate_on_the_folder_of_one_class(here, capsys):
    breed = next(Path("my_photos").iterdir())
    for folder in breed, f"{breed}{os.sep}", breed.absolute():
        status, out, err = once(["evaluate", "runs/my_photos", folder], capsys)
        assert (
            (status, out) == (1, "")
            and err.count("\n") == 1
            and f"{folder} holds pictures, and no sub-folders that say what is right. "
            in err
        ), err
        assert (
            "give the folder above it: `tutorial-lib evaluate runs/my_photos my_photos`"
            in err
        )
    assert not Path("runs/my_photos/evaluations").exists()


def test_weights_that_cannot_be_had(here, monkeypatch, capsys):
    def no_network(*args):
        raise OSError("<urlopen error no network>")

    monkeypatch.setattr("tutorial_lib.core.backbones.find_backbone", no_network)
    monkeypatch.setenv("TUTORIAL_CACHE", "empty")
    for line in (
        ["predict", "runs/my_photos", "a.jpg"],
        ["evaluate", "runs/my_photos", "my_photos"],
    ):
        status, out, err = once(line, capsys)
        assert (
            (status, out) == (1, "")
            and err.count("\n") == 1
            and "runs/my_photos" in err
            and "no network" in err
        ), err
        assert (
            "model.name" not in err
            and "connect this machine to the network" in err
            and "TORCH_HOME" in err
            and "a run that holds model.safetensors" in err
        )


@pytest.mark.parametrize(
    "line, name",
    [
        ("train my_photos", "trainer.train"),
        ("predict runs/my_photos a.jpg", "core.models.load_model"),
        ("evaluate runs/my_photos my_photos", "trainer.evaluate"),
    ],
)
def test_the_device_is_handed_on_where_one_is_named(
    line, name, here, monkeypatch, capsys
):
    def asked(*args, **kwargs):
        raise ValueError(f"asked for {kwargs}")

    monkeypatch.setattr(f"tutorial_lib.{name}", asked)
    for more, words in (
        ("", "{}"),
        ("--device auto", "{}"),
        ("--device cuda:1", "{'device': 'cuda:1'}"),
    ):
        assert once(shlex.split(f"{line} {more}"), capsys) == (
            1,
            "",
            f"tutorial-lib: error: asked for {words}\n",
        )


# ---- nobody reads

TALKS = """
import sys
from tutorial_lib import cli
def talk(args):
    for i in range(100_000): print("a line of some length", i, file=args.answer)
cli.RUNS["config"] = talk
sys.exit(cli.main(["config"]))
"""


@posix
@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    "program",
    [
        ["-c", TALKS],
        ["-m", "tutorial_lib.cli", "sample", "new", "--n", "1"],
        ["-m", "tutorial_lib.cli", "train", "--help"],
    ],
    ids=["much", "little", "help"],
)
def test_a_closed_pipe_is_quiet(program, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(
        *program, stdout=writer, env={"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@posix
def test_a_closed_pipe_hides_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = run(
        "-c",
        TALKS.replace("answer)\n", "answer); raise ValueError('after all')\n", 1),
        stdout=writer,
    )
    os.close(writer)
    assert (done.returncode, done.stderr.count("\n")) == (
        1,
        1,
    ) and "error: after all" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_said():
    with Path("/dev/full").open("w") as full:
        done = run("-m", "tutorial_lib.cli", "--help", stdout=full)
    assert (done.returncode, done.stderr) == (
        1,
        "tutorial-lib: error: No space left on device: "
        "delete something, or use a folder on another disk\n",
    )
