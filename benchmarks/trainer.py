"""How much sooner is `tutorial-lib train` as accurate as ten epochs of the usual loop?

usual loop     as in `transfer.py`: SqueezeNet on all pets, batches of 8, Adam, ten
               epochs, gradients for the whole body. Its time is measured on a sample of
               batches and scaled; its accuracy is that of all steps.
first report   the command with its default recipe, in a process of its own, on copies
               of the same pictures with one sub-folder for each breed. The seconds go
               from the start of the process until its first report is on the disk:
               start of Python, decoding of all files, features, probe and report.
end            the same process, until it ends: with the fine-tuning that the advice and
               the minutes of the recipe allow, and the second report.

Body, pictures, and the ones that are held out are the same for all. `sooner` is the
time of the loop, as many times as the row's.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _rows import command_line, processor, read, write
from transfer import usual_loop

from tutorial_lib.data import image_files, load, split
from tutorial_lib.datablock import breed_label

FIELDS = "round way seconds accuracy sooner how images torch device threads".split()


def command(folder, overrides, first):
    "Yield what each stage of the command takes: way, seconds from its start, accuracy."
    program = [sys.executable, "-W", "ignore", "-m", "tutorial_lib.cli"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*program, "train", folder.name, *overrides],
        cwd=folder.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in process.stderr:
        if found := re.search(r"probe: accuracy (\S+)", line):
            yield "first report", time.perf_counter() - start, float(found[1])
            if first:
                process.terminate()
                process.wait()
                return
    assert process.wait() == 0, "the command failed"
    run = folder.parent / "runs" / folder.name
    result = json.loads((run / "result.json").read_text())
    yield "end", time.perf_counter() - start, result["accuracy"]


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument("--rounds", type=int, default=1, help="how often (default 1)")
    parser.add_argument(
        "--batches",
        type=int,
        default=60,
        help="batches of the usual loop that are timed (default 60)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        help="threads of PyTorch in the loop (default 2)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        help="take every so-and-so-many-th picture only, to try the script out",
    )
    parser.add_argument(
        "--first",
        action="store_true",
        help="stop the command after its first report, and write no row of its end",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the command, to try the script out",
    )
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)

    files = image_files(load("pets"))[:: args.limit]
    labels = np.array([breed_label(f) for f in files])
    train, valid = split(files, labels)
    rows = read(args.out)

    def note(k, way, seconds, accuracy, loop, how=""):
        rows.append(
            dict(
                round=k,
                way=way,
                seconds=f"{seconds:.1f}",
                accuracy=f"{accuracy:.4f}",
                sooner=f"{loop / seconds:.1f}",
                how=how,
                images=len(files),
                torch=torch.__version__,
                device=processor(torch.device("cpu")),
                threads=args.threads,
            )
        )
        print(rows[-1], flush=True)

    for k in range(len({r["round"] for r in rows}), args.rounds):
        with tempfile.TemporaryDirectory() as tmp:
            folder = Path(tmp) / "my_photos"
            for f, label in zip(files, labels):
                (folder / label).mkdir(parents=True, exist_ok=True)
                shutil.copy(f, folder / label)
            loop, accuracy, how = usual_loop(files, labels, train, valid, args)
            note(k, "usual loop", loop, accuracy, loop, how)
            for way, seconds, accuracy in command(folder, args.set, args.first):
                note(k, way, seconds, accuracy, loop)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
