"""Three recipes for the same pictures: how long, and how accurate?

old     as it was commonly written: floats with the color first, joined picture by
        picture; softmax before the loss; held-out and test pictures judged at once,
        with dropout and gradients on
mended  the same network and optimizer in `Classifier`, without the three mistakes
better  `FastNet` in `FastClassifier`

The recipes take turns, seed by seed, side by side in one process, and their order moves
on by one with each seed. Each trains on the first 80 % of CIFAR-10's training pictures
(shuffled with one seed), validates with the rest after each epoch, and is judged on the
test set once. Seconds cover all of that, but not reading and converting the files.
`ratio` compares with the old recipe of the same seed.
"""

import time

import torch
from _rows import add_number, command_line, processor, read, write
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tutorial_lib.classifier import (
    Classifier,
    FastClassifier,
    FastNet,
    ImageArrays,
    bf16_is_fast,
)
from tutorial_lib.data import load

FIELDS = (
    "seed recipe seconds ratio accuracy epochs torch device bf16 threads data"
).split()
RECIPES = ["old", "mended", "better"]


class ConvNet(nn.Module):
    "The network of chapter 05; `old` puts a softmax behind it."

    def __init__(self, n_out, old=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(4096, 100), nn.Linear(100, n_out)
        self.drop1, self.drop2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.old = old

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.drop1(F.max_pool2d(F.relu(self.conv2(x)), 2))
        x = self.fc2(self.drop2(F.relu(self.fc1(x.flatten(1)))))
        return x.softmax(1) if self.old else x


class OldClassifier(Classifier):
    """Joins pictures one by one, and judges a whole set at once.

    That is in training mode, and it keeps what `backward` would need."""

    def loader(self, ds, shuffle=False):
        for xb, yb in DataLoader(ds, self.bs, shuffle):
            yield xb.to(self.device), yb.to(self.device)

    def logits(self, ds):
        xb, yb = ds[list(range(len(ds)))]
        return self.model(xb.to(self.device)).cpu(), yb


def as_floats(ds):
    "All pictures at once as float32 (n, 3, h, w), contiguous."
    xs, ys = ds[list(range(len(ds)))]
    return TensorDataset(xs.contiguous(), ys)


def make_classifier(recipe, n_out):
    if recipe == "old":
        return OldClassifier(ConvNet(n_out, old=True))
    if recipe == "mended":
        return Classifier(ConvNet(n_out))
    return FastClassifier(FastNet(n_out))


def run(recipe, seed, n_epoch, train, test):
    "Train and judge once: a row."
    n_out = len(train.classes)
    if recipe == "old":
        train, test = as_floats(train), as_floats(test)
    torch.manual_seed(seed)
    start = time.perf_counter()
    clf = make_classifier(recipe, n_out)
    clf.train(train, n_epoch)
    accuracy = clf.evaluate(test)[1]
    return dict(
        seed=seed,
        recipe=recipe,
        seconds=f"{time.perf_counter() - start:.1f}",
        accuracy=f"{accuracy:.4f}",
        epochs=n_epoch,
        torch=torch.__version__,
        device=processor(clf.device),
        bf16=recipe == "better" and bf16_is_fast(clf.device),
    )


def main():
    parser = command_line(__doc__, __file__)
    add_number(parser, "--seeds", 3, "how many seeds")
    add_number(parser, "--epochs", 5, "epochs of the old and the mended recipe")
    add_number(parser, "--epochs-better", 8, "epochs of the better recipe")
    add_number(parser, "--threads", 2, "threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    done = {(int(r["seed"]), r["recipe"]): r for r in read(args.out)}
    todo = []
    for seed in range(args.seeds):
        order = RECIPES[seed % 3 :] + RECIPES[: seed % 3]
        todo += [(seed, recipe) for recipe in order if (seed, recipe) not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    path = load("cifar10")
    train = ImageArrays.from_folder(path / "train").shuffled(seed=42)
    test = ImageArrays.from_folder(path / "test")
    data = f"{path.name}: {len(train)} + {len(test)}"
    few = ImageArrays(train.x[:640], train.y[:640], train.classes)
    for recipe in RECIPES:
        run(recipe, 0, 1, few, few)  # what only the first run pays, nobody pays
    for seed, recipe in todo:
        n_epoch = args.epochs_better if recipe == "better" else args.epochs
        row = run(recipe, seed, n_epoch, train, test)
        done[seed, recipe] = row | dict(threads=args.threads, data=data)
        print(done[seed, recipe], flush=True)
        write_ratios(args.out, done)


def write_ratios(path, done):
    "Write all rows, each with its ratio to the old recipe of its seed, once known."
    for (seed, _), row in done.items():
        row["ratio"] = ""
        if old := done.get((seed, "old")):
            row["ratio"] = f"{float(row['seconds']) / float(old['seconds']):.3f}"
    write(path, FIELDS, [row for _, row in sorted(done.items())])


if __name__ == "__main__":
    main()
