"""The data block at its edges.

Labels from names, splits without leaks, bad files by name, and batches that are what
they should be.
"""

import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    Normalize,
    imagenet_stats,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tutorial_lib.data import twins
from tutorial_lib.datablock import (
    LeakAwareSplitter,
    bad_items,
    breed_block,
    breed_label,
)
from tutorial_lib.sample import sample

BREEDS = "masked_long", "spotted_floppy", "striped_pointy"
LETTERS = st.characters(exclude_characters="/\\\0\r\n", exclude_categories=["Cs"])
NAMES = st.text(LETTERS, min_size=1, max_size=20).filter(lambda s: s.strip("."))
ENDINGS = st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ""])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "36 pictures of three breeds, and two copies of each breed's first one."
    folder = tmp_path_factory.mktemp("drawn") / "drawn"
    sample(folder, n=36, size=48, breeds=BREEDS)
    for breed in BREEDS:
        first = min(folder.glob(f"{breed}_*"))
        for i in 901, 902:
            shutil.copy(first, folder / f"{breed}_{i}.jpg")
    return folder


@pytest.fixture
def files(drawn):
    return sorted(drawn.iterdir())


def generators():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


@given(NAMES, st.integers(0, 10**6), ENDINGS)
def test_a_label_is_all_before_the_last_number(name, i, ending):
    if ending or "." not in name:
        assert breed_label(f"some_12/folder_3/{name}_{i}{ending}") == name


@pytest.mark.parametrize(
    "name", ["cat", "_12", "cat12", "cat_", "cat_12b", "12", "cat_12 "]
)
def test_a_name_without_a_breed_is_named(name):
    with pytest.raises(ValueError) as e:
        breed_label(f"pets/{name}.jpg")
    assert f"the name of pets/{name}.jpg holds no breed" in str(e.value)
    assert "Rename the file" in str(e.value)


@pytest.mark.parametrize("seed", [42, 1, "text"])
def test_splitter_keeps_twins_together_and_classes_apart(files, seed):
    train, valid = LeakAwareSplitter(valid=0.25, seed=seed)(files)
    assert sorted(train + valid) == list(range(len(files)))
    assert {type(i) for i in train + valid} == {int}
    assert all(len({i in set(valid) for i in group}) == 1 for group in twins(files))
    assert len(twins(files)) == 3
    for breed in BREEDS:
        assert 0 < sum(breed_label(files[i]) == breed for i in valid) < 12


def test_splitter_depends_on_its_seed_alone(files):
    def held_out(files, **kwargs):
        return {files[i] for i in LeakAwareSplitter(**kwargs)(files)[1]}

    torch.manual_seed(3)
    state = generators()
    assert held_out(files) == held_out(files[::-1]) != held_out(files, seed=43)
    assert generators() == state


def test_splitter_reads_labels_as_it_is_told(files):
    one_class = LeakAwareSplitter(get_y=lambda path: "animal", valid=0.1)(files)[1]
    assert len(one_class) == round(0.1 * len(files))


@pytest.mark.parametrize(
    "n, valid, message",
    [
        (0, 0.2, "there are no items to split"),
        (1, 0.2, "no item can be held out"),
        (None, 0, "valid is 0"),
        (None, 1.5, "valid is 1.5"),
    ],
)
def test_a_split_that_cannot_be_is_named(files, n, valid, message):
    with pytest.raises(ValueError, match=message):
        LeakAwareSplitter(valid=valid)(files[:n])


def test_nothing_is_held_out_of_copies(tmp_path, files):
    for i in range(4):
        shutil.copy(files[0], tmp_path / f"cat_{i}.jpg")
    with pytest.raises(ValueError, match="only copies of one"):
        LeakAwareSplitter()(sorted(tmp_path.iterdir()))


@pytest.fixture
def broken(tmp_path, files):
    "A folder with two good pictures and one of each kind of bad file."
    folder = tmp_path / "broken"
    (folder / "more").mkdir(parents=True)
    for f, name in zip(files, ("cat_1.jpg", "more/dog_2.jpg", "holiday.jpg")):
        shutil.copy(f, folder / name)
    (folder / "cat_2.jpg").write_text("<html>404</html>")
    (folder / "cat_3.jpg").write_bytes(files[0].read_bytes()[:-200])
    (folder / "cat_4.jpg").touch()
    return folder


def test_bad_items_are_named_with_their_reason(broken):
    found = bad_items(broken)
    reasons = dict(zip(found.file, found.reason))
    assert list(found) == ["file", "reason"] and list(found.index) == [0, 1, 2, 3]
    assert set(reasons) == {"cat_2.jpg", "cat_3.jpg", "cat_4.jpg", "holiday.jpg"}
    assert reasons["cat_2.jpg"] == "a web page, not an image"
    assert reasons["cat_4.jpg"] == "empty file"
    assert reasons["cat_3.jpg"].startswith("broken: ")
    assert "holds no breed" in reasons["holiday.jpg"]


def test_a_class_outside_of_the_vocabulary_is_a_bad_item(broken):
    reasons = bad_items(broken, vocab=["cat"]).set_index("file").reason
    assert reasons["more/dog_2.jpg"] == "its class 'dog' is not in the vocabulary"


def test_an_error_of_get_y_is_a_reason(drawn):
    found = bad_items(drawn, get_y=lambda path: {}[path.name])
    assert len(found) == 42 and found.reason.str.startswith("no class: ").all()
    assert bad_items(drawn).empty and list(bad_items(drawn)) == ["file", "reason"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        bad_items(tmp_path / "none")


def loaders(folder, bs=8, **kwargs):
    block = breed_block(**{"size": 32} | kwargs)
    return block.dataloaders(folder, bs=bs, num_workers=0, device="cpu")


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(size=0), "size is 0: give the side"),
        (dict(size=160.0), "size is 160.0: give the side"),
        (dict(size="160"), "size is '160': give the side"),
        (dict(size=64, presize=63), "presize is 63 and size is 64"),
        (dict(size=64, presize=80.0), "presize is 80.0 and size is 64"),
        (dict(size=64, presize=0), "presize is 0 and size is 64"),
        (dict(stats=None), "stats are None"),
        (dict(stats=[0.5, 0.2]), "give three means and three standard deviations"),
        (dict(stats=([0.5], [0.2])), "give three means and three standard deviations"),
        (dict(stats=([0.5] * 3, [0.2, 0, 0.2])), "three standard deviations above 0"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError) as e:
        breed_block(**kwargs)
    assert message in str(e.value)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="there are no items to split"):
        loaders(tmp_path)


def test_one_class_is_named_unless_the_vocabulary_has_more(tmp_path, files):
    for i in range(6):
        shutil.copy(files[i], tmp_path / f"cat_{i}.jpg")
    message = "all pictures are of one class, 'cat', and a classifier needs two"
    with pytest.raises(ValueError, match=message):
        loaders(tmp_path)
    assert list(loaders(tmp_path, bs=2, vocab=["cat", "dog"]).vocab) == ["cat", "dog"]


def test_a_file_that_is_gone_is_named(files):
    with pytest.raises(FileNotFoundError, match="gone_1.jpg"):
        loaders([*files, files[0].with_name("gone_1.jpg")], get_items=list)


def test_batches_are_normalized_and_fixed_when_judging(drawn):
    dls = loaders(drawn)
    (xb, yb), (again, _) = dls.valid.one_batch(), dls.valid.one_batch()
    assert torch.equal(xb, again)
    assert xb.shape[1:] == (3, 32, 32)
    assert list(dls.vocab) == list(BREEDS)
    mean, std = (torch.tensor(s)[:, None, None] for s in imagenet_stats)
    raw = loaders(drawn, stats=([0, 0, 0], [1, 1, 1])).valid.one_batch()[0]
    normalized = (torch.tensor(np.array(raw)) - mean) / std
    torch.testing.assert_close(torch.tensor(np.array(xb)), normalized)
    assert raw.min() >= 0 and raw.max() <= 1
    labels = [breed_label(f) for f in dls.valid_ds.items[: len(yb)]]
    assert [dls.vocab[y] for y in yb] == labels


def test_training_pictures_are_augmented_and_validation_pictures_are_not(drawn):
    random.seed(0)
    torch.manual_seed(0)
    dls = loaders(drawn)
    batch = [dls.train.do_item(i) for i in range(8)]
    dls.train.before_iter()

    def augmented():
        return dls.train.after_batch(dls.train.create_batch(batch))[0]

    first, second = augmented(), augmented()
    assert not torch.equal(first, second)


def test_arguments_reach_the_augmentation(drawn):
    nothing = dict(max_rotate=0, max_warp=0, max_lighting=0, do_flip=False, max_zoom=1)
    names = {type(t).__name__ for t in loaders(drawn, **nothing).after_batch.fs}
    assert names == {"IntToFloatTensor", "RandomResizedCropGPU", "Normalize"}


SIZES = (20, 90), (90, 20), (10, 10), (33, 32), (200, 150), (1, 1), (64, 64), (31, 40)


def test_pictures_of_all_sizes_fit_and_small_ones_grow(tmp_path):
    for i, size in enumerate(SIZES):
        animal = ("cat", "dog")[i % 2]
        Image.new("RGB", size, (i, 99, 7)).save(tmp_path / f"{animal}_{i}.png")
    assert loaders(tmp_path, bs=4).one_batch()[0].shape == (4, 3, 32, 32)


def test_classes_can_be_named(drawn):

    def spotted(folder):
        return sorted(folder.glob("spotted*"))

    dls = loaders(drawn, vocab=[*BREEDS, "absent"], get_items=spotted)
    assert list(dls.vocab) == ["absent", *BREEDS]
    assert {dls.vocab[y] for y in dls.one_batch()[1]} == {"spotted_floppy"}


def test_block_can_be_exported_with_a_learner(drawn):
    dls = pickle.loads(pickle.dumps(loaders(drawn).new_empty()))
    assert list(dls.vocab) == list(BREEDS)


def test_fastai_takes_the_vocabulary_from_training_alone(drawn, files):
    "What the chapter teaches: when it stops being true, its failure needs other words."
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_y=breed_label,
        splitter=lambda items: (list(range(14)), [30]),
    )
    with pytest.raises(KeyError, match="was not included in the training dataset"):
        block.datasets(files).valid[0]


def test_normalize_runs_last(drawn):
    assert isinstance(loaders(drawn).after_batch.fs[-1], Normalize)
