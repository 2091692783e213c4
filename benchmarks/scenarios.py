"""Which way of transfer is best for few or many pictures, like ImageNet or unlike it?

All cells of the experiment of chapter 11.

Sets, all with SqueezeNet and its ImageNet weights:
    pets      37 breeds at 96 pixels: ImageNet has many of them among its own classes
    digits    10 handwritten digits of 8x8 pixels, enlarged to 64: nothing like them is
              in ImageNet
    cifar10   10 classes of small photographs, 700 of each, enlarged from 32 to 64
              pixels
and with densenet_tiny and its CIFAR-10 weights 16 drawn breeds at 32 pixels, 100 of
each, as they are and unlike any photograph: `disguise` has a dial.

A quarter of each set judges (of pets by a split that keeps twins together, elsewhere at
random; the same for all seeds). "few" is 12 pictures of each class, "all" is all
others; a quarter of these chooses the rate, the strength of regularization or the
depth. Each training sees the same number of pictures, whatever its strategy and however
many pictures there are. A seed chooses the pictures, the new weights and the order.

Rows are written when a cell is complete, so an interrupted run goes on with the cells
that are not there. Cells are run by several processes with one thread each, side by
side: `seconds` is the time from the start of a cell until a setting was judged.
"""

import datetime
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache, partial
from itertools import product

import numpy as np
import torch
import torchvision
from _rows import command_line, processor, read, write
from PIL import Image
from torchvision.models import squeezenet1_0

from tutorial_lib.core.probes import hold_out_rows
from tutorial_lib.data import cifar10, digits, image_files, pets, read_images, split
from tutorial_lib.datablock import breed_label
from tutorial_lib.densenet import CIFAR10_STATS, densenet_tiny
from tutorial_lib.sample import sample
from tutorial_lib.scenarios import RATES, STRATEGIES, Scenario, disguise, run_cell

FIELDS = (
    "body set px size strategy seed setting valid test "
    "n_class n_train n_valid n_test seen seconds "
    "torch torchvision device threads date"
).split()
SIZES = {"few": 12, "all": None}
STEPS = *STRATEGIES, "nearest", "random probe"
DIALS = 0, 1
SEEN = {"squeezenet1_0": 6_000, "densenet_tiny": 3_000}


def squeezenet(weights):
    return squeezenet1_0(weights="DEFAULT" if weights else None)


def tiny(weights):
    return densenet_tiny(pretrained=weights)


def by_chance(y):
    return hold_out_rows(y, 0.25, 0)[1]


def codes(labels):
    return np.unique(labels, return_inverse=True)[1]


def pets_scenario():
    files = image_files(pets())
    labels = [breed_label(f) for f in files]
    test = split(files, labels, 0.25)[1]
    return Scenario("pets", read_images(files, 96), codes(labels), test)


def enlarged(digit):
    "A digit of numbers from 0 to 1 as an array of bytes (64, 64)."
    im = Image.fromarray((255 * digit).round().astype(np.uint8))
    return np.asarray(im.resize((64, 64), Image.Resampling.BILINEAR))


def digits_scenario():
    x, y = digits()
    images = np.stack([enlarged(digit) for digit in x])[..., None].repeat(3, -1)
    return Scenario("digits", images, y, by_chance(y), mirror=False)


def cifar10_scenario():
    files = []
    for folder in sorted((cifar10() / "train").iterdir()):
        files += sorted(folder.iterdir())[:700]
    y = codes([f.parent.name for f in files])
    return Scenario("cifar10", read_images(files, 64), y, by_chance(y))


def dial_scenario(dial):
    files = image_files(sample(n=1600, size=64))
    y = codes([breed_label(f) for f in files])
    images = disguise(read_images(files, 32), dial)
    name = f"drawn, dial {dial:g}"
    return Scenario(name, images, y, by_chance(y), stats=CIFAR10_STATS)


SETS = {"pets": pets_scenario, "digits": digits_scenario, "cifar10": cifar10_scenario}
SETS |= {f"drawn, dial {dial:g}": partial(dial_scenario, dial) for dial in DIALS}


@lru_cache(1)
def scenario(name):
    return SETS[name]()


def cell(name, size, strategy, seed):
    "Run one cell, in a process of its own; its rows."
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that fade away would make a processor slow
    s, body, make, rates = scenario(name), "squeezenet1_0", squeezenet, None
    if "dial" in name:
        body, make = "densenet_tiny", tiny
        if strategy in RATES:
            rates = tuple(3 * lr for lr in RATES[strategy])  # batch norm bears more
    n_seen = SEEN[body]
    table = run_cell(s, strategy, make, SIZES[size], seed, rates=rates, n_seen=n_seen)
    about = dict(
        body=body,
        set=name,
        px=s.images.shape[1],
        size=size,
        strategy=strategy,
        seed=seed,
        n_class=int(s.y.max()) + 1,
        seen=n_seen if strategy in RATES else 0,
        torch=torch.__version__,
        torchvision=torchvision.__version__,
        device=processor(torch.device("cpu")),
        threads=1,
        date=datetime.date.today().isoformat(),
    )
    rows = table.to_dict("records")
    for row in rows:
        row |= about
        for key in ("valid", "test"):
            row[key] = f"{row[key]:.4f}"
        row["seconds"] = f"{row['seconds']:.1f}"
    return rows


def place(row):
    "Where a row stands in the table."
    is_all = row["size"] == "all"
    strategy = STEPS.index(row["strategy"])
    return list(SETS).index(row["set"]), int(row["seed"]), is_all, strategy


SHOWN = "set size strategy seed setting valid test seconds".split()


def arguments():
    parser = command_line(__doc__, table="scenarios.csv")
    parser.add_argument(
        "--sets",
        nargs="+",
        choices=SETS,
        default=list(SETS),
        help="which sets (default all)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="processes, each with one thread (default one a core)",
    )
    return parser.parse_args()


def main():
    args = arguments()
    rows = read(args.out)
    done = {(r["set"], r["size"], r["strategy"], int(r["seed"])) for r in rows}
    cells = [
        (name, size, strategy, seed)
        for name in args.sets
        for seed, size, strategy in product(range(args.seeds), SIZES, STEPS)
    ]
    todo = [c for c in cells if c not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, mp_context=spawn) as pool:
        futures = [pool.submit(cell, *c) for c in todo]
        for n, future in enumerate(as_completed(futures), 1):
            rows += future.result()
            rows.sort(key=place)
            write(args.out, FIELDS, rows)
            best = max(future.result(), key=lambda r: r["valid"])
            print(f"{n}/{len(todo)}", *(best[k] for k in SHOWN), flush=True)


if __name__ == "__main__":
    main()
