"""Transfer at its edges: every family, freezing that holds, a cache without wrong rows.

Every family of torchvision, groups that lose nothing, and kills while rows are written.
"""

import copy
import io
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model_builder, get_model_weights, list_models

from tutorial_lib.classifier import FastNet, evaluating
from tutorial_lib.core import features as cached
from tutorial_lib.core.engine import feature_layers, normalize, pool_features
from tutorial_lib.core.probes import (
    MOST_CLASSES,
    class_means_probe,
    fit_probe,
    hold_out_rows,
)
from tutorial_lib.data import image_files, read_images
from tutorial_lib.densenet import densenet_tiny
from tutorial_lib.modules import SmallNet, state_diff
from tutorial_lib.sample import sample
from tutorial_lib.transfer import (
    body_parts,
    feature_layer,
    features,
    find_head,
    freeze_body,
    linear_probe,
    param_groups,
    plot_weight_change,
    probe_depths,
    replace_head,
    unfreeze_body,
    weight_change,
)

ROOT = Path(__file__).resolve().parents[1]
STATS = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def families():
    "The smallest model of each family that torchvision has for classification."
    smallest = {}
    for name in list_models(module=torchvision.models):
        size = get_model_weights(name).DEFAULT.meta["num_params"]
        smallest.setdefault(
            get_model_builder(name).__module__.rpartition(".")[2], []
        ).append((size, name))
    return sorted(min(names)[1] for names in smallest.values())


def untrained(name):
    "Without numbers where that is possible, since only shapes matter."
    kwargs = dict(init_weights=False) if name in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            return torchvision.models.get_model(name, **kwargs)
    except NotImplementedError:
        return torchvision.models.get_model(name, **kwargs)


def pictures(model, n=2, size=224):
    return torch.zeros(n, 3, size, size, device=next(model.parameters()).device)


def small_net(n_out=6):
    "A body with batch norms, a plain layer and a block, and a head."
    torch.manual_seed(1)
    block = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    )
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU()),
        block,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, n_out),
    )


def trains(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def one_step(model, x=None, lr=0.1):
    "Train all that can be trained by one step, in training mode."
    x = (
        torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(5))
        if x is None
        else x
    )
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    F.cross_entropy(model(x), torch.zeros(len(x), dtype=torch.long)).backward()
    torch.optim.SGD(params, lr=lr).step()
    model.zero_grad()


# --- heads


@pytest.mark.parametrize("name", families())
def test_every_family(name):
    model, size = untrained(name), 299 if name == "inception_v3" else 224
    was = copy.deepcopy(model)
    table = replace_head(model, 7)
    head = table.layer[0]
    assert (
        (table.before == 1000).all()
        and (table.after == 7).all()
        and find_head(model) == head
    )
    changed = state_diff(was, model).table.name
    assert {n.rpartition(".")[0] for n in changed} == set(table.layer)
    assert model.eval()(pictures(model, size=size)).shape == (2, 7)
    if "." in "".join(table.layer[1:]):
        assert all(
            out.shape == (2, 7) for out in model.train()(pictures(model, size=size))
        )

    found = feature_layers(model, None, size)
    assert head in found.unused and found.widths[0] >= table.n_in[0]
    parts = body_parts(model)
    assert len(parts) >= 5 and not any(
        h.startswith(part) for part in parts for h in table.layer
    )
    groups = param_groups(model, [1e-5, 1e-4, 1e-3])
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters())) and [
        g["lr"] for g in groups
    ] == [1e-5, 1e-4, 1e-3]
    freeze_body(model)
    assert {n.rpartition(".")[0] for n in trains(model)} == set(table.layer)
    assert len(param_groups(model, [1e-5, 1e-4, 1e-3])) == 1


@pytest.mark.parametrize(
    "name, layer",
    [
        ("resnet18", "layer4"),
        ("vit_b_32", "input of heads.head"),
        ("swin_t", "permute"),
        ("densenet121", "features"),
        ("vgg11", "input of classifier.6"),
        ("convnext_tiny", "features"),
    ],
)
def test_where_features_are(name, layer):
    assert feature_layer(untrained(name)) == layer


@pytest.mark.parametrize(
    "model, head",
    [(SmallNet(10), "head.fc2"), (FastNet(10), "7"), (densenet_tiny(), "classifier")],
    ids=lambda v: type(v).__name__,
)
def test_networks_of_the_book(model, head):
    assert find_head(model) == head
    replace_head(model, 4)
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


def test_the_new_head_is_like_the_old_one():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5, bias=False, dtype=torch.float64)
    ).eval()
    model.requires_grad_(False)
    replace_head(model, 3)
    new = model[1]
    assert (
        new.weight.dtype == torch.float64
        and new.bias is None
        and not new.training
        and new.weight.requires_grad
    )
    model.num_classes = 3
    replace_head(model, 2)
    assert model.num_classes == 2


def test_a_head_can_be_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
    assert list(
        replace_head(model, 9, name="0").itertuples(index=False, name=None)
    ) == [("0", "Linear", 3, 4, 9)]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]),
        torchvision.models.squeezenet1_1().features,
        nn.Sequential(nn.ReLU()),
        nn.Sequential(),
        nn.ReLU(),
        nn.Linear(3, 4),
    ],
    ids=lambda m: type(m).__name__,
)
def test_no_head_is_an_error(model):
    with pytest.raises(
        ValueError,
        match="has no known head: none of fc, classifier, head, heads ends in .*"
        "Print the model, and give the name",
    ):
        replace_head(model, 3)


@pytest.mark.parametrize(
    "name, text",
    [
        ("x.y", "SmallNet has no layer 'x.y': print the model"),
        ("body.conv1", "'body.conv1' is a Conv2d: a head is an nn.Linear or a 1x1"),
        ("head", "'head' is a Sequential: a head is"),
        ("", "'' is a SmallNet: a head is"),
    ],
)
def test_a_wrong_name_is_an_error(name, text):
    with pytest.raises(ValueError, match=text):
        replace_head(SmallNet(3), 3, name=name)


@pytest.mark.parametrize("n_out", [0, -1, 2.5, True, "3", None])
def test_a_number_of_classes_that_cannot_be(n_out):
    model = SmallNet(3)
    with pytest.raises(
        ValueError, match=f"n_out is {n_out!r}: give the number of classes"
    ):
        replace_head(model, n_out)
    assert model.head.fc2.out_features == 3


def test_timm():
    timm = pytest.importorskip("timm")
    for name in (
        "resnet10t",
        "vit_tiny_patch16_224",
        "convnext_atto",
        "mobilenetv3_small_050",
        "swin_tiny_patch4_window7_224",
    ):
        model = timm.create_model(name, pretrained=False)
        assert replace_head(model, 7).after[0] == 7 and model.eval()(
            torch.zeros(1, 3, 224, 224)
        ).shape == (1, 7)
        feature_layers(model, None, 224)


# --- freezing


def test_a_frozen_body_stays_as_it_is():
    model = freeze_body(small_net())
    before, x = copy.deepcopy(model.state_dict()), torch.randn(4, 3, 16, 16)
    with evaluating(model):
        body = model[:4](x)
    one_step(model)
    assert set(state_diff(before, model, values=True).table.name) == {
        "4.weight",
        "4.bias",
    }
    assert torch.equal(model.train()[:4](x), body), (
        "in training mode too, a frozen batch norm works as in evaluation mode"
    )


def test_parts_can_go_on_learning_and_each_call_starts_anew():
    model = small_net()
    freeze_body(model, train="1")
    assert trains(model) == {
        "1.0.weight",
        "1.1.weight",
        "1.1.bias",
        "4.weight",
        "4.bias",
    }
    before = copy.deepcopy(model.state_dict())
    one_step(model)
    moved = set(state_diff(before, model, values=True).table.name)
    assert {"1.1.running_mean", "1.0.weight", "4.bias"} <= moved and not any(
        name.startswith("0.") for name in moved
    )
    freeze_body(model)
    assert trains(model) == {"4.weight", "4.bias"}
    before = copy.deepcopy(model.state_dict())
    one_step(model)
    assert set(state_diff(before, model, values=True).table.name) == {
        "4.weight",
        "4.bias",
    }


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda m: torch.load(save(m), weights_only=False)],
    ids=["deepcopy", "save"],
)
def test_a_copy_can_be_unfrozen_and_the_original_stays_frozen(copied):
    model = freeze_body(small_net())
    other = unfreeze_body(copied(model))
    before = copy.deepcopy(model.state_dict())
    one_step(other)
    assert "0.1.running_mean" in set(state_diff(before, other, values=True).table.name)
    one_step(model)
    assert set(state_diff(before, model, values=True).table.name) == {
        "4.weight",
        "4.bias",
    }
    assert set(state_diff(before, model).table.name) == set() and trains(other) == {
        n for n, _ in other.named_parameters()
    }


def save(model):
    f = io.BytesIO()
    torch.save(model, f)
    f.seek(0)
    return f


def test_unfreezing_puts_batch_norms_into_the_mode_of_the_model():
    model = freeze_body(small_net()).train()
    model(torch.randn(2, 3, 16, 16))
    unfreeze_body(model)
    assert all(m.training for m in model.modules())


def test_freezing_what_is_not_there():
    with pytest.raises(
        ValueError,
        match="SmallNet has no part 'layer4': it has body, head, and parts of these",
    ):
        freeze_body(SmallNet(3), train=["layer4"])
    with pytest.raises(ValueError, match="has no known head"):
        freeze_body(nn.Sequential(nn.ReLU()))


# --- groups


@st.composite
def networks(draw):
    "A chain of layers and chains of layers, some of them frozen, and a head."

    def layer():
        return (
            nn.Linear(3, 3)
            if draw(st.booleans())
            else nn.Sequential(
                *(nn.Linear(3, 3) for _ in range(draw(st.integers(1, 3))))
            )
        )

    model = nn.Sequential(
        *(m for _ in range(draw(st.integers(1, 6))) for m in (layer(), nn.ReLU())),
        nn.Linear(3, 2),
    )
    for p in list(model.parameters())[:-1]:
        p.requires_grad = draw(st.booleans())
    return model


@given(networks(), st.data())
def test_groups_hold_all_that_learns_once_and_in_order(model, data):
    n = data.draw(st.integers(1, len(body_parts(model)) + 1))
    lrs = sorted(
        data.draw(st.lists(st.floats(1e-6, 1), min_size=n, max_size=n, unique=True))
    )
    groups = param_groups(model, lrs)
    assert [id(p) for g in groups for p in g["params"]] == [
        id(p) for p in model.parameters() if p.requires_grad
    ]
    assert all(g["params"] for g in groups) and [g["lr"] for g in groups] == sorted(
        g["lr"] for g in groups
    )
    assert groups[-1]["lr"] == lrs[-1] and groups[-1]["name"] == find_head(model)
    torch.optim.SGD(groups)


def test_a_parameter_outside_of_all_parts_goes_to_the_first_group():
    groups = param_groups(untrained("vit_b_32"), [1, 2, 3])
    model = untrained("vit_b_32")
    groups = param_groups(model, [1, 2, 3])
    assert any(p is model.class_token for p in groups[0]["params"])
    assert any(p is model.encoder.pos_embedding for p in groups[0]["params"])


def test_second_heads_learn_as_the_head_does():
    model = untrained("googlenet")
    assert any(
        p is model.aux1.conv.conv.weight
        for p in param_groups(model, [1, 2, 3])[-1]["params"]
    )


@pytest.mark.parametrize(
    "lrs, text",
    [
        ([], r"lrs are \[\]: give positive numbers"),
        ([0], "give positive"),
        ([-1, 1], "give positive"),
        (["a"], "give positive"),
        ([float("nan")], "give positive"),
        ([1] * 9, "there are 9 rates, but the body has 4 parts: give 5 rates at most"),
    ],
)
def test_rates_that_cannot_be(lrs, text):
    with pytest.raises(ValueError, match=text):
        param_groups(small_net(), lrs)


def test_nothing_learns():
    with pytest.raises(ValueError, match="no parameter learns: unfreeze the head"):
        param_groups(small_net().requires_grad_(False), [1])


# --- features


def test_pooling():
    x = torch.randn(2, 5, 7, 7)
    both = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
    assert torch.allclose(pool_features(x), both, atol=1e-6)
    assert torch.allclose(pool_features(x.permute(0, 2, 3, 1)), both, atol=1e-6), (
        "channels at the end"
    )
    tokens = x.flatten(2).transpose(1, 2)
    assert torch.allclose(pool_features(tokens), both, atol=1e-6)
    vectors = x[:, :, 0, 0]
    assert torch.equal(pool_features(vectors), vectors)
    assert torch.equal(pool_features(x[:, :, :1, :1]), vectors)
    assert pool_features(x.bfloat16()).dtype == torch.float32


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return image_files(
        sample(
            tmp_path_factory.mktemp("drawn") / "set",
            n=20,
            size=40,
            breeds=["patched_floppy", "spotted_long"],
        )
    )


def compute(model, files, cache, **kwargs):
    return features(
        model, files, cache, **dict(size=32, stats=STATS, bf16=False, bs=4) | kwargs
    )


def by_hand(model, files, mirror=True):
    "What `features` should give for the last map of `small_net`."
    x = normalize(read_images(files, 32), STATS)
    with evaluating(model):
        maps = [model[:2](v) for v in ((x, x.flip(3)) if mirror else (x,))]
        return (
            torch.stack([torch.cat([m.mean((2, 3)), m.amax((2, 3))], 1) for m in maps])
            .mean(0)
            .numpy()
        )


@pytest.mark.parametrize("mirror", [True, False])
def test_features_are_those_of_the_body(files, tmp_path, mirror):
    model = small_net().train()
    model[1][1].eval()
    modes = [m.training for m in model.modules()]
    x = compute(model, files, tmp_path / "cache", mirror=mirror)
    assert (
        isinstance(x, np.memmap)
        and x.dtype == np.float32
        and np.allclose(x, by_hand(model, files, mirror), atol=1e-5)
    )
    assert modes == [m.training for m in model.modules()] and not any(
        m._forward_hooks or m._forward_pre_hooks for m in model.modules()
    )


def test_rows_are_found_again_in_any_order(files, tmp_path, monkeypatch):
    model, right = small_net(), by_hand(small_net(), files)
    assert np.allclose(compute(model, files[:7], tmp_path / "c"), right[:7], atol=1e-5)
    assert np.allclose(compute(model, files, tmp_path / "c"), right, atol=1e-5)
    monkeypatch.setattr(cached, "layer_features", None)  # nothing is computed any more
    order = [5, 3, 3, 19, 0]
    assert np.allclose(
        compute(model, [files[i] for i in order], tmp_path / "c"),
        right[order],
        atol=1e-5,
    )
    assert isinstance(compute(model, files[3:9], tmp_path / "c"), np.memmap)
    monkeypatch.chdir(files[0].parent)
    assert np.allclose(
        compute(model, [f.name for f in files], tmp_path / "c"), right, atol=1e-5
    )
    replace_head(model, 2)
    assert np.allclose(compute(model, files, tmp_path / "c"), right, atol=1e-5), (
        "a new head is no other body"
    )


def test_a_changed_file_is_made_anew(files, tmp_path):
    model, mine = small_net(), tmp_path / "a.png"
    mine.write_bytes(files[0].read_bytes())
    first = np.array(compute(model, [mine], tmp_path / "c"))
    stat = mine.stat()
    pixels = np.array(Image.open(mine))
    Image.fromarray(255 - pixels).save(mine, "PNG")
    assert not np.allclose(compute(model, [mine], tmp_path / "c"), first)
    mine.write_bytes(files[0].read_bytes())
    os.utime(mine, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert np.array_equal(compute(model, [mine], tmp_path / "c"), first)


def test_several_layers_from_one_run(files, tmp_path):
    model = small_net()
    both = compute(model, files, tmp_path / "c", layers=["0", "input of 4", "1"])
    assert {name: f.shape[1] for name, f in both.items()} == {
        "0": 8,
        "input of 4": 8,
        "1": 16,
    }
    assert np.allclose(both["1"], by_hand(model, files), atol=1e-5) and np.allclose(
        both["input of 4"], both["1"][:, :8], atol=1e-5
    )
    assert np.allclose(
        compute(model, files, tmp_path / "one", layers="1"), both["1"], atol=1e-5
    )


def test_a_layer_behind_the_head_depends_on_it(files, tmp_path):
    model = small_net()
    compute(model, files[:2], tmp_path / "c", layers=["4"])
    replace_head(model, 6)
    with pytest.raises(ValueError, match="weights="):
        compute(model, files[:2], tmp_path / "c", layers=["4"])


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(size=24), "size=32, not 24"),
        (dict(mirror=False), "mirror=True, not False"),
        (dict(bf16=True), "bf16=False, not True"),
        (dict(stats=((0, 0, 0), (1, 1, 1))), "stats="),
        (dict(layers=["0"]), "layers="),
    ],
)
def test_features_of_another_kind_are_refused(files, tmp_path, change, word):
    model = small_net()
    kept = np.array(compute(model, files[:5], tmp_path / "c"))
    with pytest.raises(
        ValueError,
        match="holds features of another kind: they were made with .*"
        "Give another folder, or rebuild=True",
    ) as e:
        compute(model, files[:5], tmp_path / "c", **change)
    assert word in str(e.value) and str(tmp_path / "c") in str(e.value)
    assert np.array_equal(compute(model, files[:5], tmp_path / "c"), kept), (
        "nothing is lost"
    )


@pytest.mark.parametrize("where", ["weight", "statistics", "layer"])
def test_other_weights_are_refused_and_rebuilt_on_request(files, tmp_path, where):
    model = small_net()
    compute(model, files, tmp_path / "c")
    with torch.no_grad():
        if where == "weight":
            model[0][0].weight[0, 0, 0, 0] += 1e-6
        if where == "statistics":
            model[1][1].running_var[3] += 0.1
        if where == "layer":
            model[0][0].stride = (1, 1)
    with pytest.raises(ValueError, match="they were made with weights='.*', not '"):
        compute(model, files, tmp_path / "c")
    assert np.allclose(
        compute(model, files[:9], tmp_path / "c", rebuild=True),
        by_hand(model, files[:9]),
        atol=1e-5,
    )
    assert len((tmp_path / "c" / "rows.jsonl").read_text().splitlines()) == 9


def test_a_cache_goes_on_in_its_own_precision(files, tmp_path):
    model = small_net()
    compute(model, files[:4], tmp_path / "c", bf16=True)
    compute(model, files, tmp_path / "c", bf16=None)
    assert json.loads((tmp_path / "c" / "cache.json").read_text())["bf16"] is True


def test_an_unreadable_picture_is_named_and_costs_one_chunk(files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="bad.jpg cannot be read"):
        compute(small_net(), [*files[:9], bad, *files[9:]], tmp_path / "c", chunk=4)
    assert len((tmp_path / "c" / "rows.jsonl").read_text().splitlines()) == 8
    assert np.allclose(
        compute(small_net(), files, tmp_path / "c"),
        by_hand(small_net(), files),
        atol=1e-5,
    )


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.spare, self.lstm, self.fc = (
            nn.Conv2d(3, 4, 3),
            nn.Linear(1, 1),
            nn.LSTM(4, 5, batch_first=True),
            nn.Linear(5, 2),
        )

    def forward(self, x):
        return self.fc(self.lstm(self.body(x).mean((2, 3))[:, None])[0][:, 0])


@pytest.mark.parametrize(
    "kwargs, error, text",
    [
        (dict(files=[]), ValueError, "there are no files: is the folder empty"),
        (dict(files="a.jpg"), TypeError, "files is one path: give a list"),
        (dict(files=["gone.jpg"]), FileNotFoundError, "gone.jpg"),
        (dict(size=0), ValueError, "size is 0"),
        (
            dict(layers="no"),
            ValueError,
            "Unused has no layer 'no': `body_parts` lists some",
        ),
        (dict(layers=[]), ValueError, "layers is an empty list"),
        (
            dict(layers=["spare"]),
            ValueError,
            r"the model does not call \['spare'\]: choose other layers",
        ),
        (dict(layers=["lstm"]), ValueError, "'lstm' gives no map, tokens or vectors"),
        (
            dict(device="nonsense"),
            ValueError,
            "device is 'nonsense', and PyTorch finds no such device on this machine",
        ),
    ],
)
def test_what_cannot_be_asked_for(files, tmp_path, kwargs, error, text):
    model = Unused()
    with pytest.raises(error, match=text):
        compute(model, kwargs.pop("files", files), tmp_path / "c", **kwargs)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu(files, tmp_path):
    with pytest.raises(
        ValueError, match="device is 'cuda', and PyTorch finds no such device"
    ):
        compute(small_net(), files, tmp_path / "c", device="cuda")


def test_a_file_where_the_cache_should_be(files, tmp_path):
    (tmp_path / "c").write_text("mine")
    with pytest.raises(
        NotADirectoryError, match="c is a file: give a folder for the cache"
    ):
        compute(small_net(), files, tmp_path / "c")
    assert (tmp_path / "c").read_text() == "mine"


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    "A whole cache, as bytes, and its rows."
    folder = tmp_path_factory.mktemp("whole") / "c"
    rows = np.array(compute(small_net(), files, folder))
    return {f.name: f.read_bytes() for f in folder.iterdir()}, rows


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_torn_files_give_no_wrong_row(data, whole, files, tmp_path_factory):
    parts, rows = whole
    folder = tmp_path_factory.mktemp("torn")
    for name in "rows.bin", "rows.jsonl", "cache.json":
        content = parts[name][
            : data.draw(
                st.integers(0, len(parts[name])) | st.just(len(parts[name])), label=name
            )
        ]
        if name == "rows.jsonl":
            content += data.draw(
                st.sampled_from([b"", b"\0" * 40, b"[1, 2", b"{}\n", b"[1]\n"])
            )
        if name != "cache.json" or data.draw(st.booleans()):
            (folder / name).write_bytes(content)
        elif data.draw(st.booleans()):
            (folder / name).write_bytes(parts[name])
    assert np.allclose(compute(small_net(), files, folder), rows, atol=1e-6)
    assert np.allclose(compute(small_net(), files[::-1], folder), rows[::-1], atol=1e-6)


KILLED = """
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import torch
    torch.set_num_threads(1)
    from test_transfer import compute, small_net
    from tutorial_lib.data import image_files
    files, sync = image_files({folder!r}), os.fsync
    for n in range(1, 40):
        pid = os.fork()
        if not pid:
            calls = []
            def fatal(fd):
                calls.append(fd)
                if len(calls) == (2 if n > 1 else 1) + n % 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                sync(fd)
            os.fsync = fatal
            try: compute(small_net(), files, {cache!r}, chunk=4)
            except BaseException: os._exit(3)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        index = {cache!r} + "/rows.jsonl"
        rows = len(open(index).readlines()) if os.path.exists(index) else 0
        how = "killed" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        print(how, rows, flush=True)  # a child would print it again
        if not os.WIFSIGNALED(status): break
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_loses_at_most_a_chunk(files, tmp_path):
    program = textwrap.dedent(KILLED).format(
        tests=str(ROOT / "tests"),
        folder=str(files[0].parent),
        cache=str(tmp_path / "c"),
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    *killed, last = done.stdout.splitlines()
    assert (
        len(killed) >= 4
        and all(line.startswith("killed") for line in killed)
        and last == f"0 {len(files)}"
    ), done.stdout
    kept = [int(line.split()[1]) for line in (*killed, last)]
    assert kept == sorted(kept) and kept[-2] > 0, "what was there stays there"
    assert np.allclose(
        compute(small_net(), files, tmp_path / "c"),
        by_hand(small_net(), files),
        atol=1e-5,
    )


# --- probes


def blobs(n=120, d=6, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    y[:classes] = range(classes)
    return (rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(classes, d))[y]).astype(
        np.float32
    ), y


def test_a_probe_is_logistic_regression():
    x, y = blobs()
    probe = linear_probe(x, y, l2s=[0.05])
    z = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=1 / (0.05 * len(x)), tol=1e-8, max_iter=5000).fit(
        z, y
    )
    wanted = torch.tensor(reference.predict_log_proba(z), dtype=torch.float32)
    assert torch.allclose(
        torch.tensor(probe.logits(x)).log_softmax(1), wanted, atol=2e-2
    )


@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-5, 5))
@settings(max_examples=10)
def test_units_of_features_do_not_matter(seed, scale, shift):
    x, y = blobs(seed=seed)
    scales = np.linspace(1, scale, x.shape[1], dtype=np.float32)
    a, b = linear_probe(x, y, l2s=[0.1]), linear_probe(x * scales + shift, y, l2s=[0.1])
    assert (a.predict(x) == b.predict(x * scales + shift)).mean() > 0.97


def test_the_choice_of_l2():
    x, y = blobs(n=60, d=40)
    probe = linear_probe(x, y)
    best = probe.tried.loss.min()
    assert probe.l2 == probe.tried.l2[probe.tried.loss == best].max(), (
        "of equals the strongest"
    )
    assert (
        list(probe.tried.l2) == sorted(probe.tried.l2, reverse=True)
        and len(probe.tried) == 7
    )
    again = linear_probe(x, y)
    assert (
        np.array_equal(probe.logits(x), again.logits(x))
        and repr(probe) == f"Probe(40 features, 4 classes, l2={probe.l2:g})"
    )


def test_names_constants_and_a_class_of_one():
    x, y = blobs(classes=3)
    x = np.concatenate([x, np.full((len(x), 2), 7, np.float32)], 1)
    names = np.array(["owl", "cat", "dog", "emu"])[y]
    names[5] = "emu"
    before = x.copy()
    probe = linear_probe(x, names)
    assert (
        list(probe.classes) == ["cat", "dog", "emu", "owl"]
        and probe.accuracy(x, names) > 0.7
        and np.array_equal(x, before)
    )
    assert isinstance(probe.linear, nn.Linear) and set(probe.predict(x)) <= set(names)
    two = linear_probe(x[:2] + np.array([[0], [9]]), ["a", "b"])
    assert (
        two.accuracy(x[:2] + np.array([[0], [9]]), ["a", "b"]) == 1
        and np.isnan(two.tried.accuracy).all()
    )


def test_a_class_of_one_is_never_held_out_and_each_class_is():
    y = np.array([0] * 10 + [1] * 3 + [2])
    train, held_out = hold_out_rows(y, 0.2, 0)
    assert sorted([*train, *held_out]) == list(range(14)) and set(y[train]) == {0, 1, 2}
    assert np.bincount(y[held_out], minlength=3).tolist() == [2, 1, 0]


def test_a_probe_as_weight_and_bias():
    x, y = blobs()
    fit = fit_probe(x, y, 4, [0.1], balance=True)
    probe = linear_probe(x, y, [0.1], balance=True)
    assert np.array_equal(fit.weight, probe.linear.weight.detach())
    assert np.array_equal(fit.bias, probe.linear.bias.detach())


def test_many_classes_are_known_by_their_means():
    k = MOST_CLASSES + 1
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(k, 16)).astype(np.float32)
    y = np.repeat(np.arange(k), 3)
    x = centers[y] + 0.1 * rng.normal(size=(3 * k, 16)).astype(np.float32)
    fit = fit_probe(x, y, k)
    again = class_means_probe(x, y, k)
    assert np.array_equal(fit.weight, again[0]) and np.array_equal(fit.bias, again[1])
    assert (fit.logits(x).argmax(axis=1) == y).mean() > 0.95


def test_a_class_mean_by_hand():
    "With equal variances the nearest mean wins, however many rows each has."
    x = np.array([[0, 1], [0, -1], [0, 1], [4, 1], [4, -1]], np.float32)
    weight, bias = class_means_probe(x, np.array([0, 0, 0, 1, 1]), 3)
    asked = np.array([[0.5, 0], [3.5, 0]])
    assert (asked @ weight.T + bias)[:, :2].argmax(axis=1).tolist() == [0, 1]
    assert weight.shape == (3, 2) and np.isfinite(weight).all()


@pytest.mark.parametrize(
    "x, y, kwargs, text",
    [
        (
            np.zeros((3, 2)),
            ["a"] * 3,
            {},
            r"all 3 rows are of one class \(a\): a classifier needs two",
        ),
        (
            np.zeros((3, 2)),
            [1, 2],
            {},
            r"features have shape \(3, 2\), and there are 2 classes",
        ),
        (np.zeros(3), [1, 2, 3], {}, r"features have shape \(3,\)"),
        (np.zeros((0, 2)), [], {}, "all 0 rows are of one class"),
        (
            np.array([[1, 2], [3, np.nan]]),
            [1, 2],
            {},
            "row 1 of the features holds NaN or infinity",
        ),
        (np.eye(4), [1, 2, 1, 2], dict(l2s=[]), "l2s are"),
        (np.eye(4), [1, 2, 1, 2], dict(l2s=[0]), "l2s are"),
        (np.eye(4), [1, 2, 1, 2], dict(valid=1), "valid is 1"),
    ],
)
def test_what_no_probe_can_learn_from(x, y, kwargs, text):
    with pytest.raises(ValueError, match=text):
        linear_probe(x, y, **kwargs)


def test_probes_by_depth(files, tmp_path):
    y = [f.name.rpartition("_")[0] for f in files]
    table = probe_depths(
        small_net(),
        files,
        y,
        np.arange(0, 20, 2),
        np.arange(1, 20, 2),
        tmp_path / "c",
        size=32,
        stats=STATS,
    )
    assert list(table.layer) == body_parts(small_net()) == [
        "0.0",
        "0.1",
        "1.0",
        "1.1",
    ] and list(table.features) == [8, 8, 16, 16]
    assert table.accuracy.between(0, 1).all()


# --- what moved


@given(st.floats(-3, 3), st.integers(0, 5))
def test_weight_change_is_relative(factor, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    after = {
        k: v * (1 + factor) if k.startswith("0") else v.clone()
        for k, v in model.state_dict().items()
    }
    after["1.running_mean"] += 5
    table = weight_change(model, after)
    assert list(table.layer) == ["0", "1", "2"] and list(table.n) == [16, 8, 10]
    assert math.isclose(
        table.change[0], abs(factor), rel_tol=1e-4, abs_tol=1e-6
    ) and list(table.change[1:]) == [0, 0]


def test_weight_change_of_what_cannot_be_compared():
    old = {
        "a.weight": torch.ones(2),
        "b.weight": torch.zeros(2),
        "c.weight": torch.ones(2),
        "e.weight": torch.zeros(1),
    }
    new = {
        "a.weight": torch.ones(3),
        "b.weight": torch.ones(2),
        "d.weight": torch.ones(2),
        "e.weight": torch.zeros(1),
    }
    table = weight_change(old, new).set_index("layer").change
    assert (
        table[["a", "c", "d"]].isna().all() and table.b == float("inf") and table.e == 0
    )
    with pytest.raises(TypeError, match="expected a model or a state dict, got list"):
        weight_change([], {})
    ax = plot_weight_change({"x": weight_change(old, new)})
    assert [t.get_text() for t in ax.get_xticklabels()] == list(
        table.index
    ) and ax.get_yscale() == "log"
    plot_weight_change(weight_change(old, old)).figure.canvas.draw()
    plt.close("all")
