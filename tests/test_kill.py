"""A training that is killed (SIGKILL) again and again, and resumed, ends the same.

Byte for byte; `benchmarks/kills.py` does it with more kills.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIELDS = "round configuration process stage kills identical torch device".split()

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="Windows has no fork and no SIGKILL"
)


def rows(path):
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def check(rows, kills, configurations):
    assert list(rows[0]) == FIELDS and {r["identical"] for r in rows} == {"yes"}
    assert sum(int(r["kills"]) for r in rows) >= kills
    assert len({r["configuration"] for r in rows}) == configurations
    killed = [r for r in rows if int(r["kills"])]
    stages = {r["stage"] for r in killed if r["process"] == "child"}
    assert len(stages) >= 5 and "training" in stages, stages
    assert "whole" in {r["process"] for r in killed}


@pytest.mark.long
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path):
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    options = ["--rounds", "1", "--whole", "1", "--out", tmp_path / "kills.csv"]
    options += ["--configurations", "head", "everything"]
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "kills.py", *options],
        capture_output=True,
        encoding="utf-8",
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check(rows(tmp_path / "kills.csv"), 9, 2)
    assert done.stdout.count("identical") == done.stdout.count("\n") == 3


def test_the_table_of_more_kills():
    check(rows(ROOT / "benchmarks" / "kills.csv"), 100, 6)
