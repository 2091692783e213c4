"""Plausible wrong answers to the exercises of chapter 14.

Each has words of the property that its verdict has to name.
"""

import os
from functools import partial

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp


def elsewhere(
    matrix,
    shares,
    refuse=True,
    axis=1,
    weigh=True,
    nan=np.nan,
    place=False,
    kind=tuple,
    guard=True,
    old_precision=False,
):
    "A right answer to 14.a. Each argument spoils one thing."
    total = matrix.sum(axis=axis)
    if refuse and ((total == 0) & (shares > 0)).any():
        raise ValueError("not tested")
    if guard:
        total = np.maximum(total, 1)
    rates = matrix / (total[:, None] if axis else total)
    expected = rates * shares[:, None] if weigh else rates / len(shares)
    if place:
        shares[:] = 0
    answers, right = expected.sum(axis=0), expected.diagonal()
    accuracy = float(right.sum())
    if old_precision:
        answers, right = matrix.sum(axis=0), matrix.diagonal()
    return kind(
        (
            accuracy,
            np.divide(right, answers, out=np.full(len(shares), nan), where=answers > 0),
        )
    )


def refuses_all_untested(matrix, shares):
    if (matrix.sum(axis=1) == 0).any():
        raise ValueError("not tested")
    return elsewhere(matrix, shares)


def loss(logits, y, t):
    return (logsumexp(logits / t, axis=1) - logits[np.arange(len(y)), y] / t).mean()


def temperature(logits, y, low=-12, high=12, inverse=False, log=True):
    "A right answer to 14.b. Each argument spoils one thing."
    f = (
        (lambda v: loss(logits, y, np.exp(v)))
        if log
        else (lambda v: loss(logits, y, v))
    )
    v = minimize_scalar(
        f, bounds=(low, high), method="bounded", options={"xatol": 1e-7}
    ).x
    t = float(np.exp(v) if log else v)
    return 1 / t if inverse else t


def overflows(logits, y):
    def f(v):
        e = np.exp(logits / np.exp(v))
        return -np.log(e[np.arange(len(y)), y] / e.sum(axis=1)).mean()

    grid = np.linspace(-7, 7, 2000)
    with np.errstate(all="ignore"):
        values = [f(v) for v in grid]
    return (
        float("nan")
        if np.isnan(values).any()
        else float(np.exp(grid[np.argmin(values)]))
    )


def calibrated(logits, y):
    "Makes the mean confidence equal to the accuracy, which is another aim."
    accuracy = (logits.argmax(1) == y).mean()

    def gap(v):
        z = logits / np.exp(v)
        return abs(np.exp(z.max(1) - logsumexp(z, axis=1)).mean() - accuracy)

    return float(np.exp(min(np.linspace(-8, 8, 2000), key=gap)))


def scales_in_place(logits, y):
    t = temperature(logits, y)
    logits /= t
    return t


def write_whole(
    path,
    chunks,
    before=None,
    fsync=True,
    last=None,
    caught=Exception,
    swallow=False,
    clean=True,
    skip=0,
    name=".part",
):
    "A right answer to 14.c. Each argument spoils one thing."
    part = path.with_name(path.name + name)
    if before:
        before(path)
    try:
        with part.open("wb") as f:
            for chunk in list(chunks)[skip:] if skip else chunks:
                f.write(chunk)
        (last or os.replace)(part, path)
    except BaseException as e:
        if clean and isinstance(e, caught):
            part.unlink(missing_ok=True)
        if not (swallow and isinstance(e, Exception)):
            raise


def in_place(path, chunks):
    with path.open("wb") as f:
        for chunk in chunks:
            f.write(chunk)


def joins_first(path, chunks):
    path.write_bytes(b"".join(chunks))


def copies_back(part, path):
    with path.open("wb") as f:
        f.write(part.read_bytes())
    part.unlink()


def keeps_the_old(path, chunks):
    if path.exists():
        path.rename(path.with_suffix(".bak"))
    write_whole(path, chunks, caught=BaseException)


def copies_the_old(path, chunks):
    if path.exists():
        path.with_suffix(".bak").write_bytes(path.read_bytes())
    write_whole(path, chunks, caught=BaseException)


def drops_empty_end(path, chunks):
    "Takes an empty piece for the end."

    def some():
        it = iter(chunks)
        while piece := next(it, b""):
            yield piece
        for _ in it:
            pass

    write_whole(path, some(), caught=BaseException)


WRONG = {
    "14.a": [
        (None, "`elsewhere` is a function"),
        (partial(elsewhere, kind=list), "the result is a tuple of two"),
        (
            lambda matrix, shares: elsewhere(matrix, shares)[0],
            "the result is a tuple of two",
        ),
        (
            lambda matrix, shares: (elsewhere(matrix, shares)[1],) * 2,
            "the first is a number, and the second an array",
        ),
        (partial(elsewhere, place=True), "`matrix` and `shares` stay as they were"),
        (partial(elsewhere, weigh=False), "the accuracy is the sum of the recalls"),
        (partial(elsewhere, axis=0), "the accuracy is the sum of the recalls"),
        (
            partial(elsewhere, guard=False),
            "the accuracy is a number, "
            "also if a class that will not come was not tested",
        ),
        (
            partial(elsewhere, nan=0.0),
            "the precision is NaN for a class that will never be an answer",
        ),
        (
            partial(elsewhere, old_precision=True),
            "of the answers with a class, the precision says which share will be right",
        ),
        (
            partial(elsewhere, refuse=False),
            "a class that will come and was not tested is a ValueError",
        ),
        (refuses_all_untested, "Your code raised an error"),
    ],
    "14.b": [
        (None, "`temperature` is a function"),
        (lambda logits, y: [temperature(logits, y)], "the result is a number"),
        (lambda logits, y: 1.0, "no other temperature has a lower log loss"),
        (
            partial(temperature, inverse=True),
            "no other temperature has a lower log loss",
        ),
        (
            partial(temperature, low=-2, high=2),
            "no other temperature has a lower log loss",
        ),
        (partial(temperature, low=0), "no other temperature has a lower log loss"),
        (
            partial(temperature, low=0.5, high=20, log=False),
            "no other temperature has a lower log loss",
        ),
        (overflows, "the temperature is finite and above 0"),
        (calibrated, "no other temperature has a lower log loss"),
        (scales_in_place, "`logits` stays as it was"),
        (
            lambda logits, y: float(np.log(temperature(logits, y))),
            "the temperature is finite and above 0",
        ),
    ],
    "14.c": [
        (None, "`write_whole` is a function"),
        (in_place, "while the pieces come, the old file is there under the name"),
        (joins_first, "who has opened the old file can read it to its end"),
        (
            partial(write_whole, before=lambda path: path.unlink(missing_ok=True)),
            "while the pieces come, the old file is there under the name",
        ),
        (
            partial(write_whole, last=copies_back, caught=BaseException),
            "who has opened the old file can read it to its end",
        ),
        (
            partial(write_whole, last=lambda part, path: None),
            "at the end the file holds all pieces",
        ),
        (partial(write_whole, skip=1), "at the end the file holds all pieces"),
        (drops_empty_end, "at the end the file holds all pieces"),
        (partial(write_whole, clean=False), "no other file is left in the folder"),
        (write_whole, "no other file is left in the folder"),
        (
            partial(write_whole, swallow=True),
            "the error of `chunks` reaches the caller",
        ),
        (keeps_the_old, "while the pieces come, the old file is there under the name"),
        (copies_the_old, "no other file is left in the folder"),
        (
            lambda path, chunks: [None for _ in chunks],
            "at the end the file holds all pieces",
        ),
    ],
}
