"""Bad input: each row of a table is refused by name, or works and is noted.

Nothing is lost, and nothing is half-written. A tree of files is a dict: path -> bytes
of a file, `DIR` for an empty folder, `Link(target)`, or `PIPE`.
`python benchmarks/bad_input.py` tries the same rows, and many more of the random trees
and damages at the end."""

import contextlib
import csv
import io
import json
import os
import pickle
import re
import shutil
import struct
import tempfile
import unicodedata
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from tutorial_lib.cli import main
from tutorial_lib.config import load_config
from tutorial_lib.core.arrays import sealed
from tutorial_lib.data import read_images
from tutorial_lib.report import read_run, report
from tutorial_lib.trainer import evaluate, load_model, read_head, take_stock, train

posix = pytest.mark.skipif(
    os.name == "nt", reason="Windows has no such names, links and permissions"
)


# ---- how inputs are made

DIR, PIPE = object(), object()


class Link(NamedTuple):
    target: str


def image(seed=0, size=(8, 8), format="PNG", mode="RGB", **how):
    "The bytes of a picture of noise."
    noise = np.random.default_rng(seed).integers(
        0, 256, (size[1], size[0], 3), np.uint8
    )
    im = Image.fromarray(noise)
    if mode == "I;16":
        im = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        im = Image.fromarray(noise[..., 0].astype(np.float32))
    else:
        im = im.convert(mode)
    if how.get("save_all"):
        how["append_images"] = [Image.fromarray(255 - noise)]
    out = io.BytesIO()
    im.save(out, format, **how)
    return out.getvalue()


def classes(*names, n=4, seed=0):
    return {
        f"{name}/{i}.png": image(seed + 1000 * k + i)
        for k, name in enumerate(names)
        for i in range(n)
    }


def bomb():
    "A PNG of 40,000 x 40,000 pixels in a few bytes: only the header says so."
    data = image(format="PNG", size=(1, 1))
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        data[:8]
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + data[33:]
    )


def put(place, what):
    "Make a file, a link, a pipe, an empty folder, or the tree of a dict."
    if isinstance(what, dict):
        place.mkdir(parents=True, exist_ok=True)
        for name, inner in what.items():
            put(place / name, inner)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    if what is DIR:
        place.mkdir()
    elif what is PIPE:
        os.mkfifo(place)
    elif isinstance(what, Link):
        place.symlink_to(what.target)
    elif what is not None:
        place.write_bytes(what)
    return place


def snapshot(folder, leave_out=()):
    "All that is in a folder: name -> its kind, time of change, and bytes or target."
    found = {}
    for root, dirs, names in os.walk(folder):
        for path in (Path(root, name) for name in dirs + names):
            stat = path.lstat()
            content = (
                str(path.readlink())
                if path.is_symlink()
                else path.read_bytes()
                if path.is_file()
                else None
            )
            found[str(path.relative_to(folder))] = (
                stat.st_mode,
                None if path.is_dir() else stat.st_mtime_ns,
                content,
            )
        dirs[:] = [
            d
            for d in dirs
            if Path(root, d) not in leave_out and not Path(root, d).is_symlink()
        ]
    return {
        name: value
        for name, value in found.items()
        if Path(folder, name) not in leave_out
    }


def half_written(folder):
    return sorted(
        p.name
        for p in Path(folder).rglob("*")
        if p.name.endswith((".part", ".old", ".tmp"))
    )


@contextlib.contextmanager
def unchanged(folder, *leave_out):
    "Nothing in a folder may change, but for what is left out."
    before = snapshot(folder, leave_out)
    yield
    assert snapshot(folder, leave_out) == before


# ---- what is asked of each

PROBE = "train.strategy=probe", "output.report=false"


def quick(runs, *more):
    return load_config(None, [f"output.runs={runs}", *PROBE, *more])


def refusal(f, *kinds):
    "The text of the error with which a call refuses: one line, of these kinds."
    with pytest.raises(kinds or (ValueError, OSError)) as e:
        f()
    text = str(e.value)
    assert (
        type(e.value) is not UnicodeEncodeError
        and len(text.splitlines()) == 1
        and len(text) <= 600
    ), text
    return text


def check_stock(stock):
    "Pictures can be read, each once; each class learns; something judges."
    assert len(set(stock.table.file)) == len(stock.table) and set(stock.table.part) <= {
        "train",
        "valid",
        "test",
    }
    assert read_images(stock.paths, 32).shape == (len(stock.table), 32, 32, 3)
    assert set(stock.table.label[stock.at("train")]) == set(stock.classes) and len(
        stock.at("valid")
    )
    assert len(stock.classes) >= 2 and stock.classes == [
        stock.classes[i] for i in np.unique(stock.y)
    ]


def check_run(run, known):
    "No file is half-written; head and predictions know the classes."
    assert (
        not half_written(run)
        and read_head(run / "head.safetensors").classes
        == known
        == read_run(run).classes
    )


@pytest.fixture(autouse=True)
def shipped_weights(monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", "sample")


# ---- folders: the tree, what comes of it (an error, or the classes), and a piece of
# the message or of the notes

RUN_LEFT = {
    f"runs/photos/{name}": b"{}" for name in ("stock.json", "config.yaml", "split.csv")
}  # of a run that is damaged
AB = classes("a", "b")
JPEG, PNG = image(3, (40, 40), "JPEG"), image(3, (40, 40))
TURNED = Image.Exif()
TURNED[0x0112] = 6
NFC, NFD = (
    unicodedata.normalize("NFC", "\u00e9t\u00e9"),
    unicodedata.normalize("NFD", "\u00e9t\u00e9"),
)
LONG = "n" * 250


def beside(**files):
    return AB | {name.replace("__", "/"): what for name, what in files.items()}


def with_picture(data):
    return AB | {"a/odd.png": data}


def parts(**of):
    return {
        f"{part}/{name}": data
        for k, (part, names) in enumerate(of.items())
        for name, data in classes(*names, seed=100 * k).items()
    }


FOLDERS = {
    # nothing to learn from
    "missing": (None, FileNotFoundError, "there is no folder .*photos: check the name"),
    "a file": (
        b"text",
        NotADirectoryError,
        "photos is a file: give the folder that it is in",
    ),
    "a picture": (
        PNG,
        NotADirectoryError,
        "photos is a file: give the folder that it is in",
    ),
    "a pipe": (PIPE, NotADirectoryError, "photos is a file: give the folder"),
    "a link to itself": (
        Link("photos"),
        FileNotFoundError,
        "there is no folder .*photos: check the name",
    ),
    "a link to nothing": (
        Link("gone"),
        FileNotFoundError,
        "there is no folder .*photos: check the name",
    ),
    "empty": (
        {},
        ValueError,
        "photos has nothing to learn from: no image is in it.*"
        "Put the images of each class into a sub-folder",
    ),
    "empty class folders alone": (
        {"a": DIR, "b": DIR},
        ValueError,
        "photos has nothing to learn from: no image is in it",
    ),
    "pictures without classes": (
        {"1.png": PNG, "2.png": JPEG},
        ValueError,
        "photos has nothing to learn from: 2 images lie in no class folder.* "
        "Put the images of each class",
    ),
    "files that are no pictures": (
        {"a/1.txt": b"x", "b/2.csv": b"x"},
        ValueError,
        "photos has nothing to learn from: no image",
    ),
    "links alone": (
        {"a": Link("../else"), "b": Link("../else")},
        ValueError,
        "photos has nothing to learn from.*link",
    ),
    "system files alone": (
        {".DS_Store": b"x", "Thumbs.db": b"x", "a/.DS_Store": b"x"},
        ValueError,
        "photos has nothing to learn from",
    ),
    "broken pictures alone": (
        {"a/1.png": PNG[:60], "b/1.png": PNG[:60]},
        ValueError,
        "photos has no image that can be read: b/1.png.*broken.*Put other",
    ),
    # too few classes
    "one class": (
        classes("a"),
        ValueError,
        "photos has one class only, 'a': a classifier needs two. "
        "Put the images of another class",
    ),
    "one class and an empty one": (
        classes("a") | {"b": DIR},
        ValueError,
        "photos has one class only, 'a'",
    ),
    "one class and a broken one": (
        classes("a") | {"b/1.png": b""},
        ValueError,
        "photos has one class only, 'a'",
    ),
    "the pictures' own folder": (
        classes("a", "a/b", "a/c"),
        ValueError,
        "photos has one class only, 'a'",
    ),
    # nothing to judge by
    "one picture a class": (
        classes("a", "b", n=1),
        ValueError,
        "photos: no image can be held out to judge by.*single one.*add images",
    ),
    "copies of one picture": (
        {f"{c}/{i}.png": PNG for c in "ab" for i in range(4)},
        ValueError,
        "photos: no image can be held out.*copies of one",
    ),
    "a class of copies": (
        AB | {f"c/{i}.png": PNG for i in range(3)},
        "a b c",
        "Twins, 1:.*c/0.png",
    ),
    "a class of one picture": (
        AB | {"c/1.png": PNG},
        "a b c",
        "Classes without an image to judge by, 1: 'c'",
    ),
    # parts
    "train alone": (parts(train="ab"), "a b", ""),
    "train, valid and test": (parts(train="ab", valid="ab", test="ab"), "a b", ""),
    "one picture in two parts": (
        parts(train="ab", valid="ab")
        | {"train/a/same.png": PNG, "valid/a/same.png": PNG},
        "a b",
        "Leaks, 1: the same picture is in two parts, such as train/a/same.png",
    ),
    "other letter case": (parts(Train="ab", VAL="ab", Test="ab"), "a b", ""),
    "train and Train": (parts(train="ab", Train="ab"), "a b", ""),
    "valid and test without train": (
        parts(valid="ab", test="ab"),
        ValueError,
        "photos holds test, valid and no folder train: "
        "put the pictures to learn from into train",
    ),
    "test alone": (
        parts(test="ab"),
        ValueError,
        "photos holds test and no folder train",
    ),
    "a class in valid alone": (
        parts(train="ab", valid="abc"),
        ValueError,
        "photos: the class 'c' has images in valid and none in train: add some",
    ),
    "a class in test alone": (
        parts(train="ab", test="ac"),
        ValueError,
        "photos: the class 'c' has images in test and none in train: add some",
    ),
    "a class in train alone": (
        parts(train="abc", valid="ab"),
        "a b c",
        "Classes without an image to judge by, 1: 'c'",
    ),
    "an empty part": (parts(train="ab") | {"valid": DIR}, "a b", ""),
    "pictures beside the class folders of a part": (
        parts(train="ab") | {"train/1.png": PNG},
        "a b",
        "Left out, 1: train/1.png .image outside of the class folders",
    ),
    "classes with the names of parts": (
        classes("train", "valid", "cat"),
        "cat train valid",
        "There are classes with the names train, valid. If these are parts",
    ),
    "a class that is called train": (
        classes("train/train", "train/cat"),
        "cat train",
        "",
    ),
    # what stands beside
    "files beside the class folders": (
        beside(**{"notes.txt": b"x", "1.png": PNG}),
        "a b",
        r"Left out, 2: 1.png \(image outside of the class folders\), "
        r"notes.txt \(not an image\)",
    ),
    "an empty class folder": (
        AB | {"c": DIR},
        "a b",
        "Without an image, 1: 'c'. They are no classes",
    ),
    "a class folder of text": (
        AB | {"c/1.txt": b"x"},
        "a b",
        "Without an image, 1: 'c'",
    ),
    "system files": (
        AB
        | {
            ".DS_Store": b"x",
            "a/.DS_Store": b"x",
            "a/Thumbs.db": b"x",
            "b/desktop.ini": b"x",
        },
        "a b",
        r"Left out, 4: .DS_Store \(hidden\)",
    ),
    "a hidden folder": (
        AB | {".git/1.png": PNG},
        "a b",
        r"Left out, 1: .git \(hidden\)",
    ),
    "__MACOSX": (
        AB | {"__MACOSX/a/._1.png": b"x", "__MACOSX/b/1.png": PNG},
        "a b",
        "Left out, 1: __MACOSX",
    ),
    "@eaDir": (
        AB | {"@eaDir/1.png": PNG, "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg": JPEG},
        "a b",
        "Left out, 2: @eaDir",
    ),
    "runs in the folder": (
        AB
        | {
            **RUN_LEFT,
            "runs/photos/report/1.png": PNG,
            "runs/photos/evaluations/x/report/1.png": PNG,
        },
        "a b",
        r"Left out, 1: runs/photos \(folder of a run\)",
    ),
    "runs beside train and test": (
        parts(train="ab", test="ab") | {**RUN_LEFT, "runs/photos/report/1.png": PNG},
        "a b",
        r"Left out, 1: runs/photos \(folder of a run\)",
    ),
    "one picture in two classes": (
        AB | {"a/same.png": PNG, "b/same.png": PNG},
        "a b",
        "Labels in doubt, 1: the same picture is in two classes, "
        "such as a/same.png, b/same.png",
    ),
    "very unequal classes": (
        classes("a") | classes("b", n=24),
        "a b",
        "Imbalance: b has 24 images and a has 4",
    ),
    # links
    "a link to the folder above": (
        AB | {"a/up": Link("..")},
        "a b",
        r"Left out, 1: a/up \(link, not followed: it leads to a folder above it\)",
    ),
    "a link to itself inside": (
        AB | {"a/me.png": Link("me.png")},
        "a b",
        r"a/me.png \(link, not followed: it leads to nothing\)",
    ),
    "a class folder that is a link": (
        AB | {"c": Link("a")},
        "a b",
        r"Left out, 1: c \(link, not followed: what it leads to is counted already\)",
    ),
    "a picture that is a link": (
        AB | {"a/9.png": Link("0.png")},
        "a b",
        r"a/9.png \(link, not followed: what it leads to is counted already\)",
    ),
    "a link to nothing inside": (
        AB | {"a/9.png": Link("gone")},
        "a b",
        r"a/9.png \(link, not followed: it leads to nothing\)",
    ),
    "a pipe inside": (AB | {"a/9.png": PIPE}, "a b", r"a/9.png \(not a regular file\)"),
    # pictures that cannot be read: left out and named
    "zero bytes": (with_picture(b""), "a b", r"Left out, 1: a/odd.png \(empty file\)"),
    "text with the name of a picture": (
        with_picture(b"not a picture"),
        "a b",
        r"a/odd.png \(not an image\)",
    ),
    "a web page": (
        with_picture(b"<!DOCTYPE html><html>"),
        "a b",
        "a/odd.png .a web page",
    ),
    "SVG": (
        with_picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "a b",
        "a/odd.png .SVG, which is not supported",
    ),
    "PDF": (
        with_picture(b"%PDF-1.7 \n%"),
        "a b",
        "a/odd.png .PDF, which is not supported",
    ),
    "PostScript": (
        with_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "a b",
        "a/odd.png .PostScript, which is not supported",
    ),
    "HEIC": (
        with_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        "a b",
        "a/odd.png .*save it as JPEG",
    ),
    **{
        f"JPEG cut to {n} bytes": (
            with_picture(JPEG[:n]),
            "a b",
            "Left out, 1: a/odd.png",
        )
        for n in (2, 20, 200, len(JPEG) // 2, len(JPEG) - 40)
    },
    **{
        f"PNG cut to {n} bytes": (
            with_picture(PNG[:n]),
            "a b",
            "Left out, 1: a/odd.png",
        )
        for n in (4, 20, 33, len(PNG) // 2)
    },
    "a broken header": (
        with_picture(PNG[:16] + b"\xff" * 8 + PNG[24:]),
        "a b",
        "Left out, 1: a/odd.png",
    ),
    "a broken middle": (
        with_picture(PNG[:60] + bytes(40) + PNG[100:]),
        "a b",
        r"Left out, 1: a/odd.png \(broken",
    ),
    "zeros in place of a picture": (
        with_picture(bytes(5000)),
        "a b",
        "a/odd.png .not an image",
    ),
    "a decompression bomb": (
        with_picture(bomb()),
        "a b",
        "a/odd.png .decompression bomb",
    ),
    "pixels that are floats": (
        with_picture(image(mode="F", format="TIFF")),
        "a b",
        "a/odd.png .*floats, which have no agreed range",
    ),
    # odd pictures that work
    "1 x 1": (with_picture(image(size=(1, 1))), "a b", ""),
    "1 x 5000": (
        with_picture(image(size=(1, 5000))),
        "a b",
        "Far from square, 1: .*'a/odd.png'",
    ),
    "5000 x 1": (
        with_picture(image(size=(5000, 1), format="JPEG")),
        "a b",
        "Far from square, 1: .*'a/odd.png'. data.fit: crop shows their middle",
    ),
    "CMYK": (with_picture(image(mode="CMYK", format="JPEG")), "a b", ""),
    "16 bits": (with_picture(image(mode="I;16")), "a b", ""),
    "black and white": (with_picture(image(mode="1")), "a b", ""),
    "a palette with transparency": (
        with_picture(image(mode="P", transparency=3)),
        "a b",
        "",
    ),
    "transparent": (with_picture(image(mode="RGBA")), "a b", ""),
    "an animation": (
        with_picture(image(format="GIF", mode="P", save_all=True)),
        "a b",
        "",
    ),
    "turned by EXIF": (with_picture(image(format="JPEG", exif=TURNED)), "a b", ""),
    "broken EXIF": (
        with_picture(image(format="JPEG", exif=b"Exif\0\0garbage")),
        "a b",
        "",
    ),
    "a name that lies": (
        {name.replace(".png", ".exe"): data for name, data in AB.items()},
        "a b",
        "",
    ),
    "bytes behind the picture": (
        with_picture(PNG + b"<?php evil(); ?>" * 9),
        "a b",
        "",
    ),
}


def everywhere(tree):
    return not any(
        isinstance(what, Link) or what is PIPE
        for what in (tree.values() if isinstance(tree, dict) else [tree])
    )


def try_folder(folder, what, words, trained=True):
    """Take stock of a folder and train on it.

    Both refuse with the same text and leave nothing behind, or both work; the folder
    stays as it is."""
    runs = folder.parent / "runs"
    with unchanged(folder.parent, runs):
        if isinstance(what, type):
            text = refusal(lambda: take_stock(folder), what)
            assert re.search(words, text) and str(folder) in text, text
            assert (
                refusal(lambda: train(folder, quick(runs), say=lambda line: None), what)
                == text
                and not runs.exists()
            )
            return
        stock = take_stock(folder)
        check_stock(stock)
        assert stock.classes == what.split() and re.search(
            words, "\n".join(stock.notes)
        ), stock
        if not words:
            assert not stock.notes, stock
        if not trained:
            return
        run = train(folder, quick(runs), say=lambda line: None)
        check_run(run, stock.classes)
    assert not half_written(runs) and [
        p.name for p in runs.iterdir() if not p.name.startswith(".")
    ] == ["photos"]


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if everywhere(tree) else posix)
        for name, (tree, *_) in FOLDERS.items()
    ],
)
def test_a_folder_works_or_is_refused(name, trained, tmp_path):
    "The quick ones are taken or refused; that a training takes them too is long."
    tree, what, words = FOLDERS[name]
    try_folder(put(tmp_path / "photos", tree), what, words, trained)


# ---- names: of a class, of a picture and of the folder itself

NAMES = {
    "Korean": "\ud55c\uae00",
    "Arabic": "\u0642\u0637\u0629",
    "emoji": "\U0001f408\u200d\u2b1b",
    "spaces": " a  b ",
    "a dash": "-rf",
    "two dashes": "--help",
    "a tilde": "~nobody",
    "quotes": "'\"`",
    "a comma": "a,b,",
    "an equals sign": "train.lr=1",
    "a newline": "a\nb",
    "a carriage return": "a\rb",
    "both": "a\r\nb",
    "a tab": "a\tb",
    "an escape": "\x1b[31mred",
    "a bell": "\x07",
    "right to left": "\u202egnp.exe",
    "HTML": "<script>alert(1)<",
    "an entity": "&lt;",
    "a template": "{{ 7*7 }}",
    "a formula": "=1+1",
    "YAML": "a: b # c",
    "a YAML list": "- a",
    "a YAML tag": "!!python",
    "null": "null",
    "NA": "NA",
    "NaN": "nan",
    "true": "true",
    "predicted": "predicted",
    "a number": "1.0",
    "a column": "label",
    "another column": "file",
    "mathtext": "$\\frac$",
    "a format": "%s {0}",
    "a backslash": "a\\b",
    "dots": "a...",
    "long": LONG,
    "long and Korean": "\ud55c" * 80,
    "long and spaced": "a " * 100 + "b",
    "train": "train",
    "valid": "valid",
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "a wildcard": "*[!a]?",
    "NFC": NFC,
    "a private sign": "\ue000",
    "no character": "\ufffe",
    "a zero-width space": "\u200b",
}


def named(name):
    return (
        {f"{name}/{i}.png": image(i) for i in range(4)}
        | {f"plain/{i}.png": image(100 + i) for i in range(4)}
        | {f"plain/{name}.png": image(9)}
    )


QUICK_NAMES = (
    "Korean",
    "two dashes",
    "a newline",
    "HTML",
    "a formula",
    "long",
    "not UTF-8",
)


@posix
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, id=kind, marks=[] if kind in QUICK_NAMES else pytest.mark.long
        )
        for kind, name in NAMES.items()
    ],
)
def test_any_name_goes_through(name, tmp_path):
    "Names come back as they were from every file of a run."
    folder, runs, lines = put(tmp_path / name, named(name)), tmp_path / "all runs", []
    with unchanged(tmp_path, runs):
        run = train(folder, quick(runs), say=lines.append)
        known = sorted({name, "plain"})
        check_run(run, known)
        assert (
            set(read_run(run).files) == set(named(name))
            and read_run(run).images == folder
        )
        assert {
            c: {
                f.partition("/")[0]
                for f, at in zip(read_run(run).files, read_run(run).y)
                if known[at] == c
            }
            for c in known
        } == {c: {c} for c in known}
        assert load_model(run).predict(folder.rglob("*.png")).table().error.eq("").all()
        assert (
            train(folder, quick(runs), resume=True, say=lines.append) == run
            and "complete" in lines[-1]
        )
        load_config(run / "config.yaml")
    assert not {"\r", "\x1b", "\x07"} & set("".join(lines)), (
        "a name gives no orders to a terminal"
    )


@posix
@pytest.mark.long
def test_all_names_in_one_report(tmp_path):
    "CSV, HTML and YAML stay what they are, whatever names are in them."
    names = sorted(NAMES.values())
    folder = put(
        tmp_path / "photos",
        {
            f"{name}/{i}.png": image(10 * k + i)
            for k, name in enumerate(names)
            for i in range(3)
        },
    )
    run = train(
        folder,
        load_config(None, [f"output.runs={tmp_path}/runs", "train.strategy=probe"]),
        say=lambda line: None,
    )
    check_run(run, names)

    def lines(file):
        data = (run / "report" / file).read_bytes()
        return io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")

    def column(file, name):
        return [row[name] for row in csv.DictReader(lines(file))]

    assert column("classes.csv", "class") == names
    head, *rows = csv.reader(lines("confusion.csv"))
    assert head[1:] == names == [row[0] for row in rows]
    assert set(column("errors.csv", "label")) <= set(names)
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert (
        "<script>alert" not in page
        and "&lt;script&gt;alert(1)&lt;" in page
        and "{{ 7*7 }}" in page
    )
    out = evaluate(run, folder)
    assert read_run(out).classes == names and (out / "report" / "report.html").is_file()


@posix
@pytest.mark.parametrize(
    "tree",
    [
        classes(NFC, "b") | {f"{NFD}/9.png": PNG},
        {f"train/{name}": data for name, data in classes(NFC, "b").items()}
        | {f"valid/{name}": data for name, data in classes(NFD, "b", seed=50).items()},
    ],
)
def test_one_name_in_two_spellings_is_one_class(tree, tmp_path):
    "macOS stores an accent as a sign of its own, others do not: it is one name."
    try_folder(
        put(tmp_path / "photos", tree),
        f"b {NFC}",
        "Names that look the same and are stored in two forms: "
        f"the folders '{NFC}' are one class each",
    )


# ---- a folder in another way: `.`, `..`, a slash at the end, a home


@pytest.mark.parametrize(
    "here, given",
    [
        ("photos", "."),
        ("photos/a", ".."),
        ("photos/a", "../"),
        (".", "photos/"),
        (".", "./photos//"),
        (".", "photos/../photos"),
        (".", "link"),
    ],
)
def test_a_folder_has_one_name(here, given, tmp_path, monkeypatch):
    put(tmp_path, {"photos": AB, "link": Link("photos")})
    monkeypatch.chdir(tmp_path / here)
    run = train(given, quick(tmp_path / "runs"), say=lambda line: None)
    assert run.name == ("link" if given == "link" else "photos")
    check_run(run, ["a", "b"])


@pytest.mark.parametrize("given", ["~nobody-of-this-name/photos", "a\0b", "n" * 300])
def test_a_folder_that_cannot_be(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for f in (
        take_stock,
        load_model,
        read_head,
        lambda path: evaluate(path, tmp_path),
        lambda path: train(path, quick(tmp_path / "runs")),
    ):
        refusal(partial(f, given))
    assert not snapshot(tmp_path)


def test_runs_inside_the_folder_are_no_class(tmp_path, monkeypatch):
    """`cd photos` and `tutorial-lib train .`, twice.

    Reports hold pictures, and they are none to learn from."""
    monkeypatch.chdir(put(tmp_path / "photos", AB))
    for name in "photos", "photos_2":
        run = train(
            ".", load_config(None, ["train.strategy=probe"]), say=lambda line: None
        )
        assert (
            run.absolute() == tmp_path / "photos" / "runs" / name
            and (run / "report" / "confusion.png").is_file()
        )
        check_run(run, ["a", "b"])
        assert len(read_run(run)) == 8
    evaluate(run, ".")
    assert len(read_run(evaluate(run, "."))) == 8


# ---- where runs go: what stands there, the configuration, and the message or the name
# of the run

RUNS = {
    "a file": ({"runs": b"x"}, [], "runs.*is a file.*output.runs"),
    "inside of a file": (
        {"file": b"x"},
        ["output.runs=file/runs"],
        "Not a directory: 'file/runs'",
    ),
    "a link to nothing": ({"runs": Link("gone")}, [], "runs"),
    "a name too long": (
        {},
        [f"output.run_name={'n' * 300}"],
        Path(f"runs/{'n' * 200}"),
    ),
    "a run of that name": ({"runs/photos/run.json": b"{}"}, [], Path("runs/photos_2")),
    "a file of that name": ({"runs/photos": b"x"}, [], Path("runs/photos_2")),
    "a link of that name": ({"runs/photos": Link("gone")}, [], Path("runs/photos_2")),
    "a folder of that name": (
        {"runs/photos": DIR, "runs/photos_2": DIR},
        [],
        Path("runs/photos_3"),
    ),
    "what a kill left": (
        {"runs/.new-1.part/config.yaml": b"x"},
        [],
        Path("runs/photos"),
    ),
    "the folder of pictures as name": (
        {},
        ["output.runs=.", "output.run_name=photos"],
        Path("photos_2"),
    ),
}


@posix
@pytest.mark.parametrize("tree, overrides, result", RUNS.values(), ids=RUNS)
def test_where_runs_go(tree, overrides, result, tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path, {"photos": AB} | tree))

    def go():
        return train(
            "photos", load_config(None, [*PROBE, *overrides]), say=lambda line: None
        )

    if isinstance(result, str):
        with unchanged(tmp_path):
            assert re.search(result, refusal(go))
        return
    before = {
        name: value
        for name, value in snapshot(tmp_path).items()
        if not name.startswith("runs/.new")
    }
    assert go().absolute() == tmp_path / result
    check_run(tmp_path / result, ["a", "b"])
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in before} == before and not half_written(
        tmp_path
    )


@posix
@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "null",
        "",
        "[" * 100_000,
        '{"folder": 3}',
        '{"folder": "x", "notes": 1}',
        "\0",
    ],
)
def test_what_stands_beside_stops_no_other_run(text, tmp_path):
    "A folder that is no run, with a run's name: passed over, or refused by name."
    put(
        tmp_path,
        {
            "photos": AB,
            "runs/photos/stock.json": text.encode(),
            "runs/photos_x/stock.json": text.encode(),
        },
    )
    try:
        run = train(
            tmp_path / "photos",
            quick(tmp_path / "runs"),
            resume=True,
            say=lambda line: None,
        )
    except (ValueError, OSError) as e:
        assert str(tmp_path / "runs" / "photos" / "stock.json") in str(e)
    else:
        assert run == tmp_path / "runs" / "photos_2"
    assert (tmp_path / "runs" / "photos" / "stock.json").read_text() == text


# ---- permissions: seen as another user, where the tests run as root


@pytest.fixture
def as_anybody():
    "A folder, and a context in which this process has no special rights."
    folder, root = Path(tempfile.mkdtemp()), os.geteuid() == 0
    folder.chmod(0o777)

    @contextlib.contextmanager
    def context():
        if root:
            os.setresuid(65534, 65534, 0)  # the last one is the way back
        try:
            yield
        finally:
            if root:
                os.setresuid(0, 0, 0)

    try:
        yield folder, context
    finally:
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o777)
        shutil.rmtree(folder)


# What is closed, and which rights are left; an error, or the classes; words.
CLOSED = {
    "the folder": (
        ".",
        0,
        ValueError,
        "photos.*(no permission|cannot be read|Permission denied)",
    ),
    "a class": (
        "b",
        0,
        "a c",
        r"Left out, 1: b \(folder that cannot be read: Permission denied\)",
    ),
    "a picture": (
        "b/0.png",
        0,
        "a b c",
        r"Left out, 1: b/0.png \(no permission to read it\)",
    ),
    "a class that may be listed only": (
        "b",
        0o444,
        "a c",
        r"Left out, \d+: b/0.png \(no permission to read it\)",
    ),
}


@posix
@pytest.mark.parametrize("closed, mode, what, words", CLOSED.values(), ids=CLOSED)
def test_what_may_not_be_read(closed, mode, what, words, as_anybody):
    top, anybody = as_anybody
    folder = put(top / "photos", classes("a", "b", "c"))
    (folder / closed).chmod(mode)
    with anybody():
        if isinstance(what, str):
            stock = take_stock(folder)
            check_stock(stock)
            assert stock.classes == what.split() and re.search(
                words, "\n".join(stock.notes)
            ), stock
        else:
            assert re.search(words, refusal(lambda: take_stock(folder), what, OSError))


@posix
@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_may_be_written(there, as_anybody):
    top, anybody = as_anybody
    put(top, {"photos": AB} | ({"closed/runs": DIR} if there else {"closed": DIR}))
    for path in top / "closed" / "runs", top / "closed":
        path.exists() and path.chmod(0o555)
    with unchanged(top), anybody():
        assert "closed" in refusal(
            lambda: train(
                top / "photos", quick(top / "closed" / "runs"), say=lambda line: None
            ),
            OSError,
        )


# ---- judging: the folder that is given, what is wrong with it, in which words


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    "A run that is done, which no test may change."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        top = put(
            tmp_path_factory.mktemp("trained"), {"photos": classes("a", "b", n=6)}
        )
        return train(top / "photos", quick(top / "runs"), say=lambda line: None)


EVALUATE = {
    "missing": (None, FileNotFoundError, "there is no folder .*new: check the name"),
    "a file": (b"x", NotADirectoryError, "new is a file: give the folder"),
    "empty": ({}, ValueError, "new has nothing .*no image is in it"),
    "another class": (
        classes("a", "bb"),
        ValueError,
        "new has the class 'bb', which .*photos does not know .did you mean 'b'",
    ),
    "no picture that can be read": ({"a/1.png": b""}, ValueError, "new has no"),
    "pictures without classes": (
        {"1.png": PNG},
        ValueError,
        "1 images? lie.? in no class folder",
    ),
    "test alone": (parts(test="ab"), ValueError, "new.*test"),
    "one class": (classes("a"), None, ""),
    "an empty class": (classes("a") | {"b": DIR, "c": DIR}, None, ""),
    "a broken picture": (
        AB | {"a/odd.png": PNG[:50]},
        None,
        "Left out, 1: .?a/odd.png",
    ),
    "parts": (parts(train="ab", test="ab"), None, ""),
    "all kinds": (
        AB
        | {
            f"b/{i}": image(mode=mode, format=kind)
            for i, (mode, kind) in enumerate(
                [("CMYK", "JPEG"), ("I;16", "PNG"), ("P", "GIF"), ("1", "BMP")]
            )
        },
        None,
        "",
    ),
}


@pytest.mark.parametrize("tree, kind, words", EVALUATE.values(), ids=EVALUATE)
def test_a_folder_to_judge_by(tree, kind, words, trained, tmp_path):
    folder, run = (
        put(tmp_path / "new", tree),
        shutil.copytree(trained, tmp_path / "photos"),
    )
    with unchanged(tmp_path, run / "evaluations"):
        if kind:
            assert re.search(words, refusal(lambda: evaluate(run, folder), kind))
            assert not (run / "evaluations").exists(), "half an evaluation is left"
            return
        out = evaluate(run, folder)
        assert (
            re.search(words, "\n".join(read_run(out).about["notes"]))
            and (out / "report" / "report.html").is_file()
        )
    assert not half_written(run)


OUT = {  # where an evaluation shall be written: what stands there
    "the run": ("photos", None),
    "the pictures": ("new", None),
    "a file": ("out", b"x"),
    "inside of a file": ("out/x", b"x"),
    "a folder with something": ("out", {"diary.txt": b"x"}),
}


@pytest.mark.parametrize("place, tree", OUT.values(), ids=OUT)
def test_an_evaluation_replaces_nothing_else(place, tree, trained, tmp_path):
    put(tmp_path / "new", AB)
    run = shutil.copytree(trained, tmp_path / "photos")
    if tree is not None:
        put(tmp_path / "out", tree)
    with unchanged(tmp_path):
        assert str(tmp_path / place.partition("/")[0]) in refusal(
            lambda: evaluate(run, tmp_path / "new", tmp_path / place)
        )


# ---- weights: from the bytes of a good head those of a bad one, and words


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def described(good, **change):
    "A head with another description, sealed as the library seals it."
    tensors, header = (
        from_safetensors(good),
        json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]]),
    )
    about = {
        k: v
        for k, v in json.loads(header["__metadata__"]["tutorial_lib"]).items()
        if k != "digest"
    } | change
    return to_safetensors(
        tensors,
        {
            "tutorial_lib": sealed(
                tensors, {k: v for k, v in about.items() if v is not None}
            )
        },
    )


HUGE = (  # a header
    b'{"head.weight":{"dtype":"F32","shape":[1073741824,268435456],'
    b'"data_offsets":[0,1152921504606846976]}}'
)
WEIGHTS = {
    "missing": (
        lambda good: None,
        FileNotFoundError,
        "head.safetensors.*no such file|head.safetensors",
    ),
    "zero bytes": (
        lambda good: b"",
        ValueError,
        r"head.safetensors: not a whole safetensors file \(0 bytes\): it is cut short",
    ),
    "cut in the header": (
        lambda good: good[:100],
        ValueError,
        r"head.safetensors: not a whole safetensors file \(100 bytes\): "
        "it is cut short",
    ),
    "cut in the numbers": (
        lambda good: good[:-1],
        ValueError,
        "head.safetensors: not a whole safetensors file .*cut short or damaged",
    ),
    "more behind it": (
        lambda good: good + b"x",
        ValueError,
        "head.safetensors: not a whole safetensors file",
    ),
    "text": (
        lambda good: b"these are weights",
        ValueError,
        "head.safetensors: not a whole safetensors file .*like another format",
    ),
    "JSON": (
        lambda good: b'{"classes": ["a", "b"]}',
        ValueError,
        "head.safetensors: not a whole safetensors file .*like another format",
    ),
    "a picture": (
        lambda good: PNG,
        ValueError,
        "head.safetensors: not a whole safetensors file",
    ),
    "a pickle": (
        lambda good: pickle.dumps(Evil()),
        ValueError,
        "head.safetensors: not a whole safetensors file .*it looks like a pickle",
    ),
    "a file of torch.save": (
        lambda good: (
            out := io.BytesIO(),
            torch.save({"head.weight": torch.ones(2)}, out),
        )[0].getvalue(),
        ValueError,
        "it looks like a pickle from torch.save",
    ),
    "a header of 2^60 bytes": (
        lambda good: struct.pack("<Q", 2**60) + b"{" + good[9:],
        ValueError,
        "head.safetensors: not a whole safetensors file",
    ),
    "a header of 2^64 - 1 bytes": (
        lambda good: b"\xff" * 8 + b"{",
        ValueError,
        "head.safetensors: not a whole safetensors file",
    ),
    "a tensor of 2^60 bytes": (
        lambda good: struct.pack("<Q", len(HUGE)) + HUGE,
        ValueError,
        "head.safetensors: not a whole safetensors file",
    ),
    "weights of another program": (
        lambda good: to_safetensors({"fc.weight": torch.ones(2, 3)}),
        ValueError,
        "head.safetensors holds no classifier: it does not say what it is. "
        "Give a file that `tutorial-lib train` wrote",
    ),
    "a description without keys": (
        lambda good: described(good, classes=None),
        ValueError,
        "head.safetensors holds no classifier: its description has no classes",
    ),
    "another class name": (
        lambda good: good.replace(b'[\\"a\\", \\"b\\"]', b'[\\"a\\", \\"c\\"]'),
        ValueError,
        "head.safetensors holds no classifier: it is damaged",
    ),
    "another number": (
        lambda good: good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        ValueError,
        "head.safetensors holds no classifier: it is damaged",
    ),
    "numbers that do not fit": (
        lambda good: described(good, classes=["a", "b", "c"]),
        ValueError,
        "head.safetensors holds no classifier",
    ),
    "classes of one name": (
        lambda good: described(good, classes=["a", "a"]),
        ValueError,
        "head.safetensors holds no classifier",
    ),
    "of a later version": (
        lambda good: described(good, format=99),
        ValueError,
        "head.safetensors has the format 99, and this version reads 2",
    ),
    "a body that is none": (
        lambda good: described(good, body="no_such_net"),
        ValueError,
        "head.safetensors|no_such_net",
    ),
    "a body that is a path": (
        lambda good: described(good, body="../../etc/passwd"),
        ValueError,
        "head.safetensors",
    ),
    "a body with other weights": (
        lambda good: described(good, fingerprint="0" * 24),
        ValueError,
        "head.safetensors",
    ),
    "a layer that is none": (
        lambda good: described(good, layer="nowhere"),
        ValueError,
        "head.safetensors|nowhere",
    ),
    "pictures of 4096 pixels": (
        lambda good: described(good, size=4096),
        ValueError,
        "head.safetensors",
    ),
}


@pytest.fixture
def no_graphs(tmp_path_factory, monkeypatch):
    "So a network has to be found by its name."
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path_factory.mktemp("graphs")))


@pytest.mark.parametrize("make, kind, words", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_refused_by_name(
    make, kind, words, trained, tmp_path, monkeypatch, no_graphs
):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(trained, tmp_path / "photos")
    (run / "head.safetensors").unlink()
    put(run / "head.safetensors", make((trained / "head.safetensors").read_bytes()))
    with unchanged(tmp_path):
        assert re.search(
            words, refusal(lambda: load_model(run / "head.safetensors"), kind)
        )
        assert str(run) in refusal(lambda: load_model(run), kind)
        refusal(lambda: evaluate(run, tmp_path), kind)
        refusal(lambda: load_model(trained).use(run / "head.safetensors"), kind)


# ---- many classes


@pytest.mark.long
def test_more_classes_than_a_probe_takes(tmp_path):
    "benchmarks/bad_input.py measures 10,000; from 1,001 on the way is the same."
    folder = put(
        tmp_path / "photos",
        {f"{k:04}/{i}.png": image(2 * k + i) for k in range(1_001) for i in range(2)},
    )
    run = train(folder, quick(tmp_path / "runs"), say=lambda line: None)
    check_run(run, [f"{k:04}" for k in range(1_001)])
    assert (run / "probabilities.safetensors").is_file()


# ---- the command line: one line for each row, and the status 1


def error_line(capsys, *args):
    "What a command that fails says: one line on stderr."
    assert main([*map(str, args)]) == 1
    out, line = capsys.readouterr()
    assert (
        line.startswith("tutorial-lib: error: ")
        and line.count("\n") == 1
        and "--debug" not in line
        and len(line) <= 700
    ), line
    return line


ALIASES = "\n".join(
    [
        "a: &a [x, x, x, x]",
        *(
            f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]"
            for a, b in zip("abcdefghijkl", "bcdefghijklm")
        ),
    ]
).encode()
SPARSE = object()

# What stands in mine.yaml, and a piece of the line. tests/test_config.py has more.
CONFIGS = {
    "missing": (None, "mine.yaml is not there: check the name"),
    "a folder": (DIR, "mine.yaml is a folder"),
    "a pipe": (PIPE, "mine.yaml is a device or a pipe"),
    "empty": (b"", "mine.yaml is empty"),
    "a list": (b"- train\n", "mine.yaml, line 1: a list"),
    "a word": (b"fast\n", "mine.yaml, line 1"),
    "tabs": (b"train:\n\tlr: 1\n", "mine.yaml, line 2: a tab: indent with spaces"),
    "a wrong type": (b"train:\n  lr: fast\n", "mine.yaml, line 2: train.lr is"),
    "a key twice": (
        b"train:\n  lr: 1\n  lr: 2\n",
        "mine.yaml, line 3: train.lr stands twice",
    ),
    "an unknown key": (
        b"train:\n  lrr: 1\n",
        "mine.yaml, line 2: there is no key train.lrr",
    ),
    "a bomb of aliases": (ALIASES, "mine.yaml, line 1: an anchor"),
    "a NUL byte": (b"train:\n  lr: \0\n", "mine.yaml, line 2"),
    "no text": (b"\xff\xfe\x00", "mine.yaml, line 1: the byte 0xff is not UTF-8"),
    "a pickle": (pickle.dumps(Evil()), "mine.yaml, line 1"),
    "a picture": (PNG, "mine.yaml, line 1"),
    "a gigabyte": (SPARSE, "mine.yaml has more than"),
    "a folder that is not there": (
        b"data: {folder: nowhere}\n",
        "there is no folder .*nowhere",
    ),
}


@posix
@pytest.mark.parametrize("what, words", CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_is_refused_in_one_line(
    what, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(
        put(tmp_path, {"photos": AB} if "folder" not in words or what is DIR else {})
    )
    put(tmp_path / "mine.yaml", b"" if what is SPARSE else what)
    if what is SPARSE:
        os.truncate(tmp_path / "mine.yaml", 2**30)
    listed = sorted(p.name for p in tmp_path.iterdir())
    assert re.search(
        words,
        error_line(
            capsys,
            "train",
            *(["photos"] if (tmp_path / "photos").exists() else []),
            "--config",
            "mine.yaml",
        ),
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == listed


@posix
@pytest.mark.parametrize(
    "name", [name for name, (_, what, _) in FOLDERS.items() if isinstance(what, type)]
)
def test_a_folder_is_refused_in_one_line(name, tmp_path, monkeypatch, capsys):
    put(tmp_path / "photos", FOLDERS[name][0])
    monkeypatch.chdir(tmp_path)
    with unchanged(tmp_path):
        assert re.search(FOLDERS[name][2], error_line(capsys, "train", "photos"))


@pytest.mark.parametrize("make, kind, words", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_refused_in_one_line(
    make, kind, words, trained, tmp_path, monkeypatch, capsys, no_graphs
):
    monkeypatch.chdir(tmp_path)
    put(
        tmp_path,
        {
            "run/head.safetensors": make((trained / "head.safetensors").read_bytes()),
            "run/run.json": b"{}",
            "1.png": PNG,
        },
    )
    with unchanged(tmp_path):
        assert re.search(words, error_line(capsys, "predict", "run", "1.png"))


# ---- any tree of files

WHOLE = [
    image(1),
    image(2),
    image(3, (40, 30), "JPEG"),
    image(4, mode="P", transparency=1),
    image(5, mode="I;16"),
    image(6, (30, 40), "JPEG", "CMYK"),
    image(7, format="GIF", mode="P"),
]
WICKED = [
    "a",
    "b",
    "c",
    "train",
    "valid",
    "val",
    "test",
    "Train",
    "TEST",
    "runs",
    "__MACOSX",
    "@eaDir",
    ".hidden",
    "stock.json",
    "run.json",
    *NAMES.values(),
    NFD,
]

whole, share = st.sampled_from(WHOLE), st.floats(0, 1, exclude_max=True)
names = st.one_of(
    st.sampled_from(WICKED[:12]),
    st.sampled_from(WICKED),
    st.text(
        st.characters(exclude_categories=("Cs",), exclude_characters="/\0"),
        min_size=1,
        max_size=8,
    ).filter(lambda n: n not in (".", "..")),
)
contents = st.one_of(
    whole,
    whole,
    whole,
    st.builds(lambda data, at: data[: int(at * len(data))], whole, share),
    st.binary(max_size=40),
    st.just(DIR),
    st.just(PIPE),
    st.sampled_from(["..", ".", "gone", "../a", "../../photos"]).map(Link),
)
places = st.lists(names, min_size=1, max_size=3).map(tuple)
bases = st.sampled_from(
    [
        {},
        AB,
        classes("a", "b", n=2),
        classes("a", "b", "c", n=1),
        parts(train="ab"),
        parts(train="ab", valid="ab"),
        parts(train="ab", valid="a", test="b"),
        parts(valid="ab", test="ab"),
    ]
)
trees = st.tuples(bases, st.lists(st.tuples(places, contents), max_size=12))


def put_what_fits(folder, tree):
    """Make a random tree.

    What has no place is left out: a file in a file or in a link, a name too long for
    the disk."""
    base, others = tree
    put(folder, base)
    for place, what in others:
        path = folder.joinpath(*place)
        if os.path.lexists(path) or any(p.is_symlink() for p in path.parents):
            continue
        with contextlib.suppress(OSError):
            put(path, what)


def try_tree(tree):
    """Take stock of a random folder: "worked", or "refused by name".

    Anything else is an error."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "photos")
        put_what_fits(folder, tree)
        with unchanged(top):
            try:
                stock = take_stock(folder)
            except (ValueError, OSError) as e:
                error = e
            else:
                check_stock(stock)
                return "worked"
        text = str(error)
        assert (
            not isinstance(error, UnicodeError)
            and len(text.splitlines()) == 1
            and len(text) <= 600
            and str(folder) in text
        ), text
        return "refused by name"


slow = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@posix
@settings(slow, max_examples=80)
@given(trees)
@example(
    ({}, [(("a\nb", "1.png"), PNG[:50])])
)  # the name of what was left out is in the message
@example((AB, [(("\x1b[31m",), b"x"), (("a", NFD, "runs", "run.json"), b"x")]))
def test_any_tree_is_a_stock_or_refused(tree):
    try_tree(tree)


# ---- any damage to a run

HALF = (
    "train.strategy=head",
    "train.epochs=2",
    "train.minutes=null",
    "train.batch_size=4",
    "train.augment=mirror",
    "output.report=false",
    "output.checkpoint_minutes=0",
)
BEGUN = (
    "config.yaml",
    "split.csv",
    "stock.json",
    "plan.json",
    "checkpoint.safetensors",
    "head.safetensors",
    "run.json",
    "predictions.csv",
    "history.csv",
)
DONE = (
    "head.safetensors",
    "run.json",
    "predictions.csv",
    "history.csv",
    "config.yaml",
    "split.csv",
    "stock.json",
    "result.json",
)


def stop_in_the_middle(step):
    "Stop a training after a step, as Ctrl-C does."
    if step.step >= 3:
        raise KeyboardInterrupt


def half(config):
    return load_config(None, [f"output.runs={config}", *HALF])


def begin_and_end(top):
    """A run that was stopped in the middle of its fine-tuning, and one that was not.

    `top` gets the folder of pictures, and the runs of the one and of the other."""
    put(top / "photos", classes("a", "b", n=8))
    with contextlib.suppress(KeyboardInterrupt):
        train(
            top / "photos",
            half(top / "begun"),
            say=lambda line: None,
            on_step=stop_in_the_middle,
        )
    run = train(top / "photos", half(top / "done"), say=lambda line: None)
    report(run, top / "report")
    assert {p.name for p in (top / "begun" / "photos").iterdir()} >= {*BEGUN} and {
        p.name for p in run.iterdir()
    } >= {*DONE}
    return top


@pytest.fixture(scope="session")
def begun_and_done(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        return begin_and_end(tmp_path_factory.mktemp("damage"))


def damaged(data, kind, at, new):
    "The bytes of a file after an accident."
    i = int(at * len(data))
    return {
        "flip": data[:i] + bytes([data[i] ^ 1 << len(new) % 8]) + data[i + 1 :]
        if data
        else b"x",
        "cut": data[:i],
        "insert": data[:i] + new + data[i:],
        "overwrite": data[:i] + new + data[i + len(new) :],
        "leave out": data[:i] + data[i + len(new) :],
        "zeros": data[:i] + bytes(len(data[i : i + 512])) + data[i + 512 :],
        "repeat": data[:i] + data,
        "gone": None,
    }[kind]


damages = st.tuples(
    st.sampled_from(
        [
            "flip",
            "flip",
            "cut",
            "insert",
            "overwrite",
            "leave out",
            "zeros",
            "repeat",
            "gone",
        ]
    ),
    share,
    st.binary(min_size=1, max_size=8),
)


def same_results(run, other):
    return (run / "head.safetensors").read_bytes() == (
        other / "head.safetensors"
    ).read_bytes() and same_judgement(read_run(run), read_run(other))


def same_judgement(a, b):
    return (
        a.files == b.files
        and a.classes == b.classes
        and (a.y == b.y).all()
        and (a.probs == b.probs).all()
        and (a.parts == b.parts).all()
    )


def break_file(file, damage):
    "Damage a file, or take it away."
    after = damaged(file.read_bytes(), *damage)
    file.unlink()
    put(file, after)


def named_by(error, run):
    assert (
        str(run) in str(error)
        and not isinstance(error, UnicodeError)
        and len(str(error).splitlines()) == 1
    ), error


def try_resume(top, name, damage):
    """Damage a file of the run that was stopped, and go on.

    That gives the results of the run that was not stopped, or an error that names the
    run."""
    with tempfile.TemporaryDirectory() as copy:
        run = shutil.copytree(top / "begun", Path(copy, "runs")) / "photos"
        break_file(run / name, damage)
        try:
            new = train(
                top / "photos", half(run.parent), resume=True, say=lambda line: None
            )
        except (ValueError, OSError) as e:
            named_by(e, run)
            assert not half_written(run.parent)
            return "refused by name"
        assert same_results(new, top / "done" / "photos") and not half_written(
            run.parent
        )
        return "worked"


def try_reading(top, name, damage):
    """Damage a file of a run that is done.

    A report and a prediction are what they were, or an error names the file."""
    with tempfile.TemporaryDirectory() as copy:
        run, outcome = (
            shutil.copytree(top / "done" / "photos", Path(copy, "photos")),
            "worked",
        )
        break_file(run / name, damage)
        with unchanged(run):
            try:
                assert (
                    load_model(run).head.weight
                    == load_model(top / "done" / "photos").head.weight
                ).all()
            except (ValueError, OSError) as e:
                named_by(e, run)
                outcome = "refused by name"
            try:
                assert same_judgement(read_run(run), read_run(top / "done" / "photos"))
                report(run, Path(copy, "report"))
                for file in "scores.csv", "classes.csv", "confusion.csv":
                    assert (
                        Path(copy, "report", file).read_bytes()
                        == (top / "report" / file).read_bytes()
                    )
            except (ValueError, OSError) as e:
                named_by(e, run)
                outcome = "refused by name"
        return outcome


@pytest.mark.long
@settings(slow, max_examples=40)
@given(st.sampled_from(BEGUN), damages)
@example("stock.json", ("cut", 0.0, b"x"))
@example("plan.json", ("cut", 0.0, b"x"))
@example("checkpoint.safetensors", ("flip", 0.99, b"x"))
@example("head.safetensors", ("flip", 0.99, b"x"))
def test_a_damaged_run_goes_on_rightly_or_not_at_all(begun_and_done, name, damage):
    try_resume(begun_and_done, name, damage)


@pytest.mark.long
@settings(slow, max_examples=12)
@given(st.sampled_from(DONE), damages)
@example("history.csv", ("cut", 0.5, b"x"))
def test_a_damaged_run_is_read_rightly_or_not_at_all(begun_and_done, name, damage):
    try_reading(begun_and_done, name, damage)
