"""Plausible wrong answers to the exercises of chapter 06.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import torch

from tutorial_lib.densenet import ARCHITECTURES, DenseNet

SLIM = dict(
    growth_rate=12,
    block_config=(8, 9, 14),
    num_init_features=72,
    bn_size=2,
    num_classes=10,
    small_images=True,
)


def without(key):
    return {k: v for k, v in SLIM.items() if k != key}


def chained(layers, x):
    "A plain network: each layer reads what the last one made."
    made = [x]
    for layer in layers:
        made.append(layer(made[-1]))
    return torch.cat(made, 1)


def listed(layers, x, read=lambda xs: torch.cat(xs, 1), put=list.append, result=None):
    "A right answer to 06.e. Each argument spoils one thing."
    xs = [x]
    for layer in layers:
        put(xs, layer(read(xs)))
    return (result or (lambda xs: torch.cat(xs, 1)))(xs)


def calls_twice(layers, x):
    for layer in layers:
        layer(x)
    return listed(layers, x)


def zeroes_x(layers, x):
    out = listed(layers, x)
    x.data.zero_()
    return out


def forgetful(block, x, window, blank=torch.zeros_like, off=0, keep=False, first=False):
    "A right answer to 06.f. Each argument spoils one thing."
    xs = [x]
    for layer in block.values():
        n_old = max(0, len(xs) - window + off)
        read = [
            t if i >= n_old or (first and i == 0) else blank(t)
            for i, t in enumerate(xs)
        ]
        xs = (read if keep else xs) + [layer(*read)]
    return torch.cat(xs, 1)


def forgets_nothing(block, x, window):
    return block(x)


WRONG = {
    "06.a": [
        (None, "`slim` is a dict"),
        ((12, (8, 9, 14), 72), "`slim` is a dict"),
        (DenseNet(**SLIM), "`slim` is a dict"),
        (SLIM | {"growth": 12}, "there is no key 'growth'"),
        (SLIM | {"bn_size": 0.5}, "an architecture that `DenseNet` can build"),
        (SLIM | {"block_config": 31}, "an architecture that `DenseNet` can build"),
        (without("num_classes"), "the network is for 10 classes"),
        (without("small_images"), "the network is for small pictures"),
        (without("block_config"), "there are three blocks"),
        (SLIM | {"block_config": (14, 18)}, "there are three blocks"),
        (ARCHITECTURES["densenet_tiny"], "there are at least 28 dense layers"),
        (
            SLIM | {"block_config": (4, 8, 16), "num_init_features": 4},
            "the classifier meets 264 channels",
        ),
        (SLIM | {"block_config": (8, 9, 13)}, "the classifier meets 264 channels"),
        (SLIM | {"block_config": (8, 9, 99_999)}, "the classifier meets 264 channels"),
        (
            SLIM
            | {"growth_rate": 11, "block_config": (5, 9, 17), "num_init_features": 56},
            "an even number of channels",
        ),
        (without("bn_size"), "parameters"),
        (SLIM | {"bn_size": 4}, "A bottleneck of `bn_size*growth_rate` channels"),
        (SLIM | {"bn_size": 3}, "parameters"),
    ],
    "06.e": [
        (None, "`dense_block` is a function"),
        (lambda layers, x: print(listed(layers, x)), "the result is a tensor"),
        (chained, "layer 2 reads what came in and what all layers before it made"),
        (
            partial(listed, read=lambda xs: torch.cat(xs[::-1], 1)),
            "layer 2 reads all channels so far, the oldest first",
        ),
        (
            partial(listed, put=lambda xs, new: xs.insert(0, new)),
            "what came in stands first",
        ),
        (calls_twice, "each layer is called once"),
        (
            partial(listed, result=lambda xs: torch.cat(xs[1:] or xs, 1)),
            "from 5 channels, 1 layers of 2 make 7",
        ),
        (
            partial(listed, result=lambda xs: torch.cat(xs[::-1], 1)),
            "what came in stands first",
        ),
        (zeroes_x, "`x` stays as it was"),
        (torch.no_grad()(listed), "gradients reach `x`"),
    ],
    "06.f": [
        (None, "`forget` is a function"),
        (lambda block, x, window: print(block(x)), "the result is a tensor"),
        (forgets_nothing, "with a window of 2 each layer reads the last 2 tensors"),
        (partial(forgetful, off=1), "each layer reads the last 2 tensors"),
        (partial(forgetful, off=-1), "each layer reads the last 2 tensors"),
        (partial(forgetful, blank=torch.ones_like), "zeros in place of older ones"),
        (partial(forgetful, first=True), "each layer reads the last 2 tensors"),
        (partial(forgetful, keep=True), "the result begins with `x`"),
        (
            partial(forgetful, blank=lambda t: t.zero_()),
            "`x` stays as it was",
        ),
    ],
}
