"""Runs that go on, and what `train` takes.

Which run it is, what has changed since, and what a user may ask of it."""

import csv
import dataclasses
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import long_but
from photos import BREEDS, draw
from PIL import Image

from tutorial_lib import trainer
from tutorial_lib.config import (
    Config,
    ConfigError,
    DataConfig,
    TrainConfig,
    as_config,
    given_keys,
    load_config,
)
from tutorial_lib.core import backbones, cache, features, resume
from tutorial_lib.core.bodies import make_body
from tutorial_lib.core.files import read_sealed_json, write_sealed_json
from tutorial_lib.report import read_run
from tutorial_lib.trainer import take_stock, train

ROOT = Path(__file__).resolve().parents[1]
QUICK = {
    "model.name": "densenet_tiny",
    "train.strategy": "head",
    "train.minutes": None,
    "train.epochs": 2,
    "train.batch_size": 4,
    "train.precision": "float32",
    "output.report": False,
    "output.checkpoint_minutes": 0,
}
NEW = "begin a new run without --resume"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "Each test runs in a folder of its own, with the weights that are shipped."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    return tmp_path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("resume") / "photos", 16, BREEDS[:2])


@pytest.fixture
def photos(drawn, here):
    "16 pictures of two classes. A test may change them."
    return Path(shutil.copytree(drawn, here / "photos"))


def stop(*args):
    raise KeyboardInterrupt


def stop_at_two(step):
    if step.step == 2:
        stop()


def go(folder, keys=None, resume=False, say=lambda text: None, **more):
    return train(folder, QUICK | (keys or {}), resume, say, **more)


def stopped(folder, keys=None, runs="runs"):
    "A run that was stopped after two steps, with a checkpoint."
    there, keys = {*Path(runs).glob("*")}, keys or {}
    with pytest.raises(KeyboardInterrupt):
        go(folder, keys | {"output.runs": str(runs)}, on_step=stop_at_two)
    [run] = [path for path in {*Path(runs).glob("*")} - there if path.is_dir()]
    assert (run / "checkpoint.safetensors").is_file()
    return run


def left(run):
    return [
        (run / name).read_bytes() for name in ("head.safetensors", "predictions.csv")
    ]


def files(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def snapshot(folder):
    return {path: path.read_bytes() for path in files(folder) if path.name != ".lock"}


def refusal(folder, keys=None, resume=True, kind=ValueError, **more):
    "What is said, in one line, and nothing is changed."
    before = snapshot(".")
    with pytest.raises(kind) as e:
        go(folder, keys, resume, **more)
    assert snapshot(".") == before and "\n" not in str(e.value)
    return str(e.value)


@pytest.fixture(scope="session")
def whole(drawn, tmp_path_factory):
    "What a run leaves that was not stopped."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        return left(go(drawn, {"output.runs": str(tmp_path_factory.mktemp("whole"))}))


# ---- the run of these pictures is found, wherever they are


def a_link(photos):
    Path("link").symlink_to(photos)
    return "link"


def kept_elsewhere(photos):
    "As a copy that keeps no times."
    Path("mnt").mkdir()
    for file in files(photos):
        to = Path("mnt/of mine", file.relative_to(photos))
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
        os.utime(to, (1, 1))
    shutil.rmtree(photos)
    return "mnt/of mine"


def one_touched(photos):
    os.utime(files(photos)[9])
    return photos


PLACES = {
    "a slash behind": lambda photos: f"{photos}/",
    "a relative path": lambda photos: "photos",
    "a way round": lambda photos: "photos/../photos",
    "a link": a_link,
    "renamed": lambda photos: photos.rename(photos.with_name("other")),
    "copied elsewhere": kept_elsewhere,
    "touched": one_touched,
    "copied, the old one there": lambda photos: shutil.copytree(photos, "copy"),
    "all touched": lambda photos: [os.utime(file) for file in files(photos)] and photos,
}


QUICK_PLACES = "a relative path", "renamed", "touched"


@pytest.mark.parametrize("how", long_but(QUICK_PLACES, PLACES))
def test_pictures_that_are_reached_by_another_path(how, photos, whole):
    if how == "a link" and os.name == "nt":
        pytest.skip("links need rights on Windows")
    run, said = stopped(photos), []
    now = PLACES[how](photos)
    assert go(now, resume=True, say=said.append) == run and [
        path.name for path in Path("runs").iterdir() if path.is_dir()
    ] == ["photos"]
    assert left(run) == whole and "resumed at step 2 of 6" in said
    assert said[0].startswith(f"going on with {run}") and (
        ", whose pictures were in " in said[0]
    ) == (os.path.abspath(now) != str(photos))
    assert read_run(run).images == Path(os.path.abspath(now))


def test_pictures_and_runs_that_moved_together(photos, here, monkeypatch, whole):
    top = here / "project"
    top.mkdir()
    photos.rename(top / "photos")
    monkeypatch.chdir(top)
    stopped("photos")
    monkeypatch.chdir(here)
    shutil.copytree(top, "copy")  # and the project itself stays where it is
    Image.new("RGB", (40, 40)).save(f"copy/photos/{BREEDS[0]}/new.png")
    top.rename("moved")
    top.mkdir()
    for place in "moved", "copy":
        monkeypatch.chdir(here / place)
        if place == "copy":
            assert "1 added" in refusal("photos")  # found, though another picture came
            Path(f"photos/{BREEDS[0]}/new.png").unlink()
        assert (
            left(go("photos", resume=True)) == whole
            and len([p for p in Path("runs").iterdir() if p.is_dir()]) == 1
        )


def test_features_are_kept_where_files_are_the_same(photos, whole, monkeypatch):
    "Whatever moved: a row is of the file that it was made of, or is made again."
    seen, fill = [], cache.rows_of_files
    stopped(photos)

    def counts(store, *args, **kwargs):
        seen.append(len(store.lines.read_bytes().splitlines()))
        return fill(store, *args, **kwargs)

    for module in features, cache:
        monkeypatch.setattr(module, "rows_of_files", counts)
    begun = shutil.copytree("runs", "begun")
    for touch, kept in (None, 16), (12, 8), (3, 0):
        shutil.rmtree("runs")
        shutil.copytree(begun, "runs")
        new = photos.rename(photos.with_name(f"photos{kept}"))
        if touch is not None:
            os.utime(sorted(files(new))[touch])
        assert left(go(new, resume=True)) == whole and seen[0] == kept
        seen.clear()
        photos = new


def test_other_pictures_begin_another_run_and_it_is_said(photos, tmp_path):
    run, said = stopped(photos), []
    other = Path(shutil.copytree(photos, tmp_path / "elsewhere" / "photos"))
    for file in files(other):
        Image.open(file).rotate(90).save(file)
    new = go(other, resume=True, say=said.append)
    assert (
        new.name == "photos_2"
        and said[0] == f"no run in runs is of {other}: a new one begins"
    )
    more = shutil.copytree(
        photos, "more"
    )  # a larger folder beside the smaller one is another one
    Image.new("RGB", (40, 40)).save(f"more/{BREEDS[0]}/new.png")
    assert go(more, resume=True).name == "more" and go(photos, resume=True) == run


# ---- which of several


def test_a_run_that_was_copied(photos, whole):
    run = stopped(photos)
    for name in "backup of photos", "photos_2", "a":
        shutil.copytree(run, run.with_name(name))
    before, said = (
        {p: snapshot(p) for p in Path("runs").iterdir() if p.is_dir() and p != run},
        [],
    )
    assert (
        go(photos, resume=True, say=said.append) == run
        and said[0] == f"going on with {run}"
        and left(run) == whole
    )
    assert {p: snapshot(p) for p in before} == before
    shutil.rmtree(run)
    assert go(photos, resume=True).name in {
        p.name for p in before
    }  # a copy alone is the run


def test_the_newest_run_whatever_its_name(photos):
    stopped(photos, {"output.run_name": "z"})
    mine = stopped(photos, {"output.run_name": "mine"})
    second = stopped(photos, {"output.run_name": "z"})
    assert second.name == "z_2" and go(photos, resume=True) == second
    assert "is complete" in says(
        photos
    )  # the newest is complete: an older one has to be asked for
    assert go(photos, {"output.run_name": "mine"}, True) == mine
    assert go(photos, {"output.run_name": "other"}, True).name == "other"


def says(*args, **kwargs):
    said = []
    go(*args, resume=True, say=said.append, **kwargs)
    return "\n".join(said)


# ---- what changed since is named


def new_class(photos):
    (photos / "blue").mkdir()
    for i in range(4):
        Image.new("RGB", (40, 40), (0, 0, 9 * i)).save(photos / "blue" / f"{i}.png")


def exchanged(photos):
    "Another picture of the same length, at the same time."
    file = files(photos)[0]
    data, stat = bytearray(file.read_bytes()), file.stat()
    data[-3] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def swapped(photos):
    a, b = (sorted((photos / breed).iterdir())[0] for breed in sorted(BREEDS[:2]))
    data = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(data)


def moved(photos):
    a, b = sorted(BREEDS[:2])
    sorted((photos / a).iterdir())[0].rename(photos / b / "moved.jpg")


def renamed(photos):
    file = files(photos)[0]
    file.rename(file.with_name("new\nname.jpg" if os.name != "nt" else "new name.jpg"))


def several(photos):
    moved(photos)
    for file in files(photos)[3:7]:
        file.unlink()
    Image.new("RGB", (40, 40)).save(photos / BREEDS[0] / "new.png")


A, B = sorted(BREEDS[:2])
CHANGES = {  # what a user does -> what is said, and whether the run can go on without
    "new class": (
        new_class,
        r"4 added \('blue/0.png', 'blue/1.png', 'blue/2.png' and 1 more\), "
        r"in new classes: 'blue'\.",
        True,
    ),
    "exchanged": (
        exchanged,
        rf"1 exchanged for others, or no longer readable \('{A}/[^']*'\)\.",
        False,
    ),
    "swapped": (
        swapped,
        "2 exchanged for others, or no longer readable "
        rf"\('{A}/[^']*', '{B}/[^']*'\)\.",
        False,
    ),
    "moved": (
        moved,
        rf"1 in another class \('{A}/[^']*' is now '{B}/moved.jpg'\)\.",
        False,
    ),
    "renamed": (
        renamed,
        rf"1 renamed \('{A}/[^']*' is now '{A}/new.{{1,4}}name.jpg'\)\.",
        False,
    ),
    "removed": (
        lambda photos: files(photos)[0].unlink(),
        rf"1 removed \('{A}/[^']*'\)\.",
        False,
    ),
    "all removed": (
        lambda photos: [file.unlink() for file in files(photos)],
        rf"16 removed \('{A}/[^']*', .* and \d+ more\)\.",
        False,
    ),
    "a class removed": (
        lambda photos: shutil.rmtree(photos / A),
        rf"8 removed \('{A}/[^']*', .* and \d+ more\)\.",
        False,
    ),
    "several": (
        several,
        r"1 added \('.*/new.png'\); 1 in another class \(.*\); "
        r"4 removed \(.* and 1 more\)\.",
        False,
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_changed_is_named(how, photos, whole):
    change, words, goes_on = CHANGES[how]
    run = stopped(photos)
    change(photos)
    said = refusal(photos)
    begun = f"{run} was begun with other pictures than {photos} holds now: "
    assert said.startswith(begun) and re.search(words, said), said
    alone = (
        "Begin a new run without --resume, or go on with the pictures of the run alone "
        'with --as-begun (in Python resume="as begun")'
    )
    put_back = f"Put back what the run was begun with, or {NEW}"
    assert said.endswith(alone if goes_on else put_back)
    if not goes_on:
        assert refusal(photos, resume="as begun").endswith(put_back)
    else:
        assert go(photos, resume="as begun") == run and left(run) == whole


def test_what_changed_after_the_end_is_named(photos):
    run = go(photos, {"train.strategy": "probe"})
    keys = {"train.strategy": "probe"}
    new_class(photos)
    said = refusal(photos, keys)
    assert said.startswith(
        f"{run} is complete, and was begun with other pictures than {photos} holds "
        "now: 4 added"
    )
    assert said.endswith(
        "Begin a new run without --resume, or take this one as it is with --as-begun "
        '(in Python resume="as begun")'
    )
    assert go(photos, keys, "as begun") == run
    shutil.rmtree(photos)
    assert go(photos, keys, True) == run  # the pictures may be away


def test_files_that_were_left_out_and_stay_so(photos, whole):
    (photos / A / "cut.jpg").write_bytes(files(photos)[0].read_bytes()[:200])
    (photos / A / "text.jpg").write_text("no picture")
    run = stopped(photos)
    (photos / A / "cut too.jpg").write_bytes(files(photos)[0].read_bytes()[:300])
    assert go(photos, resume=True) == run and left(run) == whole
    shutil.copy(files(photos)[-1], photos / A / "cut.jpg")  # whole now
    assert "1 added" in refusal(photos)


def test_a_folder_that_can_no_longer_be_used_goes_on_as_begun(
    photos, whole, monkeypatch
):
    "Whatever the rules say of what came later."
    run = stopped(photos)

    def no(*args):
        raise ValueError("this layout is refused")

    monkeypatch.setattr(resume, "inventory", no)
    assert refusal(photos) == "this layout is refused"
    assert go(photos, resume="as begun") == run and left(run) == whole


def by_an_older_version(run):
    "As such a version wrote it: without hashes of pictures, a name and a time."
    about = read_sealed_json(run / "stock.json")
    for key in "name", "base", "begun", "from_run":
        del about[key]
    head, *rows = csv.reader(io.StringIO((run / "split.csv").read_text()))
    at = head.index("digest")
    text = io.StringIO()
    csv.writer(text).writerows([row[:at] + row[at + 1 :] for row in [head, *rows]])
    (run / "split.csv").write_bytes(text.getvalue().encode())
    about["sha256"]["split.csv"] = hashlib.sha256(
        (run / "split.csv").read_bytes()
    ).hexdigest()
    write_sealed_json(run / "stock.json", about)


def test_a_run_of_an_older_version(photos, whole):
    run = stopped(photos)
    by_an_older_version(run)
    file = files(photos)[0]
    data = file.read_bytes()
    file.write_bytes(data + b"\0")
    assert "1 exchanged" in refusal(photos)
    file.write_bytes(data)
    assert go(photos, resume=True) == run and left(run) == whole


# ---- a start that failed

WRONG = {
    "model.name=resnet81": "model.name is 'resnet81', and no such network is known",
    "data.size=1000 model.name=vit_b_16": "cannot see pictures of 1000 pixels",
    "model.name=resnet18": "the weights of resnet18 are not on this machine",
}


@pytest.mark.parametrize("keys", WRONG)
def test_a_start_that_failed_leaves_nothing(keys, photos, monkeypatch):
    wrong = {
        key: int(value) if value.isdecimal() else value
        for key, value in (text.split("=") for text in keys.split())
    }
    find = backbones.find_backbone

    def offline(name):
        backbone = find(name)

        def build(pretrained):
            if name == "resnet18":
                raise OSError("no network")
            return backbone.build(False)

        return dataclasses.replace(backbone, build=build)

    monkeypatch.setattr(backbones, "find_backbone", offline)
    said = refusal(photos, wrong, False, (ValueError, OSError))
    assert WRONG[keys] in said and not Path("runs").exists()
    assert go(photos, {"train.strategy": "probe"}, True).name == "photos"


def test_the_body_is_built_once(photos, monkeypatch):
    built = []

    def counts(*args, **kwargs):
        built.append(args)
        return make_body(*args, **kwargs)

    monkeypatch.setattr("tutorial_lib.core.bodies.make_body", counts)
    go(photos)
    assert len(built) == 1


def test_a_failed_start_of_an_older_version_is_passed_over(photos):
    run = stopped(photos)
    by_an_older_version(run)
    for path in run.iterdir():
        if path.name not in ("config.yaml", "split.csv", "stock.json", ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = snapshot(run)
    assert (
        go(photos, {"train.epochs": 1}, True).name == "photos_2"
        and snapshot(run) == before
    )


def test_a_run_that_was_killed_as_soon_as_it_was_there_goes_on(
    photos, whole, monkeypatch
):
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "go_through_stages", stop)
        go(photos)
    assert (
        left(go(photos, resume=True)) == whole
        and len([p for p in Path("runs").iterdir() if p.is_dir()]) == 1
    )


def test_a_run_that_was_killed_before_it_had_its_name_is_none(photos):
    run = stopped(photos)
    Path("runs/.new-1.part").mkdir()
    for name in "config.yaml", "split.csv", "stock.json":
        shutil.copy(run / name, "runs/.new-1.part")
    shutil.rmtree(run)
    assert (
        go(photos, {"train.strategy": "probe"}, True) == run
        and not Path("runs/.new-1.part").exists()
    )


# ---- keys: what somebody set, and nothing else


@pytest.mark.parametrize(
    "asked",
    [
        None,
        {},
        {"train.epochs": 2},
        Config(train={"batch_size": 4}),
        load_config(None, ["train.strategy=head"]),
        {"recipe": "fast"},
    ],
    ids=["none", "no key", "one key", "a Config", "an override", "the recipe"],
)
def test_keys_that_are_left_out_do_not_count(asked, photos, whole):
    run = stopped(photos)
    again = train(photos, asked, True, lambda text: None)
    assert (
        again == run and left(run) == whole and not (run / "report").exists()
    )  # it was begun without a report


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"train.lr": 5e-3}, "train.lr was 0.0005 and is now 0.005"),
        (Config(train={"epochs": 10}), "train.epochs was 2 and is now 10"),
        ({"recipe": "full"}, "recipe was 'fast' and is now 'full'"),
        ({"train.minutes": 10.0}, "train.minutes was None and is now 10.0"),
        (
            {"train": {"lr": 1e-3, "seed": 1, "epochs": 3, "batch_size": 9}},
            "train.epochs was 2 and is now 3, train.batch_size was 4 and is now 9, "
            "train.lr was 0.0005 and is now 0.001 and 1 more",
        ),
    ],
    ids=["a key", "a Config", "the recipe", "the recipe's value", "many"],
)
def test_what_is_asked_and_is_another(asked, words, photos):
    "Also what is the recipe's value: who sets it means it."
    run = stopped(photos)
    with pytest.raises(ValueError) as e:
        train(photos, asked, True)
    assert str(e.value) == (
        f"{run} was begun with another configuration, {words}: give the same one or "
        f"none, or {NEW}"
    )


def test_more_epochs_of_a_run_that_is_complete(photos):
    run = go(photos)
    before = snapshot(run)
    assert refusal(photos, {"train.epochs": 9}) == (
        f"{run} is complete, and was begun with another configuration, train.epochs "
        f"was 2 and is now 9: {NEW}, or give the same one or none"
    )
    for keys in QUICK, {}, {"train.epochs": 2}, {"output.report": False}:
        said = []
        assert train(photos, keys, True, said.append) == run and said == [
            f"{run} is complete: there is nothing to resume"
        ]
    assert snapshot(run) == before


def test_given_keys():
    for config in (
        Config(train={"lr": 5e-4}),
        Config(train=TrainConfig(lr=5e-4)),
        load_config(None, ["train.lr=5e-4"]),
        as_config({"train.lr": 5e-4}),
        as_config(lr=5e-4),
        as_config(Config(), lr=5e-4),
        Config.model_validate({"train": {"lr": 5e-4}}),
    ):
        assert (
            given_keys(config) == {"train.lr"}
            and config == Config()
            and hash(config) == hash(Config())
        )
    assert not given_keys(Config()) and given_keys(Config(recipe="full")) == {"recipe"}
    assert given_keys(Config().model_copy(update={"train": TrainConfig(lr=0.1)})) == {
        "train.lr"
    }


# ---- what `train` takes


def test_forms_of_a_configuration(photos):
    Path("mine.yaml").write_text("train:\n  lr: 0.001\n")
    forms = (
        Config(train={"lr": 1e-3}),
        "mine.yaml",
        Path("mine.yaml"),
        {"train": {"lr": 1e-3}},
        {"train.lr": 1e-3},
        {"train": TrainConfig(lr=1e-3)},
        {"train.lr": np.float64(1e-3)},
    )
    assert (
        {as_config(form) for form in forms}
        == {as_config(lr=1e-3), as_config(train={"lr": 1e-3})}
        == {Config(train={"lr": 1e-3})}
    )
    assert as_config("mine.yaml", lr=0.5, recipe="full", runs=Path("x")) == Config(
        recipe="full", train={"lr": 0.5}, output={"runs": "x"}
    )
    assert (
        as_config(Config(recipe="full"), epochs=np.int64(3))
        == Config(recipe="full", train={"epochs": 3})
        and as_config() == as_config({}) == as_config(None) == Config()
    )
    run = train(
        photos,
        "mine.yaml",
        say=lambda text: None,
        strategy="probe",
        report=False,
        name="densenet_tiny",
    )
    known = load_config(run / "config.yaml")
    assert (
        known.train.lr,
        known.train.strategy,
        known.output.report,
        known.model.name,
    ) == (1e-3, "probe", False, "densenet_tiny")


WRONG_KEYS = [
    (
        {"train": {"epoch": 3}},
        {},
        "config: there is no key train.epoch: did you mean train.epochs? It takes a "
        "whole number",
    ),
    (
        {"train.epoch": 3},
        {},
        "config: there is no key train.epoch: did you mean train.epochs?",
    ),
    ({}, {"epoch": 3}, "keywords: there is no key epoch: did you mean train.epochs?"),
    ({"lr": 1}, {}, "config: there is no key lr: did you mean train.lr?"),
    ({}, {"lr": "fast"}, 'keywords: train.lr is "fast": it takes a number, above 0'),
    ({"train": {"lr": {1}}}, {}, "config: {1} is of the type set"),
    (
        {"train.lr": 1.0, "train": {"lr": 2.0}},
        {},
        "config: train.lr stands twice: keep one",
    ),
    ({1: 2}, {}, "config: there is no key 1: the keys at the top are recipe"),
    ({"train": 3}, {}, "config: train is 3: it takes the keys probe"),
    ({"train": {(1, 2): 3}}, {}, "config: keys must be str"),
    (
        {"recipe": "full", "train.schedule": "one_cycle"},
        {},
        'config: train.schedule is "one_cycle" and train.lr_every is 10 (from the '
        "recipe)",
    ),
]


@pytest.mark.parametrize("what, keys, words", WRONG_KEYS, ids=str)
def test_a_wrong_key_has_the_words_that_a_file_gets(what, keys, words, photos):
    with pytest.raises(ConfigError) as e:
        train(photos, what, **keys)
    assert str(e.value).startswith(words) and not Path("runs").exists()


@pytest.mark.parametrize(
    "what",
    [["train.lr=1"], 3, 1.5, True, b"mine.yaml", TrainConfig(), {"train.lr"}, print],
    ids=str,
)
def test_what_is_no_configuration(what, photos):
    with pytest.raises(
        TypeError,
        match=f"^the configuration is .*, of the type {type(what).__name__}: give a "
        "Config, the path of a YAML file, a dict",
    ):
        train(photos, what)


@pytest.mark.parametrize(
    "folder",
    [["a"], [], ("a", "b"), Config(), {"train.lr": 1}, 3, b"x", np.zeros(3)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_folder(folder):
    with pytest.raises(
        TypeError,
        match=f"^folder is .*, of the type {type(folder).__name__}: give the path of "
        "one folder, with a sub-folder for each class",
    ):
        train(folder)


@pytest.mark.parametrize("resume", ["yes", "as-begun", 3, Path("runs")])
def test_what_is_no_way_to_resume(resume, photos):
    with pytest.raises(
        ValueError,
        match=re.escape(f'resume is {resume!r}: give True, False or "as begun"'),
    ):
        train(photos, resume=resume)


def test_the_working_directory_stays(photos, here):
    stopped(photos)
    go(photos, resume=True)
    assert Path.cwd() == here


# ---- scripts without a main guard

SCRIPT = """
import multiprocessing as mp, sys
mp.set_start_method({method!r}, force=True)
from tutorial_lib.trainer import train
{guard}train("photos", {{**{keys!r}, "data.workers": {workers}}}, say=lambda text: None)
"""
JOBS = """
import multiprocessing as mp
def job(name):
    from tutorial_lib.trainer import train
    train("photos", {{**{keys!r}, "output.run_name": name}}, say=print)
if __name__ == "__main__":
    process = mp.get_context("spawn").Process(target=job, args=("job",))
    process.start()
    process.join()
    raise SystemExit(process.exitcode)
"""


def script(text):
    Path("script.py").write_text(text)
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        ),
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "script.py"],
        capture_output=True,
        encoding="utf-8",
        env=env,
        timeout=300,
    )


@pytest.mark.long
def test_a_script_without_a_main_guard(photos, whole):
    "Slow, since each process of it imports everything."
    done = script(SCRIPT.format(method="spawn", guard="", keys=QUICK, workers=1))
    assert done.returncode == 1
    assert (
        "RuntimeError: script.py calls train, and a process that it started"
        in done.stderr.replace(f"{Path.cwd()}{os.sep}", "")
    )
    last = done.stderr.strip().splitlines()[-1]
    assert (
        last.startswith("RuntimeError: a process that reads pictures has ended")
        and 'under `if __name__ == "__main__":`' in last
    )
    assert [path.name for path in Path("runs").iterdir() if path.is_dir()] == ["photos"]
    assert (
        left(go("photos", resume=True))[1] == whole[1]
    )  # the head's configuration says that there is a worker


@pytest.mark.long
def test_a_job_in_a_process_that_was_spawned_trains(photos, whole):
    "Slow too."
    done = script(JOBS.format(keys=QUICK))
    assert done.returncode == 0, done.stderr
    assert left(Path("runs/job")) == whole


def test_take_stock_takes_a_dict(photos):
    known = take_stock(photos, DataConfig(valid=0.4)).table.part
    assert list(take_stock(photos, {"valid": 0.4}).table.part) == list(known)
    assert list(take_stock(photos, {}).table.part) == list(
        take_stock(photos).table.part
    )
    with pytest.raises(ValueError, match="did you mean data.valid"):
        take_stock(photos, {"vaild": 0.4})
