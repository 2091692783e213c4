"""Frozen networks as graphs: the same numbers as PyTorch, kept whole or not at all.

And answers without PyTorch.
"""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import draw
from torch import nn

from tutorial_lib.config import load_config
from tutorial_lib.core import export, graphs
from tutorial_lib.core.bodies import make_body
from tutorial_lib.core.engine import FeatureLayers, feature_layers
from tutorial_lib.core.export import graph_of
from tutorial_lib.core.graphs import GraphName, find_graph
from tutorial_lib.core.models import load_model
from tutorial_lib.trainer import train

STATS = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
# Of each family that the book names, the smallest.
FAMILIES = {
    "densenet_tiny": 32,
    "efficientnet_lite0": 224,
    "squeezenet1_0": 224,
    "resnet18": 224,
    "mobilenet_v3_small": 224,
    "densenet121": 224,
    "efficientnet_b0": 224,
    "vit_b_32": 224,
    "convnext_tiny": 224,
    "googlenet": 224,
}
QUICK = "densenet_tiny", "resnet18"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * 28 * 28, 2))


@pytest.fixture
def used(net):
    return feature_layers(net, ["1", "3"], 32)


def pixels(n, size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(n, size, size, 3), dtype=np.uint8)


def kept():
    return sorted(Path("cache").rglob("*.onnx"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.long)
        for name in FAMILIES
    ],
)
def test_a_graph_gives_what_pytorch_gives(name):
    body = make_body(name, name in ("densenet_tiny", "efficientnet_lite0"))
    graph, images = body.graph(), pixels(5, body.size)
    assert graph, name
    a = graph.features(images, mirror=True, bs=2, layers=[body.layer])
    b = body.features(images, mirror=True, bf16=False).numpy()
    assert np.abs(a - b).max() <= 1e-4 * max(1, np.abs(b).max())


def test_a_graph_is_found_by_some_of_its_layers(net, used):
    graph, _ = graph_of(net, used, 32, STATS)
    images = pixels(3, 32)
    both = graph.features(images)
    for layer, at in ("1", slice(0, 8)), ("3", slice(8, 18)):
        one = FeatureLayers([layer], [len(range(18)[at])], used.unused)
        found, remark = graph_of(net, one, 32, STATS, make=False)
        rows = found.features(images, layers=[layer])
        assert not remark and np.array_equal(rows, both[:, at])
    assert len(kept()) == 1


def test_another_network_size_or_color_is_another_graph(net, used):
    graph_of(net, used, 32, STATS)
    assert graph_of(net, used, 32, STATS, make=False)[0]
    other = STATS[0], (0.3, 0.3, 0.3)
    assert not graph_of(net, used, 32, other, make=False)[0]
    assert not graph_of(net, used, 40, STATS, make=False)[0]
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] += 1
    assert not graph_of(net, used, 32, STATS, make=False)[0]


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def changed(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another_network(path):
    torch.manual_seed(1)
    other = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(1800, 2))
    graph_of(other, feature_layers(other, ["0"], 32), 32, STATS)
    [another] = set(kept()) - {path}
    path.write_bytes(another.read_bytes())


def without_note(path):
    path.with_suffix(".json").unlink()


def note_is_no_note(path):
    path.with_suffix(".json").write_text('{"sha256_of_this": 1, "layers": 3}')


@pytest.mark.parametrize(
    "damage", [cut, changed, of_another_network, without_note, note_is_no_note]
)
def test_a_damaged_graph_is_made_again(damage, net, used):
    images = pixels(2, 32)
    before = graph_of(net, used, 32, STATS)[0].features(images)
    [path] = kept()
    whole = path.read_bytes()
    damage(path)
    assert not graph_of(net, used, 32, STATS, make=False)[0]
    graph, remark = graph_of(net, used, 32, STATS)
    assert not remark and np.array_equal(graph.features(images), before)
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(net, used):
    Path("cache").write_text("a file of mine")
    graph, remark = graph_of(net, used, 32, STATS)
    assert graph.features(pixels(2, 32)).shape == (2, 18)
    assert remark.startswith("the graph of the network cannot be kept: ")
    assert Path("cache").read_text() == "a file of mine"


def test_a_full_disk_leaves_no_half_of_a_graph(net, used, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        graph, remark = graph_of(net, used, 32, STATS)
    assert graph and "No space left on device" in remark
    left = [path for path in Path("cache").rglob("*") if path.is_file()]
    assert all(path.suffix == ".lock" for path in left), left
    assert graph_of(net, used, 32, STATS) and len(kept()) == 1


def test_without_onnx_runtime_pytorch_computes(net, used, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    graph, remark = graph_of(net, used, 32, STATS)
    assert graph is None
    assert remark.startswith("PyTorch computes the features, there is no graph: ")


def test_a_network_that_cannot_be_exported(net, used, monkeypatch):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x[..., :28, :28]).real

    odd = nn.Sequential(net[0], Odd(), nn.Flatten(), nn.Linear(112, 2))
    graph, remark = graph_of(odd, feature_layers(odd, ["1"], 32), 32, STATS)
    assert graph is None and "there is no graph" in remark


def test_a_graph_that_says_something_else_is_none(net, used, monkeypatch):
    real = export.as_onnx

    def other(module, example):
        with torch.no_grad():
            module.model[0].weight.mul_(1.01)
        try:
            return real(module, example)
        finally:
            with torch.no_grad():
                module.model[0].weight.div_(1.01)

    monkeypatch.setattr(export, "as_onnx", other)
    graph, remark = graph_of(net, used, 32, STATS)
    assert graph is None and "away from the network" in remark and not kept()


def test_the_newer_exporter_takes_over_where_the_older_one_is_gone(
    net, used, monkeypatch
):
    def gone(*args):
        raise TypeError("export() got an unexpected keyword argument 'dynamo'")

    images = pixels(2, 32)
    expected = graph_of(net, used, 32, STATS)[0].features(images)
    for path in Path("cache").rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(export, "_exported_by_tracing", gone)
    graph, remark = graph_of(net, used, 32, STATS)
    assert not remark, remark
    np.testing.assert_allclose(graph.features(images), expected, atol=1e-4)


def test_threads_that_want_one_graph_make_it_once(net, used, monkeypatch):
    made, real = [], export.as_onnx
    monkeypatch.setattr(export, "as_onnx", lambda *a: made.append(1) or real(*a))
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(graph_of, net, used, 32, STATS) for _ in range(4)]
        found = [job.result() for job in jobs]
    assert all(graph and not remark for graph, remark in found) and len(made) == 1


def test_what_makes_it_slower_is_said(monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("TUTORIAL_CACHE", "file/cache")
    body = make_body("densenet_tiny")
    with pytest.warns(
        export.SlowerWarning, match="the graph .* cannot be kept: NotADir"
    ):
        assert body.graph()


WITHOUT = "torch torchvision fastai timm sklearn scipy pandas matplotlib".split()
ASK = f"""
import sys
from tutorial_lib import load_model
answers = load_model(sys.argv[1]).predict(sys.argv[2:])
print(answers[0].label, *[name for name in {WITHOUT} if name in sys.modules])
"""


def test_an_answer_needs_no_pytorch(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    photos = draw(tmp_path / "photos", 42)
    keys = ["train.strategy=probe", "output.report=false", "train.precision=float32"]
    run = train(photos, load_config(None, keys), say=lambda text: None)
    files = [str(path) for path in sorted(photos.rglob("*.jpg"))[:3]]
    with_pytorch = load_model(run)  # it keeps the graph
    [label] = {answer.label for answer in with_pytorch.predict(files[:1])}
    line = [sys.executable, "-c", ASK, str(run), *files]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [label]


def test_a_graph_in_another_folder_is_of_no_use_to_a_head_of_other_weights(net, used):
    graph_of(net, used, 32, STATS)
    [note] = Path("cache").rglob("*.json")
    about = json.loads(note.read_text())
    name = GraphName("f" * 24, ("1",), about["size"], STATS)
    assert find_graph(name) is None and graphs.BATCH >= 1


FRESH = """
import sys
from tutorial_lib import load_model
print(load_model(sys.argv[1])(sys.argv[2]).label)
"""


def test_a_head_of_a_chapters_network_needs_no_chapter_to_be_imported(
    tmp_path, monkeypatch
):
    "Where there is no graph of it, either."
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    photos = draw(tmp_path / "photos", 42)
    keys = ["train.strategy=probe", "output.report=false"]
    run = train(photos, load_config(None, keys), say=lambda text: None)
    [file, *_] = sorted(photos.rglob("*.jpg"))
    label = load_model(run)(file).label
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path / "another"))
    line = [sys.executable, "-W", "ignore", "-c", FRESH, str(run), str(file)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [label]
