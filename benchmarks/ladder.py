"""From an older CIFAR-10 recipe to a better one: what is each change worth?

Each rung keeps what the rungs before it have changed:

softmax twice    the network and the recipe of older tutorials: RMSprop, batches of 32,
                 5 epochs, and a softmax before a loss that does a softmax itself
mended           the loss gets logits
FastNet          another network: smaller pictures, batch norm, a skip connection; its
                 pictures are centered, and colors are last in memory
SGD              Nesterov momentum, weight decay and batches of 128, at the best of four
                 constant rates
one cycle        the rate rises once to 0.2, and falls
augmentation     each picture is moved a little, and mirrored half of the time
label smoothing  a tenth of the target is spread over all classes
8 epochs         in place of 5

What a change is worth depends on what was there before it. So the recipe of label
smoothing is also trained with one of its changes taken back: "without FastNet" (its
cycle goes up to 0.05; "without FastNet at 0.2" shows why), "without SGD"
(RMSprop in batches of 32, its cycle goes up to twice its constant rate), "without one
cycle", "without augmentation". Without label smoothing it is the rung before.

Each trains on the first 80 % of CIFAR-10's training pictures, shuffled with one seed.
It is judged on the other 20 % (`held_out`), which chose the constant rate among those
of "SGD at ...", and once on the test set, in three ways: `accuracy` as it should be,
`mirrored` with each picture and its mirror image together, and `awake` with dropout
still on, where there is any. All compute in float32. Core-seconds are those of training
alone, with one thread. Rungs take turns, seed by seed.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from _rows import Stopwatch, add_number, command_line, processor, read, write
from recipe import ConvNet
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Subset

from tutorial_lib.classifier import (
    Classifier,
    FastNet,
    ImageArrays,
    augment,
    evaluating,
)
from tutorial_lib.data import load

FIELDS = (
    "rung seed held_out accuracy mirrored awake core_seconds seconds epochs torch "
    "device threads data"
).split()


@dataclass(frozen=True)
class Recipe:
    "What a rung can change. As it is: an older recipe without its mistakes."

    old: bool = False  # a softmax behind the network
    fast_net: bool = False
    sgd: float = 0  # rate of SGD with momentum; 0: RMSprop at 1e-3
    bs: int = 32
    cycle: float = 0  # the highest rate of a cycle; 0: the rate is constant
    augment: bool = False
    smoothing: float = 0
    n_epoch: int = 5


CHANGES = {
    "softmax twice": dict(old=True),
    "mended": dict(old=False),
    "FastNet": dict(fast_net=True),
    "SGD": dict(sgd=0.03, bs=128),
    "one cycle": dict(cycle=0.2),
    "augmentation": dict(augment=True),
    "label smoothing": dict(smoothing=0.1),
    "8 epochs": dict(n_epoch=8),
}

TAKEN_BACK = {
    "without FastNet": dict(fast_net=False, cycle=0.05),
    "without FastNet at 0.2": dict(fast_net=False),
    "without SGD": dict(sgd=0, bs=32, cycle=2e-3),
    "without one cycle": dict(cycle=0),
    "without augmentation": dict(augment=False),
}

# Tried for "SGD", with one seed.
RATES = {f"SGD at {rate}": dict(sgd=rate) for rate in (0.1, 0.03, 0.01, 0.003)}


def make_recipes():
    "Name -> recipe: each with the changes of all before it, and what lacks one."
    recipe, found = Recipe(), {}
    for name, change in CHANGES.items():
        recipe = found[name] = replace(recipe, **change)
    sgd, whole = found["SGD"], found["label smoothing"]
    found |= {name: replace(sgd, **change) for name, change in RATES.items()}
    return found | {name: replace(whole, **c) for name, c in TAKEN_BACK.items()}


RECIPES = make_recipes()


def make_opt(recipe):
    "A function, parameters and rate -> optimizer, and its rate."
    if not recipe.sgd:
        return torch.optim.RMSprop, recipe.cycle or 1e-3
    style = dict(momentum=0.9, nesterov=True, weight_decay=5e-4)
    return partial(torch.optim.SGD, **style), recipe.cycle or recipe.sgd


class Rung(Classifier):
    "A `Classifier` that follows a `Recipe`."

    def __init__(self, recipe, n_out):
        model = FastNet(n_out) if recipe.fast_net else ConvNet(n_out, old=recipe.old)
        if recipe.fast_net:
            model = model.to(memory_format=torch.channels_last)
        opt_func, lr = make_opt(recipe)
        loss_func = partial(F.cross_entropy, label_smoothing=recipe.smoothing)
        style = dict(lr=lr, opt_func=opt_func, loss_func=loss_func)
        super().__init__(model, recipe.bs, **style)
        self.recipe, self.sched = recipe, None

    def run(self, ds):
        "Train on all of `ds`."
        n_epoch, n_batch = self.recipe.n_epoch, -(-len(ds) // self.bs)
        if top := self.recipe.cycle:
            n_step = n_epoch * n_batch
            style = dict(total_steps=n_step, cycle_momentum=False)
            self.sched = OneCycleLR(self.opt, top, **style)
        return [self.train_epoch(ds) for _ in range(n_epoch)]

    def forward(self, xb):
        if self.recipe.fast_net:
            xb = (xb - 0.5) / 0.25
            xb = xb.contiguous(memory_format=torch.channels_last)
        return self.model(xb)

    def train_batch(self, xb, yb):
        loss = super().train_batch(augment(xb) if self.recipe.augment else xb, yb)
        if self.sched:
            self.sched.step()
        return loss

    def accuracy(self, ds, mirror=False, awake=False):
        right = []
        with evaluating(self.model):
            self.model.train(awake)
            for xb, yb in self.loader(ds):
                logits = self.forward(xb)
                if mirror:
                    logits = logits + self.forward(xb.flip(3))
                right.append(logits.argmax(1) == yb)
        return f"{torch.cat(right).float().mean().item():.4f}"


def measure(name, seed, train, held_out, test):
    "Train and judge a rung once: a row."
    recipe = RECIPES[name]
    torch.manual_seed(seed)
    clf = Rung(recipe, len(test.classes))
    watch = Stopwatch()
    clf.run(train)
    seconds, core_seconds = watch.both
    return dict(
        rung=name,
        seed=seed,
        held_out=clf.accuracy(held_out),
        accuracy=clf.accuracy(test),
        mirrored=clf.accuracy(test, mirror=True),
        awake="" if recipe.fast_net else clf.accuracy(test, awake=True),
        core_seconds=f"{core_seconds:.1f}",
        seconds=f"{seconds:.1f}",
        epochs=recipe.n_epoch,
        torch=torch.__version__,
        device=processor(clf.device),
    )


def main():
    parser = command_line(__doc__, table="ladder.csv")
    add_number(parser, "--seeds", 3, "how many seeds")
    add_number(parser, "--threads", 1, "threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    path = load("cifar10")
    pictures = ImageArrays.from_folder(path / "train").shuffled(seed=42)
    test = ImageArrays.from_folder(path / "test")
    n = round(len(pictures) * 0.8)
    train = Subset(pictures, range(n))
    held_out = Subset(pictures, range(n, len(pictures)))
    about = dict(threads=args.threads, data=f"{path.name}: {n} + {len(test)}")
    rows = read(args.out)
    done = {(row["rung"], int(row["seed"])) for row in rows}
    for seed in range(args.seeds):
        for name in RECIPES:
            if (name, seed) in done or (seed and name in RATES):
                continue
            rows.append(measure(name, seed, train, held_out, test) | about)
            print(rows[-1], flush=True)
            write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
