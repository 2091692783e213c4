"""How soon does `tutorial-lib` say something?

python         `python -c pass`
help           `tutorial-lib --help`, started as `python -m tutorial_lib.cli --help`
train --help   `tutorial-lib train --help`, and so on for each command
config --show  reads a configuration and prints it
predict        `tutorial-lib predict RUN photo.jpg`, of a run with a frozen body
wrong run      the same for a run that is not there, until its error
wrong folder   `tutorial-lib train` for a folder that is not there, until its error
train          `tutorial-lib train FOLDER`, until its first line
everything     `python -c "import tutorial_lib.trainer"`
a picture      `load_model(RUN).predict(photo)` once more, on one core, after the first
               answer: the mean of many

Each but the last is a process of its own. They take turns, round by round, after one
round that is not counted. `core_seconds` are those in which a core was busy with it,
and `ratio` says how many times those of `python` of its round they are. The run is made
first, of a few photographs of two breeds.
"""

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _rows import Stopwatch, add_number, command_line, processor, read, write

from tutorial_lib.core.commands import COMMANDS
from tutorial_lib.data import image_files, load
from tutorial_lib.datablock import breed_label

FIELDS = "round program seconds core_seconds ratio python device".split()
CLI = "-m", "tutorial_lib.cli"
COMMAND_NAMES = [command.name for command in COMMANDS]
PROGRAMS = {
    "python": ["-c", "pass"],
    "help": [*CLI, "--help"],
    **{f"{name} --help": [*CLI, name, "--help"] for name in COMMAND_NAMES},
    "config --show": [*CLI, "config", "--show"],
    "predict": [*CLI, "predict", "runs/few", "photo.jpg"],
    "wrong run": [*CLI, "predict", "runs/fwe", "photo.jpg"],
    "wrong folder": [*CLI, "train", "fwe"],
    "train": [*CLI, "train", "few"],
    "everything": ["-W", "ignore", "-c", "import tutorial_lib.trainer"],
}
FAILS = "wrong run", "wrong folder"
WARM = """
import os, time
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from tutorial_lib.core.models import load_model
model, n = load_model("runs/few"), 100
model.predict("photo.jpg")
start, core_start = time.perf_counter(), time.process_time()
for _ in range(n):
    model.predict("photo.jpg")
print((time.perf_counter() - start) / n, (time.process_time() - core_start) / n)
"""


def make_run(folder, network):
    "Photographs, one of them aside, and a run that has learned from them."
    of = {}
    for f in image_files(load("pets")):
        of.setdefault(breed_label(f), []).append(f)
    for breed in list(of)[:2]:
        (folder / "few" / breed).mkdir(parents=True)
        for f in of[breed][:30]:
            (folder / "few" / breed / f.name).write_bytes(f.read_bytes())
    (folder / "photo.jpg").write_bytes(of[breed][30].read_bytes())
    settings = f"model.name={network}", "train.strategy=probe", "output.report=false"
    train = [sys.executable, "-W", "ignore", *CLI, "train", "few", *settings]
    subprocess.run(train, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def cost(name, folder):
    "Seconds and core-seconds of a process, until its end or its first line."
    watch = Stopwatch()
    process = subprocess.Popen(
        [sys.executable, *PROGRAMS[name]],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if name == "train":
        assert process.stderr.readline(), "it has said nothing"
        seconds = watch.seconds
        process.kill()
    said = process.communicate()[1].decode()
    if name != "train":
        seconds = watch.seconds
        failed = process.returncode != 0
        assert failed == (name in FAILS), said
    return seconds, watch.core_seconds


def warm_cost(folder):
    "Seconds and core-seconds of a picture, for a model that has named one before."
    command = [sys.executable, "-c", WARM]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return tuple(map(float, done.stdout.split()))


def measure(k, folder, machine):
    "The rows of a round."
    took = {name: cost(name, folder) for name in PROGRAMS}
    took["a picture"] = warm_cost(folder)
    for name, (seconds, core_seconds) in took.items():
        row = dict(round=k, program=name, seconds=f"{seconds:.3f}", device=machine)
        row["core_seconds"] = f"{core_seconds:.4f}"
        row["ratio"] = f"{core_seconds / took['python'][1]:.1f}"
        yield row | dict(python=platform.python_version())


def main():
    parser = command_line(__doc__, __file__)
    add_number(parser, "--rounds", 5, "how often each program takes its turn")
    network = "efficientnet_lite0"
    text = f"frozen body of the run (default {network})"
    parser.add_argument("--network", default=network, help=text)
    args = parser.parse_args()

    rows = read(args.out)
    todo = sorted(set(range(args.rounds)) - {int(r["round"]) for r in rows})
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return
    machine = processor(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as tmp:
        make_run(Path(tmp), args.network)
        list(measure(0, tmp, machine))
        for k in todo:
            for row in measure(k, tmp, machine):
                rows.append(row)
                print(row, flush=True)
            write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
