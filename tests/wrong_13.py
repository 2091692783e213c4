"""Plausible wrong answers to the exercises of chapter 13.

Each has words of the property that its verdict has to name.
"""

import re
from functools import partial

import yaml


def judged(
    epochs,
    steps,
    every,
    start,
    ends=True,
    first=1,
    anew=False,
    once=True,
    order=sorted,
    none=True,
    container=list,
    over=0,
):
    "A right answer to 13.a. Each argument spoils one thing."
    found = [steps * epoch for epoch in range(1, epochs + 1)] if ends else []
    if every or not none:
        more = range(steps * start * first + 1, steps * epochs + over + 1)
        found += [s for s in more if ((s - 1) % steps + 1 if anew else s) % every == 0]
    return container(order(set(found) if once else found))


def differs(
    a,
    b,
    dots=True,
    deep=True,
    types=True,
    swap=False,
    all_keys=False,
    pair=tuple,
    back=False,
    last=False,
):
    "A right answer to 13.b. Each argument spoils one thing."
    found = {}
    for key, x in a.items():
        y = b[key]
        if isinstance(x, dict) and deep:
            inside = differs(x, y, dots, deep, types, swap, all_keys, pair, back, last)
            found |= {
                f"{key}.{name}" if dots else name: values
                for name, values in inside.items()
            }
        elif all_keys or x != y or types and type(x) is not type(y):
            found[key] = pair((y, x) if swap else (x, y))
    return dict(sorted(found.items())) if back else found


def empties(a, b):
    found = differs(a, b)
    b.clear()
    return found


def by_nodes(text, key, first=1, only_last=False, missing=None, value=False):
    "A right answer to 13.c. Each argument spoils one thing."
    node, line = yaml.compose(text), None
    for part in key.split(".")[-1:] if only_last else key.split("."):
        inside = (
            {k.value: (k, v) for k, v in node.value}
            if isinstance(node, yaml.MappingNode)
            else {}
        )
        if part not in inside:
            return missing
        found, node = inside[part]
        line = (node if value else found).start_mark.line + first
    return line


def searches(text, key):
    "The first line that begins with the last part of the key."
    for i, line in enumerate(text.splitlines(), 1):
        if line.strip().startswith(key.split(".")[-1] + ":"):
            return i
    return None


def follows(text, key):
    "Searches for each part behind the one before."
    lines, i = text.splitlines(), -1
    for part in key.split("."):
        i = next(
            (j for j in range(i + 1, len(lines)) if re.match(rf"\s*{part}:", lines[j])),
            None,
        )
        if i is None:
            return None
    return i + 1


def crashes(text, key):
    node = yaml.compose(text)
    for part in key.split("."):
        found, node = next((k, v) for k, v in node.value if k.value == part)
    return found.start_mark.line + 1


WRONG = {
    "13.a": [
        (None, "`validation_steps` is a function"),
        (partial(judged, container=set), "the result is a list"),
        (partial(judged, ends=False), "it is judged after the last step of each epoch"),
        (
            partial(judged, first=0),
            "before `start` epochs are over it is judged at their ends alone",
        ),
        (
            partial(judged, anew=True),
            "between the ends it is judged after the multiples of `every` alone",
        ),
        (partial(judged, once=False), "each step is there once"),
        (
            partial(judged, order=lambda s: sorted(s, reverse=True)),
            "the steps are in order",
        ),
        (partial(judged, none=False), "Your code raised an error"),
        (partial(judged, over=4), "no step lies outside of the training"),
        (
            lambda epochs, steps, every, start: [
                steps * (e + 1) for e in range(epochs)
            ],
            "no multiple of `every` is left out",
        ),
    ],
    "13.b": [
        (None, "`differences` is a function"),
        (
            lambda a, b: [key for key in a if a[key] != b[key]],
            "the result is a dictionary",
        ),
        (empties, "`a` and `b` stay as they are"),
        (
            partial(differs, dots=False),
            "all keys that differ are there, each with its sections and dots",
        ),
        (partial(differs, deep=False), "there are no sections in the result"),
        (partial(differs, types=False), "values of different types are different"),
        (partial(differs, swap=True), "in each pair the value of `a` comes first"),
        (partial(differs, all_keys=True), "there is no other key"),
        (partial(differs, pair=list), "each key has a pair of values"),
        (partial(differs, back=True), "the keys are in the order of `a`"),
        (
            lambda a, b: {key: (a[key], b[key]) for key in a if a[key] != b[key]},
            "there are no sections in the result",
        ),
    ],
    "13.c": [
        (None, "`line_of` is a function"),
        (partial(by_nodes, first=0), "lines are counted from 1"),
        (partial(by_nodes, only_last=True), "the key 'train.seed' is found in line 5"),
        (partial(by_nodes, missing=0), "the result is None"),
        (partial(by_nodes, value=True), "the key 'train' is found in line 4"),
        (searches, "is found in line"),
        (follows, "where there is no key 'lr' the result is None"),
        (crashes, "Your code raised an error"),
    ],
}
