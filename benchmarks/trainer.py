"""How long does `tutorial-lib train` take for a folder of 400 photographs?

Four breeds of dogs that are easily mistaken, 100 pictures of each, copied into a folder
with a sub-folder for each breed. All other pictures of these breeds are the test part:
no way sees them before it is done.

first run   from the command, in a process of its own, until its first report is on the
            disk: start of Python, decoding, features, probe and report. On a machine
            that has never used the network: its graph is made too.
later run   the same where the graph is there
usual loop  as in `transfer.py`, ten epochs with EfficientNet-Lite0
fine_tune   as in `transfer.py`: fastai, two epochs with EfficientNet-Lite0

All learn from the same 320 pictures, and judge or choose by the same 80.
`core_seconds` are those in which a core was busy with it, and `times` says how many
times those of the later run they are.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from _rows import (
    Stopwatch,
    add_number,
    add_times,
    command_line,
    processor,
    read,
    write,
)
from transfer import LITE0, add_usual_ways, fine_tuned, usual_loop

from tutorial_lib.data import image_files, load, split
from tutorial_lib.datablock import breed_label
from tutorial_lib.trainer import load_model

FIELDS = (
    "way round seconds core_seconds times accuracy how images torch device threads"
).split()
PROGRAM = [sys.executable, "-W", "ignore", "-m", "tutorial_lib.cli"]
BREEDS = (
    "american_bulldog",
    "american_pit_bull_terrier",
    "boxer",
    "staffordshire_bull_terrier",
)


def share_out(files, n):
    "Some pictures of each breed, and all others of them."
    of = defaultdict(list)
    for f in files:
        of[breed_label(f)].append(f)
    some = [f for breed in BREEDS for f in of[breed][:n]]
    return some, [f for breed in BREEDS for f in of[breed][n:]]


def first_report(folder, overrides, cache):
    "Seconds and core-seconds of the command until its first report."
    env = os.environ | {"TUTORIAL_CACHE": str(cache)}
    how = dict(cwd=folder.parent, env=env, text=True)
    watch = Stopwatch()
    process = subprocess.Popen(
        [*PROGRAM, "train", folder.name, *overrides],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        **how,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if re.search(r"probe: accuracy \S+", line):
            seconds = watch.seconds
            process.kill()
            process.communicate()
            return seconds, watch.core_seconds
    raise RuntimeError(f"the command failed: {''.join(said)}")


def runs_of_command(files, test, tmp, args):
    "Yield what the first and what a later run takes: way, seconds, accuracy, how."
    truth = [breed_label(f) for f in test]
    for way in "first run", "later run":
        folder = tmp / way / "my_photos"
        for f in files:
            (folder / breed_label(f)).mkdir(parents=True, exist_ok=True)
            shutil.copy(f, folder / breed_label(f))
        took = first_report(folder, args.set, tmp / "cache")
        model = load_model(folder.parent / "runs" / "my_photos" / "head.safetensors")
        answers = model.predict(test, 1, bar=False)
        right = np.mean([a.label == label for a, label in zip(answers, truth)])
        yield way, took, right, f"{model.body.name} {' '.join(args.set)}".strip()


def others(files, test, tmp, args):
    "Yield what the usual ways take: way, seconds, accuracy, how."
    labels = np.array([breed_label(f) for f in files + test])
    train, valid = split(files, labels[: len(files)])
    judged = np.arange(len(files), len(files + test))
    *took, right, how = usual_loop(LITE0, files + test, labels, train, judged, args)
    yield "usual loop", took, right, how
    learn, took, how = fine_tuned(LITE0, files, train, valid, tmp, args)
    dl = learn.dls.test_dl(list(map(str, test)), with_labels=True)
    with learn.no_bar():
        right = learn.validate(dl=dl)[1]
    yield "fine_tune", took, right, how


def arguments():
    parser = command_line(__doc__, __file__)
    add_number(parser, "--rounds", 3, "of the command; the others have one")
    add_number(parser, "--images", 100, "of each breed")
    add_usual_ways(parser, batches=40)
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the command",
    )
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    files, test = share_out(image_files(load("pets")), args.images)
    rows = read(args.out)
    done = {(r["way"], int(r["round"])) for r in rows}

    def note(k, way, took, accuracy, how):
        row = dict(way=way, round=k, accuracy=f"{accuracy:.4f}", how=how)
        row |= dict(seconds=f"{took[0]:.1f}", core_seconds=f"{took[1]:.1f}")
        row |= dict(images=len(files), torch=torch.__version__, threads=args.threads)
        rows.append(row | dict(device=processor(torch.device("cpu"))))
        add_times(rows, lambda r: r["way"], lambda r: "later run")
        write(args.out, FIELDS, rows)
        print(rows[-1], flush=True)

    for k in range(args.rounds):
        if ("later run", k) not in done:
            with tempfile.TemporaryDirectory() as tmp:
                for row in runs_of_command(files, test, Path(tmp), args):
                    note(k, *row)
    if ("fine_tune", 0) not in done:
        with tempfile.TemporaryDirectory() as tmp:
            for row in others(files, test, Path(tmp), args):
                note(0, *row)


if __name__ == "__main__":
    main()
