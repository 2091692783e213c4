"""DenseNet against the reference, its ledger, architectures from files, weights from outside and inside, and what the benchmarks measured."""

import csv
import hashlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from torch import nn
from torch.nn import functional as F
from torchvision.models import get_model_weights

from tutorial_lib import densenet
from tutorial_lib.classifier import PeakMemory
from tutorial_lib.densenet import (
    ARCHITECTURES,
    CIFAR10_STATS,
    LEGACY_KEYS,
    DenseNet,
    PlainNet,
    check_architecture,
    densenet121,
    densenet_tiny,
    feature_reuse,
    ledger,
    plot_ledger,
    plot_reuse,
    read_architecture,
)
from tutorial_lib.modules import (
    n_params,
    read_weights,
    record_shapes,
    rename_keys,
    state_diff,
)
from tutorial_lib.sample import draw

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}
published = pytest.mark.parametrize("name", PUBLISHED)

plt.switch_backend("agg")
few = settings(max_examples=25)


def ours(name, **kwargs):
    return getattr(densenet, name)(**kwargs)


def theirs(name, **kwargs):
    return getattr(torchvision.models, name)(**kwargs)


def randomize(model):
    "Random statistics, scales and shifts for each batch norm, and a random bias at the end: else half of the names could be mixed up unseen."
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t, low, high in (
                (m.running_mean, -0.3, 0.3),
                (m.running_var, 0.5, 2),
                (m.weight, 0.5, 1.5),
                (m.bias, -0.3, 0.3),
            ):
                nn.init.uniform_(t, low, high)
    nn.init.uniform_(model.classifier.bias, -0.3, 0.3)
    return model


def step(model, x, y=None):
    "Logits, and the gradient of the loss by the input and by each parameter."
    model.zero_grad()
    x = x.clone().requires_grad_()
    logits = model(x)
    F.cross_entropy(logits, torch.arange(len(x)) if y is None else y).backward()
    return logits.detach(), {"input": x.grad} | {
        k: p.grad for k, p in model.named_parameters()
    }


def assert_same_step(a, b, x):
    (logits_a, grads_a), (logits_b, grads_b) = step(a, x), step(b, x)
    assert (logits_a - logits_b).abs().max() <= 1e-5
    assert grads_a.keys() == grads_b.keys()
    for k, g in grads_a.items():
        assert (g - grads_b[k]).abs().max() <= 1e-4, k
    return logits_a, grads_a


def assert_same_state(a, b):
    assert not state_diff(a, b, values=True), state_diff(a, b, values=True)


# Parity with torchvision


@published
def test_names_and_first_weights_are_torchvisions(name):
    torch.manual_seed(3)
    a = ours(name)
    torch.manual_seed(3)
    b = theirs(name)
    assert list(a.state_dict()) == list(b.state_dict()) and [
        n for n, _ in a.named_parameters()
    ] == [n for n, _ in b.named_parameters()]
    assert_same_state(b, a)
    assert n_params(a) == n_params(b) == PUBLISHED[name]


@published
def test_outputs_and_gradients_are_torchvisions(name):
    torch.manual_seed(0)
    a, b = ours(name), randomize(theirs(name))
    a.load_state_dict(b.state_dict(), strict=True)
    theirs(name).load_state_dict(a.state_dict(), strict=True)
    for size in 64, 71:
        x = torch.randn(2, 3, size, size)
        logits, grads = assert_same_step(a.eval(), b.eval(), x)
        assert (
            logits.abs().max() > 0.1
            and np.median([g.abs().max() for g in grads.values()]) > 1e-2
        ), "too small to tell networks apart"
        assert_same_step(a.train(), b.train(), x)
    assert_same_state(b, a)  # training moved both networks' statistics alike


architectures = st.fixed_dictionaries(
    dict(
        growth_rate=st.integers(1, 6),
        block_config=st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple),
        num_init_features=st.integers(1, 8),
        bn_size=st.integers(1, 4),
        drop_rate=st.sampled_from([0, 0.3]),
        num_classes=st.integers(3, 5),
    )
)


@few
@given(architectures, st.booleans(), st.integers(0, 99))
def test_any_architecture_is_torchvisions(config, checkpointed, seed):
    torch.manual_seed(seed)
    a = DenseNet(**config, memory_efficient=checkpointed)
    torch.manual_seed(seed)
    b = torchvision.models.DenseNet(**config)
    assert_same_state(b, a)
    x, y, after = torch.randn(3, 3, 70, 70), torch.arange(3), []
    for model in a, b:
        torch.manual_seed(seed)  # the same dropout
        after.append(step(model, x, y)[0])
    torch.testing.assert_close(*after, rtol=0, atol=1e-5)
    assert_same_state(b, a)


def legacy(state):
    "A state dict as torchvision's files hold it: older names, and no counts of batches."
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v
        for k, v in state.items()
    }


@published
def test_legacy_names_load(name):
    with torch.device("meta"):
        model = ours(name)
    old, new = (
        legacy(model.state_dict()),
        {k for k in model.state_dict() if not k.endswith("num_batches_tracked")},
    )
    assert (
        "features.denseblock2.denselayer10.norm.1.weight" in old
        and not {k for k in new if "denselayer" in k} & old.keys()
    )
    renamed = rename_keys(old, LEGACY_KEYS)
    assert renamed.keys() == new and rename_keys(renamed, LEGACY_KEYS).keys() == new
    model.load_state_dict(renamed, strict=True, assign=True)
    with pytest.raises(RuntimeError, match="norm.1.weight"):
        model.load_state_dict(old, strict=True)


# Memory


@pytest.mark.parametrize("trained, drop_rate", [(True, 0), (True, 0.3), (False, 0)])
def test_checkpointing_changes_nothing(trained, drop_rate):
    "Three steps, since torchvision's `memory_efficient` differs from its plain network here: it moves the statistics a second time in `backward`."
    torch.manual_seed(0)
    config = dict(
        growth_rate=4,
        block_config=(3, 4),
        num_init_features=6,
        num_classes=4,
        drop_rate=drop_rate,
    )
    a, b = (
        randomize(DenseNet(**config)).train(trained),
        DenseNet(**config, memory_efficient=True).train(trained),
    )
    b.load_state_dict(a.state_dict())
    norms = [m for m in b.modules() if isinstance(m, nn.BatchNorm2d)]
    modes = [(m.momentum, m.track_running_stats, m.training) for m in norms]
    opts = [torch.optim.SGD(m.parameters(), 0.1) for m in (a, b)]
    for i in range(3):
        x, found = torch.randn(4, 3, 40, 40), []
        for model, opt in zip((a, b), opts):
            torch.manual_seed(i)
            found.append(step(model, x))
            opt.step()
        (logits_a, grads_a), (logits_b, grads_b) = found
        torch.testing.assert_close(logits_b, logits_a, rtol=0, atol=1e-6)
        for k in grads_a:
            torch.testing.assert_close(grads_b[k], grads_a[k], rtol=0, atol=1e-6)
    for k, v in a.named_buffers():
        torch.testing.assert_close(dict(b.named_buffers())[k], v, rtol=0, atol=1e-6)
    assert {m.num_batches_tracked.item() for m in norms} == {3 if trained else 0}
    assert [
        (m.momentum, m.track_running_stats, m.training) for m in norms
    ] == modes and not state_diff(a, b)


def test_checkpointing_takes_frozen_networks_and_bfloat16():
    torch.manual_seed(0)
    model = densenet_tiny(memory_efficient=True).requires_grad_(False)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    model.classifier.requires_grad_(True)
    step(model, torch.randn(2, 3, 8, 8))
    assert model.classifier.weight.grad.abs().sum() > 0
    with torch.autocast("cpu", torch.bfloat16):
        logits, grads = step(model.requires_grad_(True), torch.randn(2, 3, 8, 8))
    assert logits.dtype == torch.bfloat16 and all(
        g.isfinite().all() for g in grads.values()
    )


def activation_memory(model, x):
    "Bytes that a training step holds at its peak, without the parameters and their gradients."
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with PeakMemory() as memory:
        F.cross_entropy(model(x), torch.arange(len(x))).backward()
    return memory.peak


def test_checkpointing_halves_the_memory():
    x = torch.randn(4, 3, 64, 64)
    plain, saved, reference = (
        activation_memory(m, x)
        for m in (
            densenet121(),
            densenet121(memory_efficient=True),
            theirs("densenet121"),
        )
    )
    assert saved <= 0.5 * plain and plain <= 1.01 * reference


# The ledger


def seen(model, size):
    "What `ledger` predicts, as `record_shapes` sees it in a run."
    shapes = record_shapes(
        model, torch.empty(1, 3, size, size, device="meta")
    ).set_index("name")

    def came(name):
        return shapes.input[f"features.{name}"]

    stem = shapes.output[
        "features.conv0" if model.config["small_images"] else "features.pool0"
    ]
    rows, n_block = (
        [("stem", 0, 3, stem[1], stem[2], 0)],
        len(model.config["block_config"]),
    )
    for i in range(1, n_block + 1):
        layers = [
            came(n.removeprefix("features."))
            for n in shapes.index
            if re.fullmatch(rf"features\.denseblock{i}\.denselayer\d+\.norm1", n)
        ]
        after = came("norm5" if i == n_block else f"transition{i}.norm")
        k = model.config["growth_rate"]
        sources = [1 + (shape[1] - layers[0][1]) // k for shape in layers]
        rows.append(
            (
                f"denseblock{i}",
                len(layers),
                layers[0][1],
                after[1],
                after[2],
                sum(sources),
            )
        )
        if i < n_block:
            out = shapes.output[f"features.transition{i}.pool"]
            rows.append((f"transition{i}", 0, after[1], out[1], out[2], 0))
    return rows


@published
@pytest.mark.parametrize("size", [224, 197])
def test_ledger_of_the_published(name, size):
    with torch.device("meta"):
        model = ours(name)
    found = ledger(**ARCHITECTURES[name], size=size)
    assert list(found.itertuples(index=False, name=None)) == seen(model, size)
    assert found.connections.tolist()[1::2] == [
        n * (n + 1) // 2 for n in ARCHITECTURES[name]["block_config"]
    ]


@few
@given(architectures, st.booleans(), st.integers(0, 40))
def test_ledger_of_any(config, small_images, more):
    halvings = len(config["block_config"]) - 1
    size = (1 if small_images else 4) * 2**halvings + more
    with torch.device("meta"):
        model = DenseNet(**config, small_images=small_images)
    assert list(
        ledger(**model.config, size=size).itertuples(index=False, name=None)
    ) == seen(model, size)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(growth_rate=0), "ledger: growth_rate is 0"),
        (
            dict(small_images="no"),
            "ledger: small_images is 'no': it must be true or false",
        ),
        (
            dict(num_clases=3),
            "ledger: there is no key 'num_clases': did you mean 'num_classes'?",
        ),
        (dict(size=0), "ledger: size is 0: it must be a whole number"),
        (dict(size=2.5), "ledger: size is 2.5: it must be a whole number"),
    ],
)
def test_ledger_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError) as e:
        ledger(**arguments)
    assert message in str(e.value)


@few
# Architectures from files

@given(
    st.fixed_dictionaries(
        {},
        optional=dict(
            growth_rate=st.integers(1, 8),
            block_config=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
            num_init_features=st.integers(1, 9),
            bn_size=st.integers(1, 5),
            drop_rate=st.floats(0, 1, exclude_max=True),
            num_classes=st.integers(1, 12),
            small_images=st.booleans(),
        ),
    )
)
def test_an_architecture_survives_a_file(config):
    with tempfile.TemporaryDirectory() as folder, torch.device("meta"):
        path = Path(folder, "net.json")
        path.write_text(json.dumps(config), encoding="utf-8")
        assert read_architecture(path) == config
        model = DenseNet(**read_architecture(path))
        assert model.config.items() >= config.items()
        path.write_text(json.dumps(model.config), encoding="utf-8")
        assert (
            read_architecture(str(path))
            == model.config
            == DenseNet(**read_architecture(path)).config
        )


def test_the_published_come_from_their_files(tmp_path):
    for name, config in ARCHITECTURES.items():
        (tmp_path / "net.json").write_text(
            json.dumps(config), encoding="utf-8-sig"
        )  # as some editors do, with a mark in front
        assert read_architecture(tmp_path / "net.json") == config, name


WHOLE, NAN = "it must be a whole number from 1", float("nan")
BAD_VALUES = [
    (key, value, WHOLE)
    for key in ("growth_rate", "num_init_features", "bn_size", "num_classes")
    for value in (
        0,
        -1,
        12.0,
        1.5,
        "12",
        None,
        True,
        False,
        [12],
        {},
        NAN,
        float("inf"),
        10**9,
        10**30,
    )
]
BAD_VALUES += [
    ("block_config", value, "it must be a list with one whole number from 1")
    for value in (
        [],
        [6, 0],
        [6, -1],
        [True],
        [6.0],
        ["6"],
        [[6]],
        [None],
        [NAN],
        [10**9],
        6,
        "6,12",
        None,
        {"1": 6},
        True,
    )
]
BAD_VALUES += [
    ("drop_rate", value, "it must be a number from 0 up to 1, without 1")
    for value in (1, -0.1, 1.5, "0", None, True, [0.1], NAN, float("inf"))
]
BAD_VALUES += [
    ("small_images", value, "it must be true or false")
    for value in (0, 1, "true", None, [True])
]


@pytest.mark.parametrize("key, value, must", BAD_VALUES, ids=str)
def test_a_bad_value_is_named(tmp_path, key, value, must):
    path = tmp_path / "net.json"
    path.write_text(json.dumps({key: value}))
    with pytest.raises(ValueError) as e:
        read_architecture(path)
    assert str(e.value).startswith(f"{path}: {key} is {value!r}: {must}")
    with pytest.raises(ValueError) as e:
        DenseNet(**{key: value})
    shown = tuple(value) if key == "block_config" and isinstance(value, list) else value
    assert str(e.value).startswith(f"DenseNet: {key} is {shown!r}: {must}")


KEYS = "growth_rate block_config num_init_features bn_size drop_rate num_classes small_images".split()


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_key_is_refused_with_the_nearest(key):
    for wrong in (
        key[:-1],
        key.replace("_", ""),
        key.upper().replace(key[1:].upper(), key[1:]),
        f"{key}s",
    ):
        with pytest.raises(ValueError) as e:
            check_architecture({wrong: 1}, "net.json")
        assert (
            str(e.value)
            == f"net.json: there is no key {wrong!r}: did you mean {key!r}? The keys are {', '.join(KEYS)}"
        )


@pytest.mark.parametrize("key", ["", "dilation", 3, None])
def test_an_unknown_key_far_from_all_is_refused(key):
    with pytest.raises(ValueError) as e:
        check_architecture({key: 1})
    assert (
        str(e.value)
        == f"DenseNet: there is no key {key!r}. The keys are {', '.join(KEYS)}"
    )


NOT_JSON = "this is not JSON that can be used: "


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", NOT_JSON + "Expecting value: line 1 column 1"),
        (
            b"{",
            NOT_JSON
            + "Expecting property name enclosed in double quotes: line 1 column 2",
        ),
        (
            b'{"growth_rate": 12,\n "bn_size" 4}',
            NOT_JSON + "Expecting ':' delimiter: line 2",
        ),
        (b"{'growth_rate': 12}", NOT_JSON + "Expecting property name"),
        (
            b'{"growth_rate": 12, "bn_size": 4, "growth_rate": 24}',
            NOT_JSON + "the key 'growth_rate' comes twice",
        ),
        (b'{"growth_rate": 12} {}', NOT_JSON + "Extra data"),
        (b"[" * 100_000, NOT_JSON),
        (b'{"growth_rate": ' + b"9" * 5000 + b"}", NOT_JSON),
        (bytes(range(256)), NOT_JSON),
        (b"\x89PNG\r\n\x1a\n", NOT_JSON + "'utf-8' codec can't decode byte 0x89"),
        (
            '{"growth_rate": 12}'.encode("utf-16"),
            NOT_JSON + "'utf-8' codec can't decode",
        ),
        (
            b"null",
            'an architecture is a dictionary, such as {"growth_rate": 12}, got NoneType',
        ),
        (
            b"[6, 12]",
            'an architecture is a dictionary, such as {"growth_rate": 12}, got list',
        ),
        (b'"growth_rate"', "got str"),
        (b"12", "got int"),
        (b'{"growth_rate": NaN}', "growth_rate is nan"),
        (b'{"drop_rate": 1e999}', "drop_rate is inf"),
        (b'{"dilation": 2}', "there is no key 'dilation'"),
        (b'{"memory_efficient": true}', "there is no key 'memory_efficient'"),
    ],
)
def test_a_bad_file_is_named(tmp_path, data, message):
    path = tmp_path / "net.json"
    path.write_bytes(data)
    with pytest.raises(ValueError) as e:
        read_architecture(path)
    assert (
        str(e.value).startswith(f"{path}: {message}")
        or message.startswith("got")
        and str(e.value).endswith(message)
    )


def test_a_missing_file_is_named(tmp_path):
    for path in tmp_path / "none.json", tmp_path:
        with pytest.raises(FileNotFoundError) as e:
            read_architecture(path)
        assert str(e.value) == f"{path}: there is no such file"


# Weights from outside


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    "The folder where torch keeps files, empty; any download fails as it does without a network."

    def download(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@published
def test_without_a_network_the_file_and_the_way_out_are_named(checkpoints, name):
    url = get_model_weights(name).DEFAULT.url
    with pytest.raises(ConnectionError) as e:
        ours(name, weights="DEFAULT")
    assert (
        str(e.value)
        == f"{name}: {url} could not be read (no route to host). Try again with a network, or copy that file into {checkpoints}"
    )


@pytest.mark.parametrize(
    "error", [TimeoutError("timed out"), ConnectionResetError("reset by peer")]
)
def test_a_download_that_stops_is_named(checkpoints, monkeypatch, error):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ConnectionError) as e:
        densenet121(weights="DEFAULT")
    assert re.search(
        rf"densenet121-\w+\.pth could not be read \({error}\)", str(e.value)
    )


def test_a_local_file_with_legacy_names_is_loaded(checkpoints):
    torch.manual_seed(1)
    source, enum = randomize(theirs("densenet121")), get_model_weights("densenet121")
    torch.save(
        legacy(source.state_dict()),
        checkpoints / Path(enum.DEFAULT.url).name,
        _use_new_zipfile_serialization=False,
    )
    for weights in (
        "DEFAULT",
        "IMAGENET1K_V1",
        enum.IMAGENET1K_V1,
        "DenseNet121_Weights.IMAGENET1K_V1",
    ):
        model = densenet121(weights=weights, drop_rate=0.1, memory_efficient=True)
        assert_same_state(source, model)
    assert model.config["drop_rate"] == 0.1


@pytest.mark.parametrize(
    "data", [b"", b"<html>not found</html>", b"PK\x03\x04", b"\x80\x02"]
)
def test_a_damaged_local_file_is_named(checkpoints, data):
    path = checkpoints / Path(get_model_weights("densenet121").DEFAULT.url).name
    path.write_bytes(data)
    with pytest.raises(ValueError) as e:
        densenet121(weights="DEFAULT")
    assert (
        f"densenet121: {path} is damaged: delete it, then it is downloaded again"
        in str(e.value)
    )


@pytest.mark.parametrize(
    "weights",
    ["IMAGENET", "default", True, 1, get_model_weights("densenet169").DEFAULT],
)
def test_unknown_weights_are_named(checkpoints, weights):
    with pytest.raises(ValueError) as e:
        densenet121(weights=weights)
    assert (
        str(e.value)
        == f"densenet121: there are no weights {weights!r}: there are IMAGENET1K_V1, DEFAULT"
    )


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_classes", 37),
        ("growth_rate", 12),
        ("block_config", (6, 12, 24)),
        ("num_init_features", 32),
        ("bn_size", 2),
        ("small_images", True),
    ],
)
def test_weights_for_another_architecture_are_refused(checkpoints, key, value):
    with pytest.raises(
        ValueError,
        match=rf"densenet121: its weights are for {key}=.*, not .*: load them first, then change the model",
    ):
        densenet121(weights="DEFAULT", **{key: value})
    assert densenet121(**{key: value}).config[key] == value


# Weights from inside. The file is made by `make pretrain`.

WEIGHTS, CARD = (
    ROOT / "tutorial_lib" / "densenet_tiny.safetensors",
    ROOT / "tutorial_lib" / "densenet_tiny.md",
)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something asked for the network")

    for name in "socket", "create_connection", "getaddrinfo":
        monkeypatch.setattr(socket, name, refuse)


def test_pretrained_loads_from_the_package(no_network):
    state = read_weights(WEIGHTS)[0]
    model = densenet_tiny(pretrained=True, memory_efficient=True)
    assert model.state_dict().keys() == state.keys()
    for k, v in model.state_dict().items():
        assert torch.equal(v, state[k].to(v.dtype)), k
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert densenet_tiny(pretrained=True, drop_rate=0.2).config["drop_rate"] == 0.2
    torch.manual_seed(0)
    a = densenet_tiny()
    torch.manual_seed(0)
    assert_same_state(DenseNet(**ARCHITECTURES["densenet_tiny"]), a)


@pytest.mark.parametrize(
    "key, value",
    [
        ("num_classes", 8),
        ("growth_rate", 12),
        ("small_images", False),
        ("bn_size", 2),
        ("block_config", (2, 4)),
    ],
)
def test_pretrained_refuses_another_architecture(key, value):
    with pytest.raises(
        ValueError,
        match=rf"densenet_tiny: its weights are for {key}=.*: load them first, then change the model",
    ):
        densenet_tiny(pretrained=True, **{key: value})


def test_pretrained_agrees_with_itself_in_bfloat16():
    breeds = ["striped_pointy", "spotted_round"]
    x = (
        torch.from_numpy(
            np.stack(
                [
                    np.asarray(draw(breed, size=32, seed=i))
                    for breed in breeds
                    for i in range(50)
                ]
            )
        ).movedim(3, 1)
        / 255
    )
    mean, std = (torch.tensor(s)[:, None, None] for s in CIFAR10_STATS)
    model, x = densenet_tiny(pretrained=True).eval(), (x - mean) / std
    with torch.no_grad():
        a = model(x).softmax(1)
        with torch.autocast("cpu", torch.bfloat16):
            b = model(x).float().softmax(1)
    assert (a - b).abs().mean() < 0.01 and (
        a.argmax(1) == b.argmax(1)
    ).float().mean() >= 0.9
    assert a.max(1).values.mean() > 0.3, (
        "a network that has learned nothing agrees with itself too"
    )


def test_pretrained_is_described_by_its_card():
    data, card = WEIGHTS.read_bytes(), CARD.read_text(encoding="utf-8")
    assert len(data) <= 1_500_000
    assert (
        hashlib.sha256(data).hexdigest() in card
        and f"{len(data):,} bytes" in card
        and f"{n_params(densenet_tiny()):,} parameters" in card
    )
    assert float(re.search(r"\*\*(0\.\d+)\*\*", card)[1]) >= 0.88
    classes = read_weights(WEIGHTS)[1]["classes"].split(",")
    rows = dict(re.findall(r"^\| (\w+) \| (0\.\d+) \|$", card, re.M))
    assert sorted(rows) == sorted(classes) and len(classes) == 10
    assert np.mean([float(v) for v in rows.values()]) == pytest.approx(
        float(re.search(r"\*\*(0\.\d+)\*\*", card)[1]), abs=1e-3
    )


def test_pretrained_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as z:
        for path in WEIGHTS, CARD:
            assert z.read(f"tutorial_lib/{path.name}") == path.read_bytes()


# What a network looks at


def slow_reuse(model, block, scaled):
    "Figure 5 of the paper, one number after the other."
    f, k = model.features, model.config["growth_rate"]
    layers = [
        f.get_submodule(f"denseblock{block}.denselayer{i + 1}")
        for i in range(model.config["block_config"][block - 1])
    ]
    last = block == len(model.config["block_config"])
    after = f.norm5 if last else f.get_submodule(f"transition{block}.norm")
    readers = [(l.norm1, l.conv1) for l in layers] + [
        (
            after,
            model.classifier if last else f.get_submodule(f"transition{block}.conv"),
        )
    ]
    first = layers[0].norm1.num_features
    grid = np.full((len(layers) + 1,) * 2, np.nan)
    for column, (norm, reader) in enumerate(readers):
        for row in range(column + 1):
            channels = (
                range(first)
                if row == 0
                else range(first + (row - 1) * k, first + row * k)
            )
            numbers = [
                abs(reader.weight[out, c].item())
                * (abs(norm.weight[c].item()) if scaled else 1)
                for out in range(reader.weight.shape[0])
                for c in channels
            ]
            grid[row, column] = sum(numbers) / len(numbers)
    return grid


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_feature_reuse_is_the_mean_weight(block, scaled):
    torch.manual_seed(0)
    model = randomize(DenseNet(3, (2, 4, 1), 5, bn_size=2, num_classes=4))
    with torch.no_grad():
        model.features.norm5.weight.neg_()  # only the size of a scale counts
    grid, slow = feature_reuse(model, block, scaled), slow_reuse(model, block, scaled)
    np.testing.assert_allclose(grid, slow, rtol=1e-5)
    n = model.config["block_config"][block - 1] + 1
    assert np.array_equal(np.isnan(grid), np.tril(np.ones((n, n), bool), -1))


@pytest.mark.parametrize("block", [0, 4, -1, "1", None])
def test_feature_reuse_names_a_block_that_is_not_there(block):
    with pytest.raises(ValueError) as e:
        feature_reuse(densenet_tiny(), block)
    assert str(e.value) == f"block is {block!r}: the model has blocks 1 to 3"


@pytest.fixture
def other_figure():
    "A figure with something in it, which has to stay as it is."
    plt.close("all")
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    before = ax.get_children()
    yield fig
    assert (
        plt.fignum_exists(fig.number)
        and fig.axes == [ax]
        and ax.get_children() == before
    )
    plt.close("all")


def test_plot_ledger_draws_on_its_own_figure(other_figure):
    rows = ledger(**ARCHITECTURES["densenet169"])
    ax = plot_ledger(rows)
    ax.figure.canvas.draw()
    assert (
        len(plt.get_fignums()) == 2
        and ax.figure is not other_figure
        and len(ax.lines) == 4
    )
    given = plt.figure().add_subplot()
    assert (
        plot_ledger(rows, given) is given
        and len(plt.get_fignums()) == 3
        and len(given.lines) == 4
    )
    assert [line.get_ydata().tolist() for line in given.lines] == [
        [64, 256],
        [128, 512],
        [256, 1280],
        [640, 1664],
    ]


@pytest.mark.parametrize("blocks", [(2, 4, 8), (1,)])
def test_plot_reuse_draws_on_its_own_figure(other_figure, blocks):
    model = DenseNet(4, blocks, 6, num_classes=3)
    plot_reuse(model, scaled=True)
    fig = plt.gcf()
    fig.canvas.draw()
    assert len(plt.get_fignums()) == 2 and fig is not other_figure
    images = [ax.images[0].get_array() for ax in fig.axes[: len(blocks)]]
    assert [im.shape for im in images] == [(n + 1, n + 1) for n in blocks]
    for im in images:
        np.testing.assert_allclose(np.nanmax(np.ma.filled(im, np.nan), 0), 1)


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 5))
def test_plain_residual_and_dense_have_one_depth(n, width, n_out):
    with torch.device("meta"):
        x = torch.empty(2, 3, 16, 16)
        nets = [
            PlainNet(n, width, n_out),
            PlainNet(n, width, n_out, residual=True),
            DenseNet(width, (n, n, n), 2 * width, num_classes=n_out, small_images=True),
        ]
    assert [record_shapes(net, x).kind.eq("Conv2d").sum() for net in nets] == [
        3 + 6 * n
    ] * 3
    assert n_params(nets[0]) == n_params(nets[1]) and all(
        net(x).shape == (2, n_out) for net in nets
    )


# What the benchmarks measured


def rows_of(name):
    with open(ROOT / "benchmarks" / name, newline="") as f:
        return list(csv.DictReader(f))


@pytest.mark.long
@pytest.mark.parametrize(
    "script, words",
    [
        ("densenet_cost.py", ("--rounds", "--threads", "train", "infer")),
        ("pretrain.py", ("--epochs", "--seed", "densenet_tiny")),
    ],
)
def test_benchmark_says_what_it_does(script, words):
    help = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "benchmarks" / script, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(word in help for word in words)


def test_benchmark_of_cost_holds_what_the_chapter_promises():
    rows = rows_of("densenet_cost.csv")
    train = {(r["batch"], r["size"], r["net"]): r for r in rows if r["task"] == "train"}
    infer = {(r["setting"], r["net"]): r for r in rows if r["task"] == "infer"}
    assert len(train) == 8 and len(infer) == 12 and len(rows) == 20
    assert (
        len({(r["torch"], r["device"], r["threads"], r["rounds"]) for r in rows}) == 1
    ), "one run"
    for (*_, net), r in train.items():
        if net == "ours":
            assert float(r["ratio"]) <= 1.05 and float(r["memory_ratio"]) <= 1.01
        if net == "ours checkpointed":
            assert float(r["ratio"]) <= 1.35 and float(r["memory_ratio"]) <= 0.5
        assert float(r["difference"]) <= 1e-5
    for (setting, net), r in infer.items():
        assert float(r["difference"]) <= (
            1e-5 if setting.startswith("float32") else 0.1
        ), (setting, net)


def test_benchmark_of_pretraining_holds_what_the_card_says():
    rows = rows_of("pretrain.csv")
    assert [int(r["epoch"]) for r in rows] == [*range(1, len(rows) + 1)]
    lr, loss, accuracy = (
        np.array([float(r[k]) for r in rows]) for k in ("lr", "train_loss", "accuracy")
    )
    assert 0 < lr.argmax() < len(rows) / 2 and lr[-1] < lr[0], (
        "one cycle: up, and then down for longer"
    )
    assert (
        loss[-1] == loss.min() < loss[0]
        and accuracy[-1] >= 0.88
        and accuracy[-1] >= accuracy.max() - 0.01
    )
    epochs = read_weights(WEIGHTS)[1]["epochs"]
    card = CARD.read_text(encoding="utf-8")
    assert int(epochs) == len(rows) and f"{epochs} epochs" in card
    assert f"| {sum(float(r['seconds']) for r in rows) / 60:.0f} minutes |" in card
