"""Pairs at their edges: the rules of drawing hold for any labels and twins, the probabilities are right, and a pair keeps its type all the way."""

import csv
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    CategoryBlock,
    CrossEntropyLossFlat,
    DataBlock,
    FlipItem,
    ImageBlock,
    Learner,
    Normalize,
    PILImage,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    RandomResizedCropGPU,
    Resize,
    Rotate,
    TensorCategory,
    TensorImage,
    TfmdLists,
    ToTensor,
    accuracy,
    aug_transforms,
    imagenet_stats,
    set_seed,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import DataFrame
from PIL import Image
from scipy.stats import chisquare
from torch import nn

from tutorial_lib import pairs
from tutorial_lib.data import image_files, split
from tutorial_lib.pairs import (
    DrawPairs,
    EachImage,
    ImagePair,
    PairBlock,
    PairDL,
    PairLabel,
    PairSampler,
    UnpackPair,
)
from tutorial_lib.sample import sample

ROOT = Path(__file__).resolve().parents[1]


def breed(file):
    return file.name.rpartition("_")[0]


def splitter(files):
    return split(files, [breed(f) for f in files])


def plain(t):
    return t.as_subclass(torch.Tensor)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    "Eight drawn pictures of each of three breeds; the first has a twin under another name."
    folder = sample(
        tmp_path_factory.mktemp("drawn") / "set",
        n=24,
        size=48,
        breeds=["patched_floppy", "spotted_long", "striped_pointy"],
    )
    (folder / "patched_floppy_99.jpg").write_bytes(image_files(folder)[0].read_bytes())
    return image_files(folder)


def loaders(
    files, draw=None, item_tfms=Resize(32, method="squish"), batch_tfms=None, **kwargs
):
    draw = draw or DrawPairs(breed)
    block = DataBlock(
        (PairBlock, CategoryBlock(vocab=["different", "same"])),
        splitter=splitter,
        get_x=draw,
        get_y=PairLabel(draw),
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(files, **{"bs": 4, "num_workers": 0, **kwargs})


# --- drawing


@st.composite
def sets(draw):
    "Labels of two to six classes of one to eight images, in any order, and which images are twins."
    sizes = draw(st.lists(st.integers(1, 8), min_size=2, max_size=6))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    contents = np.arange(len(labels))
    for _ in range(draw(st.integers(0, 4))):
        i = draw(st.integers(0, len(labels) - 1))
        j = draw(st.sampled_from(np.flatnonzero(labels == labels[i]).tolist()))
        contents[contents == contents[j]] = contents[i]
    order = draw(st.permutations(range(len(labels))))
    return labels[order], contents[order]


def can_be_same(labels, contents):
    "Which images have another one of their class that is not a twin."
    return ((labels[:, None] == labels) & (contents[:, None] != contents)).any(1)


@given(sets(), st.floats(0, 1), st.integers(0, 2**32))
def test_every_draw_keeps_the_rules(data, p_same, seed):
    labels, contents = data
    able = can_be_same(labels, contents)
    if p_same > 0 and not able.any():
        with pytest.raises(ValueError, match="no class has two different images"):
            PairSampler(labels, p_same, contents)
        return
    sampler = PairSampler(labels, p_same, contents)
    j, same = sampler.draw(seed)
    assert (
        j.shape == same.shape == labels.shape
        and j.dtype == np.int64
        and same.dtype == bool
    )
    assert ((j >= 0) & (j < len(labels))).all()
    assert (contents[j] != contents).all(), "an image with itself or with a twin"
    assert ((labels[j] == labels) == same).all(), "a label that is not true"
    assert not same[~able].any()
    if p_same == 0:
        assert not same.any()
    if p_same == 1:
        assert same[able].all()
    again, same_again = sampler.draw(seed)
    assert (again == j).all() and (same_again == same).all()


@given(sets())
@settings(max_examples=20)
def test_every_allowed_partner_is_drawn_and_no_other(data):
    labels, contents = data
    able = can_be_same(labels, contents)
    allowed = np.where(labels[:, None] == labels, contents[:, None] != contents, True)
    seen = np.zeros_like(allowed)
    for p_same in (0, 1) if able.any() else (0,):
        sampler = PairSampler(labels, p_same, contents)
        for seed in range(800):
            seen[np.arange(len(labels)), sampler.draw(seed)[0]] = True
    assert not seen[~allowed].any()
    assert seen[allowed].all()  # the rarest is drawn with probability 1/40 each time


@pytest.mark.parametrize("p_same", [0.1, 0.5, 0.9])
def test_probabilities(p_same):
    "Same or different, which other class, and which image: all by chi-square, on classes of unequal size with twins and a single."
    sizes = [1, 2, 5, 12]
    labels, n_draw = np.repeat(np.arange(4), sizes), 4000
    contents = np.arange(20)
    contents[[8, 9, 10]] = 8
    sampler = PairSampler(labels, p_same, contents)
    drawn = [sampler.draw([7, k]) for k in range(n_draw)]
    j, same = (np.array(column) for column in zip(*drawn))
    assert not same[:, 0].any()
    able = same[:, 1:]
    assert (
        chisquare(
            [able.sum(), (~able).sum()], np.array([p_same, 1 - p_same]) * able.size
        ).pvalue
        > 0.001
    )
    for i in 0, 1, 5, 9, 19:
        different = np.bincount(labels[j[~same[:, i], i]], minlength=4)
        others = np.delete(np.arange(4), labels[i])
        assert different[labels[i]] == 0 and chisquare(different[others]).pvalue > 0.001
        for c in others:
            assert (
                sizes[c] == 1
                or chisquare(
                    np.bincount(
                        j[~same[:, i] & (labels[j[:, i]] == c), i], minlength=20
                    )[labels == c]
                ).pvalue
                > 0.001
            )
        partners = np.bincount(j[same[:, i], i], minlength=20)
        allowed = (labels == labels[i]) & (contents != contents[i])
        assert partners[~allowed].sum() == 0
        if allowed.sum() > 1:
            assert chisquare(partners[allowed]).pvalue > 0.001


def test_seeds_differ():
    sampler = PairSampler(np.arange(1000) % 10)
    assert (sampler.draw([1, 0])[0] != sampler.draw([1, 1])[0]).mean() > 0.9
    assert (sampler.draw(1)[0] != sampler.draw(2)[0]).mean() > 0.9


def test_labels_of_any_kind():
    words = np.array(["b", "a", "b", "a"])
    j, same = PairSampler(words).draw(0)
    k, _ = PairSampler([1, 0, 1, 0]).draw(0)
    assert (j == k).all() and ((words[j] == words) == same).all()


def test_memory_grows_with_files_and_no_faster():
    def peak(n):
        labels = np.arange(n) % 37
        tracemalloc.start()
        try:
            PairSampler(labels).draw(0)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(5_000), peak(40_000)
    assert large < 8.5 * small and large < 40_000 * 400


@pytest.mark.parametrize(
    "labels, kwargs, message",
    [
        ([], {}, "there are no images"),
        (
            ["cat"] * 3,
            {},
            "all 3 images are of one class (cat): pairs need two classes or more",
        ),
        (
            ["cat", "dog"],
            {},
            "no class has two different images, so there is no pair of one class: add images, or set p_same=0 (it is 0.5)",
        ),
        (
            ["cat", "cat", "dog"],
            dict(contents=[0, 0, 1]),
            "no class has two different images",
        ),
        (
            ["cat", "cat", "dog"],
            dict(p_same=1.5),
            "p_same is 1.5: give a probability from 0 to 1",
        ),
        (["cat", "cat", "dog"], dict(p_same=-0.1), "p_same is -0.1"),
        (["cat", "cat", "dog"], dict(p_same=float("nan")), "p_same is nan"),
        (
            ["cat", "cat", "dog"],
            dict(contents=[0, 1]),
            "there are 3 labels, but contents have shape (2,)",
        ),
        (
            ["cat", "cat", "dog"],
            dict(contents=[0, 1, 1]),
            "images 1 and 2 are the same byte for byte, and have the labels cat and dog",
        ),
    ],
)
def test_bad_labels_are_named(labels, kwargs, message):
    with pytest.raises(ValueError) as e:
        PairSampler(labels, **kwargs)
    assert message in str(e.value)


def test_no_same_pairs_can_be_wished_for():
    j, same = PairSampler(["cat", "dog"], p_same=0).draw(0)
    assert j.tolist() == [1, 0] and not same.any()


# --- files and parts


def test_parts_epochs_and_seeds(files):
    def parts(**kwargs):
        draw = DrawPairs(breed, **kwargs)
        dls = loaders(files, draw)
        return draw, dls

    draw, dls = parts(seed=1, valid_seed=5)
    labels, train = np.array([breed(f) for f in draw.files]), draw.part == 0
    assert set(draw.part.tolist()) == {0, 1}
    seen, valid = [], draw.partner[~train].copy()
    for epoch in range(5):
        seen.append(draw.partner[train].copy())
        assert (draw.part[draw.partner] == draw.part).all()
        assert ((labels[draw.partner] == labels) == draw.same).all()
        assert all(
            draw.files[i].read_bytes() != draw.files[j].read_bytes()
            for i, j in enumerate(draw.partner)
        )
        assert (draw.partner[~train] == valid).all()
        for f in draw.files:
            first, second = draw(f)
            assert first == f and second == draw.files[draw.partner[draw.position[f]]]
            assert (
                draw.label(f)
                == PairLabel(draw)(f)
                == ("same" if breed(first) == breed(second) else "different")
            )
        next(iter(dls.train))
    assert draw.epoch == 5 and all((a != b).any() for a, b in zip(seen, seen[1:]))
    again, dls = parts(seed=1, valid_seed=5)
    for partner in seen:
        assert (again.partner[train] == partner).all()
        for _ in dls.train:
            pass
    other, _ = parts(seed=2, valid_seed=5)
    assert (other.partner[train] != seen[0]).any() and (
        other.partner[~train] == valid
    ).all()
    other, _ = parts(seed=1, valid_seed=7)
    assert (other.partner[train] == seen[0]).all() and (
        other.partner[~train] != valid
    ).any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_labels_of_batches_are_true(tmp_path, num_workers):
    "The class of these images is how much red they have, and their number how much green."
    for c in range(3):
        for k in range(8):
            Image.new("RGB", (8, 8), (100 * c, 20 * k, 0)).save(
                tmp_path / f"{'abc'[c]}_{k}.png"
            )
    dls = loaders(image_files(tmp_path), num_workers=num_workers)
    parts = []
    for dl in dls:
        seen = set()
        for epoch in range(3):
            for (x1, x2), y in dl:
                (red1, green1), (red2, green2) = (
                    plain(x)[:, :2, 0, 0].T for x in (x1, x2)
                )
                assert torch.equal((red1 - red2).abs() < 0.1, plain(y) == 1)
                assert ((red1 != red2) | (green1 != green2)).all()
                seen |= {
                    *zip(red1.tolist(), green1.tolist()),
                    *zip(red2.tolist(), green2.tolist()),
                }
        parts.append(seen)
    assert len(parts[0]) > 12 and len(parts[1]) == 6 and not parts[0] & parts[1]


def test_validation_does_not_draw(files):
    draw = DrawPairs(breed)
    dls = loaders(files, draw)
    dls.valid.one_batch()
    for _ in dls.valid:
        pass
    dls.test_dl([(files[0], files[1])]).one_batch()
    assert draw.epoch == 0


def test_workers_see_the_pairs_of_the_epoch(files):
    def epochs(num_workers):
        dls = loaders(files, shuffle=False, num_workers=num_workers)
        return [
            torch.cat([torch.stack([*map(plain, xb)], 1) for xb, _ in dls.train])
            for _ in range(2)
        ]

    (a, b), (c, d) = epochs(0), epochs(2)
    assert torch.equal(a, c) and torch.equal(b, d) and not torch.equal(a, b)


def test_empty_part_is_no_part(files):
    draw = DrawPairs(breed)
    draw.setup(TfmdLists(files, [], splits=[range(len(files)), []]))
    assert (draw.part == 0).all() and (draw.partner >= 0).all()


def test_bad_files_are_named(files, tmp_path):
    def setup(files, splits=None, label=breed):
        draw = DrawPairs(label)
        draw.setup(TfmdLists(files, [], splits=splits) if splits else files)
        return draw

    missing = tmp_path / "spotted_long_1.jpg"
    with pytest.raises(FileNotFoundError, match="spotted_long_1.jpg"):
        setup([*files, missing])
    with pytest.raises(ValueError, match="patched_floppy_.*jpg is listed twice"):
        setup([*files, files[0]])
    with pytest.raises(
        ValueError, match="jpg is in two parts of the split: give it to one"
    ):
        setup(files, [range(20), range(19, 25)])
    with pytest.raises(
        ValueError, match="^training: all 2 images are of one class .patched_floppy."
    ):
        setup(files, [[1, 2], range(3, 25)])
    with pytest.raises(
        ValueError, match="^validation: all 2 images are of one class .striped_pointy."
    ):
        setup(files, [range(20), [23, 24]])
    with pytest.raises(
        ValueError, match="^validation: no class has two different images"
    ):
        setup(files, [[*range(12), *range(13, 24)], [12, 24]])
    with pytest.raises(
        ValueError,
        match=r"same byte for byte, and have the labels \w+ and odd: leave one of them out",
    ):
        setup(files, label=lambda f: "odd" if "99" in f.name else breed(f))
    with pytest.raises(AttributeError, match="'NoneType'"):
        setup(files, label=lambda f: None.name)
    draw = setup(files, [range(20), []])
    with pytest.raises(ValueError, match="has no partner.*Give two files"):
        draw(tmp_path / "new.jpg")
    with pytest.raises(ValueError, match="striped_pointy.*has no partner"):
        draw(files[24])


# --- the type


def test_pair_reads_what_pictures_are(tmp_path):
    turned, clear = (
        Image.new("RGB", (30, 20), "red"),
        Image.new("RGBA", (10, 10), (0, 0, 0, 0)),
    )
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    clear.save(tmp_path / "clear.png")
    a, b = ImagePair.create([str(tmp_path / "turned.jpg"), tmp_path / "clear.png"])
    assert (
        a.size == (20, 30)
        and a.mode == b.mode == "RGB"
        and b.getpixel((0, 0)) == (255, 255, 255)
    )
    assert all(isinstance(im, PILImage) for im in (a, b))
    array = np.zeros((4, 6, 3), np.uint8)
    assert [im.size for im in ImagePair.create((array, a))] == [(6, 4), (20, 30)]


def test_bad_pairs_are_named(files, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(files[0].read_bytes()[:300])
    (tmp_path / "page.jpg").write_text("<html></html>")
    with pytest.raises(ValueError, match="broken.jpg cannot be read"):
        ImagePair.create((files[0], tmp_path / "broken.jpg"))
    with pytest.raises(ValueError, match="page.jpg cannot be read .a web page"):
        ImagePair.create((tmp_path / "page.jpg", files[0]))
    with pytest.raises(FileNotFoundError, match="nothing.jpg"):
        ImagePair.create((files[0], tmp_path / "nothing.jpg"))
    for wrong in files[0], str(files[0]), "ab", files[:1], files[:3], None:
        with pytest.raises(
            ValueError,
            match=r"a pair is made from two images, such as \(file1, file2\), not from",
        ):
            ImagePair.create(wrong)


def test_a_broken_file_is_named_in_a_batch(files, tmp_path):
    for i, f in enumerate(files[1:]):
        (tmp_path / f.name).write_bytes(
            f.read_bytes() if i != 3 else f.read_bytes()[:200]
        )
    with pytest.raises(ValueError, match=f"{files[4].name} cannot be read"):
        for dl in loaders(sorted(tmp_path.iterdir()), bs=1):
            for _ in dl:
                pass


def test_images_of_two_sizes_are_named(tmp_path):
    for i in range(4):
        Image.new("RGB", (20 + i, 30)).save(tmp_path / f"{i}.png")
    block = DataBlock(
        PairBlock,
        get_x=lambda k: (tmp_path / f"{k}.png", tmp_path / "0.png"),
        splitter=lambda items: ([0, 1, 2, 3], [0]),
    )
    with pytest.raises(RuntimeError) as e:
        block.dataloaders(range(4), bs=4, num_workers=0, shuffle=False).one_batch()
    assert "of type `ImagePair`" in str(
        e.value
    ) and "((3, 30, 20), (3, 30, 20))" in str(e.value)


def test_block_fits_any_data_block(files):
    "Two columns of a table, numbers as targets, and fastai's own loader settings."
    table = DataFrame({"left": files[:8], "right": files[8:16], "y": [0, 1] * 4})
    block = DataBlock(
        (PairBlock, CategoryBlock),
        get_x=lambda row: [row.left, row.right],
        get_y=lambda row: row.y,
        splitter=lambda _: (range(6), range(6, 8)),
        item_tfms=RandomResizedCrop(24, min_scale=0.3),
        batch_tfms=aug_transforms(),
    )
    dls = block.dataloaders(table, bs=2, num_workers=0)
    xb, yb = dls.one_batch()
    assert isinstance(dls.train, PairDL) and isinstance(dls.valid, PairDL)
    assert (
        isinstance(xb, ImagePair)
        and [im.shape for im in xb] == [(2, 3, 24, 24)] * 2
        and isinstance(yb, TensorCategory)
    )
    block = DataBlock(
        (PairBlock, ImageBlock, CategoryBlock),
        n_inp=2,
        get_x=[lambda f: (f, f), lambda f: f],
        get_y=breed,
        item_tfms=Resize(24),
        batch_tfms=aug_transforms(),
    )
    xb, x3, yb = block.dataloaders(files, bs=2, num_workers=0).one_batch()
    assert (
        isinstance(xb, ImagePair)
        and isinstance(x3, TensorImage)
        and x3.shape == (2, 3, 24, 24)
    )


def twice(files, item_tfms, batch_tfms, n=16):
    "Batches whose pairs are of one image with itself, so that only augmentation can make a difference."
    block = DataBlock(
        PairBlock,
        get_x=lambda f: (f, f),
        splitter=lambda items: (range(n), range(n, len(items))),
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(files, bs=8, num_workers=0, shuffle=False)


squish = Resize(32, method="squish")


@pytest.mark.parametrize(
    "item_tfms, batch_tfms",
    [
        ([squish], [Rotate(45, p=1)]),
        ([squish], aug_transforms(p_affine=1, p_lighting=1)),
        ([squish], [RandomResizedCropGPU(24, min_scale=0.2)]),
        ([squish], [Normalize.from_stats(*imagenet_stats), RandomErasing(p=1, sl=0.2)]),
        ([squish], [Rotate(45, p=1, batch=True)]),
        ([RandomResizedCrop(24, min_scale=0.2)], None),
        ([squish, RandomCrop(16)], None),
        ([squish, FlipItem(0.5)], None),
    ],
    ids=[
        "rotate",
        "aug_transforms",
        "crop on the batch",
        "erase",
        "one angle a batch",
        "crop",
        "cut out",
        "flip",
    ],
)
def test_each_image_has_its_own_augmentation(files, item_tfms, batch_tfms):
    set_seed(0)
    dls = twice(files, item_tfms, batch_tfms)
    pairs = [(a, b) for (xb,) in dls.train for a, b in zip(*xb)]
    differ = sum(not torch.equal(a, b) for a, b in pairs)
    assert differ > len(pairs) / 4
    for (xb,) in dls.valid:
        assert torch.equal(*xb), "validation images are not augmented"


def test_crops_fit_images_of_two_sizes(tmp_path):
    for i, size in enumerate([(80, 20), (20, 80), (50, 50), (40, 64)]):
        Image.new("RGB", size, (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
    block = DataBlock(
        PairBlock,
        get_x=lambda k: (tmp_path / f"{k}.png", tmp_path / f"{3 - k}.png"),
        splitter=lambda items: ([0, 1, 2, 3], [0]),
        item_tfms=RandomResizedCrop(16, min_scale=0.5, ratio=(1, 1)),
    )
    (xb,) = block.dataloaders(range(4), bs=4, num_workers=0, shuffle=False).one_batch()
    for k in range(4):
        assert (
            abs(xb[0][k, 0].mean() * 255 - 60 * k) < 2
            and abs(xb[1][k, 0].mean() * 255 - 60 * (3 - k)) < 2
        ), "a crop reached out of its image"


def test_each_image_leaves_the_rest_to_the_first(files):
    x = TensorImage(torch.rand(2, 3, 8, 8))
    set_seed(0)
    pair, third, y = EachImage(Rotate(45, p=1))(
        (ImagePair(x, x), x.clone(), TensorCategory([0, 1])), split_idx=0
    )
    assert (
        torch.equal(pair[0], third) and not torch.equal(*pair) and y.tolist() == [0, 1]
    )
    alone = EachImage(Rotate(45, p=1))(ImagePair(x, x), split_idx=0)
    assert isinstance(alone, ImagePair) and not torch.equal(*alone)
    only = EachImage(Rotate(45, p=1))((x, TensorCategory([0, 1])), split_idx=0)
    assert isinstance(only[0], TensorImage) and not torch.equal(only[0], x)


def test_wrapped_once_and_named(files):
    dls = loaders(files, batch_tfms=aug_transforms())
    again = dls.train.new()
    for dl in dls.train, dls.valid, again:
        assert not any(
            isinstance(f, EachImage) and isinstance(f.tfm, EachImage)
            for f in dl.after_batch.fs
        )
        assert sum(isinstance(f, EachImage) for f in dl.after_item.fs) == 1
    assert "Resize" in repr(dls.train.after_item) and "Flip" in repr(
        dls.train.after_batch
    )


def test_normalised_and_decoded(files):
    stats = Normalize.from_stats([0.5] * 3, [0.25] * 3)
    raw, normal = (loaders(files, batch_tfms=tfms).valid for tfms in (None, [stats]))
    (x, y), (z, _) = raw.one_batch(), normal.one_batch()
    for a, b in zip(x, z):
        torch.testing.assert_close((plain(a) - 0.5) / 0.25, plain(b))
    back, labels = normal.decode((z, y))
    assert isinstance(back, ImagePair) and isinstance(labels, TensorCategory)
    for a, b in zip(x, back):
        torch.testing.assert_close(plain(a) * 255, plain(b).float(), atol=1, rtol=0)
    pair, label = normal.decode_batch((z, y))[0]
    assert (
        isinstance(pair, ImagePair)
        and pair[0].shape == (3, 32, 32)
        and label in ("different", "same")
    )


def test_summary_goes_through(files, capsys):
    draw = DrawPairs(breed)
    block = DataBlock(
        (PairBlock, CategoryBlock),
        splitter=splitter,
        get_x=draw,
        get_y=PairLabel(draw),
        item_tfms=RandomResizedCrop(24),
        batch_tfms=aug_transforms(),
    )
    block.summary(files, bs=2)
    said = capsys.readouterr().out
    assert (
        "DrawPairs" in said
        and "ToPair" in said
        and "RandomResizedCrop" in said
        and "TensorImage of size 2x3x24x24, TensorImage of size 2x3x24x24" in said
    )


# --- showing


@pytest.fixture
def axes_titles():
    "Call it for the titles of all axes that were drawn since."
    plt = pairs.plt
    plt.switch_backend("agg")
    plt.close("all")
    yield lambda: [
        ax.get_title()
        for number in plt.get_fignums()
        for ax in plt.figure(number).axes
        if ax.images
    ]
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def test_shown_side_by_side(files, axes_titles):
    pair = ImagePair.create(files[:2])
    ax = pair.show(title="same")
    left, right = (im.get_extent() for im in ax.images)
    assert left[1] < right[0] and len(ax.images) == 2 and axes_titles() == ["same"]
    tensors = ImagePair(*(ToTensor()(im).float() / 255 * 3 - 1 for im in pair))
    shown = tensors.show().images[0].get_array()
    assert shown.min() >= 0 and shown.max() <= 1
    assert pair.show(ctx=ax) is ax and len(ax.images) == 4


@pytest.mark.parametrize("n", [1, 2, 4])
def test_batches_and_results_are_shown(files, axes_titles, n):
    dls = loaders(files, batch_tfms=aug_transforms())
    dls.show_batch(max_n=n)
    titles = axes_titles()
    assert len(titles) == n and set(titles) <= {"same", "different"}
    assert all(
        im.get_array().max() > 20 for ax in pairs.plt.gcf().axes for im in ax.images
    ), "bytes are shown as bytes"
    pairs.plt.close("all")
    learn = learner(dls)
    with learn.no_bar():
        learn.show_results(max_n=n)
    titles = axes_titles()
    assert len(titles) == n and all(
        t in ("same", "different", "same\nis different", "different\nis same")
        for t in titles
    )


def test_batch_without_labels_is_shown(files, axes_titles):
    twice(files, squish, None).show_batch(max_n=2)
    assert axes_titles() == ["", ""]


def test_results_say_what_is_wrong(files, axes_titles):
    dls = loaders(files, bs=6)
    xb, yb = dls.valid.one_batch()
    dls.valid.show_results((xb, yb), yb)
    assert not any("is" in t for t in axes_titles())
    pairs.plt.close("all")
    dls.valid.show_results((xb, yb), 1 - yb)
    assert all("is" in t for t in axes_titles())


# --- to a model


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x1, x2):
        assert type(x1) is type(x2) is torch.Tensor
        return self.out((x1.mean((2, 3)) - x2.mean((2, 3))).abs())


def learner(dls, **kwargs):
    return Learner(
        dls,
        Two(),
        loss_func=CrossEntropyLossFlat(),
        metrics=accuracy,
        cbs=UnpackPair,
        **kwargs,
    )


def test_plain_models_train_judge_and_predict(files):
    set_seed(0)
    dls = loaders(
        files, batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)]
    )
    learn = learner(dls)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, lr=0.1)
    assert len(learn.recorder.values) == 2
    with learn.no_bar():
        xb, preds, y = learn.get_preds(with_input=True)
        a, _, probs = learn.predict((files[0], files[12]))
        b, _, swapped = learn.predict((files[12], files[0]))
    assert (
        isinstance(xb, tuple)
        and [im.shape[0] for im in xb] == [len(preds)] * 2
        and len(y) == len(preds)
    )
    assert a == b and a in ("different", "same")
    torch.testing.assert_close(probs, swapped)


def test_without_the_callback_a_plain_model_stops(files):
    learn = Learner(loaders(files), Two(), loss_func=CrossEntropyLossFlat())
    with (
        learn.no_bar(),
        pytest.raises(TypeError, match="missing 1 required positional argument: 'x2'"),
    ):
        learn.validate()


def test_models_that_take_a_pair_need_no_callback(files):
    class One(Two):
        def forward(self, pair):
            return super().forward(*pair)

    learn = Learner(loaders(files), One(), loss_func=CrossEntropyLossFlat())
    with learn.no_bar():
        assert learn.validate()[0] > 0


def test_draw_can_be_pickled(files):
    draw = DrawPairs(breed)
    draw.setup(files)
    assert pickle.loads(pickle.dumps(draw))(files[0]) == draw(files[0])


# --- the benchmark


@pytest.mark.long
def test_benchmark_says_what_it_does():
    help = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "pairs.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(
        word in help
        for word in ("--files", "--rounds", "scan", "sets", "arrays", "arithmetic")
    )


def test_benchmark_holds_what_the_chapter_promises():
    with open(ROOT / "benchmarks" / "pairs.csv", newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["classes"] == "37"]
    ratio = {
        name: [
            int(r["ratio"])
            for r in rows
            if r["recipe"] == name and r["files"] == "100000"
        ]
        for name in ("scan", "sets", "arrays")
    }
    assert all(len(v) == 3 for v in ratio.values())
    assert (
        min(ratio["scan"]) >= 200
        and min(ratio["sets"]) >= 200
        and min(ratio["arrays"]) >= 100
    )
    held = [int(r["bytes_per_file"]) for r in rows if r["recipe"] == "arithmetic"]
    assert len(held) == 9 and max(held) < 1.5 * min(held)
