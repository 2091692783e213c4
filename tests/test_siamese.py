"""Siamese networks at their edges.

Any body, symmetric answers, heads that train by themselves, files that come back the
same, bad input by name.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from copy import deepcopy
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
from tutorial_lib.core import features as core_features
from tutorial_lib.core.backbones import find_backbone
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
    find_arch,
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
AGAIN = "write the model again with save_siamese"
close = partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)


def error(kind, f, *args, **kwargs):
    "What the error of a call says."
    with pytest.raises(kind) as caught:
        f(*args, **kwargs)
    return str(caught.value)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path_factory):
    """No test may download weights, or take those that lie here.

    The list holds what was asked for.
    """
    asked = []

    def download(url, *args, **kwargs):
        asked.append(url)
        raise ConnectionError(f"a test asked for {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "no_weights"))
    return asked


@pytest.fixture
def pictures():
    "Call it for the titles of all axes that were drawn since."
    plt.switch_backend("agg")
    plt.close("all")

    def titles():
        axes = [ax for number in plt.get_fignums() for ax in plt.figure(number).axes]
        return [ax.get_title() for ax in axes if ax.images]

    yield titles
    plt.close("all")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "set"
    return image_files(sample(folder, n=60, size=SIZE, breeds=BREEDS))


@pytest.fixture(scope="module")
def few(files):
    return files[::3]


@pytest.fixture(scope="module")
def encoded(files):
    """Encodings, labels, and positions to train on and to judge on.

    The weights are those that come with the library.
    """
    labels = np.array([breed_label(f) for f in files])
    encodings = encode_files(siamese_of(pretrained=True), files)
    train, valid = split(files, labels, 0.4, 0)
    return encodings, labels, train, valid


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


def tiny_learner(files, **kwargs):
    dls = loaders(files, siamese.CIFAR10_STATS)
    return quiet(siamese_learner(dls, densenet_tiny, **kwargs))


def weights(module):
    return {k: v.detach().clone() for k, v in module.named_parameters()}


def moved_weights(before, module):
    "The names of the parameters that are no longer what they were."
    return {k for k, v in weights(module).items() if not torch.equal(v, before[k])}


def are_equal(a, b):
    "Whether two modules have the same state, bit for bit."
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# --- the whole way


def batch_norms(body):
    names = [n for n, m in body.named_modules() if isinstance(m, nn.BatchNorm2d)]
    return {f"{name}.{k}" for name in names for k in ("weight", "bias")}


def check_training(learn):
    "The head and the batch norms are trained, and then everything, at three rates."
    model = learn.model
    body, head = model.encoder.body, model.head
    trained = {k for k, p in body.named_parameters() if p.requires_grad}
    assert trained == batch_norms(body), "fastai trains batch norms of a frozen body"
    assert all(p.requires_grad for p in head.parameters())

    body_before, head_before = weights(body), weights(head)
    learn.fit_one_cycle(1, 1e-2)
    assert moved_weights(body_before, body) <= trained
    assert moved_weights(head_before, head) == head_before.keys()
    assert len(learn.opt.hypers) == 3

    learn.unfreeze()
    before = weights(model)
    assert all(p.requires_grad for p in model.parameters())
    learn.fit_one_cycle(1, slice(1e-4, 1e-2))
    assert moved_weights(before, model) == before.keys()
    rates = [h["lr"] for h in learn.opt.hypers]
    assert rates[1] / rates[0] == pytest.approx(10)
    assert rates[2] / rates[1] == pytest.approx(10)
    train_loss, valid_loss, accuracy = learn.recorder.values[-1]
    assert math.isfinite(train_loss) and math.isfinite(valid_loss)
    assert 0 <= accuracy <= 1


@pytest.mark.long
def test_the_whole_way_with_resnet34(few, pictures):
    set_seed(0)
    dls = loaders(few, siamese.imagenet_stats)
    learn = quiet(siamese_learner(dls, models.resnet34, size=SIZE, pretrained=False))
    model = learn.model
    assert type(model.head) is JoinedHead and len(siamese_groups(model)) == 3
    check_training(learn)

    learn.show_results(max_n=3)
    titles = pictures()
    assert len(titles) == 3
    lines = [line.removeprefix("is ") for t in titles for line in t.splitlines()]
    assert set(lines) <= set(VOCAB)
    plt.close("all")

    said, position, probs = learn.predict((few[0], few[-1]))
    assert said == VOCAB[position] and probs.sum() == pytest.approx(1)
    answer, score = compare(model, few[0], str(few[-1]))
    by_fastai = probs[1].item()
    assert score == pytest.approx(by_fastai, abs=1e-4)
    assert answer == said and pictures() == [f"{answer} ({score:.2f})"]
    assert model.encoder.training == model.training


@pytest.mark.parametrize("head", HEADS)
def test_every_head_goes_through_a_learner(few, head):
    learn = tiny_learner(few, head=head, size=SIZE)
    assert type(learn.model.head) is HEADS[head] and learn.model.size == SIZE
    before = weights(learn.model.head)
    learn.fit_one_cycle(1, 1e-2)
    assert moved_weights(before, learn.model.head) == before.keys()
    loss = learn.validate()[0]
    preds, y = learn.get_preds()
    assert loss == pytest.approx(F.nll_loss(preds.log(), y).item(), abs=1e-4)


def test_a_learner_takes_what_is_given(few):
    learn = tiny_learner(few, wd=0.3, metrics=[])
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
    "arch, n_group", BODIES.items(), ids=[arch.__name__ for arch in BODIES]
)
@pytest.mark.long
def test_groups_hold_each_parameter_once(arch, n_group):
    encoder = Encoder(arch, pretrained=False).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps, encodings = encoder.body(x), encoder(x)
    assert encoder.arch is arch
    assert maps.dim() == 4
    assert encodings.shape == (2, 2 * maps.shape[1]) == (2, encoder.n_out)
    for head in HEADS.values():
        model = Siamese(encoder, head(encoder.n_out)).eval()
        groups = siamese_groups(model)
        assert len(groups) == n_group
        assert groups[0][0] is next(encoder.body.parameters())
        grouped = [id(p) for g in groups for p in g]
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == {id(p) for p in model.parameters()}
        assert {id(p) for p in groups[-1]} == {id(p) for p in model.head.parameters()}
        with torch.no_grad():
            assert model.head(encodings, encodings).shape == (2, 2)


def test_weights_are_those_that_fastai_takes(no_weights):
    for arch in models.resnet34, models.squeezenet1_0, models.vgg11:
        with pytest.raises(ConnectionError):
            Encoder(arch)
    asked = [Path(url).name.split("-")[0] for url in no_weights]
    assert asked == ["resnet34", "squeezenet1_0", "vgg11"]
    ours, plain = Encoder(densenet_tiny), densenet_tiny(pretrained=True)
    assert torch.equal(ours.body[0].norm5.weight, plain.features.norm5.weight)
    assert ours.stats == siamese.CIFAR10_STATS
    assert Encoder(models.resnet18, False).stats == siamese.imagenet_stats
    assert len(no_weights) == 3


# --- encodings


def test_an_encoding_is_the_mean_of_image_and_mirror(files):
    model = siamese_of(pretrained=True)
    mean, std = (torch.tensor(s)[:, None, None] for s in model.encoder.stats)
    images = torch.from_numpy(read_images(files[:5], SIZE)).permute(0, 3, 1, 2)
    x = (images / 255 - mean) / std

    def pooled(x):
        maps = model.encoder.body(x)
        return torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)

    with torch.no_grad():
        image, mirror = pooled(x), pooled(x.flip(3))
    encodings = encode_files(model, files[:5])
    assert encodings.dtype == torch.float32
    assert encodings.shape == (5, N_TINY)
    assert not encodings.is_inference()
    close(encodings, (image + mirror) / 2)
    assert (image - mirror).abs().max() > 0.1
    with torch.no_grad():
        close(model.encoder(x), encodings)


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


@pytest.mark.parametrize("chunk", [1, 7])
def test_encodings_do_not_depend_on_the_chunk(files, chunk):
    model = siamese_of(pretrained=True)
    n = 34 if chunk == 1 else 12
    in_chunks = encode_files(model, files[:n], chunk=chunk)
    close(in_chunks, encode_files(model, files[:n], chunk=64))


def test_modes_stay_and_no_files_give_no_encodings(files):
    model = siamese_of()
    model.encoder.train()
    model.encoder.body[0].norm5.eval()
    stats = {k: v.clone() for k, v in model.named_buffers()}
    assert encode_files(model, files[:2]).shape == (2, N_TINY)
    assert encode_files(model, []).shape == (0, N_TINY)
    assert model.encoder.training
    assert not model.encoder.body[0].norm5.training
    assert not model.head.training
    assert all(torch.equal(v, stats[k]) for k, v in model.named_buffers())


@pytest.mark.parametrize("name", ["densenet_tiny", "efficientnet_lite0"])
def test_a_graph_gives_the_encodings_of_pytorch(files, monkeypatch, tmp_path, name):
    monkeypatch.setenv("TUTORIAL_CACHE", str(tmp_path))
    model = siamese_of(arch=find_arch(name))
    by_pytorch = encode_files(model, files[:4])
    assert not list(tmp_path.rglob("*.onnx"))
    monkeypatch.setattr(core_features, "WORTH_A_GRAPH", 1)
    by_graph = encode_files(model, files[:4])
    assert list(tmp_path.rglob("*.onnx"))
    close(by_pytorch, by_graph)


def test_pictures_come_as_the_network_wants_them(files, tmp_path):
    arch = find_arch("efficientnet_lite0")
    backbone = find_backbone("efficientnet_lite0")
    model = siamese_of(arch=arch)
    assert model.encoder.stats == backbone.stats != siamese.imagenet_stats
    assert model.encoder.how == backbone.how == {"share": 0.875, "resample": "bicubic"}
    images = read_images(files[:3], SIZE, **backbone.how)
    with torch.no_grad():
        wanted = model.encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    close(encode_files(model, files[:3]), wanted)

    back = load_siamese(save_siamese(model, tmp_path / "a.safetensors"))
    assert back.encoder.arch is arch and back.encoder.how == backbone.how
    assert torch.equal(encode_files(back, files[:3]), encode_files(model, files[:3]))


def test_networks_are_found_by_name():
    assert find_arch("densenet_tiny") is densenet_tiny
    assert find_arch("resnet34") is models.resnet34
    said = error(ValueError, find_arch, "efficientnet_light0")
    assert "'efficientnet_light0', and no such network is known" in said


def test_the_size_of_the_model_is_the_size_of_the_images(files):
    seen = []

    def record(module, args, output):
        seen.append(tuple(args[0].shape))

    model = siamese_of()
    model.encoder.body[0].conv0.register_forward_hook(record)
    model.size = 32
    encode_files(model, files[:3], chunk=2)
    assert seen == [(2, 3, 32, 32)] * 2 + [(1, 3, 32, 32)] * 2


# --- heads


def moved(head, seed):
    "As if it had been trained: no layer does nothing."
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for t in [*head.parameters(), *head.buffers()]:
            if not t.is_floating_point():
                continue
            if (t > 0).all():
                t.copy_(torch.rand(t.shape, generator=rng) / 2 + 0.2)
            else:
                t.copy_(torch.randn(t.shape, generator=rng) / 4)
    return head.eval()


def two_encodings(n, n_in, seed):
    return torch.randn(2, n, n_in, generator=torch.Generator().manual_seed(seed)) * 3


SEEDS = st.integers(0, 2**31)
SYMMETRIC = st.sampled_from(["symmetric", "cosine"])


@given(SYMMETRIC, st.integers(1, 40), st.integers(1, 9), SEEDS)
@settings(max_examples=60)
def test_symmetric_heads_give_the_same_bits_when_images_are_swapped(
    name, n_in, n, seed
):
    head = moved(HEADS[name](n_in), seed)
    e1, e2 = two_encodings(n, n_in, seed)
    with torch.no_grad():
        assert torch.equal(head(e1, e2), head(e2, e1))


@given(st.integers(1, 40), st.integers(1, 9), SEEDS)
@settings(max_examples=20)
def test_the_joined_head_does_not(n_in, n, seed):
    head = moved(JoinedHead(n_in), seed)
    e1, e2 = two_encodings(n, n_in, seed)
    with torch.no_grad():
        assert not torch.equal(head(e1, e2), head(e2, e1))


@pytest.mark.parametrize("name", ["symmetric", "cosine"])
def test_whole_models_give_the_same_bits_when_images_are_swapped(name):
    model = siamese_of(name)
    x1, x2 = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x1, x2), model(x2, x1))
        assert not torch.equal(model(x1, x2), model(x1, x1))


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9), SEEDS)
@settings(max_examples=60)
def test_embeddings_have_length_1_and_give_the_answer(n_in, n_embed, n, seed):
    head = moved(CosineHead(n_in, n_embed), seed)
    e1, e2 = two_encodings(n, n_in, seed)
    with torch.no_grad():
        a, b = head.embed(e1), head.embed(e2)
        assert a.shape == (n, n_embed)
        torch.testing.assert_close(a.norm(dim=1), torch.ones(n))
        logits = head.logits(F.cosine_similarity(a, b))
        torch.testing.assert_close(head(e1, e2), logits, atol=1e-5, rtol=1e-5)
        cosine = torch.linspace(-1, 1, 9)
        p = head.logits(cosine).softmax(-1)[:, 1]
        expected = torch.sigmoid(head.log_scale.exp() * cosine + head.offset)
        torch.testing.assert_close(p, expected)
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
        expected = 1 / (1 + (logits[:, 0] - logits[:, 1]).exp())
        np.testing.assert_allclose(p, expected.numpy(), atol=1e-5)


# --- thresholds and neighbors

round_scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
scores = st.one_of(round_scores, st.floats(-2, 2, width=32))
answers = st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=30)


@given(answers.filter(lambda rows: len({same for _, same in rows}) == 2))
def test_no_threshold_is_better_than_the_best(rows):
    score = np.array([r[0] for r in rows], np.float32)
    same = np.array([r[1] for r in rows])

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
    assert i.dtype == torch.int64
    assert len(i) == len(cosine) == min(k, n) == len(set(i.tolist()))
    assert torch.equal(cosine, every.sort(descending=True).values[:k])
    assert torch.equal(cosine, every[i])
    assert i[0] == seed % n or cosine[0] == every[seed % n]


# --- training a head


def held_out(head, encoded):
    "AUC over all pairs of held-out images."
    encodings, labels, _, valid = encoded
    i, j = np.triu_indices(len(valid), 1)
    same = labels[valid][i] == labels[valid][j]
    return roc_auc_score(same, score_pairs(head, encodings[valid], i, j))


def random_states():
    numpy_state = np.random.get_state()[1].tobytes()
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


RECIPES = [
    ("joined", False, 0.65),
    ("symmetric", False, 0.75),
    ("cosine", False, 0.8),
    ("cosine", True, 0.8),
]


@pytest.mark.parametrize("name, all_pairs, least", RECIPES)
def test_heads_learn_by_seed_and_move_nothing_else(encoded, name, all_pairs, least):
    encodings, labels, train, _ = encoded
    kwargs = dict(all_pairs=all_pairs, n_epoch=20, bs=32)

    def fitted(seed, state):
        torch.manual_seed(3)
        head = HEADS[name](N_TINY)
        given = encodings[train].clone()
        for seed_all in (random.seed, np.random.seed, torch.manual_seed):
            seed_all(state)
        before = random_states()
        assert fit_head(head, given, labels[train], seed=seed, **kwargs) is head
        assert not head.training
        assert random_states() == before
        assert torch.equal(given, encodings[train])
        return head

    torch.manual_seed(3)
    chance = held_out(HEADS[name](N_TINY), encoded)
    first, again, other = fitted(0, 5), fitted(0, 6), fitted(1, 5)
    assert are_equal(first, again)
    assert moved_weights(weights(first), other) == weights(first).keys()
    assert held_out(first, encoded) > least and held_out(first, encoded) > chance


def test_the_encoder_is_left_alone(files):
    model = siamese_of(pretrained=True)
    before = deepcopy(model.encoder)
    labels = [breed_label(f) for f in files]
    fit_head(model.head, encode_files(model, files), labels, n_epoch=2)
    assert are_equal(model.encoder, before)
    assert all(p.grad is None for p in model.encoder.parameters())


@pytest.mark.parametrize("all_pairs", [False, True])
def test_twins_are_no_pair(all_pairs):
    """Two images of one class that are nothing alike.

    Trained as a pair they get near each other; as twins nothing says so.
    """
    rng = torch.Generator().manual_seed(0)
    encodings, labels = torch.randn(12, 64, generator=rng), np.repeat(range(6), 2)
    kwargs = dict(all_pairs=all_pairs, n_epoch=60, lr=1e-2)

    def score(contents):
        torch.manual_seed(0)
        head = CosineHead(64, p=0)
        fit_head(head, encodings, labels, contents=contents, **kwargs)
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
    """The same weights as the plain way gives.

    Equal weight for both kinds, no image with itself, none with its twin.
    """
    rng = torch.Generator().manual_seed(1)
    encodings = torch.randn(9, 8, generator=rng).double()
    labels = ["a"] * 3 + ["b"] * 4 + ["c"] * 2
    contents = [0, 0, 1, 2, 3, 3, 4, 5, 6]

    def head():
        torch.manual_seed(2)
        return CosineHead(8, 4, p=0).double()

    kwargs = dict(contents=contents, n_epoch=4, lr=1e-2, wd=0.3)
    ours = fit_head(head(), encodings, labels, all_pairs=True, **kwargs)
    theirs = one_by_one(head(), encodings, labels, **kwargs)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


def test_batches_without_pairs_of_one_kind():
    "Batches of two images hold one pair, so always only one kind."
    encodings = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    labels = np.arange(12) % 4
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
    written = sorted(f.name for f in tmp_path.iterdir())
    assert written == ["pets.v2.json", "pets.v2.safetensors"]
    said = json.loads((tmp_path / "pets.v2.json").read_text())
    assert said.pop("sha256") and (tmp_path / "pets.v2.json").stat().st_size < 1000
    assert said == dict(arch=arch.__name__, head=name, size=40, threshold=0.37) | kwargs
    stored = load_file(path)
    assert all(torch.equal(v, stored[k]) for k, v in model.state_dict().items())
    x = torch.randn(2, 3, 3, 32, 32)
    for arguments in (dict(path=str(path)), dict(path=path, arch=arch)):
        torch.manual_seed(1)
        back = load_siamese(**arguments)
        assert not any(m.training for m in back.modules())
        assert back.size == 40 and back.threshold == 0.37
        assert type(back.head) is type(model.head) and back.encoder.arch is arch
        with torch.inference_mode():
            assert torch.equal(back(*x), model(*x))
            assert torch.equal(back.encoder(x[0]), model.encoder(x[0]))


@pytest.mark.long
def test_a_fresh_process_gives_the_same_answers(files, tmp_path):
    trained = siamese_of("cosine", pretrained=True)
    paths = [
        save_siamese(
            siamese_of("symmetric", models.resnet18), tmp_path / "a.safetensors"
        ),
        save_siamese(trained, tmp_path / "b.safetensors"),
    ]
    code = """if True:
        import sys
        from tutorial_lib.siamese import compare, load_siamese
        *paths, a, b = sys.argv[1:]
        for path in paths: print(compare(load_siamese(path), a, b, show=False))"""
    command = [sys.executable, "-W", "ignore", "-c", code, *paths, files[0], files[1]]
    env = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    said = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=env
    )
    here = [compare(load_siamese(p), files[0], files[1], show=False) for p in paths]
    assert said.stdout.splitlines() == [repr(h) for h in here]
    assert len({score for _, score in here}) == 2


def test_a_trained_learner_comes_back(few, tmp_path):
    set_seed(0)
    learn = tiny_learner(few, head="symmetric", size=SIZE)
    learn.fit_one_cycle(1, 1e-2)
    back = load_siamese(save_siamese(learn.model, tmp_path / "a.safetensors"))
    on_cpu = next(learn.model.parameters()).device.type == "cpu"
    for a, b in ((few[0], few[1]), (few[1], few[-1])):
        score = compare(back, a, b, show=False)[1]
        wanted = compare(learn.model, a, b, show=False)[1]
        assert score == pytest.approx(wanted, rel=0, abs=0 if on_cpu else 1e-3)
        assert score == pytest.approx(learn.predict((a, b))[2][1].item(), abs=1e-3)


def test_a_file_is_replaced_with_its_partner(tmp_path):
    path = tmp_path / "a.safetensors"
    save_siamese(siamese_of("joined"), path)
    save_siamese(model := siamese_of("cosine", seed=1), path)
    assert len(list(tmp_path.iterdir())) == 2
    assert are_equal(load_siamese(path), model)


def test_the_threshold_is_part_of_the_answer(files, pictures):
    model = siamese_of("cosine", pretrained=True)
    score = compare(model, files[0], files[1], show=False)[1]
    assert not pictures() and 0 < score < 1
    higher = np.nextafter(score, 1)
    for threshold, answer in (score, "same"), (higher, "different"), (0, "same"):
        model.threshold = threshold
        assert compare(model, files[0], files[1], show=False) == (answer, score)


# --- bad input


@pytest.fixture
def broken(few, tmp_path):
    "A folder with some of the drawn set, in which one file is cut short, one is text."
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
    for kind, bad, message in (
        (FileNotFoundError, missing, "nothing_1.jpg"),
        (ValueError, cut, f"{cut.name} cannot be read"),
        (ValueError, page, f"{page.name} cannot be read .a web page"),
    ):
        with pytest.raises(kind, match=message):
            encode_files(model, [*files[1:4], bad])
        for pair in ((files[1], bad), (bad, files[1])):
            with pytest.raises(kind, match=message):
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
    learn = tiny_learner(fine, size=SIZE, pretrained=False)
    with pytest.raises(ValueError, match=f"{cut.name} cannot be read"):
        learn.predict((fine[0], cut))
    with pytest.raises(FileNotFoundError, match="nothing_1.jpg"):
        learn.predict((cut.with_name("nothing_1.jpg"), fine[0]))
    with pytest.raises(FileNotFoundError, match="spotted_long_999.jpg"):
        loaders([*fine, cut.with_name("spotted_long_999.jpg")], siamese.CIFAR10_STATS)


def test_one_class_is_named(files, encoded):
    one = [f for f in files if breed_label(f) == "spotted_long"]
    message = "are of one class (spotted_long): pairs need two classes or more"
    said = error(ValueError, loaders, one, siamese.CIFAR10_STATS)
    assert said == f"training: all 9 images {message}"
    head, labels = CosineHead(N_TINY), ["spotted_long"] * 15
    said = error(ValueError, fit_head, head, encoded[0][:15], labels)
    assert said == f"all 15 images {message}"


WANTS = "and the head wants (6, 8) for 6 labels"
NO_EMBEDDINGS = "has no embeddings, so it cannot compare all pairs of a batch"


@pytest.mark.parametrize(
    "head, shape, kwargs, message",
    [
        ("cosine", (6, 7), {}, f"encodings have shape (6, 7), {WANTS}"),
        ("joined", (5, 8), {}, f"encodings have shape (5, 8), {WANTS}"),
        ("symmetric", (6, 8, 1), {}, f"encodings have shape (6, 8, 1), {WANTS}"),
        ("joined", (6, 8), dict(all_pairs=True), f"JoinedHead {NO_EMBEDDINGS}"),
        ("symmetric", (6, 8), dict(all_pairs=True), f"SymmetricHead {NO_EMBEDDINGS}"),
        ("cosine", (6, 8), dict(contents=[0, 1, 2]), "contents have shape (3,)"),
        ("cosine", (6, 8), dict(contents=[0, 0, 0, 1, 1, 1]), "no class has two"),
    ],
)
def test_encodings_that_do_not_fit_are_named(head, shape, kwargs, message):
    head = HEADS[head](8)
    before = weights(head)
    kind = TypeError if "all_pairs" in kwargs else ValueError
    said = error(kind, fit_head, head, torch.rand(shape), list("aaabbb"), **kwargs)
    assert message in said
    if "all_pairs" in kwargs:
        assert said.endswith(": give a CosineHead, or all_pairs=False")
    assert not moved_weights(before, head)


@pytest.mark.parametrize("head", [JoinedHead, SymmetricHead, CosineHead])
def test_a_head_that_does_not_fit_its_body_is_named(head):
    said = error(ValueError, Siamese, Encoder(densenet_tiny), head(1024))
    assert said == (
        "the head takes encodings of 1024 numbers, "
        "and the encoder (densenet_tiny) gives 528: "
        f"make it with {head.__name__}(528)"
    )


GIVE_ARCH = (
    "give the function that makes the network, such as resnet34 or "
    "find_arch('efficientnet_lite0')"
)


def test_unknown_heads_and_bodies_are_named(few):
    dls = loaders(few, siamese.CIFAR10_STATS)
    said = error(ValueError, siamese_learner, dls, densenet_tiny, "euclid")
    assert said == "head is 'euclid': give one of joined, symmetric, cosine"
    said = error(TypeError, siamese_learner, dls, densenet_tiny())
    assert said == f"arch is DenseNet: {GIVE_ARCH}"
    assert error(TypeError, Encoder, "resnet34") == f"arch is str: {GIVE_ARCH}"
    assert error(TypeError, Encoder, None) == f"arch is NoneType: {GIVE_ARCH}"


@pytest.mark.parametrize(
    "arch", [models.vit_b_16, densenet.densenet121], ids=["vit_b_16", "our densenet121"]
)
def test_networks_that_cannot_be_cut_are_named(arch):
    said = error(ValueError, Encoder, arch, pretrained=False)
    assert said.startswith(f"{arch.__name__} cannot be cut into body and head (")
    way_out = (
        "take a convolutional network, and tell fastai's model_meta where to cut it"
    )
    assert said.endswith(f"): {way_out}")


def test_where_to_cut_can_be_told(monkeypatch):
    meta = dict(cut=-1, split=siamese.default_split)
    monkeypatch.setitem(siamese.model_meta, densenet.densenet121, meta)
    encoder = Encoder(densenet.densenet121, pretrained=False)
    assert encoder.n_out == 2048 and encoder.stats == siamese.imagenet_stats


@pytest.mark.parametrize(
    "same, word", [([True] * 3, "same"), ([False] * 3, "different"), ([], "different")]
)
def test_one_kind_of_pairs_is_named(same, word):
    scores = [0.1, 0.2, 0.3][: len(same)]
    said = error(ValueError, best_threshold, scores, same)
    assert said == f"all {len(same)} pairs are {word}: give pairs of both kinds"


def test_what_cannot_be_saved_is_named(tmp_path):
    class Own(JoinedHead):
        pass

    model = siamese_of("joined")
    for name in "a.pth", "model":
        said = error(ValueError, save_siamese, model, tmp_path / name)
        wanted = "the name of the file has to end in .safetensors"
        assert said == f"{tmp_path / name}: {wanted}"
    path = tmp_path / "nowhere" / "a.safetensors"
    said = error(FileNotFoundError, save_siamese, model, path)
    assert said == f"{path}: there is no folder {path.parent}: make it first"
    model.head = Own(N_TINY)
    path = tmp_path / "a.safetensors"
    assert error(ValueError, save_siamese, model, path) == (
        f"{path}: Own is not one of joined, symmetric, cosine, "
        "so a file could not say how to build it; "
        "nothing was written. Use save_weights"
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "pets.safetensors"
    return save_siamese(siamese_of("cosine"), path)


@pytest.fixture
def saved(kept, tmp_path):
    "A saved model of one's own: the weights and the JSON file."
    for p in (kept, kept.with_suffix(".json")):
        shutil.copy(p, tmp_path)
    return tmp_path / "pets.safetensors", tmp_path / "pets.json"


def change(config, **keys):
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))


def remove(config, *keys):
    kept = json.loads(config.read_text())
    for key in keys:
        del kept[key]
    config.write_text(json.dumps(kept))


def test_missing_files_are_named(saved):
    path, config = saved
    two_files = "a model is two files, *.safetensors and *.json"
    dogs = path.with_name("dogs.safetensors")
    said = error(FileNotFoundError, load_siamese, dogs)
    assert said == f"{dogs}: there is no such file; {two_files}"
    config.unlink()
    said = error(FileNotFoundError, load_siamese, path)
    assert said == f"{config}: there is no such file; {two_files}"


def test_a_saved_file_for_another_body_is_named(saved, monkeypatch):
    path, config = saved
    assert error(ValueError, load_siamese, path, arch=models.resnet18) == (
        f"{path} holds weights for the body densenet_tiny, not for resnet18: "
        "give arch=densenet_tiny, or leave arch out"
    )
    change(config, arch="my_net")
    assert error(ValueError, load_siamese, path) == (
        f"{path} holds weights for the body my_net, which the library does not know: "
        "give arch, the function that makes it"
    )

    def my_net(pretrained=False):
        return densenet_tiny(pretrained)

    monkeypatch.setitem(siamese.model_meta, my_net, siamese.model_meta[densenet_tiny])
    assert load_siamese(path, arch=my_net).encoder.arch is my_net


def test_weights_that_belong_to_another_file_are_named(saved):
    path, config = saved
    message = (
        f"{path} is not the file that pets.json was written with: "
        "copy both files together"
    )
    save_weights(siamese_of("cosine", seed=1), path)
    assert error(ValueError, load_siamese, path) == message
    path.write_bytes(path.read_bytes()[:1000])
    assert error(ValueError, load_siamese, path) == message


@pytest.mark.parametrize("key, value", [("arch", "resnet18"), ("n_embed", 8)])
def test_a_config_for_other_weights_is_named(saved, key, value):
    path, config = saved
    change(config, **{key: value})
    assert "pets.safetensors" in error(ValueError, load_siamese, path)


@pytest.mark.parametrize(
    "text, message",
    [
        (b"{", "pets.json is not JSON (Expecting property name"),
        (b"", "pets.json is not JSON (Expecting value"),
        (b"\xff\xfe{", "pets.json is not JSON ("),
        (b"[1]", "pets.json holds no table of keys: "),
        (b"null", "pets.json holds no table of keys: "),
    ],
)
def test_broken_json_is_named(saved, text, message):
    path, config = saved
    config.write_bytes(text)
    said = error(ValueError, load_siamese, path)
    assert message in said and said.endswith(f": {AGAIN}")


@pytest.mark.parametrize(
    "key", ["arch", "head", "n_embed", "size", "threshold", "sha256"]
)
def test_a_missing_key_is_named(saved, key):
    path, config = saved
    remove(config, *(("head", "n_embed") if key == "head" else (key,)))
    said = error(ValueError, load_siamese, path)
    assert said == f"{config}: the key '{key}' is missing: {AGAIN}"


@pytest.mark.parametrize(
    "key, value, unknown, known",
    [
        ("color", "red", "color", "arch, head, n_embed, sha256, size, threshold"),
        ("head", "joined", "n_embed", "arch, head, sha256, size, threshold"),
    ],
)
def test_unknown_keys_are_named(saved, key, value, unknown, known):
    path, config = saved
    change(config, **{key: value})
    said = error(ValueError, load_siamese, path)
    assert said == f"{config}: the key {unknown!r} is not known: the keys are {known}"


WRONG_VALUES = dict(
    arch=[7, None, ["resnet18"]],
    n_embed=[0, -1, 2.5, "8", True],
    size=[0, 48.0, "48", True, None, [48, 48]],
    threshold=[-0.1, 1.5, math.nan, math.inf, "0.5", True, None],
    sha256=[0, None],
)


@pytest.mark.parametrize(
    "key, value", [(key, value) for key in WRONG_VALUES for value in WRONG_VALUES[key]]
)
def test_wrong_values_are_named(saved, key, value):
    path, config = saved
    change(config, **{key: value})
    said = error(ValueError, load_siamese, path)
    assert said == f"{config}: {key} cannot be {value!r}: {AGAIN}"


@pytest.mark.parametrize("head", ["euclid", 3, ["cosine"]])
def test_an_unknown_head_is_named(saved, head):
    path, config = saved
    change(config, head=head)
    remove(config, "n_embed")
    said = error(ValueError, load_siamese, path)
    assert said == f"{config}: head cannot be {head!r}: {AGAIN}"


@pytest.mark.parametrize(
    "arch",
    [densenet_tiny(), "densenet_tiny", partial(densenet_tiny)],
    ids=["DenseNet", "str", "partial"],
)
def test_what_is_no_function_is_named_in_a_file_too(saved, arch):
    message = f"arch is {type(arch).__name__}: {GIVE_ARCH}"
    assert error(TypeError, load_siamese, saved[0], arch=arch) == message
    assert error(TypeError, Encoder, arch, False) == message


def test_a_network_without_pooling_is_named():
    said = error(ValueError, Encoder, models.vit_b_16, False)
    reason = "cannot be cut into body and head (it has no pooling layer): "
    assert said.startswith(f"vit_b_16 {reason}")


def test_callbacks_are_added(few):
    seen = []

    class Watch(Callback):
        def after_pred(self):
            seen.append(len(self.xb))

    for cbs in Watch, [Watch()]:
        tiny_learner(few, pretrained=False, cbs=cbs).validate()
    assert set(seen) == {2}


def test_a_vocabulary_in_the_other_order_is_named(few):
    dls = loaders(few, siamese.CIFAR10_STATS)
    dls.vocab = ["same", "different"]
    said = error(ValueError, siamese_learner, dls, densenet_tiny, pretrained=False)
    assert said == (
        "the vocabulary of dls is ['same', 'different']: "
        "give CategoryBlock(vocab=['different', 'same']) in the DataBlock"
    )


@pytest.mark.parametrize("all_pairs", [False, True])
def test_contents_may_be_words(all_pairs):
    encodings = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    kwargs = dict(all_pairs=all_pairs, n_epoch=3)

    def fitted(contents):
        torch.manual_seed(0)
        head = CosineHead(8)
        return fit_head(head, encodings, list("aaabbb"), contents=contents, **kwargs)

    assert are_equal(fitted([0, 0, 1, 2, 3, 4]), fitted(list("uuvwxy")))


def test_batches_without_a_pair_and_the_smallest_batches():
    """Of six images two are twins: in a batch of two they are no pair.

    Seven images in batches of two leave one over.
    """
    encodings = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
    labels = list("aaabbbb")
    contents = [0, 0, 1, 2, 3, 4, 5]
    for head, all_pairs, n, bs in (
        (CosineHead(8), True, 6, 2),
        (JoinedHead(8), False, 7, 2),
        (JoinedHead(8), False, 7, 1),
    ):
        kwargs = dict(all_pairs=all_pairs, contents=contents[:n], n_epoch=40, bs=bs)
        fit_head(head, encodings[:n], labels[:n], **kwargs)
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
    path = tmp_path / "a.safetensors"
    if key == "threshold":
        value = float(value)
    said = error(ValueError, save_siamese, model, path)
    assert said == f"{path}: {key} cannot be {value!r}; nothing was written"
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_can_be_saved(tmp_path):
    model = siamese_of("joined")
    model.threshold = np.float32(0.3)
    path = save_siamese(model, tmp_path / "a.safetensors")
    assert load_siamese(path).threshold == np.float32(0.3)


def test_more_files_that_cannot_be_loaded_are_named(saved):
    path, config = saved
    said = error(ValueError, load_siamese, config)
    assert said == f"{config}: the name of the file has to end in .safetensors"
    change(config, arch="fasterrcnn_resnet50_fpn")
    said = error(ValueError, load_siamese, path)
    body = "for the body fasterrcnn_resnet50_fpn"
    assert f"{body}, which the library does not know: give arch" in said
    config.write_text("[" * 100_000)
    said = error(ValueError, load_siamese, path)
    assert said.startswith(f"{config} is not JSON (") and said.endswith(f"): {AGAIN}")


def test_one_path_is_named(files):
    message = "files is one path: give a list, such as image_files(folder)"
    for one in files[0], str(files[0]):
        assert error(TypeError, encode_files, siamese_of(), one) == message
