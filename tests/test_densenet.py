"""DenseNet against the reference, and all that stands around it.

Its ledger, architectures from files, weights from outside and from inside, and what the
benchmarks measured.
"""

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
from cases import long_but
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
    """Random statistics, scales and shifts for each batch norm, and a bias at the end.

    Else half of the names could be mixed up unseen."""
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.3, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.3, 0.3)
    nn.init.uniform_(model.classifier.bias, -0.3, 0.3)
    return model


def step(model, x, y=None):
    "Logits, and the gradient of the loss by the input and by each parameter."
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = torch.arange(len(x)) if y is None else y
    logits = model(x)
    F.cross_entropy(logits, y).backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    return logits.detach(), {"input": x.grad} | grads


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
    assert list(a.state_dict()) == list(b.state_dict())
    assert list(dict(a.named_parameters())) == list(dict(b.named_parameters()))
    assert_same_state(b, a)
    assert n_params(a) == n_params(b) == PUBLISHED[name]


@pytest.mark.parametrize("name", long_but(["densenet121"], PUBLISHED))
def test_outputs_and_gradients_are_torchvisions(name):
    torch.manual_seed(0)
    a, b = ours(name), randomize(theirs(name))
    a.load_state_dict(b.state_dict(), strict=True)
    theirs(name).load_state_dict(a.state_dict(), strict=True)
    for size in 64, 71:
        x = torch.randn(2, 3, size, size)
        logits, grads = assert_same_step(a.eval(), b.eval(), x)
        usual_grad = np.median([g.abs().max() for g in grads.values()])
        assert logits.abs().max() > 0.1 and usual_grad > 1e-2, "they tell nothing apart"
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


def without_counts(state):
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def legacy(state):
    "A state dict as torchvision's files hold it: older names, no counts of batches."
    rule = {r"(denselayer\d+\.(?:norm|conv))([12])": r"\1.\2"}
    return rename_keys(without_counts(state), rule)


@published
def test_legacy_names_load(name):
    with torch.device("meta"):
        model = ours(name)
    old = legacy(model.state_dict())
    new = without_counts(model.state_dict()).keys()
    assert "features.denseblock2.denselayer10.norm.1.weight" in old
    assert not {k for k in new if "denselayer" in k} & old.keys()
    renamed = rename_keys(old, LEGACY_KEYS)
    assert renamed.keys() == new and rename_keys(renamed, LEGACY_KEYS).keys() == new
    model.load_state_dict(renamed, strict=True, assign=True)
    with pytest.raises(RuntimeError, match="norm.1.weight"):
        model.load_state_dict(old, strict=True)


# Memory


@pytest.mark.parametrize("trained, drop_rate", [(True, 0), (True, 0.3), (False, 0)])
def test_checkpointing_changes_nothing(trained, drop_rate):
    """Three steps, since torchvision's `memory_efficient` network fails here.

    It moves the statistics a second time in `backward`."""
    torch.manual_seed(0)
    config = dict(drop_rate=drop_rate, num_classes=4)
    a = randomize(DenseNet(4, (3, 4), 6, **config)).train(trained)
    b = DenseNet(4, (3, 4), 6, **config, memory_efficient=True).train(trained)
    b.load_state_dict(a.state_dict())

    def modes():
        return [(m.momentum, m.track_running_stats, m.training) for m in norms]

    norms = [m for m in b.modules() if isinstance(m, nn.BatchNorm2d)]
    before = modes()
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
    assert modes() == before and not state_diff(a, b)


def test_checkpointing_takes_frozen_networks_and_bfloat16():
    torch.manual_seed(0)
    model = densenet_tiny(memory_efficient=True).requires_grad_(False)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    model.classifier.requires_grad_(True)
    step(model, torch.randn(2, 3, 8, 8))
    assert model.classifier.weight.grad.abs().sum() > 0
    with torch.autocast("cpu", torch.bfloat16):
        logits, grads = step(model.requires_grad_(True), torch.randn(2, 3, 8, 8))
    assert logits.dtype == torch.bfloat16
    assert all(g.isfinite().all() for g in grads.values())


def activation_memory(model, x):
    "Bytes of a training step at its peak, without parameters and their gradients."
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with PeakMemory() as memory:
        F.cross_entropy(model(x), torch.arange(len(x))).backward()
    return memory.peak


def test_checkpointing_halves_the_memory():
    x = torch.randn(4, 3, 64, 64)
    plain = activation_memory(densenet121(), x)
    saved = activation_memory(densenet121(memory_efficient=True), x)
    reference = activation_memory(theirs("densenet121"), x)
    assert saved <= 0.5 * plain and plain <= 1.01 * reference


# The ledger


def seen(model, size):
    "What `ledger` predicts, as `record_shapes` sees it in a run."
    x = torch.empty(1, 3, size, size, device="meta")
    shapes = record_shapes(model, x).set_index("name")
    config, k = model.config, model.config["growth_rate"]
    n_block = len(config["block_config"])
    stem = shapes.output[f"features.{'conv' if config['small_images'] else 'pool'}0"]
    rows = [("stem", 0, 3, stem[1], stem[2], 0)]
    for i in range(1, n_block + 1):
        pattern = rf"features\.denseblock{i}\.denselayer\d+\.norm1"
        layers = [name for name in shapes.index if re.fullmatch(pattern, name)]
        channels = [shapes.input[name][1] for name in layers]
        n_in, n_source = channels[0], sum(1 + (n - channels[0]) // k for n in channels)
        reader = "norm5" if i == n_block else f"transition{i}.norm"
        _, n_out, side, _ = shapes.input[f"features.{reader}"]
        rows.append((f"denseblock{i}", len(layers), n_in, n_out, side, n_source))
        if i < n_block:
            out = shapes.output[f"features.transition{i}.pool"]
            rows.append((f"transition{i}", 0, n_out, out[1], out[2], 0))
    return rows


@published
@pytest.mark.parametrize("size", [224, 197])
def test_ledger_of_the_published(name, size):
    with torch.device("meta"):
        model = ours(name)
    found = ledger(**ARCHITECTURES[name], size=size)
    assert list(found.itertuples(index=False, name=None)) == seen(model, size)
    depths = ARCHITECTURES[name]["block_config"]
    assert found.connections.tolist()[1::2] == [n * (n + 1) // 2 for n in depths]


@few
@given(architectures, st.booleans(), st.integers(0, 40))
def test_ledger_of_any(config, small_images, more):
    halvings = len(config["block_config"]) - 1
    size = (1 if small_images else 4) * 2**halvings + more
    with torch.device("meta"):
        model = DenseNet(**config, small_images=small_images)
    found = ledger(**model.config, size=size)
    assert list(found.itertuples(index=False, name=None)) == seen(model, size)


BAD_ARGUMENTS = [
    (dict(growth_rate=0), "growth_rate is 0"),
    (dict(small_images="no"), "small_images is 'no': it must be true or false"),
    (dict(num_clases=3), "there is no key 'num_clases': did you mean 'num_classes'?"),
    (dict(size=0), "size is 0: it must be a whole number"),
    (dict(size=2.5), "size is 2.5: it must be a whole number"),
]


@pytest.mark.parametrize("arguments, message", BAD_ARGUMENTS)
def test_ledger_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError) as e:
        ledger(**arguments)
    assert f"ledger: {message}" in str(e.value)


# Architectures from files

some_keys = st.fixed_dictionaries(
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


@few
@given(some_keys)
def test_an_architecture_survives_a_file(config):
    with tempfile.TemporaryDirectory() as folder, torch.device("meta"):
        path = Path(folder, "net.json")
        path.write_text(json.dumps(config), encoding="utf-8")
        assert read_architecture(path) == config
        model = DenseNet(**read_architecture(path))
        assert model.config.items() >= config.items()
        path.write_text(json.dumps(model.config), encoding="utf-8")
        again = read_architecture(str(path))
        assert again == model.config == DenseNet(**again).config


def test_the_published_come_from_their_files(tmp_path):
    "Some editors write a file with a mark in front."
    path = tmp_path / "net.json"
    for name, config in ARCHITECTURES.items():
        path.write_text(json.dumps(config), encoding="utf-8-sig")
        assert read_architecture(path) == config, name


NAN, INF = float("nan"), float("inf")
NO_WHOLE = [0, -1, 12.0, 1.5, "12", None, True, False, [12], {}, NAN, INF]
NO_WHOLE += [10**9, 10**30]
NO_LIST = [[], [6, 0], [6, -1], [True], [6.0], ["6"], [[6]], [None], [NAN], [10**9]]
NO_LIST += [6, "6,12", None, {"1": 6}, True]
NO_SHARE = [1, -0.1, 1.5, "0", None, True, [0.1], NAN, INF]
NO_BOOL = [0, 1, "true", None, [True]]
WHOLE = "it must be a whole number from 1"
LIST = "it must be a list with one whole number from 1"
SHARE = "it must be a number from 0 up to 1, without 1"

BAD_VALUES = [("block_config", value, LIST) for value in NO_LIST]
BAD_VALUES += [("drop_rate", value, SHARE) for value in NO_SHARE]
BAD_VALUES += [("small_images", value, "it must be true or false") for value in NO_BOOL]
for key in "growth_rate", "num_init_features", "bn_size", "num_classes":
    BAD_VALUES += [(key, value, WHOLE) for value in NO_WHOLE]


@pytest.mark.parametrize("key, value, must", BAD_VALUES, ids=str)
def test_a_bad_value_is_named(tmp_path, key, value, must):
    path = tmp_path / "net.json"
    path.write_text(json.dumps({key: value}))
    with pytest.raises(ValueError) as e:
        read_architecture(path)
    assert str(e.value).startswith(f"{path}: {key} is {value!r}: {must}")
    with pytest.raises(ValueError) as e:
        DenseNet(**{key: value})
    if key == "block_config" and isinstance(value, list):
        value = tuple(value)
    assert str(e.value).startswith(f"DenseNet: {key} is {value!r}: {must}")


KEYS = (
    "growth_rate block_config num_init_features bn_size drop_rate num_classes "
    "small_images"
).split()
THE_KEYS = f"The keys are {', '.join(KEYS)}"


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_key_is_refused_with_the_nearest(key):
    for wrong in key[:-1], key.replace("_", ""), key.capitalize(), f"{key}s":
        hint = f"there is no key {wrong!r}: did you mean {key!r}?"
        with pytest.raises(ValueError) as e:
            check_architecture({wrong: 1}, "net.json")
        assert str(e.value) == f"net.json: {hint} {THE_KEYS}"


@pytest.mark.parametrize("key", ["", "dilation", 3, None])
def test_an_unknown_key_far_from_all_is_refused(key):
    with pytest.raises(ValueError) as e:
        check_architecture({key: 1})
    assert str(e.value) == f"DenseNet: there is no key {key!r}. {THE_KEYS}"


NOT_JSON = "this is not JSON that can be used: "
NO_UTF8 = NOT_JSON + "'utf-8' codec can't decode"
NO_DICT = 'an architecture is a dictionary, such as {"growth_rate": 12}, got '
TWICE = b'{"growth_rate": 12, "bn_size": 4, "growth_rate": 24}'
NO_NAME = (
    NOT_JSON + "Expecting property name enclosed in double quotes: line 1 column 2"
)
BAD_FILES = [
    (b"", NOT_JSON + "Expecting value: line 1 column 1"),
    (b"{", NO_NAME),
    (
        b'{"growth_rate": 12,\n "bn_size" 4}',
        NOT_JSON + "Expecting ':' delimiter: line 2",
    ),
    (b"{'growth_rate': 12}", NOT_JSON + "Expecting property name"),
    (TWICE, NOT_JSON + "the key 'growth_rate' comes twice"),
    (b'{"growth_rate": 12} {}', NOT_JSON + "Extra data"),
    (b"[" * 100_000, NOT_JSON),
    (b'{"growth_rate": ' + b"9" * 5000 + b"}", NOT_JSON),
    (bytes(range(256)), NOT_JSON),
    (b"\x89PNG\r\n\x1a\n", NO_UTF8 + " byte 0x89"),
    ('{"growth_rate": 12}'.encode("utf-16"), NO_UTF8),
    (b"null", NO_DICT + "NoneType"),
    (b"[6, 12]", NO_DICT + "list"),
    (b'"growth_rate"', NO_DICT + "str"),
    (b"12", NO_DICT + "int"),
    (b'{"growth_rate": NaN}', "growth_rate is nan"),
    (b'{"drop_rate": 1e999}', "drop_rate is inf"),
    (b'{"dilation": 2}', "there is no key 'dilation'"),
    (b'{"memory_efficient": true}', "there is no key 'memory_efficient'"),
]


@pytest.mark.parametrize("data, message", BAD_FILES)
def test_a_bad_file_is_named(tmp_path, data, message):
    path = tmp_path / "net.json"
    path.write_bytes(data)
    with pytest.raises(ValueError) as e:
        read_architecture(path)
    assert str(e.value).startswith(f"{path}: {message}")


def test_a_missing_file_is_named(tmp_path):
    for path in tmp_path / "none.json", tmp_path:
        with pytest.raises(FileNotFoundError) as e:
            read_architecture(path)
        assert str(e.value) == f"{path}: there is no such file"


# Weights from outside


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    "The folder where torch keeps files, empty, on a machine without a network."

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
    assert str(e.value) == (
        f"{name}: {url} could not be read (no route to host). "
        f"Try again with a network, or copy that file into {checkpoints}"
    )


STOPPED = TimeoutError("timed out"), ConnectionResetError("reset by peer")


@pytest.mark.parametrize("error", STOPPED)
def test_a_download_that_stops_is_named(checkpoints, monkeypatch, error):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ConnectionError) as e:
        densenet121(weights="DEFAULT")
    expected = rf"densenet121-\w+\.pth could not be read \({error}\)"
    assert re.search(expected, str(e.value))


def test_a_local_file_with_legacy_names_is_loaded(checkpoints):
    torch.manual_seed(1)
    source, enum = randomize(theirs("densenet121")), get_model_weights("densenet121")
    path = checkpoints / Path(enum.DEFAULT.url).name
    state = legacy(source.state_dict())
    torch.save(state, path, _use_new_zipfile_serialization=False)
    names = "DEFAULT", "IMAGENET1K_V1", "DenseNet121_Weights.IMAGENET1K_V1"
    for weights in enum.IMAGENET1K_V1, *names:
        model = densenet121(weights=weights, drop_rate=0.1, memory_efficient=True)
        assert_same_state(source, model)
    assert model.config["drop_rate"] == 0.1


DAMAGED = b"", b"<html>not found</html>", b"PK\x03\x04", b"\x80\x02"


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_local_file_is_named(checkpoints, data):
    path = checkpoints / Path(get_model_weights("densenet121").DEFAULT.url).name
    path.write_bytes(data)
    with pytest.raises(ValueError) as e:
        densenet121(weights="DEFAULT")
    hint = "delete it, then it is downloaded again"
    assert f"densenet121: {path} is damaged: {hint}" in str(e.value)


UNKNOWN = "IMAGENET", "default", True, 1, get_model_weights("densenet169").DEFAULT


@pytest.mark.parametrize("weights", UNKNOWN)
def test_unknown_weights_are_named(checkpoints, weights):
    with pytest.raises(ValueError) as e:
        densenet121(weights=weights)
    known = "there are IMAGENET1K_V1, DEFAULT"
    assert str(e.value) == f"densenet121: there are no weights {weights!r}: {known}"


OTHERS = dict(
    num_classes=37,
    growth_rate=12,
    block_config=(6, 12, 24),
    num_init_features=32,
    bn_size=2,
    small_images=True,
)
LOAD_FIRST = "load them first, then change the model"


@pytest.mark.parametrize("key, value", OTHERS.items())
def test_weights_for_another_architecture_are_refused(checkpoints, key, value):
    message = f"densenet121: its weights are for {key}=.*, not .*: {LOAD_FIRST}"
    with pytest.raises(ValueError, match=message):
        densenet121(weights="DEFAULT", **{key: value})
    assert densenet121(**{key: value}).config[key] == value


# Weights from inside. The file is made by `make pretrain`.

WEIGHTS = ROOT / "tutorial_lib" / "densenet_tiny.safetensors"
CARD = ROOT / "tutorial_lib" / "densenet_tiny.md"


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


OTHERS_OF_TINY = dict(
    num_classes=8, growth_rate=12, small_images=False, bn_size=2, block_config=(2, 4)
)


@pytest.mark.parametrize("key, value", OTHERS_OF_TINY.items())
def test_pretrained_refuses_another_architecture(key, value):
    message = f"densenet_tiny: its weights are for {key}=.*: {LOAD_FIRST}"
    with pytest.raises(ValueError, match=message):
        densenet_tiny(pretrained=True, **{key: value})


@pytest.mark.long
def test_pretrained_agrees_with_itself_in_bfloat16():
    animals = []
    for breed in "striped_pointy", "spotted_round":
        animals += [np.asarray(draw(breed, size=32, seed=i)) for i in range(50)]
    x = torch.from_numpy(np.stack(animals)).movedim(3, 1) / 255
    mean, std = (torch.tensor(s)[:, None, None] for s in CIFAR10_STATS)
    model, x = densenet_tiny(pretrained=True).eval(), (x - mean) / std
    with torch.no_grad():
        a = model(x).softmax(1)
        with torch.autocast("cpu", torch.bfloat16):
            b = model(x).float().softmax(1)
    assert (a - b).abs().mean() < 0.01
    assert (a.argmax(1) == b.argmax(1)).float().mean() >= 0.9
    assert a.max(1).values.mean() > 0.3, "one that learned nothing agrees with itself"


def test_pretrained_is_described_by_its_card():
    data, card = WEIGHTS.read_bytes(), CARD.read_text(encoding="utf-8")
    assert len(data) <= 1_500_000
    assert hashlib.sha256(data).hexdigest() in card
    assert f"{len(data):,} bytes" in card
    assert f"{n_params(densenet_tiny()):,} parameters" in card
    accuracy = float(re.search(r"\*\*(0\.\d+)\*\*", card)[1])
    assert accuracy >= 0.88
    classes = read_weights(WEIGHTS)[1]["classes"].split(",")
    rows = dict(re.findall(r"^\| (\w+) \| (0\.\d+) \|$", card, re.M))
    assert sorted(rows) == sorted(classes) and len(classes) == 10
    mean = np.mean([float(v) for v in rows.values()])
    assert mean == pytest.approx(accuracy, abs=1e-3)


def test_pretrained_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as z:
        for path in WEIGHTS, CARD:
            assert z.read(f"tutorial_lib/{path.name}") == path.read_bytes()


# What a network looks at


def slow_reuse(model, block, scaled):
    "Figure 5 of the paper, one number after the other."
    f, k = model.features, model.config["growth_rate"]
    depths = model.config["block_config"]
    readers = []
    for i in range(depths[block - 1]):
        layer = f.get_submodule(f"denseblock{block}.denselayer{i + 1}")
        readers.append((layer.norm1, layer.conv1))
    n_first = readers[0][0].num_features
    if block == len(depths):
        readers.append((f.norm5, model.classifier))
    else:
        after = f.get_submodule(f"transition{block}")
        readers.append((after.norm, after.conv))
    grid = np.full((len(readers), len(readers)), np.nan)
    for column, (norm, reader) in enumerate(readers):
        for row in range(column + 1):
            start, n = (n_first + (row - 1) * k, k) if row else (0, n_first)
            numbers = []
            for out in range(reader.weight.shape[0]):
                for c in range(start, start + n):
                    scale = abs(norm.weight[c].item()) if scaled else 1
                    numbers.append(abs(reader.weight[out, c].item()) * scale)
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
    assert plt.fignum_exists(fig.number)
    assert fig.axes == [ax] and ax.get_children() == before
    plt.close("all")


def test_plot_ledger_draws_on_its_own_figure(other_figure):
    rows = ledger(**ARCHITECTURES["densenet169"])
    ax = plot_ledger(rows)
    ax.figure.canvas.draw()
    assert len(plt.get_fignums()) == 2 and ax.figure is not other_figure
    given = plt.figure().add_subplot()
    assert plot_ledger(rows, given) is given and len(plt.get_fignums()) == 3
    for drawn in ax, given:
        ramps = [line.get_ydata().tolist() for line in drawn.lines]
        assert ramps == [[64, 256], [128, 512], [256, 1280], [640, 1664]]


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


@pytest.mark.long
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
    for net in nets:
        assert record_shapes(net, x).kind.eq("Conv2d").sum() == 3 + 6 * n
        assert net(x).shape == (2, n_out)
    assert n_params(nets[0]) == n_params(nets[1])


# What the benchmarks measured


def rows_of(name):
    with (ROOT / "tutorial_lib" / name).open(newline="") as f:
        return list(csv.DictReader(f))


SCRIPTS = {
    "densenet_cost.py": ("--rounds", "--threads", "train", "infer"),
    "pretrain.py": ("--epochs", "--seed", "densenet_tiny"),
}


@pytest.mark.long
@pytest.mark.parametrize("script, words", SCRIPTS.items())
def test_benchmark_says_what_it_does(script, words):
    path = ROOT / "benchmarks" / script
    command = [sys.executable, "-W", "ignore", path, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(word in shown for word in words)


def test_benchmark_of_size_gives_each_family_its_own_best_rate():
    rows = rows_of("densenet_size.csv")
    sweep = [r for r in rows if r["part"] == "sweep"]
    final = [r for r in rows if r["part"] == "final"]
    assert not any(r["accuracy"] for r in sweep), "the test set chooses nothing"
    for family in "dense", "residual", "plain":
        found = {
            float(r["lr"]): float(r["valid_accuracy"])
            for r in sweep
            if r["family"] == family
        }
        best = max(found, key=found.get)
        assert min(found) < best < max(found), "the best rate has neighbors"
        assert {float(r["lr"]) for r in final if r["family"] == family} == {best}


def test_benchmark_of_cost_holds_what_the_chapter_promises():
    rows = rows_of("densenet_cost.csv")
    train = {(r["batch"], r["size"], r["net"]): r for r in rows if r["task"] == "train"}
    infer = {(r["setting"], r["net"]): r for r in rows if r["task"] == "infer"}
    assert len(train) == 8 and len(infer) == 12 and len(rows) == 20
    runs = {(r["torch"], r["device"], r["threads"], r["rounds"]) for r in rows}
    assert len(runs) == 1
    for (*_, net), r in train.items():
        if net == "ours":
            assert float(r["ratio"]) <= 1.05 and float(r["memory_ratio"]) <= 1.01
        if net == "ours checkpointed":
            assert float(r["ratio"]) <= 1.35 and float(r["memory_ratio"]) <= 0.5
        assert float(r["difference"]) <= 1e-5
    for (setting, net), r in infer.items():
        allowed = 1e-5 if setting.startswith("float32") else 0.1
        assert float(r["difference"]) <= allowed, (setting, net)


def test_benchmark_of_pretraining_holds_what_the_card_says():
    rows = rows_of("pretrain.csv")
    assert [int(r["epoch"]) for r in rows] == [*range(1, len(rows) + 1)]
    columns = "lr", "train_loss", "accuracy"
    lr, loss, accuracy = (np.array([float(r[k]) for r in rows]) for k in columns)
    up_and_longer_down = 0 < lr.argmax() < len(rows) / 2 and lr[-1] < lr[0]
    assert up_and_longer_down
    assert loss[-1] == loss.min() < loss[0]
    assert accuracy[-1] >= 0.88 and accuracy[-1] >= accuracy.max() - 0.01
    epochs = read_weights(WEIGHTS)[1]["epochs"]
    card = CARD.read_text(encoding="utf-8")
    assert int(epochs) == len(rows) and f"{epochs} epochs" in card
    assert f"| {sum(float(r['seconds']) for r in rows) / 60:.0f} minutes |" in card
