"""How long does `advise` take for a folder of 1,000 photographs?

`start` is how much of that is its start, and `core_seconds` are those in which a core
was busy with it. Real pets, 27 of each breed and one more of the first, copied into a
folder with a sub-folder for each breed. Each round is a process of its own, so that
importing counts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _rows import Stopwatch, command_line, processor, read, write

from tutorial_lib.data import image_files, pets
from tutorial_lib.datablock import breed_label

FIELDS = (
    "round images classes seconds core_seconds start body strategy accuracy low high "
    "torch device cores"
).split()
SCRIPT = """
import sys, time, json
begin = time.perf_counter()
from tutorial_lib.scenarios import advise
start = time.perf_counter() - begin
advice = advise(sys.argv[1])
said = dict(start=round(start, 1), body=advice.body, strategy=advice.strategy)
for name in ("accuracy", "low", "high"):
    said[name] = round(getattr(advice, name), 4)
print(json.dumps(said))
"""


def folder_of(n, root):
    "The first pets of each breed, `n` in all, as copies."
    seen = {}
    for f in image_files(pets()):
        seen.setdefault(breed_label(f), []).append(f)
    ranked = [(k, breed, f) for breed in seen for k, f in enumerate(seen[breed])]
    for _, breed, f in sorted(ranked)[:n]:
        (root / breed).mkdir(parents=True, exist_ok=True)
        shutil.copy(f, root / breed)
    return len(seen)


def main():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--images", type=int, default=1000, help="how many (default 1000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often (default 3)")
    args = parser.parse_args()

    rows = read(args.out)
    with tempfile.TemporaryDirectory() as tmp:
        n_class = folder_of(args.images, Path(tmp) / "pets")
        for k in range(len(rows), args.rounds):
            command = [sys.executable, "-W", "ignore", "-c", SCRIPT, f"{tmp}/pets"]
            watch = Stopwatch()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, core_seconds = watch.both
            rows.append(
                dict(
                    round=k,
                    images=args.images,
                    classes=n_class,
                    seconds=f"{seconds:.1f}",
                    core_seconds=f"{core_seconds:.1f}",
                    **json.loads(done.stdout.splitlines()[-1]),
                    torch=torch.__version__,
                    device=processor(torch.device("cpu")),
                    cores=os.cpu_count(),
                )
            )
            print(rows[-1], flush=True)
            write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
