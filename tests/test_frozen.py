"""Bodies that this machine knows need no PyTorch: to train a probe, and to answer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photos import draw

from tutorial_lib import trainer
from tutorial_lib.core import frozen
from tutorial_lib.core.bodies import make_body
from tutorial_lib.core.frozen import FrozenBody, keep_body, known_body
from tutorial_lib.core.heads import POOLS, read_head
from tutorial_lib.core.images import read_images
from tutorial_lib.core.models import load_model
from tutorial_lib.core.probes import LinearFit
from tutorial_lib.core.runs import read_run
from tutorial_lib.trainer import train

NAME = "densenet_tiny"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def body():
    "One that this machine knows from now on."
    body = make_body(NAME)
    assert body.graph()
    return body


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("frozen") / "photos", 24)


def notes():
    return sorted(Path("cache/bodies").glob("*.json"))


def test_a_known_body_is_the_same_without_pytorch(body, photos):
    known = known_body(NAME)
    for name in "fingerprint layer size stats how parts is_map n_features".split():
        assert getattr(known, name) == getattr(body, name), name
    files = sorted(photos.rglob("*.jpg"))
    images = read_images(files[:4], body.size, **body.how)
    np.testing.assert_allclose(
        known.features(images), body.features(images).numpy(), atol=1e-4
    )
    layers = list(known.graph.layers)
    a = known.file_features(files, "a", layers)
    b = body.file_features(files, "b", layers)
    for layer in layers:
        np.testing.assert_allclose(a[layer], b[layer], atol=1e-4)
    again = body.file_features(files, "a", layers)  # the same kind of cache
    assert all(np.array_equal(a[layer], again[layer]) for layer in layers)


def test_auto_means_what_it_means_elsewhere(body, monkeypatch):
    assert known_body("auto").name == NAME
    monkeypatch.delenv("TUTORIAL_DATA")
    assert known_body("auto") is None  # Lite0, which was not used here yet


def of_another_version():
    [note] = notes()
    known = frozen.read_sealed_json(note)
    known["versions"] = {"torch": "1.0"}
    frozen.write_sealed_json(note, known)


def of_other_weights():
    [note] = notes()
    known = frozen.read_sealed_json(note)
    known["weights"] = "0" * 64
    frozen.write_sealed_json(note, known)


def damaged():
    [note] = notes()
    note.write_bytes(note.read_bytes()[:-9])


def changed():
    [note] = notes()
    known = json.loads(note.read_bytes())
    note.write_text(json.dumps(known | {"size": 33}))


def without_graph():
    for path in Path("cache/graphs").glob("*.onnx"):
        path.unlink()


@pytest.mark.parametrize(
    "spoil",
    [of_another_version, of_other_weights, damaged, changed, without_graph],
    ids=lambda f: f.__name__,
)
def test_what_does_not_fit_is_built_anew(spoil, body):
    assert known_body(NAME)
    spoil()
    assert known_body(NAME) is None
    make_body(NAME).graph()
    assert known_body(NAME)


def test_only_networks_whose_weights_pip_brought_are_noted(body):
    make_body("resnet18", pretrained=False, size=64)
    make_body(NAME, pretrained=False)
    assert [note.name for note in notes()] == [f"{NAME}-own.json"]
    assert known_body("resnet18") is None and known_body("../x") is None


def test_a_cache_that_cannot_be_written_stops_nothing(body, monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("TUTORIAL_CACHE", "file/cache")
    keep_body(body, None)
    assert known_body(NAME) is None


WITHOUT = "torch torchvision fastai timm sklearn matplotlib".split()
TRAIN = f"""
import sys

from tutorial_lib.trainer import train

train(sys.argv[1], {{"train": {{"strategy": "probe"}}, "output": {{"report": False}}}})
print(*[name for name in {WITHOUT} if name in sys.modules])
"""


def test_a_probe_needs_no_pytorch(body, photos):
    command = [sys.executable, "-W", "error", "-c", TRAIN, str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    judged, model = read_run("runs/photos"), load_model("runs/photos")
    assert isinstance(model.body, FrozenBody)
    files = [photos / file for file in judged.files]
    np.testing.assert_allclose(model.probabilities(files), judged.probs, atol=1e-4)


def test_the_same_probe_with_and_without_pytorch(photos, monkeypatch):
    keys = dict(strategy="probe", report=False)
    heads = []
    for name in "built", "known":
        run = train(photos, say=lambda text: None, run_name=name, **keys)
        heads.append(read_head(run / "head.safetensors"))
        assert make_body(NAME).graph()
    a, b = heads
    assert (a.layer, a.pool, a.fingerprint) == (b.layer, b.pool, b.fingerprint)
    np.testing.assert_allclose(a.weight, b.weight, atol=1e-2)


def test_of_equal_probes_the_first_is_kept(body, photos, monkeypatch):
    "That of the means, which is the narrowest one."

    def blind(x, y, n_classes, *args):
        weight = np.zeros((n_classes, x.shape[1]), np.float32)
        return LinearFit(weight, np.zeros(n_classes, np.float32), 1.0, [])

    monkeypatch.setattr(trainer, "fit_probe", blind)
    run = train(photos, say=lambda text: None, strategy="probe", report=False)
    head = read_head(run / "head.safetensors")
    assert head.pool == POOLS[1] and head.layer == body.layer
    assert head.weight.shape[1] == body.n_features // 2


def test_a_fine_tuning_begins_with_the_probe_that_was_kept(body, photos):
    said = []
    keys = dict(strategy="head", epochs=1, minutes=None, report=False)
    run = train(photos, say=said.append, **keys)
    result = json.loads((run / "result.json").read_bytes())
    assert result["accuracy"] >= result["probe"]
    judged, model = read_run(run), load_model(run)
    files = [photos / file for file in judged.files]
    np.testing.assert_allclose(model.probabilities(files), judged.probs, atol=1e-4)
