"""Plausible wrong answers to the exercises of chapter 11.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

CELL = ["set", "size", "strategy", "seed"]


def choose(
    table,
    by=("valid",),
    kind="stable",
    keys=CELL,
    keep="first",
    how=lambda table: table,
    then=lambda best: best,
):
    "A right answer to 11.a. Each argument spoils one thing."
    order = how(table).sort_values(list(by), ascending=False, kind=kind)
    return then(order.drop_duplicates(keys, keep=keep))


def highest_of_each_column(table):
    "The best accuracies, and the first row's setting: three numbers of three rows."
    return table.groupby(CELL, as_index=False).agg(
        {
            c: "max" if c in ("valid", "test") else "first"
            for c in table.columns
            if c not in CELL
        }
    )


def label_of_the_best(table):
    return table.loc[table.groupby(CELL).valid.idxmax()]


def as_many_as_the_best(table):
    return table[table.valid == table.groupby(CELL).valid.transform("max")]


def one_for_all(table):
    return table[table.setting == table.groupby("setting").valid.mean().idxmax()]


def first_that_is_not_missing(table):
    return (
        table.sort_values("valid", ascending=False, kind="stable")
        .groupby(CELL, as_index=False)
        .first()
    )


def seeds_0_to_2(table):
    return choose(table[table.seed.isin([0, 1, 2])])


def sizes_by_name(table):
    return choose(table[table["size"].isin(["few", "all"])])


def adds_a_rank(table):
    table["rank"] = table.groupby(CELL).valid.rank(method="first", ascending=False)
    return table[table["rank"] == 1].drop(columns="rank")


def adds_a_rank_to_a_copy(table):
    return adds_a_rank(table.copy()).assign(rank=1)


def takes_a_column_out(table):
    return table.pop("note").isna().any() and choose(table)


def numbers_in_place(table):
    table.index = range(len(table))
    return table.loc[table.groupby(CELL).valid.idxmax()]


def neighbors(table):
    "Takes the rows of a cell for neighbors."
    new = (table[CELL] != table[CELL].shift()).any(axis=1).cumsum().to_numpy()
    order = table.assign(run=new).sort_values("valid", ascending=False, kind="stable")
    return order.drop_duplicates("run").drop(columns="run")


def three_each(table):
    "Takes three rows for a cell."
    table = table.reset_index(drop=True)
    return table.loc[table.groupby(table.index // 3).valid.idxmax()]


def last_of_the_best(table):
    best = {}
    for row in table.to_dict("records"):
        cell = tuple(row[c] for c in CELL)
        if cell not in best or row["valid"] >= best[cell]["valid"]:
            best[cell] = row
    return pd.DataFrame(best.values())


def texts(table):
    return choose(table).astype(str)


def filled(table):
    return choose(table).fillna({"seconds": 0.0, "note": ""})


def judge(
    better,
    worse,
    margin=0.01,
    ddof=1,
    level=0.975,
    dist=lambda n: stats.t(n - 1),
    root=lambda n: n**0.5,
    width=1,
    sign=1,
    paired=True,
    word=None,
    check=True,
    array=np.asarray,
    digits=None,
    container=tuple,
    refuse=lambda n, m: n < 2 or m != n,
):
    "A right answer to 11.b. Each argument spoils one thing."
    better, worse = array(better), array(worse)
    n = len(better)
    if check and refuse(n, len(worse)):
        raise ValueError("give two accuracies or more, in pairs")
    diff = better - worse
    spread = (
        diff.std(ddof=ddof)
        if paired
        else (better.var(ddof=ddof) + worse.var(ddof=ddof)) ** 0.5
    )
    mean, half = sign * diff.mean(), width * dist(n).ppf(level) * spread / root(n)
    if digits:
        mean, half = round(mean, digits), round(half, digits)
    said = (
        "holds"
        if mean - half > margin
        else "fails"
        if mean + half < margin
        else "too close"
    )
    return container((mean, half, word(mean, half, margin) if word else said))


def zips(better, worse, margin=0.01):
    diff = [a - b for a, b in zip(better, worse)]
    return judge(diff, [0.0] * len(diff), margin)


def library_interval(better, worse, margin=0.01):
    "As a library gives it: not a number where there is no spread."
    if len(better) != len(worse) or len(better) < 2:
        raise ValueError("give two accuracies or more, in pairs")
    diff = np.asarray(better) - np.asarray(worse)
    low, high = stats.t.interval(0.95, len(diff) - 1, diff.mean(), stats.sem(diff))
    return (
        diff.mean(),
        (high - low) / 2,
        "holds" if low > margin else "fails" if high < margin else "too close",
    )


def ends(better, worse, margin=0.01):
    mean, half, word = judge(better, worse, margin)
    return mean - half, mean + half, word


def p_value(better, worse, margin=0.01):
    mean, half, word = judge(better, worse, margin)
    return mean, stats.ttest_rel(better, worse).pvalue, word


def sorts_both(better, worse, margin=0.01):
    return judge(np.sort(better), np.sort(worse), margin)


def sorts_the_lists(better, worse, margin=0.01):
    return better.sort() or worse.sort() or judge(better, worse, margin)


def words(holds, fails):
    return lambda mean, half, margin: (
        "holds"
        if holds(mean, half, margin)
        else "fails"
        if fails(mean, half, margin)
        else "too close"
    )


def above(mean, half, margin):
    return mean - half > margin


def below(mean, half, margin):
    return mean + half < margin


def ask(
    measure,
    accuracy,
    near=lambda d: d.abs().idxmin(),
    out=True,
    value=None,
    cost=lambda own, way, other: own.max() - own[way],
    found=lambda m, names: m[names],
    best=lambda row: row.idxmax(),
    then=lambda s: s,
    rows=None,
):
    "A right answer to 11.c. Each argument spoils one thing."
    costs = {}
    for name in accuracy.index:
        others = accuracy.drop(index=name) if out else accuracy
        if rows:
            others = rows(others)
        m = found(
            pd.Series(measure.to_numpy(), accuracy.index)
            if value == "by place"
            else measure,
            others.index,
        )
        own = (
            pd.Series(measure.to_numpy(), accuracy.index)
            if value == "by place"
            else measure
        )[name]
        other = others.loc[near(m - own)]
        costs[name] = cost(accuracy.loc[name], best(other), other)
    return then(pd.Series(costs))


def second_nearest(measure, accuracy):
    "Takes the first after sorting for the data set itself."
    costs = []
    for name in accuracy.index:
        order = (
            (measure[accuracy.index] - measure[name])
            .abs()
            .sort_values(kind="stable")
            .index
        )
        costs.append(
            accuracy.loc[name].max()
            - accuracy.loc[
                name, accuracy.loc[order[1 if len(order) > 1 else 0]].idxmax()
            ]
        )
    return pd.Series(costs, accuracy.index)


def best_on_average(measure, accuracy):
    return pd.Series(
        {
            name: own.max() - own[accuracy.drop(index=name).mean().idxmax()]
            for name, own in accuracy.iterrows()
        }
    )


def best_on_average_of_all(measure, accuracy):
    return accuracy.max(axis=1) - accuracy[accuracy.mean().idxmax()]


def crosses_itself_out(measure, accuracy):
    for name in accuracy.index:
        accuracy.loc[name + "?"] = accuracy.loc[name]
    return accuracy.max(axis=1)


def sorts_the_measure(measure, accuracy):
    measure[:] = measure.sort_values().to_numpy()
    return ask(measure, accuracy)


def sets_to_infinity(measure, accuracy):
    costs = {}
    for name, own in accuracy.iterrows():
        d = (measure[accuracy.index] - measure[name]).abs()
        measure[name] = np.inf
        d[name] = np.inf
        costs[name] = own.max() - own[accuracy.loc[d.idxmin()].idxmax()]
    return pd.Series(costs)


def last_of(s):
    return s[::-1].idxmax()


def ranks(own, way, other):
    return own.rank(ascending=False)[way] - 1


WRONG = {
    "11.a": [
        (None, "`choose_honestly` is a function"),
        (lambda table: print(choose(table)), "the result is a DataFrame"),
        (lambda table: choose(table).to_dict("records"), "the result is a DataFrame"),
        (lambda table: table.groupby(CELL).valid.max(), "the result is a DataFrame"),
        (takes_a_column_out, "`table` stays as it was"),
        (adds_a_rank, "`table` stays as it was"),
        (numbers_in_place, "`table` stays as it was"),
        (adds_a_rank_to_a_copy, "the result has the columns of `table`"),
        (
            lambda table: choose(table)[[*CELL, "setting", "valid", "test"]],
            "the result has the columns of `table`",
        ),
        (
            lambda table: choose(table).reset_index(),
            "the result has the columns of `table`",
        ),
        (
            lambda table: choose(table).drop(columns="valid"),
            "the result has the columns of `table`",
        ),
        (
            lambda table: table.groupby(CELL)[["valid", "test"]].max(),
            "the result has the columns of `table`",
        ),
        (lambda table: table, "no cell has more than one row"),
        (label_of_the_best, "no cell has more than one row"),
        (as_many_as_the_best, "no cell has more than one row"),
        (partial(choose, keys=[*CELL, "setting"]), "no cell has more than one row"),
        (partial(choose, keys=CELL[:3]), "every cell has a row"),
        (partial(choose, keys=CELL[1:]), "every cell has a row"),
        (partial(choose, keys=["set", "strategy", "seed"]), "every cell has a row"),
        (partial(choose, keys=["set", "size", "seed"]), "every cell has a row"),
        (lambda table: table.nlargest(1, "valid"), "every cell has a row"),
        (one_for_all, "every cell has a row"),
        (seeds_0_to_2, "every cell has a row"),
        (sizes_by_name, "every cell has a row"),
        (three_each, "every cell has a row"),
        (partial(choose, then=lambda best: best.dropna()), "every cell has a row"),
        (neighbors, "no cell has more than one row"),
        (highest_of_each_column, "one whole row of `table`"),
        (first_that_is_not_missing, "one whole row of `table`"),
        (texts, "one whole row of `table`"),
        (filled, "one whole row of `table`"),
        (lambda table: choose(table).round(2), "one whole row of `table`"),
        (partial(choose, by=["test"]), "the choice stays the same"),
        (partial(choose, by=["valid", "test"]), "the choice stays the same"),
        (
            lambda table: choose(
                table.assign(valid=(table.valid + table.test) / 2)
            ).assign(
                valid=lambda best: (
                    table.set_index("setting").valid[best.setting].to_numpy()
                )
            ),
            "the choice stays the same",
        ),
        (
            lambda table: table.drop_duplicates(CELL),
            "the row with the highest `valid` is chosen",
        ),
        (partial(choose, keep="last"), "the row with the highest `valid` is chosen"),
        (partial(choose, by=["setting"]), "the row with the highest `valid` is chosen"),
        (
            lambda table: table.iloc[
                choose(table.reset_index(drop=True).round({"valid": 1})).index
            ],
            "the row with the highest `valid` is chosen",
        ),
        (partial(choose, kind="quicksort"), "the one that stands first"),
        (
            partial(choose, how=lambda table: table.iloc[::-1]),
            "the one that stands first",
        ),
        (
            partial(choose, how=lambda table: table.sort_values("setting")),
            "the one that stands first",
        ),
        (partial(choose, by=["valid", "seconds"]), "the one that stands first"),
        (last_of_the_best, "the one that stands first"),
    ],
    "11.b": [
        (None, "`verdict` is a function"),
        (
            lambda better, worse, margin=0.01: print(judge(better, worse, margin)),
            "the result is a tuple of three",
        ),
        (
            lambda better, worse, margin=0.01: judge(better, worse, margin)[2],
            "the result is a tuple of three",
        ),
        (
            partial(judge, container=lambda got: got[:2]),
            "the result is a tuple of three",
        ),
        (partial(judge, container=lambda got: got[::-1]), "two numbers and a word"),
        (
            partial(judge, container=lambda got: (*got[:2], got[2] == "holds")),
            "two numbers and a word",
        ),
        (
            partial(judge, word=lambda mean, half, margin: "unclear"),
            'the word is "holds"',
        ),
        (
            lambda better, worse, margin=0.01: judge(better, worse),
            "the word is that of an interval",
        ),
        (
            lambda better, worse, margin: judge(better, worse, margin),
            "missing 1 required positional argument",
        ),
        (
            lambda better, worse, margin=1: judge(better, worse, margin),
            "the margin is one point",
        ),
        (
            lambda better, worse, margin=0: judge(better, worse, margin),
            "the margin is one point",
        ),
        (lambda better, worse: judge(better, worse), "takes 2 positional arguments"),
        (
            lambda better, worse, margin=0.01: better - worse,
            "Your code raised an error",
        ),
        (sorts_the_lists, "both sequences stay as they were"),
        (partial(judge, sign=-1), "better less worse"),
        (ends, "better less worse"),
        (
            lambda better, worse, margin=0.01: (
                abs(judge(better, worse, margin)[0]),
                *judge(better, worse, margin)[1:],
            ),
            "better less worse",
        ),
        (partial(judge, array=pd.Series), "at the same place, whatever labels"),
        (partial(judge, digits=3), "not rounded"),
        (sorts_both, "half the width of Student's 95 % interval"),
        (p_value, "half the width of Student's 95 % interval"),
        (partial(judge, paired=False), "Does your interval know that there are pairs?"),
        (
            partial(judge, paired=False, dist=lambda n: stats.t(2 * n - 2)),
            "Does your interval know that there are pairs?",
        ),
        (partial(judge, ddof=0), "Which denominator"),
        (partial(judge, dist=lambda n: stats.norm), "too narrow"),
        (partial(judge, dist=lambda n: stats.uniform(2 - 0.975, 1)), "too narrow"),
        (partial(judge, level=0.95), "On how many sides"),
        (partial(judge, level=0.995), "Is it the 95 % interval?"),
        (partial(judge, dist=lambda n: stats.t(n)), "How many degrees of freedom"),
        (partial(judge, root=lambda n: 1), "the spread of one difference"),
        (partial(judge, root=lambda n: n), "n, or its root?"),
        (partial(judge, width=2), "the whole width"),
        (
            partial(judge, dist=lambda n: stats.uniform(1 - 0.975, 1)),
            "How many of these standard errors",
        ),
        (library_interval, "the interval has no width"),
        (
            partial(judge, word=words(lambda m, h, g: m > g, below)),
            "the word is that of an interval",
        ),
        (
            partial(
                judge, word=words(lambda m, h, g: m - h > 0, lambda m, h, g: m + h < 0)
            ),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(above, lambda m, h, g: m - h < g)),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(above, lambda m, h, g: m + h < -g)),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(above, lambda m, h, g: m + h < 0)),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(lambda m, h, g: abs(m) - h > g, below)),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(lambda m, h, g: m + h > g, below)),
            "the word is that of an interval",
        ),
        (
            partial(judge, word=words(lambda m, h, g: m - h >= g, below)),
            "an interval that touches the margin",
        ),
        (
            partial(judge, word=words(above, lambda m, h, g: m + h <= g)),
            "an interval that touches the margin",
        ),
        (
            partial(
                judge,
                word=words(
                    lambda m, h, g: h and above(m, h, g),
                    lambda m, h, g: h and below(m, h, g),
                ),
            ),
            "an interval without a width",
        ),
        (partial(judge, check=False), "3 and 1 accuracies raise `ValueError`"),
        (
            partial(judge, refuse=lambda n, m: n != m),
            "1 and 1 accuracies raise `ValueError`",
        ),
        (
            partial(judge, refuse=lambda n, m: n < 2),
            "3 and 1 accuracies raise `ValueError`",
        ),
        (zips, "3 and 2 accuracies raise `ValueError`"),
        (
            lambda better, worse, margin=0.01: (
                None if len(better) != len(worse) else judge(better, worse, margin)
            ),
            "3 and 2 accuracies raise `ValueError`",
        ),
    ],
    "11.c": [
        (None, "`regret` is a function"),
        (
            lambda measure, accuracy: print(ask(measure, accuracy)),
            "the result is a Series",
        ),
        (partial(ask, then=dict), "the result is a Series"),
        (partial(ask, then=list), "the result is a Series"),
        (partial(ask, then=lambda s: s.mean()), "the result is a Series"),
        (partial(ask, then=lambda s: s.to_frame()), "the result is a Series"),
        (
            partial(ask, then=lambda s: s.reset_index(drop=True)),
            "one number for each data set, under its name",
        ),
        (
            partial(ask, then=lambda s: s[s > 0]),
            "one number for each data set, under its name",
        ),
        (partial(ask, cost=lambda own, way, other: way), "each regret is a number"),
        (partial(ask, then=lambda s: s.where(s > 0)), "each regret is a number"),
        (sorts_the_measure, "stay as they were"),
        (sets_to_infinity, "stay as they were"),
        (crosses_itself_out, "stay as they were"),
        (
            partial(ask, cost=lambda own, way, other: own[way] - own.max()),
            "no regret is below 0",
        ),
        (
            partial(ask, cost=lambda own, way, other: own.max() - other[way]),
            "no regret is below 0",
        ),
        (
            partial(ask, cost=lambda own, way, other: own.mean() - own[way]),
            "no regret is below 0",
        ),
        (partial(ask, out=False), "no data set advises itself"),
        (best_on_average_of_all, "the regret of"),
        (best_on_average, "the regret of"),
        (partial(ask, near=lambda d: d.idxmin()), "the regret of"),
        (partial(ask, near=lambda d: d.idxmax()), "the regret of"),
        (partial(ask, near=lambda d: d.abs().idxmax()), "the regret of"),
        (partial(ask, near=lambda d: d.index[0]), "the regret of"),
        (
            partial(
                ask, near=lambda d: d[d >= 0].idxmin() if (d >= 0).any() else d.idxmax()
            ),
            "the regret of",
        ),
        (partial(ask, best=lambda row: row.idxmin()), "the regret of"),
        (partial(ask, cost=lambda own, way, other: own.max()), "the regret of"),
        (partial(ask, cost=lambda own, way, other: own[way]), "the regret of"),
        (
            partial(
                ask, cost=lambda own, way, other: (own.max() - own[way]) / own.max()
            ),
            "the regret of",
        ),
        (
            partial(ask, cost=lambda own, way, other: abs(own[way] - other[way])),
            "the regret of",
        ),
        (
            partial(ask, cost=lambda own, way, other: abs(own.max() - other.max())),
            "the regret of",
        ),
        (
            partial(ask, cost=lambda own, way, other: own.max() != own[way]),
            "each regret is a number",
        ),
        (partial(ask, cost=ranks), "the regret of"),
        (
            partial(ask, cost=lambda own, way, other: round(own.max() - own[way], 2)),
            "the regret of",
        ),
        (partial(ask, value="by place"), "wherever its number stands in `measure`"),
        (
            partial(ask, found=lambda m, names: m.drop(m.index.difference(names))),
            "if two others are equally near",
        ),
        (
            partial(ask, rows=lambda others: others[::-1]),
            "if two others are equally near",
        ),
        (
            partial(ask, rows=lambda others: others.sort_index()),
            "if two others are equally near",
        ),
        (second_nearest, "if another data set has the same number"),
        (partial(ask, best=last_of), "if two strategies are equally good"),
        (
            partial(
                ask,
                near=lambda d: (
                    d[d != 0].abs().idxmin() if (d != 0).any() else d.index[0]
                ),
            ),
            "if another data set has the same number",
        ),
    ],
}
