"""The trainer: what it promises across chapters.

Exact resumption, runs that are never written over, small heads, files that cannot run
code."""

import copy
import dataclasses
import errno
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from cases import long_but
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from photos import BREEDS, draw
from safetensors.torch import save_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tutorial_lib import trainer
from tutorial_lib.config import ConfigError, load_config
from tutorial_lib.core import batches, budget, jobs, training, tuning
from tutorial_lib.core.arrays import sealed, unsealed
from tutorial_lib.core.bodies import Body, Network, make_body
from tutorial_lib.core.optimizers import make_optimizer, one_cycle, rate_at, set_rates
from tutorial_lib.core.resume import old_run
from tutorial_lib.data import read_images
from tutorial_lib.modules import read_weights, save_weights
from tutorial_lib.report import read_run
from tutorial_lib.trainer import (
    Head,
    Model,
    Stock,
    evaluate,
    load_model,
    read_head,
    save_head,
    take_stock,
    train,
)

QUICK = [
    "train.minutes=null",
    "train.epochs=2",
    "train.batch_size=8",
    "output.report=false",
    "train.precision=float32",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    "A folder for each test, and the data and weights that are drawn or shipped."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTORIAL_DATA", "sample")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    "42 pictures of 3 classes: 33 to learn from, so four steps an epoch."
    return draw(tmp_path_factory.mktemp("trainer") / "my_photos", 42)


@pytest.fixture(scope="session")
def probed(photos, tmp_path_factory):
    "A run that is a probe alone. Copy what is to be changed."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        return go(
            photos, "train.strategy=probe", runs=tmp_path_factory.mktemp("probed")
        )


def go(folder, *keys, resume=False, on_step=None, runs="runs", say=lambda text: None):
    config = load_config(None, [*QUICK, f"output.runs={runs}", *keys])
    return train(folder, config, resume, say, on_step)


def everything(folder):
    return sorted(
        p.relative_to(folder).as_posix()
        for p in Path(folder).rglob("*")
        if not p.name.endswith(".lock")
    )


def left(run):
    """What a run left, without what the clock says.

    Weights as bytes; history, predictions and result."""
    history = (
        pd.read_csv(run / "history.csv").drop(columns="seconds").to_csv()
        if (run / "history.csv").exists()
        else ""
    )
    return dict(
        files=everything(run),
        weights={f.name: f.read_bytes() for f in run.glob("*.safetensors")},
        history=history,
        predictions=(run / "predictions.csv").read_bytes(),
        result={
            k: v
            for k, v in json.loads((run / "result.json").read_bytes()).items()
            if k not in ("seconds", "sha256_of_this")
        },
    )


def stop(*args):
    raise KeyboardInterrupt


def stop_at(number):
    "Something that stops a training after the step of a number."

    def on_step(step):
        if step.step == number:
            stop()

    return on_step


def stopped(folder, *keys, step=2, runs="runs"):
    "A run that was stopped after a step, with a checkpoint of it."
    with pytest.raises(KeyboardInterrupt):
        go(
            folder,
            "output.checkpoint_minutes=0",
            *keys,
            on_step=stop_at(step),
            runs=runs,
        )
    [run] = [p for p in Path(runs).iterdir() if p.is_dir()]
    assert (run / "checkpoint.safetensors").is_file() and not (
        run / "result.json"
    ).exists()
    return run


# ---- stopped anywhere, it ends with the same bytes

EXACT = {
    "probe": ["train.strategy=probe"],
    "early probe": ["train.strategy=early probe"],
    "advised": ["train.lr=1e-3"],
    "head": [
        "train.strategy=head",
        "train.lr=1e-2",
        "output.checkpoint_minutes=0",
        "train.batch_size=6",
    ],
    "head without a probe": [
        "recipe=classifier",
        "train.epochs=2",
        "train.validate_every=3",
        "train.validate_from=1",
        "train.keep=last",
        "train.min_accuracy=null",
    ],
    "last parts": [
        "train.strategy=last parts",
        "train.keep=last",
        "output.checkpoint_minutes=0",
    ],
    "everything": [
        "train.strategy=everything",
        "train.keep=last",
        "train.balance=sampler",
        "train.validate_every=3",
        "evaluation.mirror=false",
    ],
    "last parts, float16": [
        "train.strategy=last parts",
        "train.precision=float16",
        "train.epochs=1",
        "train.keep=last",
        "output.checkpoint_minutes=0",
    ],
    "everything, the best": [
        "train.strategy=everything",
        "train.probe=false",
        "output.checkpoint_minutes=0",
        "data.test=0.2",
        "train.balance=weights",
    ],
    "sgd and steps": [
        "recipe=full",
        "train.epochs=2",
        "train.lr_every=1",
        "train.augment=mirror",
        "output.checkpoint_minutes=0",
        "train.validate_every=3",
    ],
    "random weights": [
        "train.strategy=everything",
        "model.pretrained=false",
        "train.probe=false",
        "train.augment=none",
        "output.checkpoint_minutes=0",
    ],
}
FAILURES = [
    KeyboardInterrupt,
    lambda where: OSError(errno.ENOSPC, "No space left on device", where),
    MemoryError,
]


class Moments:
    """The moments of a training, at one of which it fails.

    Words, steps, and each file before and after it is on the disk and has its name."""

    def __init__(self, monkeypatch, at=None, failure=KeyboardInterrupt):
        self.at, self.failure, self.names = at, failure, []
        for name in "fsync", "replace", "rename":
            monkeypatch.setattr(os, name, self.around(getattr(os, name), name))

    def __call__(self, name):
        self.names.append(name)
        if len(self.names) == self.at:
            raise self.failure(f"at {name}")

    def around(self, f, name):
        def wrapped(*args):
            self(f"before {name} {args}")
            done = f(*args)
            self(f"after {name} {args}")
            return done

        return wrapped

    def before_step(self, opt, args, kwargs):
        if not isinstance(opt, torch.optim.LBFGS):  # that of the probe
            self("loss")

    def after_step(self, step):
        self("step")


def attempt(folder, keys, runs, at=None, failure=KeyboardInterrupt):
    """Begin a run, or go on with it.

    Returns the run, or None where it was stopped at a moment; and the moments."""
    with pytest.MonkeyPatch.context() as patch:
        moments = Moments(patch, at, failure)
        hook = register_optimizer_step_pre_hook(moments.before_step)
        how = dict(resume=True, runs=runs, say=moments, on_step=moments.after_step)
        try:
            run = go(folder, *keys, **how)
        except (KeyboardInterrupt, OSError, MemoryError):
            run = None
        finally:
            hook.remove()
    assert (run is None) == (len(moments.names) == at)
    return run, moments.names


QUICK_KEYS = "probe", "head"


@pytest.mark.parametrize("name", long_but(QUICK_KEYS, EXACT))
def test_stopped_again_and_again_it_ends_with_the_same_bytes(name, photos):
    keys = EXACT[name]
    whole, moments = attempt(photos, keys, "whole")
    at, stops, run = 1 + len(str(keys)) % 3, 0, None
    while run is None:
        run, _ = attempt(photos, keys, "runs", at, FAILURES[stops % 3])
        if run is None:
            at, stops = at + 4, stops + 1
            for file in Path("runs").rglob("*.json"):
                json.loads(file.read_bytes())
            for file in Path("runs").rglob("*.safetensors"):
                read_weights(file)
            assert not [
                name
                for name in everything("runs")
                if name.endswith(".part") and "/features/" not in name
            ]
    assert stops >= 5 and len(moments) > 20
    assert left(run) == left(whole)
    assert [p.name for p in Path("runs").iterdir() if p.is_dir()] == ["my_photos"]
    if left(run)["history"]:
        assert pd.read_csv(run / "history.csv").seconds.is_monotonic_increasing


@pytest.mark.long
def test_moments_of_one_run(photos):
    "A run of two steps, stopped once, at each eighth of its moments in turn."
    keys = [
        "train.strategy=head",
        "train.probe=false",
        "train.batch_size=16",
        "train.epochs=1",
        "train.keep=last",
    ]
    whole, moments = attempt(photos, keys, "whole")
    for at in range(2, len(moments) + 1, 8):
        assert attempt(photos, keys, f"runs{at}", at)[0] is None, moments[at - 1]
        run, _ = attempt(photos, keys, f"runs{at}")
        assert left(run) == left(whole), moments[at - 1]
        shutil.rmtree(f"runs{at}")


@pytest.mark.long
def test_a_file_system_that_takes_no_more_bytes(photos):
    "A real limit: the system writes what fits, and then refuses."
    resource = pytest.importorskip("resource")
    keys, before = (
        [
            "train.strategy=last parts",
            "train.keep=last",
            "output.checkpoint_minutes=0",
            "train.epochs=1",
        ],
        resource.getrlimit(resource.RLIMIT_FSIZE),
    )
    whole = go(photos, *keys, runs="whole")
    for most in 100, 12_000, 200_000, 1_000_000:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            with pytest.raises(OSError) as e:
                go(photos, *keys, resume=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert e.value.errno == errno.EFBIG and not [
            name
            for name in everything("runs")
            if name.endswith(".part") and "/features/" not in name
        ]
    assert left(go(photos, *keys, resume=True)) == left(whole)


@pytest.mark.long
def test_a_line_of_the_cache_that_was_cut(photos):
    """A cut cache goes on with whole batches.

    What is computed together decides how it is rounded."""
    keys = ["train.strategy=probe"]
    whole, sizes = go(photos, *keys, runs="whole"), []
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "fit_probe", stop)
        go(photos, *keys)
    lines = Path("runs/my_photos/features/rows.jsonl")
    data = lines.read_bytes()
    for n in 8, 24, 42:
        lines.write_bytes(b"".join(data.splitlines(keepends=True)[:n])[:-3])
        run, body = Path("runs/my_photos"), make_body()
        body.file_features = lambda *args, **how: sizes.append(
            len(lines.read_bytes().splitlines())
        )
        config = load_config(run / "config.yaml")
        job = jobs.Job(run, old_run(run), config, body, print)
        job.features([body.layer])
    assert sizes == [0, 16, 40]
    assert left(go(photos, *keys, resume=True)) == left(whole)


def test_a_complete_run_is_left_alone(photos, probed, tmp_path):
    run = Path(shutil.copytree(probed.parent, "runs")) / "my_photos"
    before, said = {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}, []
    (run / "features").mkdir()  # killed while it tidied up
    (run / "features" / "rows.bin").write_bytes(b"x")
    assert go(photos, "train.strategy=probe", resume=True, say=said.append) == run
    assert [f"{run} is complete: there is nothing to resume"] == said and before == {
        f: f.read_bytes() for f in run.rglob("*") if f.is_file()
    }


@pytest.mark.long
def test_the_place_of_the_folder_and_the_callers_randomness_change_nothing(
    photos, monkeypatch, tmp_path
):
    keys = ["train.strategy=last parts", "train.keep=last", "data.test=0.2"]
    a = go(photos, *keys)
    other = tmp_path / "elsewhere" / "다른 곳"
    for file in sorted(photos.rglob("*.jpg"), reverse=True):
        (other / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, other / file.parent.name)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    b = go(other, *keys, runs="more")
    assert (a / "model.safetensors").read_bytes() == (
        b / "model.safetensors"
    ).read_bytes() and (a / "split.csv").read_bytes() == (b / "split.csv").read_bytes()
    assert (a / "model.safetensors").read_bytes() != (
        go(other, *keys, "train.seed=7", runs="seven") / "model.safetensors"
    ).read_bytes()
    pd.testing.assert_frame_equal(take_stock(photos).table, take_stock(other).table)


@pytest.mark.parametrize("at", [None, 1])
def test_the_callers_random_numbers_stay(at, photos):
    def draws():
        return random.random(), np.random.random(), torch.rand(1).item()

    def seed():
        random.seed(3), np.random.seed(3), torch.manual_seed(3)

    seed()
    expected = draws()
    seed()
    try:
        go(photos, "train.strategy=head", "train.epochs=1", on_step=stop_at(at))
    except KeyboardInterrupt:
        assert at
    assert draws() == expected


# ---- runs and what they are resumed with


def test_runs_are_never_written_over_and_the_right_one_is_resumed(photos, tmp_path):
    probe = ["train.strategy=probe"]
    first = go(photos, *probe)
    before = {f: f.read_bytes() for f in first.rglob("*") if f.is_file()}
    Path("runs/my_photos_2").write_text("a file of mine")
    Path("runs/my_photos_3").mkdir()
    other = Path(shutil.copytree(photos, tmp_path / "other" / "my_photos"))
    assert (
        go(photos, *probe).name == "my_photos_4"
        and go(other, *probe).name == "my_photos_5"
    )
    with pytest.raises(KeyboardInterrupt):
        go(photos, "train.strategy=head", on_step=stop_at(2))
    with pytest.raises(KeyboardInterrupt):
        go(other, "train.strategy=head", on_step=stop_at(2))
    assert go(photos, "train.strategy=head", resume=True).name == "my_photos_6"
    assert go(other, "train.strategy=head", resume=True).name == "my_photos_7"
    assert (
        go(photos, *probe, "output.run_name=mine").name == "mine"
        and go(photos, *probe, "output.run_name=mine").name == "mine_2"
    )
    assert Path("runs/my_photos_2").read_text() == "a file of mine" and not any(
        Path("runs/my_photos_3").iterdir()
    )
    assert before == {f: f.read_bytes() for f in first.rglob("*") if f.is_file()}


def test_resume_without_a_run_begins_one(photos):
    assert go(photos, "train.strategy=probe", resume=True).name == "my_photos"


HOLDS = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_work_in_one_run(photos):
    keys = ["train.strategy=head"]
    run = stopped(photos, *keys)
    before = {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(run / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            RuntimeError,
            match=re.escape(
                f"another process is at work in {run}: wait for it, or begin a new "
                "run without --resume"
            ),
        ):
            go(photos, *keys, "output.checkpoint_minutes=0", resume=True)
        assert before == {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}
        assert (
            go(photos, "train.strategy=probe").name == "my_photos_2"
        )  # a new one meets nobody
        shutil.rmtree("runs/my_photos_2")
        other.stdin.close()
    assert go(photos, *keys, resume=True) == run


OTHERS = {
    "train.lr=0.5": "train.lr was 0.0005 and is now 0.5",
    "train.strategy=everything": "train.strategy was 'head' and is now 'everything'",
    "model.name=resnet18": "model.name was 'auto' and is now 'resnet18'",
    "evaluation.mirror=false": "evaluation.mirror was True and is now False",
    "recipe=full": "recipe was 'fast' and is now 'full'",
    "data.valid=0.4": "data.valid was 0.2 and is now 0.4",
    "data.size=64": "data.size was None and is now 64",
    "data.split_seed=7": "data.split_seed was 42 and is now 7",
    "train.seed=7": "train.seed was 42 and is now 7",
}


def test_another_configuration_is_refused_by_its_key(photos):
    run = stopped(photos, "train.strategy=head")
    before = {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}
    for key, text in OTHERS.items():
        with pytest.raises(ValueError) as e:
            go(photos, "train.strategy=head", key, resume=True)
        assert str(e.value) == (
            f"{run} was begun with another configuration, {text}: give the same one or "
            "none, or begin a new run without --resume"
        )
    assert before == {f: f.read_bytes() for f in run.rglob("*") if f.is_file()}
    same = [
        "output.report=true",
        "data.workers=0",
        "output.checkpoint_minutes=9",
    ]  # what changes no weight
    assert go(photos, "train.strategy=head", *same, resume=True) == run


def test_pictures_that_changed_are_refused_by_name(photos, tmp_path):
    mine = Path(shutil.copytree(photos, "mine")).resolve()
    run = stopped(mine, "train.strategy=head")
    file = sorted(mine.rglob("*.jpg"))[5]
    data, name = file.read_bytes(), file.relative_to(mine).as_posix()
    for change, what in (
        (lambda: file.unlink(), "removed"),
        (
            lambda: file.write_bytes(data + b"\0"),
            "exchanged for others, or no longer readable",
        ),
    ):
        change()
        with pytest.raises(ValueError) as e:
            go(mine, "train.strategy=head", resume=True)
        assert str(e.value) == (
            f"{run} was begun with other pictures than {mine} holds now: 1 {what} "
            f"({name!r}). Put back what the run was begun with, or begin a new run "
            "without --resume"
        )
    file.write_bytes(data)
    shutil.copy(
        file, file.with_name("new.jpg")
    )  # one that came later is not part of the run
    with pytest.raises(ValueError, match="1 added .*new.jpg"):
        go(mine, "train.strategy=head", resume=True)
    assert len(read_run(go(mine, "train.strategy=head", resume="as begun"))) == 42


def write_sealed(tensors, file, about, key="tutorial_lib"):
    "Write a file as somebody would who knows how: with the right digest."
    is_table = isinstance(about, dict)
    text = sealed(tensors, about) if is_table else json.dumps(about)
    return save_weights(tensors, file, **{key: text})


def about_of(file, key="tutorial_lib"):
    tensors, metadata = read_weights(file)
    return tensors, unsealed(tensors, metadata[key])


def damaged(run, how):
    "Damage a checkpoint."
    file = run / "checkpoint.safetensors"
    tensors, state = about_of(file, "state")
    if isinstance(how, int):
        file.write_bytes(file.read_bytes()[:how])
    elif how == "one bit":
        data = bytearray(file.read_bytes())
        data[-9] ^= 1
        file.write_bytes(data)
    elif how == "foreign":
        save_file({"a": torch.zeros(2)}, file)
    elif how == "pickle":
        torch.save(tensors, file)
    elif how == "without weights":
        write_sealed(
            {k: v for k, v in tensors.items() if not k.startswith("model.")},
            file,
            state,
            "state",
        )
    elif how == "other shapes":
        write_sealed(
            {k: v[:1] if v.ndim else v for k, v in tensors.items()},
            file,
            state,
            "state",
        )
    elif how == "no JSON":
        save_weights(tensors, file, state="{")
    else:
        less = {k: v for k, v in state.items() if k != how}
        write_sealed(tensors, file, less, "state")


@pytest.fixture(scope="session")
def halfway(photos, tmp_path_factory):
    "A run that was stopped in the middle. Copy it."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_DATA", "sample")
        return stopped(
            photos, "train.strategy=head", runs=tmp_path_factory.mktemp("halfway")
        )


@pytest.mark.parametrize(
    "how",
    [
        0,
        7,
        100,
        5_000,
        "one bit",
        "foreign",
        "pickle",
        "without weights",
        "other shapes",
        "no JSON",
        "step",
        "opt",
        "rows",
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(how, photos, halfway):
    run = Path(shutil.copytree(halfway.parent, "runs")) / "my_photos"
    damaged(run, how)
    with pytest.raises(ValueError) as e:
        go(photos, "train.strategy=head", resume=True)
    assert (
        str(e.value).startswith(f"{run / 'checkpoint.safetensors'}")
        and "\n" not in str(e.value)
        and "delete it, and --resume begins" in str(e.value)
    )


def test_a_checkpoint_may_be_deleted(photos, halfway):
    run = Path(shutil.copytree(halfway.parent, "runs")) / "my_photos"
    (run / "checkpoint.safetensors").unlink()
    assert left(go(photos, "train.strategy=head", resume=True)) == left(
        go(photos, "train.strategy=head", runs="whole")
    )


@pytest.mark.long
def test_a_report_that_was_killed_stops_nothing(photos):
    keys = ["train.strategy=head", "train.keep=last", "output.report=true"]
    run = stopped(photos, *keys)
    for name in ".report.0123.part", ".report.0123.old":
        (run / name).mkdir()
        (run / name / "report.html").write_text("x")
    (run / ".plan.json.0123.part").write_text("{")
    assert left(go(photos, *keys, resume=True)) == left(go(photos, *keys, runs="whole"))


@pytest.mark.parametrize(
    "name", ["plan.json", "stock.json", "split.csv", "config.yaml", "head.safetensors"]
)
@pytest.mark.parametrize(
    "data", long_but([b"{}"], [b"", b"[]", b"{}", b"\xff\xfe", None]), ids=repr
)
def test_a_file_of_a_run_that_was_changed_is_refused_by_name(
    name, data, photos, halfway
):
    run = Path(shutil.copytree(halfway.parent, "runs")) / "my_photos"
    (run / name).unlink() if data is None else (run / name).write_bytes(data)
    try:
        go(photos, "train.strategy=head", resume=True)
    except (ValueError, OSError) as e:
        assert name in str(e) and "\n" not in str(e), str(e)
    else:
        assert (
            data is None and name == "plan.json"
        ) or name == "stock.json"  # made anew; or no run, so another one was begun


# ---- how it learns


def test_each_step_is_told_once_it_is_saved(photos):
    run, seen = Path("runs/my_photos"), []

    def on_step(step):
        _, state = about_of(run / "checkpoint.safetensors", "state")
        seen.append((step.step, state["step"], step.total))
        assert np.isfinite(step.loss) and isinstance(step.net, Network)
        with pytest.raises(dataclasses.FrozenInstanceError):
            step.loss = 0

    keys = ["train.strategy=head", "output.checkpoint_minutes=0"]
    go(photos, *keys, on_step=on_step)
    assert seen == [(k, k, 8) for k in range(1, 9)]


def test_what_takes_no_steps(photos):
    with pytest.raises(TypeError, match="on_step is 3: give a function that takes a"):
        train(photos, on_step=3)
    for callbacks in [], [print]:  # of fastai: as each key that is none
        with pytest.raises(ConfigError, match="^keywords: "):
            train(photos, cbs=callbacks)
    assert not Path("runs").exists()


@pytest.mark.long
def test_fastai_is_imported_for_full_augmentation_alone(photos):
    "By a training; what the chapters before it import is theirs."
    program = """
import sys
from tutorial_lib.core.batches import augmentation
for how in "none", "mirror", "full":
    augmentation(how, 32)
    print("fastai.vision.augment" in sys.modules)
"""
    line = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


def fastai_optimizer(net, train, rates):
    "As its Learner makes it: without weight decay for norms and biases."
    from fastai.optimizer import SGD, Adam

    parts = [list(net[0].parameters()), list(net[1:].parameters())]
    how = dict(lr=rates, mom=train.momentum, wd=train.weight_decay)
    opt = SGD(parts, **how) if train.optimizer == "sgd" else Adam(parts, **how)
    for p in net.parameters():
        opt.state[p]["do_wd"] = p.ndim > 1
    return opt


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_optimizers_go_the_way_of_those_of_fastai(name, weight_decay):
    "That of SGD pulls a little later, since its momentum holds the pull."
    train = SimpleNamespace(optimizer=name, momentum=0.9, weight_decay=weight_decay)
    torch.manual_seed(0)
    first = nn.Linear(4, 8, bias=False)
    ours = nn.Sequential(first, nn.BatchNorm1d(8), nn.Linear(8, 2))
    theirs, rates = copy.deepcopy(ours), [0.001, 0.01]
    parts = [ours[0].parameters(), ours[1:].parameters()]
    groups = [dict(params=list(p), lr=lr) for p, lr in zip(parts, rates)]
    opts = make_optimizer(groups, train), fastai_optimizer(theirs, train, rates)
    start = [p.detach().clone() for p in ours.parameters()]
    for step in range(60):
        x, share = torch.randn(16, 4), one_cycle(step / 60)
        set_rates(opts[0], share)
        opts[1].set_hypers(lr=[lr * share for lr in rates])
        for net, opt in zip((ours, theirs), opts):
            net(x).square().mean().backward()
            opt.step()
            opt.zero_grad()
    exact = name == "adam" or not weight_decay
    for a, b, before in zip(ours.parameters(), theirs.parameters(), start):
        apart, way = (a - b).norm().item(), (b - before).norm().item()
        assert apart <= (1e-4 if exact else 0.1) * way


@given(st.floats(0, 1), st.floats(1e-6, 10))
def test_one_cycle_is_that_of_fastai(done, lr):
    from fastai.callback.schedule import combined_cos

    theirs = combined_cos(0.25, lr / 25, lr, lr / 1e5)(done)  # in float32
    assert lr * one_cycle(done) == pytest.approx(theirs, rel=1e-6, abs=1e-6 * lr)


@given(st.integers(1, 20), st.integers(1, 5), st.data())
def test_the_rate_falls_at_epochs(per_epoch, every, data):
    train = SimpleNamespace(schedule="step", lr_factor=0.5, lr_every=every)
    epoch = data.draw(st.integers(0, 20))
    steps = epoch * per_epoch, (epoch + 1) * per_epoch - 1
    rates = {rate_at(step, 10**6, per_epoch, train) for step in steps}
    assert rates == {0.5 ** (epoch // every)}


def test_mirrored_pictures_are_those_of_fastai():
    from fastai.torch_core import TensorImage
    from fastai.vision.augment import Flip

    x = torch.rand(64, 3, 16, 16)
    theirs = Flip(p=1.0)(TensorImage(x), split_idx=0).as_subclass(torch.Tensor)
    ours = batches.augmentation("mirror", 16)(x)
    is_mirrored = (ours != x).flatten(1).any(1)
    assert 10 < is_mirrored.sum() < 54
    torch.testing.assert_close(ours[is_mirrored], theirs[is_mirrored])


def test_a_checkpoint_of_the_version_with_fastai_is_refused(photos, halfway):
    run = Path(shutil.copytree(halfway.parent, "runs")) / "my_photos"
    file = run / "checkpoint.safetensors"
    tensors, state = about_of(file, "state")
    state["opt"] = {"state": [{"do_wd": True}], "hypers": [{"lr": 0.1}]}
    write_sealed(tensors, file, state, "state")
    with pytest.raises(ValueError, match="does not belong to this run, or was changed"):
        go(photos, "train.strategy=head", resume=True)


def test_a_loss_that_is_no_number(photos):
    keys = ["train.strategy=head", "train.keep=last", "output.checkpoint_minutes=0"]

    def spoil(step):
        if step.step == 2:
            nn.init.constant_(step.net.head.bias, float("nan"))

    text = (
        "the loss became nan at step 3: the steps are too large. Begin a new run with "
        "a smaller train.lr than 0.0005"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        go(photos, *keys, on_step=spoil)
    whole = go(photos, *keys, runs="whole")
    assert left(go(photos, *keys, resume=True)) == left(whole)


sizes = st.integers(1, 40)


@given(sizes, sizes, st.integers(0, 9), st.data())
def test_an_order_begins_anywhere_and_shows_each_picture_once_an_epoch(
    n, bs, seed, data
):
    total = data.draw(st.integers(0, 50))
    start = data.draw(st.integers(0, total))
    whole, tail = (
        batches.Order(n, bs, seed, 0, total),
        batches.Order(n, bs, seed, start, total),
    )
    steps = [list(at) for at in whole]
    assert [list(at) for at in tail] == steps[start:] and len(tail) == total - start
    per_epoch = max(n // bs, 1)
    assert all(len(at) == min(n, bs) for at in steps)
    for k in range(0, total, per_epoch):
        seen = sum(steps[k : k + per_epoch], [])
        assert len(set(seen)) == len(seen) and set(seen) <= set(range(n))
    if n > 20 and total >= 2 * per_epoch:
        assert steps[:per_epoch] != steps[per_epoch : 2 * per_epoch]


def stock_of(counts):
    "So many pictures of each class to learn from, and one of each to judge by."
    rows = [
        (f"{k}/{i}.jpg", str(k), "train" if i else "valid", 1)
        for k, n in enumerate(counts)
        for i in range(n + 1)
    ]
    return Stock(
        Path("x"), pd.DataFrame(rows, columns=["file", "label", "part", "bytes"])
    )


def tiny_body(d=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, d, 3, stride=2), nn.BatchNorm2d(d), nn.ReLU())
    return Body("tiny", model, "2", 32, ((0.5,) * 3, (0.2,) * 3), 2 * d, ["0", "1"])


counts = st.lists(st.integers(1, 30), min_size=2, max_size=9)


@given(counts, st.sampled_from(["none", "weights", "sampler"]))
def test_balance_gives_each_class_the_same_weight(counts, balance):
    stock, body = stock_of(counts), tiny_body()
    config = load_config(
        None, [*QUICK, f"train.balance={balance}", "train.strategy=everything"]
    )
    net = Network(body, len(counts))
    opt = trainer.optimizer_for(net, config.train, "everything")
    task = training.Task(Path(), stock, body, config, 1, 1, print)
    weight = training.Training(net, opt, task).weight
    chance = batches.batch_loader(stock, body, config, total=1).sampler.chance
    assert (weight is not None, chance is not None) == (
        balance == "weights",
        balance == "sampler",
    )
    if weight is not None:
        np.testing.assert_allclose(
            weight.numpy() * counts, sum(counts) / len(counts), rtol=1e-5
        )  # the pictures of each class weigh the same
    if chance is not None:
        y = stock.y[stock.at("train")]
        np.testing.assert_allclose(np.bincount(y, chance), 1 / len(counts))


def test_the_sampler_draws_small_classes_as_often():
    y = np.repeat([0, 1], [90, 10])
    chance = np.repeat([0.5 / 90, 0.5 / 10], [90, 10])
    drawn = np.concatenate(list(batches.Order(100, 10, 1, 0, 200, chance)))
    assert abs(y[drawn].mean() - 0.5) < 0.05


@pytest.mark.parametrize(
    "every, since, epochs",
    long_but(
        [(None, 0, 2), (3, 1, 3)],
        [(None, 0, 2), (3, 0, 2), (3, 1, 3), (100, 0, 1), (1, 1, 2), (4, 0, 2)],
    ),
)
def test_when_it_judges(every, since, epochs, photos):
    run = go(
        photos,
        "train.strategy=head",
        "train.probe=false",
        f"train.epochs={epochs}",
        f"train.validate_every={json.dumps(every)}",
        f"train.validate_from={since}",
        "train.train_accuracy=true",
    )
    table, total = pd.read_csv(run / "history.csv"), 4 * epochs
    between = [
        s for s in range(1, total + 1) if every and s % every == 0 and s > 4 * since
    ]
    assert list(table.step) == sorted({0, *range(4, total + 1, 4), *between})
    assert np.allclose(table.epoch, table.step / 4, atol=1e-4)
    assert list(table.train_accuracy.notna()) == [s % 4 == 0 for s in table.step]
    assert list(table.train_loss.isna()) == [True] + [False] * (len(table) - 1)


@pytest.mark.parametrize(
    "losses, best",
    [
        ([0.9, 0.5, 0.1, 0.7, 0.1], 2),
        ([0.1, 0.5, 0.5, 0.2, 0.2], 0),
        ([0.5, 0.4, 0.3, 0.2, 0.1], 4),
    ],
)
def test_the_best_weights_are_loaded_again(losses, best, photos, monkeypatch):
    """Of weights that judged the same, the first.

    Here the losses are made up, and the accuracies are equal."""
    seen, folded = [], Network.folded

    def made_up(net, *args, **kwargs):
        seen.append(net.head.weight.detach().clone())
        return losses[len(seen) - 1], 0.5, None

    monkeypatch.setattr(training, "judge_network", made_up)
    monkeypatch.setattr(
        Network,
        "folded",
        lambda net: seen.append(net.head.weight.detach().clone()) or folded(net),
    )
    run = go(
        photos,
        "train.strategy=head",
        "train.probe=false",
        "train.validate_every=2",
        "train.epochs=2",
        "train.batch_size=7",
        "train.lr=1e-2",
    )
    assert (
        list(pd.read_csv(run / "history.csv").valid_loss) == losses and len(seen) == 6
    )
    assert json.loads((run / "result.json").read_bytes())["best"] == dict(
        step=2 * best, accuracy=0.5, loss=losses[best]
    )
    assert [torch.equal(seen[-1], w) for w in seen[:-1]] == [
        k == best for k in range(5)
    ]


def test_step_0_repeats_the_figure_of_the_probe(photos):
    "Probe and network are judged in the same way, by a picture and its mirror image."
    for keys in [], ["evaluation.mirror=false"], ["train.balance=weights"]:
        run = go(
            photos,
            "train.strategy=last parts",
            "train.epochs=1",
            *keys,
            runs=f"runs{len(keys)}{keys}",
        )
        assert (
            pd.read_csv(run / "history.csv").accuracy[0]
            == json.loads((run / "result.json").read_bytes())["probe"]
        )


@given(
    st.integers(1, 30),
    st.integers(0, 100),
    st.none() | st.integers(1, 12),
    st.integers(0, 3),
)
def test_how_often_a_training_judges(per_epoch, n, every, since):
    config = SimpleNamespace(validate_every=every, validate_from=since)
    steps = [
        s
        for s in range(1, n + 1)
        if s == n
        or s % per_epoch == 0
        or every
        and s / per_epoch > since
        and s % every == 0
    ]
    assert budget.count_judgements(n, per_epoch, config) == 1 + len(steps)


class Clock:
    """A clock on which only the reading of pictures takes time.

    A second for each batch, as it does for each judgement."""

    def __init__(self, monkeypatch):
        self.now, read = 0.0, read_images

        def slowly(*args, **kwargs):
            self.now += 1
            return read(*args, **kwargs)

        for module in batches, training:
            monkeypatch.setattr(module, "read_images", slowly)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(budget, "time", clock)


def steps_of(photos, *keys):
    stock, body, config = (
        take_stock(photos),
        make_body("densenet_tiny"),
        load_config(None, [*QUICK, "train.minutes=1", "train.epochs=100", *keys]),
    )
    return budget.steps_in_minutes(Network(body, 3), stock, body, config)


def test_minutes_become_steps_that_count_decoding_and_judging(photos, monkeypatch):
    """9 of 42 pictures are judged after each epoch of 4 steps.

    Before all that two judgements are tried, and the first batch and four more."""
    clock = Clock(monkeypatch)
    whole = 42 / 9  # all pictures are judged at the end

    def fits(n, judged, again=0):
        return n + judged + again * 33 / 9 <= 60 - 2 - 5 - 1 - whole

    for keys, judged, again in (
        ([], lambda n: 1 + -(-n // 4), 0),
        (["train.validate_every=1"], lambda n: 1 + n, 0),
        (["train.train_accuracy=true"], lambda n: 1 + -(-n // 4), 1),
    ):
        clock.now = 0.0
        found = steps_of(photos, *keys)
        steps = found.steps
        assert found.seconds_a_step == pytest.approx(1)
        assert fits(steps, judged(steps), again * (steps // 4)) and not fits(
            steps + 1, judged(steps + 1), again * ((steps + 1) // 4)
        )
    assert steps_of(photos, "train.epochs=2").steps == 8
    short = "train.minutes=0.01"
    without_probe = "train.probe=false", "train.strategy=everything"
    assert steps_of(photos, short).steps == 0
    assert steps_of(photos, short, *without_probe).steps == 1


def test_processes_that_read_share_the_work(photos, monkeypatch):
    """Four of them need four seconds for a batch each: one comes each second.

    The clock moves when somebody waits for a batch."""
    clock, loader = Clock(monkeypatch), batches.batch_loader

    class Four:
        num_workers = 4

        def __init__(self, *args, **kwargs):
            self.batch = next(iter(loader(*args, **kwargs)))

        def __iter__(self):
            for k in range(10**6):
                clock.now = max(clock.now, clock.began + 4 * (1 + k // 4))
                yield self.batch

    def slow(*args, **kwargs):
        four = Four(*args, **kwargs)
        clock.began = clock.now
        return four

    monkeypatch.setattr(budget, "batch_loader", slow)
    found = steps_of(photos)
    assert found.seconds_a_step == pytest.approx(1)
    assert 10 < found.steps < 50  # trying it took some of the minute


def test_a_large_folder_is_listed_once(photos, monkeypatch):
    "Once for each picture, it would take minutes for thousands."
    stock, asked = take_stock(photos), []
    monkeypatch.setattr(
        Stock,
        "paths",
        property(
            lambda self: asked.append(1) or [self.folder / f for f in self.table.file]
        ),
    )
    body, config = make_body("densenet_tiny"), load_config(None, QUICK)
    loader = batches.batch_loader(stock, body, config, total=1)
    assert len(asked) == 1 and list(loader.dataset.files) == [
        stock.folder / f for f in stock.table.file[stock.at("train")]
    ]


def test_no_weights_above_the_minimum(photos):
    keys, said = ["train.strategy=head", "train.probe=false", "train.epochs=1"], []
    run = go(photos, *keys, "train.min_accuracy=1.0", "train.lr=1e-6", say=said.append)
    assert json.loads((run / "result.json").read_bytes())["best"] is None
    assert any(
        "no accuracy reached train.min_accuracy (1.0): the last weights are kept" in s
        for s in said
    )
    last = go(photos, *keys, "train.keep=last", "train.lr=1e-6", runs="last")
    a, b = (read_weights(r / "head.safetensors")[0] for r in (run, last))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_probe_that_stays_the_best_is_what_is_kept(photos, probed):
    "Steps so small that nothing gets better."
    run = go(photos, "train.strategy=everything", "train.lr=1e-9", "train.lr_first=1.0")
    result = json.loads((run / "result.json").read_bytes())
    assert (result["best"]["step"], result["file"]) == (0, "head.safetensors") and not (
        run / "model.safetensors"
    ).exists()
    assert (result["strategy"], result["tried"]) == ("probe", "everything") and result[
        "accuracy"
    ] == result["probe"]
    a, b = (read_weights(r / "head.safetensors")[0] for r in (run, probed))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_all_files_say_what_was_kept_and_what_was_tried(photos):
    said = []
    run = go(
        photos,
        "train.strategy=everything",
        "train.lr=1e-9",
        "train.lr_first=1.0",
        "train.epochs=1",
        "output.report=true",
        say=said.append,
    )
    about, page = (
        read_run(run).about,
        (run / "report" / "report.html").read_text(encoding="utf-8"),
    )
    assert (
        "done: kept the probe: fine-tuning everything did not beat it, accuracy"
        in said[-1]
    )
    assert (about["strategy"], about["tried"], about["why"]) == (
        "probe",
        "everything",
        "Kept the probe: fine-tuning everything did not beat it.",
    )
    assert (
        "Kept the probe: fine-tuning everything did not beat it." in page
        and "curves" in page
        and (run / "report" / "curves.png").is_file()
    )
    assert "There is no history.csv" not in page


def test_a_probe_alone_is_a_success_without_a_warning(photos):
    run = go(photos, "train.strategy=probe", "output.report=true")
    assert "history.csv" not in (run / "report" / "report.html").read_text(
        encoding="utf-8"
    )
    result = json.loads((run / "result.json").read_bytes())
    assert result["strategy"] == "probe" and "tried" not in result


def test_minutes_for_not_one_step_keep_the_probe(photos, monkeypatch):
    said = []
    none = budget.Budget(steps=0, seconds_a_step=1.0)
    monkeypatch.setattr(tuning, "steps_in_minutes", lambda *args: none)
    run = go(photos, "train.strategy=everything", "train.minutes=1", say=said.append)
    assert (
        "done: kept the probe: not one step of fine-tuning everything fits into "
        "train.minutes"
    ) in said[-1]
    assert json.loads((run / "result.json").read_bytes())["tried"] == "everything"


def test_another_network_than_the_one_of_the_run_is_refused(
    photos, halfway, monkeypatch
):
    shutil.copytree(halfway.parent, "runs")

    def changed(name, pretrained, *args, **kwargs):
        return make_body(name, False, *args, **kwargs)

    monkeypatch.setattr("tutorial_lib.core.bodies.make_body", changed)
    with pytest.raises(
        ValueError,
        match="was begun with the network densenet_tiny, with other weights: make its "
        "weights available again, or begin a new run without --resume",
    ):
        go(photos, "output.checkpoint_minutes=0", "train.strategy=head", resume=True)


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_a_folded_head_does_what_norm_and_head_do(seed, n_out):
    body = tiny_body()
    torch.manual_seed(seed)
    net = Network(body, n_out)
    with torch.no_grad():
        for p in (net.norm.weight, net.norm.bias, net.norm.running_mean):
            p.copy_(torch.randn(6))
        net.norm.running_var.copy_(torch.rand(6) * 3 + 0.01)
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8)
    head = Head(
        *net.folded(),
        [str(k) for k in range(n_out)],
        body.name,
        body.fingerprint,
        body.layer,
        32,
    )
    x = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.2
    features = body.features(images.numpy(), mirror=False, bf16=False)
    with torch.no_grad():
        np.testing.assert_allclose(
            head.logits(features), net.eval()(x).numpy(), rtol=1e-3, atol=1e-3
        )


@given(st.integers(0, 10**6))
def test_a_network_begins_where_its_probe_ended(seed):
    body = tiny_body()
    torch.manual_seed(seed)
    x, probe = torch.randn(20, 6) * 3 + 1, (torch.randn(4, 6), torch.randn(4))
    net = Network(body, 4, probe, x).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            net.head(net.norm(x)), x @ probe[0].T + probe[1], rtol=1e-4, atol=1e-4
        )


# ---- one body serves many heads


@pytest.fixture(scope="module")
def body():
    return make_body("densenet_tiny")


def a_head(on, /, n=3, seed=0, **changed):
    torch.manual_seed(seed)
    names = [f"class {k}" for k in range(n)]
    return dataclasses.replace(
        Head(
            torch.randn(n, on.n_features) / 9,
            torch.randn(n),
            names,
            on.name,
            on.fingerprint,
            on.layer,
            on.size,
            stats=on.stats,
            how=on.how,
        ),
        **changed,
    )


def test_heads_take_turns_on_one_body(body, photos):
    images = read_images(sorted(photos.rglob("*.jpg"))[:9], 32)
    files = [save_head(a_head(body, n, n), f"{n}.safetensors") for n in (2, 3, 37)]
    model, passes = Model(body, read_head(files[0])), []
    hook = body.model.register_forward_hook(lambda *args: passes.append(1))
    for file in files * 2:
        model.use(file)
    assert not passes  # the body is not asked
    hook.remove()
    for n, file in zip((2, 3, 37), files):
        probs = model.use(file).probabilities(images)
        assert (
            probs.shape == (9, n)
            and model.body is body
            and model.classes == [f"class {k}" for k in range(n)]
        )
        np.testing.assert_allclose(
            probs, load_model(file).probabilities(images), atol=1e-6
        )
        assert file.stat().st_size < 4 * n * (body.n_features + 1) + 3_000
    table = (
        model.use(files[1])
        .predict([*sorted(photos.rglob("*.jpg"))[:2], "no.jpg"], top_k=9, bar=False)
        .table()
    )
    assert list(table.columns) == [
        "file",
        "label",
        "confidence",
        "label_2",
        "confidence_2",
        "label_3",
        "confidence_3",
        "error",
    ]
    assert list(table.error == "") == [True, True, False] and table.confidence[
        0
    ] == pytest.approx(probs_of(model, photos).max())


def probs_of(model, photos):
    return model.probabilities(read_images(sorted(photos.rglob("*.jpg"))[:1], 32))[0]


def test_a_head_of_another_body_is_refused_by_name(body, tmp_path):
    model, other = (
        Model(body, a_head(body)),
        make_body("densenet_tiny", pretrained=False),
    )
    head = model.head
    prints = f"{other.fingerprint[:8]} and not {body.fingerprint[:8]}"
    this = "and this body gives features at 32 pixels"
    wrong = {
        "was trained on resnet18, and this body is densenet_tiny: load the head with "
        "`load_model`": a_head(body, body="resnet18"),
        "was trained on densenet_tiny, and this body is densenet_tiny, with other "
        f"weights ({prints})": a_head(other),
        f"reads features at 64 pixels, {this}": a_head(body, size=64),
        "reads 528 features, and densenet_tiny gives 288": a_head(
            body, layer="features.denseblock2"
        ),
        f"reads nothing at 32 pixels, {this}": a_head(body, layer="nothing"),
        "7": a_head(body, weight=torch.zeros(3, 7)),
    }
    for text, bad in wrong.items():
        file = save_head(bad, "bad.safetensors")
        with pytest.raises(ValueError) as e:
            model.use(file)
        assert text in str(e.value) and str(e.value).startswith("bad.safetensors")
        with pytest.raises(ValueError, match="^the head"):
            model.use(bad)
        assert model.head is head


def test_what_a_head_file_says_is_what_was_saved(body):
    head = a_head(
        body, classes=["고양이", 'a, "b"', "-c"], mirror=False, config="recipe: full\n"
    )
    back = read_head(save_head(head, "head.safetensors"))
    for f in dataclasses.fields(Head):
        a, b = getattr(head, f.name), getattr(back, f.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


# ---- files that mean harm


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def pickles():
    yield pickle.dumps(Harm())
    for new in True, False:
        torch.save({"head.weight": Harm()}, "p.pt", _use_new_zipfile_serialization=new)
        yield Path("p.pt").read_bytes()


def refused(file, data, readers=(read_head, load_model)):
    "Write a file, and see it refused by name by all that read such a file."
    Path(file).write_bytes(data)
    for read in readers:
        with pytest.raises(ValueError) as e:
            read(file)
        assert str(e.value).startswith(str(file)), str(e.value)


def test_a_pickle_is_refused_and_not_run(photos, halfway, body):
    for data in pickles():
        for name in "head.safetensors", "model.safetensors", "x.pt":
            refused(name, data)
        with pytest.raises(ValueError, match="head.safetensors"):
            Model(body, a_head(body)).use("head.safetensors")
        run = Path(shutil.copytree(halfway.parent, "runs")) / "my_photos"
        for name in "checkpoint.safetensors", "head.safetensors", "plan.json":
            old = (run / name).read_bytes()
            (run / name).write_bytes(data)
            with pytest.raises(ValueError, match=name):
                go(photos, "train.strategy=head", resume=True)
            (run / name).write_bytes(old)
        shutil.rmtree("runs")
    assert not Path("harm").exists()
    pickle.loads(data) if data[:2] == b"\x80\x04" else torch.load(
        "p.pt", weights_only=False
    )
    assert Path("harm").exists()  # it would have done harm


def test_no_pickle_is_read_on_the_way(photos, monkeypatch):
    def no(*args, **kwargs):
        raise AssertionError("a pickle was read")

    import _pickle

    for module in pickle, _pickle:
        for name in "load", "loads", "Unpickler", "_Unpickler":
            if hasattr(module, name):
                monkeypatch.setattr(module, name, no)
    monkeypatch.setattr(torch, "load", no)
    keys = ["train.strategy=last parts", "train.keep=last", "output.report=true"]
    stopped(photos, *keys)
    run = go(photos, *keys, resume=True)
    assert (
        len(load_model(run).predict(sorted(photos.rglob("*.jpg"))[:3], bar=False)) == 3
    )
    load_model(run / "head.safetensors")
    assert (evaluate(run, photos) / "predictions.csv").is_file() and (
        run / "report" / "report.html"
    ).is_file()


@pytest.mark.parametrize("name", ["head.safetensors", "model.safetensors"])
def test_a_file_that_was_cut(name, body):
    data = save_head(
        a_head(body), name, None if name.startswith("head") else body
    ).read_bytes()
    for n in sorted(
        {
            0,
            1,
            7,
            8,
            9,
            len(data) - 1,
            *np.linspace(0, len(data), 46, endpoint=False).astype(int),
        }
    ):
        refused("cut.safetensors", data[:n])
    refused("cut.safetensors", data + b"\0")
    Path("cut.safetensors").write_bytes(data)
    assert load_model("cut.safetensors").classes == a_head(body).classes


def test_foreign_files(body):
    save_file({"a": torch.zeros(2)}, "foreign.safetensors")
    refused("foreign.safetensors", Path("foreign.safetensors").read_bytes())
    refused("x.safetensors", b"GIF89a" + bytes(99))
    for path in "no.safetensors", ".":
        with pytest.raises(FileNotFoundError):
            load_model(path)
    with pytest.raises(FileNotFoundError):
        read_head("no.safetensors")


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats()
    | st.text(max_size=5)
)
nothing_right = st.recursive(
    plain,
    lambda s: (
        st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=5), s, max_size=3)
    ),
    max_leaves=5,
)
KINDS = {
    "format": int,
    "classes": list,
    "body": str,
    "fingerprint": str,
    "layer": str,
    "size": int,
    "mirror": bool,
    "config": str,
    "fit": str,
    "stats": list,
    "how": dict,
    "top_k": int,
}


def may_be(key, value):
    "Whether a description of three classes may say so: another one, but a right one."
    if type(value) is not KINDS.get(key):
        return False
    if key == "classes":
        return (
            len(value) == 3
            and all(isinstance(c, str) and c for c in value)
            and len(set(value)) == 3
        )
    return (
        key in ("config", "mirror")
        or key == "size"
        and 32 <= value <= 1024
        or key == "top_k"
        and value >= 1
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*KINDS, "nothing"]), nothing_right)
@example("classes", ["a", "a"])
@example("classes", ["a", ""])
@example("classes", ["a", "b"])
@example("body", "")
@example("fingerprint", "0")
@example("layer", "no")
@example("size", 10**6)
@example("size", 4096)
@example("size", -1)
@example("size", True)
@example("format", 1)
@example("format", True)
@example("format", 1.0)
def test_a_description_of_wrong_kinds(body, key, value):
    file = save_head(a_head(body), "head.safetensors")
    tensors, about = about_of(file)
    assume(
        json.dumps(about.get(key)) != json.dumps(value)
        and not (key == "nothing" and isinstance(value, dict))
    )
    assume(not may_be(key, value))
    write_sealed(tensors, file, value if key == "nothing" else about | {key: value})
    only_by_its_body = key in ("body", "fingerprint", "layer") and isinstance(
        value, str
    )
    readers = [load_model] if only_by_its_body else [read_head, load_model]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_CACHE", "empty")  # so a network is found by its name
        refused(file, file.read_bytes(), readers)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.integers(0, 10**6))
def test_a_description_with_other_bytes(body, noise, at):
    "Whatever stands in a file: it is read, or refused with a ValueError that names it."
    data = bytearray(save_head(a_head(body), "head.safetensors").read_bytes())
    at %= 2_000
    data[at : at + len(noise)] = noise
    Path("head.safetensors").write_bytes(data)
    try:
        load_model("head.safetensors")
    except ValueError as e:
        assert str(e).startswith("head.safetensors")
    except OSError as e:
        assert "cannot be downloaded" in str(e)


NAMES = [
    "../../x",
    "x/../densenet_tiny",
    "/etc/passwd",
    "",
    "auto",
    "no_such_network",
    "__import__('os').mkdir('harm')",
    "densenet_tiny\0",
    "densenet",
    "DenseNet",
    "hf-hub:a/b",
    "local-dir:.",
    "hf_hub:a",
    "torch",
    "resnet18()",
    "detection.fcos",
    "quantized_resnet18",
    "fcn_resnet50",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_body_is_only_looked_up(name, body, monkeypatch):
    monkeypatch.setattr(
        "socket.socket.connect", lambda *args: pytest.fail("it went to the network")
    )
    monkeypatch.setenv("TUTORIAL_CACHE", "empty")
    refused_by_load = save_head(a_head(body, body=name), "head.safetensors")
    with pytest.raises(ValueError) as e:
        load_model(refused_by_load)
    assert str(e.value).startswith("head.safetensors") and not Path("harm").exists()


@pytest.mark.parametrize(
    "layer",
    [
        "__class__",
        "",
        "features.no",
        "forward",
        "features.denseblock1.__init__",
        "classifier",
        "..",
        "norm",
    ],
)
def test_a_layer_that_is_not_there(layer, body):
    file = save_head(a_head(body, layer=layer), "head.safetensors")
    with pytest.raises(ValueError, match="^head.safetensors"):
        load_model(file)


NUMBERS = {
    "nan": lambda w: w * float("nan"),
    "inf": lambda w: w / 0,
    "one class less": lambda w: w[1:],
    "a vector": lambda w: w.flatten(),
    "one feature less": lambda w: w[:, 1:],
    "no feature": lambda w: w[:, :0],
}


@pytest.mark.parametrize("how", NUMBERS)
def test_numbers_that_are_no_head(how, body):
    head = a_head(body)
    file = save_head(
        dataclasses.replace(head, weight=NUMBERS[how](head.weight)), "x.safetensors"
    )
    with pytest.raises(ValueError, match="^x.safetensors"):
        load_model(file)


def test_one_bit_that_changed(body):
    data = save_head(a_head(body), "head.safetensors").read_bytes()
    for at in np.linspace(8, len(data) - 1, 40).astype(int):
        refused("x.safetensors", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.parametrize("change", ["more", "less", "shape", "nan", "a number"])
def test_a_body_that_was_changed(change, body):
    tensors, about = about_of(save_head(a_head(body), "model.safetensors", body))
    name = next(k for k, v in tensors.items() if v.ndim == 4)
    if change == "more":
        tensors["body.more"] = torch.zeros(1)
    elif change == "less":
        del tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][:1]
    elif change == "nan":
        tensors[name] = tensors[name] * float("nan")
    else:
        tensors[name].view(-1)[0] += 1
    write_sealed(tensors, "model.safetensors", about)
    with pytest.raises(ValueError, match="^model.safetensors") as e:
        load_model("model.safetensors")
    assert "load_model" not in str(e.value)


# ---- other networks


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("few") / "few", 10, BREEDS[:2])


@pytest.mark.parametrize(
    "name",
    long_but(
        ["resnet18", "mobilenetv3_small_050"],
        [
            "resnet18",
            "mobilenet_v3_small",
            "densenet121",
            "googlenet",
            "efficientnet_b0",
            "mobilenetv3_small_050",
        ],
    ),
)
def test_a_network_trains_and_comes_back(name, few):
    if name == "mobilenetv3_small_050":
        pytest.importorskip("timm")
    keys = [
        f"model.name={name}",
        "model.pretrained=false",
        "train.probe=false",
        "train.strategy=everything",
        "data.size=64",
        "train.batch_size=4",
        "train.epochs=1",
        "train.keep=last",
        "train.optimizer=sgd",
    ]
    run = go(few, *keys)
    model, judged = load_model(run), read_run(run)
    assert model.body.name == name and (run / "model.safetensors").is_file()
    files = [few / f for f in judged.files]
    table = model.predict(files, top_k=2, bar=False).table()
    np.testing.assert_allclose(model.probabilities(files), judged.probs, atol=2e-3)
    assert (
        list(table.label) == [model.classes[i] for i in judged.pred]
        or np.abs(judged.probs[:, 0] - 0.5).min() < 2e-3
    )


@pytest.mark.long
def test_a_network_of_one_size_says_so():
    body = make_body("vit_b_16", pretrained=False)
    assert body.size == 224 and body.features(
        np.zeros((1, 224, 224, 3), np.uint8), bf16=False
    ).shape == (1, body.n_features)
    with pytest.raises(
        ValueError,
        match=r"vit_b_16 cannot see pictures of 64 pixels \(.*\): set data.size: null, "
        "which means 224",
    ):
        make_body("vit_b_16", False, 64)


def test_an_unknown_network_is_refused_with_the_nearest_name():
    with pytest.raises(
        ValueError,
        match="model.name is 'resnet81', and no such network is known: did you mean "
        "resnet18",
    ):
        make_body("resnet81")
