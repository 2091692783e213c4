"""How long does `tutorial-lib --help` take?

It stands beside Python alone, and beside what it would take with everything imported.

python       `python -c pass`
help         `tutorial-lib --help`, started as `python -m tutorial_lib.cli --help`
train --help `tutorial-lib train --help`, and so on for each command
config --show
             `tutorial-lib config --show`, which reads a configuration and prints it
everything   `python -c "import tutorial_lib.trainer"`: what `tutorial-lib train`
             imports before it begins

Each is a process of its own. They take turns, round by round, after one round that is
not counted. `ratio` says how many times as long as `python` of its round it took.
"""

import platform
import subprocess
import sys
import time

import torch
from _rows import add_number, command_line, processor, read, write

from tutorial_lib.core.commands import COMMANDS

FIELDS = "round program seconds ratio python device".split()
CLI = "-m", "tutorial_lib.cli"
COMMAND_NAMES = [command.name for command in COMMANDS]
PROGRAMS = {
    "python": ["-c", "pass"],
    "help": [*CLI, "--help"],
    **{f"{name} --help": [*CLI, name, "--help"] for name in COMMAND_NAMES},
    "config --show": [*CLI, "config", "--show"],
    "everything": ["-W", "ignore", "-c", "import tutorial_lib.trainer"],
}


def seconds(program):
    "How long a process takes from its start to its end."
    start = time.perf_counter()
    subprocess.run([sys.executable, *program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = command_line(__doc__, __file__)
    add_number(parser, "--rounds", 5, "how often each program takes its turn")
    args = parser.parse_args()

    rows = read(args.out)
    todo = sorted(set(range(args.rounds)) - {int(r["round"]) for r in rows})
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return
    for program in PROGRAMS.values():
        seconds(program)
    machine = processor(torch.device("cpu"))
    for k in todo:
        took = {name: seconds(program) for name, program in PROGRAMS.items()}
        for name, s in took.items():
            row = dict(round=k, program=name, seconds=f"{s:.3f}", device=machine)
            row["ratio"] = f"{s / took['python']:.1f}"
            row["python"] = platform.python_version()
            rows.append(row)
            print(row, flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
