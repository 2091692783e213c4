"""Pairs at their edges.

The rules of drawing hold for any labels and twins, the probabilities are right, and a
pair keeps its type all the way.
"""

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
    "Eight drawn pictures of each of three breeds; the first one has a twin."
    breeds = ["patched_floppy", "spotted_long", "striped_pointy"]
    folder = sample(
        tmp_path_factory.mktemp("drawn") / "set", n=24, size=48, breeds=breeds
    )
    (folder / "patched_floppy_99.jpg").write_bytes(image_files(folder)[0].read_bytes())
    return image_files(folder)


squish = Resize(32, method="squish")


def loaders(files, draw=None, batch_tfms=None, **kwargs):
    draw = draw or DrawPairs(breed)
    block = DataBlock(
        (PairBlock, CategoryBlock(vocab=["different", "same"])),
        splitter=splitter,
        get_x=draw,
        get_y=PairLabel(draw),
        item_tfms=squish,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(files, **{"bs": 4, "num_workers": 0, **kwargs})


# --- drawing


@st.composite
def sets(draw):
    "Labels of two to six classes of one to eight images, and which images are twins."
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
    assert j.shape == same.shape == labels.shape
    assert j.dtype == np.int64
    assert same.dtype == bool
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


def p_value(counts, expected=None):
    return chisquare(counts, expected).pvalue


@pytest.mark.parametrize("p_same", [0.1, 0.5, 0.9])
def test_probabilities(p_same):
    """Same or different, which other class, and which image: all by chi-square.

    The classes are of unequal size, with twins and a single.
    """
    sizes = [1, 2, 5, 12]
    labels, n_draw = np.repeat(np.arange(4), sizes), 4000
    contents = np.arange(20)
    contents[[8, 9, 10]] = 8
    sampler = PairSampler(labels, p_same, contents)
    drawn = [sampler.draw([7, k]) for k in range(n_draw)]
    j, same = (np.array(column) for column in zip(*drawn))
    assert not same[:, 0].any()
    able = same[:, 1:]
    expected = np.array([p_same, 1 - p_same]) * able.size
    assert p_value([able.sum(), (~able).sum()], expected) > 0.001
    for i in 0, 1, 5, 9, 19:
        of_same, of_others = j[same[:, i], i], j[~same[:, i], i]
        classes = np.bincount(labels[of_others], minlength=4)
        assert classes[labels[i]] == 0
        others = np.delete(np.arange(4), labels[i])
        assert p_value(classes[others]) > 0.001
        partners = np.bincount(of_others, minlength=20)
        for c in others:
            assert sizes[c] == 1 or p_value(partners[labels == c]) > 0.001
        partners = np.bincount(of_same, minlength=20)
        allowed = (labels == labels[i]) & (contents != contents[i])
        assert partners[~allowed].sum() == 0
        if allowed.sum() > 1:
            assert p_value(partners[allowed]) > 0.001


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


ONE_CLASS = "all 3 images are of one class (cat): pairs need two classes or more"
NO_PAIR = "no class has two different images, so there is no pair of one class"
TWO_LABELS = (
    "images 1 and 2 are the same byte for byte, and have the labels cat and dog"
)


@pytest.mark.parametrize(
    "labels, kwargs, message",
    [
        ("", {}, "there are no images"),
        ("cat cat cat", {}, ONE_CLASS),
        ("cat dog", {}, f"{NO_PAIR}: add images, or set p_same=0 (it is 0.5)"),
        ("cat cat dog", dict(contents=[0, 0, 1]), NO_PAIR),
        (
            "cat cat dog",
            dict(p_same=1.5),
            "p_same is 1.5: give a probability from 0 to 1",
        ),
        ("cat cat dog", dict(p_same=-0.1), "p_same is -0.1"),
        ("cat cat dog", dict(p_same=float("nan")), "p_same is nan"),
        (
            "cat cat dog",
            dict(contents=[0, 1]),
            "3 labels, but contents have shape (2,)",
        ),
        ("cat cat dog", dict(contents=[0, 1, 1]), TWO_LABELS),
    ],
)
def test_bad_labels_are_named(labels, kwargs, message):
    with pytest.raises(ValueError) as e:
        PairSampler(labels.split(), **kwargs)
    assert message in str(e.value)


def test_no_same_pairs_can_be_wished_for():
    j, same = PairSampler(["cat", "dog"], p_same=0).draw(0)
    assert j.tolist() == [1, 0] and not same.any()


# --- files and parts


def check_pairs(draw):
    "The partner of each file is of its part, has other bytes, and a true label."
    labels = np.array([breed(f) for f in draw.files])
    assert (draw.part[draw.partner] == draw.part).all()
    assert ((labels[draw.partner] == labels) == draw.same).all()
    for i, f in enumerate(draw.files):
        first, second = draw(f)
        assert first == f and second == draw.files[draw.partner[i]]
        assert first.read_bytes() != second.read_bytes()
        label = "same" if breed(first) == breed(second) else "different"
        assert draw.label(f) == PairLabel(draw)(f) == label


def test_parts_epochs_and_seeds(files):
    def parts(**kwargs):
        draw = DrawPairs(breed, **kwargs)
        dls = loaders(files, draw)
        return draw, dls

    draw, dls = parts(seed=1, valid_seed=5)
    train = draw.part == 0
    assert set(draw.part.tolist()) == {0, 1}
    seen, valid = [], draw.partner[~train].copy()
    for _ in range(5):
        seen.append(draw.partner[train].copy())
        check_pairs(draw)
        assert (draw.partner[~train] == valid).all()
        next(iter(dls.train))
    assert draw.epoch == 5 and all((a != b).any() for a, b in zip(seen, seen[1:]))
    again, dls = parts(seed=1, valid_seed=5)
    for partner in seen:
        assert (again.partner[train] == partner).all()
        for _ in dls.train:
            pass
    other, _ = parts(seed=2, valid_seed=5)
    assert (other.partner[train] != seen[0]).any()
    assert (other.partner[~train] == valid).all()
    other, _ = parts(seed=1, valid_seed=7)
    assert (other.partner[train] == seen[0]).all()
    assert (other.partner[~train] != valid).any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_labels_of_batches_are_true(tmp_path, num_workers):
    "The class of an image is how much red it has, and its number how much green."
    for c in range(3):
        for k in range(8):
            im = Image.new("RGB", (8, 8), (100 * c, 20 * k, 0))
            im.save(tmp_path / f"{'abc'[c]}_{k}.png")
    dls = loaders(image_files(tmp_path), num_workers=num_workers)
    parts = []
    for dl in dls:
        seen = set()
        batches = [batch for _ in range(3) for batch in dl]
        for (x1, x2), y in batches:
            first, second = plain(x1)[:, :2, 0, 0], plain(x2)[:, :2, 0, 0]
            same_red = (first[:, 0] - second[:, 0]).abs() < 0.1
            assert torch.equal(same_red, plain(y) == 1)
            assert (first != second).any(1).all()
            seen |= {tuple(color) for color in [*first.tolist(), *second.tolist()]}
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
    def epoch(dl):
        return torch.cat([torch.stack([*map(plain, xb)], 1) for xb, _ in dl])

    def epochs(num_workers):
        dls = loaders(files, shuffle=False, num_workers=num_workers)
        return epoch(dls.train), epoch(dls.train)

    (a, b), (c, d) = epochs(0), epochs(2)
    assert torch.equal(a, c) and torch.equal(b, d) and not torch.equal(a, b)


def test_empty_part_is_no_part(files):
    draw = DrawPairs(breed)
    draw.setup(TfmdLists(files, [], splits=[range(len(files)), []]))
    assert (draw.part == 0).all() and (draw.partner >= 0).all()


def setup(files, splits=None, label=breed):
    draw = DrawPairs(label)
    draw.setup(TfmdLists(files, [], splits=splits) if splits else files)
    return draw


def test_bad_files_are_named(files, tmp_path):
    missing = tmp_path / "spotted_long_1.jpg"
    with pytest.raises(FileNotFoundError, match="spotted_long_1.jpg"):
        setup([*files, missing])
    with pytest.raises(ValueError, match="patched_floppy_.*jpg is listed twice"):
        setup([*files, files[0]])
    two_labels = r"same byte for byte, and have the labels \w+ and odd: leave one of"
    with pytest.raises(ValueError, match=two_labels):
        setup(files, label=lambda f: "odd" if "99" in f.name else breed(f))
    with pytest.raises(AttributeError, match="'NoneType'"):
        setup(files, label=lambda f: None.name)


TWO_PARTS = "jpg is in two parts of the split: give it to one"
ONE_CLASS_TO_TRAIN = "^training: all 2 images are of one class .patched_floppy."
ONE_CLASS_TO_JUDGE = "^validation: all 2 images are of one class .striped_pointy."
NO_PAIR_TO_JUDGE = "^validation: no class has two different images"


@pytest.mark.parametrize(
    "splits, message",
    [
        ([range(20), range(19, 25)], TWO_PARTS),
        ([[1, 2], range(3, 25)], ONE_CLASS_TO_TRAIN),
        ([range(20), [23, 24]], ONE_CLASS_TO_JUDGE),
        ([[*range(12), *range(13, 24)], [12, 24]], NO_PAIR_TO_JUDGE),
    ],
)
def test_bad_splits_are_named(files, splits, message):
    with pytest.raises(ValueError, match=message):
        setup(files, splits)


def test_a_file_without_a_partner_is_named(files, tmp_path):
    draw = setup(files, [range(20), []])
    with pytest.raises(ValueError, match="has no partner.*Give two files"):
        draw(tmp_path / "new.jpg")
    with pytest.raises(ValueError, match="striped_pointy.*has no partner"):
        draw(files[24])


# --- the type


def test_pair_reads_what_pictures_are(tmp_path):
    turned = Image.new("RGB", (30, 20), "red")
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    clear.save(tmp_path / "clear.png")
    a, b = ImagePair.create([str(tmp_path / "turned.jpg"), tmp_path / "clear.png"])
    assert a.size == (20, 30)
    assert a.mode == b.mode == "RGB"
    assert b.getpixel((0, 0)) == (255, 255, 255)
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
        with pytest.raises(ValueError) as e:
            ImagePair.create(wrong)
        wanted = "a pair is made from two images, such as (file1, file2)"
        assert f"{wanted}, not from {wrong!r}" == str(e.value)


def test_a_broken_file_is_named_in_a_batch(files, tmp_path):
    for i, f in enumerate(files[1:]):
        data = f.read_bytes()
        (tmp_path / f.name).write_bytes(data if i != 3 else data[:200])
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
    assert "of type `ImagePair`" in str(e.value)
    assert "((3, 30, 20), (3, 30, 20))" in str(e.value)


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
    assert isinstance(xb, ImagePair)
    assert [im.shape for im in xb] == [(2, 3, 24, 24)] * 2
    assert isinstance(yb, TensorCategory)
    block = DataBlock(
        (PairBlock, ImageBlock, CategoryBlock),
        n_inp=2,
        get_x=[lambda f: (f, f), lambda f: f],
        get_y=breed,
        item_tfms=Resize(24),
        batch_tfms=aug_transforms(),
    )
    xb, x3, yb = block.dataloaders(files, bs=2, num_workers=0).one_batch()
    assert isinstance(xb, ImagePair)
    assert isinstance(x3, TensorImage)
    assert x3.shape == (2, 3, 24, 24)


def twice(files, item_tfms, batch_tfms, n=16):
    "Pairs of one image with itself, so that only augmentation can make a difference."
    block = DataBlock(
        PairBlock,
        get_x=lambda f: (f, f),
        splitter=lambda items: (range(n), range(n, len(items))),
        item_tfms=item_tfms,
        batch_tfms=batch_tfms,
    )
    return block.dataloaders(files, bs=8, num_workers=0, shuffle=False)


normalize = Normalize.from_stats(*imagenet_stats)
AUGMENTATIONS = {
    "rotate": ([squish], [Rotate(45, p=1)]),
    "aug_transforms": ([squish], aug_transforms(p_affine=1, p_lighting=1)),
    "crop on the batch": ([squish], [RandomResizedCropGPU(24, min_scale=0.2)]),
    "erase": ([squish], [normalize, RandomErasing(p=1, sl=0.2)]),
    "one angle a batch": ([squish], [Rotate(45, p=1, batch=True)]),
    "crop": ([RandomResizedCrop(24, min_scale=0.2)], None),
    "cut out": ([squish, RandomCrop(16)], None),
    "flip": ([squish, FlipItem(0.5)], None),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_image_has_its_own_augmentation(files, name):
    set_seed(0)
    dls = twice(files, *AUGMENTATIONS[name])
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
        first, second = (im[k, 0].mean() * 255 for im in xb)
        inside = abs(first - 60 * k) < 2 and abs(second - 60 * (3 - k)) < 2
        assert inside, "a crop reached out of its image"


def test_each_image_leaves_the_rest_to_the_first(files):
    x = TensorImage(torch.rand(2, 3, 8, 8))
    set_seed(0)
    batch = ImagePair(x, x), x.clone(), TensorCategory([0, 1])
    pair, third, y = EachImage(Rotate(45, p=1))(batch, split_idx=0)
    assert torch.equal(pair[0], third)
    assert not torch.equal(*pair)
    assert y.tolist() == [0, 1]
    alone = EachImage(Rotate(45, p=1))(ImagePair(x, x), split_idx=0)
    assert isinstance(alone, ImagePair) and not torch.equal(*alone)
    only = EachImage(Rotate(45, p=1))((x, TensorCategory([0, 1])), split_idx=0)
    assert isinstance(only[0], TensorImage) and not torch.equal(only[0], x)


def test_wrapped_once_and_named(files):
    dls = loaders(files, batch_tfms=aug_transforms())
    again = dls.train.new()
    for dl in dls.train, dls.valid, again:
        wrapped = [f.tfm for f in dl.after_batch.fs if isinstance(f, EachImage)]
        assert not any(isinstance(f, EachImage) for f in wrapped)
        assert sum(isinstance(f, EachImage) for f in dl.after_item.fs) == 1
    assert "Resize" in repr(dls.train.after_item)
    assert "Flip" in repr(dls.train.after_batch)


def test_normalized_and_decoded(files):
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
    assert isinstance(pair, ImagePair)
    assert pair[0].shape == (3, 32, 32)
    assert label in ("different", "same")


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
    assert "DrawPairs" in said
    assert "ToPair" in said
    assert "RandomResizedCrop" in said
    assert "TensorImage of size 2x3x24x24, TensorImage of size 2x3x24x24" in said


# --- showing


@pytest.fixture
def axes_titles():
    "Call it for the titles of all axes that were drawn since."
    plt = pairs.plt
    plt.switch_backend("agg")
    plt.close("all")

    def figures():
        return [plt.figure(number) for number in plt.get_fignums()]

    def titles():
        axes = [ax for figure in figures() for ax in figure.axes]
        return [ax.get_title() for ax in axes if ax.images]

    yield titles
    for figure in figures():
        figure.canvas.draw()
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
    for ax in pairs.plt.gcf().axes:
        for im in ax.images:
            assert im.get_array().max() > 20, "bytes are shown as bytes"
    pairs.plt.close("all")
    learn = learner(dls)
    with learn.no_bar():
        learn.show_results(max_n=n)
    titles = axes_titles()
    assert len(titles) == n
    right, wrong = {"same", "different"}, {"same\nis different", "different\nis same"}
    assert set(titles) <= right | wrong


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


def learner(dls):
    loss_func = CrossEntropyLossFlat()
    return Learner(dls, Two(), loss_func, metrics=accuracy, cbs=UnpackPair)


def test_plain_models_train_judge_and_predict(files):
    set_seed(0)
    dls = loaders(files, batch_tfms=[*aug_transforms(), normalize])
    learn = learner(dls)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, lr=0.1)
    assert len(learn.recorder.values) == 2
    with learn.no_bar():
        xb, preds, y = learn.get_preds(with_input=True)
        a, _, probs = learn.predict((files[0], files[12]))
        b, _, swapped = learn.predict((files[12], files[0]))
    assert isinstance(xb, tuple)
    assert [im.shape[0] for im in xb] == [len(preds)] * 2
    assert len(y) == len(preds)
    assert a == b and a in ("different", "same")
    torch.testing.assert_close(probs, swapped)


def test_without_the_callback_a_plain_model_stops(files):
    learn = Learner(loaders(files), Two(), loss_func=CrossEntropyLossFlat())
    lacks_x2 = "missing 1 required positional argument: 'x2'"
    with learn.no_bar(), pytest.raises(TypeError, match=lacks_x2):
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
    command = [sys.executable, ROOT / "benchmarks" / "pairs.py", "--help"]
    help = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in ("--files", "--rounds", "scan", "sets", "arrays", "arithmetic"):
        assert word in help


def test_benchmark_holds_what_the_chapter_promises():
    with (ROOT / "benchmarks" / "pairs.csv").open(newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["classes"] == "37"]
    many = [r for r in rows if r["files"] == "100000"]
    for name, least in {"scan": 200, "sets": 200, "arrays": 100}.items():
        ratios = [int(r["ratio"]) for r in many if r["recipe"] == name]
        assert len(ratios) == 3 and min(ratios) >= least
    held = [int(r["bytes_per_file"]) for r in rows if r["recipe"] == "arithmetic"]
    assert len(held) == 9 and max(held) < 1.5 * min(held)
