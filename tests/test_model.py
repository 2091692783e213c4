"""A loaded model, and what a training leaves behind.

A model is asked from many threads, with whatever people call a picture, on any device.
A training leaves its caller's process as it was.
"""

import copy
import dataclasses
import io
import os
import pickle
import random
import re
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from cases import long_but
from fastcore.basics import defaults
from hypothesis import given
from hypothesis import strategies as st
from photos import draw
from PIL import Image, ImageFile
from torch import nn
from torchvision.transforms import v2

from tutorial_lib.config import load_config
from tutorial_lib.core import batches, engine, models
from tutorial_lib.core.bodies import Network, make_body
from tutorial_lib.core.engine import (
    amp_dtype,
    choose_device,
    default_device,
    evaluating,
)
from tutorial_lib.core.frozen import FrozenBody, earlier_layers
from tutorial_lib.core.heads import POOLS
from tutorial_lib.core.models import Model
from tutorial_lib.core.optimizers import (
    make_optimizer,
    pack_optimizer,
    unpack_optimizer,
)
from tutorial_lib.core.seeds import own_randomness
from tutorial_lib.core.training import Judgement, Task, Training, is_better
from tutorial_lib.data import read_images
from tutorial_lib.report import read_run
from tutorial_lib.trainer import evaluate, load_model, read_head, take_stock, train
from tutorial_lib.transfer import features, linear_probe, param_groups

QUICK = [
    "train.minutes=null",
    "train.epochs=1",
    "train.batch_size=8",
    "output.report=false",
    "model.name=densenet_tiny",
]


HEAD = "head.safetensors"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", "sample")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("model") / "my_photos", 42)


@pytest.fixture(scope="session")
def run(photos, tmp_path_factory):
    "A run that is a probe alone."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        return train(
            photos,
            load_config(
                None,
                [
                    *QUICK,
                    "train.strategy=probe",
                    f"output.runs={tmp_path_factory.mktemp('runs')}",
                ],
            ),
            say=lambda text: None,
        )


@pytest.fixture
def model(run):
    return load_model(run, "cpu")


@pytest.fixture
def torch_model(run):
    "The same with a body of PyTorch, as it is used on a GPU."
    return Model(make_body("densenet_tiny"), run / HEAD)


@pytest.fixture(params=["model", "torch_model"])
def any_model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def files(photos):
    return sorted(photos.rglob("*.jpg"))


def state(model):
    "All that an answer could change in a model: numbers, modes, hooks."
    layers = list(model.body.model.modules())
    return (
        {k: v.clone() for k, v in model.body.model.state_dict().items()},
        [m.training for m in layers],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in layers],
    )


def equal(a, b):
    return a[1:] == b[1:] and all(torch.equal(a[0][k], b[0][k]) for k in a[0])


# ---- threads


@pytest.mark.long
def test_eight_threads_get_the_answers_of_one(any_model, files):
    model = any_model
    before = None if isinstance(model.body, FrozenBody) else state(model)
    assert not before or not any(before[1])

    def ask(file):
        return model.predict([file], bar=False).table()

    want = {f: ask(f) for f in files}
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, files * 3))
    for file, answer in zip(files * 3, got):
        pd.testing.assert_frame_equal(answer, want[file])
    assert not before or equal(before, state(model))


def test_a_body_answers_in_evaluation_mode_whatever_its_mode(torch_model, files):
    model = torch_model
    images = read_images(files[:5], model.body.size)
    want, numbers = model.probabilities(images), state(model)[0]
    model.body.model.train()
    assert (
        np.array_equal(model.probabilities(images), want) and model.body.model.training
    )
    assert all(
        torch.equal(v, numbers[k]) for k, v in model.body.model.state_dict().items()
    )


def test_two_threads_switch_one_model_to_evaluation_mode():
    "The first one leaves while the second one is still inside."
    net, inside, leave, left = (
        nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval()),
        *(threading.Event() for _ in range(3)),
    )

    def first():
        with evaluating(net):
            inside.set()
            leave.wait(10)
        left.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with evaluating(net):
        leave.set()
        assert left.wait(10)
        assert not any(m.training for m in net.modules())
    thread.join()
    assert [m.training for m in net.modules()] == [True, True, False]


def test_threads_compute_features_with_one_model(files):
    "In training mode, with hooks of their own, each of them on other layers."
    net = make_body("densenet_tiny").model.train()
    layers = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d)][:4]
    numbers = {k: v.clone() for k, v in net.state_dict().items()}

    def compute(i, where):
        return features(net, files[:8], f"{where}{i}", layers[i], 32, bf16=False)

    want = [np.array(compute(i, "one")) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(compute, [*range(4)] * 2, ["a"] * 4 + ["b"] * 4))
    for a, b in zip(want * 2, got):
        np.testing.assert_array_equal(a, b)
    assert net.training and all(
        torch.equal(v, numbers[k]) for k, v in net.state_dict().items()
    )


def test_a_head_that_is_switched_on_the_way_is_not_mixed_up(model, files, monkeypatch):
    other = copy.copy(model.head)
    other.classes = ["a", "b", "c"]
    read, first = models.picture_or_reason, model.head.classes

    def switching(picture, **how):
        model.use(other)
        return read(picture, **how)

    monkeypatch.setattr(models, "picture_or_reason", switching)
    assert set(model.predict(files[:4], 1).table().label) <= set(first)


def test_heads_of_several_layers_of_one_network_take_turns(any_model, files):
    own = any_model.head
    other = earlier_layers(own.layer, make_body("densenet_tiny").parts)[0]
    body = any_model.body.at(other)
    weight = np.random.default_rng(0).normal(size=(3, body.n_features))
    head = dataclasses.replace(own, weight=weight, layer=other, pool=POOLS[0])
    before = any_model.probabilities(files[:3])
    first = any_model.use(head).probabilities(files[:3])
    assert any_model.body.layer == other and not np.allclose(first, before)
    assert np.array_equal(any_model.use(own).probabilities(files[:3]), before)
    with pytest.raises(ValueError, match="reads nothing at 32 pixels, and this body"):
        any_model.use(dataclasses.replace(head, layer="nothing"))
    assert any_model.head is own


def test_a_model_can_be_copied_and_pickled(any_model, files):
    model = any_model
    want = model.predict(files[:3]).table()
    for other in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):
        pd.testing.assert_frame_equal(other.predict(files[:3]).table(), want)
        assert other.body is not model.body


# ---- what people call a picture


def test_whatever_people_call_a_picture(any_model, files):
    model = any_model
    file = files[0]
    im, data = Image.open(file).convert("RGB"), file.read_bytes()
    want = model.predict([file]).table().drop(columns="file")
    array = np.asarray(im)
    for picture in (
        str(file),
        file,
        data,
        bytearray(data),
        io.BytesIO(data),
        im,
        array,
        [str(file)],
        (file,),
        iter([file]),
        np.array([str(file)]),
        pd.Series([str(file)]),
        [im],
        [io.BytesIO(data)],
        [data],
        [array],
        array[None],
    ):
        answer = model.predict(picture).table()
        pd.testing.assert_frame_equal(
            answer.drop(columns="file"), want, check_dtype=False
        )
    with file.open("rb") as f:
        assert model.predict(f).table().file[0] == str(file)
    assert list(model.predict([array, im.copy(), file]).table().file) == [
        "picture 1",
        "picture 2",
        str(file),
    ]
    used, closed = io.BytesIO(data), io.BytesIO(data)
    used.read()
    closed.close()

    class Answer:  # of a web server: it can be read, and nothing else
        def read(self):
            return data

    assert list(
        model.predict(
            [used, Answer(), memoryview(data), closed, io.StringIO("a"), file.as_uri()],
            1,
        )
        .table()
        .error
    ) == [
        "",
        "",
        "",
        "it is closed: open it again",
        'a stream of text: open it with the mode "rb"',
        "",
    ]
    assert model.predict(array[:, ::-1])[0].error == "" and model.probabilities(
        np.stack([np.asarray(im.resize((32, 32)))])[:, :, ::-1]
    ).shape == (1, 3)
    gray = np.asarray(im.convert("L"))
    a, b = (
        model.predict(p).table().drop(columns="file")
        for p in (gray, np.stack([gray] * 3, 2))
    )
    pd.testing.assert_frame_equal(a, b)


def test_pictures_of_any_size_and_mode(model):
    draw = np.random.default_rng(0)
    for picture in (
        draw.integers(0, 256, (1, 1, 3), np.uint8),
        draw.integers(0, 256, (5, 400, 4), np.uint8),
        Image.new("P", (40, 30)),
        Image.new("RGBA", (33, 40)),
        Image.new("1", (9, 9)),
    ):
        assert model.predict(picture)[0].error == ""


WRONG = [
    (None, "pictures is None, a NoneType"),
    (5, "pictures is 5, a int"),
    (torch.zeros(1, 3, 32, 32), "pictures is a tensor of shape (1, 3, 32, 32)"),
    ([torch.zeros(3, 32, 32)], "picture 1 is a Tensor of shape (3, 32, 32)"),
    (
        np.zeros((32, 32, 3)),
        "picture 1 is an array of float64, whose range is not known",
    ),
    (np.zeros((2, 32, 32, 3), np.float32), "picture 1 is an array of float32"),
    (["a.jpg", None], "picture 2 is a NoneType"),
    ([["a.jpg"]], "picture 1 is a list"),
    (
        np.zeros((3, 48, 48), np.uint8),
        "picture 1 is an array of shape (3, 48, 48), with its channels first",
    ),
    (np.zeros((8, 8, 2), np.uint8), "picture 1 is an array of shape (8, 8, 2)"),
    (np.zeros((0, 0, 3), np.uint8), "picture 1 is an array of shape (0, 0, 3)"),
    (
        np.zeros((2, 3, 48, 48), np.uint8),
        "picture 1 is an array of shape (3, 48, 48), with its channels first",
    ),
    ({"a": 1}, "pictures is a dict"),
    (pd.DataFrame({"file": ["a.jpg"]}), "pictures is a DataFrame"),
]


@pytest.mark.parametrize("what, text", WRONG, ids=[text for _, text in WRONG])
def test_what_is_no_picture_is_refused_by_name(what, text, model):
    with pytest.raises(TypeError, match=re.escape(text) + ".*give "):
        model.predict(what)


def test_a_name_that_is_no_file_gets_a_row(model, files, tmp_path):
    (tmp_path / "no.jpg").write_text("no")
    answers = model.predict(
        [
            files[0],
            "nowhere.jpg",
            "https://example.com/cat.jpg",
            tmp_path,
            tmp_path / "no.jpg",
            b"no",
            "",
        ],
        1,
    )
    answers = answers.table()
    assert [bool(e) for e in answers.error] == [False] + [True] * 6
    for error, text in zip(
        answers.error[1:],
        [
            "there is no such file",
            "an address, not a file: download it first",
            "a folder, not a file",
            "not an image",
            "not an image",
            "there is no such file",
        ],
    ):
        assert text in error


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "3", True])
def test_top_k(top_k, model, files):
    with pytest.raises(
        ValueError,
        match=re.escape(f"top_k is {top_k!r}: give a whole number, 1 or more"),
    ):
        model.predict(files[:1], top_k)
    assert len(model.predict(files[:1], 99).columns) == 2 + 2 * 3


def test_one_or_many_pictures_become_probabilities_and_vectors(any_model, files):
    file = files[0]
    data, im = file.read_bytes(), Image.open(file).convert("RGB")
    want = any_model.probabilities(file)
    assert want.shape == (1, 3) and np.allclose(want.sum(), 1, atol=1e-5)
    for picture in data, io.BytesIO(data), im, np.asarray(im), [file], file.as_uri():
        assert np.array_equal(any_model.probabilities(picture), want)
    many = any_model.probabilities([file, im, data])
    assert np.allclose(many, np.repeat(want, 3, axis=0), atol=1e-5)
    ready = np.zeros((2, 32, 32, 3), np.uint8)
    n_features = any_model.head.weight.shape[1]
    assert any_model.embed(ready).shape == (2, n_features)
    assert any_model.embed([]).shape == (0, n_features)
    assert any_model(im).label == any_model.classes[want[0].argmax()]


@pytest.mark.parametrize("ask", ["embed", "probabilities", "__call__"])
def test_a_picture_that_cannot_be_read_is_named(ask, model, tmp_path):
    (tmp_path / "no.jpg").write_text("no")
    with pytest.raises(ValueError, match=r"no\.jpg: not an image"):
        getattr(model, ask)(tmp_path / "no.jpg")
    with pytest.raises(TypeError, match="picture 1 is an array of float64"):
        getattr(model, ask)(np.zeros((8, 8, 3)))


# ---- devices


def test_a_device_can_be_chosen(run, files, photos):
    assert (
        str(load_model(run, "cpu").body.device) == "cpu"
        and str(load_model(run).body.device) == default_device().type
    )
    for call in (
        lambda: load_model(run, "no"),
        lambda: evaluate(run, photos, "out", "no"),
        lambda: load_model(run).to("no"),
        lambda: train(photos, load_config(None, QUICK), device="no"),
    ):
        with pytest.raises(
            ValueError,
            match="device is 'no', and PyTorch finds no such device on this machine",
        ):
            call()
    assert not Path("out").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    "device", [1.5, True, ["cpu"], "meta", "privateuseone", "gpu", "cuda:x"], ids=repr
)
def test_what_is_no_device_is_refused_by_name(device):
    with pytest.raises(ValueError, match=re.escape(f"device is {device!r}")):
        choose_device(device)


@pytest.mark.long
def test_evaluations_at_the_same_time_have_folders_of_their_own(run, photos, tmp_path):
    "And leave the styles of figures, and the filters of warnings, as they were."
    mine = shutil.copytree(run, tmp_path / "run")
    evaluate(mine, photos, device="cpu")
    before = dict(plt.rcParams), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: evaluate(mine, photos, device="cpu"), range(4)))
    assert len(set(found)) == 4 and all(
        (path / "report" / "report.html").is_file() for path in found
    )
    assert (dict(plt.rcParams), list(warnings.filters)) == before


@pytest.mark.parametrize(
    "cuda, mps, kind",
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_device_is_found_by_itself(cuda, mps, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device(None).type == choose_device("auto").type == kind


def optimizer_of(p):
    train = load_config(None, QUICK).train
    return make_optimizer([{"params": [p], "lr": 0.1}], train)


def test_the_state_of_an_optimizer_follows_its_parameters():
    "The device meta stands for any other than the CPU."
    p = nn.Parameter(torch.randn(3))
    opt = optimizer_of(p)
    p.grad = torch.randn(3)
    opt.step()
    tensors, groups = pack_optimizer(opt)
    q = nn.Parameter(torch.empty(3, device="meta"))
    other = optimizer_of(q)
    unpack_optimizer(other, tensors, groups)
    moments = [v for v in other.state[q].values() if v.ndim]
    assert moments and {v.device.type for v in moments} == {"meta"}
    q.grad = torch.empty(3, device="meta")
    other.step()


def test_a_precision_that_is_chosen():
    cpu = torch.device("cpu")
    assert amp_dtype(cpu, "float32") is None
    assert amp_dtype(cpu, "bfloat16") is torch.bfloat16
    assert amp_dtype(cpu, "float16") is torch.float16


@pytest.mark.parametrize(
    "fast, capability, dtype",
    [
        (True, (8, 0), torch.bfloat16),
        (False, (7, 5), torch.float16),
        (False, (6, 1), None),
    ],
)
def test_what_a_device_computes_in(fast, capability, dtype, monkeypatch):
    monkeypatch.setattr(engine, "bf16_is_fast", lambda device: fast)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert amp_dtype(torch.device("cuda"), "auto") is dtype
    if not fast:
        assert amp_dtype(torch.device("cpu"), "auto") is None


def test_a_cpu_computes_features_as_its_graphs_do(photos, monkeypatch):
    "In float32, also where bfloat16 would be fast."
    body = make_body("densenet_tiny")
    images = read_images(sorted(photos.rglob("*.jpg"))[:3], 32)
    expected = body.features(images, bf16=False)
    monkeypatch.setattr(engine, "bf16_is_fast", lambda device: True)
    assert torch.equal(body.features(images), expected)


def test_a_step_whose_gradients_overflow_in_float16_is_left_out(photos, tmp_path):
    config = load_config(None, QUICK)
    body = make_body("densenet_tiny")
    net = Network(body, 3, amp=torch.float16)
    opt = make_optimizer(param_groups(net, [1e-2], head="head"), config.train)
    task = Task(tmp_path, take_stock(photos), body, config, 2, 1, print)
    training, before = Training(net, opt, task), copy.deepcopy(net.state_dict())
    images = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
    y, scale = torch.zeros(8, dtype=torch.long), training.scaler.get_scale()

    # The loss is 0, and its gradients are no numbers.
    training.loss_of = lambda logits, y: (0 * logits).sqrt().sum()
    net.eval()
    assert training.take_step(images, y) == 0
    assert training.scaler.get_scale() == scale / 2
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_processes_that_read_have_one_thread_each(photos, monkeypatch):
    monkeypatch.setattr(defaults, "cpus", 5)
    stock, config = take_stock(photos), load_config(None, [*QUICK, "data.workers=1"])
    loader = batches.batch_loader(stock, make_body("densenet_tiny"), config, 2)

    def count(self, at):
        return np.array([defaults.cpus]), np.array([0])

    monkeypatch.setattr(batches.Batches, "__getitem__", count)
    assert [int(n) for n, _ in loader] == [1, 1] and defaults.cpus == 5


def test_what_is_no_path_of_a_model():
    with pytest.raises(
        TypeError,
        match="path is a bytes: give the folder of a run, or a file that one left",
    ):
        load_model(b"runs/base")


def test_the_folder_to_evaluate_is_named(run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "parent" / "photos")
    with pytest.raises(
        ValueError,
        match="holds the folder photos, and this one holds the classes: give .*photos",
    ):
        evaluate(run, tmp_path / "parent", "out", "cpu")
    one = next(p for p in sorted((tmp_path / "parent" / "photos").iterdir()))
    (one / "images").mkdir()
    for file in sorted(one.glob("*.jpg")):
        file.rename(one / "images" / file.name)
    with pytest.raises(
        ValueError,
        match=f"{one.name} is the folder of one class: give the folder above it",
    ):
        evaluate(run, one, "out", "cpu")


# ---- the caller's process


def interrupt(step):
    "A Ctrl-C in the middle of the second step, inside of autocast."
    if step.step == 1:
        step.net.head.register_forward_hook(press_ctrl_c)


def press_ctrl_c(*args):
    raise KeyboardInterrupt


def lose(step):
    "From the third step on the loss is no number."
    if step.step == 2:
        torch.nn.init.constant_(step.net.head.bias, float("nan"))


def process():
    "What a training could leave changed."
    return dict(
        autocast=torch.is_autocast_enabled("cpu"),
        product=(torch.ones(2, 2) @ torch.ones(2, 2)).dtype,
        grad=torch.is_grad_enabled(),
        threads=(torch.get_num_threads(), threading.active_count()),
        warnings=list(warnings.filters),
        figures=plt.get_fignums(),
        style=dict(plt.rcParams),
        folder=Path.cwd(),
        default=torch.get_default_dtype(),
        truncated=ImageFile.LOAD_TRUNCATED_IMAGES,
        most=Image.MAX_IMAGE_PIXELS,
        environment=dict(os.environ),
        random=random.getstate(),
        numpy=np.random.get_state()[1].tolist(),
        torch=torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("ending", long_but([interrupt], [None, interrupt, lose]))
def test_whatever_ends_a_training_the_callers_process_is_as_it_was(ending, photos):
    config = load_config(
        None,
        [
            *QUICK,
            "train.strategy=everything",
            "train.precision=bfloat16",
            "output.report=true",
        ],
    )
    first = load_config(None, [*QUICK, "train.strategy=head", "output.runs=before"])
    train(photos, first, say=lambda text: None)  # what is imported and cached once
    before = process()
    expected = {interrupt: KeyboardInterrupt, lose: ValueError}.get(ending)
    if expected is None:
        train(photos, config, say=lambda text: None)
    else:
        with pytest.raises(expected):
            train(photos, config, say=lambda text: None, on_step=ending)
    after = process()
    assert {k: v for k, v in after.items() if k != "threads"} == {
        k: v for k, v in before.items() if k != "threads"
    }
    assert after["threads"][0] == before["threads"][0]


def test_an_interrupt_inside_of_a_switch_leaves_nothing_switched():
    """As one that falls into the last lines of `torch.no_grad` or `torch.autocast`.

    What they had changed would stay changed.
    """
    before = process()
    with pytest.raises(KeyboardInterrupt), own_randomness(3):
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        raise KeyboardInterrupt
    assert process() == before


def test_trainings_of_two_threads_take_turns(photos):
    before = process()

    def go(name):
        return train(
            photos,
            load_config(None, [*QUICK, "train.strategy=head", f"output.runs={name}"]),
            say=lambda text: None,
        )

    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(go, "ab")
    assert (
        (a / "head.safetensors").read_bytes()
        == (b / "head.safetensors").read_bytes()
        == (go("c") / "head.safetensors").read_bytes()
    )
    after = process()
    assert all(after[k] == before[k] for k in before if k != "threads")


@pytest.mark.parametrize(
    "key, wrong, text",
    [
        ("say", None, "say is None: give a function"),
        ("on_step", 3, "on_step is 3: give a function that takes a `Step`"),
    ],
)
def test_wrong_arguments_leave_no_run(key, wrong, text, photos):
    with pytest.raises(TypeError, match=text):
        train(photos, load_config(None, QUICK), **{key: wrong})
    assert not Path("runs").exists()


def test_a_complete_run_gets_the_report_that_is_asked_for(photos):
    keys, said = [*QUICK, "train.strategy=probe"], []
    run = train(photos, load_config(None, keys), say=said.append)
    assert not (run / "report").exists()
    train(
        photos,
        load_config(None, [*keys, "output.report=true"]),
        resume=True,
        say=said.append,
    )
    assert (
        run / "report" / "report.html"
    ).is_file() and "its report, which it did not have" in said[-1]


# ---- balance


def test_a_balanced_probe_is_one_of_repeated_rows():
    draws = np.random.default_rng(0)
    x = np.concatenate(
        [draws.normal(0, 1, (60, 4)), draws.normal(0.7, 1, (20, 4))]
    ).astype(np.float32)
    y = np.repeat([0, 1], [60, 20])
    repeated = np.concatenate([x, x[60:], x[60:]]), np.concatenate([y, y[60:], y[60:]])
    balanced, three_times, plain = (
        linear_probe(x, y, [0.1], balance=True),
        linear_probe(*repeated, [0.1]),
        linear_probe(x, y, [0.1]),
    )

    def recall(probe):
        return (probe.predict(x[60:]) == 1).mean()

    assert recall(balanced) > recall(plain)
    assert np.mean(balanced.predict(x) == three_times.predict(x)) > 0.95


def test_balance_reaches_the_probe(tmp_path):
    photos = draw(tmp_path / "photos", 60)
    small = sorted(next(p for p in sorted(photos.iterdir())).glob("*.jpg"))
    for file in small[5:]:
        file.unlink()
    heads = [
        read_head(
            train(
                photos,
                load_config(
                    None,
                    [
                        *QUICK,
                        "train.strategy=probe",
                        f"train.balance={b}",
                        f"output.runs={b}",
                    ],
                ),
                say=lambda text: None,
            )
            / "head.safetensors"
        ).weight
        for b in ("none", "weights", "sampler")
    ]
    assert not np.array_equal(heads[0], heads[1]) and np.array_equal(heads[1], heads[2])


# ---- which weights are the best


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.01, 9), st.floats(0.01, 9))
def test_the_loss_decides_where_accuracies_are_as_good_as_equal(a, b, loss_a, loss_b):
    now, best = Judgement(2, a / 40, loss_a), Judgement(1, b / 40, loss_b)
    better = is_better(now, best, 40)
    if abs(a - b) <= 1 and 4 <= b <= 36:
        assert better == (loss_a < loss_b)
    if a >= b + 16:
        assert better
    if a <= b - 16:
        assert not better
    assert is_better(now, None, 40) and not is_better(best, best, 40)


def test_one_picture_does_not_throw_a_fine_tuning_away():
    now, best = Judgement(9, 34 / 36, 0.082), Judgement(0, 35 / 36, 0.176)
    assert is_better(now, best, 36)


# ---- pictures that are far from square


@pytest.mark.parametrize("fit", ["crop", "pad", "squeeze"])
def test_what_is_trained_is_what_is_predicted(fit):
    """Ten times as wide as high, and the class shows at the left end only.

    With crop nobody sees it.
    """
    colors = {"green": (40, 200, 40), "red": (200, 40, 40)}
    for label, color in colors.items():
        Path("wide", label).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(i).integers(90, 166, (48, 480, 3), np.uint8)
            pixels[:, :160] = color
            Image.fromarray(pixels).save(Path("wide", label, f"{i}.png"))
    run = train(
        "wide",
        load_config(
            None, [*QUICK, "train.strategy=probe", "data.valid=0.4", f"data.fit={fit}"]
        ),
        say=lambda text: None,
    )
    there = read_run(run)
    answers = (
        load_model(run).predict([there.images / f for f in there.files], 1).table()
    )
    assert list(answers.label) == [there.classes[i] for i in there.pred]
    np.testing.assert_allclose(answers.confidence, there.probs.max(1), atol=2e-3)
    held_out = there.only("valid")
    assert ((held_out.pred == held_out.y).mean() > 0.9) == (fit != "crop")
    model = load_model(run)
    assert model.head.fit == fit and model.body.how == (
        {} if fit == "crop" else {"fit": fit}
    )
    if fit != "crop":
        squares = f"squares by {fit}, and this body sees them by crop"
        with pytest.raises(ValueError, match=squares):
            models.Model(make_body("densenet_tiny"), model.head)


def test_pictures_come_to_a_network_of_timm_as_it_learned():
    timm = pytest.importorskip("timm")
    body = make_body("mobilenetv3_small_050", pretrained=False)
    said = timm.create_model("mobilenetv3_small_050").pretrained_cfg
    assert body.how == {"share": said["crop_pct"], "resample": said["interpolation"]}
    y, x = np.mgrid[:300, :400]
    wide = Image.fromarray(
        np.stack([x * 255 // 400, y * 255 // 300, 128 + 100 * np.sin(x / 9)], 2).astype(
            np.uint8
        )
    )
    wide.save("wide.png")
    seen = read_images(["wide.png"], 224, share=0.875, resample="bicubic")[0]
    want = v2.Compose(
        [v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)]
    )(wide)

    def apart(a):
        return abs(a.astype(int) - np.asarray(want).astype(int)).mean()

    assert apart(seen) < 2 < 10 < apart(read_images(["wide.png"], 224)[0])
