"""What does a cache of features save?

Ways from SqueezeNet's ImageNet weights to a classifier of pets, side by side in one
process:

usual loop        `ImageFolder` and a `DataLoader` with batches of 8, Adam with a rate
                  of 5e-5 on the head's parameters, gradients for the whole body, ten
                  epochs. Its time is measured on a sample of batches, without workers
                  and with two, and scaled to all batches of ten epochs; the quicker of
                  the two counts. Its accuracy is that of the same ten epochs with the
                  same batches, computed on maps that the frozen body made once: the
                  body has no batch norm, and no augmentation changes the pictures, so
                  each step gets the numbers that the loop would get.
cache and probe   `features` of all pictures and of their mirror images, and
                  `linear_probe`, from an empty folder
cache, no mirror  the same without mirror images
fastai fine_tune  `vision_learner(dls, squeezenet1_0).fine_tune(2)` at 192 pixels with
                  fastai's usual augmentation; its time is that of all three epochs

All have the same split and are judged by the same held-out pictures. Before the first
one every file is read once. `seconds` hold decoding; for the two caches also the
features of the held-out pictures, and for fine_tune the judging after each epoch. The
two caches have several rounds, the others one. A row is written as soon as it is there,
so an interrupted run goes on with the next one.
"""

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _rows import command_line, processor, read, write
from fastai.vision.all import accuracy, set_seed, vision_learner
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import squeezenet1_0

from tutorial_lib.classifier import evaluating
from tutorial_lib.core.backbones import IMAGENET_STATS
from tutorial_lib.data import image_files, load, split
from tutorial_lib.datablock import breed_block, breed_label
from tutorial_lib.transfer import features, linear_probe, replace_head

FIELDS = "recipe round seconds accuracy how images torch device threads".split()
BS, LR, EPOCHS = 8, 5e-5, 10


def folder_per_class(files, labels, root):
    "The files as `ImageFolder` wants them, by links."
    for f, label in zip(files, labels):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f.name).symlink_to(f.resolve())
    return root


def new_model(n_out):
    model = squeezenet1_0(weights="DEFAULT")
    replace_head(model, n_out)
    return model


def seconds_a_batch(ds, n_out, workers, n_batch):
    "The mean over `n_batch` batches, after three that do not count."
    torch.manual_seed(0)
    model, times = new_model(n_out).train(), []
    opt = torch.optim.Adam(model.classifier.parameters(), lr=LR)
    batches = iter(DataLoader(ds, BS, shuffle=True, num_workers=workers))
    start = time.perf_counter()
    for _ in range(n_batch + 3):
        xb, yb = next(batches)
        loss = F.cross_entropy(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return sum(times[3:]) / n_batch


def accuracy_of_the_loop(ds, n_out, train, valid):
    """Ten epochs of the loop's steps, on maps that are kept in half precision.

    The body makes them in evaluation mode.
    """
    torch.manual_seed(0)
    model = new_model(n_out)
    batches = DataLoader(ds, 8, num_workers=2)
    with evaluating(model):
        maps = torch.cat([model.features(xb).half() for xb, _ in batches])
    maps = maps.clone()  # what comes out of inference mode may not be trained on
    y = torch.tensor(ds.targets)
    head = model.classifier.train()
    opt = torch.optim.Adam(head.parameters(), lr=LR)

    def logits(i):
        return head(maps[i].float()).flatten(1)

    for _ in range(EPOCHS):
        for i in torch.tensor(train)[torch.randperm(len(train))].split(BS):
            loss = F.cross_entropy(logits(i), y[i])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with evaluating(head):
        answers = [logits(i).argmax(1) for i in torch.tensor(valid).split(64)]
    return (torch.cat(answers) == y[valid]).float().mean().item()


def usual_loop(files, labels, train, valid, args):
    tfm = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET_STATS),
        ]
    )
    with tempfile.TemporaryDirectory() as tmp:
        ds = ImageFolder(folder_per_class(files, labels, Path(tmp)), tfm)
        place = {Path(path).name: i for i, (path, _) in enumerate(ds.samples)}
        train, valid = ([place[files[i].name] for i in part] for part in (train, valid))
        n_out = len(ds.classes)
        of_train = Subset(ds, train)
        costs = {n: seconds_a_batch(of_train, n_out, n, args.batches) for n in (0, 2)}
        workers = min(costs, key=costs.get)
        n_batch = math.ceil(len(train) / BS) * EPOCHS
        how = f"{args.batches} batches, scaled to {n_batch}; {workers} workers"
        acc = accuracy_of_the_loop(ds, n_out, train, valid)
        return costs[workers] * n_batch, acc, how


def cache_and_probe(files, labels, train, valid, args, mirror=True):
    with tempfile.TemporaryDirectory() as tmp:
        start = time.perf_counter()
        body = squeezenet1_0(weights="DEFAULT")
        x = features(body, files, Path(tmp) / "cache", mirror=mirror)
        cached = time.perf_counter() - start
        probe = linear_probe(x[train], labels[train])
        seconds = time.perf_counter() - start
        probed = f"{seconds - cached:.0f} s of probe with l2={probe.l2:g}"
        how = f"{cached:.0f} s of features, {probed}"
        return seconds, probe.accuracy(x[valid], labels[valid]), how


def without_mirror(*args):
    return cache_and_probe(*args, mirror=False)


def fine_tune(files, labels, train, valid, args):
    set_seed(args.seed)
    block = breed_block(size=192, get_items=lambda folder: files)
    dls = block.dataloaders(files[0].parent, bs=64)
    assert {f.name for f in dls.valid_ds.items} == {files[i].name for i in valid}
    learn = vision_learner(dls, squeezenet1_0, metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        start = time.perf_counter()
        learn.fine_tune(2)
        seconds = time.perf_counter() - start
        acc = float(learn.validate()[1])
    how = "1 frozen epoch and 2 of all, 192 pixels, validation after each included"
    return seconds, acc, how


RECIPES = {
    "cache and probe": cache_and_probe,
    "cache, no mirror": without_mirror,
    "usual loop": usual_loop,
    "fastai fine_tune": fine_tune,
}


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
        "--rounds",
        type=int,
        default=3,
        help="how often the two caches are measured (default 3)",
    )
    parser.add_argument(
        "--batches",
        type=int,
        default=60,
        help="batches of the usual loop that are timed (default 60)",
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of PyTorch (default 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of fine_tune (default 0)")
    parser.add_argument(
        "--limit",
        type=int,
        help="take every so-and-so-many-th picture only, to try the script out",
    )
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    done = {(r["recipe"], int(r["round"])) for r in rows}
    todo = [
        (name, k)
        for k in range(args.rounds)
        for name in args.recipes
        if (k == 0 or name.startswith("cache")) and (name, k) not in done
    ]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    files = image_files(load("pets"))[:: args.limit]
    for f in files:
        f.read_bytes()
    labels = np.array([breed_label(f) for f in files])
    train, valid = split(files, labels)
    for name, k in todo:
        seconds, acc, how = RECIPES[name](files, labels, train, valid, args)
        rows.append(
            dict(
                recipe=name,
                round=k,
                seconds=f"{seconds:.1f}",
                accuracy=f"{acc:.4f}",
                how=how,
                images=len(files),
                torch=torch.__version__,
                device=processor(torch.device("cpu")),
                threads=args.threads,
            )
        )
        print(rows[-1], flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
