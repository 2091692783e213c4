"""How does the trainer take bad input? The tables of tests/test_bad_input.py row by row, many random trees and damages, and 10,000 classes.

rows      each row of a table: it works and says what was left out, or it is refused by
name, and nothing is changed or half-written trees     random folders: names from a
wicked alphabet, good and broken pictures, links, pipes, parts; `take_stock` of each
resumed   a run that was stopped, with a random damage to one of its files, and then
resumed read      a run that is done, with a random damage to one of its files;
`load_model`, `read_run` and `report` classes   10,000 classes of two pictures:
`take_stock`, and a whole training with the strategy probe, each in a process of its own

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
warnings.simplefilter("ignore")

import pytest
import test_bad_input as rows
import torch
from _rows import command_line, processor, read, write
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

FIELDS = "part what tried worked refused other seconds cpu mib python device".split()

TABLES = {  # what rows are -> test -> whether its rows are ones that work: all of them, none, or by their names
    "folders": {
        "test_a_folder_works_or_is_refused": lambda name: isinstance(
            rows.FOLDERS[name][1], str
        ),
        "test_a_folder_has_one_name": True,
        "test_a_folder_that_cannot_be": False,
        "test_more_classes_than_a_probe_takes": True,
    },
    "names": dict.fromkeys(
        [
            "test_any_name_goes_through",
            "test_one_name_in_two_spellings_is_one_class",
            "test_all_names_in_one_report",
        ],
        True,
    ),
    "places of runs": {
        "test_runs_inside_the_folder_are_no_class": True,
        "test_where_runs_go": lambda name: not isinstance(rows.RUNS[name][2], str),
        "test_what_stands_beside_stops_no_other_run": True,
    },
    "permissions": {
        "test_what_may_not_be_read": lambda name: isinstance(rows.CLOSED[name][2], str),
        "test_where_nothing_may_be_written": False,
    },
    "evaluations": {
        "test_a_folder_to_judge_by": lambda name: rows.EVALUATE[name][1] is None,
        "test_an_evaluation_replaces_nothing_else": False,
    },
    "weights": {"test_weights_are_refused_by_name": False},
    "configurations, command line": {
        "test_a_configuration_is_refused_in_one_line": False
    },
    "folders, command line": {"test_a_folder_is_refused_in_one_line": False},
    "weights, command line": {"test_weights_are_refused_in_one_line": False},
}
TESTS = {
    test: (what, works)
    for what, tests in TABLES.items()
    for test, works in tests.items()
}


class Tally:
    "A plugin of pytest that counts what became of each row."

    def __init__(self):
        self.found = {what: Counter() for what in TABLES}

    def pytest_runtest_logreport(self, report):
        test, _, name = re.sub(r"^.*::", "", report.nodeid, count=1).partition("[")
        if (
            test not in TESTS
            or report.when != "call"
            and report.passed
            or report.skipped
        ):
            return
        what, works = TESTS[test]
        if callable(works):
            works = works(name.removesuffix("]"))
        self.found[what][
            "other" if report.failed else "worked" if works else "refused"
        ] += 1


FUZZ = {  # part -> the function that tries an input, where inputs come from, how many are tried
    "trees": (rows.try_tree, rows.trees, 2_000),
    "resumed": (
        rows.try_resume,
        st.tuples(st.sampled_from(rows.BEGUN), rows.damages),
        1_500,
    ),
    "read": (
        rows.try_reading,
        st.tuples(st.sampled_from(rows.DONE), rows.damages),
        500,
    ),
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


def fuzz(f, strategy, block, n):
    "So many random inputs. Another `block` has others."
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
            tally[f(x).split()[0]] += 1
        except Exception as e:
            tally["other"] += 1
            print(
                "other:",
                ascii(x)[:500],
                type(e).__name__,
                ascii(str(e))[:500],
                flush=True,
            )

    go()
    return tally


MANY = """
import io, resource, sys, time
from pathlib import Path
import numpy as np
from tutorial_lib.config import load_config
from tutorial_lib.trainer import load_model, take_stock, train
start, (what, folder) = time.perf_counter(), sys.argv[1:]
if what == "take_stock": assert len(take_stock(folder).classes) == 10_000
else: assert len(load_model(train(folder, load_config(None, [f"output.runs={folder}/../runs", "train.strategy=probe"]))).classes) == 10_000
print(time.perf_counter() - start, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)
"""


def classes(n=10_000):
    "Seconds and memory for very many classes."
    with tempfile.TemporaryDirectory() as tmp:
        folder = rows.put(
            Path(tmp, "photos"),
            {
                f"{k:05}/{i}.png": rows.image(2 * k + i)
                for k in range(n)
                for i in range(2)
            },
        )
        for what in "take_stock", "train":
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", MANY, what, folder],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                print(done.stderr[-2000:])
            cost = (
                [f"{float(v):.0f}" for v in done.stdout.split()[-3:]]
                if not done.returncode
                else [""] * 3
            )
            yield (
                f"{n:,} classes, {what}",
                Counter(
                    worked=int(not done.returncode), other=int(done.returncode != 0)
                ),
                cost,
            )


def main():
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
    args = parser.parse_args()

    found = read(args.out)

    def note(part, what, n, cost=("", "", "")):
        "Add to the row of a part, or begin it."
        row = next((r for r in found if (r["part"], r["what"]) == (part, what)), None)
        if row is None:
            found.append(
                row := dict(
                    part=part,
                    what=what,
                    python=platform.python_version(),
                    device=processor(torch.device("cpu")),
                )
            )
        for key in "worked", "refused", "other":
            row[key] = int(row.get(key, 0)) + n[key]
        row.update(
            zip(("seconds", "cpu", "mib"), cost),
            tried=sum(row[key] for key in ("worked", "refused", "other")),
        )
        write(args.out, FIELDS, found)
        print(row, flush=True)

    def todo(part):
        return args.only in (None, part) and (
            part in FUZZ or part not in {row["part"] for row in found}
        )

    with tempfile.TemporaryDirectory() as tmp:
        for part, (f, strategy, _) in FUZZ.items():
            top = Path(tmp, part)
            top.mkdir()
            while todo(part) and (
                done := sum(int(row["tried"]) for row in found if row["part"] == part)
            ) < (n := getattr(args, part)):
                if part != "trees" and not any(top.iterdir()):
                    rows.begin_and_end(top)
                note(
                    part,
                    WHAT[part],
                    fuzz(
                        lambda x: f(x) if part == "trees" else f(top, *x),
                        strategy,
                        done,
                        min(100, n - done),
                    ),
                )
    if todo("classes"):
        for what, *measured in classes():
            note("classes", what, *measured)
    if todo("rows"):
        for what, n in tables().items():
            note("rows", what, n)


if __name__ == "__main__":
    main()
