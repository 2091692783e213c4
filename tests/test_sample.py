"""What the drawn set promises beyond its own chapter.

The same bytes in any process, whole or not at all, and errors that help.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fastai.data.external
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutorial_lib.sample import BREEDS, draw, sample

breeds, seeds = st.sampled_from(BREEDS), st.integers() | st.text(max_size=8)


def digest(folder):
    "A hash of the names and the bytes of all files."
    found = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        found.update(f"{file.relative_to(folder).as_posix()}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()


def start(code, **kw):
    "A process that runs `code` with the names of the module."
    code = f"from tutorial_lib.sample import *\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], text=True, **kw)


def test_another_process_draws_the_same_bytes(tmp_path):
    code = f"sample({str(tmp_path / 'a')!r}, n=20, size=48, test=5, seed='x')"
    assert start(code, env={**os.environ, "PYTHONHASHSEED": "123"}).wait() == 0
    b = sample(tmp_path / "b", n=20, size=48, test=5, seed="x")
    assert digest(tmp_path / "a") == digest(b)


@settings(max_examples=25, deadline=None)
@given(breeds, st.integers(32, 256), seeds)
def test_every_breed_size_and_seed_draws(breed, size, seed):
    im = draw(breed, size, seed)
    assert im.mode == "RGB" and im.size == (size, size)
    assert np.asarray(im).std() > 8
    assert im.tobytes() == draw(breed, size, seed).tobytes()


few_breeds = st.lists(breeds, min_size=1, max_size=4)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12), few_breeds, seeds)
def test_more_images_leave_the_first_ones(tmp_path_factory, n, more, breeds, seed):
    few = sample(tmp_path_factory.mktemp("set"), n, 32, seed, breeds)
    many = sample(tmp_path_factory.mktemp("set"), n + more, 32, seed, breeds)
    assert len(list(few.iterdir())) == n and len(list(many.iterdir())) == n + more
    for file in few.iterdir():
        assert (many / file.name).read_bytes() == file.read_bytes()
    counts = [len(list(many.glob(f"{breed}_*.jpg"))) for breed in dict.fromkeys(breeds)]
    assert max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)


def test_held_out_images_are_further_ones(tmp_path):
    path = sample(tmp_path / "set", n=8, size=32, breeds=BREEDS[:4], test=4)
    expected = set()
    for breed in BREEDS[:4]:
        expected |= {f"train/{breed}/{breed}_{i}.jpg" for i in (1, 2)}
        expected.add(f"test/{breed}/{breed}_3.jpg")
    assert {p.relative_to(path).as_posix() for p in path.rglob("*.jpg")} == expected


def test_each_pair_of_breeds_differs_under_one_seed():
    assert len({draw(breed, 64, 3).tobytes() for breed in BREEDS}) == len(BREEDS)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_drawing_leaves_no_set(tmp_path):
    path = tmp_path / "set"
    drawing = start(f"sample({str(path)!r}, n=600, size=32)")
    end = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.jpg"))) < 20 and time.monotonic() < end:
        time.sleep(0.01)
    drawing.send_signal(signal.SIGKILL)
    assert drawing.wait() == -signal.SIGKILL
    assert 20 <= len(list(tmp_path.rglob("*.jpg"))) < 600
    assert not path.exists()
    assert len(list(sample(path, n=40, size=32).iterdir())) == 40


def test_a_set_that_stands_is_not_drawn_again(tmp_path):
    path = sample(tmp_path / "set", n=5, size=32)
    before = [file.stat().st_mtime_ns for file in sorted(path.iterdir())]
    assert sample(path, n=5, size=32) == path
    assert [file.stat().st_mtime_ns for file in sorted(path.iterdir())] == before


def test_a_cached_set_that_lost_a_file_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fastai.data.external, "fastai_path", lambda _: tmp_path)
    whole = digest(path := sample(n=5, size=32))
    next(path.iterdir()).unlink()
    assert digest(sample(n=5, size=32)) == whole


@pytest.mark.parametrize(
    "kw", [dict(n=6), dict(size=33), dict(seed=1), dict(breeds=BREEDS[3])]
)
def test_another_set_is_not_overwritten(tmp_path, kw):
    whole = digest(path := sample(tmp_path / "set", n=5, size=32))
    message = "holds something else.*nothing is overwritten: give a new folder"
    with pytest.raises(FileExistsError, match=message):
        sample(path, **{"n": 5, "size": 32, **kw})
    assert digest(path) == whole


def test_a_file_is_not_overwritten(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    message = "notes.txt is a file: give the name of a folder"
    with pytest.raises(FileExistsError, match=message):
        sample(file, n=5)
    with pytest.raises(FileExistsError, match="'notes.txt' for one"):
        sample(tmp_path, n=5)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


SIZES = "it must be a whole number of pixels from 32 to 256"
NEAREST = "'striped_pointed'. Did you mean 'striped_pointy'?"
ERRORS = [
    (dict(size=31), f"size is 31: {SIZES}"),
    (dict(size=257), "size is 257"),
    (dict(size=64.0), "size is 64.0"),
    (dict(size="64"), "size is '64'"),
    (dict(n=0), "n is 0 and test is 0: n must be 1 or more"),
    (dict(test=-1), "test is -1"),
    (dict(n=2.5), "n is 2.5: give a whole number of images, 1 or more"),
    (dict(n="5"), "n is '5': give a whole number"),
    (dict(test=0.2), "test is 0.2: give a number of images, not a share"),
    (dict(breeds=5), "No breed is called 5. The breeds are striped_pointy"),
    (dict(breeds="striped_pointed"), f"No breed is called {NEAREST}"),
    (
        dict(breeds=["masked_long", "cat"]),
        "No breed is called 'cat'. The breeds are striped_pointy, .*masked_long",
    ),
]


@pytest.mark.parametrize("kw, text", ERRORS)
def test_errors_say_what_to_do(tmp_path, kw, text):
    with pytest.raises(ValueError, match=text):
        sample(tmp_path / "set", **kw)
    assert not any(tmp_path.iterdir())


def test_no_breed_is_suggested_for_what_is_no_name():
    with pytest.raises(ValueError, match="No breed is called None. The breeds are"):
        draw(None)


def test_whole_numbers_of_numpy_are_taken(tmp_path):
    a = sample(tmp_path / "a", n=np.int64(4), size=np.int64(32), test=np.int32(2))
    assert digest(a) == digest(sample(tmp_path / "b", n=4, size=32, test=2))
    assert draw("masked_long", np.uint8(200)).size == (200, 200)


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert sample("~/set", n=2, size=32) == tmp_path / "set"


def test_a_relative_path_and_a_text_path_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sample("deep/set", n=2, size=32) == Path("deep/set")
    assert len(list(Path("deep/set").iterdir())) == 2
