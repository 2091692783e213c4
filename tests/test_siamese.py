"""Siamese networks at their edges: any body, symmetric answers, heads that train by themselves, files that come back the same, bad input by name."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.vision.all import CategoryBlock, DataBlock, Normalize, Resize, set_seed
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from torchvision import models

from tutorial_lib import densenet, siamese
from tutorial_lib.data import image_files, read_images, split
from tutorial_lib.datablock import LeakAwareSplitter, breed_label
from tutorial_lib.densenet import densenet_tiny
from tutorial_lib.modules import save_weights
from tutorial_lib.pairs import DrawPairs, PairBlock, PairLabel
from tutorial_lib.sample import sample
from tutorial_lib.siamese import (
    HEADS,
    CosineHead,
    Encoder,
    JoinedHead,
    Siamese,
    SymmetricHead,
    best_threshold,
    compare,
    encode_files,
    fit_head,
    load_siamese,
    nearest,
    save_siamese,
    score_pairs,
    siamese_groups,
    siamese_learner,
)

SIZE, N_TINY, VOCAB = 48, 528, ["different", "same"]
BREEDS = ["masked_round", "patched_floppy", "spotted_long", "striped_pointy"]


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path_factory):
    "No test may download weights, or take those that lie here: the list holds what was asked for."
    asked = []

    def download(url, *args, **kwargs):
        asked.append(url)
        raise ConnectionError(f"a test asked for {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "no_weights"))
    return asked


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(siamese, "bf16_is_fast", lambda device: False)


@pytest.fixture
def pictures():
    "Call it for the titles of all axes that were drawn since."
    plt.switch_backend("agg")
    plt.close("all")
    yield lambda: [
        ax.get_title()
        for number in plt.get_fignums()
        for ax in plt.figure(number).axes
        if ax.images
    ]
    plt.close("all")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return image_files(
        sample(tmp_path_factory.mktemp("drawn") / "set", n=60, size=SIZE, breeds=BREEDS)
    )


@pytest.fixture(scope="module")
def few(files):
    return files[::3]


@pytest.fixture(scope="module")
def encoded(files):
    "Encodings by the weights that come with the library, labels, and positions to train on and to judge on."
    labels = np.array([breed_label(f) for f in files])
    return (
        encode_files(siamese_of(pretrained=True), files),
        labels,
        *split(files, labels, 0.4, 0),
    )


def siamese_of(head="cosine", arch=densenet_tiny, pretrained=False, seed=0, **kwargs):
    "A model whose batch norms have seen something, in evaluation mode."
    torch.manual_seed(seed)
    encoder = Encoder(arch, pretrained)
    model = Siamese(encoder, HEADS[head](encoder.n_out, **kwargs), SIZE)
    if not pretrained:
        model(*torch.randn(2, 4, 3, 32, 32))
    return model.eval()


def loaders(files, stats, **kwargs):
    draw = DrawPairs(breed_label)
    block = DataBlock(
        (PairBlock, CategoryBlock(vocab=VOCAB)),
        get_x=draw,
        get_y=PairLabel(draw),
        splitter=LeakAwareSplitter(valid=0.4),
        item_tfms=Resize(SIZE),
        batch_tfms=Normalize.from_stats(*stats),
    )
    return block.dataloaders(files, **{"bs": 6, "num_workers": 0, **kwargs})


def quiet(learn):
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])
    learn.logger = lambda _: None
    return learn


def weights(module):
    return {k: v.detach().clone() for k, v in module.named_parameters()}


# --- the whole way


def test_the_whole_way_with_resnet34(few, exact, pictures):
    set_seed(0)
    dls = loaders(few, siamese.imagenet_stats)
    learn = quiet(siamese_learner(dls, models.resnet34, size=SIZE, pretrained=False))
    model = learn.model
    body, head = model.encoder.body, model.head
    norms = {
        f"{name}.{k}"
        for name, m in body.named_modules()
        if isinstance(m, nn.BatchNorm2d)
        for k in ("weight", "bias")
    }
    assert type(head) is JoinedHead and len(siamese_groups(model)) == 3
    assert {k for k, p in body.named_parameters() if p.requires_grad} == norms, (
        "fastai trains the batch norms of a frozen body"
    )
    assert all(p.requires_grad for p in head.parameters())

    before, head_before = weights(body), weights(head)
    learn.fit_one_cycle(1, 1e-2)
    assert all(
        torch.equal(v, before[k]) for k, v in weights(body).items() if k not in norms
    )
    assert not any(torch.equal(v, head_before[k]) for k, v in weights(head).items())
    assert len(learn.opt.hypers) == 3

    learn.unfreeze()
    before = weights(model)
    assert all(p.requires_grad for p in model.parameters())
    learn.fit_one_cycle(1, slice(1e-4, 1e-2))
    assert not any(torch.equal(v, before[k]) for k, v in weights(model).items())
    rates = [h["lr"] for h in learn.opt.hypers]
    assert rates[1] / rates[0] == pytest.approx(10) and rates[2] / rates[
        1
    ] == pytest.approx(10)
    train_loss, valid_loss, accuracy = learn.recorder.values[-1]
    assert (
        math.isfinite(train_loss) and math.isfinite(valid_loss) and 0 <= accuracy <= 1
    )

    learn.show_results(max_n=3)
    titles = pictures()
    assert len(titles) == 3 and {
        line.removeprefix("is ") for t in titles for line in t.splitlines()
    } <= set(VOCAB)
    plt.close("all")

    said, position, probs = learn.predict((few[0], few[-1]))
    assert said == VOCAB[position] and probs.sum() == pytest.approx(1)
    answer, score = compare(model, few[0], str(few[-1]))
    assert score == pytest.approx(probs[1].item(), abs=1e-4), (
        "the same pair, by fastai's way and by ours"
    )
    assert answer == said and pictures() == [f"{answer} ({score:.2f})"]
    assert model.encoder.training == model.training


@pytest.mark.parametrize("head", HEADS)
def test_every_head_goes_through_a_learner(few, head):
    learn = quiet(
        siamese_learner(loaders(few, siamese.CIFAR10_STATS), densenet_tiny, head, SIZE)
    )
    assert type(learn.model.head) is HEADS[head] and learn.model.size == SIZE
    before = weights(learn.model.head)
    learn.fit_one_cycle(1, 1e-2)
    assert not any(
        torch.equal(v, before[k]) for k, v in weights(learn.model.head).items()
    )
    loss = learn.validate()[0]
    preds, y = learn.get_preds()
    assert loss == pytest.approx(F.nll_loss(preds.log(), y).item(), abs=1e-4)


def test_a_learner_takes_what_is_given(few):
    learn = siamese_learner(
        loaders(few, siamese.CIFAR10_STATS), densenet_tiny, wd=0.3, metrics=[]
    )
    assert learn.wd == 0.3 and not learn.metrics and learn.model.size == 224


BODIES = {
    models.resnet18: 3,
    models.squeezenet1_0: 3,
    models.densenet121: 3,
    models.vgg11: 2,
    models.mobilenet_v3_small: 2,
    models.efficientnet_b0: 2,
    densenet_tiny: 2,
}


@pytest.mark.parametrize(
    "arch, n_group", BODIES.items(), ids=[a.__name__ for a in BODIES]
)
def test_groups_hold_each_parameter_once(arch, n_group):
    encoder = Encoder(arch, pretrained=False).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps, encodings = encoder.body(x), encoder(x)
    assert (
        encoder.arch is arch
        and maps.dim() == 4
        and encodings.shape == (2, 2 * maps.shape[1]) == (2, encoder.n_out)
    )
    for head in HEADS.values():
        model = Siamese(encoder, head(encoder.n_out)).eval()
        groups = siamese_groups(model)
        assert len(groups) == n_group and groups[0][0] is next(
            encoder.body.parameters()
        )
        grouped = [id(p) for g in groups for p in g]
        assert len(grouped) == len(set(grouped)) and set(grouped) == {
            id(p) for p in model.parameters()
        }
        assert {id(p) for p in groups[-1]} == {id(p) for p in model.head.parameters()}
        with torch.no_grad():
            assert model.head(encodings, encodings).shape == (2, 2)


def test_weights_are_those_that_fastai_takes(no_weights):
    for arch in models.resnet34, models.squeezenet1_0, models.vgg11:
        with pytest.raises(ConnectionError):
            Encoder(arch)
    assert [Path(url).name.split("-")[0] for url in no_weights] == [
        "resnet34",
        "squeezenet1_0",
        "vgg11",
    ]
    ours, plain = Encoder(densenet_tiny), densenet_tiny(pretrained=True)
    assert torch.equal(ours.body[0].norm5.weight, plain.features.norm5.weight)
    assert (
        ours.stats == siamese.CIFAR10_STATS
        and Encoder(models.resnet18, False).stats == siamese.imagenet_stats
    )
    assert len(no_weights) == 3


# --- encodings


def test_an_encoding_is_the_mean_of_image_and_mirror(files, exact):
    model = siamese_of(pretrained=True)
    mean, std = (torch.tensor(s)[:, None, None] for s in model.encoder.stats)
    x = (
        torch.from_numpy(read_images(files[:5], SIZE)).permute(0, 3, 1, 2) / 255 - mean
    ) / std

    def pooled(x):
        maps = model.encoder.body(x)
        return torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)

    with torch.no_grad():
        image, mirror = pooled(x), pooled(x.flip(3))
    encodings = encode_files(model, files[:5])
    assert (
        encodings.dtype == torch.float32
        and encodings.shape == (5, N_TINY)
        and not encodings.is_inference()
    )
    torch.testing.assert_close(encodings, (image + mirror) / 2, atol=1e-4, rtol=1e-4)
    assert (image - mirror).abs().max() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(model.encoder(x), encodings, atol=1e-4, rtol=1e-4)


def test_training_looks_at_the_image_alone():
    encoder = Encoder(densenet_tiny)
    encoder.pool.train()
    for m in encoder.body.modules():
        m.eval()
    x = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        encoder.training = True
        one = encoder(x)
        assert not torch.allclose(one, encoder(x.flip(-1)), atol=1e-3)
        encoder.training = False
        both = encoder(x)
        torch.testing.assert_close(both, encoder(x.flip(-1)))
        assert not torch.allclose(one, both, atol=1e-3)


@pytest.mark.parametrize("bs", [1, 7])
def test_encodings_do_not_depend_on_the_batch(files, exact, bs):
    model = siamese_of(pretrained=True)
    n = 34 if bs == 1 else 12
    torch.testing.assert_close(
        encode_files(model, files[:n], bs=bs),
        encode_files(model, files[:n], bs=64),
        atol=1e-4,
        rtol=1e-4,
    )


def test_modes_stay_and_no_files_give_no_encodings(files):
    model = siamese_of()
    model.encoder.train()
    model.encoder.body[0].norm5.eval()
    stats = {k: v.clone() for k, v in model.named_buffers()}
    assert encode_files(model, files[:2]).shape == (2, N_TINY) and encode_files(
        model, []
    ).shape == (0, N_TINY)
    assert (
        model.encoder.training
        and not model.encoder.body[0].norm5.training
        and not model.head.training
    )
    assert all(torch.equal(v, stats[k]) for k, v in model.named_buffers())


def test_bfloat16_only_where_it_is_fast(files, monkeypatch):
    model = siamese_of(pretrained=True)

    def encodings(fast):
        monkeypatch.setattr(siamese, "bf16_is_fast", lambda device: fast)
        return encode_files(model, files[:4])

    exact, rounded = encodings(False), encodings(True)
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    assert F.cosine_similarity(exact, rounded).min() > 0.999


def test_the_size_of_the_model_is_the_size_of_the_images(files):
    seen = []
    model = siamese_of()
    model.encoder.body[0].conv0.register_forward_hook(
        lambda m, x, y: seen.append(tuple(x[0].shape))
    )
    model.size = 32
    encode_files(model, files[:3], bs=2)
    assert seen == [(2, 3, 32, 32)] * 2 + [(1, 3, 32, 32)] * 2


# --- heads


def moved(head, seed):
    "As if it had been trained: no layer does nothing."
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for t in [*head.parameters(), *head.buffers()]:
            if t.is_floating_point():
                t.copy_(
                    torch.rand(t.shape, generator=rng) / 2 + 0.2
                    if (t > 0).all()
                    else torch.randn(t.shape, generator=rng) / 4
                )
    return head.eval()


@given(
    st.sampled_from(["symmetric", "cosine"]),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_symmetric_heads_give_the_same_bits_when_images_are_swapped(
    name, n_in, n, seed
):
    head = moved(HEADS[name](n_in), seed)
    e1, e2 = torch.randn(2, n, n_in, generator=torch.Generator().manual_seed(seed)) * 3
    with torch.no_grad():
        assert torch.equal(head(e1, e2), head(e2, e1))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=20)
def test_the_joined_head_does_not(n_in, n, seed):
    head = moved(JoinedHead(n_in), seed)
    e1, e2 = torch.randn(2, n, n_in, generator=torch.Generator().manual_seed(seed)) * 3
    with torch.no_grad():
        assert not torch.equal(head(e1, e2), head(e2, e1))


@pytest.mark.parametrize("name", ["symmetric", "cosine"])
def test_whole_models_give_the_same_bits_when_images_are_swapped(name):
    model = siamese_of(name)
    x1, x2 = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x1, x2), model(x2, x1)) and not torch.equal(
            model(x1, x2), model(x1, x1)
        )


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=60)
def test_embeddings_have_length_1_and_give_the_answer(n_in, n_embed, n, seed):
    head = moved(CosineHead(n_in, n_embed), seed)
    e1, e2 = torch.randn(2, n, n_in, generator=torch.Generator().manual_seed(seed)) * 3
    with torch.no_grad():
        a, b = head.embed(e1), head.embed(e2)
        assert a.shape == (n, n_embed)
        torch.testing.assert_close(a.norm(dim=1), torch.ones(n))
        torch.testing.assert_close(
            head(e1, e2), head.logits(F.cosine_similarity(a, b)), atol=1e-5, rtol=1e-5
        )
        cosine = torch.linspace(-1, 1, 9)
        p = head.logits(cosine).softmax(-1)[:, 1]
        torch.testing.assert_close(
            p, torch.sigmoid(head.log_scale.exp() * cosine + head.offset)
        )
        assert (p.diff() > 0).all(), "the nearer, the more likely the same"
        assert head.logits(a @ b.T).shape == (n, n, 2)


def test_scores_are_probabilities_of_same(encoded):
    encodings = encoded[0]
    for name in HEADS:
        head = moved(HEADS[name](N_TINY), 1).train()
        p = score_pairs(head, encodings, [0, 1, 2], np.array([3, 4, 5]))
        assert head.training and p.dtype == np.float32 and p.shape == (3,)
        with torch.no_grad():
            logits = head.eval()(encodings[:3], encodings[3:6])
        np.testing.assert_allclose(
            p, (1 / (1 + (logits[:, 0] - logits[:, 1]).exp())).numpy(), atol=1e-5
        )


# --- thresholds and neighbours

scores = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(-2, 2, width=32)
)


@given(
    st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({s for _, s in rows}) == 2
    )
)
def test_no_threshold_is_better_than_the_best(rows):
    score, same = (
        np.array([r[0] for r in rows], np.float32),
        np.array([r[1] for r in rows]),
    )

    def correct(t):
        return ((score >= t) == same).sum()

    best = best_threshold(score, same)
    assert type(best) is float
    assert correct(best) == max(correct(t) for t in [*score, math.inf])


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31))
def test_the_nearest_are_those_of_a_full_sort(n, k, seed):
    rng = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(n, 5, generator=rng), dim=1)
    query = embeddings[seed % n]
    i, cosine = nearest(query, embeddings, k)
    every = embeddings @ query
    assert i.dtype == torch.int64 and len(i) == len(cosine) == min(k, n) == len(
        set(i.tolist())
    )
    assert torch.equal(cosine, every.sort(descending=True).values[:k]) and torch.equal(
        cosine, every[i]
    )
    assert i[0] == seed % n or cosine[0] == every[seed % n]


# --- training a head


def held_out(head, encoded):
    "AUC over all pairs of held-out images."
    encodings, labels, _, valid = encoded
    i, j = np.triu_indices(len(valid), 1)
    return roc_auc_score(
        labels[valid][i] == labels[valid][j], score_pairs(head, encodings[valid], i, j)
    )


RECIPES = [
    ("joined", False, 0.65),
    ("symmetric", False, 0.75),
    ("cosine", False, 0.8),
    ("cosine", True, 0.8),
]


@pytest.mark.parametrize(
    "name, all_pairs, least",
    RECIPES,
    ids=["joined", "symmetric", "cosine", "cosine, all pairs"],
)
def test_heads_learn_by_seed_and_move_nothing_else(encoded, name, all_pairs, least):
    encodings, labels, train, _ = encoded

    def fitted(seed, state):
        torch.manual_seed(3)
        head = HEADS[name](N_TINY)
        given = encodings[train].clone()
        random.seed(state), np.random.seed(state), torch.manual_seed(state)
        before = (
            random.getstate(),
            np.random.get_state()[1].tobytes(),
            torch.get_rng_state(),
        )
        assert (
            fit_head(
                head, given, labels[train], all_pairs, n_epoch=20, bs=32, seed=seed
            )
            is head
            and not head.training
        )
        assert (
            random.getstate() == before[0]
            and np.random.get_state()[1].tobytes() == before[1]
            and torch.equal(torch.get_rng_state(), before[2])
        )
        assert torch.equal(given, encodings[train])
        return head

    torch.manual_seed(3)
    chance = held_out(HEADS[name](N_TINY), encoded)
    first, again, other = fitted(0, 5), fitted(0, 6), fitted(1, 5)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), again.state_dict().values())
    )
    assert not any(
        torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters())
    )
    assert held_out(first, encoded) > least and held_out(first, encoded) > chance


def test_the_encoder_is_left_alone(files):
    model = siamese_of(pretrained=True)
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    labels = [breed_label(f) for f in files]
    fit_head(model.head, encode_files(model, files), labels, n_epoch=2)
    assert all(torch.equal(v, before[k]) for k, v in model.encoder.state_dict().items())
    assert all(p.grad is None for p in model.encoder.parameters())


@pytest.mark.parametrize("all_pairs", [False, True])
def test_twins_are_no_pair(all_pairs):
    "Two images of one class that are nothing alike: trained as a pair they get near each other, as twins nothing says so."
    rng = torch.Generator().manual_seed(0)
    encodings, labels = torch.randn(12, 64, generator=rng), np.repeat(range(6), 2)

    def score(contents):
        torch.manual_seed(0)
        head = fit_head(
            CosineHead(64, p=0),
            encodings,
            labels,
            all_pairs,
            n_epoch=60,
            lr=1e-2,
            contents=contents,
        )
        return score_pairs(head, encodings, [0, 2], [1, 3])

    alone, marked = score(None), score([0, 0, *range(2, 12)])
    assert (alone > 0.8).all() and marked[1] > 0.8
    assert marked[0] < 0.5


def one_by_one(head, encodings, labels, contents, n_epoch, lr, wd):
    "All pairs of one batch, as two loops."
    opt = torch.optim.AdamW(head.parameters(), lr, weight_decay=wd)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=n_epoch)
    head.train()
    for _ in range(n_epoch):
        e, losses = head.embed(encodings), {False: [], True: []}
        for i in range(len(e)):
            for j in range(len(e)):
                same = labels[i] == labels[j]
                z = head.log_scale.exp() * (e[i] * e[j]).sum() + head.offset
                if contents[i] != contents[j]:
                    losses[same].append(F.softplus(-z if same else z))
        loss = sum(torch.stack(v).mean() for v in losses.values()) / 2
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
    return head.eval()


def test_all_pairs_as_two_loops():
    "The same weights as the plain way gives: equal weight for both kinds, no image with itself, none with its twin."
    rng = torch.Generator().manual_seed(1)
    encodings, labels, contents = (
        torch.randn(9, 8, generator=rng).double(),
        ["a"] * 3 + ["b"] * 4 + ["c"] * 2,
        [0, 0, 1, 2, 3, 3, 4, 5, 6],
    )

    def head():
        torch.manual_seed(2)
        return CosineHead(8, 4, p=0).double()

    kwargs = dict(n_epoch=4, lr=1e-2, wd=0.3)
    ours = fit_head(
        head(), encodings, labels, all_pairs=True, contents=contents, **kwargs
    )
    theirs = one_by_one(head(), encodings, labels, contents, **kwargs)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_batches_without_pairs_of_one_kind():
    "Batches of two images hold one pair, so always only one kind."
    encodings, labels = (
        torch.randn(12, 8, generator=torch.Generator().manual_seed(0)),
        np.arange(12) % 4,
    )
    torch.manual_seed(0)
    head = fit_head(CosineHead(8), encodings, labels, all_pairs=True, bs=2, n_epoch=4)
    assert all(t.isfinite().all() for t in head.state_dict().values())


# --- files


@pytest.mark.parametrize("arch", [models.resnet18, densenet_tiny])
@pytest.mark.parametrize(
    "name, kwargs", [("joined", {}), ("symmetric", {}), ("cosine", dict(n_embed=17))]
)
def test_a_model_comes_back_the_same(tmp_path, monkeypatch, arch, name, kwargs):
    for f in "save", "load":
        monkeypatch.setattr(torch, f, None)
    model = siamese_of(name, arch, **kwargs)
    model.threshold, model.size = 0.37, 40
    path = tmp_path / "pets.v2.safetensors"
    assert save_siamese(model, path) == path
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "pets.v2.json",
        "pets.v2.safetensors",
    ]
    said = json.loads((tmp_path / "pets.v2.json").read_text())
    assert said.pop("sha256") and (tmp_path / "pets.v2.json").stat().st_size < 1000
    assert said == dict(arch=arch.__name__, head=name, size=40, threshold=0.37) | kwargs
    stored = load_file(path)
    assert all(torch.equal(v, stored[k]) for k, v in model.state_dict().items())
    x = torch.randn(2, 3, 3, 32, 32)
    for arguments in (dict(path=str(path)), dict(path=path, arch=arch)):
        torch.manual_seed(1)
        back = load_siamese(**arguments)
        assert not any(m.training for m in back.modules()) and (
            back.size,
            back.threshold,
        ) == (40, 0.37)
        assert type(back.head) is type(model.head) and back.encoder.arch is arch
        with torch.inference_mode():
            assert torch.equal(back(*x), model(*x)) and torch.equal(
                back.encoder(x[0]), model.encoder(x[0])
            )


@pytest.mark.long
def test_a_fresh_process_gives_the_same_answers(files, tmp_path):
    paths = [
        save_siamese(
            siamese_of(head, arch, pretrained=arch is densenet_tiny),
            tmp_path / f"{head}.safetensors",
        )
        for head, arch in (("symmetric", models.resnet18), ("cosine", densenet_tiny))
    ]
    code = """if True:
        import sys
        from tutorial_lib.siamese import compare, load_siamese
        *paths, a, b = sys.argv[1:]
        for path in paths: print(compare(load_siamese(path), a, b, show=False))"""
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *paths, files[0], files[1]],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    ).stdout.splitlines()
    here = [
        compare(load_siamese(path), files[0], files[1], show=False) for path in paths
    ]
    assert out == [repr(h) for h in here] and len({score for _, score in here}) == 2


def test_a_trained_learner_comes_back(few, tmp_path, exact):
    set_seed(0)
    learn = quiet(
        siamese_learner(
            loaders(few, siamese.CIFAR10_STATS), densenet_tiny, "symmetric", SIZE
        )
    )
    learn.fit_one_cycle(1, 1e-2)
    back = load_siamese(save_siamese(learn.model, tmp_path / "a.safetensors"))
    close = 0 if next(learn.model.parameters()).device.type == "cpu" else 1e-3
    for a, b in ((few[0], few[1]), (few[1], few[-1])):
        score = compare(back, a, b, show=False)[1]
        assert score == pytest.approx(
            compare(learn.model, a, b, show=False)[1], rel=0, abs=close
        )
        assert score == pytest.approx(learn.predict((a, b))[2][1].item(), abs=1e-3)


def test_a_file_is_replaced_with_its_partner(tmp_path):
    path = tmp_path / "a.safetensors"
    save_siamese(siamese_of("joined"), path)
    save_siamese(model := siamese_of("cosine", seed=1), path)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            load_siamese(path).state_dict().values(),
            model.state_dict().values(),
            strict=True,
        )
    )


def test_the_threshold_is_part_of_the_answer(files, pictures):
    model = siamese_of("cosine", pretrained=True)
    score = compare(model, files[0], files[1], show=False)[1]
    assert not pictures() and 0 < score < 1
    for threshold, answer in (
        (score, "same"),
        (np.nextafter(score, 1), "different"),
        (0, "same"),
    ):
        model.threshold = threshold
        assert compare(model, files[0], files[1], show=False) == (answer, score)


# --- bad input


@pytest.fixture
def broken(few, tmp_path):
    "A folder with some of the drawn set, in which one file is cut short, and one is text."
    folder = tmp_path / "broken"
    folder.mkdir()
    for f in few:
        shutil.copy(f, folder)
    cut, page = folder / few[0].name, folder / few[-1].name
    cut.write_bytes(cut.read_bytes()[:300])
    page.write_text("<html></html>")
    return sorted(folder.iterdir()), cut, page


def test_bad_images_are_named(files, broken):
    _, cut, page = broken
    model, missing = siamese_of(), files[0].with_name("nothing_1.jpg")
    for error, bad, message in (
        (FileNotFoundError, missing, "nothing_1.jpg"),
        (ValueError, cut, f"{cut.name} cannot be read"),
        (ValueError, page, f"{page.name} cannot be read .a web page"),
    ):
        with pytest.raises(error, match=message):
            encode_files(model, [*files[1:4], bad])
        for pair in ((files[1], bad), (bad, files[1])):
            with pytest.raises(error, match=message):
                compare(model, *pair)
    with pytest.raises(TypeError, match="files is one path: give a list"):
        encode_files(model, str(files[0]))


def test_bad_images_are_named_by_a_learner(broken):
    listed, cut, page = broken
    fine = [f for f in listed if f not in (cut, page)]
    for bad in cut, page:
        with pytest.raises(ValueError, match=f"{bad.name} cannot be read"):
            for dl in loaders([*fine, bad], siamese.CIFAR10_STATS, bs=1):
                for _ in dl:
                    pass
    learn = quiet(
        siamese_learner(
            loaders(fine, siamese.CIFAR10_STATS),
            densenet_tiny,
            size=SIZE,
            pretrained=False,
        )
    )
    with pytest.raises(ValueError, match=f"{cut.name} cannot be read"):
        learn.predict((fine[0], cut))
    with pytest.raises(FileNotFoundError, match="nothing_1.jpg"):
        learn.predict((cut.with_name("nothing_1.jpg"), fine[0]))
    with pytest.raises(FileNotFoundError, match="spotted_long_999.jpg"):
        loaders([*fine, cut.with_name("spotted_long_999.jpg")], siamese.CIFAR10_STATS)


def test_one_class_is_named(files, encoded):
    one = [f for f in files if breed_label(f) == "spotted_long"]
    with pytest.raises(
        ValueError,
        match=r"^training: all 9 images are of one class \(spotted_long\): pairs need two classes or more",
    ):
        loaders(one, siamese.CIFAR10_STATS)
    with pytest.raises(
        ValueError,
        match=r"^all 15 images are of one class \(spotted_long\): pairs need two classes or more",
    ):
        fit_head(CosineHead(N_TINY), encoded[0][:15], ["spotted_long"] * 15)


@pytest.mark.parametrize(
    "head, encodings, kwargs, error, message",
    [
        (
            CosineHead,
            torch.rand(6, 7),
            {},
            ValueError,
            "encodings have shape (6, 7), and the head wants (6, 8) for 6 labels",
        ),
        (
            JoinedHead,
            torch.rand(5, 8),
            {},
            ValueError,
            "encodings have shape (5, 8), and the head wants (6, 8) for 6 labels",
        ),
        (
            SymmetricHead,
            torch.rand(6, 8, 1),
            {},
            ValueError,
            "encodings have shape (6, 8, 1), and the head wants (6, 8)",
        ),
        (
            JoinedHead,
            torch.rand(6, 8),
            dict(all_pairs=True),
            TypeError,
            "JoinedHead has no embeddings, so it cannot compare all pairs of a batch: give a CosineHead, or all_pairs=False",
        ),
        (
            SymmetricHead,
            torch.rand(6, 8),
            dict(all_pairs=True),
            TypeError,
            "SymmetricHead has no embeddings",
        ),
        (
            CosineHead,
            torch.rand(6, 8),
            dict(contents=[0, 1, 2]),
            ValueError,
            "there are 6 labels, but contents have shape (3,)",
        ),
        (
            CosineHead,
            torch.rand(6, 8),
            dict(contents=[0, 0, 0, 1, 1, 1]),
            ValueError,
            "no class has two different images",
        ),
    ],
)
def test_encodings_that_do_not_fit_are_named(head, encodings, kwargs, error, message):
    head = head(8)
    before = weights(head)
    with pytest.raises(error) as e:
        fit_head(head, encodings, list("aaabbb"), **kwargs)
    assert message in str(e.value) and all(
        torch.equal(v, before[k]) for k, v in weights(head).items()
    )


@pytest.mark.parametrize("head", [JoinedHead, SymmetricHead, CosineHead])
def test_a_head_that_does_not_fit_its_body_is_named(head):
    with pytest.raises(ValueError) as e:
        Siamese(Encoder(densenet_tiny), head(1024))
    assert str(e.value) == (
        "the head takes encodings of 1024 numbers, and the encoder (densenet_tiny) gives 528: "
        f"make it with {head.__name__}(528)"
    )


def test_unknown_heads_and_bodies_are_named(few):
    dls = loaders(few, siamese.CIFAR10_STATS)
    with pytest.raises(
        ValueError, match="^head is 'euclid': give one of joined, symmetric, cosine$"
    ):
        siamese_learner(dls, densenet_tiny, "euclid")
    with pytest.raises(
        TypeError,
        match="^arch is DenseNet: give the function that makes the network, such as resnet34$",
    ):
        siamese_learner(dls, densenet_tiny())
    with pytest.raises(TypeError, match="^arch is str: give the function"):
        Encoder("resnet34")
    with pytest.raises(TypeError, match="^arch is NoneType: give the function"):
        Encoder(None)


@pytest.mark.parametrize(
    "arch", [models.vit_b_16, densenet.densenet121], ids=["vit_b_16", "our densenet121"]
)
def test_networks_that_cannot_be_cut_are_named(arch):
    with pytest.raises(ValueError) as e:
        Encoder(arch, pretrained=False)
    message = str(e.value)
    assert message.startswith(f"{arch.__name__} cannot be cut into body and head (")
    assert message.endswith(
        "take a convolutional network, and tell fastai's model_meta where to cut it"
    )


def test_where_to_cut_can_be_told(monkeypatch):
    monkeypatch.setitem(
        siamese.model_meta,
        densenet.densenet121,
        dict(cut=-1, split=siamese.default_split),
    )
    encoder = Encoder(densenet.densenet121, pretrained=False)
    assert encoder.n_out == 2048 and encoder.stats == siamese.imagenet_stats


@pytest.mark.parametrize(
    "same, word", [([True] * 3, "same"), ([False] * 3, "different"), ([], "different")]
)
def test_one_kind_of_pairs_is_named(same, word):
    with pytest.raises(
        ValueError,
        match=f"^all {len(same)} pairs are {word}: give pairs of both kinds$"
        if same
        else "give pairs of both kinds",
    ):
        best_threshold([0.1, 0.2, 0.3][: len(same)], same)


def test_what_cannot_be_saved_is_named(tmp_path):
    class Own(JoinedHead):
        pass

    model = siamese_of("joined")
    with pytest.raises(
        ValueError, match=r"a.pth: the name of the file has to end in .safetensors$"
    ):
        save_siamese(model, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match="the name of the file has to end in .safetensors"
    ):
        save_siamese(model, tmp_path / "model")
    with pytest.raises(
        FileNotFoundError, match="there is no folder .*nowhere: make it first"
    ):
        save_siamese(model, tmp_path / "nowhere" / "a.safetensors")
    model.head = Own(N_TINY)
    with pytest.raises(
        ValueError,
        match="a.safetensors: Own is not one of joined, symmetric, cosine, so a file could not say how to build it; "
        "nothing was written. Use save_weights$",
    ):
        save_siamese(model, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return save_siamese(
        siamese_of("cosine"), tmp_path_factory.mktemp("kept") / "pets.safetensors"
    )


@pytest.fixture
def saved(kept, tmp_path):
    "A saved model of one's own: the weights and the JSON file."
    for p in (kept, kept.with_suffix(".json")):
        shutil.copy(p, tmp_path)
    return tmp_path / "pets.safetensors", tmp_path / "pets.json"


def test_missing_files_are_named(saved):
    path, config = saved
    with pytest.raises(
        FileNotFoundError,
        match=r"dogs.safetensors: there is no such file; a model is two files, \*.safetensors and \*.json",
    ):
        load_siamese(path.with_name("dogs.safetensors"))
    config.unlink()
    with pytest.raises(
        FileNotFoundError,
        match="pets.json: there is no such file; a model is two files",
    ):
        load_siamese(path)


def test_a_saved_file_for_another_body_is_named(saved, monkeypatch):
    path, config = saved
    with pytest.raises(ValueError) as e:
        load_siamese(path, arch=models.resnet18)
    assert (
        str(e.value)
        == f"{path} holds weights for the body densenet_tiny, not for resnet18: give arch=densenet_tiny, or leave arch out"
    )
    config.write_text(json.dumps(json.loads(config.read_text()) | {"arch": "my_net"}))
    with pytest.raises(ValueError) as e:
        load_siamese(path)
    assert (
        str(e.value)
        == f"{path} holds weights for the body my_net, which torchvision does not have: give arch, the function that makes it"
    )

    def my_net(pretrained=False):
        return densenet_tiny(pretrained)

    monkeypatch.setitem(siamese.model_meta, my_net, siamese.model_meta[densenet_tiny])
    assert load_siamese(path, arch=my_net).encoder.arch is my_net


def test_weights_that_belong_to_another_file_are_named(saved):
    path, config = saved
    message = "pets.safetensors is not the file that pets.json was written with: copy both files together"
    save_weights(siamese_of("cosine", seed=1), path)
    with pytest.raises(ValueError, match=message):
        load_siamese(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=message):
        load_siamese(path)


@pytest.mark.parametrize(
    "keys, message",
    [
        (dict(arch="resnet18"), "pets.safetensors"),
        (dict(n_embed=8), "pets.safetensors"),
    ],
    ids=["arch", "n_embed"],
)
def test_a_config_for_other_weights_is_named(saved, keys, message):
    path, config = saved
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))
    with pytest.raises(ValueError, match=message):
        load_siamese(path)


@pytest.mark.parametrize(
    "text, message",
    [
        (b"{", "pets.json is not JSON (Expecting property name"),
        (b"", "pets.json is not JSON (Expecting value"),
        (b"\xff\xfe{", "pets.json is not JSON ("),
        (
            b"[1]",
            "pets.json holds no table of keys: write the model again with save_siamese",
        ),
        (b"null", "pets.json holds no table of keys"),
    ],
)
def test_broken_json_is_named(saved, text, message):
    path, config = saved
    config.write_bytes(text)
    with pytest.raises(ValueError) as e:
        load_siamese(path)
    assert message in str(e.value) and str(e.value).endswith(
        "write the model again with save_siamese"
    )


@pytest.mark.parametrize(
    "key", ["arch", "head", "n_embed", "size", "threshold", "sha256"]
)
def test_a_missing_key_is_named(saved, key):
    path, config = saved
    keys = json.loads(config.read_text())
    del keys[key]
    if key == "head":
        del keys["n_embed"]
    config.write_text(json.dumps(keys))
    with pytest.raises(
        ValueError,
        match=f"pets.json: the key '{key}' is missing: write the model again with save_siamese",
    ):
        load_siamese(path)


@pytest.mark.parametrize(
    "key, value, message",
    [
        (
            "colour",
            "red",
            "the key 'colour' is not known: the keys are arch, head, n_embed, sha256, size, threshold",
        ),
        (
            "head",
            "joined",
            "the key 'n_embed' is not known: the keys are arch, head, sha256, size, threshold",
        ),
        *(
            (
                key,
                value,
                f"{key} cannot be {value!r}: write the model again with save_siamese",
            )
            for key, values in dict(
                arch=[7, None, ["resnet18"]],
                n_embed=[0, -1, 2.5, "8", True],
                size=[0, 48.0, "48", True, None, [48, 48]],
                threshold=[-0.1, 1.5, math.nan, math.inf, "0.5", True, None],
                sha256=[0, None],
            ).items()
            for value in values
        ),
    ],
)
def test_wrong_keys_and_values_are_named(saved, key, value, message):
    path, config = saved
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))
    with pytest.raises(ValueError) as e:
        load_siamese(path)
    assert str(e.value) == f"{config}: {message}"


@pytest.mark.parametrize("head", ["euclid", 3, ["cosine"]])
def test_an_unknown_head_is_named(saved, head):
    path, config = saved
    keys = json.loads(config.read_text()) | {"head": head}
    del keys["n_embed"]
    config.write_text(json.dumps(keys))
    with pytest.raises(ValueError) as e:
        load_siamese(path)
    assert (
        str(e.value)
        == f"{config}: head cannot be {head!r}: write the model again with save_siamese"
    )


def test_what_is_no_function_is_named_in_a_file_too(saved):
    for arch, kind in (
        (densenet_tiny(), "DenseNet"),
        ("densenet_tiny", "str"),
        (partial(densenet_tiny), "partial"),
    ):
        for call in (
            lambda: load_siamese(saved[0], arch=arch),
            lambda: Encoder(arch, False),
        ):
            with pytest.raises(
                TypeError,
                match=f"^arch is {kind}: give the function that makes the network, such as resnet34$",
            ):
                call()


def test_a_network_without_pooling_is_named():
    with pytest.raises(
        ValueError,
        match=r"^vit_b_16 cannot be cut into body and head \(it has no pooling layer\): ",
    ):
        Encoder(models.vit_b_16, False)


def test_callbacks_are_added(few):
    seen = []

    class Watch(Callback):
        def after_pred(self):
            seen.append(len(self.xb))

    for cbs in Watch, [Watch()]:
        quiet(
            siamese_learner(
                loaders(few, siamese.CIFAR10_STATS),
                densenet_tiny,
                pretrained=False,
                cbs=cbs,
            )
        ).validate()
    assert set(seen) == {2}


def test_a_vocabulary_in_the_other_order_is_named(few):
    dls = loaders(few, siamese.CIFAR10_STATS)
    dls.vocab = ["same", "different"]
    with pytest.raises(
        ValueError,
        match=r"^the vocabulary of dls is \['same', 'different'\]: give CategoryBlock\(vocab=\['different', 'same'\]\)",
    ):
        siamese_learner(dls, densenet_tiny, pretrained=False)


@pytest.mark.parametrize("all_pairs", [False, True])
def test_contents_may_be_words(all_pairs):
    encodings = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))

    def head(contents):
        torch.manual_seed(0)
        return (
            fit_head(
                CosineHead(8),
                encodings,
                list("aaabbb"),
                all_pairs,
                contents=contents,
                n_epoch=3,
            )
            .state_dict()
            .values()
        )

    assert all(
        torch.equal(a, b)
        for a, b in zip(head([0, 0, 1, 2, 3, 4]), head(list("uuvwxy")))
    )


def test_batches_without_a_pair_and_the_smallest_batches():
    "Of six images two are twins: in a batch of two they are no pair. Seven images in batches of two leave one over."
    encodings, labels, contents = (
        torch.randn(7, 8, generator=torch.Generator().manual_seed(0)),
        list("aaabbbb"),
        [0, 0, 1, 2, 3, 4, 5],
    )
    for head, all_pairs, n, bs in (
        (CosineHead(8), True, 6, 2),
        (JoinedHead(8), False, 7, 2),
        (JoinedHead(8), False, 7, 1),
    ):
        fit_head(
            head,
            encodings[:n],
            labels[:n],
            all_pairs,
            contents=contents[:n],
            n_epoch=40,
            bs=bs,
        )
        assert all(t.isfinite().all() for t in head.state_dict().values())


@pytest.mark.parametrize(
    "key, value",
    [
        ("threshold", math.inf),
        ("threshold", -1),
        ("size", (48, 48)),
        ("size", 0),
        ("size", 48.0),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, key, value):
    model = siamese_of("joined")
    setattr(model, key, value)
    with pytest.raises(ValueError) as e:
        save_siamese(model, tmp_path / "a.safetensors")
    said = float(value) if key == "threshold" else value
    assert (
        str(e.value)
        == f"{tmp_path / 'a.safetensors'}: {key} cannot be {said!r}; nothing was written"
        and not list(tmp_path.iterdir())
    )


def test_numbers_of_numpy_can_be_saved(tmp_path):
    model = siamese_of("joined")
    model.threshold = np.float32(0.3)
    assert load_siamese(
        save_siamese(model, tmp_path / "a.safetensors")
    ).threshold == np.float32(0.3)


def test_more_files_that_cannot_be_loaded_are_named(saved):
    path, config = saved
    with pytest.raises(
        ValueError, match=r"pets.json: the name of the file has to end in .safetensors$"
    ):
        load_siamese(config)
    keys = json.loads(config.read_text())
    config.write_text(json.dumps(keys | {"arch": "fasterrcnn_resnet50_fpn"}))
    with pytest.raises(
        ValueError,
        match="for the body fasterrcnn_resnet50_fpn, which torchvision does not have: give arch",
    ):
        load_siamese(path)
    config.write_text("[" * 100_000)
    with pytest.raises(
        ValueError,
        match="pets.json is not JSON .*: write the model again with save_siamese",
    ):
        load_siamese(path)


def test_one_path_is_named(files):
    for one in files[0], str(files[0]):
        with pytest.raises(
            TypeError,
            match="^files is one path: give a list, such as image_files.folder.$",
        ):
            encode_files(siamese_of(), one)
