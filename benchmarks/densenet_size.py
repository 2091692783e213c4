"""Parameters against accuracy: dense, residual and plain networks of one depth.

dense     `DenseNet` with three blocks of 6 layers, small pictures: 39 convolutions one
          after the other
residual  `PlainNet` with as many, and pairs of them added to what came in
plain     the same without adding

All are trained in one way. Dense and residual networks come in three widths, the plain
one in the middle one. All see CIFAR-10 at 16x16 pixels (the mean of 2x2), the first
10,000 of the shuffled training pictures, with the recipe of `FastClassifier`; the last
5 % of those are held out, and choose nothing. Test accuracy is of the whole test set.
Only the network differs, and no learning rate is tuned for any of them. Seconds are of
training and depend on what else the machine does: they are there to plan with, not to
compare.
"""

import time

import torch
from _rows import add_number, command_line, processor, read, write

from tutorial_lib.classifier import FastClassifier, ImageArrays
from tutorial_lib.data import load
from tutorial_lib.densenet import DenseNet, PlainNet
from tutorial_lib.modules import n_params

FIELDS = (
    "seed family width params accuracy epochs seconds torch device bf16 threads data"
).split()
WIDTHS = {"dense": (6, 12, 20), "residual": (4, 9, 14), "plain": (9,)}


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


def run(family, width, seed, args, train, test):
    "Train and judge once: a row."
    torch.manual_seed(seed)
    start = time.perf_counter()
    net = make_net(family, width, len(train.classes))
    clf = FastClassifier(net, valid=0.05)
    clf.train(train, args.epochs)
    accuracy = clf.evaluate(test)[1]
    return dict(
        seed=seed,
        family=family,
        width=width,
        params=n_params(net),
        accuracy=f"{accuracy:.4f}",
        epochs=args.epochs,
        seconds=f"{time.perf_counter() - start:.0f}",
        torch=torch.__version__,
        device=processor(clf.device),
        bf16=clf.bf16,
        threads=args.threads,
    )


def main():
    parser = command_line(__doc__, __file__)
    add_number(parser, "--seeds", 2, "how many seeds")
    add_number(parser, "--first", 0, "the first seed")
    add_number(parser, "--epochs", 3, "length of the cycle of the learning rate")
    add_number(
        parser, "--threads", 1, "threads of PyTorch: small networks need no more"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    done = {(int(r["seed"]), r["family"], int(r["width"])) for r in rows}
    todo = []
    for seed in range(args.first, args.first + args.seeds):
        for family, widths in WIDTHS.items():
            todo += [(seed, family, width) for width in widths]
    todo = [key for key in todo if key not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    path = load("cifar10")
    test = half_size(ImageArrays.from_folder(path / "test"))
    train = half_size(ImageArrays.from_folder(path / "train")).shuffled(seed=42)
    train = ImageArrays(train.x[:10_000], train.y[:10_000], train.classes)
    data = f"{path.name}: {len(train)} + {len(test)}, 16 px"
    for seed, family, width in todo:
        row = run(family, width, seed, args, train, test) | dict(data=data)
        rows.append(row)
        print(row, flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
