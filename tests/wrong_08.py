"""Plausible wrong answers to the exercises of chapter 08.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import numpy as np


def broken(
    pairs,
    labels,
    contents,
    part,
    skip=(),
    twins_too=False,
    always=(),
    container=set,
    one=False,
    names=None,
    label_rule=None,
):
    "A right answer to 08.a. Each argument spoils one thing."
    out = []
    for i, j, same in pairs:
        found = []
        if i == j:
            found.append("itself")
        if (twins_too or i != j) and contents[i] == contents[j]:
            found.append("twins")
        if part[i] != part[j]:
            found.append("crosses")
        if (label_rule or (lambda same, a, b: same != (a == b)))(
            same, labels[i], labels[j]
        ):
            found.append("label")
        found = [
            (names or {}).get(name, name) for name in found if name not in skip
        ] + list(always)
        out.append(container(found[:1] if one else found))
    return out


def by_label(pairs, labels, contents, part):
    return broken(pairs, labels, labels, part)


def sorts_first(pairs, labels, contents, part):
    pairs.sort()
    return broken(pairs, labels, contents, part)


def only_the_bad(pairs, labels, contents, part):
    return [s for s in broken(pairs, labels, contents, part) if s]


def as_a_dict(pairs, labels, contents, part):
    return dict(zip(pairs, broken(pairs, labels, contents, part)))


def one_set(pairs, labels, contents, part):
    return set().union(*broken(pairs, labels, contents, part))


def no_pairs_is_an_error(pairs, labels, contents, part):
    return broken(pairs, labels, contents, part) if pairs else [set()]


def spoils_labels(pairs, labels, contents, part):
    out = broken(pairs, labels, contents, part)
    labels.sort()
    return out


def place(
    r, start, first, n_twin, base=True, late=False, jump=True, once=False, back=False
):
    "A right answer to 08.b. Each argument spoils one thing."
    k = start + r if base else r
    here = k > first if late else k >= first
    return (
        np.where(here, k + (1 if once else -n_twin if back else n_twin), k)
        if jump
        else k
    )


def relative(r, start, first, n_twin):
    return np.where(r >= first, start + r + n_twin, start + r)


def only_arrays(r, start, first, n_twin):
    out = (start + r).copy()
    out[out >= first] += n_twin
    return out


def only_numbers(r, start, first, n_twin):
    return start + r + n_twin if start + r >= first else start + r


def in_place(r, start, first, n_twin):
    if not isinstance(r, np.ndarray):
        return place(r, start, first, n_twin)
    r += start
    r += np.where(r >= first, n_twin, 0)
    return r


def as_a_list(r, start, first, n_twin):
    return place(r, start, first, n_twin).tolist()


def end_of_class(r, start, first, n_twin):
    return np.where(
        (start + r >= first) & (start + r < first + n_twin),
        start + r + n_twin,
        start + r,
    )


def as_floats(r, start, first, n_twin):
    return place(r, start, first, n_twin) * 1.0


def uses(
    sizes,
    p_same,
    single_same=False,
    single_p=False,
    members=False,
    own_class=False,
    share=False,
    all_classes=False,
    anchors=False,
):
    "A right answer to 08.c. Each argument spoils one thing."
    sizes = np.asarray(sizes)
    p = np.where((sizes > 1) | single_same, p_same, 0)
    n_different = sizes * (1 - (p_same if single_p else p))
    others = n_different.sum() - (0 if own_class else n_different)
    out = p + others / (len(sizes) - (0 if all_classes else 1)) / (
        1 if members else sizes
    )
    if anchors:
        out = out + 1
    return out / out.sum() if share else out


def among_all_images(sizes, p_same):
    "As if each image of another class had the same probability to be the other one."
    sizes = np.asarray(sizes)
    n, p = sizes.sum(), np.where(sizes > 1, p_same, 0)
    chance = sizes * (1 - p) / (n - sizes)
    return p + chance.sum() - chance


def swaps_p(sizes, p_same):
    return uses(sizes, 1 - p_same)


def spoils_sizes(sizes, p_same):
    out = uses(sizes, p_same)
    sizes[0] += 1
    return out


def in_a_list(sizes, p_same):
    return uses(sizes, p_same).tolist()


def needs_arrays(sizes, p_same):
    return uses(sizes * 1, p_same) if sizes.shape else None


def simulated(sizes, p_same, times=20):
    from tutorial_lib.pairs import PairSampler

    labels = np.repeat(np.arange(len(sizes)), sizes)
    sampler = PairSampler(labels, p_same)
    drawn = np.concatenate([sampler.draw(seed)[0] for seed in range(times)])
    return np.bincount(labels[drawn], minlength=len(sizes)) / np.asarray(sizes) / times


WRONG = {
    "08.a": [
        (None, "`broken` is a function"),
        (only_the_bad, "the result is a list of 9 sets"),
        (as_a_dict, "the result is a list of 9 sets"),
        (one_set, "the result is a list of 9 sets"),
        (partial(broken, container=list), "each entry of the list is a set"),
        (partial(broken, container=bool), "each entry of the list is a set"),
        (
            partial(broken, names={"itself": "self"}),
            "names from the table, letter by letter",
        ),
        (
            partial(broken, names={"crosses": "Crosses"}),
            "names from the table, letter by letter",
        ),
        (partial(broken, twins_too=True), 'the set holds "twins" only where'),
        (by_label, 'the set holds "twins" only where'),
        (partial(broken, skip=["itself"]), 'the set holds "itself" wherever'),
        (partial(broken, skip=["twins"]), 'the set holds "twins" wherever'),
        (partial(broken, skip=["crosses"]), 'the set holds "crosses" wherever'),
        (partial(broken, skip=["label"]), 'the set holds "label" wherever'),
        (partial(broken, one=True), "wherever the pair breaks this rule"),
        (
            partial(broken, label_rule=lambda same, a, b: a != b),
            'the set holds "label"',
        ),
        (
            partial(broken, label_rule=lambda same, a, b: same and a != b),
            'the set holds "label" wherever',
        ),
        (
            partial(broken, label_rule=lambda same, a, b: not same),
            'the set holds "label"',
        ),
        (sorts_first, "the set holds"),
        (spoils_labels, "the lists that you were given stay as they were"),
        (no_pairs_is_an_error, "no pairs give an empty list"),
    ],
    "08.b": [
        (None, "`allowed_place` is a function"),
        (as_floats, "the result is a whole number"),
        (partial(place, base=False), "all places lie in the class"),
        (relative, "no place is one of the twins'"),
        (partial(place, jump=False), "no place is one of the twins'"),
        (partial(place, late=True), "no place is one of the twins'"),
        (partial(place, once=True), "no place is one of the twins'"),
        (partial(place, back=True), "all places lie in the class"),
        (end_of_class, "different numbers give different places"),
        (only_arrays, "Your code raised an error"),
        (only_numbers, "Your code raised an error"),
        (as_a_list, "for arrays of one length the result is an array"),
        (in_place, "the arrays that you were given stay as they were"),
        (lambda r, start, first, n_twin: print(r), "the result is a whole number"),
        (lambda r, start, first, n_twin: [start + r], "the result is a whole number"),
    ],
    "08.c": [
        (None, "`expected_uses` is a function"),
        (in_a_list, "the result is an array of 2 numbers"),
        (
            lambda sizes, p_same: uses(sizes, p_same).sum(),
            "the result is an array of 2 numbers",
        ),
        (needs_arrays, "Your code raised an error"),
        (simulated, "once on average"),
        (partial(uses, share=True), "if all classes have one size"),
        (partial(uses, anchors=True), "if all classes have one size"),
        (partial(uses, members=True), "if all classes have one size"),
        (partial(uses, own_class=True), "if all classes have one size"),
        (partial(uses, all_classes=True), "if all classes have one size"),
        (among_all_images, "an image is drawn by the images of all other classes"),
        (swaps_p, 'if all pairs are "same"'),
        (
            lambda sizes, p_same: np.ones(len(sizes)),
            'if all pairs are "different", two classes draw from each other',
        ),
        (partial(uses, single_same=True), "an image that is alone in its class"),
        (partial(uses, single_p=True), "an image that is alone in its class"),
        (spoils_sizes, "the sizes that you were given stay as they were"),
    ],
}
