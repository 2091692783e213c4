"""Parameters against accuracy: dense, residual and plain networks of one depth, trained in one way.

dense     `DenseNet` with three blocks of 6 layers, small pictures: 39 convolutions one after the other
residual  `PlainNet` with as many, and pairs of them added to what came in
plain     the same without adding

Dense and residual networks come in three widths, the plain one in the middle one. All see CIFAR-10 at 16x16 pixels (the mean of 2x2), the first 10,000 of the shuffled training pictures, with
the recipe of `FastClassifier`; the last 5 % of those are held out, and choose nothing. Test accuracy is of the whole test set. Only the
network differs, and no learning rate is tuned for any of them. Seconds are of training and depend on what
else the machine does: they are there to plan with, not to compare.
"""

import time

import torch
from _rows import command_line, processor, read, write

from tutorial_lib.classifier import FastClassifier, ImageArrays
from tutorial_lib.data import load
from tutorial_lib.densenet import DenseNet, PlainNet
from tutorial_lib.modules import n_params

FIELDS = "seed family width params accuracy epochs seconds torch device bf16 threads data".split()
NETS = {
    "dense": lambda k, n_out: DenseNet(
        k, (6, 6, 6), 2 * k, num_classes=n_out, small_images=True
    ),
    "residual": lambda width, n_out: PlainNet(6, width, n_out, residual=True),
    "plain": lambda width, n_out: PlainNet(6, width, n_out),
}
WIDTHS = {"dense": (6, 12, 20), "residual": (4, 9, 14), "plain": (9,)}


def half_size(ds):
    "The pictures of `ds` at half their size: the mean of 2x2 pixels."
    n, h, w, c = ds.x.shape
    return ImageArrays(
        ds.x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)).round().astype("uint8"),
        ds.y,
        ds.classes,
    )


def run(family, width, seed, n_epoch, train, test):
    "Train and judge once: parameters, test accuracy, seconds, and whether it multiplied bfloat16."
    torch.manual_seed(seed)
    start = time.perf_counter()
    clf = FastClassifier(NETS[family](width, len(train.classes)), valid=0.05)
    clf.train(train, n_epoch)
    return (
        n_params(clf.model),
        clf.evaluate(test)[1],
        time.perf_counter() - start,
        clf.bf16,
        clf.device,
    )


def main():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--seeds", type=int, default=2, help="how many seeds (default 2)"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed (default 0)"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=3,
        help="length of the cycle of the learning rate (default 3)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of PyTorch (default 1: the networks are too small for more)",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    done = {(int(r["seed"]), r["family"], int(r["width"])) for r in rows}
    todo = [
        (seed, f, width)
        for seed in range(args.first, args.first + args.seeds)
        for f, widths in WIDTHS.items()
        for width in widths
        if (seed, f, width) not in done
    ]
    if not todo:
        return print(f"{args.out} is complete: delete it to run again")

    path = load("cifar10")
    train, test = (
        half_size(ImageArrays.from_folder(path / part)) for part in ("train", "test")
    )
    train = train.shuffled(seed=42)
    train = ImageArrays(train.x[:10_000], train.y[:10_000], train.classes)
    for seed, family, width in todo:
        params, accuracy, seconds, bf16, device = run(
            family, width, seed, args.epochs, train, test
        )
        rows.append(
            dict(
                seed=seed,
                family=family,
                width=width,
                params=params,
                accuracy=f"{accuracy:.4f}",
                epochs=args.epochs,
                seconds=f"{seconds:.0f}",
                torch=torch.__version__,
                device=processor(device),
                bf16=bf16,
                threads=args.threads,
                data=f"{path.name}: {len(train)} + {len(test)}, 16 px",
            )
        )
        print(rows[-1], flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
