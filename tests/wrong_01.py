"""Plausible wrong answers to the exercises of chapter 01.

Each has words of the property that its verdict has to name.
"""

import random

import numpy as np
from PIL import Image, UnidentifiedImageError
from sklearn.neighbors import KNeighborsClassifier

from tutorial_lib.data import read_images, twins


def arrays(train, valid, dtype=int, size=16):
    return [
        read_images(files, size=size).reshape(len(files), -1).astype(dtype)
        for files in (train, valid)
    ]


def differences(a, b):
    return np.abs(a[:, None] - b[None]).mean(axis=2)


def least(train, valid, **kwargs):
    difference = differences(*arrays(train, valid, **kwargs))
    return np.unravel_index(difference.argmin(), difference.shape)


def gives_positions(train, valid):
    return least(train, valid)


def other_way_round(train, valid):
    i, j = least(train, valid)
    return valid[j], train[i]


def gives_names(train, valid):
    i, j = least(train, valid)
    return train[i].name, valid[j].name


def gives_arrays(train, valid):
    a, b = arrays(train, valid)
    return a[0], b[0]


def prints(train, valid):
    i, j = least(train, valid)
    print(train[i], valid[j])


def runs_over(train, valid):
    i, j = least(train, valid, dtype=np.uint8)
    return train[i], valid[j]


def trusts_bytes(train, valid):
    for t in train:
        for v in valid:
            if t.read_bytes() == v.read_bytes():
                return t, v
    return train[0], valid[0]


def trusts_twins(train, valid):
    files = [*train, *valid]
    i, j = twins(files)[0]
    return files[i], files[j]


def trusts_names(train, valid):
    return next((t, v) for t in train for v in valid if t.stem == v.stem)


def compares_brightness(train, valid):
    a, b = (x.mean(axis=1, keepdims=True).round() for x in arrays(train, valid))
    difference = differences(a, b)
    i, j = np.unravel_index(difference.argmin(), difference.shape)
    return train[i], valid[j]


def compares_within_a_side(train, valid):
    files = [*train, *valid]
    x, _ = arrays(files, valid)
    difference = differences(x, x) + 1000 * np.eye(len(x))
    i, j = np.unravel_index(difference.argmin(), difference.shape)
    return files[i], files[j]


def takes_the_largest(train, valid):
    difference = differences(*arrays(train, valid))
    i, j = np.unravel_index(difference.argmax(), difference.shape)
    return train[i], valid[j]


def needs_one_size(train, valid):
    i, j = least(train, valid, size=None)
    return train[i], valid[j]


def by_name(path):
    return {
        ".jpg": "JPEG",
        ".jpeg": "JPEG",
        ".png": "PNG",
        ".gif": "GIF",
        ".webp": "WEBP",
    }.get(path.suffix, "")


def by_pillow(path):
    try:
        with Image.open(path) as im:
            return im.format
    except UnidentifiedImageError:
        return ""


def by_pillow_of_four(path):
    form = by_pillow(path)
    return form if form in ("JPEG", "PNG", "GIF", "WEBP") else ""


def by_beginnings(**beginnings):
    "Judge by one beginning a format."

    def kind(path):
        head = path.read_bytes()[:12]
        return next(
            (
                form
                for form, start in (RIGHT | beginnings).items()
                if head.startswith(start)
            ),
            "",
        )

    return kind


RIGHT = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": (b"GIF87a", b"GIF89a"),
    "WEBP": b"RIFF",
}


def with_webp(jpeg=RIGHT["JPEG"], png=RIGHT["PNG"], gif=RIGHT["GIF"], other=""):
    def kind(path):
        head = path.read_bytes()
        if head[:4] == b"RIFF":
            return "WEBP" if head[8:12] == b"WEBP" else other
        return by_beginnings(JPEG=jpeg, PNG=png, GIF=gif)(path) or other

    return kind


def searches_anywhere(path):
    data = path.read_bytes()
    if data.startswith(b"RIFF") and b"WEBP" in data:
        return "WEBP"
    return with_webp()(path)


def reads_text(path):
    head = path.read_text()[:12]
    return "GIF" if head.startswith("GIF8") else "PNG" if head[1:4] == "PNG" else "JPEG"


def cuts_the_file(path):
    data = path.read_bytes()[:12]
    path.write_bytes(data)
    return with_webp()(path)


def counts_on_twelve(path):
    head = path.read_bytes()
    return "" if head[11] < 0 else with_webp()(path)


def splitter(
    names=lambda groups: np.unique(groups),
    rng=np.random.default_rng,
    count=lambda n, valid: min(max(round(valid * n), 1), n - 1),
    give=lambda groups, is_valid: (np.flatnonzero(~is_valid), np.flatnonzero(is_valid)),
):
    "A split by groups, of which one part is wrong."

    def split_groups(groups, valid, seed):
        all_names = names(groups)
        chosen = rng(seed).permutation(all_names)[: count(len(all_names), valid)]
        return give(np.asarray(groups), np.isin(groups, chosen))

    return split_groups


def by_position(groups, valid, seed):
    order = np.random.default_rng(seed).permutation(len(groups))
    n = round(valid * len(groups))
    return order[n:], order[:n]


def cuts_the_list(groups, valid, seed):
    n = round(valid * len(groups))
    return np.arange(n, len(groups)), np.arange(n)


def by_pictures(groups, valid, seed):
    held_out = []
    for name in np.random.default_rng(seed).permutation(np.unique(groups)):
        if len(held_out) < valid * len(groups):
            held_out += np.flatnonzero(np.asarray(groups) == name).tolist()
    return np.setdiff1d(np.arange(len(groups)), held_out), np.array(held_out)


def seeds_numpy(groups, valid, seed):
    np.random.seed(seed)
    return splitter(rng=lambda seed: np.random)(groups, valid, seed)


def seeds_python(groups, valid, seed):
    random.seed(seed)
    return splitter(
        names=lambda groups: random.sample(sorted(set(groups)), len(set(groups)))
    )(groups, valid, seed)


def sorts_what_it_is_given(groups, valid, seed):
    groups.sort()
    return splitter()(groups, valid, seed)


def one_of_each(groups, is_valid):
    "Positions of the first picture of each group."
    first = np.unique(groups, return_index=True)[1]
    return first[~is_valid[first]], first[is_valid[first]]


def score_of(
    x,
    y,
    share,
    seed,
    choose=lambda rng, n, k: rng.permutation(n)[:k],
    rng_of=np.random.default_rng,
    valid_share=0.2,
    give=lambda model, x, y, train, valid: model.score(x[valid], y[valid]),
):
    "A score with copies, of which one part is wrong."
    rng = rng_of(seed)
    copied = choose(rng, len(x), round(share * len(x)))
    x, y = np.concatenate([x, x[copied]]), np.concatenate([y, y[copied]])
    order = rng.permutation(len(x))
    n = round(valid_share * len(x))
    valid, train = order[:n], order[n:]
    model = KNeighborsClassifier(1).fit(x[train], y[train])
    return give(model, x, y, train, valid)


def score_with(**wrong):
    return lambda x, y, share, seed: score_of(x, y, share, seed, **wrong)


def splits_before_it_copies(x, y, share, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    n = len(x) // 5
    valid, train = order[:n], order[n:]
    train = np.concatenate([train, rng.permutation(train)[: round(share * len(train))]])
    model = KNeighborsClassifier(1).fit(x[train], y[train])
    return model.score(x[valid], y[valid])


def learns_from_all(x, y, share, seed):
    return KNeighborsClassifier(1).fit(x, y).score(x, y)


def shuffles_what_it_is_given(x, y, share, seed):
    np.random.default_rng(seed).shuffle(y)
    return score_of(x, y, share, seed)


def holds_out_the_copies(x, y, share, seed):
    "Learns from the pictures, and is judged on their copies."
    if not share:
        return score_of(x, y, 0, seed)
    copied = np.random.default_rng(seed).permutation(len(x))[: round(share * len(x))]
    return KNeighborsClassifier(1).fit(x, y).score(x[copied], y[copied])


WRONG = {
    "01.a": [
        (None, "`leaking_pair` is a function"),
        (prints, "the result is a pair"),
        (
            lambda train, valid: [
                (t, v) for t in train for v in valid if t.read_bytes() == v.read_bytes()
            ],
            "the result is a pair",
        ),
        (gives_positions, "both of the pair are paths"),
        (gives_arrays, "both of the pair are paths"),
        (gives_names, "the first path is in `train`"),
        (other_way_round, "the first path is in `train`"),
        (trusts_twins, "the first path is in `train`"),
        (compares_within_a_side, "the first path is in `train`"),
        (trusts_names, "here the same file"),
        (takes_the_largest, "here the same file"),
        (trusts_bytes, "here saved again as a JPEG"),
        (runs_over, "here saved again as a JPEG"),
        (compares_brightness, "the pair is one picture in two places"),
        (needs_one_size, "Your code raised an error"),
    ],
    "01.b": [
        (None, "`kind` is a function"),
        (lambda path: print(path.name), "the result is a text"),
        (lambda path: path.read_bytes()[:12], "the result is a text"),
        (by_pillow, "a file of any other kind gives an empty text"),
        (by_name, "the name of a file does not count"),
        (by_pillow_of_four, "only the first bytes count"),
        (with_webp(other="unknown"), "a file of any other kind gives an empty text"),
        (with_webp(gif=b"GIF87a"), "only the first bytes count"),  # a newer GIF
        (
            with_webp(jpeg=b"\xff\xd8\xff\xe1"),
            "a picture is called by its format",
        ),  # only what a camera saves
        (
            with_webp(png=b"PNG"),
            "a picture is called by its format",
        ),  # begins one byte late
        (with_webp(jpeg=b"\xff\xd8"), "before its format is certain"),
        (with_webp(gif=b"GIF"), "before its format is certain"),
        (with_webp(gif=b"GIF8"), "before its format is certain"),
        (with_webp(png=b"\x89PNG"), "before its format is certain"),
        (by_beginnings(), "before its format is certain"),  # RIFF is enough
        (searches_anywhere, "only resembles a format"),
        (cuts_the_file, "the file stays as it was"),
        (counts_on_twelve, "Your code raised an error"),
        (reads_text, "Your code raised an error"),
    ],
    "01.c": [
        (None, "`split_groups` is a function"),
        (lambda groups, valid, seed: print(len(groups)), "the result is a pair"),
        (
            lambda groups, valid, seed: splitter()(groups, valid, seed)[1],
            "the result is a pair",
        ),
        (
            splitter(
                give=lambda groups, is_valid: (groups[~is_valid], groups[is_valid])
            ),
            "an array of positions",
        ),
        (
            splitter(give=lambda groups, is_valid: (~is_valid, is_valid)),
            "an array of positions",
        ),
        (splitter(give=one_of_each), "every position is on one of the two sides"),
        (by_position, "no group is on both sides"),
        (cuts_the_list, "no group is on both sides"),
        (
            splitter(count=lambda n, valid: round(valid * n)),
            "at least one group is held out",
        ),
        (
            splitter(count=lambda n, valid: max(round(valid * n), 1)),
            "never are all groups held out",
        ),
        (splitter(count=lambda n, valid: 1), "the share `valid` of the groups"),
        (by_pictures, "the share `valid` of the groups"),
        (sorts_what_it_is_given, "`groups` stays as it was"),
        (seeds_numpy, "moved: numpy.random"),
        (seeds_python, "moved: random"),
        (
            splitter(rng=lambda seed: np.random.default_rng()),
            "the same seed holds out the same groups",
        ),
        (
            splitter(names=lambda groups: np.array(list(dict.fromkeys(groups)))),
            "another order of the pictures",
        ),
        (
            splitter(rng=lambda seed: np.random.default_rng(0)),
            "another seed holds out other groups",
        ),
        (
            lambda groups, valid, seed: splitter()(
                [groups.index(g) for g in groups], valid, seed
            ),
            "Your code raised an error",
        ),  # lists only
    ],
    "01.d": [
        (None, "`score_with_copies` is a function"),
        (lambda x, y, share, seed: print(share), "the result is a number"),
        (
            score_with(give=lambda model, x, y, train, valid: model.predict(x[valid])),
            "the result is a number",
        ),
        (shuffles_what_it_is_given, "`x` and `y` stay as they were"),
        (learns_from_all, "judged on it alone"),
        (
            score_with(
                give=lambda model, x, y, train, valid: model.score(x[train], y[train])
            ),
            "judged on it alone",
        ),
        (splits_before_it_copies, "of copies of all rows four in five leak"),
        (holds_out_the_copies, "judged on it alone"),
        (score_with(valid_share=0.5), "of copies of all rows four in five leak"),
        (
            score_with(choose=lambda rng, n, k: rng.integers(n, size=k)),
            "of copies of all rows four in five leak",
        ),
        (
            score_with(choose=lambda rng, n, k: np.arange(n if k else 0)),
            "the share says how many rows are copied",
        ),
        (
            score_with(rng_of=lambda seed: np.random.default_rng()),
            "the same seed gives the same score",
        ),
        (
            score_with(rng_of=lambda seed: np.random.default_rng(0)),
            "another seed gives another split",
        ),
    ],
}
