"""Reports at their edges.

Files that were cut or come from elsewhere, names that want to be code, classes without
images, pictures that have gone, and a page that asks nobody for anything.
"""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from accessible import barriers
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    top_k_accuracy_score,
)

from tutorial_lib import report as module
from tutorial_lib.core import page as page_module
from tutorial_lib.core import runs
from tutorial_lib.report import (
    calibration,
    calibration_error,
    class_table,
    confused_pairs,
    confusion,
    confusion_heatmap,
    contact_sheet,
    duplicates,
    error_table,
    fonts_for,
    heatmap_size,
    learning_curves,
    read_run,
    reliability_diagram,
    report,
    scores,
    sheet_size,
    suspicious_labels,
    write_run,
)

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "$\\frac{x}$",
    'a\nb\r,"c\u202e',
    "--><svg onload=alert(3)>",
    "{{ 7*7 }}{% raw %}",
    "비글",
    "x" * 300,
]
HISTORY = pd.DataFrame(
    dict(
        epoch=[1, 2, 3],
        train_loss=[2.0, 1.0, 0.5],
        valid_loss=[2.0, 1.5, 1.6],
        accuracy=[0.3, 0.5, 0.6],
        train_accuracy=[0.4, 0.7, 0.9],
        lr=[0.1] * 3,
        seconds=[1.0, 2.0, 3.0],
    )
)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    assert not plt.get_fignums() or plt.close("all") is None


def predictions(k, n, seed=0, without=(), sharp=3.0):
    """Labels and probabilities of a model that is right more often than not.

    Classes of `without` have no images.
    """
    rng = np.random.default_rng(seed)
    y = rng.choice(np.setdiff1d(np.arange(k), without), n)
    logits = (
        rng.normal(size=(n, k))
        + sharp * np.eye(k)[np.where(rng.random(n) < 0.7, y, rng.integers(0, k, n))]
    )
    p = np.exp(logits)
    return y, (p / p.sum(1, keepdims=True)).astype(np.float32)


def write(
    folder,
    classes,
    n=60,
    parts=None,
    images=None,
    files=None,
    seed=0,
    without=(),
    **kwargs,
):
    "A run of a model that was never trained."
    y, probs = predictions(len(classes), n, seed, without)
    parts = parts or [("train", "valid", "test", "test")[i % 4] for i in range(n)]
    return write_run(
        folder,
        files or [f"{i}.jpg" for i in range(n)],
        parts,
        [classes[i] for i in y],
        probs,
        classes,
        images=images,
        **kwargs,
    )


def pictures(folder, n, side=20):
    "Files of small pictures, each of its own color."
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.png" for i in range(n)]
    for i, f in enumerate(files):
        Image.new("RGB", (side, side), (i * 7 % 256, i * 31 % 256, 90)).save(f)
    return files


ABC = ["a", "b", "c"]


# --- the files of a run


@pytest.mark.parametrize(
    "classes",
    [
        ABC,
        HOSTILE,
        [f"class {i}" for i in range(250)],
        ["007", "7", "NA"],
        ["file", "part", "label"],
        ["a\udc80", "b"],
    ],
    ids=["few", "hostile", "wide", "text", "clash", "bytes"],
)
def test_a_run_comes_back_as_it_was(tmp_path, classes):
    n = 2 * len(classes)
    y, probs = predictions(len(classes), n)
    files = [
        f"{c.replace('/', '_').strip('.')}/{i}.jpg"
        for i, c in enumerate(np.array(classes, object)[y])
    ]
    parts = ["train", "test"] * (n // 2)
    write_run(
        tmp_path / "r",
        files,
        parts,
        [classes[i] for i in y],
        probs,
        classes,
        history=HISTORY,
        about={"seed": 3},
        config="a: 1\n",
    )
    run = read_run(tmp_path / "r")
    assert run.files == files and list(run.parts) == parts and run.classes == classes
    assert (
        np.array_equal(run.y, y)
        and run.probs.dtype == np.float32
        and np.array_equal(run.probs, probs)
    )
    assert (
        run.about["seed"] == 3
        and run.about["versions"]["python"]
        and run.config == "a: 1\n"
        and run.history.equals(HISTORY)
    )
    assert (tmp_path / "r" / "probabilities.safetensors").exists() == (
        len(classes) > 200
    )
    assert not list((tmp_path / "r").glob(".*")), "no file of another name is left"


@settings(max_examples=40)
@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=5, unique=True),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_any_names(tmp_path_factory, classes, n, seed):
    folder = tmp_path_factory.mktemp("any")
    write(folder, classes, n, seed=seed)
    y, probs = predictions(len(classes), n, seed)
    run = read_run(folder)
    assert (
        run.classes == classes
        and np.array_equal(run.y, y)
        and np.array_equal(run.probs, probs)
    )


def good():
    return dict(
        files=["x.jpg", "y.jpg"],
        parts=["train", "test"],
        labels=["a", "b"],
        probs=[[0.9, 0.1], [0.2, 0.8]],
        classes=["a", "b"],
    )


@pytest.mark.parametrize(
    "change, text",
    [
        (dict(classes=["a", "a"]), "the class 'a' is there twice"),
        (dict(classes=["a"], probs=[[1.0], [1.0]]), "there is one class or none"),
        (
            dict(classes=["a", ""]),
            "the classes must be a list of names, and none of them empty",
        ),
        (
            dict(files=[], parts=[], labels=[], probs=np.zeros((0, 2))),
            "there are no pictures",
        ),
        (dict(files=["x.jpg", "x.jpg"]), "'x.jpg' is there twice"),
        (dict(files=["../x.jpg", "y.jpg"]), "'../x.jpg' is no path inside the folder"),
        (dict(files=["/x.jpg", "y.jpg"]), "'/x.jpg' is no path inside the folder"),
        (
            dict(parts=["train", "tset"]),
            "'y.jpg' is in the part 'tset': parts are train, valid, test",
        ),
        (dict(parts=["train"]), "2 files, 1 parts, 2 labels"),
        (
            dict(labels=["a", "bb"]),
            r"'y.jpg' has the label 'bb', which is not among the 2 classes "
            r"\(did you mean 'b'\?\)",
        ),
        (dict(probs=[[0.9, 0.1]]), r"shape \(1, 2\) for 2 classes"),
        (
            dict(probs=[[0.9, 0.1], [3.0, -2.0]]),
            "the numbers of 'y.jpg' are no probabilities: they go from -2 to 3, "
            "and their sum is 1",
        ),
        (dict(probs=[[0.9, 0.1], [0.2, 0.2]]), "their sum is 0.4"),
        (
            dict(probs=[[0.9, 0.1], [np.nan, 0.5]]),
            "the numbers of 'y.jpg' are no probabilities",
        ),
        (
            dict(history=pd.DataFrame(dict(epohc=[1]))),
            "history has a column 'epohc': columns are epoch, step",
        ),
        (dict(images="elsewhere"), "x.jpg is not in elsewhere: give the folder"),
    ],
)
def test_what_cannot_be_is_not_written(tmp_path, change, text):
    with pytest.raises(ValueError, match=text):
        write_run(tmp_path / "r", **good() | change)
    assert not (tmp_path / "r").exists()


def test_half_precision_is_close_enough(tmp_path):
    write_run(
        tmp_path,
        **good() | dict(probs=np.array([[0.9, 0.104], [0.2, 0.797]], np.float16)),
    )
    assert read_run(tmp_path).probs[0, 0] == np.float16(0.9)


def edit(name, change):
    def do(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return do


def resigned(name, change):
    "Change a file, and sign it anew, as somebody would who wants to be believed."

    def do(folder):
        import hashlib

        data = change((folder / name).read_bytes())
        (folder / name).write_bytes(data)
        run = json.loads((folder / "run.json").read_text())
        run["sha256"][name] = hashlib.sha256(data).hexdigest()
        (folder / "run.json").write_text(json.dumps(run))

    return do


def described(**change):
    def do(folder):
        run = json.loads((folder / "run.json").read_text()) | change
        (folder / "run.json").write_text(json.dumps(run))

    return do


BROKEN = {
    "no description": (
        lambda f: (f / "run.json").unlink(),
        FileNotFoundError,
        r"run.json is not there: r is no run, or the run was stopped",
    ),
    "no predictions": (
        lambda f: (f / "predictions.csv").unlink(),
        FileNotFoundError,
        "predictions.csv is not there",
    ),
    "cut predictions": (
        edit("predictions.csv", lambda b: b[:-20]),
        ValueError,
        "predictions.csv is not the file that run.json describes",
    ),
    "cut at a line": (
        edit("predictions.csv", lambda b: b[: b.rfind(b"\r\n", 0, -2) + 2]),
        ValueError,
        "predictions.csv is not the file",
    ),
    "empty predictions": (
        edit("predictions.csv", lambda b: b""),
        ValueError,
        "predictions.csv is not the file",
    ),
    "cut description": (
        edit("run.json", lambda b: b[: len(b) // 2]),
        ValueError,
        "run.json is no JSON .*: it was cut or changed",
    ),
    "empty description": (
        edit("run.json", lambda b: b""),
        ValueError,
        "run.json is no JSON",
    ),
    "binary description": (
        edit("run.json", lambda b: b"\x80\x04\xff\x00"),
        ValueError,
        "run.json is no JSON",
    ),
    "nested description": (
        edit("run.json", lambda b: b"[" * 200_000),
        ValueError,
        "run.json is no JSON",
    ),
    "a list": (
        edit("run.json", lambda b: b"[]"),
        ValueError,
        "run.json does not describe a run: it has no format, classes, sha256, about, "
        "config of the right kind",
    ),
    "other json": (
        edit("run.json", lambda b: b'{"format": 1, "classes": "ab", "about": {}}'),
        ValueError,
        "it has no classes, sha256, config of the right kind",
    ),
    "later format": (
        described(format=2),
        ValueError,
        "run.json has the format 2, and this version reads 1",
    ),
    "images is a number": (
        described(images=3),
        ValueError,
        "images is 3: it must be the path",
    ),
    "classes twice": (
        described(classes=["a", "a", "b"]),
        ValueError,
        "run.json: the class 'a' is there twice",
    ),
    "classes no text": (
        described(classes=["a", 1, "b"]),
        ValueError,
        "run.json: the classes must be a list of names",
    ),
    "other classes": (
        described(classes=["a", "b", "d"]),
        ValueError,
        "its columns are not file, part, label and the classes",
    ),
    "unsigned": (described(sha256={}), ValueError, "predictions.csv is not the file"),
    "foreign table": (
        resigned("predictions.csv", lambda b: b"name,score\r\nx,1\r\n"),
        ValueError,
        "its columns are not file, part, label",
    ),
    "only a head": (
        resigned("predictions.csv", lambda b: b[: b.index(b"\r\n") + 2]),
        ValueError,
        "there are no pictures",
    ),
    "a short row": (
        resigned("predictions.csv", lambda b: b + b"z.jpg,test,a\r\n"),
        ValueError,
        "row 61: it has 3 cells and not 6",
    ),
    "a word": (
        resigned("predictions.csv", lambda b: b + b"z.jpg,test,a,1,no,0\r\n"),
        ValueError,
        "a probability is no number",
    ),
    "an open quote": (
        resigned("predictions.csv", lambda b: b + b'"z.jpg,test'),
        ValueError,
        "predictions.csv is no table",
    ),
    "a picture": (
        resigned("predictions.csv", lambda b: b"\x89PNG\r\n\x1a\n\x00\xff"),
        ValueError,
        "predictions.csv is no table|its columns are not",
    ),
    "climbs out": (
        resigned("predictions.csv", lambda b: b + b"../../z.jpg,test,a,1,0,0\r\n"),
        ValueError,
        "'../../z.jpg' is no path inside",
    ),
    "unknown label": (
        resigned("predictions.csv", lambda b: b + b"z.jpg,test,q,1,0,0\r\n"),
        ValueError,
        "'z.jpg' has the label 'q', which is not among the 3 classes",
    ),
    "no probabilities": (
        resigned("predictions.csv", lambda b: b + b"z.jpg,test,a,1,1,0\r\n"),
        ValueError,
        "the numbers of 'z.jpg' are no probabilities",
    ),
    "infinity": (
        resigned("predictions.csv", lambda b: b + b"z.jpg,test,a,inf,0,0\r\n"),
        ValueError,
        "the numbers of 'z.jpg' are no probabilities",
    ),
    "history of words": (
        edit("history.csv", lambda b: b + b"4,bad,,,,\n"),
        ValueError,
        "history.csv, row 4: train_loss is 'bad', which is no number",
    ),
    "foreign history": (
        edit("history.csv", lambda b: b"a,b\n1,2\n"),
        ValueError,
        "history.csv has none of the columns epoch, step",
    ),
    "binary history": (
        edit("history.csv", lambda b: b"\xff\xfe\x00\n\xff\n"),
        ValueError,
        "history.csv",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_run_is_named_and_nothing_is_written(tmp_path, what):
    do, kind, text = BROKEN[what]
    folder = write(tmp_path / "r", ABC, history=HISTORY)
    do(folder)
    with pytest.raises(kind, match=text):
        read_run(folder)
    with pytest.raises(kind, match=text):
        report(folder)
    assert not [p.name for p in folder.iterdir() if "report" in p.name]


def test_no_folder_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="none is no folder: give the folder of a run"
    ):
        report(tmp_path / "none")


def test_probabilities_of_many_classes_are_checked_too(tmp_path):
    folder = write(tmp_path / "r", [str(i) for i in range(201)])
    path = folder / "probabilities.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match="probabilities.safetensors is not the file"):
        read_run(folder)
    path.write_bytes(whole)
    resigned("probabilities.safetensors", lambda b: b[:-4])(folder)
    with pytest.raises(
        ValueError, match="probabilities.safetensors holds no probabilities"
    ):
        read_run(folder)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match="probabilities.safetensors is not there"
    ):
        read_run(folder)


def test_a_history_that_is_still_written(tmp_path):
    folder = write(tmp_path, ABC)
    assert read_run(folder).history is None
    for text, rows in (
        ("", None),
        ("epoch,accuracy\n", None),
        ("epoch,accu", None),
        ("epoch,accuracy\n1,.5\n2,.75", 1),
        ("epoch,extra,accuracy\n1,x,nan\n2,y,\n", 2),
    ):
        (folder / "history.csv").write_text(text)
        history = read_run(folder).history
        assert (None if history is None else len(history)) == rows
    assert (
        list(history.columns) == ["epoch", "accuracy"] and history.accuracy.isna().all()
    )


def test_files_of_two_runs_are_not_taken_for_one(tmp_path, monkeypatch):
    """Stopped after the first file of a second run.

    The old description does not fit, and a run that is written whole does.
    """
    write(tmp_path, ABC, seed=1)
    whole = runs.write_whole

    def stop(path, data):
        if path.name == "run.json":
            raise KeyboardInterrupt
        whole(path, data)

    monkeypatch.setattr(runs, "write_whole", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, ABC, seed=2)
    with pytest.raises(ValueError, match="comes from another run"):
        read_run(tmp_path)
    monkeypatch.undo()
    write(tmp_path, ABC, seed=2)
    assert len(read_run(tmp_path)) == 60


def test_large_arrays_are_worked_through_in_parts(tmp_path, monkeypatch):
    """In parts of two rows all numbers are what they are in one go.

    And a wrong row is named rightly.
    """
    k, n = 210, 301
    y, probs = predictions(k, n)
    folder = write(tmp_path / "r", [str(i) for i in range(k)], n)
    run = read_run(folder)
    whole = (
        scores(y, probs),
        suspicious_labels(run),
        class_table(y, probs.argmax(1), run.classes),
    )
    monkeypatch.setattr(runs, "NUMBERS_AT_ONCE", 2 * k + 1)
    parts = (
        scores(y, probs),
        suspicious_labels(read_run(folder)),
        class_table(y, probs.argmax(1), run.classes),
    )
    pd.testing.assert_series_equal(whole[0], parts[0])
    for a, b in zip(whole[1:], parts[1:]):
        pd.testing.assert_frame_equal(a, b)
    p = probs.astype(float) / probs.sum(1, keepdims=True, dtype=float)
    assert np.isclose(parts[0].log_loss, log_loss(y, p, labels=range(k))) and parts[
        0
    ].top_5_accuracy == top_k_accuracy_score(y, p, k=5, labels=range(k))
    assert len(parts[1]) > 5
    probs[200, 3] += 1
    with pytest.raises(
        ValueError,
        match="the numbers of '200.jpg' are no probabilities: .* their sum is 2",
    ):
        write_run(
            tmp_path / "bad",
            [f"{i}.jpg" for i in range(n)],
            ["test"] * n,
            [str(i) for i in y],
            probs,
            run.classes,
        )


# --- numbers


def test_class_table_counts_and_rates():
    y, pred = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 2, 3])
    table = class_table(y, pred, list("abcd")).set_index("class")
    assert (
        table.images.tolist() == [3, 2, 0, 1]
        and table.predicted.tolist() == [2, 2, 1, 1]
        and table.right.tolist() == [2, 1, 0, 1]
    )
    assert table.recall.round(3).tolist()[:2] == [
        0.667,
        0.5,
    ] and table.precision.tolist() == [1, 0.5, 0, 1]
    assert (
        np.isnan(table.recall["c"])
        and np.isnan(table.recall_low["c"])
        and table.precision["c"] == 0
    )
    ci = binomtest(2, 3).proportion_ci(method="wilson")
    assert np.allclose(
        table.loc["a", ["recall_low", "recall_high"]].astype(float), [ci.low, ci.high]
    )
    never = class_table(y, np.zeros(6, int), list("abcd")).set_index("class")
    assert np.isnan(never.precision["b"]) and never.recall["b"] == 0
    kinds = table.reset_index().drop(columns="class").dtypes
    assert not any(pd.api.types.is_object_dtype(kind) for kind in kinds)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)
)
def test_numbers_hold_together(pairs):
    y, pred = np.array(pairs).T
    classes = list("abcde")
    table, matrix, listed = (
        class_table(y, pred, classes),
        confusion(y, pred, classes),
        confused_pairs(y, pred, classes),
    )
    assert (
        matrix.to_numpy().sum() == len(y)
        and (matrix.sum(axis=1).to_numpy() == table.images).all()
        and (matrix.sum(axis=0).to_numpy() == table.predicted).all()
    )
    assert (
        matrix.to_numpy().diagonal() == table.right
    ).all() and listed.images.sum() == (y != pred).sum()
    assert all(
        matrix.loc[r.true, r.predicted] == r.images
        and r.share == r.images / table.images[classes.index(r.true)]
        for r in listed.itertuples()
    )
    assert (table.recall.isna() == (table.images == 0)).all() and (
        table.precision.isna() == (table.predicted == 0)
    ).all()
    some = table.dropna()
    assert (
        (some.recall_low <= some.recall + 1e-9)
        & (some.recall <= some.recall_high + 1e-9)
    ).all()


def test_scores():
    y, probs = predictions(8, 200)
    found = scores(y, probs)
    assert (
        found.accuracy == accuracy_score(y, probs.argmax(1))
        and found.accuracy_low < found.accuracy < found.accuracy_high
    )
    assert (
        found.accuracy <= found.top_5_accuracy <= 1
        and found.log_loss > 0
        and found.images == 200
    )
    assert "top_5_accuracy" not in scores(*predictions(3, 50))
    y, probs = predictions(8, 200, without=[0, 3])
    table, sparse = class_table(y, probs.argmax(1), list("abcdefgh")), scores(y, probs)
    assert table.predicted[0] > 0 == table.images[0] and np.isclose(
        sparse.macro_f1, table.f1[table.images > 0].mean()
    ), "classes with images count, and no others"
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert np.isclose(
            sparse.balanced_accuracy, balanced_accuracy_score(y, probs.argmax(1))
        )
    assert np.isfinite(sparse).all() and sparse.balanced_accuracy > 0.3


def test_calibration():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    right = rng.random(20_000) < confidence
    probs = np.stack([confidence, 1 - confidence], 1)
    honest, sure = (
        calibration((~right).astype(int), probs),
        calibration(
            (~right).astype(int), np.stack([confidence**0.1, 1 - confidence**0.1], 1)
        ),
    )
    assert honest.images.sum() == sure.images.sum() == 20_000
    assert calibration_error(honest) < 0.02 < 0.1 < calibration_error(sure)
    assert (honest.accuracy_low <= honest.accuracy).all() and (
        honest.accuracy <= honest.accuracy_high
    ).all()
    edge = calibration(
        np.array([0, 0, 1]), np.array([[1.0, 0], [0.5, 0.5], [0.5, 0.5]])
    )
    assert (
        edge.images.tolist() == [2, 1]
        and edge.accuracy.tolist() == [0.5, 1]
        and calibration_error(edge) == 0
    )


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 60))
def test_calibration_bins_hold_what_scikit_learn_averages(seed, k, n):
    y, probs = predictions(k, n, seed)
    table = calibration(y, probs)
    assert table.images.sum() == n
    assert np.isclose(
        np.average(table.confidence, weights=table.images),
        probs.max(1).mean(dtype=float),
    )
    assert np.isclose(
        np.average(table.accuracy, weights=table.images), (probs.argmax(1) == y).mean()
    )


def test_suspicious_labels_finds_planted_ones(tmp_path):
    k, n = 5, 400
    y, _ = predictions(k, n)
    probs = np.full((n, k), 0.02, np.float32)
    probs[np.arange(n), y] = 0.92
    labels, wrong = y.copy(), np.arange(0, 60, 3)
    labels[wrong] = (labels[wrong] + 1) % k
    parts = ["train" if i % 2 else "valid" for i in range(n)]
    run = read_run(
        write_run(
            tmp_path,
            [f"{i}.jpg" for i in range(n)],
            parts,
            [str(i) for i in labels],
            probs,
            [str(i) for i in range(k)],
        )
    )
    found = suspicious_labels(run)
    assert set(found.file) == {f"{i}.jpg" for i in wrong if i % 2 == 0}, (
        "held-out pictures only"
    )
    assert (
        all(str(y[int(r.file[:-4])]) == r.predicted for r in found.itertuples())
        and found.confidence.is_monotonic_decreasing
    )


def test_a_suggestion_is_a_class_that_was_seen(tmp_path):
    "A class without labeled pictures has no usual probability: never suggested."
    probs = np.array([[0.1, 0.1, 0.8]] * 3 + [[0.6, 0.3, 0.1]] * 3, np.float32)
    run = read_run(
        write_run(
            tmp_path,
            list("uvwxyz"),
            ["test"] * 6,
            ["b", "b", "a", "a", "a", "a"],
            probs,
            ABC,
        )
    )
    assert "c" not in set(suspicious_labels(run).predicted)


def test_duplicates(tmp_path):
    files = pictures(tmp_path / "p", 6)
    for a, b in (1, 0), (3, 2), (5, 4):
        files[a].write_bytes(files[b].read_bytes())
    probs = np.tile([[0.6, 0.3, 0.1]], (6, 1))
    folder = write_run(
        tmp_path / "r",
        files,
        ["train", "test", "test", "test", "valid", "valid"],
        list("aaabbb"),
        probs,
        ABC,
        images=tmp_path / "p",
    )
    table = duplicates(read_run(folder))
    assert (
        table.groupby("group").problem.first().tolist()
        == ["two parts", "two labels", ""]
        and len(table) == 6
    )
    files[4].unlink()
    assert duplicates(read_run(folder)).group.max() == 2
    assert not len(duplicates(read_run(folder, images=tmp_path / "none")))
    page = report(folder).read_text(encoding="utf-8")
    assert (
        "Leaks, 1:" in page
        and "Labels that contradict each other, 1:" in page
        and "Pictures that are gone, 1: 4.png" in page
    )


# --- pictures


def ink_outside(fig):
    "Texts of a figure that stick out of it."
    FigureCanvasAgg(fig).draw()
    whole = fig.bbox
    boxes = {
        t.get_text(): t.get_window_extent()
        for ax in fig.axes
        for t in [
            *ax.get_xticklabels(),
            *ax.get_yticklabels(),
            ax.xaxis.label,
            ax.yaxis.label,
        ]
        if t.get_text()
    }
    return [
        t
        for t, b in boxes.items()
        if b.x0 < whole.x0 - 1
        or b.x1 > whole.x1 + 1
        or b.y0 < whole.y0 - 1
        or b.y1 > whole.y1 + 1
    ]


def overlap(labels, axis):
    "Neighbors among tick labels that cover each other."
    boxes = [t.get_window_extent() for t in labels]
    lo, hi = ("x0", "x1") if axis == "x" else ("y0", "y1")
    spans = sorted((getattr(b, lo), getattr(b, hi)) for b in boxes)
    return sum(b[0] < a[1] - 1 for a, b in zip(spans, spans[1:]))


@pytest.mark.parametrize(
    "names",
    [
        ["비글", "샴고양이", "시바견"],
        [f"breed number {i}" for i in range(37)],
        [
            f"품종 {i}" if i % 2 else f"a very long name of a breed {i}"
            for i in range(100)
        ],
        HOSTILE,
    ],
    ids=["3 Korean", "37", "100", "hostile"],
)
def test_heatmap_is_readable(names):
    "All names are there, inside the figure, large enough, and none covers another one."
    k = len(names)
    y, probs = predictions(k, 20 * k, without=[1])
    fig = Figure(figsize=heatmap_size(k), layout="constrained")
    ax = confusion_heatmap(confusion(y, probs.argmax(1), names), fig.subplots())
    assert not ink_outside(fig)
    assert (
        len(ax.get_xticklabels()) == len(ax.get_yticklabels()) == k
        and not overlap(ax.get_xticklabels(), "x")
        and not overlap(ax.get_yticklabels(), "y")
    )
    assert all(
        t.get_fontsize() >= 6 and not t.get_parse_math() for t in ax.get_yticklabels()
    )
    assert ax.get_yticklabels()[1].get_text().endswith("(0)")
    assert max(map(len, (t.get_text() for t in ax.get_xticklabels()))) <= 26
    cells = ax.texts
    assert len(cells) == (
        np.count_nonzero(confusion(y, probs.argmax(1), names)) if k <= 40 else 0
    )


def contrast(a, b):
    "How far two colors are apart, as WCAG 2 counts it: from 1 to 21."
    light = [
        np.dot(
            np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4),
            [0.2126, 0.7152, 0.0722],
        )
        for c in (np.array(a), np.array(b))
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize(
    "page, ink, least",
    [
        ("#ffffff", "#1c252e", 2.9),
        ("#14191f", "#e5eaef", 2.9),
        ("#ffffff", "#7f8790", 1.9),
        ("#14191f", "#7f8790", 1.9),
    ],
    ids=["light", "dark", "light book", "dark book"],
)
def test_counts_can_be_read_on_their_cells(page, ink, least):
    """Whatever the share of a cell is, its count stands out from it.

    And the cell stands out from the page. The ink of the book is a gray for light and
    dark pages.
    """
    n = 50
    matrix = confusion(np.repeat([0, 1], n), np.zeros(2 * n, int), ABC).astype(int)
    for right in range(1, n):
        matrix.iloc[0, :2], matrix.iloc[1, :2] = [right, n - right], [n - right, right]
        with plt.rc_context({"text.color": ink}):
            ax = confusion_heatmap(matrix, Figure().subplots())
        cells = ax.collections[0].get_facecolors()
        seen = cells[:, 3:] * cells[:, :3] + (1 - cells[:, 3:]) * to_rgb(page)
        assert len(ax.texts) == len(cells) == 4
        assert all(
            contrast(to_rgb(t.get_color()), c) > least for t, c in zip(ax.texts, seen)
        ), right / n
        assert all(contrast(to_rgb(page), c) > 1.15 for c in seen), right / n


def test_figures_keep_names_that_look_like_a_color(tmp_path):
    page = soup(report(write(tmp_path, ["#20262d", "b"])))
    assert (
        page.find("svg", id="confusion-figure").find(string=re.compile("#20262d"))
        and "currentColor" not in page.find("svg", id="confusion-figure").text
    )


def test_fonts_cover_the_names_or_say_what_they_lack(monkeypatch):
    families, missing = fonts_for(["plain", "naïve"])
    assert missing == "" and len(families) == len(plt.rcParams["font.family"])
    assert fonts_for(["\ufdd0"])[1] == "\ufdd0"
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    assert fonts_for(["비글"])[1] == "글비"


def test_drawing_without_a_font_gives_a_report_that_says_so(tmp_path, monkeypatch):
    fonts = [f for f in font_manager.fontManager.ttflist if "DejaVu" in f.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    page = report(write(tmp_path, ["비글", "샴"])).read_text(encoding="utf-8")
    assert "No font on this machine has these characters" in page and "비글" in page


@pytest.mark.parametrize(
    "columns",
    [[c] for c in HISTORY.columns]
    + [["epoch", "accuracy"], ["step", "train_loss"], []],
)
def test_learning_curves_draw_what_there_is(columns):
    table = (
        HISTORY.assign(step=[10, 20, 30])[columns]
        if columns
        else HISTORY.iloc[:1].assign(valid_loss=np.nan, train_loss=np.inf)
    )
    loss, accuracy = learning_curves(table, Figure(figsize=(7, 3)).subplots(1, 2))
    assert len(loss.lines) == sum(c in table for c in ("train_loss", "valid_loss")) + (
        "valid_loss" in table and table.valid_loss.notna().any()
    )
    assert loss.get_xlabel() == (
        "epoch" if "epoch" in table else "step" if "step" in table else "row"
    )


def test_learning_curves_of_training_and_validation():
    "Both accuracies, told apart as both losses are; an epoch may be a fraction."
    table = pd.DataFrame(
        dict(
            epoch=[0.25, 0.5, 0.75, 1.0],
            train_loss=[4.0, 3, 2, 1],
            valid_loss=[4.0, 3, 3, 3],
            accuracy=[0.1, 0.2, 0.3, 0.3],
            train_accuracy=[0.2, 0.4, np.nan, 0.9],
        )
    )
    fig = Figure(figsize=(7, 3))
    loss, accuracy = learning_curves(table, fig.subplots(1, 2))
    for ax, training, validation in (
        (loss, "train_loss", "valid_loss"),
        (accuracy, "train_accuracy", "accuracy"),
    ):
        drawn = {
            line.get_label(): line
            for line in ax.lines
            if not line.get_label().startswith("_")
        }
        assert (
            list(drawn)
            == ["training", "validation"]
            == [t.get_text() for t in ax.get_legend().get_texts()]
        )
        assert (
            drawn["training"].get_ydata().tolist() == table[training].dropna().tolist()
            and drawn["validation"].get_ydata().tolist() == table[validation].tolist()
        )
        assert [drawn[name].get_color() for name in drawn] == ["C0", "C1"]
    assert accuracy.lines[-1].get_xdata()[0] == 0.5
    for epochs in [1, 2], np.arange(0.5, 10, 0.5):
        ax = learning_curves(
            pd.DataFrame(dict(epoch=epochs, accuracy=0.5)), Figure().subplots(1, 2)
        )[1]
        assert not (ax.get_xticks() % 1).any() and [
            t.get_text() for t in ax.get_legend().get_texts()
        ] == ["validation"]


def test_contact_sheet_shows_what_is_there(tmp_path):
    files = pictures(tmp_path / "p", 8)
    y, probs = predictions(3, 8, sharp=0.0)
    folder = write_run(
        tmp_path / "r",
        files,
        ["test"] * 8,
        [ABC[i] for i in y],
        probs,
        ABC,
        images=tmp_path / "p",
    )
    run = read_run(folder)
    errors = error_table(run)
    gone, broken, linked = (tmp_path / "p" / f for f in errors.file[:3])
    gone.unlink()
    broken.write_bytes(b"\xff\xd8 no picture")
    linked.unlink()
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    linked.symlink_to(tmp_path / "secret.png")
    fig = contact_sheet(run, errors, 8, 3, fig=Figure())
    fig.draw_without_rendering()
    ax = fig.axes[0]
    said = [t.get_text().splitlines() for t in ax.texts]
    assert [
        " ".join(t) for t in said if len(t) < 3 or not t[1].startswith("label ")
    ] == [
        "the file is gone",
        "the file cannot be read",
        "a link to outside of the folder",
    ]
    titles = [t for t in said if len(t) == 3 and t[1].startswith("label ")]
    assert [t[1:] for t in titles] == [
        [f"label {r.label}", r.file] for r in errors.itertuples()
    ]
    assert len(ax.images) == len(errors) - 3
    boxes = [tuple(im.get_extent()) for im in ax.images]
    assert len(set(boxes)) == len(boxes) and all(
        0 <= x0 < x1 <= ax.get_xlim()[1] and 0 <= y0 < y1 <= ax.get_ylim()[0]
        for x0, x1, y1, y0 in boxes
    ), "each in a place of its own"


def test_contact_sheet_has_room_for_its_texts(tmp_path):
    "No text covers another one or a picture, or sticks out, whatever the names."
    classes = [
        "staffordshire bull terrier of the north",
        "american_pit_bull_terrier_mongrel",
        "고양이" * 6,
    ]
    files = [
        f"a_very_long_name_of_a_folder/고양이고양이고양이고양이 number {i}.jpg"
        for i in range(30)
    ]
    run = read_run(write(tmp_path, classes, 30, files=files, parts=["test"] * 30))
    errors = error_table(run)
    fig = contact_sheet(
        run, errors, 7, fig=Figure(figsize=sheet_size(7), layout="constrained")
    )
    FigureCanvasAgg(fig).draw()
    boxes = [t.get_window_extent() for t in fig.axes[0].texts]
    assert len(boxes) == 14 and all(
        fig.bbox.x0 - 1 <= b.x0
        and b.x1 <= fig.bbox.x1 + 1
        and fig.bbox.y0 - 1 <= b.y0
        and b.y1 <= fig.bbox.y1 + 1
        for b in boxes
    )
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_reliability_diagram():
    ax = reliability_diagram(calibration(*predictions(4, 80)), Figure().subplots())
    assert ax.get_xlabel() == "confidence" and ax.get_aspect() == 1


# --- the page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "Reports of runs: few classes with pictures, hostile names, a hundred classes."
    base = tmp_path_factory.mktemp("made")
    files = pictures(base / "p", 60)
    runs = dict(
        few=write(
            base / "few",
            ABC,
            images=base / "p",
            files=files,
            history=HISTORY,
            about=dict(seed=1, data=dict(train=15)),
            config="train:\n  lr: 1e-3 # <b>",
        ),
        hostile=write(
            base / "hostile <b>&",
            HOSTILE,
            200,
            files=[f"{HOSTILE[i % 8].replace('/', '|')}/{i}.jpg" for i in range(200)],
            about={"<i>k": "<script>alert(4)</script>", "l": [1, {"x": 2}]},
            config="</pre><script>alert(5)</script>",
        ),
        hundred=write(
            base / "hundred",
            [f"품종 {i}" for i in range(100)],
            1200,
            parts=["test"] * 1200,
            without=[7],
            history=HISTORY,
        ),
    )
    return {name: report(folder) for name, folder in runs.items()}


def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("name", ["few", "hostile", "hundred"])
def test_page_is_self_contained_and_runs_nothing(made, name):
    page = soup(made[name])
    assert not page.find_all(
        ["script", "link", "iframe", "object", "embed", "base", "form", "foreignObject"]
    )
    allowed = re.compile(r"#|data:image/(png|jpeg);base64,")
    for tag in page.find_all(True):
        assert not [a for a in tag.attrs if a.lower().startswith("on")], tag
        for a in ("src", "href", "xlink:href", "srcset", "action", "data"):
            if a in tag.attrs:
                assert allowed.match(tag[a]), f"{tag.name} {a}={tag[a][:50]}"
    styles = " ".join(
        [
            *(s.text for s in page.find_all("style")),
            *(t["style"] for t in page.find_all(style=True)),
        ]
    )
    assert "@import" not in styles and not re.search(r"url\((?!['\"]?#)", styles)
    policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'") and "script" not in policy
    ids = [t["id"] for t in page.find_all(id=True)]
    assert len(ids) == len(set(ids)), "two figures share an id"


def test_names_are_text(made):
    page = soup(made["hostile"])
    shown = {td.text for td in page.find_all("td")}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4], HOSTILE[5]} <= shown
    assert (
        page.title.text == "Report: hostile <b>&"
        and page.find("pre").text == "</pre><script>alert(5)</script>"
    )
    assert not any(c in made["hostile"].read_text(encoding="utf-8") for c in "\u202e")
    svg = page.find("svg", id="confusion-figure")
    assert svg.find(string=re.compile(re.escape(HOSTILE[0]))) is not None


def test_page_says_what_it_should(made):
    page = soup(made["few"])
    text = page.text
    for words in (
        "How the model was made",
        "data, train",
        "lr: 1e-3 # <b>",
        "versions, torch",
        "Can its confidence be believed",
        "accuracy of always saying",
    ):
        assert words in text
    assert len(page.select(".cards img")) > 3 and page.find("svg", id="curves-figure")
    hundred = soup(made["hundred"])
    assert (
        "Classes without images in this part, 1: 품종 7." in hundred.text
        and "There is no history" not in hundred.text
    )
    empty = next(
        tr for tr in hundred.find_all("tr") if tr.td and tr.td.text == "품종 7"
    )
    assert (
        empty.find_all("td")[1].text == "0"
        and empty.find_all("td")[3].text.strip() == "none"
    )


def test_tables_hold_numbers(made):
    folder = made["hundred"].parent
    rows = list(
        csv.DictReader(
            io.StringIO((folder / "classes.csv").read_text(encoding="utf-8"))
        )
    )
    assert (
        len(rows) == 100
        and rows[7]["class"] == "품종 7"
        and rows[7]["images"] == "0"
        and rows[7]["recall"] == rows[7]["recall_low"] == ""
    )
    for name in (
        "scores",
        "classes",
        "confusion",
        "confused_pairs",
        "errors",
        "calibration",
    ):
        assert len(pd.read_csv(folder / f"{name}.csv"))
    table = pd.read_csv(folder / "classes.csv")
    assert all(table[c].dtype.kind in "if" for c in table.columns[1:])
    matrix = pd.read_csv(folder / "confusion.csv", index_col=0)
    assert (matrix.to_numpy().sum(1) == table.images).all() and list(
        matrix.columns
    ) == list(table["class"])
    for name in "confusion", "calibration", "curves", "errors":
        with Image.open(folder / f"{name}.png") as im:
            assert min(im.size) > 200


def test_a_second_report_replaces_the_first_whole(tmp_path):
    folder = write(tmp_path / "r", ABC, history=HISTORY)
    page = report(folder)
    (folder / "history.csv").unlink()
    (page.parent / "mine.txt").write_text("x")
    first = page.stat().st_ino
    assert report(folder) == page and page.stat().st_ino != first
    assert (
        not (page.parent / "mine.txt").exists()
        and not (page.parent / "curves.png").exists()
    ), "what the new report lacks has gone"
    assert not [p for p in folder.iterdir() if p.suffix in (".part", ".old")]
    again = page.read_bytes()
    assert report(folder).read_bytes() == again, "the same run gives the same page"


@pytest.mark.parametrize(
    "fill",
    [
        lambda d: d.write_text("x"),
        lambda d: (d.mkdir(), (d / "a.txt").write_text("x")),
        lambda d: (d.mkdir(), (d / "report.html").write_text("<html>my own")),
    ],
)
def test_what_is_no_report_is_not_replaced(tmp_path, fill):
    folder = write(tmp_path / "r", ABC)
    fill(tmp_path / "out")
    with pytest.raises(
        FileExistsError, match="out is there and is no report: nothing was written"
    ):
        report(folder, out=tmp_path / "out")
    assert (tmp_path / "out").is_file() or any((tmp_path / "out").iterdir())


def test_an_error_leaves_the_old_report(tmp_path, monkeypatch):
    folder = write(tmp_path / "r", ABC)
    before = report(folder).read_bytes()
    write_whole = page_module.write_whole

    def full(path, data):
        if path.name == "report.html":
            raise OSError(28, "No space left on device")
        write_whole(path, data)

    monkeypatch.setattr(page_module, "write_whole", full)
    with pytest.raises(OSError, match="No space left"):
        report(folder)
    assert (folder / "report" / "report.html").read_bytes() == before
    assert not [p for p in folder.iterdir() if p.suffix in (".part", ".old")]


def test_a_new_report_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path, monkeypatch
):
    folder = write(tmp_path / "r", ABC)
    before = report(folder).read_bytes()
    rename = Path.rename

    def refused(path, target):
        if path.suffix == ".part":
            raise PermissionError(13, "in use")
        rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError, match="in use"):
        report(folder)
    assert (folder / "report" / "report.html").read_bytes() == before
    assert not [p for p in folder.iterdir() if p.suffix in (".part", ".old")]


@pytest.mark.long
def test_a_killed_report_is_whole_or_absent(tmp_path):
    "Killed while it writes: the old report stands, and the next one clears up."
    folder = write(tmp_path / "r", ABC)
    before = report(folder).read_bytes()
    code = """
        import os, signal, sys
        from tutorial_lib.core import page
        from tutorial_lib.report import report
        whole = page.write_whole
        def killed(path, data):
            whole(path, data)
            if path.name == "errors.csv": os.kill(os.getpid(), signal.SIGKILL)
        page.write_whole = killed
        report(sys.argv[1])"""
    status = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), folder], cwd=ROOT
    ).returncode
    assert status == -signal.SIGKILL
    assert (folder / "report" / "report.html").read_bytes() == before
    assert [p for p in folder.iterdir() if p.suffix == ".part"]
    report(folder)
    assert not [p for p in folder.iterdir() if p.suffix in (".part", ".old")]


def test_parts(tmp_path):
    folder = write(tmp_path / "r", ABC, parts=["train", "valid"] * 30)
    assert "There is no test part" in report(folder).read_text(encoding="utf-8")
    assert "Only training pictures" in report(folder, part="train").read_text(
        encoding="utf-8"
    )
    with pytest.raises(
        ValueError, match="r has no pictures in the part 'test': it has train, valid"
    ):
        report(folder, part="test")


def test_a_moved_folder_can_be_named(tmp_path):
    files = pictures(tmp_path / "p", 60)
    folder = write(tmp_path / "r", ABC, images=tmp_path / "p", files=files)
    (tmp_path / "p").rename(tmp_path / "q")
    page = report(folder).read_text(encoding="utf-8")
    assert "The folder of the pictures is gone" in page and "<img" not in page
    assert "<img" in report(folder, images=tmp_path / "q").read_text(encoding="utf-8")
    assert str(tmp_path) not in page, (
        "a page that is passed on names no folder of this machine"
    )


def test_no_errors_and_deep_descriptions(tmp_path):
    deep = {}
    for _ in range(50):
        deep = {"x": deep}
    probs = np.eye(3, dtype=np.float32)[[0, 1, 2] * 4]
    page = report(
        write_run(
            tmp_path,
            [f"{i}" for i in range(12)],
            ["test"] * 12,
            ABC * 4,
            probs,
            ABC,
            about=dict(deep=deep, none=None),
        )
    ).read_text(encoding="utf-8")
    assert (
        "No image of this part was named wrong" in page
        and "contradicts no label" in page
        and not (tmp_path / "report" / "errors.png").exists()
    )


def test_more_classes_than_can_be_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CLASSES_DRAWN", 5)
    monkeypatch.setattr(module, "CLASSES_SHOWN", 6)
    monkeypatch.setattr(module, "CLASSES_IN_MATRIX", 7)
    page = soup(report(write(tmp_path, [f"c{i}" for i in range(9)], 300)))
    assert (
        "The 5 classes with the most errors are drawn" in page.text
        and "The 6 hardest of 9 classes" in page.text
    )
    assert (
        not (tmp_path / "report" / "confusion.csv").exists()
        and len(pd.read_csv(tmp_path / "report" / "classes.csv")) == 9
    )


# --- the page in a browser

LOOK = """() => {
    const light = color => {
        const [r, g, b] = color.match(/[\\d.]+/g).map(Number);
        return (r + g + b) / 3;
    };
    const style = getComputedStyle(document.body);
    const tick = document.querySelector('svg text');
    const colors = [style.backgroundColor, style.color, getComputedStyle(tick).fill];
    return colors.map(light);
}"""
RIGHT_EDGES = """[...document.querySelectorAll('.cards figure')]
    .map(f => f.getBoundingClientRect().right)"""
ALL_LOADED = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"


@pytest.fixture(params=["light", "dark"])
def window(request, chromium):
    """A window in the light or in the dark, as `scheme` says.

    `asked` has the addresses that its page asked for, `said` what it had to say.
    """
    size = {"width": 1200, "height": 900}
    context = chromium.new_context(viewport=size, color_scheme=request.param)
    page = context.new_page()
    page.scheme, page.asked, page.said = request.param, [], []

    def dismiss(dialog):
        page.said.append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda r: page.asked.append(r.url))
    page.on("console", lambda m: page.said.append(m.text))
    page.on("dialog", dismiss)
    yield page
    context.close()


@pytest.mark.parametrize("name", ["few", "hostile", "hundred"])
def test_page_in_a_browser(window, made, name):
    """Nothing from outside, no script, no error, and not wider than the window.

    It is light or dark as the reader likes it, and always dark on light paper.
    """
    address = made[name].as_uri()
    window.goto(address)
    ground, ink, figure = window.evaluate(LOOK)
    if window.scheme == "light":
        assert ground > 240 and ink < 60
    else:
        assert ground < 40 and ink > 200
    assert abs(figure - ink) < 1, "a figure's text has the color of the page's text"
    for width in 1200, 390:
        window.set_viewport_size({"width": width, "height": 900})
        assert window.evaluate("document.documentElement.scrollWidth") <= width
    window.emulate_media(media="print")
    window.set_viewport_size({"width": 700, "height": 900})
    edges = window.evaluate(RIGHT_EDGES)
    assert all(edge <= 700 for edge in edges), "no picture beside the paper"
    ground, ink, figure = window.evaluate(LOOK)
    assert ink == figure == 0 and ground in (0, 255)
    assert not window.locator("nav").is_visible()
    assert window.evaluate(ALL_LOADED)
    outside = [u for u in window.asked if not u.startswith(("data:", address))]
    assert not outside and not window.said


@pytest.mark.parametrize("name", ["few", "hostile"])
def test_page_keeps_nobody_out(window, made, name):
    window.goto(made[name].as_uri())
    assert not barriers(window, window.scheme)
