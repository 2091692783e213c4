"""Plausible wrong answers to the exercises of chapter 03.

Each has words of the property that its verdict has to name.
"""

import torch
from torch.nn import functional as F


def convolved(x, weight, bias, stride=1, padding=0):
    "A right answer to 03.a."
    return F.conv2d(x[None], weight, bias, stride, padding)[0]


def turned(x, weight, bias, stride=1, padding=0):
    return convolved(x, weight.flip(2, 3), bias, stride, padding)


def without_bias(x, weight, bias, stride=1, padding=0):
    return convolved(x, weight, 0 * bias, stride, padding)


def without_stride(x, weight, bias, stride=1, padding=0):
    return convolved(x, weight, bias, 1, padding)


def smaller_windows(x, weight, bias, stride=1, padding=0):
    return convolved(x, weight, bias, stride, padding)[:, :-1, :-1]


def first_channel(x, weight, bias, stride=1, padding=0):
    return convolved(x[:1], weight[:, :1], bias, stride, padding)


def pads_in_place(x, weight, bias, stride=1, padding=0):
    got = convolved(x, weight, bias, stride, padding)
    x += 1
    return got


def naive(logits, y):
    e = logits.exp()
    return -(e / e.sum(1, keepdim=True))[range(len(y)), y].log().mean()


def with_epsilon(logits, y):
    return -(logits.softmax(1)[range(len(y)), y] + 1e-9).log().mean()


def summed(logits, y):
    return F.cross_entropy(logits, y, reduction="sum")


def one_by_one(logits, y):
    return F.cross_entropy(logits, y, reduction="none")


def binary_logarithm(logits, y):
    return F.cross_entropy(logits, y) / torch.log(torch.tensor(2.0))


def without_gradient(logits, y):
    return F.cross_entropy(logits.detach(), y).requires_grad_()


def rolled(x):
    moves = torch.randint(-1, 2, (len(x), 2)).tolist()
    return torch.stack([p.roll(m, (1, 2)) for p, m in zip(x, moves)])


def together(x):
    top, left = torch.randint(0, 3, (2,)).tolist()
    return F.pad(x, (1, 1, 1, 1))[:, :, top : top + 8, left : left + 8]


def never_down(x):
    padded, moves = F.pad(x, (1, 1, 1, 1)), torch.randint(0, 2, (len(x), 2)).tolist()
    parts = [p[:, a : a + 8, b : b + 8] for p, (a, b) in zip(padded, moves)]
    return torch.stack(parts)


def larger(x):
    return F.pad(x, (1, 1, 1, 1))


WRONG = {
    "03.a": [
        (turned, "is the kernel turned"),
        (without_bias, "plus the bias"),
        (first_channel, "all channels"),
        (without_stride, "with stride 2"),
        (smaller_windows, "Count the places"),
        (pads_in_place, "stay as they were"),
    ],
    "03.b": [
        (naive, "is a finite number"),
        (with_epsilon, "is the mean of"),
        (summed, "is the mean of"),
        (one_by_one, "one number"),
        (binary_logarithm, "natural logarithm"),
        (without_gradient, "its gradient"),
    ],
    "03.c": [
        (rolled, "zeros come in"),
        (together, "in different ways"),
        (never_down, "all nine moves"),
        (larger, "shape and dtype"),
        (lambda x: x, "in different ways"),
    ],
}
