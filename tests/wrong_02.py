"""Plausible wrong answers to the exercises of chapter 02.

Each has words of the property that its verdict has to name.
"""

import torch


def writes_into_mixed(mixed):
    n, c, h, w = mixed.shape
    return mixed.copy_(mixed.clone().view(n, h, w, c).permute(0, 3, 1, 2))


def swaps_rows_and_columns(mixed):
    n, c, h, w = mixed.shape
    return mixed.view(n, w, h, c).permute(0, 3, 2, 1)


def copies(mixed):
    n, c, h, w = mixed.shape
    return mixed.reshape(n, h, w, c).permute(0, 3, 1, 2).contiguous()


def writes_into_xb(xb):
    xb -= xb.mean((0, 2, 3), keepdim=True)
    xb /= xb.std((0, 2, 3), keepdim=True)
    return xb


def standardizes(dims, keepdim=True):
    return lambda xb: (
        (xb - xb.mean(dims, keepdim=keepdim)) / xb.std(dims, keepdim=keepdim)
    )


LAYOUTS = {
    "standard": torch.zeros(2, 3, 4, 5),
    "channels last": torch.zeros(2, 4, 5, 3).permute(0, 3, 1, 2),
    "both": torch.zeros(2, 1, 4, 5),
    "neither": torch.zeros(2, 3, 4, 10)[..., ::2],
}

WRONG = {
    "02.a": [
        (None, "a set of whole numbers"),
        (["xb.flatten(2)", "xb.float()"], "a set of whole numbers"),
        ({0, 1, 2, 4, 7}, "from 1 to 8"),  # counts from 0
        (
            {1, 2, 3, 5, 8},
            "every line that you name shares the memory",
        ),  # contiguous never copies
        (
            {2, 3, 4, 5, 8},
            "every line that you name shares the memory",
        ),  # a list of indices is a slice
        (
            {2, 3, 5, 6, 8},
            "every line that you name shares the memory",
        ),  # flatten never copies
        (
            {2, 5, 8},
            "every line that shares the memory of `xb` is named",
        ),  # flatten always copies
        (
            [2, 3],
            "every line that shares the memory of `xb` is named",
        ),  # what has nothing to do copies
    ],
    "02.b": [
        (None, "`restore` is a function"),
        (lambda mixed: print(mixed.shape), "the result is a tensor"),
        (lambda mixed: mixed.numpy(), "the result is a tensor"),
        (lambda mixed: mixed.permute(0, 2, 3, 1), "comes a result of that shape"),
        (
            lambda mixed: mixed.permute(0, 2, 3, 1).reshape(mixed.shape),
            "`result[i, c]` is the plane of color `c`",
        ),
        (lambda mixed: mixed.flip(1), "`result[i, c]` is the plane of color `c`"),
        (lambda mixed: mixed, "`result[i, c]` is the plane of color `c`"),
        (
            lambda mixed: (
                mixed.view(len(mixed), *mixed.shape[2:], 3).permute(0, 3, 1, 2).float()
            ),
            "the dtype stays",
        ),
        (swaps_rows_and_columns, "`result[i, c]` is the plane of color `c`"),
        (
            lambda mixed: mixed.view(-1, 96, 96, 3).permute(0, 3, 1, 2),
            "Your code raised an error",
        ),
        (copies, "there is no copy"),
        (writes_into_mixed, "`mixed` stays as it was"),
    ],
    "02.c": [
        (torch.zeros(2, 3, 4, 5), "`standardize` is a function"),
        (lambda xb: standardizes((0, 2, 3))(xb)[0], "keeps its shape"),
        (lambda xb: print(xb.mean()), "the result is a tensor"),
        (lambda xb: standardizes((0, 2, 3))(xb).numpy(), "the result is a tensor"),
        (lambda xb: standardizes((0, 2, 3))(xb.double()), "the dtype stays"),
        (writes_into_xb, "stays as it was"),
        (standardizes((0, 1, 2, 3)), "the mean of each channel is 0"),
        (
            standardizes((0, 2, 3), keepdim=False),
            "the mean of each channel is 0",
        ),  # the means stand under the columns
        (standardizes((1, 2, 3)), "the mean of each channel is 0"),
        (standardizes((2, 3)), "one shift and one scale serve all"),
        (standardizes((0, 2)), "one shift and one scale serve all"),
        (
            lambda xb: xb - xb.mean((0, 2, 3), keepdim=True),
            "the standard deviation of each channel is 1",
        ),
        (
            lambda xb: (
                (xb - xb.mean((0, 2, 3), keepdim=True))
                / xb.var((0, 2, 3), keepdim=True)
            ),
            "the standard deviation of each channel is 1",
        ),
        (
            lambda xb: (xb - xb.mean((0, 2, 3), keepdim=True)) / xb.std(),
            "the standard deviation of each channel is 1",
        ),
    ],
    "02.d": [
        (list(LAYOUTS.values()), "`layouts` is a dict"),
        ({k: v for k, v in LAYOUTS.items() if k != "neither"}, "its keys are"),
        (LAYOUTS | {"both": None}, "stands a tensor"),
        (LAYOUTS | {"both": torch.zeros(12)}, "has four axes"),
        (LAYOUTS | {"both": torch.zeros(1, 1, 1, 1)}, "at least 12 numbers"),
        (
            LAYOUTS | {"standard": LAYOUTS["both"]},
            "the tensor under 'standard' has that layout",
        ),
        (
            LAYOUTS | {"channels last": torch.zeros(2, 4, 5, 3)},
            "the tensor under 'channels last' has that layout",
        ),  # last by name only
        (
            LAYOUTS
            | {
                "both": LAYOUTS["standard"].contiguous(
                    memory_format=torch.channels_last
                )
            },
            "the tensor under 'both' has that layout",
        ),
        (
            LAYOUTS | {"neither": LAYOUTS["channels last"]},
            "the tensor under 'neither' has that layout",
        ),
    ],
}
