"""Train the weights that come with the library: `densenet_tiny` on CIFAR-10.

They are those of `densenet_tiny(pretrained=True)`. It writes
tutorial_lib/densenet_tiny.safetensors (float16) and its model card, densenet_tiny.md,
and one row for each epoch into tutorial_lib/pretrain.csv. Each epoch ends with a
checkpoint beside the CSV: a run that was interrupted goes on where it stopped, with the
same random numbers, and so with the same result. The last 1,000 training pictures are
held out; they choose nothing and only show how it goes. The test set is used once, at
the end, on the weights as they are read back from the file.
"""

import hashlib
import math
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from _rows import LIBRARY, add_number, command_line, processor, write
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Subset

from tutorial_lib.classifier import FastClassifier, ImageArrays, augment, class_accuracy
from tutorial_lib.data import load
from tutorial_lib.densenet import CIFAR10_STATS, densenet_tiny
from tutorial_lib.modules import load_weights, n_params, save_weights

WEIGHTS = LIBRARY / "densenet_tiny.safetensors"
FIELDS = "epoch lr train_loss valid_loss accuracy seconds".split()


class Pretraining(FastClassifier):
    """The recipe of `FastClassifier`, for pictures that are normalized for CIFAR-10.

    They are judged as they are. It trains on the middle `side` x `side` pixels of a
    picture that was moved at random: small ones take less time, and the first half of
    the epochs has them."""

    def forward(self, xb):
        mean, std = torch.tensor(CIFAR10_STATS, device=xb.device)[..., None, None]
        xb = ((xb - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model(xb).float()

    def train_batch(self, xb, yb):
        start = (xb.shape[-1] - self.side) // 2
        middle = slice(start, start + self.side)
        xb = augment(xb, pad=4)[..., middle, middle]
        loss = super(FastClassifier, self).train_batch(xb, yb)
        self.sched.step()
        return loss

    def state(self):
        return dict(
            model=self.model.state_dict(),
            opt=self.opt.state_dict(),
            sched=self.sched.state_dict(),
            rng=torch.get_rng_state(),
        )

    def restore(self, state):
        for part in "model opt sched".split():
            getattr(self, part).load_state_dict(state[part])
        torch.set_rng_state(state["rng"])


def save(state, path):
    "Write a checkpoint whole or not at all."
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def train(clf, train_ds, valid_ds, n_epoch, path):
    "Train from the checkpoint in `path`, if there is one: the rows of the CSV."
    n_step = n_epoch * math.ceil(len(train_ds) / clf.bs)
    clf.sched = OneCycleLR(clf.opt, clf.lr, total_steps=n_step, cycle_momentum=False)
    rows = []
    if path.exists():
        state = torch.load(path, weights_only=True)
        clf.restore(state)
        rows = state["rows"]
    for epoch in range(len(rows) + 1, n_epoch + 1):
        start, lr = time.perf_counter(), clf.sched.get_last_lr()[0]
        clf.side = 24 if epoch <= n_epoch / 2 else 32
        clf.model.train()
        batches = clf.loader(train_ds, shuffle=True)
        loss = np.mean([clf.train_batch(xb, yb) for xb, yb in batches])
        valid_loss, accuracy = clf.evaluate(valid_ds)
        seconds = time.perf_counter() - start
        losses = f"{loss:.4f}", f"{valid_loss:.4f}", f"{accuracy:.4f}"
        rows.append([str(epoch), f"{lr:.5f}", *losses, f"{seconds:.1f}"])
        save(clf.state() | dict(rows=rows), path)
        print(dict(zip(FIELDS, rows[-1])), flush=True)
    return rows


def read_arguments():
    parser = command_line(__doc__)
    add_number(parser, "--epochs", 20, "length of the cycle of the learning rate")
    add_number(parser, "--seed", 0, "of the first weights, the order, the augmentation")
    add_number(parser, "--threads", 2, "threads of PyTorch")
    what = "train on this many pictures only, to try the command, together with --out"
    parser.add_argument("--images", type=int, help=what)
    what = "file for the weights; the card goes beside it (default: into the library)"
    parser.add_argument("--out", type=Path, default=WEIGHTS, help=what)
    history = LIBRARY / "pretrain.csv"
    what = "file for the rows; if it is there, nothing is run"
    parser.add_argument("--history", type=Path, default=history, help=what)
    return parser.parse_args()


def save_half(clf, args, classes):
    "Write the weights as float16."
    state = clf.model.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor.half()
    notes = dict(arch="densenet_tiny", classes=",".join(classes))
    save_weights(state, args.out, **notes, seed=args.seed, epochs=args.epochs)


def main():
    args = read_arguments()
    if args.history.exists():
        print(f"{args.history} is complete: delete it to train again")
        return
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)

    path = load("cifar10")
    full = ImageArrays.from_folder(path / "train").shuffled(seed=42)
    test = ImageArrays.from_folder(path / "test")
    if args.images:
        full = ImageArrays(full.x[: args.images], full.y[: args.images], full.classes)
    n = len(full) - min(1000, len(full) // 10)
    train_ds, valid_ds = Subset(full, range(n)), Subset(full, range(n, len(full)))

    torch.manual_seed(args.seed)
    clf = Pretraining(densenet_tiny())
    checkpoint = args.history.with_suffix(".checkpoint")
    rows = train(clf, train_ds, valid_ds, args.epochs, checkpoint)

    save_half(clf, args, full.classes)
    accuracy, by_class = judge(args.out, test)
    minutes = sum(float(row[-1]) for row in rows) / 60
    first_file = next((path / "train").glob("*/*"))
    run = dict(n=n, n_valid=len(full) - n, accuracy=accuracy, minutes=minutes)
    text = card(args, clf, by_class, first_file.suffix, **run)
    args.out.with_suffix(".md").write_text(text, encoding="utf-8")
    write(args.history, FIELDS, [dict(zip(FIELDS, row)) for row in rows])
    checkpoint.unlink()
    print(f"test accuracy {accuracy:.4f}, {minutes:.0f} minutes")


def judge(path, test):
    "Test accuracy of the weights in `path`, in float32: of all, and of each class."
    clf = Pretraining(densenet_tiny())
    clf.bf16 = False
    load_weights(clf.model, path)
    logits, y = clf.logits(test)
    pred = logits.argmax(1)
    return (pred == y).float().mean().item(), class_accuracy(y, pred, test.classes)


CARD = """# densenet_tiny: model card

A DenseNet-BC (Huang and others, 2017) for pictures of about 32x32 pixels, with \
{params:,} parameters. The chapter
[06_densenet](../nbs/06_densenet.ipynb) builds it, and \
`densenet_tiny(pretrained=True)` loads these weights.

| file | |
| --- | --- |
| name | `{name}`, safetensors, float16 (the model computes in float32) |
| size | {size:,} bytes |
| sha256 | `{sha}` |
| architecture | `{config}` |
| input | RGB from 0 to 1, (bs, 3, h, w), minus the mean {mean}, divided by the \
standard deviation {std} |
| output | logits (bs, 10): {classes} |

## Training data

CIFAR-10 (Krizhevsky, 2009, Learning multiple layers of features from tiny images): \
{n:,} of its 50,000 training pictures; {n_valid:,} were held out
to watch the run, and chose nothing. The pictures were read from {suffix} \
files{lossy}. CIFAR-10 is published for research without a stated
license; its pictures were collected from the web and belong to their owners. Neither \
the weights nor this package hold any of them.

## Recipe

SGD with Nesterov momentum 0.9 and weight decay 5e-4, one cycle of the learning rate \
up to {lr} (Smith, 2018), {epochs} epochs, batches of {bs},
label smoothing 0.1, moves by up to 4 pixels, mirroring; the first half of the epochs \
sees crops of 24x24 pixels; {precision}. Seed {seed}. Command: `make pretrain`.

| run | |
| --- | --- |
| device | {device}, {threads} threads |
| time | {minutes:.0f} minutes |
| PyTorch | {torch} |
| date | {date} |

Another device, or another number of threads, rounds differently, so it gives other \
weights of about the same accuracy.

## Test accuracy

Of the 10,000 test pictures, in float32, each judged once as it is: \
**{accuracy:.4f}**. The test set was used once.

| class | accuracy |
| --- | --- |
{table}

## What it is for

To show, to test and to learn: a backbone that is small enough to come with the \
library. It knows ten classes of tiny pictures, and what it says about
other pictures means nothing until a new classifier has been trained on its features.
"""


def card(args, clf, by_class, suffix, **run):
    "The model card, from what was measured."
    data, (mean, std) = args.out.read_bytes(), CIFAR10_STATS
    is_lossy = suffix.lower() in (".jpg", ".jpeg")
    rows = [
        f"| {name} | {share:.3f} |" for name, share in by_class.sort_index().items()
    ]
    return CARD.format(
        params=n_params(clf.model),
        name=args.out.name,
        size=len(data),
        sha=hashlib.sha256(data).hexdigest(),
        config=clf.model.config,
        mean=mean,
        std=std,
        classes=", ".join(sorted(by_class.index)),
        suffix=suffix,
        lossy=", which lose a little of each picture" if is_lossy else "",
        lr=clf.lr,
        epochs=args.epochs,
        bs=clf.bs,
        precision="bfloat16 autocast" if clf.bf16 else "float32",
        seed=args.seed,
        device=processor(clf.device),
        threads=args.threads,
        torch=torch.__version__,
        date=date.today(),
        table="\n".join(rows),
        **run,
    )


if __name__ == "__main__":
    main()
