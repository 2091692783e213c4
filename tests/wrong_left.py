"""Plausible wrong answers to exercises that have left their pages.

Their checks stay, under their names."""

import copy
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from tutorial_lib.densenet import DenseNet, densenet121


def one_channel(
    model,
    weight=lambda w: w.sum(1, keepdim=True),
    renew=None,
    says=1,
    train=None,
    thaw=False,
):
    "A right answer to 06.b. Each argument spoils one thing."
    new = copy.deepcopy(model)
    conv = new.features.conv0
    conv.weight = nn.Parameter(
        weight(conv.weight.detach()), requires_grad=conv.weight.requires_grad
    )
    if says:
        conv.in_channels = says
    if renew:
        new.features.conv0 = renew(conv)
    if train is not None:
        new.train(train)
    if thaw:
        new.requires_grad_(True)
    return new


def writes_into_the_model(model):
    model.features.conv0 = one_channel(model).features.conv0
    return model


def shallow(model):
    new = copy.copy(model)
    new.features.conv0 = one_channel(model).features.conv0
    return new


def shares(model):
    new = one_channel(model)
    for name in ("features.norm5", "classifier"):
        new.set_submodule(name, model.get_submodule(name))
    return new


def forgets_weights(model):
    new = DenseNet(**model.config)
    new.features.conv0 = one_channel(model).features.conv0
    return new


def forgets_statistics(model):
    new, state = forgets_weights(model), dict(model.named_parameters())
    state.pop("features.conv0.weight")
    new.load_state_dict({k: v.detach() for k, v in state.items()}, strict=False)
    return new


def built_anew(model):
    new = forgets_weights(model)
    new.load_state_dict(one_channel(model).state_dict())
    return new


class Repeats(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.repeat(1, 3, 1, 1))


def adds_a_layer(model):
    new = copy.deepcopy(model)
    new.features = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), new.features)
    nn.init.ones_(new.features[0].weight)
    return new


def plain_conv(conv):
    new = nn.Conv2d(1, conv.out_channels, conv.kernel_size, bias=False)
    new.weight = conv.weight
    return new


def with_bias(conv):
    new = nn.Conv2d(1, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    new.weight = conv.weight
    return new


def deeper(
    model,
    n,
    zero=("classifier.weight",),
    copied=lambda name: True,
    front=(),
    more=0,
    shares=False,
    dead=(),
    noise=0.0,
):
    "A right answer to 06.d. Each argument spoils one thing."
    *first, last = model.config["block_config"]
    new = DenseNet(**model.config | dict(block_config=(*first, last + n + more)))
    state, old = new.state_dict(), model.state_dict()
    with torch.no_grad():
        for name in zero:
            state[name].zero_()
        for name, v in old.items():
            if not copied(name):
                continue
            place = [
                slice(-size, None) if name in front else slice(size) for size in v.shape
            ]
            state[name][tuple(place)] = v
        for name, v in state.items():
            if name not in old and name.endswith(dead or "?"):
                v.zero_()
            if name == "classifier.weight" and noise:
                v[:, old[name].shape[1] :] = noise
    if shares:
        new.features.conv0.weight = model.features.conv0.weight
    return new


def zero_convolution(model, n):
    "New channels, their scales and their shifts are 0: no number can begin to change."
    new, n_old = (
        deeper(model, n, zero=(), dead=("conv2.weight",)),
        model.classifier.in_features,
    )
    with torch.no_grad():
        new.features.norm5.bias[n_old:] = 0
    return new


def into_the_first_block(model, n):
    first, *rest = model.config["block_config"]
    new = DenseNet(**model.config | dict(block_config=(first + n, *rest)))
    state = new.state_dict()
    for name, v in model.state_dict().items():
        state[name][tuple(map(slice, v.shape))] = v
    return new


def appended(model, n):
    "Hangs new layers into a copy, and forgets what reads them."
    new = copy.deepcopy(model)
    block = list(new.features.children())[-2]
    layer, made = list(block.values())[-1], len(block)
    for i in range(n):
        block[f"denselayer{made + i + 1}"] = type(layer)(
            layer.norm1.num_features + (i + 1) * layer.conv2.out_channels,
            layer.conv2.out_channels,
            model.config["bn_size"],
        )
    new.config = deeper(model, n).config
    return new


def grown_in_place(model, n):
    new = deeper(model, n)
    model.features, model.classifier, model.config = (
        new.features,
        new.classifier,
        new.config,
    )
    return model


def changes_config(model, n):
    new = deeper(model, n)
    model.config["block_config"] = new.config["block_config"]
    return new


def old_config(model, n):
    new = deeper(model, n)
    new.config = dict(model.config)
    return new


class Hidden(DenseNet):
    "Its `forward` reads fewer channels than its classifier has."

    def forward(self, x):
        x = F.relu(self.features(x)).mean((2, 3))
        return F.linear(
            x[:, : self.n], self.classifier.weight[:, : self.n], self.classifier.bias
        )


def hides(model, n):
    new = deeper(model, n, zero=())
    new.__class__, new.n = Hidden, model.classifier.in_features
    return new


def frozen(model, n):
    new = deeper(model, n)
    for layer in list(new.features.children())[-2].values():
        layer.requires_grad_(False)
    return new


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


WRONG = {
    "06.b": [
        (None, "`gray` is a function"),
        (lambda model: print(one_channel(model)), "the result is a network"),
        (lambda model: one_channel(model).state_dict(), "the result is a network"),
        (writes_into_the_model, "the result is a new network"),
        (lambda model: model, "the result is a new network"),
        (shallow, "the network that you were given keeps its weights"),
        (
            lambda model: one_channel(model.eval()),
            "keeps the mode and the frozen parts",
        ),
        (
            lambda model: one_channel(model.requires_grad_(True)),
            "keeps the mode and the frozen parts",
        ),
        (Repeats, "its state dict has the names of the old one"),
        (adds_a_layer, "its state dict has the names of the old one"),
        (
            partial(one_channel, renew=with_bias),
            "its state dict has the names of the old one",
        ),
        (copy.deepcopy, "features.conv0.weight is of shape"),
        (
            partial(one_channel, weight=lambda w: w.sum(1)),
            "features.conv0.weight is of shape",
        ),
        (lambda model: densenet121(), "its state dict has the names of the old one"),
        (forgets_weights, "all tensors but that of the first convolution"),
        (forgets_statistics, "all tensors but that of the first convolution"),
        (partial(one_channel, says=None), "says that it takes one channel"),
        (partial(one_channel, renew=plain_conv), "keeps its stride and its padding"),
        (
            partial(one_channel, weight=lambda w: w.mean(1, keepdim=True)),
            "the logits of a gray picture",
        ),
        (
            partial(one_channel, weight=lambda w: w[:, :1].clone()),
            "the logits of a gray picture",
        ),
        (
            partial(
                one_channel,
                weight=lambda w: (
                    w * torch.tensor([0.299, 0.587, 0.114])[:, None, None]
                ).sum(1, keepdim=True),
            ),
            "the logits of a gray picture",
        ),
        (
            partial(one_channel, train=False),
            "each part of the new network is in the mode",
        ),
        (
            partial(one_channel, train=True),
            "each part of the new network is in the mode",
        ),
        (built_anew, "each part of the new network is in the mode"),
        (partial(one_channel, thaw=True), "what was frozen is frozen"),
        (shares, "the two networks share no tensor"),
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
    "06.d": [
        (None, "`deepen` is a function"),
        (lambda model, n: deeper(model, n).state_dict(), "the result is a network"),
        (lambda model, n: print(deeper(model, n)), "the result is a network"),
        (lambda model, n: model, "the result is a new network"),
        (grown_in_place, "the result is a new network"),
        (changes_config, "the network that you were given stays as it was"),
        (lambda model, n: deeper(model.train(), n), "stays in evaluation mode"),
        (lambda model, n: copy.deepcopy(model), "its `config` says what it is"),
        (old_config, "its `config` says what it is"),
        (lambda model, n: deeper(model, 1), "its `config` says what it is"),
        (partial(deeper, more=1), "its `config` says what it is"),
        (into_the_first_block, "its `config` says what it is"),
        (appended, "names and shapes of a `DenseNet` made from its config"),
        (
            lambda model, n: DenseNet(**deeper(model, n).config),
            "the numbers of the old network stand where they stood",
        ),
        (
            partial(deeper, copied=lambda name: "running" not in name),
            "the numbers of the old network stand where they stood",
        ),
        (
            partial(deeper, copied=lambda name: "num_batches" not in name),
            "the numbers of the old network stand where they stood",
        ),
        (
            partial(deeper, copied=lambda name: "norm5" not in name),
            "the numbers of the old network stand where they stood",
        ),
        (
            partial(deeper, front=("classifier.weight",)),
            "the numbers of the old network stand where they stood",
        ),
        (
            partial(deeper, zero=()),
            "in evaluation mode the logits are those of the old network",
        ),
        (
            partial(deeper, noise=0.1),
            "in evaluation mode the logits are those of the old network",
        ),
        (
            partial(
                deeper, zero=("features.norm5.weight", "features.norm5.bias"), noise=1.0
            ),
            "gradients reach all that is new",
        ),
        (partial(deeper, dead=("conv2.weight",)), "gradients reach all that is new"),
        (zero_convolution, "gradients reach all that is new"),
        (hides, "gives the same logits"),
        (frozen, "gradients reach all that is new"),
        (partial(deeper, shares=True), "the two networks share no tensor"),
    ],
}
