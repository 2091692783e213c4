"""Parameters against accuracy: dense, residual and plain networks of one depth.

dense     `DenseNet` with three blocks of 6 layers, small pictures: 39 convolutions one
          after the other
residual  `PlainNet` with as many, and pairs of them added to what came in
plain     the same without adding

Each family comes in three widths. The networks begin with the same kind of random
weights and are trained with the recipe of `FastClassifier`. All see CIFAR-10 at 16x16
pixels (the mean of 2x2), the first 10,000 of the shuffled training pictures, of which
the last tenth is held out.

Each family has its own learning rate: the one whose network of the middle width, with
seed 0, is best on the held-out pictures (rows with the part `sweep`). The search begins
with the three in the middle of `RATES` and goes on outwards until the best one has a
worse one on either side. Only the rows with the part `final` are judged on the test
set, all of it. Core-seconds are of the training.
"""

import torch
from _rows import Stopwatch, add_number, command_line, processor, read, write

from tutorial_lib.classifier import FastClassifier, ImageArrays
from tutorial_lib.data import load
from tutorial_lib.densenet import DenseNet, PlainNet
from tutorial_lib.modules import n_params

FIELDS = (
    "part seed family width params lr valid_accuracy accuracy epochs core_seconds "
    "torch device bf16 threads data"
).split()
WIDTHS = {"dense": (6, 12, 20), "residual": (4, 9, 14), "plain": (4, 9, 14)}
RATES = 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0


def make_net(family, width, n_out):
    if family == "dense":
        small = dict(num_classes=n_out, small_images=True)
        return DenseNet(width, (6, 6, 6), 2 * width, **small)
    return PlainNet(6, width, n_out, residual=family == "residual")


def half_size(ds):
    "The pictures of `ds` at half their size: the mean of 2x2 pixels."
    n, h, w, c = ds.x.shape
    x = ds.x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return ImageArrays(x.round().astype("uint8"), ds.y, ds.classes)


def todo(rows, n_seed):
    "The runs that lack: part, seed, family, width, rate. The sweep comes first."
    sweep = [
        ("sweep", 0, family, widths[1], lr)
        for family, widths in WIDTHS.items()
        for lr in rates(rows, family)
    ]
    done = {key(r) for r in rows}
    if missing := [run for run in sweep if run not in done]:
        return missing
    final = [
        ("final", seed, family, width, best_rate(rows, family))
        for seed in range(n_seed)
        for family, widths in WIDTHS.items()
        for width in widths
    ]
    return [run for run in final if run not in done]


def rates(rows, family):
    "The rates to try: the middle three, and the neighbors of the best one so far."
    sweep = [r for r in rows if r["part"] == "sweep" and r["family"] == family]
    tried = {float(r["lr"]) for r in sweep}
    if not tried:
        return RATES[2:5]
    i = RATES.index(best_rate(rows, family))
    return sorted(tried | {*RATES[max(0, i - 1) : i + 2]})


def key(row):
    seed, width, lr = int(row["seed"]), int(row["width"]), float(row["lr"])
    return row["part"], seed, row["family"], width, lr


def best_rate(rows, family):
    "The rate of the sweep with which the family did best on the held-out pictures."
    sweep = [r for r in rows if r["part"] == "sweep" and r["family"] == family]
    return float(max(sweep, key=lambda r: float(r["valid_accuracy"]))["lr"])


def train_once(run, args, train, test):
    "Train and judge: a row."
    part, seed, family, width, lr = run
    torch.manual_seed(seed)
    net = make_net(family, width, len(train.classes))
    clf = FastClassifier(net, valid=0.1, lr=lr)
    watch = Stopwatch()
    history = clf.train(train, args.epochs)
    spent = watch.core_seconds
    accuracy = f"{clf.evaluate(test)[1]:.4f}" if part == "final" else ""
    return dict(
        part=part,
        seed=seed,
        family=family,
        width=width,
        params=n_params(net),
        lr=lr,
        valid_accuracy=f"{history.accuracy.iloc[-1]:.4f}",
        accuracy=accuracy,
        epochs=args.epochs,
        core_seconds=f"{spent:.0f}",
        torch=torch.__version__,
        device=processor(clf.device),
        bf16=clf.bf16,
        threads=args.threads,
    )


def main():
    parser = command_line(__doc__, table="densenet_size.csv")
    add_number(parser, "--seeds", 2, "how many seeds")
    add_number(parser, "--epochs", 3, "length of the cycle of the learning rate")
    add_number(
        parser, "--threads", 1, "threads of PyTorch: small networks need no more"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    if not todo(rows, args.seeds):
        print(f"{args.out} is complete: delete it to run again")
        return

    path = load("cifar10")
    test = half_size(ImageArrays.from_folder(path / "test"))
    train = half_size(ImageArrays.from_folder(path / "train")).shuffled(seed=42)
    train = ImageArrays(train.x[:10_000], train.y[:10_000], train.classes)
    data = f"{path.name}: {len(train)} + {len(test)}, 16 px"
    while runs := todo(rows, args.seeds):
        for run in runs:
            row = train_once(run, args, train, test) | dict(data=data)
            rows.append(row)
            print(row, flush=True)
            write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
