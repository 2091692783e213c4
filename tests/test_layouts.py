"""Folders as people have them.

What are parts, what are classes, which links are followed, and what is said of it."""

import io
import json
import os
import re
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from tutorial_lib.config import DataConfig
from tutorial_lib.core.layout import part_of
from tutorial_lib.data import image_files, verify_images
from tutorial_lib.trainer import take_stock

posix = pytest.mark.skipif(
    os.name == "nt", reason="Windows has no such names and links"
)


def png(seed, size=(8, 8)):
    out = io.BytesIO()
    Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    ).save(out, "PNG")
    return out.getvalue()


def tree(top, *folders, n=4):
    "Folders with `n` different pictures in each."
    for k, name in enumerate(folders):
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (top / name / f"p{k}_{i}.png").write_bytes(
                png([zlib.crc32(f"{top}/{name}".encode()), i])
            )
    return top


def halves(*parts, classes=("cat", "dog")):
    return [f"{part}/{c}" for part in parts for c in classes]


@pytest.fixture
def top(tmp_path):
    "A folder that has none beside it."
    return tmp_path / "alone" / "photos"


def said(stock, start):
    return [note for note in stock.notes if note.startswith(start)]


def refused(top):
    with pytest.raises(ValueError) as e:
        take_stock(top)
    return str(e.value)


# names of parts


@pytest.mark.parametrize(
    "part, names",
    {
        "train": [
            "train",
            "Train",
            "TRAINING",
            "trainset",
            "train_set",
            "Training-Set",
            "training data",
            "train2",
            "train (1)",
            "train_2017",
            "2017_train",
            "train copy",
            "Copy of train",
            "train - Kopie",
            "train_images",
            "images_train",
            "TrainImages",
            "train.v2",
            "trainval",
            "train_val",
        ],
        "valid": [
            "valid",
            "val",
            "VAL2017",
            "validation",
            "validation_set",
            "valset",
            "dev",
            "dev-set",
            "eval",
            "Evaluation",
            "eval_2",
        ],
        "test": [
            "test",
            "Testing",
            "test_set",
            "testset",
            "TEST (2)",
            "test copy 3",
            "test-2019",
            "holdout",
            "hold-out",
            "hold_out",
            "Held out",
            "test_data",
        ],
        "": [
            "cat",
            "trainer",
            "trains and buses",
            "testament",
            "retest",
            "set",
            "copy",
            "2017",
            "",
            "developer",
            "test tube",
            "latest",
            "trained dogs",
            "evaluator",
            "train \uace0\uc591\uc774",
        ],
    }.items(),
)
def test_names_of_parts(part, names):
    assert {name: part_of(name) for name in names} == dict.fromkeys(names, part)


@pytest.mark.parametrize(
    "train, other, part",
    [
        ("train", "testing", "test"),
        ("training", "eval", "valid"),
        ("Training_Set", "Test_Set", "test"),
        ("train2017", "val2017", "valid"),
        ("train (1)", "test (1)", "test"),
        ("training copy", "holdout copy", "test"),
        ("trainset", "devset", "valid"),
        ("train_images", "test_images", "test"),
    ],
)
def test_parts_are_known(top, train, other, part):
    stock = take_stock(tree(top, *halves(train, other)))
    assert stock.classes == ["cat", "dog"] and not stock.notes
    assert {f.split("/")[0] for f in stock.table.file[stock.at(part)]} == {
        other
    } and len(stock.at(part)) == 8


def test_eval_is_a_test_where_something_else_validates(top):
    stock = take_stock(tree(top, *halves("train", "val", "eval")))
    assert {
        part: {f.split("/")[0] for f in stock.table.file[stock.at(part)]}
        for part in ("train", "valid", "test")
    } == {"train": {"train"}, "valid": {"val"}, "test": {"eval"}}


@pytest.mark.parametrize("below", ["training_set", "Train", "images", "data/train"])
def test_a_part_that_is_wrapped_once_more(top, below):
    stock = take_stock(tree(top, *halves(f"training_set/{below}", "test_set/test_set")))
    assert (
        stock.classes == ["cat", "dog"]
        and not stock.notes
        and len(stock.at("test")) == 8
    )


def test_a_class_of_the_name_of_a_part(top):
    assert take_stock(
        tree(top, *halves("train", "test", classes=("train", "bus")))
    ).classes == ["bus", "train"]
    assert take_stock(
        tree(top.with_name("vehicles"), "train", "bus", "test")
    ).classes == ["bus", "test", "train"]
    assert take_stock(
        tree(top.with_name("one"), *halves("train", classes=("train",)), "train/cat")
    ).classes == ["cat", "train"]


def test_what_stands_beside_parts_is_left_out(top):
    stock = take_stock(tree(top, *halves("train", "test"), "pred"))
    assert stock.classes == ["cat", "dog"] and re.match(
        r"Left out, 4: pred/p4_0.png \(in none of the parts\)", stock.notes[0]
    )


# what is unclear is refused, with what to do


@pytest.mark.parametrize(
    "folders, words",
    [
        (
            halves("cat", "dog", classes=("train", "test")),
            "photos has parts below its classes, cat/train: turn them round, with the "
            "classes below the parts, such as train/cat",
        ),
        (
            halves("cat", "dog", classes=("Training", "val_2")),
            "photos has parts below its classes, cat/Training: turn them round",
        ),
        (["cat/train", "dog/train"], "photos has parts below its classes, cat/train"),
        (
            ["cat/train", "cat/test", "dog"],
            "photos has parts below its classes, cat/train",
        ),
        (
            ["cat", "cat/test", "dog", "dog/test"],
            "photos has parts below its classes, cat/test: turn them round, with the "
            "classes below the parts, such as test/cat",
        ),
        (
            ["cat", "cat/validation", "dog"],
            "photos has parts below its classes, cat/validation",
        ),
        (
            halves("cat/images", "dog/images", classes=("train", "test")),
            "photos has parts below its classes, cat/images/train",
        ),
        (
            halves("train/cat", "train/dog", classes=("train", "test")),
            "photos has parts below its classes, train/cat/train",
        ),
        (
            ["train/cat", "train/cat/test", "train/dog", "test/cat", "test/dog"],
            "photos has parts below its classes, train/cat/test",
        ),
        (
            halves("seg_train/seg_train", "seg_test/seg_test"),
            "photos: seg_test, seg_train hold folders of the same names, cat, dog, as "
            "parts",
        ),
        (
            [*halves("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"],
            "photos: seg_test, seg_train hold folders of the same names, cat, dog",
        ),
        (
            [*halves("seg_train", "seg_test"), "seg_pred"],
            "photos: seg_test, seg_train hold folders of the same names, cat, dog",
        ),
        (
            halves("2019/images", "2020/photos"),
            "photos: 2019, 2020 hold folders of the same names, cat, dog",
        ),
        (
            ["cat/2019", "dog/2019"],
            "photos: cat, dog hold folders of the same names, 2019",
        ),
        (
            ["cat", "dog", "test/cat", "test/dog"],
            "photos holds test/cat and cat, a part beside classes: put the classes to "
            "learn from into a folder train, beside test",
        ),
        (
            ["red", "green", "test/red"],
            "photos holds test/red and red, a part beside classes",
        ),
        (
            ["train/Cat", "train/dog", "test/cat", "test/dog"],
            "photos: the class is called 'cat' in test and 'Cat' in train: "
            "give both folders one name",
        ),
        (
            ["train/cat", "train/dog", "test/unknown"],
            "photos: test has none of the classes of train, only 'unknown': "
            "if its images have no labels, take the part out",
        ),
        (
            halves("fold1", "fold2"),
            "photos: fold1, fold2 hold folders of the same names, cat, dog, as parts "
            "of a data set do. If they are parts, name them train, valid and test",
        ),
        (
            ["fold1/cat", "fold2/cat"],
            "photos: fold1, fold2 hold folders of the same names, cat, as parts",
        ),
        (
            halves("a", "b", "c") + ["c/bird"],
            "photos: a, b, c hold folders of the same names, cat, dog, as parts",
        ),
        (
            halves("train", "extra"),
            "photos: extra, train hold folders of the same names, cat, dog",
        ),
        (
            halves("train") + ["pictures of me"],
            "photos: train holds the folders cat, dog, as the part to learn from "
            "would, and pictures of me beside it holds none. If train is a part",
        ),
    ],
)
def test_what_is_unclear_is_refused(top, folders, words):
    assert words in refused(tree(top, *folders))


@pytest.mark.parametrize(
    "folders",
    [
        halves("animal") + halves("plant", classes=("oak", "rose")),
        ["cat/images", "dog/images"],
        ["vehicles/train", "vehicles/bus", "animals/cat"],
        ["cat", "cat/indoor", "dog", "dog/indoor"],
        ["train", "bus", "test"],
    ],
    ids=str,
)
def test_what_may_be_classes_is_taken_for_classes(top, folders):
    assert take_stock(tree(top, *folders)).classes == sorted(
        {name.partition("/")[0] for name in folders}
    )


def test_a_class_of_which_nothing_can_be_used_is_named(top):
    tree(top, "cat")
    (top / "dog").mkdir()
    text = refused(top)
    assert (
        "nothing can be used of dog: dog (no image is in it). Mend or replace" in text
    )
    (top / "dog" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (top / "dog" / "b.png").write_bytes(png(0)[:60])
    assert (
        refused(top)
        .partition("photos has one class only, ")[2]
        .startswith(
            "'cat': a classifier needs two, and nothing can be used of dog: "
            "dog/a.heic (HEIC, which is not supported: save it as JPEG or PNG)"
        )
    )
    with zipfile.ZipFile(top / "owl.zip", "w") as f:
        f.writestr("a", "b")
    assert "nothing can be used of dog, owl.zip: " in refused(top)


def test_a_train_folder_that_is_empty(top):
    tree(top, "valid/cat", "valid/dog")
    (top / "train" / "cat").mkdir(parents=True)
    text = refused(top)
    assert "and its folder train holds no image that can be used" in text
    assert ": put the pictures to learn from into train" in text


@pytest.mark.parametrize(
    "name, content",
    [
        ("stock.json", '{"AAPL": 1}'),
        ("run.json", '{"format": "jpg", "sha256": "abc"}'),
        ("stock.json", '{"format": 1, "sha256": "x"}'),
    ],
)
def test_files_of_a_user_hide_no_class(top, name, content):
    tree(top, "cat/a", "dog")
    (top / "cat" / name).write_text(content)
    assert take_stock(top).classes == ["cat", "dog"]


def test_one_folder_too_high(top):
    assert refused(tree(top, "pets/cat", "pets/dog")).endswith(
        f"If cat, dog are the classes, give {top / 'pets'}"
    )
    assert refused(tree(top.with_name("two"), "a/pets/cat", "a/pets/dog")).endswith(
        f"If cat, dog are the classes, give {top.with_name('two') / 'a' / 'pets'}"
    )
    assert refused(
        tree(top.with_name("parts"), *halves("pets/train", "pets/test"))
    ).endswith(f"If test, train are the parts, give {top.with_name('parts') / 'pets'}")


def test_one_folder_too_deep(top):
    tree(top, "cat", "dog/one")
    for deep in "cat", "dog":
        assert refused(top / deep).endswith(
            f". If {deep} is one of the classes, give {top}"
        )
    assert refused(tree(top.with_name("alone"), "cat/cat")).endswith(
        "Put the images of another class into a sub-folder beside it"
    )


# names, and folders in classes


def test_folders_in_a_class_are_merged_and_said(top):
    stock = take_stock(
        tree(top, *halves("animal"), *halves("plant", classes=("rose", "oak")))
    )
    assert stock.classes == ["animal", "plant"]
    assert stock.notes == [
        "Merged, 2: images in sub-folders count for the class above them, "
        "animal (cat, dog), plant (oak, rose)."
    ]
    assert not take_stock(tree(top.with_name("deep"), "cat/mine", "dog")).notes, (
        "one folder in a class merges nothing"
    )


@posix
@pytest.mark.parametrize(
    "names, shown",
    [
        (("Cat", "cat", "cat "), "'Cat', 'cat', 'cat ' are 3 classes"),
        (("a  b", "a b"), "'a  b', 'a b' are 2 classes"),
        (("\ufb01sh", "fish"), "'fish', '\ufb01sh' are 2 classes"),
        (("STRASSE", "stra\xdfe"), "'STRASSE', 'stra\xdfe' are 2 classes"),
    ],
)
def test_names_that_are_nearly_equal(top, names, shown):
    tree(top, *names)
    if len(list(top.iterdir())) < len(names):
        pytest.skip("this disk takes such names for one")
    [note] = take_stock(top).notes
    assert note == (
        f"Names that differ by case, blanks or form alone: {shown}. "
        "If they are one, put their images into one folder."
    )


@posix
def test_one_name_in_two_forms_of_unicode(top):
    tree(top, "caf\xe9", "cafe\u0301", "dog")
    if len(list(top.iterdir())) < 3:
        pytest.skip("this disk takes such names for one")
    stock = take_stock(top)
    assert stock.classes == ["caf\xe9", "dog"] and said(
        stock,
        "Names that look the same and are stored in two forms: "
        "the folders 'caf\xe9' are one class each",
    )


def test_the_first_line_names_the_classes(top, monkeypatch):
    names = ["owl", "cat", "dog", "ant", "bee", "fox", "elk"]
    monkeypatch.chdir(tree(top, *names[:3]).parent)
    assert (
        str(take_stock(top)).splitlines()[0]
        == "photos: 12 images in 3 classes: cat, dog, owl (9 train, 3 valid)."
    )
    tree(top, *names)
    assert str(take_stock(top)).splitlines()[0] == (
        "photos: 28 images in 7 classes: "
        "ant, bee, cat, dog, elk and 2 more (21 train, 7 valid)."
    )


# links


@posix
def test_links_to_class_folders_are_followed_and_said(top, tmp_path):
    real = tree(tmp_path / "real", "cat", "dog", "bird")
    tree(top, "owl")
    for name in ("cat", "dog"):
        (top / name).symlink_to(real / name)
    stock = take_stock(top)
    assert stock.classes == ["cat", "dog", "owl"] and len(stock.table) == 12
    assert stock.notes == [
        "Links, 2: what they lead to lies outside of the folder, and is used, "
        f"such as cat -> {real / 'cat'} and 1 more."
    ]
    assert image_files(top) == sorted((top / "owl").iterdir()), (
        "chapter 01 follows none unless it is told to"
    )


@posix
def test_links_to_pictures_are_followed_and_said(top, tmp_path):
    real = tree(tmp_path / "real", "cat", "dog")
    for name in ("cat", "dog"):
        (top / name).mkdir(parents=True)
        for f in (real / name).iterdir():
            (top / name / f.name).symlink_to(f)
    stock = take_stock(top)
    assert len(stock.table) == 8 and stock.notes[0].startswith(
        "Links, 8: what they lead to lies outside of the folder, and is used, "
        "such as cat/p0_0.png -> "
    )


@posix
def test_links_end_and_count_nothing_twice(top, tmp_path):
    real = tree(tmp_path / "real", "dog")
    tree(top, "cat", "owl")
    links = {
        "cat/up": top,
        "cat/far up": tmp_path,
        "again": top / "cat",
        "owl/p.png": top / "owl" / "p1_0.png",
        "gone": tmp_path / "nowhere",
        "round": top / "round",
        "dog": real / "dog",
        "dogs": real / "dog",
    }
    for name, to in links.items():
        (top / name).symlink_to(to)
    (real / "dog" / "back").symlink_to(real)
    (real / "dog" / "home").symlink_to(top)
    stock = take_stock(top)
    assert stock.classes == ["cat", "dog", "owl"] and len(stock.table) == 12
    [left] = said(stock, "Left out")
    reasons = {
        p.relative_to(top).as_posix(): why
        for p, why in image_files(top, links=True).skipped
    }
    again, above, nothing = (
        f"link, not followed: {why}"
        for why in (
            "what it leads to is counted already",
            "it leads to a folder above it",
            "it leads to nothing",
        )
    )
    assert reasons == {
        "cat/up": above,
        "cat/far up": above,
        "again": again,
        "owl/p.png": again,
        "gone": nothing,
        "round": nothing,
        "dogs": again,
        "dog/back": again,
        "dog/home": above,
    }
    assert left.startswith("Left out, 9: ") and len(said(stock, "Links, 1: ")) == 1


@posix
def test_links_into_a_hidden_store_of_the_folder_are_followed(top):
    "As git-annex and DVC keep large files."
    tree(top, ".store/a", ".store/b")
    for name in "ab":
        (top / name).mkdir()
        for f in (top / ".store" / name).iterdir():
            (top / name / f.name).symlink_to(f)
    stock = take_stock(top)
    assert len(stock.table) == 8 and not said(stock, "Links")


# what is no folder of pictures


@pytest.mark.parametrize(
    "url",
    ["https://example.com/photos", "http://x", "s3://bucket/photos", "gs://bucket"],
)
@pytest.mark.parametrize("ask", [take_stock, image_files, verify_images])
def test_a_url(url, ask):
    with pytest.raises(
        FileNotFoundError,
        match=f"^{url} is a URL: download it first, "
        "and give the folder on this machine$",
    ):
        ask(url)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "photos.7z", "photos"])
def test_an_archive(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as f:
        f.writestr("cat/a.png", b"x")
    with pytest.raises(
        NotADirectoryError,
        match=f"{name} is an archive: unpack it first, "
        "and give the folder that comes out of it",
    ):
        take_stock(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(top):
    tree(top, "cat", "dog")
    for name in ("run.json", "stock.json"):
        os.mkfifo(top / "cat" / name)
    assert take_stock(top).classes == ["cat", "dog"]
    os.mkfifo(top.parent / "photos.zip")
    with pytest.raises(NotADirectoryError, match="photos.zip is a file"):
        take_stock(top.parent / "photos.zip")


def test_a_home(top, monkeypatch):
    tree(top, "cat", "dog")
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(top.parent))
    assert take_stock("~/photos").folder == top


def test_a_path_as_a_browser_writes_it(top):
    tree(top, "cat", "dog")
    assert take_stock(top.as_uri()).folder == top
    with pytest.raises(FileNotFoundError, match=f"there is no folder {top}2: check"):
        take_stock(f"{top.as_uri()}2")


@pytest.mark.parametrize(
    "name, content",
    [
        ("run.json", b"{}"),
        ("run.json", b'{"format": 1, "classes": ["a"]}'),
        ("run.json", b"\xff"),
        ("run.json", b"[]"),
        ("stock.json", b'{"apples": 3}'),
        ("stock.json", b"\xff"),
    ],
)
def test_a_class_that_holds_a_file_of_the_name_of_a_run(top, name, content):
    tree(top, "cat", "dog")
    (top / "cat" / name).write_bytes(content)
    stock = take_stock(top)
    assert stock.classes == ["cat", "dog"] and stock.notes == [
        f"Left out, 1: cat/{name} (not an image)."
    ]


@pytest.mark.parametrize("name", ["run.json", "stock.json"])
def test_a_real_run_is_passed_over_and_said(top, name):
    tree(top, "cat", "dog", "runs/photos/report")
    (top / "runs" / "photos" / name).write_text(
        json.dumps(dict(format=1, sha256={"split.csv": "0"}))
    )
    stock = take_stock(top)
    assert stock.classes == ["cat", "dog"] and stock.notes == [
        "Left out, 1: runs/photos (folder of a run)."
    ]


# twins and leaks, shapes


def test_twins_and_leaks_do_not_contradict_each_other(top):
    tree(top, *halves("train", "valid"))
    for f in (top / "train" / "cat").iterdir():
        (top / "valid" / "cat" / f"again {f.name}").write_bytes(f.read_bytes())
    [twins] = said(take_stock(top), "Twins, 4: ")
    assert twins.endswith(
        "All of them lie in two parts, so that one judges what another one has taught."
    ) and said(take_stock(top), "Leaks, 4: ")
    (top / "train" / "dog" / "again.png").write_bytes(
        next((top / "train" / "dog").iterdir()).read_bytes()
    )
    [twins] = said(take_stock(top), "Twins, 5: ")
    assert " 4 of them lie in two parts" in twins


def test_twins_without_a_leak(top):
    tree(top, "cat", "dog")
    for f in list((top / "cat").iterdir()):
        (top / "cat" / f"again {f.name}").write_bytes(f.read_bytes())
    stock = take_stock(top)
    assert said(stock, "Twins, 4: ")[0].endswith(
        "None of them judged what another one had taught."
    ) and not said(stock, "Leaks")


@pytest.mark.parametrize(
    "fit, words",
    [
        (
            "crop",
            "data.fit: crop shows their middle only; pad shows all of them between "
            "bars, squeeze all of them in another shape.",
        ),
        ("pad", "data.fit: pad shows all of them."),
        ("squeeze", "data.fit: squeeze shows all of them."),
    ],
)
def test_pictures_that_are_far_from_square(top, fit, words):
    tree(top, "cat", "dog")
    for name, size in {
        "cat/wide.png": (50, 8),
        "dog/tall.png": (8, 17),
        "dog/near.png": (16, 8),
    }.items():
        (top / name).write_bytes(png(9, size))
    [note] = take_stock(top, DataConfig(fit=fit)).notes
    assert note == (
        "Far from square, 2: one side is over twice as long as the other, "
        f"such as 'cat/wide.png'. {words}"
    )
