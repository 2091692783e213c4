"""What the experiment of chapter 11 says.

The common rules on trial, and how good `recommend` is on sets that it has not seen.

Reads the table that `benchmarks/scenarios.py` wrote into the library, and takes
seconds. verdicts.csv has a row a rule; calibration.csv a row for each measure of
similarity ("none": only pictures of each class count), set, size and seed, with the
cells of that set left out.
"""

from pathlib import Path

import pandas as pd
from _rows import command_line

from tutorial_lib.scenarios import choose, leave_one_out, read_scenarios, trial


def main():
    parser = command_line(__doc__)
    parser.add_argument(
        "--table", type=Path, help="results to judge (default: those in the library)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent,
        help="folder for verdicts.csv and calibration.csv",
    )
    args = parser.parse_args()

    chosen = choose(read_scenarios(args.table))
    trial(chosen).round(4).to_csv(args.out / "verdicts.csv", index=False)
    real = chosen.query("body == 'squeezenet1_0'")
    measures = {"gain": "gain", "depth": "depth", "nearest": "nearest", "none": None}
    tables = {name: leave_one_out(real, measure) for name, measure in measures.items()}
    table = pd.concat(tables, names=["measure", None]).reset_index(level=0)
    table.round(4).to_csv(args.out / "calibration.csv", index=False)
    means = table.groupby("measure", sort=False)[["regret", "tau", "inside"]].mean()
    print(means.round(3))


if __name__ == "__main__":
    main()
