"""What all benchmarks share.

A command line, rows in a CSV file, and the name of the processor that made them.
"""

import argparse
import csv
import platform
import statistics
import time
from pathlib import Path

import torch

LIBRARY = Path(__file__).parents[1] / "tutorial_lib"


def command_line(about, script=None, table=None):
    """A parser whose help is the text at the top of a script.

    With a `script` it knows --out, whose default is the CSV file beside the script, and
    with a `table` the one of that name in the library."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=raw)
    if script or table:
        out = LIBRARY / table if table else Path(script).with_suffix(".csv")
        what = f"file to write; what is in it is not run again (default {out.name})"
        parser.add_argument("--out", type=Path, default=out, help=what)
    return parser


def add_number(parser, name, default, what):
    "An argument that is a whole number."
    what = f"{what} (default {default})"
    parser.add_argument(name, type=int, default=default, help=what)


def processor(device):
    "The name of the processor or of the GPU."
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("cpu_name") or platform.machine()


class Stopwatch:
    "Seconds since it was made."

    def __init__(self):
        self.start, self.core_start = self._now()

    @staticmethod
    def _now():
        from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage  # not on Windows

        used = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)

    @property
    def seconds(self):
        return self._now()[0] - self.start

    @property
    def core_seconds(self):
        "Of all cores: what this process and the children that have ended kept busy."
        return self._now()[1] - self.core_start

    @property
    def both(self):
        return self.seconds, self.core_seconds


def add_times(rows, kind, base):
    """Say in `times` how many times the core-seconds of others each row took.

    `kind` and `base` are functions: row -> its kind, and the kind that it is compared
    with, of which the median counts.
    """
    spent = {}
    for r in rows:
        spent.setdefault(kind(r), []).append(float(r["core_seconds"]))
    for r in rows:
        if others := spent.get(base(r)):
            r["times"] = f"{float(r['core_seconds']) / statistics.median(others):.2f}"


def read(path):
    "The rows that were written before."
    if not path.exists():
        return []
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def write(path, fields, rows):
    "Write all rows, or leave the file as it was."
    part = path.with_suffix(".part")
    with part.open("w", newline="") as f:
        writer = csv.DictWriter(f, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
