"""The scenarios at their edges: pictures that never mix, numbers that lean on no test.

Trainings of equal length, and advice about folders of every kind.
"""

import copy
import json
import math
import re
import shutil
from collections import OrderedDict
from dataclasses import asdict
from functools import cache, partial
from itertools import product
from types import SimpleNamespace
from urllib.error import URLError

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import torchvision
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn import functional as F

from tutorial_lib import scenarios
from tutorial_lib.classifier import augment, evaluating
from tutorial_lib.core import engine
from tutorial_lib.core.advice import Probed
from tutorial_lib.core.backbones import IMAGENET_STATS
from tutorial_lib.core.cells import nearest_accuracy
from tutorial_lib.core.engine import normalize, pool_features
from tutorial_lib.core.experiment import score, shift
from tutorial_lib.data import image_files, split
from tutorial_lib.densenet import CIFAR10_STATS
from tutorial_lib.sample import sample
from tutorial_lib.scenarios import (
    BODIES,
    CELL,
    RATES,
    RULES,
    STRATEGIES,
    Advice,
    Scenario,
    advise,
    advise_strategy,
    cell_means,
    choose,
    depth_features,
    disguise,
    fit_network,
    interval,
    leave_one_out,
    measures,
    network,
    plot_scenarios,
    read_scenarios,
    recommend,
    run_cell,
    training_seconds,
    trial,
    verdict,
)
from tutorial_lib.transfer import linear_probe

STATS = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
ALL = *STRATEGIES, "nearest", "random probe"
SEEN = []  # how many pictures each batch of a training had


class Count(nn.Module):
    def forward(self, x):
        if self.training:
            SEEN.append(len(x))
        return x


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv, self.norm = (
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out, momentum=0.5),
        )

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Small(nn.Module):
    "Four blocks that are about equally large, and a head."

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                count=Count(),
                a=Block(3, 8),
                b=Block(8, 6),
                c=Block(6, 6),
                d=Block(6, 6),
            )
        )
        self.classifier = nn.Linear(6, 10)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def make(weights):
    "Always the same numbers, with statistics that fit the pictures; or new ones."
    if not weights:
        return Small()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Small()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        m.momentum = 1
    with torch.no_grad():
        model.features[1:](normalize(pictures(np.arange(40) % 4), STATS))
    for m in norms:
        m.momentum = 0.5
    return model


def pictures(y, size=12, noise=60, seed=0):
    "Each class has a color, which noise hides."
    rng = np.random.default_rng(seed)
    colors = rng.integers(60, 195, (max(y) + 1, 1, 1, 3))
    return (
        (
            colors[y]
            + rng.normal(0, noise, (len(y), size, size, 3))
            + rng.normal(0, noise, (len(y), 1, 1, 3))
        )
        .clip(0, 255)
        .astype(np.uint8)
    )


def scenario(n=80, n_test=32, **kwargs):
    y = np.arange(n) % 4
    return Scenario(
        "colored",
        **dict(images=pictures(y), y=y, test=np.arange(n - n_test, n), stats=STATS)
        | kwargs,
    )


def cell(strategy, seed=0, s=None, per_class=10, rates=(1e-2,), **kwargs):
    return run_cell(
        scenario() if s is None else s,
        strategy,
        make,
        per_class,
        seed,
        rates=rates,
        **dict(l2s=(0.1,), n_seen=80, bs=16) | kwargs,
    )


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(engine, "bf16_is_fast", lambda device: False)


# --- pictures


@st.composite
def drawings(draw):
    "Some of each class without pictures, some of them for the test; what to draw."
    learn = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    judge = draw(st.lists(st.integers(0, 6), min_size=len(learn), max_size=len(learn)))
    y = np.repeat(np.arange(len(learn)), np.add(learn, judge))
    test = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate(judge)])
    order = np.random.default_rng(draw(st.integers(0, 9))).permutation(len(y))
    return (
        Scenario("", None, y[order], np.argsort(order)[test]),
        draw(st.none() | st.integers(1, 14)),
        draw(st.integers(0, 99)),
        draw(st.sampled_from([0.1, 0.25, 0.5])),
    )


@given(drawings())
def test_drawn_pictures_never_mix(case):
    s, per_class, seed, valid = case
    train, held_out = s.draw(per_class, seed, valid)
    taken = [*train, *held_out]
    assert (
        len({*taken}) == len(taken)
        and not {*taken} & {*s.test}
        and set(taken) <= set(range(len(s.y)))
    )
    for k in np.unique(s.y):
        n = min(sum(np.delete(s.y, s.test) == k), per_class or len(s.y))
        n_held_out = min(round(valid * n), n - 1)
        assert (s.y[held_out] == k).sum() == n_held_out and (
            s.y[train] == k
        ).sum() == n - n_held_out >= 1
    again = s.draw(per_class, seed, valid)
    assert np.array_equal(train, again[0]) and np.array_equal(held_out, again[1])


def test_another_seed_draws_others():
    s = scenario()
    few = [s.draw(5, seed) for seed in range(6)]
    assert (
        len({tuple(train) for train, _ in few})
        == len({tuple(held_out) for _, held_out in few})
        == 6
    )
    every = [s.draw(None, seed) for seed in range(6)]
    assert (
        len({tuple(sorted([*a, *b])) for a, b in every}) == 1
        and len({tuple(b) for _, b in every}) == 6
    )
    assert set(np.concatenate([np.concatenate(pair) for pair in few])) > set(
        np.concatenate(few[0])
    ), "chance, and not the order, takes them"


@st.composite
def photographs(draw):
    shape = draw(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)))
    return np.random.default_rng(draw(st.integers(0, 99))).integers(
        0, 256, (*shape, 3), dtype=np.uint8
    )


@given(photographs(), st.floats(0, 1))
def test_the_dial_of_a_disguise(images, dial):
    before = images.copy()
    assert np.array_equal(disguise(images, 0), images) and np.array_equal(
        disguise(disguise(images, 1), 1), images
    )
    turned = disguise(images, dial)
    assert (
        turned.shape == images.shape
        and turned.dtype == np.uint8
        and np.array_equal(images, before)
    )
    i, j = np.indices(images.shape[1:3])
    black = (i + j) % 2 == 1
    assert np.array_equal(turned[:, ~black], images[:, ~black])
    x = images[:, black].astype(float)
    assert (
        np.abs(turned[:, black] - ((1 - dial) * x + dial * (255 - x))).max(initial=0)
        <= 0.5 + 1e-4
    )
    assert np.isin(disguise(images, 0.5)[:, black], [127, 128]).all()


@pytest.mark.parametrize("dial", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_dial_turned_too_far(dial):
    with pytest.raises(ValueError, match=f"dial is {dial}: give a number from 0 to 1"):
        disguise(np.zeros((1, 2, 2, 3), np.uint8), dial)


def shifts(x, pad):
    "All ways to move one picture (c, h, w), as bytes."
    h, w = x.shape[1:]
    x = F.pad(x[None], [pad] * 4, mode="reflect")[0]
    return {
        x[:, i : i + h, j : j + w].contiguous().numpy().tobytes()
        for i, j in product(range(2 * pad + 1), repeat=2)
    }


def test_pictures_that_must_not_be_mirrored_only_move():
    torch.manual_seed(0)
    one = torch.rand(3, 7, 10)
    xb = one.repeat(400, 1, 1, 1)
    plain, mirrored = shifts(one, 2), shifts(one.flip(2), 2)
    assert len(plain) == len(mirrored) == 25 and not plain & mirrored
    moved = shift(xb, 2)
    assert moved.shape == xb.shape and torch.equal(xb[-1], one)
    assert {x.contiguous().numpy().tobytes() for x in moved} == plain
    found = {x.contiguous().numpy().tobytes() for x in augment(xb, 2)}
    assert found <= plain | mirrored and found & plain and found & mirrored


# --- networks


def test_a_network_begins_as_its_probe(exact):
    s, model = scenario(), make(True)
    with torch.no_grad():
        model.features.d.norm.weight[2] = model.features.d.norm.bias[2] = (
            0  # a channel that says nothing
        )
    with evaluating(model):
        x = pool_features(model.features(normalize(s.images, s.stats))).numpy()
    train = np.arange(40)
    probe = linear_probe(x[train], s.y[train], [0.1])
    net = network(model, 4, probe, x[train])
    assert (
        net.body is model.features
        and list(dict(net.named_children())) == ["body", "pool", "norm", "head"]
        and net.training
    )
    with evaluating(net):
        assert np.allclose(
            net(normalize(s.images, s.stats)).numpy(), probe.logits(x), atol=1e-4
        )
    assert score(net, s, train) == probe.accuracy(x[train], s.y[train]) > 0.4
    assert score(net, s, train[:7]) == probe.accuracy(x[:7], s.y[:7])


def test_a_network_without_a_probe():
    torch.manual_seed(0)
    a, b = network(make(True), 5), network(make(True), 5)
    assert (
        a.head.out_features == 5
        and a.head.in_features == a.norm.num_features == 12
        and not torch.equal(a.head.weight, b.head.weight)
    )


def test_features_of_each_depth(exact):
    s, model = scenario(), make(True)
    model.features.b.norm.eval()
    modes = [m.training for m in model.modules()]
    found = depth_features(model, s.images[:21], STATS, bs=8)
    assert list(found) == [f"features.{part}" for part in "abcd"] and modes == [
        m.training for m in model.modules()
    ]
    for n, x in enumerate(found.values(), 2):
        with evaluating(model):
            right = pool_features(
                model.features[:n](normalize(s.images[:21], STATS))
            ).numpy()
        assert x.dtype == np.float32 and np.allclose(x, right, atol=1e-5)
    [(layer, x)] = depth_features(model, s.images[:21], STATS, ["features.c"]).items()
    assert layer == "features.c" and np.allclose(x, found["features.c"], atol=1e-5)


def test_the_nearest_by_angle():
    x = np.array([[1, 0], [0, 10], [1, 2], [9, 1], [0, 0]], np.float32)
    y, train = np.array([0, 1, 1, 0, 0]), np.array([0, 1])
    assert nearest_accuracy(x, y, train, np.array([2])) == 1, (
        "by distance it would be the other one"
    )
    assert (
        nearest_accuracy(x, y, train, np.array([2, 3])) == 1
        and nearest_accuracy(x, 1 - y * 0, train, np.array([4])) == 1
    )
    assert (
        nearest_accuracy(x, np.array([0, 1, 0, 0, 1]), train, np.array([2, 3])) == 0.5
    )


@pytest.fixture
def fits(monkeypatch):
    "What each training began with, what it ended with, and its rates."
    kept = []

    def keeping(net, groups, *args):
        before, lrs = copy.deepcopy(net.state_dict()), [g["lr"] for g in groups]
        fit_network(net, groups, *args)
        kept.append(SimpleNamespace(before=before, after=net.state_dict(), lrs=lrs))

    monkeypatch.setattr(scenarios, "fit_network", keeping)
    return kept


@pytest.mark.parametrize(
    "strategy, parts",
    [("head", ""), ("last parts", "cd"), ("everything", "abcd"), ("scratch", "abcd")],
)
def test_what_a_strategy_trains(fits, strategy, parts):
    cell(strategy, rates=(1e-3, 2e-3))
    first, second = fits
    assert all(
        torch.equal(v, second.before[name]) for name, v in first.before.items()
    ), "each rate begins anew"
    for fit in fits:
        moved = {
            name
            for name, v in fit.before.items()
            if not torch.equal(v, fit.after[name])
        }
        assert moved == {
            name
            for name in fit.before
            if name.startswith(("norm.", "head.", *(f"body.{part}." for part in parts)))
        }
    trained = {
        f"body.{name}": v for name, v in make(True).features.state_dict().items()
    }
    assert all(torch.equal(v, first.before[name]) for name, v in trained.items()) == (
        strategy != "scratch"
    )
    assert (first.before["norm.running_mean"].abs().max() > 0) == (
        strategy != "scratch"
    )


def test_the_rates_of_the_layers(monkeypatch):
    kept = {}

    def note(net, groups, *args):
        kept[strategy] = (
            {id(p): g["lr"] for g in groups for p in g["params"]},
            {name: id(p) for name, p in net.named_parameters()},
        )

    monkeypatch.setattr(scenarios, "fit_network", note)
    for strategy in RATES:
        cell(strategy, rates=[0.3])
    rates = {
        s: {name: lrs[i] for name, i in names.items() if i in lrs}
        for s, (lrs, names) in kept.items()
    }
    assert (
        set(rates["scratch"].values()) == {0.3}
        and len(rates["scratch"]) == len(rates["everything"]) == 16
    )
    assert rates["everything"]["body.a.conv.weight"] == pytest.approx(0.03) and rates[
        "everything"
    ]["body.d.conv.weight"] == pytest.approx(0.1)
    assert all(rates[s]["head.weight"] == 0.3 for s in RATES)
    assert all(
        lr == rates["everything"][name]
        for s in ("head", "last parts")
        for name, lr in rates[s].items()
    )


class Marked:
    "In place of a probe: right more often or less, on those that choose and on others."

    def __init__(self, l2):
        self.l2 = l2

    def accuracy(self, x, y):
        return (
            {0.1: 0.5, 0.01: 0.7, 0.001: 0.6}[self.l2] if len(y) == 8 else 1 - self.l2
        )


def test_the_probe_that_a_network_begins_with(exact, monkeypatch):
    s, kept = scenario(), []
    train, valid = s.draw(10, 0)

    def note(model, n_out, probe=None, x=None):
        kept.append((probe, x))
        return network(model, n_out)

    monkeypatch.setattr(scenarios, "network", note)
    monkeypatch.setattr(
        scenarios, "linear_probe", lambda x, y, l2s, seed: Marked(l2s[0])
    )
    cell("head", s=s, l2s=(0.1, 0.01, 0.001), rates=(1e-3, 1e-2), n_seen=16)
    right = depth_features(make(True), s.images[train], STATS)["features.d"]
    assert (
        len(valid) == 8
        and len(kept) == 2
        and all(
            probe.l2 == 0.01 and np.allclose(x, right, atol=1e-5) for probe, x in kept
        )
    )


def test_every_training_sees_as_many_pictures():
    seen = {}
    for strategy, per_class in product(RATES, (4, None)):
        SEEN.clear()
        cell(strategy, per_class=per_class, rates=(1e-3, 2e-3), n_seen=50, bs=8)
        seen[strategy, per_class] = [*SEEN]
    assert all(batches == [8] * 7 * 2 for batches in seen.values()), seen
    SEEN.clear()
    for strategy in ("probe", "early probe", "nearest", "random probe"):
        cell(strategy)
    assert not SEEN


def test_a_training_shows_each_picture_equally_often(monkeypatch):
    shown, s = [], scenario(24, 4, mirror=False)
    s.images[:] = np.arange(24)[:, None, None, None]
    monkeypatch.setattr(
        scenarios, "shift", lambda xb, pad: shown.append((xb, pad)) or xb
    )
    monkeypatch.setattr(scenarios, "augment", None)
    net, train = network(make(True), 4), s.draw(None, 0)[0]
    groups = [dict(params=net.parameters(), lr=1e-3)]
    fit_network(net, groups, s, train, 4 * len(train), 4)
    channel = torch.cat([xb for xb, _ in shown])[:, 0, 0, 0]
    shades = (channel * STATS[1][0] + STATS[0][0]) * 255
    assert {pad for _, pad in shown} == {1}
    learned = np.where(np.isin(np.arange(24), train), 4, 0)
    assert np.array_equal(np.bincount(shades.round().int(), minlength=24), learned)


# --- cells


def numbers(table):
    return table.drop(columns="seconds")


@pytest.mark.parametrize("strategy", ALL)
def test_a_cell_again(strategy):
    a, b, *others = (cell(strategy, seed) for seed in (0, 0, 1, 2))
    pd.testing.assert_frame_equal(numbers(a), numbers(b))
    assert list(a.columns) == [
        "setting",
        "valid",
        "test",
        "n_train",
        "n_valid",
        "n_test",
        "seconds",
    ]
    assert (
        (a.n_train == 32).all()
        and (a.n_valid == 8).all()
        and (a.n_test == 32).all()
        and a.seconds.is_monotonic_increasing
        and (a.seconds > 0).all()
    )
    assert (
        a.valid.between(0, 1).all()
        and a.test.between(0, 1).all()
        and ((a.valid * 8) % 1 == 0).all()
        and ((a.test * 32) % 1 == 0).all()
    )
    assert all(list(a.setting) == list(c.setting) for c in others) and not all(
        np.array_equal(a[["valid", "test"]], c[["valid", "test"]]) for c in others
    )


def test_what_weights_a_strategy_asks_for():
    asked = {strategy: [] for strategy in ALL}

    def noting(strategy, weights):
        asked[strategy].append(weights)
        return make(weights)

    for strategy in ALL:
        rates, l2s = (1e-3, 1e-2), (0.1,)
        run_cell(
            scenario(), strategy, partial(noting, strategy), 4, 0, rates, l2s, 16, 8
        )
    assert {s: set(a) for s, a in asked.items()} == {
        s: {s not in ("scratch", "random probe")} for s in ALL
    }


@pytest.mark.parametrize("strategy", ["everything", "probe"])
def test_the_settings_of_a_cell(strategy):
    some = dict(rates=(1e-3, 4e-3)) if strategy in RATES else dict(l2s=(0.1, 0.004))
    both, last = (
        cell(strategy, **some),
        cell(strategy, **{k: v[1:] for k, v in some.items()}),
    )
    assert list(both.setting) == (
        ["lr=0.001", "lr=0.004"]
        if strategy in RATES
        else ["features.d, l2=0.1", "features.d, l2=0.004"]
    )
    pd.testing.assert_frame_equal(
        numbers(both)[1:].reset_index(drop=True), numbers(last)
    )


def test_settings_by_default(fits):
    cell("scratch", rates=None, n_seen=16)
    assert len(fits) == len(RATES["scratch"]) and [fit.lrs[0] for fit in fits] == list(
        RATES["scratch"]
    )
    assert list(cell("early probe").setting) == [
        f"features.{part}, l2=0.1" for part in "abc"
    ]
    assert list(cell("nearest").setting) == ["features.d"]


@pytest.mark.parametrize("strategy", ALL)
def test_nothing_is_learned_from_the_test_part(strategy):
    s, other = scenario(), scenario()
    other.images[other.test], other.y[other.test] = (
        255 - other.images[other.test],
        (other.y[other.test] + 1) % 4,
    )
    a, b = cell(strategy, s=s), cell(strategy, s=other)
    assert np.array_equal(a.valid, b.valid) and not np.array_equal(a.test, b.test)


@pytest.mark.parametrize("strategy", ["fine-tune", "Probe", "", None])
def test_no_such_strategy(strategy):
    known = "probe, early probe, head, last parts, everything, scratch"
    with pytest.raises(
        ValueError, match=f"there is no strategy {strategy!r}: give one of {known}"
    ):
        cell(strategy)


# --- tables


def results(sets=("pets", "digits"), body="densenet_tiny", seeds=3, seed=0):
    """A table like the experiment's, with numbers of chance.

    The second setting has a better test and a worse validation accuracy.
    """
    rng, rows = np.random.default_rng(seed), []
    for k, name in enumerate(sets):
        for s, size, strategy in product(range(seeds), ("few", "all"), ALL):
            n = (8 + 2 * k) * (1 if size == "few" else 9 - 3 * k)
            valid, test = rng.uniform(0.4, 0.8, 2).round(4)
            for setting, d in (("first", 0), ("second", 0.1)):
                rows.append(
                    dict(
                        body=body,
                        set=name,
                        size=size,
                        strategy=strategy,
                        seed=s,
                        setting=setting,
                        valid=valid - d,
                        test=test + d,
                        n_class=4 + k,
                        n_train=n * (4 + k) * 3 // 4,
                        n_valid=n * (4 + k) // 4,
                        n_test=100 * (k + 1),
                    )
                )
    return pd.DataFrame(rows)


def rows_of(table, row, keys=("set", "size", "seed")):
    return table[(table[[*keys]] == [row[k] for k in keys]).all(axis=1)]


def in_another_order(table, seed=0):
    return table.sample(frac=1, random_state=seed)


def test_reading(tmp_path):
    results().to_csv(tmp_path / "mine.csv", index=False)
    pd.testing.assert_frame_equal(read_scenarios(tmp_path / "mine.csv"), results())


def test_validation_chooses_and_the_first_of_equals():
    rows = [
        ("b", 0, "x", 0.5, 0.9),
        ("b", 0, "y", 0.7, 0.1),
        ("b", 0, "z", 0.7, 0.8),
        ("a", 0, "x", 0.2, 0.3),
        ("b", 1, "x", 0.0, 0.3),
        ("b", 1, "y", 0.0, 0.4),
    ]
    table = pd.DataFrame(
        [
            dict(
                body="m",
                set=name,
                size="few",
                strategy="probe",
                seed=seed,
                setting=setting,
                valid=valid,
                test=test,
            )
            for name, seed, setting, valid, test in rows
        ]
    )
    chosen = choose(table)
    assert list(
        chosen[["set", "seed", "setting", "test"]].itertuples(index=False, name=None)
    ) == [("b", 0, "y", 0.1), ("a", 0, "x", 0.3), ("b", 1, "x", 0.3)]
    assert list(chosen.index) == [0, 1, 2] and list(chosen.columns) == list(
        table.columns
    )
    parts = pd.concat([table[:3], table[3:].reset_index(drop=True)])
    pd.testing.assert_frame_equal(choose(parts), chosen)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(0, 2),
            st.integers(0, 4),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=25)
def test_the_test_part_has_no_say(rows):
    table = pd.DataFrame(
        [
            dict(
                zip(CELL, ("m", name, "few", "probe", seed)),
                setting=k,
                valid=valid / 4,
                test=test / 9,
            )
            for k, (name, seed, valid, test) in enumerate(rows)
        ]
    )
    chosen = choose(table)
    assert len(chosen) == len({row[:2] for row in rows}) and list(
        choose(table.assign(test=1 - table.test)).setting
    ) == list(chosen.setting)
    for row in chosen.itertuples():
        mine = table[
            (table["set"] == chosen["set"][row.Index]) & (table.seed == row.seed)
        ]
        assert row.setting == mine.setting[mine.valid == mine.valid.max()].min()


def test_intervals_that_are_known():
    mean, half = interval([1, 2, 3])
    assert mean == 2 and half == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert (
        interval((0.5, 0.5, 0.5)) == (0.5, 0)
        and isinstance(mean, float)
        and isinstance(half, float)
    )
    assert interval([0, 2], level=0.5) == (1, pytest.approx(1))
    for values in ([], [0.5]):
        with pytest.raises(
            ValueError,
            match=f"there are {len(values)} values: an interval needs two or more",
        ):
            interval(values)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(0.05, 0.999))
@settings(max_examples=50)
def test_intervals_are_those_of_scipy(values, level):
    mean, half = interval(values, level)
    assume(np.std(values) > 1e-9)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(level)
    assert math.isclose(mean - half, low, abs_tol=1e-9) and math.isclose(
        mean + half, high, abs_tol=1e-9
    )


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6),
    st.floats(0, 0.1),
)
def test_a_verdict_says_where_the_interval_lies(pairs, margin):
    better, worse = zip(*pairs)
    mean, half, said = verdict(better, worse, margin)
    assert (mean, half) == interval(np.subtract(better, worse))
    assert said == (
        "holds"
        if mean - half > margin
        else "fails"
        if mean + half < margin
        else "too close"
    )
    opposite = {"holds": "fails", "fails": "holds", "too close": "too close"}
    assert verdict(worse, better, 0)[2] == opposite[verdict(better, worse, 0)[2]]


def test_verdicts_are_paired_by_seed():
    level = np.array([0.1, 0.5, 0.9])
    assert verdict(level + [0.049, 0.05, 0.051], level)[2] == "holds"
    assert verdict(level + [0.049, 0.05, 0.051], level, margin=0.06)[2] == "fails"
    assert verdict(level + [0.049, 0.05, 0.051], level[::-1])[2] == "too close"
    assert (
        verdict(level + [0.009, 0.01, 0.011], level)[2] == "too close"
        and verdict(level, level)[2] == "fails"
    )
    with pytest.raises(
        ValueError, match="there are 3 and 2 accuracies: give one of each for each seed"
    ):
        verdict([0.1, 0.2, 0.3], [0.1, 0.2])


def test_rules_speak_of_what_was_measured():
    assert all(
        name in ("pets", "digits")
        and size in ("few", "all")
        and better != worse
        and {better, worse} <= {*STRATEGIES}
        for _, name, size, better, worse in RULES
    )
    assert len({rule for rule, *_ in RULES}) == len(RULES) and set(RATES) < set(
        STRATEGIES
    )


def test_rules_on_trial():
    chosen = choose(results())
    table = trial(chosen)
    assert list(table.columns) == [
        "rule",
        "set",
        "size",
        "better",
        "worse",
        "difference",
        "half",
        "verdict",
    ]
    assert (
        list(
            table[["rule", "set", "size", "better", "worse"]].itertuples(
                index=False, name=None
            )
        )
        == RULES
    )
    tests = chosen.set_index(["set", "size", "strategy", "seed"]).test
    for row in table.to_dict("records"):
        pair = [
            [tests[row["set"], row["size"], row[side], seed] for seed in range(3)]
            for side in ("better", "worse")
        ]
        assert (row["difference"], row["half"], row["verdict"]) == verdict(*pair)
    pd.testing.assert_frame_equal(trial(in_another_order(chosen)), table)
    assert set(trial(chosen, margin=-2).verdict) == {"holds"} and set(
        trial(chosen, margin=2).verdict
    ) == {"fails"}
    with pytest.raises(KeyError, match="bees"):
        trial(chosen, [("rule", "bees", "few", "probe", "head")])


def test_a_trial_compares_the_same_seeds():
    chosen, rules = (
        choose(results(seeds=4)),
        [("rule", "pets", "few", "everything", "probe")],
    )
    tests = (
        chosen[(chosen.set == "pets") & (chosen["size"] == "few")]
        .set_index(["strategy", "seed"])
        .test
    )

    def without(*cells):
        return chosen[[cell not in cells for cell in zip(chosen.strategy, chosen.seed)]]

    for cells, seeds in (
        ((("probe", 0),), (1, 2, 3)),
        ((("probe", 0), ("everything", 2)), (1, 3)),
    ):
        [row] = trial(without(*cells), rules).to_dict("records")
        assert (row["difference"], row["half"], row["verdict"]) == verdict(
            *(
                [tests[strategy, seed] for seed in seeds]
                for strategy in ("everything", "probe")
            )
        )
    with pytest.raises(ValueError, match="there are 1 values"):
        trial(without(("probe", 0), ("everything", 2), ("everything", 1)), rules)


def test_means_of_cells():
    chosen = choose(results())
    means = cell_means(chosen)
    assert list(means.columns) == [*CELL[:-1], "accuracy", "half"] and len(
        means
    ) == 2 * 2 * len(ALL)
    for row in in_another_order(means)[:9].to_dict("records"):
        mine = rows_of(chosen, row, CELL[:-1])
        assert (row["accuracy"], row["half"]) == interval(mine.test)


def test_a_picture_of_the_scenarios():
    chosen = choose(results(("pets", "digits", "bees")))
    axs = plot_scenarios(chosen, ("bees", "pets"))
    axs[0, 0].figure.canvas.draw()
    assert axs.shape == (2, 2) and axs[0, 0].get_ylim()[0] > axs[0, 0].get_ylim()[1], (
        "the first strategy is on top"
    )
    means = cell_means(chosen).set_index(["set", "size", "strategy"])
    for row, name in zip(axs, ("bees", "pets")):
        for ax, size in zip(row, ("few", "all")):
            n = chosen[(chosen.set == name) & (chosen["size"] == size)].n_train.iloc[0]
            assert (
                ax.get_title() == f"{name}, {size}: {n} to train on"
                and ax.get_xlabel() == "test accuracy"
            )
            assert [t.get_text() for t in axs[0, 0].get_yticklabels()] == list(
                STRATEGIES
            )
            for strategy, bar in zip(STRATEGIES, ax.containers, strict=True):
                accuracy, half = means.loc[(name, size, strategy), ["accuracy", "half"]]
                (x0, y0), (x1, y1) = bar.lines[2][0].get_segments()[0]
                assert (
                    bar.lines[0].get_xdata() == [accuracy]
                    and (x0, x1) == pytest.approx((accuracy - half, accuracy + half))
                    and y0 == y1
                )
            assert [
                line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"
            ] == [1 / (6 if name == "bees" else 4)]
    [[ax, _]] = plot_scenarios(chosen, ("pets",), chance=False)
    assert not any(line.get_linestyle() == ":" for line in ax.lines)
    plt.close("all")


# --- similarity


def keyed(table):
    return table.set_index(["body", "set", "size", "seed"]).sort_index()


def test_measures_by_hand():
    chosen = choose(results())
    table = measures(chosen)
    assert (
        list(table.columns)
        == ["body", "set", "size", "seed", "per_class", "gain", "depth", "nearest"]
        and len(table) == 2 * 2 * 3
    )
    for row in table.to_dict("records"):
        mine = rows_of(chosen, row).set_index("strategy")
        error = 1 - mine.valid + 0.5 / mine.n_valid
        assert (
            row["per_class"] == mine.n_train.iloc[0] / mine.n_class.iloc[0]
            and row["nearest"] == mine.valid["nearest"]
        )
        assert row["gain"] == pytest.approx(
            1 - error["probe"] / error["random probe"]
        ) and row["depth"] == pytest.approx(1 - error["early probe"] / error["probe"])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed):
    chosen = choose(results(("pets", "digits", "bees")))
    other = in_another_order(chosen, seed)
    pd.testing.assert_frame_equal(keyed(measures(other)), keyed(measures(chosen)))
    a, b = (
        asdict(recommend(table, 0.6, 0.65, 0.1, 12, 30)) for table in (chosen, other)
    )
    for told in (a, b):
        del told["cell"], told["expected"]
    assert a == {
        k: pytest.approx(v) if isinstance(v, float) else v for k, v in b.items()
    }


def test_measures_use_no_test_part():
    chosen = choose(results())
    pd.testing.assert_frame_equal(
        measures(chosen.drop(columns=["test", "n_test"])), measures(chosen)
    )


def world(**sets):
    """One seed of each set with the errors of strategies, for all parts alike.

    There are 8 pictures of each class, or 64.
    """
    rows = []
    for name, errors in sets.items():
        for size, strategy in product(("few", "all"), ALL):
            error = {"nearest": 0.5, "random probe": 0.5, **errors}[strategy]
            rows.append(
                dict(
                    body="m",
                    set=name,
                    size=size,
                    strategy=strategy,
                    seed=0,
                    setting="",
                    valid=1 - error,
                    test=1 - error,
                    n_class=10,
                    n_train=80 if size == "few" else 640,
                    n_valid=10**9,
                    n_test=10**9,
                )
            )
    return pd.DataFrame(rows)


NEAR = dict(zip(STRATEGIES, (0.2, 0.2, 0.2, 0.16, 0.1, 0.4)))  # depth 0
AWAY = dict(zip(STRATEGIES, (0.4, 0.2, 0.2, 0.2, 0.15, 0.1)))  # depth 0.5
SPREAD = math.log(
    0.75 / 0.5
)  # of "everything": what is left of the better probe's errors in the two sets


def test_the_nearest_cell_speaks():
    told = recommend(world(near=NEAR, away=AWAY), 0.8, 0.8, 0, 8, 100)
    assert (
        told.expected
        == pytest.approx(dict(zip(STRATEGIES, (0.8, 0.8, 0.8, 0.84, 0.9, 0.6))))
        and told.strategy == "everything"
        and told.accuracy == pytest.approx(0.9)
    )
    assert (told.set, told.size, told.far) == (
        "near",
        "few",
        False,
    ) and told.distance == pytest.approx(0, abs=1e-6)
    sd = math.sqrt(0.8 / (0.2 * 100) + SPREAD**2)
    assert told.low == pytest.approx(
        1 - 0.1 * math.exp(1.96 * sd)
    ) and told.high == pytest.approx(1 - 0.1 * math.exp(-1.96 * sd))
    told = recommend(world(near=NEAR, away=AWAY), 0.8, 0.9, 0.5, 64, 100)
    assert (
        told.expected
        == pytest.approx(dict(zip(STRATEGIES, (0.8, 0.9, 0.9, 0.9, 0.925, 0.95))))
        and told.strategy == "scratch"
    )
    assert (told.set, told.size) == ("away", "all")


def test_what_a_cell_is_related_to():
    "Validation says which probe is the better one; errors are those of the test part."
    table = world(near=NEAR, away=AWAY)
    table.loc[(table.set == "near") & (table.strategy == "early probe"), "test"] = 0.95
    assert recommend(table, 0.8, 0.8, 0, 8, 100).expected[
        "everything"
    ] == pytest.approx(0.9)
    table.loc[(table.set == "near") & (table.strategy == "early probe"), "valid"] = (
        0.801
    )
    assert recommend(table, 0.8, 0.8, 0, 8, 100).expected[
        "everything"
    ] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "margin, strategy",
    [
        (0, "everything"),
        (0.03, "everything"),
        (0.061, "last parts"),
        (0.101, "probe"),
        (1, "probe"),
    ],
)
def test_the_cheapest_within_a_margin(margin, strategy):
    told = recommend(world(near=NEAR, away=AWAY), 0.8, 0.8, 0, 8, 100, margin=margin)
    assert told.strategy == strategy and told.accuracy == told.expected[strategy]


def test_a_probe_was_measured_and_is_trusted_more():
    told = recommend(world(near=NEAR, away=AWAY), 0.8, 0.8, 0, 8, 100, margin=1)
    sd = math.sqrt(0.8 / (0.2 * 100))
    assert told.low == pytest.approx(
        1 - 0.2 * math.exp(1.96 * sd)
    ) and told.high == pytest.approx(1 - 0.2 * math.exp(-1.96 * sd))


def test_far_from_every_cell():
    table = world(near=NEAR, away=AWAY)
    here, far = (
        recommend(table, 0.8, 0.8, -0.4, 8, 100),
        recommend(table, 0.8, 0.8, -0.6, 8, 100),
    )
    assert (
        here.set == far.set == "near"
        and here.accuracy == far.accuracy
        and here.far is False
        and far.far is True
    )
    assert far.low < here.low < here.accuracy < here.high < far.high
    sd = math.sqrt(0.8 / (0.2 * 100) + (2 * SPREAD) ** 2)
    assert far.low == pytest.approx(
        max(1 - 0.1 * math.exp(1.96 * sd), 0)
    ) and far.high == pytest.approx(1 - 0.1 * math.exp(-1.96 * sd))
    assert recommend(table, 0.8, 0.8, 0, 8 * 2**9, 100).far, "in number of pictures too"


def test_one_set_is_never_enough_to_be_sure():
    told = recommend(world(near=NEAR), 0.8, 0.8, 0, 8, 100)
    sd = math.sqrt(0.8 / (0.2 * 100) + 2**2)
    assert (
        told.far is True
        and told.strategy == "everything"
        and told.high == pytest.approx(1 - 0.1 * math.exp(-1.96 * sd))
        and told.low == 0
    )


def test_other_measures_and_none():
    table = world(near=NEAR, away=AWAY)
    assert (
        recommend(table, 0.8, 0.8, float("nan"), 8, 100, None).size == "few"
        and recommend(table, 0.8, 0.8, float("nan"), 64, 100, None).size == "all"
    )
    assert [
        recommend(table, 0.8, 0.8, gain, 8, 100, "gain").set for gain in (0.6, 0.2)
    ] == ["near", "away"]
    with pytest.raises(KeyError, match="color"):
        recommend(table, 0.8, 0.8, 0, 8, 100, "color")


@cache
def some_cells(seed):
    return choose(results(("a", "b", "c"), seeds=2, seed=seed))


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(-9, 1),
    st.floats(1, 1e5),
    st.integers(1, 5000),
    st.integers(0, 3),
)
@example(0.0, 0.0, 0.0, 10.0, 3, 0)
@example(1.0, 1.0, 0.0, 10.0, 1, 0)
@settings(max_examples=25)
def test_what_is_expected_can_be(probe, early, similarity, per_class, n_valid, seed):
    told = recommend(some_cells(seed), probe, early, similarity, per_class, n_valid)
    assert (
        0 <= told.low < told.accuracy < told.high <= 1
        and told.accuracy == told.expected[told.strategy]
    )
    assert list(told.expected) == list(STRATEGIES) and all(
        0 <= v <= 1 for v in told.expected.values()
    )
    good = [
        s
        for s, v in told.expected.items()
        if v >= max(told.expected.values()) - 0.01 - 1e-12
    ]
    assert told.strategy == good[0]
    assert told.expected["probe"] == pytest.approx(
        min(max(probe, 0.5 / n_valid), 1 - 0.5 / n_valid)
    )


COLUMNS = "set size seed strategy regret tau accuracy low high test inside".split()


@pytest.mark.parametrize("measure", ["depth", "gain", None])
def test_a_set_that_is_left_out_is_not_seen(measure):
    chosen = choose(results(("pets", "digits", "bees"), seeds=1))
    table = leave_one_out(chosen, measure)
    assert list(table.columns) == COLUMNS and len(table) == 3 * 2
    poisoned = chosen.copy()
    mine, own = (
        chosen.set == "digits",
        ("probe", "early probe", "random probe")
        if measure == "gain"
        else ("probe", "early probe"),
    )
    poisoned.loc[mine, "test"] = 0.5 + 0.5 * np.random.default_rng(1).random(mine.sum())
    poisoned.loc[mine & ~chosen.strategy.isin(own), "valid"] = 1.0
    said = COLUMNS[:4] + ["accuracy", "low", "high"]
    a, b = (
        t[t.set == "digits"][said].reset_index(drop=True)
        for t in (table, leave_one_out(poisoned, measure))
    )
    pd.testing.assert_frame_equal(a, b)


def test_how_good_a_recommendation_was():
    chosen = choose(results(("pets", "digits", "bees"), seeds=1))
    table, told = (
        leave_one_out(chosen),
        measures(chosen).set_index(["set", "size", "seed"]),
    )
    assert table.inside.dtype == bool and (table.regret >= 0).all()
    for row in table.to_dict("records"):
        m = told.loc[(row["set"], row["size"], row["seed"])]
        mine = rows_of(chosen, row).set_index("strategy")
        got = recommend(
            chosen[chosen.set != row["set"]],
            mine.valid["probe"],
            mine.valid["early probe"],
            m.depth,
            m.per_class,
            mine.n_valid.iloc[0],
        )
        test = mine.test[list(STRATEGIES)]
        assert (
            all(
                row[k] == pytest.approx(getattr(got, k))
                for k in ("accuracy", "low", "high")
            )
            and row["strategy"] == got.strategy
            and row["test"] == test[row["strategy"]]
        )
        assert row["regret"] == pytest.approx(test.max() - row["test"]) and row[
            "inside"
        ] == (row["low"] <= row["test"] <= row["high"])
        assert row["tau"] == pytest.approx(
            scipy.stats.kendalltau(list(got.expected.values()), test).statistic
        )


def test_no_cells_to_lean_on():
    with pytest.raises(ValueError, match="no cells to lean on"):
        recommend(choose(results())[:0], 0.5, 0.5, 0, 8, 100)
    with pytest.raises(ValueError, match="no cells to lean on"):
        leave_one_out(choose(results(("pets",))))


# --- the table that comes with the library

SETS = {
    "squeezenet1_0": ["pets", "digits", "cifar10"],
    "densenet_tiny": ["drawn, dial 0", "drawn, dial 1"],
}
FIELDS = (
    "body set px size strategy seed setting valid test n_class n_train n_valid n_test "
    "seen seconds torch torchvision device threads date"
).split()


@pytest.fixture(scope="module")
def shipped():
    return read_scenarios()


def test_the_shipped_table_is_whole(shipped):
    assert (
        list(shipped.columns) == FIELDS
        and not shipped.isna().any().any()
        and not shipped.duplicated([*CELL, "setting"]).any()
    )
    wanted = {
        (body, name, size, strategy, seed)
        for body, names in SETS.items()
        for name, size, strategy, seed in product(names, ("few", "all"), ALL, range(3))
    }
    there = set(shipped[CELL].itertuples(index=False, name=None))
    assert there >= wanted and {cell[:4] for cell in there} == {
        cell[:4] for cell in wanted
    }
    assert (
        shipped[["valid", "test"]].stack().between(0, 1).all()
        and (shipped[["n_class", "n_train", "n_valid", "n_test", "px", "threads"]] > 0)
        .all()
        .all()
    )


def test_each_cell_of_the_shipped_table_is_complete(shipped):
    for (body, strategy), rows in shipped.groupby(["body", "strategy"]):
        settings = rows.groupby(CELL).setting.agg(frozenset)
        assert settings.nunique() == 1, f"{body}, {strategy}: {set(settings)}"
        assert (
            len(settings.iloc[0]) == {"nearest": 1}.get(strategy, 3)
            or strategy == "early probe"
            and len(settings.iloc[0]) % 3 == 0 < len(settings.iloc[0])
        )
        if strategy in RATES:
            factor = 3 if body == "densenet_tiny" else 1
            assert {float(s.removeprefix("lr=")) for s in settings.iloc[0]} == {
                float(f"{factor * lr:g}") for lr in RATES[strategy]
            }


def test_budgets_and_parts_of_the_shipped_table_are_equal(shipped):
    for (body, strategy), rows in shipped.groupby(["body", "strategy"]):
        assert set(rows.seen) == (
            {6_000 if body == "squeezenet1_0" else 3_000} if strategy in RATES else {0}
        )
    assert (
        (shipped.groupby(["body", "set"])[["px", "n_class", "n_test"]].nunique() == 1)
        .all()
        .all()
    )
    assert (
        (
            shipped.groupby(["body", "set", "size"])[["n_train", "n_valid"]].nunique()
            == 1
        )
        .all()
        .all()
    )
    few = shipped[shipped["size"] == "few"]
    assert (few.n_train == 9 * few.n_class).all() and (
        few.n_valid == 3 * few.n_class
    ).all()


def test_the_shipped_table_can_be_judged(shipped):
    chosen = choose(shipped)
    assert len(chosen) == len(shipped.drop_duplicates(CELL)) and len(
        trial(chosen)
    ) == len(RULES)
    for body, names in SETS.items():
        table = leave_one_out(chosen[chosen.body == body])
        assert (
            set(table.set) == set(names)
            and table[["regret", "accuracy", "low", "high"]].stack().between(0, 1).all()
        )
        axs = plot_scenarios(chosen, names[:2])
        axs[0, 0].figure.canvas.draw()
    plt.close("all")


# --- advice

BREEDS = "patched_floppy", "spotted_long", "striped_pointy"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "Breed -> files."
    files = image_files(
        sample(tmp_path_factory.mktemp("drawn") / "set", n=48, size=32, breeds=BREEDS)
    )
    return {breed: [f for f in files if f.name.startswith(breed)] for breed in BREEDS}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "mine.csv"
    pd.concat(
        [
            results(("photos", "scans"), body)
            for body in ("densenet_tiny", "squeezenet1_0")
        ]
    ).to_csv(file, index=False)
    return file


@pytest.fixture
def put(drawn, tmp_path):
    "Put `n` pictures of a breed into a sub-folder of `photos`."
    root = tmp_path / "my photos"

    def put(sub, breed=0, n=8, start=0):
        (root / sub).mkdir(parents=True, exist_ok=True)
        for f in drawn[BREEDS[breed]][start : start + n]:
            shutil.copy(f, root / sub)
        return root

    return put


def probed(**changed):
    found = dict(probe=0.6, early=0.5, layer="features.conv0", nearest=0.5, random=0.3)
    return Probed(**found | dict(depth=-0.25, n_valid=20, seconds=2.0) | changed)


@pytest.fixture
def quick(monkeypatch):
    "No probing: what would have been probed is kept, and the answer is the same."
    kept = []

    def probing(scenario, make, files, labels):
        kept.append(
            SimpleNamespace(scenario=scenario, make=make, files=files, labels=labels)
        )
        return probed()

    monkeypatch.setattr(scenarios, "probe_pictures", probing)
    monkeypatch.setattr(
        scenarios, "training_seconds", lambda scenario, make, strategy: 60.0
    )
    return kept


def break_off(file):
    "Cut a file behind its header."
    file.write_bytes(file.read_bytes()[:-100])


def snapshot(folder):
    return {
        f.relative_to(folder).as_posix(): (
            f.is_file() and f.read_bytes(),
            f.lstat().st_mtime_ns,
        )
        for f in folder.rglob("*")
    }


def ask(folder, table, **kwargs):
    return advise(folder, **dict(body="densenet_tiny", file=table) | kwargs)


def test_advice_for_a_good_folder(put, table):
    for breed in range(3):
        root = put(f"breed {breed}", breed)
    before = snapshot(root)
    advice = ask(root, table)
    assert snapshot(root) == before and sorted(
        p.name for p in root.parent.iterdir()
    ) == [root.name], "nothing is written"
    assert (
        advice.folder == str(root)
        and advice.counts == {"breed 0": 8, "breed 1": 8, "breed 2": 8}
        and advice.notes == advice.skipped == []
        and advice.body == "densenet_tiny"
    )
    assert (
        advice.strategy in STRATEGIES
        and 0 <= advice.low <= advice.accuracy <= advice.high <= 1
        and advice.seconds > 0
        and isinstance(advice.unsure, bool)
    )
    assert (
        all(
            0 <= getattr(advice.measured, k) <= 1
            for k in ("probe", "early", "nearest", "random")
        )
        and advice.measured.n_valid == 6
    )
    assert (
        advice.measured.probe > 0.4
        and advice.measured.layer.startswith("features.")
        and advice.measured.layer != "features.norm5"
    )
    assert any(
        f"The nearest measured cell is {name}, {size}: there probe" in advice.why
        for name in ("photos", "scans")
        for size in ("few", "all")
    )
    held = {
        "densenet_tiny is right for": "probe",
        f"one of {advice.measured.layer} for": "early",
        "and one of random weights for": "random",
    }
    assert all(
        f"{text} {getattr(advice.measured, k):.0%}" in advice.why
        for text, k in held.items()
    )

    said = advice.to_dict()
    assert (
        json.loads(json.dumps(said, allow_nan=False)) == {**said, "skipped": []}
        and type(said["counts"]["breed 0"]) is int
    )
    lines, classes = str(advice).splitlines(), "breed 0, breed 1, breed 2"
    assert (
        len(lines) == 5
        and lines[0] == f"{root}: 24 images in 3 classes, 8 to 8 in a class: {classes}."
        and max(map(len, lines)) < 900
    )


def test_what_advice_leans_on(put, table, quick, monkeypatch):
    asked = []
    monkeypatch.setattr(
        scenarios,
        "recommend",
        lambda chosen, *args: asked.append(args) or recommend(chosen, *args),
    )
    for breed in range(2):
        root = put(str(breed), breed, 12)
    (root / "no picture in it").mkdir()
    advice = ask(root, table)
    assert asked == [(0.6, 0.5, -0.25, 9, 20)]
    cells = choose(read_scenarios(table).query("body == 'densenet_tiny'"))
    told = recommend(cells, 0.6, 0.5, -0.25, 9, 20)
    assert (
        advice.strategy,
        advice.accuracy,
        advice.low,
        advice.high,
        advice.unsure,
    ) == (told.strategy, told.accuracy, told.low, told.high, told.far)
    assert (
        f"The nearest measured cell is {told.set}, {told.size}: "
        f"there probe {told.cell['probe']:.0%}, early probe"
    ) in advice.why
    assert advice.seconds == (60 if advice.strategy in RATES else 2)
    [probed] = quick
    assert [
        f.parent.name for f in probed.files
    ] == probed.labels and probed.scenario.y.tolist() == [0] * 12 + [1] * 12
    for k in (0, 13):
        assert np.array_equal(
            probed.scenario.images[k], np.asarray(Image.open(probed.files[k]))
        )


def test_advice_that_is_unsure(put, tmp_path, quick):
    for breed in range(2):
        root = put(str(breed), breed, 8)
    results(("photos",)).to_csv(tmp_path / "one.csv", index=False)
    advice = ask(root, tmp_path / "one.csv")
    assert advice.unsure and advice.why.endswith(
        "No measured cell is near, so take this as a guess and try two strategies."
    )


def test_advice_says_how_well_it_has_foretold(put, table, quick, monkeypatch):
    for breed in range(2):
        root = put(str(breed), breed, 8)
    chosen = choose(read_scenarios(table).query("body == 'densenet_tiny'"))
    rows = leave_one_out(chosen)
    said = (
        "When each of the 2 measured sets was foretold from the others, the advice "
        f"lost on average {100 * rows.regret.mean():.1f} points of accuracy against "
        f"the best strategy, and {100 * rows.regret.max():.1f} at most; "
        f"{rows.inside.sum()} of {len(rows)} intervals held what was measured."
    )
    far = (
        " This folder is farther from every cell than those sets are from each other, "
        "so try two strategies."
    )
    why = ask(root, table).why
    assert said in why and "guess" not in why
    for per_class, unsure in ((9, False), (9 * 2**12, True)):
        advised = advise_strategy(0.6, 0.5, per_class, 20, depth=0, chosen=chosen)
        assert advised.told.far is unsure
        assert advised.why.endswith(said + far if unsure else said)


def test_a_strategy_that_probes_advise():
    advised = advise_strategy(0.6, 0.65, 40, 100)
    cells = choose(read_scenarios().query("body == 'squeezenet1_0'"))
    depth = 1 - (1 - 0.65 + 0.005) / (1 - 0.6 + 0.005)
    told = recommend(cells, 0.6, 0.65, depth, 40, 100)
    assert advised.strategy == told.strategy != "scratch"
    assert advised.told.accuracy == told.accuracy and advised.told.set == told.set
    assert re.match(
        rf"The nearest measured cell is {told.set}, {told.size}: {told.strategy} is "
        r"advised\. When each of the 3 measured sets .* of \d\d intervals held what "
        r"was measured\.",
        advised.why,
    )


def test_a_strategy_for_a_body_that_was_not_measured():
    advised = advise_strategy(0.6, 0.65, 40, 100, "resnet50")
    known = advise_strategy(0.6, 0.65, 40, 100)
    assert advised.told.accuracy == known.told.accuracy
    other = ", as far as what was measured with squeezenet1_0 holds for resnet50: "
    assert advised.why.replace(other, ": ") == known.why != advised.why
    assert "holds for" not in advise_strategy(0.6, 0, 40, 100, "densenet_tiny").why


def test_no_earlier_layer_is_advised_that_was_not_probed():
    for last, per_class in product((0, 0.01, 0.5, 0.99, 1), (1, 12, 10**4)):
        assert advise_strategy(last, 0, per_class, 8).strategy != "early probe"


def test_a_training_begins_with_pretrained_weights():
    table = world(near=NEAR, away=AWAY)
    advised = advise_strategy(0.8, 0.9, 64, 100, "m", depth=0.5, chosen=table)
    assert advised.told.strategy == "scratch" and advised.strategy == "everything"
    assert advised.why.startswith(
        "The nearest measured cell is away, all: everything is"
    )


@pytest.mark.parametrize("body", BODIES)
def test_what_is_known_of_the_table_that_comes_with_the_library(body):
    assert re.search(
        r"When each of the [23] measured sets .* of \d\d intervals held what was "
        r"measured\.",
        advise_strategy(0.6, 0.6, 40, 100, body).why,
    )


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Train", "val", "TEST"),
        ("training", "validation", "test"),
    ],
)
def test_a_folder_in_parts(put, table, quick, names):
    train, valid, test = names
    for breed in range(2):
        for part, (start, n) in zip(names, ((0, 5), (5, 2), (7, 4))):
            root = put(f"{part}/{breed}", breed, n, start)
    put(f"{test}/{0}", 0, 1, start=2)
    put(f"{valid}/{1}", 1, 1, start=3)
    advice = ask(root, table)
    assert (
        advice.counts == {"0": 12, "1": 12}
        and {f.parts[-3] for f in quick[0].files} == {train, valid}
        and len(quick[0].files) == 15
    )
    assert [note.partition(":")[0] for note in advice.notes] == ["Twins, 2", "Leaks, 2"]
    assert "the same picture is in two parts, such as" in advice.notes[1]
    assert (
        all(
            f"{part}/{name}" in advice.notes[1]
            for part, name in ((train, "0/patched"), (test, "0/patched"))
        )
        or f"{valid}/1/spotted" in advice.notes[1]
    )


def test_parts_are_parts_only_where_all_are(put, table, quick):
    for breed, name in enumerate(("train", "test", "bus")):
        root = put(name, breed)
    advice = ask(root, table)
    assert (
        advice.counts == {"bus": 8, "test": 8, "train": 8} and len(quick[0].files) == 24
    )
    [note] = advice.notes
    assert note.startswith(
        "There are classes with the names test, train. If these are parts"
    )
    shutil.rmtree(root / "test")
    assert ask(root, table).notes == [], "a train may be a train"


def test_twins_with_two_labels(put, table, quick):
    put("cat", 0, 8)
    root = put("dog", 1, 8)
    put("dog", 0, 1)
    shutil.copy(next((root / "cat").iterdir()), root / "cat" / "again.jpg")
    advice = ask(root, table)
    assert [note.partition(":")[0] for note in advice.notes] in (
        ["Twins, 2", "Labels in doubt, 1"],
        ["Twins, 1", "Labels in doubt, 1"],
    )
    doubt = advice.notes[1]
    assert (
        "the same picture is in two classes, such as" in doubt
        and "cat/patched_floppy_" in doubt
        and "dog/patched_floppy_" in doubt
    )


def test_a_messy_folder(put, table, drawn, quick):
    first, second = (f.name for f in drawn[BREEDS[2]][:2])
    torn = drawn[BREEDS[0]][7].name
    put("고양이 사진", 0, 15)
    put("big dogs/of my friend", 1, 3)
    put("all broken", 2, 2)
    root = put("", 2, 2)
    (root / "no picture in it").mkdir()
    (root / "고양이 사진" / "글.jpg").write_text("no picture")
    (root / "고양이 사진" / "empty.png").touch()
    (root / "고양이 사진" / ".hidden.jpg").write_bytes(b"x")
    (root / "link").symlink_to(root / "big dogs")
    for f in (root / "고양이 사진" / torn, *(root / "all broken").iterdir()):
        break_off(f)
    before = snapshot(root)
    advice = ask(root, table)
    assert (
        snapshot(root) == before
        and advice.counts == {"big dogs": 3, "고양이 사진": 14}
        and quick[0].labels == ["big dogs"] * 3 + ["고양이 사진"] * 14
    )
    outside = "image outside of the class folders"
    assert {name: reason.partition(":")[0] for name, reason in advice.skipped} == {
        f"all broken/{first}": "broken",
        f"all broken/{second}": "broken",
        "link": "link, not followed",
        first: outside,
        second: outside,
        f"고양이 사진/{torn}": "broken",
        "고양이 사진/.hidden.jpg": "hidden",
        "고양이 사진/empty.png": "empty file",
        "고양이 사진/글.jpg": "not an image",
    }
    assert advice.skipped == sorted(advice.skipped) and not any(
        str(root) in reason or "leave it out" in reason for _, reason in advice.skipped
    )
    [note] = advice.notes
    assert note.startswith(
        f"Left out, 9: all broken/{first} (broken: "
    ) and note.endswith(" and 6 more.")
    assert (
        json.loads(json.dumps(advice.to_dict()))["counts"] == advice.counts
        and note in str(advice)
        and len(str(advice).splitlines()) == 6
    )


def test_no_imbalance_below_five_times(put, table, quick):
    put("a", 0, 14)
    root = put("b", 1, 3)
    assert not any(note.startswith("Imbalance") for note in ask(root, table).notes)
    put("a", 0, 15)
    [note] = ask(root, table).notes
    assert note == (
        "Imbalance: a has 15 images and b has 3. Judge by each class, not by accuracy "
        "alone."
    )


def test_a_cap_takes_some_of_each_class(put, table, quick):
    put("a", 0, 16)
    put("b", 1, 8)
    root = put("c", 2, 2)
    advice = ask(root, table, most=13)
    probed = quick[-1]
    assert (
        len(probed.files) == 13
        and advice.counts == {"a": 16, "b": 8, "c": 2}
        and probed.files == sorted(probed.files)
    )
    n = pd.Series(probed.labels).value_counts()
    assert n["c"] == 2 and n["a"] + n["b"] == 11 and abs(n["a"] - 2 * n["b"]) <= 2, (
        "as many of each class as its share"
    )
    assert (
        "Of 26 images 13 were probed. With all of them more can be expected."
        in advice.notes
    )
    ask(root, table, most=13)
    assert quick[-1].files == probed.files
    ask(root, table, most=13, seed=1)
    assert quick[-1].files != probed.files
    assert (
        not any("were probed" in note for note in ask(root, table, most=26).notes)
        and len(quick[-1].files) == 26
    )


# --- bodies


class Weights:
    "In place of torchvision's networks: notes what is asked, and downloads nothing."

    def __init__(self):
        self.asked = []

    def __call__(self, name, weights=None):
        assert name == "squeezenet1_0"
        self.asked.append(weights is not None)
        return Small()


def no_network(name, weights=None):
    raise URLError("no route to host")


def two_breeds(put):
    put("a", 0)
    return put("b", 1)


def test_the_body_by_default(put, table, monkeypatch, quick):
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(torchvision.models, "get_model", weights := Weights())
    for body in ("auto", "squeezenet1_0"):
        advice = ask(two_breeds(put), table, body=body)
        assert (
            advice.body == "squeezenet1_0"
            and advice.notes == []
            and quick[-1].scenario.images.shape == (16, 96, 96, 3)
        )
        assert quick[-1].scenario.stats == IMAGENET_STATS
        weights.asked.clear()
        quick[-1].make(True), quick[-1].make(False)
        assert weights.asked == [True, False]
    assert (
        ask(two_breeds(put), table).body == "densenet_tiny"
        and quick[-1].scenario.images.shape == (16, 32, 32, 3)
        and quick[-1].scenario.stats == CIFAR10_STATS
    )
    monkeypatch.setenv("TUTORIAL_DATA", "sample")
    monkeypatch.setattr(torchvision.models, "get_model", no_network)
    advice = ask(two_breeds(put), table, body="auto")
    assert advice.body == "densenet_tiny" and advice.notes == []


def test_weights_that_cannot_be_had(put, table, monkeypatch, quick):
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(torchvision.models, "get_model", no_network)
    advice = ask(two_breeds(put), table, body="auto")
    [note] = advice.notes
    assert (
        advice.body == "densenet_tiny"
        and note.startswith("The weights of squeezenet1_0 are not on this machine and ")
        and "no route to host" in note
        and "densenet_tiny is used" in note
    )
    assert quick[-1].scenario.images.shape == (16, 32, 32, 3) and note in str(advice)
    with pytest.raises(
        OSError,
        match=r"the weights of squeezenet1_0 are not on this machine .*no route to host"
        ".*: check the network, or give densenet_tiny",
    ) as e:
        ask(two_breeds(put), table, body="squeezenet1_0")
    assert isinstance(e.value.__cause__, URLError)


def test_probing_with_another_body(put, table, monkeypatch):
    "All of it, twice; no seed of anybody's changes it."
    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(
        torchvision.models,
        "get_model",
        lambda name, weights=None: make(weights is not None),
    )
    monkeypatch.setattr(
        scenarios, "training_seconds", lambda scenario, make, strategy: 60.0
    )
    advice, again = (
        ask(two_breeds(put), table, body="auto"),
        ask(str(two_breeds(put)), table, body="auto"),
    )
    assert (
        advice.measured.layer in ("features.a", "features.b", "features.c")
        and "a probe of the last features of squeezenet1_0" in advice.why
    )
    for a in (advice, again):
        a.seconds = a.measured.seconds = 0
    assert again == advice


def test_how_long_a_training_takes(monkeypatch):
    ticks = iter([0.0, 9.6])
    monkeypatch.setattr(
        scenarios, "time", SimpleNamespace(perf_counter=lambda: next(ticks))
    )
    assert training_seconds(scenario(), make, "last parts", 6_000) == pytest.approx(
        600 * len(RATES["last parts"])
    )


@pytest.mark.parametrize(
    "seconds, text", [(3.2, "3 seconds"), (99, "99 seconds"), (240, "4 minutes")]
)
def test_a_few_lines(seconds, text):
    measured = probed()
    advice = Advice(
        "pics",
        {"b": 1200, "a": 3},
        ["One note."],
        [],
        "densenet_tiny",
        measured,
        "early probe",
        0.876,
        0.5,
        1.0,
        seconds,
        "Why: so.",
        False,
    )
    how = f"early probe, that is {STRATEGIES['early probe']} (features.conv0)"
    assert str(advice).splitlines() == [
        "pics: 1,203 images in 2 classes, 3 to 1,200 in a class: b, a.",
        "One note.",
        f"Use first: {how}.",
        "Expect 88% right on new pictures of the same kind, and be ready for 50% to "
        "100%.",
        f"It takes about {text} on this machine.",
        "Why: so.",
    ]


# --- what cannot be learned from


def a_file(put, root):
    root.parent.mkdir(exist_ok=True)
    root.write_text("x")


def empty(put, root):
    root.mkdir()


def no_pictures(put, root):
    (root / "a").mkdir(parents=True)
    (root / "a" / "text.jpg").write_text("no picture")


def no_classes(put, root):
    put("", n=3)


def parts_without_classes(put, root):
    put("train", 0, 5), put("test", 1, 4)


def one_class(put, root):
    put("a")


def one_class_beside_broken_ones(put, root):
    two_breeds(put)
    for f in (root / "b").iterdir():
        break_off(f)


def one_class_to_learn_from(put, root):
    put("train/a", 0), put("test/a", 1, 4), put("test/b", 1, 4, start=8)


def three_images(put, root):
    put("a", 0, 2), put("b", 1, 1)


def six_images(put, root):
    put("a", 0, 3), put("b", 1, 3)


def six_that_can_be_read(put, root):
    put("a", 0, 5), put("b", 1, 5)
    for sub in "ab":
        for f in sorted((root / sub).iterdir())[:2]:
            break_off(f)


def a_class_of_one(put, root):
    put("a"), put("b", 1, 1)


def many_classes_of_one(put, root):
    [put(name, 0, 1, start=k) for k, name in enumerate("abcdefg")]


def a_class_of_one_beside_broken_ones(put, root):
    put("a"), put("b", 1, 3)
    for f in sorted((root / "b").iterdir())[1:]:
        break_off(f)


def all_broken(put, root):
    for f in two_breeds(put).rglob("*.jpg"):
        break_off(f)


def copies_only(put, root):
    for breed, name in enumerate("ab"):
        put(name, breed, 1)
        for f in [*(root / name).iterdir()]:
            for k in range(4):
                shutil.copy(f, root / name / f"copy {k}.jpg")


@pytest.mark.parametrize(
    "build, error, text",
    [
        (
            lambda put, root: None,
            FileNotFoundError,
            "there is no folder ROOT: check the name",
        ),
        (a_file, NotADirectoryError, "ROOT is a file: give the folder that it is in"),
        (
            empty,
            ValueError,
            "ROOT has nothing to learn from: no image is in it or in its sub-folders. "
            "Put the images of each class into a sub-folder",
        ),
        (
            no_pictures,
            ValueError,
            "ROOT has nothing to learn from: no image is in it or in its sub-folders",
        ),
        (
            no_classes,
            ValueError,
            "ROOT has nothing to learn from: 3 images lie in no class folder. "
            "Put the images of each class into a sub-folder",
        ),
        (
            parts_without_classes,
            ValueError,
            "ROOT has nothing to learn from: 9 images lie in no class folder",
        ),
        (
            one_class,
            ValueError,
            "ROOT has one class only, 'a': a classifier needs two. "
            "Put the images of another class into a sub-folder beside it",
        ),
        (
            one_class_beside_broken_ones,
            ValueError,
            "ROOT has one class only, 'a': a classifier needs two",
        ),
        (
            one_class_to_learn_from,
            ValueError,
            "ROOT has one class only, 'a': a classifier needs two",
        ),
        (
            three_images,
            ValueError,
            "ROOT: class 'b' with one image: one is needed to learn from and another "
            "one to judge by. Add images, or take the class away",
        ),
        (six_images, ValueError, "ROOT has 6 images that can be read: give 8 or more"),
        (
            six_that_can_be_read,
            ValueError,
            "ROOT has 6 images that can be read: give 8 or more",
        ),
        (a_class_of_one, ValueError, "ROOT: class 'b' with one image"),
        (
            many_classes_of_one,
            ValueError,
            "ROOT: classes 'a', 'b', 'c', 'd', 'e' and more with one image",
        ),
        (
            a_class_of_one_beside_broken_ones,
            ValueError,
            "ROOT: class 'b' with one image",
        ),
        (all_broken, ValueError, "ROOT has no image that can be read"),
        (
            copies_only,
            ValueError,
            "my photos: each class has nothing but copies of one image: one is needed "
            "to learn from and another one to judge by",
        ),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_folders_that_teach_nothing(put, table, tmp_path, build, error, text):
    root = tmp_path / "my photos"
    build(put, root)
    before = snapshot(tmp_path)
    with pytest.raises(error) as e:
        ask(root, table)
    assert (
        text.replace("ROOT", str(root)) in str(e.value) and snapshot(tmp_path) == before
    )


@pytest.mark.parametrize("body", ["resnet34", "SqueezeNet1_0", "", None])
def test_no_such_body(put, table, body):
    with pytest.raises(
        ValueError,
        match=f"there is no body {body!r}: give auto, squeezenet1_0 or densenet_tiny",
    ):
        ask(two_breeds(put), table, body=body)


def test_a_table_of_another_body(put, tmp_path, quick):
    results(body="squeezenet1_0").to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(ValueError, match="no cells to lean on"):
        ask(two_breeds(put), tmp_path / "other.csv")
    with pytest.raises(FileNotFoundError, match="gone.csv"):
        ask(two_breeds(put), tmp_path / "gone.csv")


def test_a_class_of_copies(put, table, monkeypatch):
    """A class of copies of a picture that another class has too.

    Where that picture is held out, nothing of the class is left to learn from.
    """
    monkeypatch.setattr(
        scenarios,
        "depth_features",
        lambda model, images, stats, layers: {
            name: np.random.default_rng(0).normal(size=(len(images), 4))
            for name in layers
        },
    )
    monkeypatch.setattr(scenarios, "training_seconds", lambda *args: 60.0)
    root = put("a", 0, 14)
    files = sorted((root / "a").iterdir())
    (root / "b").mkdir()
    said = []
    for i in split(files, ["a"] * 14, 0.25, 0)[1]:
        for k in range(2):
            shutil.copy(files[i], root / "b" / f"copy {k}.jpg")
        try:
            ask(root, table)
        except ValueError as e:
            said.append(str(e))
    assert said and set(said) == {
        f"{root.name}: a class has no image that is not in another class too. "
        "Decide for one class, and take the copies away"
    }


def test_a_damaged_download(put, table, monkeypatch, quick):
    def damaged(name, weights=None):
        raise RuntimeError("invalid hash value")

    monkeypatch.delenv("TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(torchvision.models, "get_model", damaged)
    advice = ask(two_breeds(put), table, body="auto")
    assert advice.body == "densenet_tiny" and "invalid hash value" in advice.notes[-1]
    with pytest.raises(
        OSError, match="invalid hash value.*check the network, or give densenet_tiny"
    ):
        ask(two_breeds(put), table, body="squeezenet1_0")


def test_parts_in_capitals_beside_a_fourth_folder(put, table, quick):
    for k, name in enumerate(("Train", "Test", "other")):
        root = put(name, k)
    assert any(
        "with the names Test, Train. If these are parts" in note
        for note in ask(root, table).notes
    )
