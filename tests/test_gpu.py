"""The checks of `benchmarks/gpu.py`, on the CPU.

There a training that is killed and goes on ends with the same bytes.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXACT = "resumed weights", "resumed answers", "device of the answers", "evaluate"


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_the_script_for_gpus_on_the_cpu(tmp_path):
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, "-W", "ignore", ROOT / "benchmarks" / "gpu.py"]
    options = ["--device", "cpu", "--n", "24", "--out", tmp_path / "gpu.csv"]
    small = ["--set", "train.batch_size=8", "train.epochs=2"]
    done = subprocess.run(
        [*script, *options, *small],
        capture_output=True,
        encoding="utf-8",
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "gpu.csv").open(newline="") as f:
        rows = {row["check"]: row for row in csv.DictReader(f)}
    assert len(rows) >= 12 and {row["kept"] for row in rows.values()} == {"yes"}
    for check in EXACT:
        assert float(rows[check]["value"]) == 0, rows[check]
