"""Plausible wrong answers to the exercises of chapter 06.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import torch
import torch.nn.functional as F

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


def buffered(
    block,
    x,
    prepare=None,
    run=None,
    start=None,
    after=0,
    result=lambda out, n: out,
    grad=False,
    new=None,
):
    "A right answer to 06.c. Each argument spoils one thing."
    n = x.shape[1]
    run = run or (
        lambda layer, xs: layer.conv2(
            layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(xs)))))
        )
    )
    with torch.set_grad_enabled(grad):
        out = (new or x.new_empty)(
            (
                x.shape[0],
                n + sum(layer.conv2.out_channels for layer in block.values()),
                *x.shape[2:],
            )
        )
        out[:, :n] = x
        if prepare:
            prepare(block)
        for layer in block.values():
            made = run(layer, out[:, :n] if start is None else start(out, n))
            out[:, n + after : n + after + made.shape[1]] = made[
                :, : out.shape[1] - n - after
            ]
            n += made.shape[1]
    return result(out, x.shape[1])


def holds_on(block, x):
    kept = []

    def run(layer, xs):
        kept.append(layer.norm1(xs))
        return layer.conv2(layer.relu2(layer.norm2(layer.conv1(layer.relu1(kept[-1])))))

    return buffered(block, x, run=run)


def names_it(block, x):
    n = x.shape[1]
    with torch.no_grad():
        out = x.new_empty(
            len(x),
            n + sum(layer.conv2.out_channels for layer in block.values()),
            *x.shape[2:],
        )
        out[:, :n] = x
        for layer in block.values():
            normed = layer.relu1(layer.norm1(out[:, :n]))
            made = layer.conv2(layer.relu2(layer.norm2(layer.conv1(normed))))
            out[:, n : n + made.shape[1]] = made
            n += made.shape[1]
    return out


def trains_a_little(block, x):
    out = buffered(block.train(), x)
    block.eval()
    return out


def grows(block, x):
    with torch.no_grad():
        for layer in block.values():
            new = layer.conv2(
                layer.relu2(layer.norm2(layer.conv1(layer.relu1(layer.norm1(x)))))
            )
            x = torch.cat([x, new], 1)
    return x


def separate(layer, xs, batch=False):
    norm = (
        F.batch_norm(
            xs, None, None, layer.norm1.weight, layer.norm1.bias, training=True
        )
        if batch
        else layer.norm1(xs)
    )
    return layer.conv2(layer.relu2(layer.norm2(layer.conv1(F.relu(norm)))))


def switches_off(block, x):
    torch.set_grad_enabled(False)
    return buffered(block, x)


def reads_what_came(block, x):
    return buffered(
        block, x, start=lambda out, n: torch.cat([x, out[:, x.shape[1] : n]], 1)
    )


def relu_first(layer, xs):
    return layer.conv2(
        layer.relu2(layer.norm2(layer.conv1(layer.norm1(layer.relu1(xs)))))
    )


def relu_of_x(block, x):
    x.relu_()
    return buffered(block, x)


def new_ones_first(block, x):
    out = buffered(block, x)
    return torch.cat([out[:, x.shape[1] :], out[:, : x.shape[1]]], 1)


KEPT = {}


def keeps_its_buffer(block, x):
    def new(shape):
        return KEPT.setdefault((shape, x.dtype), x.new_empty(shape))

    return buffered(block, x, new=new)


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
    "06.c": [
        (None, "`one_buffer` is a function"),
        (lambda block, x: print(buffered(block, x).shape), "the result is a tensor"),
        (partial(buffered, result=lambda out, n: [out]), "the result is a tensor"),
        (
            partial(buffered, result=lambda out, n: out[:, n:]),
            "channels, of the same height and width",
        ),
        (
            partial(buffered, result=lambda out, n: out.half()),
            "the result has the dtype of `x`",
        ),
        (partial(buffered, new=torch.empty), "Your code raised an error"),
        (relu_of_x, "`x` stays as it was"),
        (
            partial(buffered, prepare=lambda block: block.train()),
            "the block stays in evaluation mode",
        ),
        (trains_a_little, "the block stays as it was"),
        (lambda block, x: block(x), "no gradients are recorded"),
        (partial(buffered, grad=True), "no gradients are recorded"),
        (switches_off, "gradients are recorded again for everybody else"),
        (
            partial(buffered, run=relu_first),
            "the first channels of the result are those of `x`",
        ),
        (new_ones_first, "the first channels of the result are those of `x`"),
        (
            partial(buffered, start=lambda out, n: out[:, :n].clone().relu_()),
            "the channels of each layer",
        ),
        (partial(buffered, after=1), "the channels of each layer"),
        (
            partial(buffered, run=lambda layer, xs: separate(layer, xs, batch=True)),
            "the channels of each layer",
        ),
        (
            partial(
                buffered,
                run=lambda layer, xs: layer.conv2(
                    layer.norm2(layer.conv1(layer.norm1(xs)))
                ),
            ),
            "the channels of each layer",
        ),
        (torch.no_grad()(lambda block, x: block(x)), "one large tensor at most"),
        (
            partial(buffered, run=lambda layer, xs: layer(xs)),
            "one large tensor at most",
        ),
        (partial(buffered, run=separate), "one large tensor at most"),
        (grows, "one large tensor at most"),
        (reads_what_came, "one large tensor at most"),
        (names_it, "gone before the next layer makes its own"),
        (holds_on, "gone before the next layer makes its own"),
        (keeps_its_buffer, "a second call leaves the result of the first"),
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
