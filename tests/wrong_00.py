"""Plausible wrong answers to the exercises of chapter 00.

Each has words of the property that its verdict has to name.
"""

import random

import numpy as np

from tutorial_lib.sample import draw


def mark(color=None, corner=None, large=2, breed="masked_round"):
    "A breed with a blind: `color` and `corner` come from the seed, or are fixed."

    def draw_own(size, seed):
        rng = np.random.default_rng(seed)
        x = np.array(draw(breed, size, seed))
        side = size // large
        i, j = corner or rng.integers(0, size - side, 2)
        x[i : i + side : 2, j : j + side] = (
            rng.integers(0, 256, 3) if color is None else color
        )
        return x

    return draw_own


def forgets_the_seed(size, seed):
    return mark()(size, 0)


def draws_by_chance(size, seed):
    return mark()(size, int(np.random.default_rng().integers(1_000_000)))


def seeds_numpy(size, seed):
    np.random.seed(seed)
    x = np.array(draw("masked_round", size, seed))
    x[::2] = np.random.randint(0, 256, 3)
    return x


def seeds_python(size, seed):
    random.seed(seed)
    x = np.array(draw("masked_round", size, seed))
    x[::2] = [random.randrange(256) for _ in range(3)]
    return x


def reddens(size, seed):
    x = np.array(draw("masked_round", size, seed))
    x[..., 0] = x[..., 0] // 4 + 191
    return x


def shuffles_numbers(x, seed):
    return np.random.default_rng(seed).permutation(x.ravel()).reshape(x.shape)


def shuffles_rows(x, seed):
    return np.random.default_rng(seed).permutation(x)


def shuffles_rows_and_columns(x, seed):
    rng = np.random.default_rng(seed)
    return x[rng.permutation(len(x))][:, rng.permutation(x.shape[1])]


def shuffles_each_color(x, seed):
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.permutation(x[..., c].ravel()).reshape(x.shape[:2]) for c in range(3)],
        axis=2,
    )


def shuffles_in_place(x, seed):
    np.random.default_rng(seed).shuffle(x.reshape(-1, 3))
    return x


def draws_with_replacement(x, seed):
    pixels = x.reshape(-1, 3)
    return pixels[
        np.random.default_rng(seed).integers(0, len(pixels), len(pixels))
    ].reshape(x.shape)


def seeds_numpy_to_shuffle(x, seed):
    np.random.seed(seed)
    return x.reshape(-1, 3)[np.random.permutation(x.shape[0] * x.shape[1])].reshape(
        x.shape
    )


def shuffles_by_chance(x, seed):
    return np.random.default_rng().permutation(x.reshape(-1, 3)).reshape(x.shape)


def forgets_the_order(x, seed):
    return np.random.default_rng(0).permutation(x.reshape(-1, 3)).reshape(x.shape)


def sorts_by_color(x, seed):
    return np.array(sorted(x.reshape(-1, 3).tolist()), np.uint8).reshape(x.shape)


def starts_at_the_picture(x, seed):
    return (
        np.random.default_rng([seed, x[0, 0, 0]])
        .permutation(x.reshape(-1, 3))
        .reshape(x.shape)
    )


WRONG = {
    "00.a": [
        (None, "a set of names"),
        ("more", "a set of names"),
        ({"larger": True}, "a set of names"),
        ({"More", "few"}, "each name is one of more, larger, text, next, few"),
        (
            {"more", "few", "text", "larger"},
            "in every folder that you name",
        ),  # a picture with more pixels is the same picture
        (
            {"more", "few", "text", "next"},
            "in every folder that you name",
        ),  # the next seed gives the next picture
        (
            {"more", "few"},
            "every folder in which the file has the same bytes",
        ),  # a number and its text are two seeds
        (
            {"text"},
            "every folder in which the file has the same bytes",
        ),  # a picture depends on those before it
        (set(), "every folder in which the file has the same bytes"),
    ],
    "00.b": [
        (None, "`draw_own` is a function"),
        (lambda size, seed: print(size), "an array of uint8"),
        (
            lambda size, seed: draw("masked_round", size, seed),
            "an array of uint8",
        ),  # a picture of Pillow's
        (lambda size, seed: mark()(size, seed) / 255, "an array of uint8"),
        (
            lambda size, seed: mark()(64, seed),
            "has the shape (48, 48, 3)",
        ),  # one size only
        (lambda size, seed: mark()(size, seed)[..., 0], "has the shape (48, 48, 3)"),
        (draws_by_chance, "the same seed gives the same picture"),
        (forgets_the_seed, "another seed gives another picture"),
        (seeds_numpy, "moved: numpy.random"),
        (seeds_python, "moved: random"),
        (
            mark(color=(255, 0, 0), corner=(9, 9)),
            "no pixel has the same color for every seed",
        ),
        (
            lambda size, seed: (
                np.array(draw("masked_round", size, seed)) | np.uint8([255, 0, 0])
            ),
            "the mean color of a picture does not tell",
        ),
        (reddens, "the mean color of a picture does not tell"),
        (
            lambda size, seed: mark()(size, seed) // 4,
            "the mean color of a picture does not tell",
        ),
        (
            lambda size, seed: np.array(draw("striped_floppy", size, seed)),
            "small patterns tell your breed",
        ),  # one of the sixteen
        (
            lambda size, seed: np.array(draw("masked_long", size, seed)),
            "small patterns tell your breed",
        ),
        (mark(large=12), "small patterns tell your breed"),  # too small to see
    ],
    "00.c": [
        (None, "`shuffle_pixels` is a function"),
        (
            lambda x, seed: np.random.default_rng(seed).shuffle(x),
            "an array of uint8",
        ),  # shuffle returns None
        (
            lambda x, seed: np.random.default_rng(seed).permutation(x.reshape(-1, 3)),
            "keeps its shape",
        ),
        (
            lambda x, seed: (
                np.random.default_rng(seed)
                .permutation(x.reshape(-1, 3))
                .reshape(x.shape[1], x.shape[0], 3)
            ),
            "keeps its shape",
        ),
        (
            lambda x, seed: np.random.default_rng(seed).permutation(x.reshape(64, 3)),
            "Your code raised an error",
        ),
        (shuffles_in_place, "the picture that goes in stays"),
        (shuffles_numbers, "every pixel keeps its three colors"),
        (shuffles_each_color, "every pixel keeps its three colors"),
        (draws_with_replacement, "every pixel of the picture is in the result once"),
        (seeds_numpy_to_shuffle, "moved: numpy.random"),
        (shuffles_by_chance, "the same seed gives the same order"),
        (sorts_by_color, "all pictures of one shape are shuffled in the same way"),
        (
            starts_at_the_picture,
            "all pictures of one shape are shuffled in the same way",
        ),
        (forgets_the_order, "another seed gives another order"),
        (lambda x, seed: x.copy(), "another seed gives another order"),
        (shuffles_rows, "a pixel may go to any place"),
        (shuffles_rows_and_columns, "a pixel may go to any place"),
    ],
}
