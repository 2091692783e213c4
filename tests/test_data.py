"Chapter 01: sets by name, folders of any files, images of any mode, honest splits."

import io
import os
import re
import struct
import threading
import warnings
import zlib
from collections import Counter

import numpy as np
import pytest
import torch
from fastai.data.external import fastai_cfg, fastai_path
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import CIFAR10_CLASSES
from PIL import Image, ImageFile, ImageOps

from tutorial_lib.core import images
from tutorial_lib.core.formats import FORMATS
from tutorial_lib.core.images import decode_image, map_files, to_rgb
from tutorial_lib.data import (
    digits,
    image_files,
    load,
    pets,
    read_images,
    split,
    twins,
    verify_images,
)
from tutorial_lib.sample import BREEDS


def picture(mode="RGB", size=(24, 16)):
    "A smooth picture: red grows to the right, green downwards."
    w, h = size
    x, y = np.meshgrid(np.linspace(0, 255, w), np.linspace(0, 255, h))
    return Image.fromarray(np.stack([x, y, 0 * x + 128], -1).astype(np.uint8)).convert(
        mode
    )


def encode(im, format, **kwargs):
    out = io.BytesIO()
    im.save(out, format, **kwargs)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def reason(folder, name):
    return verify_images(folder).set_index("file").reason[name]


# sets by name


@pytest.fixture
def home(tmp_path, monkeypatch):
    "fastai's folders inside this test's."
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    fastai_cfg.cache_clear()
    yield tmp_path / "fastai"
    fastai_cfg.cache_clear()


def test_digits():
    x, y = digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == (
        (1797, 8, 8),
        np.float32,
        (1797,),
        np.int64,
    )
    assert (x.min(), x.max()) == (0, 1) and set(y) == set(range(10))
    assert all((a == b).all() for a, b in zip(load("digits"), (x, y)))


@pytest.mark.parametrize(
    "name, hint",
    [
        ("pet", " (did you mean 'pets'?)"),
        ("CIFAR-10", " (did you mean 'cifar10'?)"),
        ("imagenet", ""),
        (3, ""),
    ],
)
def test_unknown_name(name, hint):
    with pytest.raises(ValueError) as e:
        load(name)
    assert str(e.value) == (
        f"no data set is called {name!r}: "
        f"choose one of pets, cifar10, digits, sample{hint}"
    )


@pytest.mark.parametrize("name", ["pets", "digits", "sample"])
def test_unknown_tier(name, home, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", "smaple")
    with pytest.raises(
        ValueError,
        match="TUTORIAL_DATA is 'smaple': set it to 'sample' for drawn pictures, "
        "or unset it for the real sets",
    ):
        load(name)


@pytest.mark.long
def test_drawn_pets(home, monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    files = image_files(load("pets"))
    assert (
        capsys.readouterr().out
        == "TUTORIAL_DATA=sample: drawn animals stand in for pets\n"
    )
    assert (
        len(files) >= 500 and not files.skipped and len({f.parent for f in files}) == 1
    )
    assert read_images(files[:4]).shape == (4, 128, 128, 3)
    assert load("sample") == load("pets") == files[0].parent


@pytest.mark.long
def test_drawn_cifar10(home, monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    folder = load("cifar10")
    assert (
        capsys.readouterr().out
        == "TUTORIAL_DATA=sample: drawn animals stand in for cifar10\n"
    )
    for part, n in (("train", 200), ("test", 50)):
        files = image_files(folder / part)
        assert Counter(f.parent.name for f in files) == dict.fromkeys(BREEDS[:10], n)
    assert read_images(files).shape == (500, 32, 32, 3)
    assert not twins(image_files(folder))


def test_the_real_sets_are_never_swapped(home, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    pictures = home / "data" / "oxford-iiit-pet" / "images"
    pictures.mkdir(parents=True)
    for i in range(7390):
        (pictures / f"{i}.jpg").write_bytes(b"x")
    assert pets() == pictures


REAL = fastai_path("data")


@pytest.mark.skipif(
    not (REAL / "oxford-iiit-pet").is_dir(), reason="Pets is not on this machine"
)
def test_real_pets(monkeypatch):
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    files = image_files(load("pets"))
    assert len(files) == 7390 and len({f.name.rsplit("_", 1)[0] for f in files}) == 37
    assert len(twins(files)) > 10


@pytest.mark.skipif(
    not (REAL / "cifar10").is_dir(), reason="CIFAR-10 is not on this machine"
)
def test_real_cifar10(monkeypatch):
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    folder = load("cifar10")
    assert sorted(p.name for p in (folder / "test").iterdir()) == CIFAR10_CLASSES
    assert read_images(image_files(folder / "test" / "cat")).shape == (1000, 32, 32, 3)


# folders


def snapshot(folder):
    return {
        p: (p.lstat().st_mtime_ns, p.lstat().st_size)
        for p in [folder, *folder.rglob("*")]
    }


GOOD = {
    "a.jpg": encode(picture(), "JPEG"),
    "gray.jpg": encode(picture("L"), "JPEG"),
    "cmyk.jpg": encode(picture("CMYK"), "JPEG"),
    "gif named.jpg": encode(picture("P"), "GIF"),
    "png named.jpg": encode(picture(), "PNG"),
    "no ending": encode(picture(), "WEBP"),
    "고양이 1.png": encode(picture("RGBA"), "PNG"),
    "강아지/바둑이 2.JPG": encode(picture(), "JPEG"),
    "deep/er/b.tif": encode(picture(), "TIFF"),
    "x.bmp": encode(picture(), "BMP"),
    "y.ppm": encode(picture(), "PPM"),
}
BAD = {
    "empty.jpg": (b"", "empty file"),
    "page.jpg": (b"<!DOCTYPE html><html>404", "a web page, not an image"),
    "notes.txt": (b"buy milk", "not an image"),
    "text.jpg": (b"buy milk", "not an image"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "not an image"),
    ".DS_Store": (b"\0\0\0\1Bud1", "hidden"),
    "phone.jpg": (
        b"\0\0\0\x18ftypheic" + bytes(50),
        "HEIC, which is not supported: save it as JPEG or PNG",
    ),
    "zeros.jpg": (bytes(5000), "not an image"),
}


def fill(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_images_are_known_by_their_content(folder):
    fill(folder, GOOD | {name: content for name, (content, _) in BAD.items()})
    before = snapshot(folder)
    files = image_files(folder)
    assert [f.relative_to(folder).as_posix() for f in files] == sorted(
        GOOD, key=lambda name: folder / name
    )
    assert {p.name: why for p, why in files.skipped} == {
        name: why for name, (_, why) in BAD.items()
    }
    table = verify_images(folder)
    assert list(table.columns) == [
        "file",
        "reason",
        "format",
        "mode",
        "width",
        "height",
    ]
    assert dict(zip(table.file, table.reason)) == dict.fromkeys(GOOD, "") | {
        name: why for name, (_, why) in BAD.items()
    }
    assert set(table.file[table.reason == ""]) == set(GOOD)
    assert (
        set(table.width[table.reason == ""]) == {24}
        and table.width[table.reason != ""].isna().all()
    )
    assert read_images(files, size=8).shape == (len(GOOD), 8, 8, 3)
    assert snapshot(folder) == before, "nothing may be written"
    assert (
        verify_images(str(folder)).equals(table) and image_files(str(folder)) == files
    )


def test_table_names_what_is_stored(folder):
    fill(folder, {"cmyk.jpg": GOOD["cmyk.jpg"], "p.jpg": GOOD["gif named.jpg"]})
    assert verify_images(folder)[
        ["format", "mode", "width", "height"]
    ].values.tolist() == [["JPEG", "CMYK", 24, 16], ["GIF", "P", 24, 16]]


@pytest.mark.parametrize(
    "format, kwargs",
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("TIFF", {}),
    ],
)
def test_a_truncated_file_is_found(folder, format, kwargs):
    noise = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    )
    whole = encode(noise, format, **kwargs)
    fill(folder, {"half.jpg": whole[: len(whole) // 2]})
    assert reason(folder, "half.jpg")
    with pytest.raises(
        ValueError,
        match=r"half\.jpg cannot be read \(.+\): leave it out, or make it anew; "
        "`verify_images` lists such files",
    ):
        read_images([folder / "half.jpg"])


def test_truncated_whatever_pillow_is_told(folder, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    fill(folder, {"half.jpg": encode(picture(size=(200, 200)), "JPEG")[:2000]})
    assert "truncated" in reason(folder, "half.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("pixels", [1.5, 3])
def test_a_decompression_bomb_is_refused_by_name(folder, pixels):
    w, h = 10_000, int(Image.MAX_IMAGE_PIXELS * pixels / 10_000)
    fill(
        folder,
        {"a.jpg": GOOD["a.jpg"], "bomb.png": encode(Image.new("1", (w, h)), "PNG")},
    )
    files = image_files(folder)
    assert [f.name for f in files] == ["a.jpg"] and files.skipped[0][1].startswith(
        "decompression bomb: "
    )
    assert str(w * h) in reason(folder, "bomb.png")
    with pytest.raises(
        ValueError, match=r"bomb\.png cannot be read \(decompression bomb: "
    ):
        read_images([folder / "bomb.png"])


def test_links_are_not_followed(folder, tmp_path):
    fill(folder, {"a.jpg": GOOD["a.jpg"], "sub/b.jpg": GOOD["a.jpg"]})
    fill(tmp_path, {"outside/c.jpg": GOOD["a.jpg"]})
    links = {
        "out": tmp_path / "outside",
        "loop": folder,
        "sub/up": folder,
        "c.jpg": tmp_path / "outside" / "c.jpg",
        "gone.jpg": tmp_path / "nowhere",
    }
    for name, to in links.items():
        (folder / name).symlink_to(to)
    files = image_files(folder)
    assert [f.name for f in files] == ["a.jpg", "b.jpg"]
    assert {
        p.relative_to(folder).as_posix(): why for p, why in files.skipped
    } == dict.fromkeys(links, "link, not followed")
    assert (verify_images(folder).reason == "").sum() == 2
    (tmp_path / "door").symlink_to(folder)
    assert len(image_files(tmp_path / "door")) == 2, (
        "the folder itself may be reached through a link"
    )


def test_hidden_folders_are_not_entered(folder):
    fill(
        folder,
        {
            "a.jpg": GOOD["a.jpg"],
            ".ipynb_checkpoints/a-checkpoint.jpg": GOOD["a.jpg"],
            "sub/._a.jpg": b"\0\5\x16\7",
        },
    )
    files = image_files(folder)
    assert [f.name for f in files] == ["a.jpg"]
    assert [(p.name, why) for p, why in files.skipped] == [
        (".ipynb_checkpoints", "hidden"),
        ("._a.jpg", "hidden"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.jpg")
    assert image_files(folder).skipped == [(folder / "pipe.jpg", "not a regular file")]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_what_may_not_be_read_is_reported(folder):
    fill(folder, {"a.jpg": GOOD["a.jpg"], "locked/b.jpg": GOOD["a.jpg"]})
    (folder / "a.jpg").chmod(0)
    (folder / "locked").chmod(0)
    assert dict(verify_images(folder)[["file", "reason"]].values) == {
        "a.jpg": "no permission to read it",
        "locked": "folder that cannot be read: Permission denied",
    }
    (folder / "locked").chmod(0o700)


@pytest.mark.parametrize("f", [image_files, verify_images])
def test_folders_that_are_none(f, folder, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="there is no folder .*nowhere: check the name"
    ):
        f(tmp_path / "nowhere")
    fill(folder, {"a.jpg": GOOD["a.jpg"]})
    with pytest.raises(
        NotADirectoryError, match=r"a\.jpg is a file: give the folder that it is in"
    ):
        f(folder / "a.jpg")


def test_an_empty_folder(folder):
    assert image_files(folder) == [] and image_files(folder).skipped == []
    table = verify_images(folder)
    assert len(table) == 0 and list(table.columns) == [
        "file",
        "reason",
        "format",
        "mode",
        "width",
        "height",
    ]


# reading changes nothing of the process, and metadata cost nothing

NOISE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
)
KINDS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("WEBP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("PPM", {}),
    *[("AVIF", {})] * ("AVIF" in FORMATS),
]


@pytest.mark.parametrize("format, kwargs", KINDS)
def test_half_a_file_is_refused_though_the_caller_allows_it(
    folder, monkeypatch, format, kwargs
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encode(NOISE, format, **kwargs)
    fill(folder, {"half": whole[: len(whole) // 2], "whole": whole})
    assert reason(folder, "half") and not reason(folder, "whole")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_damaged_pixels_are_refused_though_the_caller_allows_them(folder, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    png = bytearray(encode(NOISE, "PNG"))
    png[len(png) // 2 : len(png) // 2 + 40] = bytes(40)
    fill(folder, {"x.png": bytes(png)})
    assert reason(folder, "x.png") == "broken: its pixels are damaged"


def state():
    return (
        ImageFile.LOAD_TRUNCATED_IMAGES,
        Image.MAX_IMAGE_PIXELS,
        list(warnings.filters),
        warnings.showwarning,
    )


def test_reading_sets_no_switch_while_it_lasts(folder):
    fill(folder, {f"{i}.jpg": GOOD["a.jpg"] for i in range(3)})
    before, files = state(), image_files(folder)
    for _ in map_files(decode_image, files):
        assert state() == before
    assert state() == before


def test_two_threads_that_read_leave_all_as_it_was(folder, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    fill(folder, {"a.jpg": GOOD["a.jpg"]})
    before, inside, first_ends = state(), threading.Barrier(2), threading.Event()

    def read(wait):
        def meet(_):
            inside.wait(10)
            if wait:
                first_ends.wait(10)

        list(map_files(meet, [folder / "a.jpg"]))

    first, second = (
        threading.Thread(target=read, args=[False]),
        threading.Thread(target=read, args=[True]),
    )
    first.start()
    second.start()
    first.join()
    first_ends.set()
    second.join()
    assert state() == before


def chunk(name, content, crc=None):
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content) if crc is None else crc)
    )


def png_with(*chunks, behind=()):
    "A PNG with chunks of metadata before its pixels, and behind them."
    png = encode(NOISE, "PNG")
    at = png.index(b"IDAT") - 4
    return png[:at] + b"".join(chunks) + png[at:-12] + b"".join(behind) + png[-12:]


BOMB_OF_TEXT = zlib.compress(bytes(70_000_000))
METADATA = {
    "profile that is huge": chunk(b"iCCP", b"icc\0\0" + BOMB_OF_TEXT),
    "profile packed in another way": chunk(b"iCCP", b"icc\0\7rubbish"),
    "profile without an end": chunk(b"iCCP", b"icc"),
    "text that is huge": chunk(b"zTXt", b"comment\0\0" + BOMB_OF_TEXT),
    "text packed in another way": chunk(b"zTXt", b"comment\0\7rubbish"),
    "international text": chunk(b"iTXt", b"comment\0\1\0\0\0" + BOMB_OF_TEXT),
    "much text": b"".join(
        chunk(b"tEXt", b"%d\0" % i + bytes(1_000_000)) for i in range(66)
    ),
    "text with a wrong checksum": chunk(b"tEXt", b"a\0b", crc=0),
    "EXIF of rubbish": chunk(b"eXIf", b"rubbish"),
    "EXIF of nothing": chunk(b"eXIf", b""),
    "short colors": chunk(b"cHRM", b"\0"),
    "short gamma": chunk(b"gAMA", b""),
    "short size": chunk(b"pHYs", b""),
    "short sRGB": chunk(b"sRGB", b""),
    "animation of nothing": chunk(b"acTL", bytes(8)),
    "animation cut short": chunk(b"acTL", b"") + chunk(b"fcTL", b""),
    "profile of another program": chunk(
        b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzz"
    ),
    "a chunk that nobody knows": chunk(b"abCd", b"?"),
    "a color that is transparent, and is not there": chunk(b"tRNS", b""),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_a_png_cost_nothing(folder, name, behind, recwarn):
    fill(
        folder,
        {
            "x.png": png_with(behind=[METADATA[name]])
            if behind
            else png_with(METADATA[name])
        },
    )
    assert reason(folder, "x.png") == "" and len(image_files(folder)) == 1
    assert (
        read_images([folder / "x.png"])[0] == np.asarray(NOISE)
    ).all() and not recwarn.list


def exif_of(value, kind=3, n=1):
    return (
        struct.pack(">2sHIHHHI", b"MM", 42, 8, 1, 0x0112, kind, n)
        + (struct.pack(">HH", value, 0) if kind in (3, 8) else struct.pack(">I", value))
        + bytes(4)
    )


XMP = b"<x:xmpmeta><rdf:Description tiff:Orientation='6'/></x:xmpmeta>".replace(
    b"'", b'"'
)
PROFILE = b"\nexif\n%8d\n" % len(exif_of(6)) + exif_of(6).hex().encode()
TURNED = {  # chunks of a PNG: how Pillow reads them
    "packed XMP": [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))],
    "XMP": [chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)],
    "XMP in a text": [chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(XMP))],
    "long XMP": [
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP + b" " * (2 << 20))
    ],
    "a profile": [
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE))
    ],
    "an international profile": [
        chunk(b"iTXt", b"Raw profile type exif\0\0\0\0\0" + PROFILE)
    ],
    "the last of two": [chunk(b"eXIf", exif_of(3)), chunk(b"eXIf", exif_of(6))],
    "EXIF before a profile": [
        chunk(b"eXIf", exif_of(3)),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
    ],
    "a number that means nothing, before XMP": [
        chunk(b"eXIf", exif_of(9)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ],
    "with a sign": [chunk(b"eXIf", exif_of(6, 8))],
    "long with a sign": [chunk(b"eXIf", exif_of(6, 9))],
    "long": [chunk(b"eXIf", exif_of(6, 4))],
}


@pytest.mark.parametrize("name", TURNED)
def test_a_png_is_turned_as_pillow_turns_it(folder, name):
    fill(folder, {"x.png": png_with(*TURNED[name])})
    with Image.open(folder / "x.png") as im:
        want = np.asarray(ImageOps.exif_transpose(im))
    seen = read_images([folder / "x.png"])[0]
    assert seen.shape == want.shape and (seen == want).all()


def test_a_png_without_its_end_mark_is_whole(folder):
    fill(folder, {"x.png": encode(NOISE, "PNG")[:-12]})
    assert reason(folder, "x.png") == ""


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


SEGMENTS = {
    "EXIF of nothing": segment(0xE1, b"Exif\0\0"),
    "EXIF of rubbish": segment(0xE1, b"Exif\0\0rubbish"),
    "EXIF cut short": segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x09"),
    "EXIF that points to nowhere": segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "a turn that is none": segment(
        0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0"
    ),
    "a turn in letters": segment(
        0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0\0\0\0\0"
    ),
    "a profile of rubbish": segment(0xE2, b"ICC_PROFILE\0\x01\x01rubbish"),
    "several pictures, and none": segment(0xE2, b"MPF\0rubbish"),
    "XMP of rubbish": segment(
        0xE1, b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation='"
    ),
    "a comment": segment(0xFE, b"\xff\xd9"),
    "a short note on its colors": segment(0xEE, b"Adobe\0"),
    "a short header of JFIF": segment(0xE0, b"JFIF\0\1"),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_metadata_of_a_jpeg_cost_nothing(folder, name, recwarn):
    plain = encode(NOISE, "JPEG")
    fill(folder, {"x.jpg": plain[:2] + SEGMENTS[name] + plain[2:], "plain.jpg": plain})
    a, b = read_images(image_files(folder))
    assert (
        (a == b).all()
        and not recwarn.list
        and set(verify_images(folder).reason) == {""}
    )


def test_a_turn_is_found_wherever_it_stands(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    bare = exif.tobytes().removeprefix(b"Exif\0\0")
    profile = b"\nexif\n%8d\n" % len(bare) + bare.hex().encode()
    xmp = b'<x tiff:Orientation="6"/>'
    jpeg = encode(NOISE, "JPEG", quality=100, subsampling=0)
    pictures = {
        "exif.png": png_with(chunk(b"eXIf", bare)),
        "behind.png": png_with(behind=[chunk(b"eXIf", bare)]),
        "xmp.png": png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        "profile.png": png_with(chunk(b"tEXt", b"Raw profile type exif\0" + profile)),
        "packed.png": png_with(
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
        ),
        "exif.tif": encode(NOISE, "TIFF", exif=exif),
        "packed.tif": encode(NOISE, "TIFF", exif=exif, compression="tiff_lzw"),
        "exif.webp": encode(NOISE, "WEBP", exif=exif, lossless=True),
        "xmp.webp": encode(NOISE, "WEBP", xmp=xmp, lossless=True),
    }
    fill(
        folder,
        pictures
        | {
            "xmp.jpg": jpeg[:2]
            + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
            + jpeg[2:],
            "twice.jpg": jpeg[:2]
            + segment(0xE1, b"Exif\0\0Exif\0\0" + bare)
            + jpeg[2:],
        },
    )
    turned = np.rot90(np.asarray(NOISE), 3).astype(int)
    for f in image_files(folder):
        assert np.abs(read_images([f])[0] - turned).mean() < 9, f.name


# limits on what is decoded, and formats that are not supported


def tall_claim(jpeg, w, h):
    "A JPEG that says it has w x h pixels: its header is right, its pixels end early."
    at = next(
        i for i in range(len(jpeg)) if jpeg[i : i + 2] in (b"\xff\xc0", b"\xff\xc2")
    )
    return jpeg[: at + 5] + struct.pack(">HH", h, w) + jpeg[at + 9 :]


@pytest.mark.parametrize("w, h", [(12_000, 9_000), (16_320, 12_240)])
def test_the_stored_size_of_a_jpeg_is_no_limit(folder, w, h):
    fill(folder, {"phone.jpg": tall_claim(GOOD["a.jpg"], w, h)})
    assert len(image_files(folder)) == 1
    assert reason(folder, "phone.jpg") == "" and read_images(
        [folder / "phone.jpg"], 32
    ).shape == (1, 32, 32, 3)
    with pytest.raises(
        ValueError, match=f"decompression bomb: {w * h} pixels, {w}x{h}, and at most"
    ):
        read_images([folder / "phone.jpg"])


def test_a_large_jpeg_is_read(folder, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 100_000)
    fill(
        folder,
        {
            "a.jpg": encode(picture(size=(1200, 900)), "JPEG", quality=95),
            "wide.jpg": encode(picture(size=(8000, 100)), "JPEG"),
        },
    )
    assert set(verify_images(folder).reason) == {""}
    for size in (32, 200):
        assert (
            np.abs(
                read_images([folder / "a.jpg"], size)[0, size // 2, :, 0].astype(int)
                - np.linspace(32, 223, size)
            ).mean()
            < 6
        )
    assert read_images([folder / "wide.jpg"], 80).shape == (1, 80, 80, 3), (
        "its memory asks for a smaller scale than its height does"
    )


@pytest.mark.parametrize("kwargs", [{}, {"progressive": True}])
def test_a_progressive_jpeg_counts_whole(folder, monkeypatch, kwargs):
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    fill(folder, {"a.jpg": encode(picture(size=(200, 200)), "JPEG", **kwargs)})
    assert len(image_files(folder)) == (0 if kwargs else 1)
    assert reason(folder, "a.jpg").startswith(
        "a progressive JPEG of 40000 pixels" if kwargs else ""
    )


UNSUPPORTED = {
    "a.heic": (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC"),
    "a.jpg": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(50), "HEIF"),
    "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "JPEG 2000"),
    "a.jxl": (b"\xff\x0a" + bytes(50), "JPEG XL"),
    "b.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
    "a.cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "camera raw (CR2)"),
    "a.nef": (encode(picture(), "TIFF"), "camera raw (NEF)"),
    "a.ARW": (encode(picture(), "TIFF"), "camera raw (ARW)"),
    "a.dng": (encode(picture(), "TIFF"), "camera raw (DNG)"),
    "a.tif": (
        encode(picture(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
        "camera raw (DNG)",
    ),
    "a.cr3": (b"\0\0\0\x18ftypcrx " + bytes(50), "camera raw (CR3)"),
    "a.raf": (b"FUJIFILMCCD-RAW" + bytes(50), "camera raw (RAF)"),
    "a.psd": (b"8BPS" + bytes(50), "PSD"),
    "a.svg": (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
    "a.pdf": (b"%PDF-1.7", "PDF"),
    "a.tga": (encode(picture(), "TGA"), "TGA"),
    "a.ico": (encode(picture(), "ICO"), "ICO"),
    "unknown.kdc": (b"what is this?", "camera raw (KDC)"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_formats_that_are_not_supported_are_named(folder, name):
    content, kind = UNSUPPORTED[name]
    fill(folder, {name: content})
    assert image_files(folder).skipped == [
        (folder / name, f"{kind}, which is not supported: save it as JPEG or PNG")
    ]
    assert (
        reason(folder, name)
        == f"{kind}, which is not supported: save it as JPEG or PNG"
    )


@pytest.mark.parametrize(
    "content, why",
    [
        (
            b"\0\0\0\x18ftypisom" + bytes(50),
            "a video, which is not supported: save images from it as JPEG or PNG",
        ),
        (
            b"RIFF\0\0\0\0AVI LIST",
            "a video, which is not supported: save images from it as JPEG or PNG",
        ),
        (b"PK\3\4" + bytes(50), "a zip archive, not an image: unpack it"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS, not the image itself: get it with `git lfs pull`",
        ),
        (b"BMW and other cars", "not an image"),
        (
            encode(picture(), "PNG")[:20],
            "broken: it begins like PNG, and its header is damaged or cut short",
        ),
    ],
)
def test_files_that_are_something_else(folder, content, why):
    fill(folder, {"x.jpg": content})
    assert image_files(folder).skipped == [(folder / "x.jpg", why)]


def test_reasons_are_without_the_insides_of_a_library(folder):
    rng = np.random.default_rng(0)
    for i, (format, kwargs) in enumerate(KINDS * 6):
        content = bytearray(encode(NOISE, format, **kwargs))
        for at in rng.integers(0, len(content), 20):
            content[at] ^= 255
        fill(folder, {f"{i}": bytes(content[: rng.integers(1, len(content))])})
    reasons = set(verify_images(folder).reason) - {""}
    assert len(reasons) > 3 and not re.search(
        r"stream|zlib|_io|<|Error|decoder|-\d|bytes|tile|codec", " ".join(reasons)
    ), reasons


# three ways to make a square


def test_the_ways_to_make_a_square(folder):
    x = np.zeros((40, 400, 3), np.uint8)
    x[:, :40], x[:, -40:] = [250, 0, 0], [0, 0, 250]
    fill(
        folder,
        {
            "wide.png": encode(Image.fromarray(x), "PNG"),
            "wide.jpg": encode(
                Image.fromarray(x).resize((4000, 400)), "JPEG", quality=95
            ),
        },
    )
    for f in (folder / "wide.png", folder / "wide.jpg"):
        crop, pad, squeeze = (
            read_images([f], 40, fit=fit)[0].astype(int)
            for fit in ("crop", "pad", "squeeze")
        )
        assert (read_images([f], 40)[0] == crop).all() and crop.max() < 9, (
            "the ends are cut off"
        )
        assert (
            np.abs(squeeze[:, 1] - [250, 0, 0]).max() < 12
            and np.abs(squeeze[:, -2] - [0, 0, 250]).max() < 12
        ), "both ends are seen in full height"
        assert (
            np.abs(pad[19:21, 1] - [250, 0, 0]).max() < 12
            and (pad[:17] == [124, 116, 104]).all()
            and (pad[-17:] == [124, 116, 104]).all()
        )
    assert read_images([folder / "wide.png"], 7, fit="pad").shape == (1, 7, 7, 3)


def test_padding_decodes_no_more_than_it_needs(folder, monkeypatch):
    fill(folder, {"wide.jpg": encode(picture(size=(8000, 400)), "JPEG")})
    drafts = []

    def record(im):
        drafts.append(im.size)
        return to_rgb(im)

    monkeypatch.setattr(images, "to_rgb", record)
    for fit in ("crop", "pad", "squeeze"):
        read_images([folder / "wide.jpg"], 100, fit=fit)
    assert drafts == [(4000, 200), (1000, 50), (4000, 200)]


def test_a_way_that_is_none(folder):
    with pytest.raises(ValueError, match="fit is 'stretch': give crop, pad or squeeze"):
        read_images([], 8, fit="stretch")


def test_a_file_that_is_open_can_be_decoded():
    assert decode_image(io.BytesIO(GOOD["a.jpg"]), 8).size == (8, 8)


# pixels


def read(folder, im, format="PNG", size=None, **kwargs):
    fill(folder, {"x": encode(im, format, **kwargs)})
    return read_images([folder / "x"], size)[0]


def test_transparent_pixels_show_white(folder):
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0], rgba[0, :, 3], rgba[1, :, 3] = 200, 0, 255
    for mode in ("RGBA", "LA"):
        x = read(folder, Image.fromarray(rgba).convert(mode))
        assert (x[0] == 255).all() and (
            x[1] == ([200, 0, 0] if mode == "RGBA" else 60)
        ).all()
    rgba[..., 3] = 128
    assert (
        np.abs(
            read(folder, Image.fromarray(rgba))[0, 0].astype(int) - [227, 127, 127]
        ).max()
        <= 1
    )


def test_a_palette_with_a_transparent_color(folder):
    im = Image.new("P", (2, 1))
    im.putpalette([10, 20, 30, 200, 0, 0])
    im.putdata([0, 1])
    assert read(folder, im).tolist() == [[[10, 20, 30], [200, 0, 0]]]
    assert read(folder, im, transparency=0).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    assert read(folder, im, format="GIF", transparency=0).tolist() == [
        [[255, 255, 255], [200, 0, 0]]
    ]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(folder, format):
    x = read(
        folder, Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16)), format
    )
    assert x[0, :, 0].tolist() == [0, 1, 128, 255] and (x == x[..., :1]).all()


@pytest.mark.parametrize(
    "pixels, why",
    [
        (np.array([[0.5]], np.float32), "floats"),
        (np.array([[70_000]], np.int32), "32 bits"),
        (np.array([[-1]], np.int32), "32 bits"),
    ],
)
def test_pixels_of_no_agreed_range_are_refused(folder, pixels, why):
    fill(folder, {"x.tif": encode(Image.fromarray(pixels), "TIFF")})
    assert why in reason(folder, "x.tif")
    with pytest.raises(ValueError, match=why):
        read_images([folder / "x.tif"])


def test_cmyk_and_gray_and_black_and_white(folder):
    assert (
        np.abs(
            read(folder, picture("CMYK"), "TIFF").astype(int) - np.asarray(picture())
        ).max()
        <= 2
    )
    assert (read(folder, picture("L"))[..., 0] == np.asarray(picture("L"))).all()
    assert set(read(folder, picture("1")).ravel()) == {0, 255}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture(folder, orientation):
    upright = np.asarray(picture())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    x = read(folder, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert x.shape == upright.shape and (x == upright).all()


def test_reading_to_one_size(folder):
    fill(
        folder,
        {
            "wide.jpg": encode(picture(size=(400, 100)), "JPEG", quality=95),
            "tall.png": encode(picture(size=(30, 90)), "PNG"),
        },
    )
    files = [folder / "wide.jpg", str(folder / "tall.png")]
    x = read_images(files, size=50)
    assert x.shape == (2, 50, 50, 3) and x.dtype == np.uint8
    assert 90 < x[0, :, 0, 0].mean() < 102 and 153 < x[0, :, -1, 0].mean() < 165, (
        "the center of the wide picture, not the whole"
    )
    assert x[0, 0, :, 1].mean() < 8 and x[0, -1, :, 1].mean() > 247, "its full height"
    with pytest.raises(
        ValueError,
        match=r"wide\.jpg has 400x100 pixels and tall\.png has 30x90: "
        "give a size, such as size=128",
    ):
        read_images(files)
    with pytest.raises(ValueError, match="size is 0: give a number of pixels"):
        read_images(files, size=0)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_images([folder / "nowhere.jpg"])


@pytest.mark.parametrize("size", [0, -1, 32.5, (32, 32), "32"])
def test_a_size_that_is_none(folder, size):
    fill(folder, {"a.jpg": GOOD["a.jpg"]})
    with pytest.raises(ValueError) as e:
        read_images([folder / "a.jpg"], size=size)
    assert str(e.value) == (
        f"size is {size!r}: give a number of pixels, whole and 1 or more, "
        "such as size=128"
    )
    assert read_images([folder / "a.jpg"], size=np.int64(8)).shape == (1, 8, 8, 3)


@pytest.mark.parametrize("to_files", [str, lambda path: path])
def test_one_path_is_no_list(folder, to_files):
    for call in (read_images, lambda files: split(files, ["cat"])):
        with pytest.raises(
            TypeError, match="files is one path: give a list, such as image_files"
        ):
            call(to_files(folder))


def test_a_folder_may_begin_at_home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    fill(tmp_path, {"set/a.jpg": GOOD["a.jpg"]})
    assert image_files("~/set") == [tmp_path / "set" / "a.jpg"] and list(
        verify_images("~/set").file
    ) == ["a.jpg"]


def test_no_files_give_no_images():
    assert read_images([]).shape == (0, 0, 0, 3) and read_images([], size=8).shape == (
        0,
        8,
        8,
        3,
    )
    assert read_images([], size=8).dtype == np.uint8


def test_many_big_files_keep_their_order(folder):
    rng = np.random.default_rng(0)
    xs = rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    for i, x in enumerate(xs):
        fill(folder, {f"{i:02}.png": encode(Image.fromarray(x), "PNG")})
    assert (read_images(image_files(folder)) == xs).all()


def test_warnings_are_as_before(folder):
    fill(folder, {"a.jpg": GOOD["a.jpg"]})
    filters = list(warnings.filters)
    verify_images(folder)
    assert warnings.filters == filters


# splits

contents = st.one_of(
    st.integers(0, 3).map(lambda i: b"twin%d" % i),
    st.integers(0, 10**6).map(lambda i: b"%d" % i),
)
sets = st.lists(
    st.tuples(st.sampled_from(["cat", "dog", "고양이", "x"]), contents), max_size=40
)
shares, seeds = st.floats(0.05, 0.95), st.integers(0, 99)
many = settings(max_examples=80)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    "Write files of these contents into a fresh folder."

    def write(items, start=0):
        folder = tmp_path_factory.mktemp("split")
        files = [
            folder / f"{label}_{i}.jpg" for i, (label, _) in enumerate(items, start)
        ]
        for f, (_, content) in zip(files, items):
            f.write_bytes(content)
        return files, [label for label, _ in items]

    return write


def sides(files, labels, **kwargs):
    "File name -> is it held out?"
    train, valid = split(files, labels, **kwargs)
    return {files[i].name: False for i in train} | {files[i].name: True for i in valid}


@many
@given(items=sets, valid=shares, seed=seeds)
def test_every_file_falls_on_one_side_and_twins_on_the_same(write, items, valid, seed):
    files, labels = write(items)
    a, b = split(files, labels, valid, seed)
    assert (
        a.dtype == b.dtype == np.int64
        and (np.diff(a) > 0).all()
        and (np.diff(b) > 0).all()
    )
    assert sorted([*a, *b]) == list(range(len(files)))
    assert not {items[i][1] for i in a} & {items[i][1] for i in b}


@many
@given(
    sizes=st.dictionaries(st.sampled_from(["cat", "dog", "x"]), st.integers(1, 25)),
    valid=shares,
    seed=seeds,
)
def test_every_class_gives_its_share(write, sizes, valid, seed):
    files, labels = write(
        [
            (label, f"{label}{i}".encode())
            for label, n in sizes.items()
            for i in range(n)
        ]
    )
    _, held_out = split(files, labels, valid, seed)
    got = Counter(labels[i] for i in held_out)
    assert got == {
        label: min(max(round(valid * n), 1), n - 1)
        for label, n in sizes.items()
        if n > 1
    }


@many
@given(items=sets, valid=shares, seed=seeds, random=st.randoms(use_true_random=False))
def test_order_and_place_change_nothing(write, items, valid, seed, random):
    files, labels = write(items)
    before = sides(files, labels, valid=valid, seed=seed)
    order = random.sample(range(len(files)), len(files))
    assert (
        sides(
            [files[i] for i in order],
            [labels[i] for i in order],
            valid=valid,
            seed=seed,
        )
        == before
    )
    elsewhere, _ = write(items)
    assert sides(elsewhere, np.array(labels), valid=valid, seed=seed) == before


@many
@given(items=sets, more=st.integers(1, 20), seed=seeds)
def test_other_classes_change_nothing(write, items, more, seed):
    files, labels = write(items)
    new, new_labels = write([("new", b"new%d" % i) for i in range(more)])
    before, after = (
        sides(files, labels, seed=seed),
        sides(files + new, labels + new_labels, seed=seed),
    )
    assert {name: after[name] for name in before} == before


@given(n=st.integers(5, 40), seed=seeds)
@settings(max_examples=30)
def test_a_further_file_moves_little(write, n, seed):
    files, labels = write([("cat", b"%d" % i) for i in range(n + 1)])
    before, after = (
        sides(files[:-1], labels[:-1], seed=seed),
        sides(files, labels, seed=seed),
    )
    assert sum(after[name] != side for name, side in before.items()) <= 1


def held_out(write, items, **kwargs):
    files, labels = write(items)
    return [files[i].name for i in split(files, labels, **kwargs)[1]]


def test_tiny_classes(write):
    assert held_out(write, []) == []
    assert held_out(write, [("cat", b"1")]) == []
    assert len(held_out(write, [("cat", b"1"), ("cat", b"2")])) == 1
    assert len(held_out(write, [("cat", b"1"), ("cat", b"2")], valid=0.99)) == 1
    assert held_out(write, [("cat", b"1"), ("cat", b"1")]) == []
    assert held_out(write, [("cat", b"1")] * 5) == []
    assert held_out(write, [("cat", b"1"), ("cat", b"2"), ("cat", b"1")], seed=1) == [
        "cat_1.jpg"
    ]
    assert len(held_out(write, [("cat", b"1"), ("cat", b"2")] * 3)) == 3, (
        "two groups of three twins: one on each side"
    )


def test_twins_with_two_labels_stay_together(write):
    items = [
        ("cat", b"same"),
        ("dog", b"same"),
        *[(c, b"%s%d" % (c.encode(), i)) for c in ("cat", "dog") for i in range(9)],
    ]
    for seed in range(20):
        assert {"cat_0.jpg", "dog_1.jpg"} & set(held_out(write, items, seed=seed)) in (
            set(),
            {"cat_0.jpg", "dog_1.jpg"},
        )


def test_seed_and_labels_of_any_type(write):
    files, labels = write(
        [(c, b"%s%d" % (c.encode(), i)) for c in ("0", "1") for i in range(50)]
    )
    same = split(files, labels)
    for other in (
        labels,
        list(map(int, labels)),
        torch.tensor([int(i) for i in labels]),
        np.array(labels, dtype=object),
    ):
        assert all((a == b).all() for a, b in zip(split(map(str, files), other), same))
    assert len(split(files, labels)[1]) == 20
    assert set(split(files, labels, seed=1)[1]) != set(same[1])


@pytest.mark.parametrize("valid", [0, 1, -0.1, 20])
def test_a_share_that_is_none(write, valid):
    with pytest.raises(
        ValueError,
        match=rf"valid is {valid}: give the share to hold out, above 0 and below 1",
    ):
        split([], [], valid)


def test_a_label_for_each_file(write):
    files, labels = write([("cat", b"1"), ("cat", b"2")])
    with pytest.raises(ValueError, match="2 files and 1 labels: give one label a file"):
        split(files, labels[:1])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        split([files[0].with_name("nowhere")], ["cat"])


def test_twins(write):
    files, _ = write(
        [
            ("a", b"x"),
            ("b", b"y"),
            ("c", b"x"),
            ("d", b""),
            ("e", b""),
            ("f", b"xx"),
            ("g", b"x"),
        ]
    )
    assert sorted(twins(files)) == [[0, 2, 6], [3, 4]] and twins([]) == []
