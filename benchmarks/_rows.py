"What all benchmarks share: a command line, rows in a CSV file, and the name of the processor that made them."

import argparse
import csv
import platform
from pathlib import Path

import torch


def command_line(about, script=None):
    "A parser whose help is the text at the top of a script; with --out, whose default is the CSV file beside the `script`."
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if script:
        parser.add_argument(
            "--out",
            type=Path,
            default=Path(script).with_suffix(".csv"),
            help="file to write; what is in it is not run again",
        )
    return parser


def processor(device):
    "The name of the processor or of the GPU."
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name")
        or platform.machine()
    )


def read(path):
    "The rows that were written before."
    if not path.exists():
        return []
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def write(path, fields, rows):
    "Write all rows, or leave the file as it was."
    part = path.with_suffix(".part")
    with open(part, "w", newline="") as f:
        writer = csv.DictWriter(f, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
