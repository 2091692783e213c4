"""The command line: what it does, what it says when it cannot, and that its help is true and fast."""
import errno, io, json, os, re, shlex, signal, subprocess, sys, sysconfig, tempfile, warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

import tutorial_lib
from tutorial_lib import cli, scenarios
from tutorial_lib.cli import main
from tutorial_lib.sample import sample

COMMANDS = {name: example for name, (_, example, _) in cli._COMMANDS.items()}
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    "Each test runs in a folder of its own, and with the data and the weights that are drawn or shipped."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", "sample")


@pytest.fixture
def stand_in(monkeypatch):
    "Put a function in the place of the command `sample`."
    def put(f):
        f.__doc__ = "A stand-in."
        monkeypatch.setitem(cli._COMMANDS, "sample", (f, "", {}))
    return put


def run(*args, **kwargs):
    "The command in a process of its own."
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | kwargs.pop("env", {}) | {"PYTHONUTF8": "1"}
    kwargs = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE) | kwargs
    return subprocess.run([sys.executable, *args], env=env, encoding="utf-8", **kwargs)


def everything(folder): return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))


# ---- help

LOADED = """
import contextlib, io, sys
before = set(sys.modules)
from tutorial_lib.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for args in ["--help"], ["sample", "--help"], ["advise", "--help"], ["--version"], [], ["no"], ["sample", "--no"]: main(args)
print(*sorted(set(sys.modules) - before))
"""


def test_help_imports_the_standard_library_alone():
    loaded = run("-c", LOADED).stdout.split()
    assert {m for m in loaded if m.startswith("tutorial_lib")} == {"tutorial_lib", "tutorial_lib.cli"}
    assert not {m.partition(".")[0] for m in loaded} - sys.stdlib_module_names - {"tutorial_lib"}
    assert not {"torch", "fastai", "numpy"} & set(loaded)


def test_help_names_commands_statuses_and_the_way_on(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert re.findall(r"^    (\w+) +[A-Z]", text, re.M) == list(COMMANDS) == ["sample", "advise"]
    assert re.findall(r"^  (\d+) ", text, re.M) == ["0", "1", "2", "130", "141"]
    assert "tutorial-lib COMMAND --help" in text


@pytest.mark.parametrize("line", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_fits_a_terminal(line, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(line)
    assert all(len(row) < 80 for row in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_each_argument_and_shows_its_example(name, capsys):
    main(["--help"])
    first = capsys.readouterr().out
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.endswith(f"\nexample:\n  {COMMANDS[name]}\n") and f"\n  {COMMANDS[name]}\n" in first
    assert COMMANDS[name].startswith(f"tutorial-lib {name} ")
    for argument, options in cli._COMMANDS[name][2].items():
        assert re.search(rf"^  {argument}\b", text, re.M) and options["help"]
        default = options.get("default")
        assert default is None or f"(default {default})" in " ".join(text.split())


def test_examples_of_the_help_run_in_their_order(tmp_path, capsys):
    "What the first one draws is made smaller for the others: three pictures of each class teach the test as much."
    main(["--help"])
    examples = re.findall(r"^  tutorial-lib (.+)$", capsys.readouterr().out, re.M)
    assert len(examples) == len(COMMANDS)
    for example in examples:
        assert main(shlex.split(example)) == 0, capsys.readouterr().err
        assert "my_photos" in capsys.readouterr().out
        for file in tmp_path.glob("my_photos/*/*.jpg"):
            if not file.stem.endswith(("_1", "_2", "_3")): file.unlink()


def test_version_and_the_installed_program():
    program = Path(sysconfig.get_path("scripts"), "tutorial-lib.exe" if os.name == "nt" else "tutorial-lib")
    for command in [program], [sys.executable, "-m", "tutorial_lib.cli"]:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"tutorial-lib {tutorial_lib.__version__}\n", "")


# ---- sample

def test_sample_makes_the_pictures_of_the_library_one_sub_folder_a_class(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path/"no_such"))     # another disk could be there, from which nothing can be renamed
    assert main("sample new --n 7 --size 32 --seed 3 --breeds striped_long,masked_round".split()) == 0
    assert capsys.readouterr() == ("new: 7 pictures, 2 classes\n", "")
    flat = sample(tmp_path/"flat", n=7, size=32, seed=3, breeds=["striped_long", "masked_round"])
    assert everything("new") == sorted(["masked_round", "striped_long", *(f"{f.name.rpartition('_')[0]}/{f.name}" for f in flat.iterdir())])
    assert all((Path("new")/f.name.rpartition("_")[0]/f.name).read_bytes() == f.read_bytes() for f in flat.iterdir())
    assert everything(".")[0] == "flat", "something else is left behind"


def test_sample_holds_out(tmp_path, capsys):
    assert main("sample new --n 4 --size 32 --test 2 --breeds striped_long,masked_round".split()) == 0
    assert capsys.readouterr().out == "new: 6 pictures, 2 classes\n"
    parts = {p.parent.relative_to("new").as_posix(): len(list(p.parent.iterdir())) for p in Path("new").rglob("*.jpg")}
    assert parts == {"train/striped_long": 2, "train/masked_round": 2, "test/striped_long": 1, "test/masked_round": 1}


@pytest.mark.parametrize("args, folder", [
    (["나의 사진"], "나의 사진"), (["--", "-x"], "-x"), (["./-x"], "-x"), (["a b/c/d"], "a b/c/d"), (["empty"], "empty"), (["~"], "~"),
    (["empty/../new"], "new"), (["*"], "*") if os.name != "nt" else (["new"], "new"),
])
def test_sample_into_folders_of_any_name(args, folder, tmp_path, capsys):
    (tmp_path/"empty").mkdir()
    assert main(["sample", "--n", "1", "--size", "32", *args]) == 0, capsys.readouterr().err
    assert everything(folder) == ["striped_pointy", "striped_pointy/striped_pointy_1.jpg"]
    assert {p.split("/")[0] for p in everything(".")} == {"empty", folder.split("/")[0]}


def test_sample_through_a_link_and_a_name_of_full_length(tmp_path, capsys):
    (tmp_path/"real").mkdir()
    try: (tmp_path/"link").symlink_to("real")
    except OSError: pytest.skip("this account makes no links")
    long = "n"*(100 if os.name == "nt" else 250)
    for name in "link", long: assert main(["sample", "--n", "1", "--size", "32", name]) == 0, capsys.readouterr().err
    assert (tmp_path/"link").is_symlink() and everything("real") and everything(long)


@pytest.mark.parametrize("stop, status, words", [
    (lambda: signal.raise_signal(signal.SIGINT), 130, "tutorial-lib: stopped\n"),
    (lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device", "a.jpg")), 1,
     "tutorial-lib: error: a.jpg: No space left on device: delete something, or use a folder on another disk\n"),
    (lambda: (_ for _ in ()).throw(MemoryError()), 1, "tutorial-lib: error: the memory is full: end other programs, or use fewer pictures\n"),
], ids=["Ctrl-C", "full disk", "no memory"])
def test_sample_writes_all_or_nothing(stop, status, words, tmp_path, monkeypatch, capsys):
    from tutorial_lib import sample as module
    drawn, draw = [], module.draw
    def stopped(*args):
        drawn.append(args)
        if len(drawn) == 4: stop()
        return draw(*args)
    monkeypatch.setattr(module, "draw", stopped)
    (tmp_path/"empty").mkdir()
    for folder in "empty", "a/b":
        drawn.clear()
        assert main(["sample", folder, "--n", "6", "--size", "32"]) == status
        assert len(drawn) == 4 and everything(".") == ["empty"] and capsys.readouterr() == ("", words)


# ---- advise

class Found(SimpleNamespace):
    def to_dict(self): return {"folder": self.folder, "low": float("nan"), "counts": {"고양이": 3}}
    def __str__(self): return f"Use first: {self.body} on {self.folder}"


def test_advise_prints_words_or_json(monkeypatch, capsys):
    monkeypatch.setattr(scenarios, "advise", lambda folder, body: Found(folder=folder, body=body))
    assert main(["advise", "내 사진"]) == 0
    assert capsys.readouterr() == ("Use first: auto on 내 사진\n", "")
    assert main(["advise", "./-x", "--body", "densenet_tiny"]) == 0
    assert capsys.readouterr().out == "Use first: densenet_tiny on ./-x\n"
    assert main(["advise", "--json", "--", "-x"]) == 0
    text = capsys.readouterr().out
    assert "고양이" in text and json.loads(text) == {"folder": "-x", "low": None, "counts": {"고양이": 3}}
    assert "NaN" not in text


def test_advise_offers_the_bodies_that_the_library_knows():
    assert cli._COMMANDS["advise"][2]["--body"]["choices"] == ["auto", *scenarios._BODIES]


# ---- what is wrong, in one line

WRONG = {
    "": (2, "there is no command: see `tutorial-lib --help`"),
    "trian my_photos": (2, "argument COMMAND: invalid choice: 'trian' (choose from "),
    "--see 3": (2, "see `tutorial-lib --help`"),
    "sample": (2, "the following arguments are required: FOLDER: see `tutorial-lib sample --help`"),
    "sample new --see 3": (2, "unrecognized arguments: --see 3: see `tutorial-lib sample --help`"),
    "sample new other": (2, "unrecognized arguments: other: see `tutorial-lib sample --help`"),
    "sample -x": (2, "see `tutorial-lib sample --help`"),
    "sample new --n many": (2, "argument --n: invalid int value: 'many': see `tutorial-lib sample --help`"),
    "sample new --n": (2, "argument --n: expected one argument: see `tutorial-lib sample --help`"),
    "advise new --body resnet": (2, "argument --body: invalid choice: 'resnet' (choose from "),
    "sample new --n 0": (1, "n is 0 and test is 0: n must be 1 or more, test 0 or more."),
    "sample new --test -1": (1, "n is 600 and test is -1: n must be 1 or more, test 0 or more."),
    "sample new --size 8": (1, "size is 8: it must be a whole number of pixels from 32 to 256."),
    "sample new --breeds stripy_long": (1, "No breed is called 'stripy_long'. Did you mean 'striped_long'? The breeds are "),
    "sample new --breeds=": (1, "No breed is called ''. The breeds are "),
    "sample full": (1, "full is not empty, it holds 'a.txt' for one, and nothing is overwritten: give a new folder, or delete this one"),
    "sample file": (1, "file is a file: give the name of a folder"),
    "sample file/new": (1, "file is a file, so file/new cannot be made in it: give another folder"),
    "sample .": (1, "'.' is the folder that you are in: give the name of a new one"),
    "sample ''": (1, "'' is the folder that you are in: give the name of a new one"),
    "sample " + "n"*300: (1, ": give a shorter name") if os.name != "nt" else (1, ""),
    "advise nowhere": (1, "there is no folder nowhere: check the name"),
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:30] or "nothing")
def test_what_is_wrong_is_said_in_one_line(line, tmp_path, capsys):
    (tmp_path/"full").mkdir()
    for name in "full/a.txt", "file": (tmp_path/name).write_text("mine")
    before = everything(tmp_path)
    status, words = WRONG[line]
    assert main(shlex.split(line)) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tutorial-lib: error: ") and words in err and err.count("\n") == 1 and err.endswith("\n"), err
    assert everything(tmp_path) == before and (tmp_path/"file").read_text() == (tmp_path/"full"/"a.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_to_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert main(["sample", "a/b"]) == 1
    assert capsys.readouterr().err == f"tutorial-lib: error: {tmp_path} cannot be written to, so a/b cannot be made in it: give another folder\n"


FAULTS = [
    (KeyError("head"), "KeyError: 'head': this is a fault in tutorial_lib, so please run the command again with --debug, and report what it prints"),
    (RuntimeError("one\ntwo"), "RuntimeError: one two: this is a fault"), (ValueError("one\n\ntwo"), "one  two"),
    (FileNotFoundError(errno.ENOENT, "No such file", "a  b"), "a  b: No such file: check the name"),
    (PermissionError(errno.EACCES, "Permission denied", "b"), "b: Permission denied: check who may read and write it, or use another folder"),
    (OSError(errno.EIO, "Input/output error"), "Input/output error"), (OSError("with advice"), "with advice"),
    (OSError(errno.ENOTEMPTY, "Directory not empty", "tmp", None, "new"), "new: Directory not empty"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
]


@pytest.mark.parametrize("error, words", FAULTS, ids=lambda x: type(x).__name__ if isinstance(x, Exception) else "")
def test_errors_of_all_kinds_in_one_line_and_with_debug_a_traceback(error, words, stand_in, capsys):
    def fails(args): raise error
    stand_in(fails)
    assert main(["sample"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"tutorial-lib: error: {words}") and err.count("\n") == 1
    for line in ["--debug", "sample"], ["sample", "--debug"]:
        assert main(line) == 1
        err = capsys.readouterr().err
        assert err.startswith("Traceback") and "in fails" in err and type(error).__name__ in err


def test_warnings_of_libraries_are_not_the_readers(stand_in, recwarn):
    def warn(args):
        for kind in FutureWarning, DeprecationWarning, UserWarning: warnings.warn("a word", kind)
    stand_in(warn)
    def heard(*line):
        recwarn.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert main([*line, "sample"]) == 0
        return [w.category for w in recwarn]
    assert heard() == [UserWarning]
    assert heard("--debug") == [FutureWarning, DeprecationWarning, UserWarning]


def test_a_name_that_the_terminal_cannot_show_stops_nothing(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["sample", "사진", "--n", "1", "--size", "32"]) == 0
    assert out.buffer.getvalue() == b"\\uc0ac\\uc9c4: 1 pictures, 1 classes\n" and everything("사진")


# ---- nobody reads

TALKS = """
import sys
from tutorial_lib import cli
def talk(args):
    "Talk."
    for i in range(100_000): print("a line of some length", i)
cli._COMMANDS["sample"] = talk, "", {}
sys.exit(cli.main(["sample"]))
"""


@posix
@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("program", [["-c", TALKS], ["-m", "tutorial_lib.cli", "sample", "new", "--n", "1"]], ids=["much", "little"])
def test_a_closed_pipe_is_quiet(program, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(*program, stdout=writer, env={"PYTHONUNBUFFERED": "1"} if unbuffered else {})
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@posix
def test_a_closed_pipe_hides_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = run("-c", TALKS.replace("i)\n", "i); raise ValueError('after all')\n", 1), stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "error: after all" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_said():
    with open("/dev/full", "w") as full: done = run("-m", "tutorial_lib.cli", "--help", stdout=full)
    assert (done.returncode, done.stderr) == (1, "tutorial-lib: error: No space left on device: delete something, or use a folder on another disk\n")
