"""Four ways to draw pairs, side by side: how many draws does each make in a second?

scan        looks at all labels, and makes a list of the images of the class that was
            chosen, for each draw
sets        keeps a set of images for each class, and makes a list from it for each
            draw, without the image itself
arrays      keeps an array of images for each class, and draws again where an image got
            itself
arithmetic  `PairSampler`: index arithmetic, for all images at once

All draw in one process from the same labels, made from a seed: a "same" pair with
probability 0.5, else another class, each with the same probability. The first three
draw for images that are chosen at random, for at least half a second each; `arithmetic`
draws for all images, ten times. The four take turns, round by round. `ratio` says how
many times as many draws `arithmetic` makes in its round. `bytes_per_file` is what
`arithmetic` holds at most while it is made and draws once, divided by the number of
files; it is counted in a run of its own.
"""

import random
import time
import tracemalloc

import numpy as np
import torch
from _rows import command_line, processor, read, write

from tutorial_lib.pairs import PairSampler

FIELDS = (
    "round files classes recipe draws_per_second ratio bytes_per_file numpy device"
).split()


def scan(labels):
    def partner(i):
        same = random.random() < 0.5
        label = labels[i] if same else random.choice(list(set(labels) - {labels[i]}))
        images = [j for j, other in enumerate(labels) if other == label]
        return random.choice(images), same

    return partner


def sets(labels):
    members = {label: set() for label in labels}
    for i, label in enumerate(labels):
        members[label].add(i)

    def partner(i):
        same = random.random() < 0.5
        if same:
            return random.choice(list(members[labels[i]] - {i})), same
        label = random.choice(list(members.keys() - {labels[i]}))
        return random.choice(list(members[label])), same

    return partner


def arrays(labels):
    every = np.asarray(labels)
    members = {label: np.flatnonzero(every == label) for label in set(labels)}

    def partner(i):
        same = random.random() < 0.5
        if not same:
            label = random.choice(list(members.keys() - {labels[i]}))
            return np.random.choice(members[label]), same
        j = i
        while j == i:
            j = np.random.choice(members[labels[i]])
        return j, same

    return partner


RECIPES = {"scan": scan, "sets": sets, "arrays": arrays}


def rate_one_by_one(recipe, labels, seconds=0.5):
    """Draws per second of a recipe that draws one pair at a time.

    Making its sets or arrays is not counted.
    """
    partner, n, drawn = recipe(labels), len(labels), 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for i in random.choices(range(n), k=10):
            partner(i)
        drawn += 10
    return drawn / (time.perf_counter() - start)


def rate_at_once(labels, times=10):
    "Draws per second of `PairSampler`; sorting is not counted."
    sampler = PairSampler(labels)
    start = time.perf_counter()
    for seed in range(times):
        sampler.draw(seed)
    return times * len(labels) / (time.perf_counter() - start)


def bytes_per_file(labels):
    "The most that `PairSampler` holds while it is made and draws once, for each file."
    labels = np.asarray(labels)
    tracemalloc.start()
    PairSampler(labels).draw(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / len(labels)


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--files",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        help="numbers of files (default 10,000, 100,000 and 1,000,000)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        default=37,
        help="number of classes (default 37, as in Pets)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often each recipe takes its turn (default 3)",
    )
    return parser.parse_args()


def main():
    args = arguments()
    rows = read(args.out)
    done = {(int(r["files"]), int(r["classes"]), int(r["round"])) for r in rows}
    todo = [
        (files, k)
        for files in args.files
        for k in range(args.rounds)
        if (files, args.classes, k) not in done
    ]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    device = processor(torch.device("cpu"))
    for files, k in todo:
        labels = np.random.default_rng(k).integers(args.classes, size=files).tolist()
        random.seed(k)
        np.random.seed(k)
        rate_at_once(labels, 1)  # what only the first run pays, nobody pays
        rates = {name: rate_one_by_one(draw, labels) for name, draw in RECIPES.items()}
        rates["arithmetic"] = rate_at_once(labels)
        for name, rate in rates.items():
            held = f"{bytes_per_file(labels):.0f}" if name == "arithmetic" else ""
            rows.append(
                {
                    "round": k,
                    "files": files,
                    "classes": args.classes,
                    "recipe": name,
                    "draws_per_second": f"{rate:.0f}",
                    "ratio": f"{rates['arithmetic'] / rate:.0f}",
                    "bytes_per_file": held,
                    "numpy": np.__version__,
                    "device": device,
                }
            )
            print(rows[-1], flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
