"""How does the trainer take bad input?

The tables of tests/test_bad_input.py row by row, many random trees and damages, and
10,000 classes.

rows      each row of a table: it works and says what was left out, or it is refused by
          name, and nothing is changed or half-written
trees     random folders: names from a wicked alphabet, good and broken pictures, links,
          pipes, parts; `take_stock` of each
resumed   a run that was stopped, with a random damage to one of its files, and then
          resumed
read      a run that is done, with a random damage to one of its files; `load_model`,
          `read_run` and `report`
classes   10,000 classes of two pictures: `take_stock`, and a whole training with the
          strategy probe, each in a process of its own

`tried` counts inputs, `worked` those that gave right results, `refused` those that were
refused with one line that names folder or file, `other` all else: another error, a
wrong result, a file that was changed. `other` has to be 0. `seconds`, `cpu` (seconds
that the processor worked) and `mib` (the most memory of the process) are of the classes
only.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ["TUTORIAL_DATA"] = "sample"  # densenet_tiny: no network
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pytest
import test_bad_input as rows
import torch
from _rows import command_line, processor, read, write
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

warnings.simplefilter("ignore")

FIELDS = "part what tried worked refused other seconds cpu mib python device".split()


def folder_works(name):
    return isinstance(rows.FOLDERS[name][1], str)


def run_works(name):
    return not isinstance(rows.RUNS[name][2], str)


def closed_works(name):
    return isinstance(rows.CLOSED[name][2], str)


def evaluation_works(name):
    return rows.EVALUATE[name][1] is None


# What rows are -> test -> do its rows work: all of them, none, or by their names.
TABLES = {
    "folders": {
        "test_a_folder_works_or_is_refused": folder_works,
        "test_a_folder_has_one_name": True,
        "test_a_folder_that_cannot_be": False,
        "test_more_classes_than_a_probe_takes": True,
    },
    "names": {
        "test_any_name_goes_through": True,
        "test_one_name_in_two_spellings_is_one_class": True,
        "test_all_names_in_one_report": True,
    },
    "places of runs": {
        "test_runs_inside_the_folder_are_no_class": True,
        "test_where_runs_go": run_works,
        "test_what_stands_beside_stops_no_other_run": True,
    },
    "permissions": {
        "test_what_may_not_be_read": closed_works,
        "test_where_nothing_may_be_written": False,
    },
    "evaluations": {
        "test_a_folder_to_judge_by": evaluation_works,
        "test_an_evaluation_replaces_nothing_else": False,
    },
    "weights": {"test_weights_are_refused_by_name": False},
    "configurations, command line": {
        "test_a_configuration_is_refused_in_one_line": False
    },
    "folders, command line": {"test_a_folder_is_refused_in_one_line": False},
    "weights, command line": {"test_weights_are_refused_in_one_line": False},
}
TESTS = {}
for kind, tests in TABLES.items():
    TESTS |= {test: (kind, works) for test, works in tests.items()}


class Tally:
    "A plugin of pytest that counts what became of each row."

    def __init__(self):
        self.found = {what: Counter() for what in TABLES}

    def pytest_runtest_logreport(self, report):
        test, _, name = re.sub(r"^.*::", "", report.nodeid, count=1).partition("[")
        is_result = report.when == "call" or report.failed
        if test not in TESTS or not is_result or report.skipped:
            return
        what, works = TESTS[test]
        if callable(works):
            works = works(name.removesuffix("]"))
        if report.failed:
            self.found[what]["other"] += 1
        else:
            self.found[what]["worked" if works else "refused"] += 1


begun = st.tuples(st.sampled_from(rows.BEGUN), rows.damages)
done = st.tuples(st.sampled_from(rows.DONE), rows.damages)
# Part -> the function that tries an input, where inputs come from, how many are tried.
FUZZ = {
    "trees": (rows.try_tree, rows.trees, 2_000),
    "resumed": (rows.try_resume, begun, 1_500),
    "read": (rows.try_reading, done, 500),
}
WHAT = {
    "trees": "random folders",
    "resumed": "damaged runs that go on",
    "read": "damaged runs that are read",
}


def tables():
    "All rows of all tables."
    tally = Tally()
    args = ["-q", "--no-header", "-p", "no:cacheprovider", "-k", " or ".join(TESTS)]
    with tempfile.TemporaryDirectory() as tmp:
        pytest.main([rows.__file__, *args, f"--basetemp={tmp}/t"], plugins=[tally])
    return tally.found


def fuzz(part, folder, block, n):
    "So many random inputs of a part. Another `block` has others."
    try_input, strategy, _ = FUZZ[part]
    if part != "trees" and not any(folder.iterdir()):
        rows.begin_and_end(folder)
    tally = Counter()

    @seed(block)
    @settings(
        rows.slow,
        max_examples=n,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def go(x):
        try:
            said = try_input(x) if part == "trees" else try_input(folder, *x)
            tally[said.split()[0]] += 1
        except Exception as e:
            tally["other"] += 1
            error = f"{type(e).__name__} {ascii(str(e))[:500]}"
            print("other:", ascii(x)[:500], error, flush=True)

    go()
    return tally


MANY = """
import resource, sys, time
from tutorial_lib.config import load_config
from tutorial_lib.trainer import load_model, take_stock, train
start, (what, folder) = time.perf_counter(), sys.argv[1:]
if what == "take_stock":
    found = take_stock(folder).classes
else:
    keys = [f"output.runs={folder}/../runs", "train.strategy=probe"]
    found = load_model(train(folder, load_config(None, keys))).classes
assert len(found) == 10_000
seconds, cpu = time.perf_counter() - start, time.process_time()
print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def classes(n=10_000):
    "Seconds and memory for very many classes."
    pictures = {}
    for k in range(n):
        for i in range(2):
            pictures[f"{k:05}/{i}.png"] = rows.image(2 * k + i)
    with tempfile.TemporaryDirectory() as tmp:
        folder = rows.put(Path(tmp, "photos"), pictures)
        for what in "take_stock", "train":
            command = [sys.executable, "-W", "ignore", "-c", MANY, what, folder]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(done.stderr[-2000:])
                tally, cost = Counter(other=1), NO_COST
            else:
                tally = Counter(worked=1)
                cost = [f"{float(v):.0f}" for v in done.stdout.split()[-3:]]
            yield f"{n:,} classes, {what}", tally, cost


RESULTS = "worked", "refused", "other"
NO_COST = "", "", ""


def note(found, part, what, tally, cost=NO_COST):
    "Add to the row of a part, or begin it."
    row = next((r for r in found if (r["part"], r["what"]) == (part, what)), None)
    if row is None:
        device = processor(torch.device("cpu"))
        row = dict(
            part=part, what=what, python=platform.python_version(), device=device
        )
        found.append(row)
    for key in RESULTS:
        row[key] = int(row.get(key, 0)) + tally[key]
    row["tried"] = sum(row[key] for key in RESULTS)
    row.update(zip(("seconds", "cpu", "mib"), cost))
    print(row, flush=True)


def tried(found, part):
    return sum(int(row["tried"]) for row in found if row["part"] == part)


def arguments():
    parser = command_line(__doc__, __file__)
    for part, (_, _, most) in FUZZ.items():
        parser.add_argument(
            f"--{part}",
            type=int,
            default=most,
            help=f"how many {WHAT[part]} (default {most})",
        )
    parser.add_argument(
        "--only",
        choices=["rows", "trees", "resumed", "read", "classes"],
        help="measure one part",
    )
    return parser.parse_args()


def main():
    args = arguments()
    found = read(args.out)
    parts = [args.only] if args.only else [*FUZZ, "classes", "rows"]
    with tempfile.TemporaryDirectory() as tmp:
        for part in [part for part in FUZZ if part in parts]:
            folder, most = Path(tmp, part), getattr(args, part)
            folder.mkdir()
            while (n := tried(found, part)) < most:
                tally = fuzz(part, folder, n, min(100, most - n))
                note(found, part, WHAT[part], tally)
                write(args.out, FIELDS, found)
    if "classes" in parts and not tried(found, "classes"):
        for what, tally, cost in classes():
            note(found, "classes", what, tally, cost)
            write(args.out, FIELDS, found)
    if "rows" in parts and not tried(found, "rows"):
        for what, tally in tables().items():
            note(found, "rows", what, tally)
            write(args.out, FIELDS, found)


if __name__ == "__main__":
    main()
