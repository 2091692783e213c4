"What chapter 04's modules promise, beyond what its notebook shows."

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from copy import deepcopy

import matplotlib
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save_file, save_model
from torch import nn

from tutorial_lib.modules import (
    SmallNet,
    freeze,
    load_weights,
    n_params,
    plot_shapes,
    read_weights,
    record_shapes,
    rename_keys,
    save_weights,
    state_diff,
    unfreeze,
)

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
]
letters = st.characters(codec="utf-8")
names = st.text(letters, min_size=1, max_size=12).filter("__metadata__".__ne__)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def tensors(draw):
    """Any bytes, read as any dtype; 0-d and empty ones too.

    NaN, infinities and negative zero are included.
    """
    shape, dtype = draw(shapes), draw(st.sampled_from(DTYPES))
    n = torch.Size(shape).numel() * dtype.itemsize
    raw = draw(st.binary(min_size=n, max_size=n))
    if dtype == torch.bool:
        raw = bytes(b & 1 for b in raw)
    if not raw:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


states = st.dictionaries(names, tensors(), max_size=6)
quick = settings(max_examples=60, deadline=None)


class Tied(nn.Module):
    def __init__(self, share=True):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        if share:
            self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SmallNet(2)


def error(kind, f, *args, **kwargs):
    with pytest.raises(kind) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def squeezed(text):
    return re.sub(" +", " ", text)


# The network, counting and freezing


@pytest.mark.parametrize("n_out, n_in, side", [(2, 3, 112), (10, 3, 32), (37, 1, 5)])
def test_small_net_takes_sides_from_five_up(n_out, n_in, side):
    model = SmallNet(n_out, n_in=n_in)
    assert model(torch.randn(2, n_in, side, side)).shape == (2, n_out)
    with pytest.raises(RuntimeError):
        model(torch.randn(2, n_in, 4, 4))


def test_n_params_counts_a_shared_parameter_once_and_splits_by_trainable():
    model = Tied()
    freeze(model.b)
    assert [n_params(model, trainable) for trainable in (None, True, False)] == [
        20,
        0,
        20,
    ]
    unfreeze(model.a)
    assert [n_params(model, trainable) for trainable in (True, False)] == [16, 4]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_frozen_part_does_not_move_after_a_backward_pass_before_freezing(net, name):
    x = torch.randn(4, 3, 32, 32)
    optimizer = getattr(torch.optim, name)
    opt = optimizer(net.parameters(), lr=0.1, weight_decay=0.1)
    net.train()(x).sum().backward()
    assert freeze(net.body) is net.body
    before = deepcopy(net.body.state_dict())
    opt.step()
    assert not state_diff(before, net.body, values=True)
    assert unfreeze(net) is net and n_params(net, trainable=False) == 0


# record_shapes


def n_hooks(model):
    return sum(len(m._forward_hooks) for m in model.modules())


def test_record_shapes_leaves_the_model_as_it_was(net):
    net.body.bn2.eval()
    net.head.fc1.register_forward_hook(lambda *args: None)
    before = deepcopy(net.state_dict())
    modes = [m.training for m in net.modules()]
    random = torch.get_rng_state()
    rows = record_shapes(net, torch.zeros(1, 3, 32, 32))
    assert not state_diff(before, net, values=True)
    assert [m.training for m in net.modules()] == modes and n_hooks(net) == 1
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in net.parameters())
    assert rows.params.sum() == n_params(net)
    layers = [n for n, m in net.named_modules() if n and not list(m.children())]
    assert list(rows.name) == layers


@pytest.mark.parametrize(
    "x", [torch.zeros(1, 1, 32, 32), torch.zeros(1, 3, 2, 2), None]
)
def test_record_shapes_passes_the_error_on_and_removes_its_hooks(net, x):
    net.head.eval()
    modes = [m.training for m in net.modules()]
    with pytest.raises((RuntimeError, TypeError)):
        record_shapes(net, x)
    assert n_hooks(net) == 0 and [m.training for m in net.modules()] == modes


def test_record_shapes_stops_cleanly_when_a_layer_in_the_middle_fails(net):
    net.body.bn2 = nn.BatchNorm2d(63)
    with pytest.raises(RuntimeError, match="running_mean should contain"):
        record_shapes(net, torch.zeros(2, 3, 32, 32))
    assert n_hooks(net) == 0 and all(m.training for m in net.modules())


def test_record_shapes_of_tied_repeated_nested_and_keyword_layers():
    tied = record_shapes(Tied(), torch.zeros(2, 4))
    assert list(tied.params) == [16, 4]
    relu = nn.ReLU()
    repeated = nn.Sequential(relu, nn.Linear(4, 4), relu)
    assert len(record_shapes(repeated, torch.zeros(2, 4))) == 3

    lstm = record_shapes(nn.LSTM(4, 8), torch.zeros(5, 2, 4))
    assert lstm.output[0] == ((5, 2, 8), ((1, 2, 8), (1, 2, 8)))
    assert lstm.params[0] == n_params(nn.LSTM(4, 8))

    class Keyed(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.layer = nn.Parameter(torch.zeros(7)), nn.Bilinear(3, 4, 5)

        def forward(self, a, b):
            return {"y": self.layer(input1=a, input2=b), "note": None}

    keyed = record_shapes(Keyed(), torch.zeros(2, 3), torch.zeros(2, 4))
    assert list(keyed.name) == ["layer", ""] and keyed.params.sum() == n_params(Keyed())
    assert keyed.input[0] == ((2, 3), (2, 4))
    assert keyed.output[1] == {"y": (2, 5), "note": "NoneType"}


def test_plot_shapes_draws_a_box_a_row_and_one_for_the_input(net):
    matplotlib.use("Agg")
    rows = record_shapes(net, torch.zeros(1, 3, 112, 112))
    ax = plot_shapes(rows)
    assert len(ax.patches) == len(rows) + 1 and ax.patches[0].get_width() == 112
    assert ax.get_yticklabels()[1].get_text() == "conv1"
    assert plot_shapes(rows, ax=ax) is ax


# state_diff


@quick
@given(states)
def test_a_state_does_not_differ_from_its_copy(state):
    diff = state_diff(state, deepcopy(state), values=True)
    assert not diff and len(diff) == 0
    assert repr(diff) == diff._repr_html_() == "no difference"


@quick
@given(states, states)
def test_state_diff_names_what_plain_sets_name_and_mirrors(a, b):
    diff, back = state_diff(a, b), state_diff(b, a)
    assert set(diff.missing) == a.keys() - b.keys() == set(back.unexpected)
    assert set(diff.unexpected) == b.keys() - a.keys() == set(back.missing)

    def kind(tensor):
        return tensor.shape, tensor.dtype

    other = {k for k in a.keys() & b.keys() if kind(a[k]) != kind(b[k])}
    assert set(diff.mismatched) == other == set(back.mismatched)
    assert len(diff) == len(diff.missing) + len(diff.unexpected) + len(diff.mismatched)


@quick
@given(states.filter(lambda state: any(v.numel() for v in state.values())), st.data())
def test_one_changed_bit_is_one_row(state, data):
    name = data.draw(st.sampled_from([k for k, v in state.items() if v.numel()]))
    changed = deepcopy(state)
    changed[name].view(-1).view(torch.uint8)[0] ^= 1
    assert not state_diff(state, changed)
    assert state_diff(state, changed, values=True).mismatched == [name]


def test_state_diff_says_what_differs_and_shortens_long_tables():
    a = {
        "x": torch.zeros(2),
        "y": torch.zeros(2),
        "z": torch.zeros(()),
        "only": torch.zeros(1),
    }
    b = {
        "x": torch.zeros(3),
        "y": torch.zeros(2, dtype=torch.int64),
        "z": torch.zeros(1, dtype=torch.bool),
    }
    table = state_diff(a, b).table.set_index("name")
    assert dict(table.what) == {
        "only": "missing",
        "x": "shape",
        "y": "dtype",
        "z": "shape, dtype",
    }
    assert tuple(table.loc["z", ["a", "b"]]) == ("float32 ()", "bool (1,)")
    long = state_diff({f"layer{i}": torch.zeros(1) for i in range(30)}, {})
    for text in (repr(long), long._repr_html_()):
        assert "layer19" in text and "layer20" not in text and "... and 10 more" in text
    assert isinstance(long.table, pd.DataFrame) and len(long) == 30


def test_state_diff_refuses_what_is_no_state_dict():
    message = error(TypeError, state_diff, "weights.pth", {})
    assert "expected a model or a state dict, got str" in message
    message = error(TypeError, state_diff, {}, {"model": {}, "epoch": 3})
    assert "'model' is of type dict, not a tensor" in message
    assert "pass the part that holds the tensors" in message


# rename_keys


@quick
@given(states)
def test_rename_keys_without_rules_is_a_copy_and_a_prefix_comes_off_again(state):
    before = dict(state)
    assert list(rename_keys(state, []).items()) == list(state.items())
    there = rename_keys(state, [(r"\A", "module.")])
    back = rename_keys(there, {r"\Amodule\.": ""})
    assert list(back) == list(state) and all(back[k] is state[k] for k in state)
    assert all(k.startswith("module.") for k in there) and state.keys() == before.keys()


keys = st.text("ab.", min_size=1, max_size=5)
patterns = st.sampled_from(["a", "b", r"\.", "^a", "b$", "a+", "(a)(b)"])
few_rules = st.lists(st.tuples(patterns, st.text("ab.", max_size=2)), max_size=3)


@quick
@given(st.dictionaries(keys, st.integers(), max_size=8), few_rules)
def test_rename_keys_keeps_every_value_or_refuses(state, rules):
    before = dict(state)
    wanted = []
    for key in state:
        for rule in rules:
            key = re.sub(*rule, key)
        wanted.append(key)
    if len(set(wanted)) == len(wanted):
        renamed = rename_keys(state, rules)
        assert list(renamed) == wanted
        assert list(renamed.values()) == list(state.values())
    else:
        message = error(ValueError, rename_keys, state, rules)
        said = re.fullmatch(r"('.*?') and ('.*?') would both become ('.*?')", message)
        first, second, both = map(eval, said.groups())
        old = list(state)
        assert wanted[old.index(first)] == wanted[old.index(second)] == both
    assert state == before


def test_rules_work_in_order_and_a_bad_one_is_named():
    assert list(rename_keys({"a": 0}, [("a", "b"), ("b", "c")])) == ["c"]
    assert list(rename_keys({"a": 0}, [("b", "c"), ("a", "b")])) == ["b"]
    message = error(ValueError, rename_keys, {"a": 0}, [("(", "x")])
    assert "rule ('(', 'x'): missing )" in message
    message = error(ValueError, rename_keys, {"a": 0}, {"a": r"\1"})
    assert "rule ('a', '\\\\1'): invalid group reference" in message


# save_weights, read_weights, load_weights


@quick
@given(states, st.dictionaries(names, st.text(letters, max_size=8), max_size=3))
def test_what_is_saved_is_read(tmp_path_factory, state, notes):
    taken = {*state, "model", "path"}
    notes = {k: v for k, v in notes.items() if k not in taken}
    path = tmp_path_factory.mktemp("round") / "w.safetensors"
    assert save_weights(state, path, **notes) == path
    read, metadata = read_weights(path)
    assert not state_diff(state, read, values=True) and metadata == notes
    assert names_in(path.parent) == ["w.safetensors"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_of_any_dtype_comes_back(tmp_path, dtype):
    def model(fill):
        m = nn.Module()
        for name, shape in {"full": (2, 3), "scalar": (), "empty": (0, 3)}.items():
            m.register_buffer(name, torch.full(shape, fill).to(dtype))
        return m

    path = save_weights(model(1), tmp_path / "w.safetensors")
    target = model(0)
    assert not load_weights(target, path)
    assert not state_diff(model(1), target, values=True)


def test_strided_and_overlapping_tensors_are_saved_as_they_look(tmp_path, net):
    big = torch.arange(12.0)
    state = {
        "whole": big,
        "part": big[2:6],
        "step": big[::2],
        "turned": big.view(3, 4).T,
        "again": big,
        "one": big[3],
    }
    read, metadata = read_weights(save_weights(state, tmp_path / "w.safetensors"))
    assert metadata == {"again": "whole"}
    assert state_diff(state, read).missing == ["again"]
    del state["again"]
    assert not state_diff(state, read, values=True)
    net.to(memory_format=torch.channels_last)
    fresh = SmallNet(2).to(memory_format=torch.channels_last)
    load_weights(fresh, save_weights(net, tmp_path / "w.safetensors"))
    assert not state_diff(net, fresh, values=True)
    assert fresh.body.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_what_was_read_does_not_change_with_the_file(tmp_path):
    path = save_weights({"w": torch.ones(1000)}, tmp_path / "w.safetensors")
    read, _ = read_weights(path)
    with path.open("r+b") as f:
        f.seek(-4000, os.SEEK_END)
        f.write(bytes(4000))
    assert (read["w"] == 1).all() and (read_weights(path)[0]["w"] == 0).all()


def test_tied_weights_travel_both_ways_and_with_safetensors_own_functions(tmp_path):
    tied = Tied()
    path = tmp_path / "ours.safetensors"
    theirs = tmp_path / "theirs.safetensors"
    save_weights(tied, path, note="x")
    save_model(tied, str(theirs))
    for make in (Tied, lambda: Tied(share=False)):
        for file in (path, theirs):
            target = make()
            assert not load_weights(target, file)
            assert not state_diff(tied, target, values=True)
    target = Tied()
    load_model(target, str(path))
    assert not state_diff(tied, target, values=True)
    assert target.a.weight is target.b.weight
    untied = save_weights(Tied(share=False), tmp_path / "untied.safetensors")
    assert path.stat().st_size < untied.stat().st_size


def test_a_file_with_two_values_for_one_tied_tensor_is_refused(tmp_path):
    path, target = save_weights(Tied(share=False), tmp_path / "w.safetensors"), Tied()
    before = deepcopy(target.state_dict())
    message = error(ValueError, load_weights, target, path)
    differ = f"{path}: 'a.weight' and 'b.weight' differ"
    consequence = "but in the model they are one tensor; nothing was loaded"
    assert f"{differ}, {consequence}" in message
    assert not state_diff(before, target, values=True)


def test_metadata_becomes_text_and_cannot_take_a_tensors_name(tmp_path, net):
    path = save_weights(net, tmp_path / "w.safetensors", epoch=3, arch="SmallNet")
    assert list(read_weights(path)[1].items()) == [("arch", "SmallNet"), ("epoch", "3")]
    path = tmp_path / "clash.safetensors"
    for name, metadata in ("w", {"w": 1}), ("__metadata__", {}):
        message = error(
            ValueError, save_weights, {name: torch.zeros(1)}, path, **metadata
        )
        clash = f"{[name]} name tensors, so they cannot name metadata"
        assert message == f"{path}: {clash}"
    assert not path.exists()


def test_a_save_that_fails_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path, net, monkeypatch
):
    path = save_weights(net, tmp_path / "w.safetensors")
    old = path.read_bytes()
    state = {"w": torch.zeros(1), "z": torch.zeros(1, dtype=torch.complex128)}
    message = error(TypeError, save_weights, state, path)
    reason = "safetensors cannot hold torch.complex128, the dtype of ['z']"
    assert message == f"{path}: {reason}"
    assert "'w' is of type float" in error(TypeError, save_weights, {"w": 1.0}, path)

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full_disk)
            assert "No space left" in error(OSError, save_weights, SmallNet(2), path)
        assert path.read_bytes() == old and names_in(tmp_path) == [path.name]


def test_a_wrong_path_is_named_and_nothing_is_written(tmp_path, net):
    path = tmp_path / "new" / "w.safetensors"
    message = error(FileNotFoundError, save_weights, net, path)
    assert message == f"{path}: there is no folder {path.parent}: make it first"
    message = error(IsADirectoryError, save_weights, net, tmp_path)
    assert message == f"{tmp_path} is a folder: give the name of a file in it"
    assert not names_in(tmp_path)


def test_a_note_may_have_the_name_of_an_argument(tmp_path, net):
    path = save_weights(net, tmp_path / "w.safetensors", path="here", model="SmallNet")
    assert read_weights(path)[1] == {"model": "SmallNet", "path": "here"}


def test_load_weights_asks_for_the_model(tmp_path, net):
    path = save_weights(net, tmp_path / "w.safetensors")
    with pytest.raises(TypeError, match="got OrderedDict: give the model"):
        load_weights(net.state_dict(), path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_saved_file_can_be_read_by_those_whom_the_umask_allows(tmp_path):
    old = os.umask(0o022)
    try:
        path = save_weights({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644


SAVE = """
import os, pathlib, sys, time, torch
from tutorial_lib.modules import save_weights

def wait(*args):
    print(os.getpid(), flush=True)
    time.sleep(60)

class Half:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *args): self.file.close()
    def write(self, data):
        self.file.write(data[:len(data) // 2])
        self.file.flush()
        wait()

torch.set_num_threads(1)
path, *steps = sys.argv[1:]
save_weights({"w": torch.zeros(100_000)}, path)
for step in steps:
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    if step == "write":
        real = pathlib.Path.open
        pathlib.Path.open = lambda self, *args: Half(real(self, *args))
    else: setattr(os, step, wait)
    save_weights({"w": torch.ones(100_000)}, path)
    print(0, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_a_kill_while_saving_leaves_the_old_file_whole(tmp_path):
    path, steps = tmp_path / "w.safetensors", ["write", "fsync", "replace"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SAVE, path, *steps]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as saver:
        for n, step in enumerate(steps, 1):
            pid = int(saver.stdout.readline())
            assert pid, f"the saver did not come through {step}"
            os.kill(pid, signal.SIGKILL)
            w = read_weights(path)[0]["w"]
            assert len(w) == 100_000 and (w == 0).all(), step
            assert len(names_in(tmp_path)) == 1 + n
    assert saver.returncode == 0


def test_a_file_cut_anywhere_is_refused_by_name_and_loads_nothing(tmp_path):
    model, target, path = nn.Linear(7, 5), nn.Linear(7, 5), tmp_path / "w.safetensors"
    data = save_weights(model, path, note="x").read_bytes()
    before = deepcopy(target.state_dict())
    for n in [*range(0, len(data), 8), len(data) - 1]:
        path.write_bytes(data[:n])
        message = error(ValueError, load_weights, target, path)
        refused = f"{path}: not a whole safetensors file ({n} bytes)"
        assert message.startswith(f"{refused}: it is cut short or damaged")
    assert not state_diff(before, target, values=True)
    path.write_bytes(data + b"x")
    assert "cut short or damaged" in error(ValueError, load_weights, target, path)


def test_files_that_are_something_else_are_named(tmp_path, net):
    path = tmp_path / "w.safetensors"
    for nothing in (path, tmp_path):
        message = error(FileNotFoundError, load_weights, net, nothing)
        assert message == f"{nothing}: there is no such file"
    for new_format in (True, False):
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=new_format)
        message = error(ValueError, load_weights, net, str(path))
        assert message.startswith(f"{path}: ")
        assert "torch.load(path, weights_only=True), then save_weights" in message
    path.write_text("<!doctype html> not here")
    assert "it begins like another format" in error(ValueError, read_weights, path)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol))
        assert "it looks like a pickle" in error(ValueError, read_weights, path)


def test_a_header_of_a_length_that_looks_like_a_pickle(tmp_path):
    "Its length is 0x0280, and a pickle of protocol 2 begins with the same two bytes."
    path = save_weights({"w": torch.zeros(9)}, tmp_path / "w.safetensors", note="")
    note = "x" * (0x280 - int.from_bytes(path.read_bytes()[:8], "little"))
    data = save_weights({"w": torch.zeros(9)}, path, note=note).read_bytes()
    assert data[:2] == b"\x80\x02" and read_weights(path)[0]["w"].shape == (9,)
    path.write_bytes(data[:-1])
    assert "it is cut short or damaged" in error(ValueError, read_weights, path)


def test_a_file_that_does_not_fit_changes_nothing_and_shows_the_table(tmp_path, net):
    path, ten = save_weights(net, tmp_path / "w.safetensors"), SmallNet(10)
    before = deepcopy(ten.state_dict())
    for strict in (True, False):
        message = error(ValueError, load_weights, ten, path, strict=strict)
        assert message.startswith(
            f"{path}: does not fit SmallNet; nothing was loaded. "
            "a is the model, b is the file:"
        )
        row = "head.fc2.weight shape float32 (10, 1024) float32 (2, 1024)"
        assert row in squeezed(message)
    other = net.state_dict() | {"extra": torch.zeros(1)}
    del other["head.fc2.bias"]
    save_weights(other, path)
    two = SmallNet(2)
    before_two = deepcopy(two.state_dict())
    message = squeezed(error(ValueError, load_weights, two, path))
    assert "head.fc2.bias missing" in message and "extra unexpected" in message
    assert not state_diff(before, ten, values=True)
    assert not state_diff(before_two, two, values=True)


def test_not_strict_loads_what_both_have_and_returns_the_rest(tmp_path, net):
    state = {k: v for k, v in net.state_dict().items() if k.startswith("body")}
    state["extra"] = torch.zeros(1)
    path = save_weights(state, tmp_path / "w.safetensors")
    target = SmallNet(2)
    before = deepcopy(target.state_dict())
    diff = load_weights(target, path, strict=False)
    assert diff.unexpected == ["extra"]
    assert diff.missing == [k for k in before if k.startswith("head")]
    assert not state_diff(net.body, target.body, values=True)
    moved = state_diff(before, target, values=True).mismatched
    assert not set(moved) & set(diff.missing)


def test_a_dtype_is_converted_where_that_is_safe(tmp_path):
    path, model = tmp_path / "w.safetensors", nn.BatchNorm1d(3)
    half = model.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var"):
        half[name] = half[name].bfloat16()
    diff = load_weights(model, save_weights(half, path))
    assert diff.mismatched == ["weight", "bias", "running_mean", "running_var"]
    assert model.weight.dtype == torch.float32
    save_weights(model.state_dict() | {"num_batches_tracked": torch.tensor(2.5)}, path)
    message = squeezed(error(ValueError, load_weights, model, path))
    assert "num_batches_tracked dtype int64 () float32 ()" in message


def test_safetensors_cannot_carry_a_call_and_its_header_is_plain_json(tmp_path, net):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "w.safetensors"
    with pytest.raises(TypeError, match="'w' is of type Hostile, not a tensor"):
        save_weights({"w": Hostile()}, path)
    with pytest.raises(ValueError):
        save_file({"w": Hostile()}, path)
    torch.save({"w": Hostile()}, path)
    with pytest.raises(ValueError):
        load_weights(net, path)
    assert not (tmp_path / "ran").exists()
    data = save_weights(net, path).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header.keys() - {"__metadata__"} == net.state_dict().keys()


def test_rename_keys_wants_a_dictionary():
    message = error(TypeError, rename_keys, nn.Linear(1, 1), [])
    assert message == "expected a state dict, got Linear: give model.state_dict()"
