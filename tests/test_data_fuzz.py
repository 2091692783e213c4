"""Files that were damaged on the way: nothing raises, nothing hangs.

`verify_images` gives each a reason, or `read_images` reads it."""

import io
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tutorial_lib.data import image_files, read_images, verify_images


def encode(mode, format, **kwargs):
    x = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    x[:12] = [200, 120, 40]
    im = Image.fromarray(x)
    im = (
        Image.fromarray(x[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else im.convert(mode)
    )
    out = io.BytesIO()
    im.save(out, format, **kwargs)
    return out.getvalue()


exif = Image.Exif()
exif[0x0112] = 6
WHOLE = [
    encode("RGB", "JPEG", exif=exif),
    encode("RGB", "JPEG", progressive=True),
    encode("L", "JPEG"),
    encode("CMYK", "JPEG"),
    encode("RGB", "PNG"),
    encode("RGBA", "PNG"),
    encode("P", "PNG", transparency=3),
    encode("I;16", "PNG"),
    encode("1", "PNG"),
    encode("P", "GIF", transparency=3),
    encode("RGB", "BMP"),
    encode("RGB", "WEBP"),
    encode("RGBA", "WEBP", lossless=True),
    encode("RGB", "TIFF", compression="tiff_lzw"),
    encode("CMYK", "TIFF"),
    encode("I;16", "TIFF"),
    encode("RGB", "PPM"),
]
whole = st.sampled_from(WHOLE)
place = st.floats(0, 1, exclude_max=True)
near_start = place.map(
    lambda x: x**3
)  # headers are short, and the most is to be broken there


@st.composite
def flipped(draw):
    data = bytearray(draw(whole))
    for at, bit in draw(
        st.lists(st.tuples(near_start, st.integers(0, 7)), min_size=1, max_size=12)
    ):
        data[int(at * len(data))] ^= 1 << bit
    return bytes(data)


@st.composite
def truncated(draw):
    data = draw(whole)
    return data[: int(draw(place) * len(data))]


@st.composite
def joined(draw):
    a, b = draw(whole), draw(whole)
    return a[: int(draw(place) * len(a))] + b[int(draw(place) * len(b)) :]


@st.composite
def overwritten(draw):
    data, at, new = (
        draw(whole),
        draw(near_start),
        draw(st.binary(min_size=1, max_size=8)),
    )
    i = int(at * len(data))
    return data[:i] + new + data[i + len(new) :]


@settings(max_examples=80)
@given(
    st.lists(
        st.one_of(flipped(), truncated(), joined(), overwritten(), whole),
        min_size=6,
        max_size=10,
    )
)
def test_any_file_has_a_reason_or_a_picture(contents):
    with tempfile.TemporaryDirectory() as tmp:
        for i, content in enumerate(contents):
            Path(tmp, f"{i}.jpg").write_bytes(content)
        table = verify_images(tmp)
        assert sorted(table.file) == sorted(f"{i}.jpg" for i in range(len(contents)))
        for row in table.itertuples():
            if row.reason:
                continue
            x = read_images([Path(tmp, row.file)])
            assert (
                x.dtype == np.uint8
                and x.shape[0] == 1
                and {*x.shape[1:3]} == {row.height, row.width}
            )
            assert read_images([Path(tmp, row.file)], size=16).shape == (1, 16, 16, 3)
        files = image_files(tmp)
        assert {p.name for p in files} >= set(table.file[table.reason == ""])
        assert len(files) + len(files.skipped) == len(contents)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes(content):
    with tempfile.TemporaryDirectory() as tmp:
        Path(tmp, "x.jpg").write_bytes(content)
        assert len(verify_images(tmp)) == 1


def test_whole_files_are_fine(tmp_path):
    for i, content in enumerate(WHOLE):
        (tmp_path / f"{i}.jpg").write_bytes(content)
    assert set(verify_images(tmp_path).reason) == {""} and len(
        image_files(tmp_path)
    ) == len(WHOLE)
