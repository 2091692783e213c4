"""What does a cache of features save?

Ways from ImageNet's weights of EfficientNet-Lite to a classifier of pets, side by side
in one process:

cache and probe   `features` of all pictures, from an empty folder, and `linear_probe`
                  of their means. The network's graph is on the machine.
export            what the graph takes, the first time that a machine needs it
usual loop        `ImageFolder` and a `DataLoader` with batches of 8, Adam on the head's
                  parameters, gradients for the whole body, ten epochs. Its time is
                  measured on a sample of batches, without workers and with two, and
                  scaled to all batches of ten epochs; the quicker of the two counts.
                  Its accuracy is that of the same steps on features that the frozen
                  body made once, in evaluation mode, with the better of two rates.
fastai fine_tune  `vision_learner(dls, 'tf_efficientnet_lite0').fine_tune(2)` at 224
                  pixels, with the same weights, fastai's usual augmentation, a worker
                  for each core, and the rate that `lr_find` advises. The search for
                  the rate is not counted.
features          nothing else, of some hundred pictures in memory: by PyTorch, with
                  float32, channels last and batches of 8, and by ONNX Runtime

All have the same split and are judged by the same held-out pictures. Before the first
one every file is read once. `seconds` hold decoding and judging: fine_tune judges after
each epoch, the cache has the features of the held-out pictures too. `core_seconds` are
those in which a core was busy with it: they change little on a machine that others use.
`times` says how many times those of the same network's cache and probe they are (of
`features`: those of ONNX Runtime). The loop and fine_tune have one round, the others
several. A row is written as soon as it is there, so an interrupted run goes on.
"""

import math
import os
import tempfile
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _rows import Stopwatch, add_number, add_times, command_line, processor, read, write
from fastai.vision.all import accuracy, set_seed, vision_learner
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tutorial_lib.core.backbones import find_backbone
from tutorial_lib.core.engine import feature_layers, layer_features
from tutorial_lib.core.features import frozen_runner
from tutorial_lib.core.images import read_images
from tutorial_lib.data import image_files, load, split
from tutorial_lib.datablock import breed_block, breed_label
from tutorial_lib.transfer import features, linear_probe, replace_head

FIELDS = (
    "recipe network round seconds core_seconds times accuracy how "
    "images torch device threads"
).split()
LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
BS, RATES, EPOCHS = 8, (5e-5, 1e-3), 10


@cache
def trained(name):
    "A network with its weights, and how pictures come into it."
    backbone = find_backbone(name)
    return backbone.build(pretrained=True).eval(), backbone


def means(name, files, folder):
    "Mean-pooled features, float32 (n, d), kept in a folder."
    model, about = trained(name)
    how = dict(size=about.size, stats=about.stats, how=about.how, mirror=False)
    x = features(model, files, folder, **how)
    return x[:, : x.shape[1] // 2]  # the maxima stand behind them


# Cache and probe


def cache_and_probe(name, files, labels, train, valid, args):
    runner_of(name, args.sample)  # makes the graph, if the machine lacks it
    with tempfile.TemporaryDirectory() as tmp:
        watch = Stopwatch()
        find_backbone(name).build(pretrained=True)
        x = means(name, files, Path(tmp) / "features")
        cached = watch.core_seconds
        probe = linear_probe(x[train], labels[train])
        acc = probe.accuracy(x[valid], labels[valid])
        probed = f"{watch.core_seconds - cached:.1f} of probe with l2={probe.l2:g}"
        return *watch.both, acc, f"{cached:.1f} core-seconds of features, {probed}"


def export(name, files, labels, train, valid, args):
    trained(name)
    with tempfile.TemporaryDirectory() as tmp:
        with patch.dict(os.environ, TUTORIAL_CACHE=tmp):
            watch = Stopwatch()
            runner_of(name, args.sample)
            took = watch.both
        assert list(Path(tmp).rglob("*.onnx")), "there is no graph"
    return *took, None, ""


# Features alone


def runner_of(name, n):
    "The quickest way to features of so many pictures."
    model, about = trained(name)
    used = feature_layers(model, None, about.size)
    return frozen_runner(model, used, about.size, about.stats, n)


def pytorch_features(name, images):
    model, about = trained(name)
    used = feature_layers(model, None, about.size)
    return layer_features(model, images, used.names, about.stats, bs=8, bf16=False)[0]


def features_alone(by_graph, name, files, labels, train, valid, args):
    _, about = trained(name)
    images = read_images(files[:: len(files) // args.sample], about.size, **about.how)
    run = runner_of(name, len(images)) if by_graph else partial(pytorch_features, name)
    run(images[:16])
    watch = Stopwatch()
    run(images)
    took = watch.both
    rate = len(images) / took[1]
    return *took, None, f"{len(images)} pictures, {rate:.1f} a core-second"


# The usual loop


def folder_per_class(files, labels, root):
    "The files as `ImageFolder` wants them, by links."
    for f, label in zip(files, labels):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f.name).symlink_to(f.resolve())
    return root


def usual_transforms(about):
    resample = transforms.InterpolationMode(about.how["resample"])
    return transforms.Compose(
        [
            transforms.Resize(round(about.size / about.how["share"]), resample),
            transforms.CenterCrop(about.size),
            transforms.ToTensor(),
            transforms.Normalize(*about.stats),
        ]
    )


def batch_costs(ds, name, n_out, workers, n_batch):
    "Mean seconds and core-seconds of a batch."
    torch.manual_seed(0)
    model = find_backbone(name).build(pretrained=True).train()
    replace_head(model, n_out)
    opt = torch.optim.Adam(model.get_classifier().parameters(), RATES[-1])
    ds = Subset(ds, torch.randperm(len(ds))[: n_batch * BS])
    watch = Stopwatch()
    for xb, yb in DataLoader(ds, BS, num_workers=workers):
        loss = F.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return [cost / math.ceil(len(ds) / BS) for cost in watch.both]


def accuracy_of_the_loop(x, y, train, valid, rate):
    "The loop's steps on features that the frozen body made once."
    torch.manual_seed(0)
    head = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
    opt = torch.optim.Adam(head.parameters(), rate)
    for _ in range(EPOCHS):
        for i in torch.tensor(train)[torch.randperm(len(train))].split(BS):
            loss = F.cross_entropy(head(x[i]), y[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return (head(x[valid]).argmax(1) == y[valid]).float().mean().item()


def usual_loop(name, files, labels, train, valid, args):
    _, about = trained(name)
    n_batch = math.ceil(len(train) / BS) * EPOCHS
    classes, y = np.unique(labels, return_inverse=True)
    with tempfile.TemporaryDirectory() as tmp:
        files_of = [files[i] for i in train]
        root = folder_per_class(files_of, labels[train], Path(tmp) / "train")
        ds = ImageFolder(root, usual_transforms(about))
        costs = {
            n: batch_costs(ds, name, len(classes), n, args.batches) for n in (0, 2)
        }
        workers = min(costs, key=costs.get)
        x = torch.tensor(means(name, files, Path(tmp) / "features"))
    how = f"{args.batches} batches, scaled to {n_batch}; {workers} workers"
    y = torch.from_numpy(y)
    by_rate = {r: accuracy_of_the_loop(x, y, train, valid, r) for r in RATES}
    for rate, acc in by_rate.items():
        how += f"; {acc:.4f} with a rate of {rate:g}"
    took = [n_batch * cost for cost in costs[workers]]
    return *took, max(by_rate.values()), how


# fastai's fine_tune


def learner(name, files, train, valid, folder):
    "As `vision_learner` makes it, with the packaged weights in its body."
    model, about = trained(name)
    block = breed_block(about.size, stats=about.stats, get_items=lambda _: files)
    block.splitter = lambda _: (list(train), list(valid))
    dls = block.dataloaders(files[0].parent, bs=64)
    how = dict(metrics=accuracy, pretrained=False, path=folder)
    learn = vision_learner(dls, f"tf_{name}", **how)
    body, weights = learn.model[0], model.state_dict()
    lacks = body.model.load_state_dict(weights, strict=False).missing_keys
    assert not lacks, f"no weights of {lacks}"
    x = torch.rand(2, 3, about.size, about.size)
    with torch.inference_mode():
        is_same = torch.equal(body.eval()(x), model.forward_features(x))
    assert is_same, "the body gives other features"
    return learn


def fine_tuned(name, files, train, valid, folder, args):
    "A learner that has learned, the seconds and core-seconds of that, and how."
    set_seed(args.seed)
    learn = learner(name, files, train, valid, folder)
    workers = learn.dls.train.fake_l.num_workers
    learn.freeze()
    with learn.no_bar():
        search = Stopwatch()
        rate = args.rate or learn.lr_find(show_plot=False).valley
        found = f"rate {rate:.2g}, found in {search.core_seconds:.0f} more core-seconds"
        print(found, flush=True)
        watch = Stopwatch()
        learn.fine_tune(2, base_lr=rate)  # prints a line for each epoch
        took = watch.both
    return learn, took, f"1 frozen epoch and 2 of all, {workers} workers; {found}"


def fine_tune(name, files, labels, train, valid, args):
    with tempfile.TemporaryDirectory() as tmp:
        learn, took, how = fine_tuned(name, files, train, valid, Path(tmp), args)
        with learn.no_bar():
            return *took, float(learn.validate()[1]), how


RECIPES = {
    "cache and probe": cache_and_probe,
    "export": export,
    "features, PyTorch": partial(features_alone, False),
    "features, ONNX Runtime": partial(features_alone, True),
    "usual loop": usual_loop,
    "fastai fine_tune": fine_tune,
}
ONCE = "usual loop", "fastai fine_tune"  # and with the first network only


def add_usual_ways(parser, batches):
    "The arguments that the loop and fine_tune read."
    add_number(parser, "--batches", batches, "of the usual loop that are timed")
    add_number(parser, "--threads", 2, "of PyTorch")
    add_number(parser, "--seed", 0, "of fine_tune")
    what = "of fine_tune, where lr_find has said it before"
    parser.add_argument("--rate", type=float, help=what)


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=RECIPES,
        default=list(RECIPES),
        help="which ones (default all)",
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        default=[LITE0, LITE2],
        help=f"names; the loop and fine_tune have the first (default {LITE0} {LITE2})",
    )
    add_number(parser, "--rounds", 3, "of all but the loop and fine_tune")
    add_number(parser, "--sample", 256, "pictures whose features are timed alone")
    add_usual_ways(parser, batches=60)
    parser.add_argument(
        "--limit",
        type=int,
        help="take every so-and-so-many-th picture only, to try the script out",
    )
    return parser.parse_args()


def quick_way(row):
    "The row's work is compared with this work, of the same network."
    is_part = row["recipe"].startswith("features")
    recipe = "features, ONNX Runtime" if is_part else "cache and probe"
    return recipe, row["network"]


def main():
    args = arguments()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    done = {(r["recipe"], r["network"], int(r["round"])) for r in rows}
    todo = [
        (recipe, network, k)
        for k in range(args.rounds)
        for network in args.networks
        for recipe in args.recipes
        if recipe not in ONCE or (k == 0 and network == args.networks[0])
    ]
    todo = [cell for cell in todo if cell not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    files = image_files(load("pets"))[:: args.limit]
    for f in files:
        f.read_bytes()
    labels = np.array([breed_label(f) for f in files])
    train, valid = split(files, labels)
    for recipe, network, k in todo:
        way = RECIPES[recipe]
        took = way(network, files, labels, train, valid, args)
        seconds, core_seconds, acc, how = took
        rows.append(
            dict(
                recipe=recipe,
                network=network,
                round=k,
                seconds=f"{seconds:.1f}",
                core_seconds=f"{core_seconds:.1f}",
                accuracy="" if acc is None else f"{acc:.4f}",
                how=how,
                images=len(files),
                torch=torch.__version__,
                device=processor(torch.device("cpu")),
                threads=args.threads,
            )
        )
        add_times(rows, lambda r: (r["recipe"], r["network"]), quick_way)
        write(args.out, FIELDS, rows)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
