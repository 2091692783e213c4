"""The classifier at its edges.

Bad input by name, modes restored, memory counted, and what the benchmark measured.
"""

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Subset

from tutorial_lib import classifier
from tutorial_lib.classifier import (
    Classifier,
    FastClassifier,
    FastNet,
    ImageArrays,
    PeakMemory,
    augment,
    bf16_is_fast,
    class_accuracy,
    evaluating,
    plot_confusion,
    plot_history,
    show_images,
    show_predictions,
    worst_errors,
)
from tutorial_lib.sample import sample

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["cat", "dog", "owl"]


def data(n=48, size=32, seed=0):
    "Three classes that differ in one color."
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.integers(0, 120, (n, size, size, 3), dtype=np.uint8)
    x[np.arange(n), :, :, y] += 100
    return ImageArrays(x, y, CLASSES)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 32, 3))


def cpu(model=None, **kwargs):
    return Classifier(model or linear(), device="cpu", **kwargs)


X = np.zeros((2, 8, 8, 3), np.uint8)


WHITE, NANS = np.full(X.shape, 255, np.float32), np.full(X.shape, np.nan, np.float32)
RANGE = "there are 3 classes, from 0 to 2"
BAD_DATA = [
    (X[:0], [], "there are no images"),
    (X[0], [0], "images have shape (8, 8, 3)"),
    (X.transpose(0, 3, 1, 2), [0, 1], "they must be (n, height, width, 3)"),
    (X.astype(np.float64), [0, 1], "images are float64"),
    (X.astype(np.int16), [0, 1], "images are int16"),
    (WHITE, [0, 1], "float32 from 255.0 to 255.0"),
    (NANS, [0, 1], "float32 from nan to nan"),
    (X, [0], "2 images, but labels have shape (1,)"),
    (X, [0.0, 1.0], "labels are float64"),
    (X, [0, 3], f"label 3 of image 1 is out of range: {RANGE}"),
    (X, [-1, 0], "label -1 of image 0 is out of range"),
]


@pytest.mark.parametrize("x, y, message", BAD_DATA)
def test_bad_data_is_named(x, y, message):
    with pytest.raises(ValueError) as e:
        ImageArrays(x, y, CLASSES)
    assert message in str(e.value)


@pytest.mark.parametrize("valid", [0, 1, -0.1, 1.5, float("nan")])
def test_bad_share_is_named(valid):
    with pytest.raises(ValueError, match="the share to hold out lies between 0 and 1"):
        cpu(valid=valid)


def test_bad_batch_size_is_named():
    with pytest.raises(ValueError, match="a batch holds at least one image"):
        cpu(bs=0)


def test_a_part_without_images_is_named():
    message = "2 images cannot be cut into two parts with valid=0.2"
    with pytest.raises(ValueError, match=message):
        cpu().train(data(2))


@given(st.integers(2, 300), st.floats(0.01, 0.99))
def test_hold_out_cuts_without_overlap(n, valid):
    ds = ImageArrays(np.zeros((n, 1, 1, 3), np.uint8), np.zeros(n, int), ["a"])
    try:
        a, b = cpu(valid=valid).hold_out(ds)
    except ValueError:
        assert round(n * (1 - valid)) in (0, n)
    else:
        assert [*a.indices, *b.indices] == list(range(n)) and len(a) and len(b)


def test_a_batch_is_its_items():
    ds = data()
    xb, yb = ds[[3, 1, 2]]
    xs, ys = zip(*[ds[i] for i in (3, 1, 2)])
    assert torch.equal(xb, torch.stack(xs)) and torch.equal(yb, torch.stack(ys))
    assert xb.dtype == torch.float32 and yb.dtype == torch.int64
    floats = ImageArrays((ds.x / 255).astype(np.float32), ds.y, CLASSES)
    torch.testing.assert_close(floats[[3, 1, 2]][0], xb)


def test_folder_gives_classes_in_order(tmp_path):
    for name in "owl", "cat", "dog":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (4, 4), (10 * i, 0, 0)).save(tmp_path / name / f"{i}.png")
    ds = ImageArrays.from_folder(tmp_path)
    assert ds.classes == CLASSES and ds.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert ds.x.shape == (6, 4, 4, 3)
    some = ImageArrays.from_folder(tmp_path, classes=["owl", "cat"])
    assert some.classes == ["owl", "cat"] and some.y.tolist() == [1, 1, 0, 0]


def test_shuffling_keeps_labels_with_images():
    ds = data()
    a, b = ds.shuffled(1), ds.shuffled(1)
    assert np.array_equal(a.x, b.x) and not np.array_equal(a.y, ds.y)
    assert (a.x.mean((1, 2)).argmax(1) == a.y).all()


def fast():
    return FastClassifier(FastNet(3), bs=16, device="cpu")


@pytest.mark.parametrize("make", [cpu, fast])
def test_a_seed_fixes_the_run_and_it_learns(make):
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        clf = make()
        runs.append(clf.train(data(96).shuffled(), n_epoch=3).drop(columns="seconds"))
    assert runs[0].equals(runs[1])
    assert list(runs[0]) == ["epoch", "train_loss", "valid_loss", "accuracy"]
    assert clf.evaluate(data(60, seed=1))[1] > 0.6


def test_training_goes_on():
    clf = cpu()
    clf.train(data(), n_epoch=2)
    assert clf.train(data(), n_epoch=1).epoch.tolist() == [1, 2, 3]


def test_judging_changes_nothing():
    clf, ds = cpu(), data()
    clf.train(ds, n_epoch=1)
    clf.model[1].eval()
    before = {k: v.clone() for k, v in clf.model.state_dict().items()}
    modes = [m.training for m in clf.model.modules()]
    state = torch.get_rng_state()
    assert clf.evaluate(ds) == clf.evaluate(ds)
    probs = clf.predict(ds)
    assert probs.shape == (48, 3) and probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    assert [m.training for m in clf.model.modules()] == modes
    for name, tensor in clf.model.state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert torch.equal(state, torch.get_rng_state())


def test_modes_come_back_after_an_error():
    model = linear()
    with pytest.raises(ZeroDivisionError), evaluating(model):
        raise ZeroDivisionError
    assert all(m.training for m in model.modules()) and torch.is_grad_enabled()


def test_batch_size_changes_no_answer():
    torch.manual_seed(0)
    model, ds = linear(), data(50)
    one = cpu(model, bs=1).predict(ds)
    many = cpu(model, bs=64).predict(Subset(ds, range(50)))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6)


def test_memory_is_counted_once():
    x = torch.ones(1000)
    with PeakMemory() as memory:
        y = x + 1
        view = y.view(10, 100).t()
        y += 1
    assert memory.peak == memory.now == 4000
    del y
    assert memory.now == 4000
    del view
    assert memory.now == 0 and memory.peak == 4000


def test_memory_sees_what_backward_keeps():
    w = torch.ones(1000, requires_grad=True)
    with PeakMemory() as memory:
        y = w.exp().exp().sum()
        kept = memory.now
        del y
    assert kept == 8004 and memory.now == 0
    with PeakMemory() as memory, torch.inference_mode():
        w.exp().exp().sum()
        assert memory.now == 0 and memory.peak == 8000


sides = st.integers(4, 9)
channels = st.sampled_from([1, 3])


@given(st.integers(1, 5), sides, sides, channels, st.integers(0, 3))
def test_augment_moves_and_mirrors_only(bs, h, w, c, pad):
    xb = torch.rand(bs, c, h, w)
    padded = F.pad(xb, [pad] * 4, mode="reflect")
    moves = list(product(range(2 * pad + 1), repeat=2))
    for x, whole in zip(augment(xb, pad), padded):
        windows = [whole[:, i : i + h, j : j + w] for i, j in moves]
        assert any(torch.equal(x, a) or torch.equal(x, a.flip(2)) for a in windows)


def test_augment_mirrors_those_it_is_told_to():
    xb, flip = torch.rand(6, 3, 5, 5), torch.tensor([0, 1, 1, 0, 0, 1]).bool()
    assert torch.equal(augment(xb, 0, flip)[flip], xb[flip].flip(3))
    assert torch.equal(augment(xb, 0, flip)[~flip], xb[~flip])


@pytest.mark.parametrize("bf16", [False, True])
def test_the_better_recipe_runs_with_and_without_bfloat16(monkeypatch, bf16):
    monkeypatch.setattr(classifier, "bf16_is_fast", lambda device: bf16)
    clf = fast()
    seen = []
    clf.model[-1].register_forward_hook(lambda m, args, out: seen.append(out.dtype))
    clf.train(data(), n_epoch=1)
    assert set(seen) == {torch.bfloat16 if bf16 else torch.float32}
    assert clf.logits(data())[0].dtype == torch.float32


def test_unknown_processors_keep_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert not bf16_is_fast("cpu") and not bf16_is_fast("mps")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not bf16_is_fast(torch.device("cpu"))


def test_accuracy_of_a_class_that_never_occurs():
    found = class_accuracy([0, 0, 1], [0, 1, 1], CLASSES)
    assert found["cat"] == 0.5 and found["dog"] == 1 and np.isnan(found["owl"])


def test_worst_errors_come_first_and_are_errors():
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]], np.float32)
    assert worst_errors(probs, np.array([1, 1, 1, 0])).tolist() == [0, 1, 3]
    assert worst_errors(probs, np.array([1, 1, 1, 0]), n=1).tolist() == [0]
    assert worst_errors(probs, probs.argmax(1)).tolist() == []


def test_plots_take_few_and_many():
    ds = data(7)
    probs = np.eye(3, dtype=np.float32)[[0] * 7]
    plt = classifier.plt
    plt.switch_backend("agg")
    show_images(ds[[0]][0])
    show_predictions(ds, probs, np.arange(7))
    plot_confusion(ds.y, probs.argmax(1), CLASSES)
    clf = cpu()
    clf.train(ds, n_epoch=1)
    plot_history(clf.history)
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


@pytest.mark.long
def test_benchmark_says_what_it_does():
    script = ROOT / "benchmarks" / "recipe.py"
    command = [sys.executable, script, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in "--seeds", "--threads", "old", "mended", "better":
        assert word in shown


def test_from_folder_names_what_does_not_fit(tmp_path):
    for part in ("train", "test"):
        sample(tmp_path / part / "striped_long", n=1, size=32, breeds="striped_long")
    with pytest.raises(ValueError, match=r"does not lie in .*/<class>/"):
        ImageArrays.from_folder(tmp_path)
    message = "no pictures of a class 'owl': its classes are striped_long"
    with pytest.raises(ValueError, match=message):
        ImageArrays.from_folder(tmp_path / "train", classes=["owl"])
    with pytest.raises(ValueError, match=r"striped_long_1.jpg does not lie in"):
        ImageArrays.from_folder(tmp_path / "train" / "striped_long")


def test_benchmark_holds_what_the_chapter_promises():
    rows = pd.read_csv(ROOT / "benchmarks" / "recipe.csv")
    assert len(rows) == 9 and set(rows.seed) == {0, 1, 2}
    mean = rows.groupby("recipe")[["accuracy", "ratio"]].mean()
    assert mean.ratio["better"] <= mean.ratio["mended"] <= 1
    accuracy = mean.accuracy
    assert accuracy["better"] >= 0.80
    assert accuracy["better"] > accuracy["mended"] > accuracy["old"]


def test_the_ladder_takes_the_constant_rate_that_held_out_pictures_choose():
    rows = pd.read_csv(ROOT / "tutorial_lib" / "ladder.csv")
    is_tried = rows.rung.str.startswith("SGD at ")
    assert set(rows[~is_tried].groupby("rung").seed.nunique()) == {3}
    tried = rows[is_tried].set_index("rung")
    taken = rows[(rows.rung == "SGD") & (rows.seed == 0)].iloc[0]
    assert taken.accuracy == tried.accuracy[tried.held_out.idxmax()]
    assert len(tried) == 4 and tried.accuracy.is_unique
