"""Plausible wrong answers to the exercises of chapter 04.

Each has words of the property that its verdict has to name.
"""

from contextlib import suppress
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from tutorial_lib.modules import SmallNet, record_shapes, rename_keys


class Net(nn.Module):
    "A right answer to 04.a. Each class below spoils one thing."

    def __init__(self, n_out):
        super().__init__()
        self.conv1, self.conv2, self.fc = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 16, 3),
            nn.Linear(16, n_out),
        )

    def body(self, x):
        return self.conv2(F.relu(self.conv1(x))).mean((2, 3))

    def forward(self, x):
        return self.fc(self.body(x))


class OneSize(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 2, 5, stride=4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * 15 * 15, n_out),
        )

    def forward(self, x):
        return self.net(x)


class Lost(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.layers, self.fc = [nn.Conv2d(3, 8, 3), nn.ReLU()], nn.Linear(8, n_out)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class Dropping(Net):
    def forward(self, x):
        return self.fc(F.dropout(self.body(x), 0.5))


class Normalizing(Net):
    def forward(self, x):
        return self.fc(F.batch_norm(self.body(x), None, None, training=True))


class Straight(Net):
    def body(self, x):
        return self.conv2(self.conv1(x)).mean((2, 3))


class Probabilities(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Unused(Net):
    def __init__(self, n_out):
        super().__init__(n_out)
        self.spare = nn.Linear(2, 2)


class Frozen(Net):
    def __init__(self, n_out):
        super().__init__(n_out)
        self.conv1.requires_grad_(False)


class TwoClasses(Net):
    def __init__(self, n_out):
        super().__init__(2)


class Silent(Net):
    def forward(self, x):
        print(super().forward(x).shape)


class Forgetful(nn.Module):
    def __init__(self, n_out):
        self.fc = nn.Linear(3, n_out)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


def shapes(
    model,
    xb,
    modules=None,
    catch=Exception,
    in_eval=True,
    back=None,
    clean=True,
    clear=False,
    as_dict=False,
    mute=False,
    shape=tuple,
):
    "A right answer to 04.b. Each argument spoils one thing."
    rows, handles, modes = [], [], {m: m.training for m in model.modules()}

    def record(name, module, args, output):
        rows.append((name, shape(output.shape)))

    for name, m in model.named_modules():
        if modules == "all" or not list(m.children()):
            handles.append(m.register_forward_hook(partial(record, name)))
    if in_eval:
        model.eval()
    with torch.no_grad(), suppress(catch):
        model(xb)
    if clear:
        for m in model.modules():
            m._forward_hooks.clear()
    if clean:
        for h in handles:
            h.remove()
    if back == "train":
        model.train()
    elif back is None:
        for m, mode in modes.items():
            m.training = mode
    return None if mute else dict(rows) if as_dict else rows


def clean_on_success(model, xb):
    rows, handles = [], []

    def record(name, module, args, output):
        rows.append((name, tuple(output.shape)))

    for name, m in model.named_modules():
        if not list(m.children()):
            handles.append(m.register_forward_hook(partial(record, name)))
    modes = {m: m.training for m in model.modules()}
    model.eval()
    with suppress(RuntimeError, KeyError):
        model(xb)
        for h in handles:
            h.remove()
        for m, mode in modes.items():
            m.training = mode
    return rows


def in_order_of_names(model, xb):
    found = dict(shapes(model, xb))
    return [(name, found[name]) for name, _ in model.named_modules() if name in found]


def recorded(model, xb):
    table = record_shapes(model, xb)
    return list(zip(table.name, table.output))


RULES = [
    (r"^module\.", ""),
    (r"^features\.c", "body.conv"),
    (r"^features\.n", "body.bn"),
    (r"^classifier\.l", "head.fc"),
    (r"gamma$", "weight"),
    (r"beta$", "bias"),
    (r"(mean|var)$", r"running_\1"),
    (r"count$", "num_batches_tracked"),
]


def loads(rules, strict=True, assign=False):
    def load_theirs(net, checkpoint):
        net.load_state_dict(
            rename_keys(checkpoint["model"], rules), strict=strict, assign=assign
        )
        return net

    return load_theirs


def forgets_to_return(net, checkpoint):
    net.load_state_dict(rename_keys(checkpoint["model"], RULES))


def returns_the_keys(net, checkpoint):
    return net.load_state_dict(rename_keys(checkpoint["model"], RULES))


def takes_apart(net, checkpoint):
    state = checkpoint.pop("model")
    net.load_state_dict(rename_keys(state, RULES))
    return net


def renames_in_place(net, checkpoint):
    state = checkpoint["model"]
    for old, new in zip(list(state), rename_keys(state, RULES)):
        state[new] = state.pop(old)
    net.load_state_dict(state)
    return net


def by_order(net, checkpoint):
    net.load_state_dict(dict(zip(net.state_dict(), checkpoint["model"].values())))
    return net


def of_one_size(net, checkpoint):
    return loads(RULES)(SmallNet(2), checkpoint)


def ignores_others(net, checkpoint):
    state = rename_keys(checkpoint["model"], RULES)
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    return net


def forgets_batches(net, checkpoint):
    state = rename_keys(checkpoint["model"], RULES)
    net.load_state_dict(
        {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
        strict=False,
    )
    return net


SWAPPED = [*RULES[:4], (r"gamma$", "bias"), (r"beta$", "weight"), *RULES[6:]]
STATISTICS = [
    *RULES[:6],
    (r"mean$", "running_var"),
    (r"n(\d)\.var$", r"n\1.running_mean"),
    RULES[7],
]


def merged(weight, bias):
    def merge(fc1, fc2):
        fc = nn.Linear(fc1.in_features, fc2.out_features)
        with torch.no_grad():
            fc.weight.copy_(weight(fc1, fc2))
            fc.bias.copy_(bias(fc1, fc2))
        return fc

    return merge


def product(fc1, fc2):
    return fc2.weight @ fc1.weight


def both_biases(fc1, fc2):
    return fc2.weight @ fc1.bias + fc2.bias


def writes_into_fc1(fc1, fc2):
    fc1.bias.data = both_biases(fc1, fc2).detach()
    fc1.weight.data = product(fc1, fc2).detach()
    return fc1


def of_any_size(fc1, fc2):
    fc = nn.Linear(1, 1)
    fc.weight.data, fc.bias.data = (
        product(fc1, fc2).detach(),
        both_biases(fc1, fc2).detach(),
    )
    return fc


def without_bias(fc1, fc2):
    fc = nn.Linear(fc1.in_features, fc2.out_features, bias=False)
    fc.weight.data = product(fc1, fc2).detach()
    return fc


def still_in_the_graph(fc1, fc2):
    fc = nn.Linear(fc1.in_features, fc2.out_features)
    del fc.weight, fc.bias
    fc.weight, fc.bias = product(fc1, fc2), both_biases(fc1, fc2)
    return fc


def frozen(fc1, fc2):
    return merged(product, both_biases)(fc1, fc2).requires_grad_(False)


WRONG = {
    "04.a": [
        (Net(10), "`Tiny` is a class"),
        (lambda n_out: Net(n_out), "`Tiny` is a class"),
        (Forgetful, "before Module.__init__() call"),
        (Silent, "the network gives a tensor"),
        (TwoClasses, "come logits of shape"),
        (OneSize, "shapes cannot be multiplied"),
        (SmallNet, "fewer than 10,000 parameters"),
        (Dropping, "the same images give the same logits twice"),
        (Normalizing, "do not depend on its neighbors"),
        (Lost, "two networks with the same state dict"),
        (Probabilities, "logits, not probabilities"),
        (Straight, "more than one linear map"),
        (Unused, "every parameter gets a gradient"),
        (Frozen, "every parameter gets a gradient"),
    ],
    "04.b": [
        (None, "`shapes_so_far` is a function"),
        (partial(shapes, mute=True), "the result is a list"),
        (partial(shapes, as_dict=True), "the result is a list"),
        (record_shapes, "the result is a list"),
        (recorded, "an error of the model, of whatever kind"),
        (
            partial(shapes, catch=RuntimeError),
            "an error of the model, of whatever kind",
        ),
        (partial(shapes, modules="all"), "only layers, modules without children"),
        (in_order_of_names, "in the order of the calls"),
        (lambda model, xb: sorted(shapes(model, xb)), "in the order of the calls"),
        (
            partial(shapes, shape=list),
            "each shape is that of the layer's output, as a tuple",
        ),
        (
            partial(shapes, shape=lambda s: tuple(s[1:])),
            "each shape is that of the layer's output, as a tuple",
        ),
        (
            lambda model, xb: [name for name, _ in shapes(model, xb)],
            "a pair of a name and a shape",
        ),
        (
            lambda model, xb: shapes(model, xb) and shapes(model, xb),
            "the model is called once",
        ),
        (partial(shapes, clean=False), "no hook of yours is left"),
        (clean_on_success, "no hook of yours is left"),
        (partial(shapes, clear=True), "the hooks of others are still there"),
        (partial(shapes, back="train"), "the mode that it was in"),
        (partial(shapes, back="eval"), "the mode that it was in"),
        (partial(shapes, in_eval=False), "no parameter and no buffer has changed"),
    ],
    "04.c": [
        (RULES, "`load_theirs` is a function"),
        (forgets_to_return, "the result is `net` itself"),
        (returns_the_keys, "the result is `net` itself"),
        (of_one_size, "the result is `net` itself"),
        (lambda net, checkpoint: net, "the tensors of the checkpoint are in `net`"),
        (loads(RULES[1:]), "Missing key(s)"),
        (loads([], strict=False), "the tensors of the checkpoint are in `net`"),
        (loads(RULES[:4], strict=False), "`net` gives the logits"),
        (loads(RULES[:6], strict=False), "`net` gives the logits"),
        (loads(SWAPPED), "`net` gives the logits"),
        (loads(STATISTICS), "`net` gives the logits"),
        (by_order, "Your code raised an error"),
        (forgets_batches, "every tensor of `net` is the one of the checkpoint"),
        (takes_apart, "the checkpoint keeps its parts"),
        (renames_in_place, "the checkpoint keeps its names"),
        (loads(RULES, assign=True), "the checkpoint stays as it was"),
        (loads(RULES, strict=False), "lacks a tensor is refused"),
        (ignores_others, "has a tensor too many is refused"),
    ],
    "04.d": [
        (None, "`merge` is a function"),
        (lambda fc1, fc2: nn.Sequential(fc1, fc2), "the result is one `nn.Linear`"),
        (lambda fc1, fc2: fc2.weight @ fc1.weight, "the result is one `nn.Linear`"),
        (lambda fc1, fc2: fc2, "the result is a new layer"),
        (writes_into_fc1, "`fc1` and `fc2` stay as they were"),
        (without_bias, "the layer has a bias"),
        (of_any_size, "the layer goes from"),
        (merged(product, lambda fc1, fc2: fc2.bias), "an input of zeros gives"),
        (
            merged(product, lambda fc1, fc2: fc1.bias + fc2.bias),
            "an input of zeros gives",
        ),
        (
            merged(lambda fc1, fc2: fc1.weight @ fc2.weight, both_biases),
            "every input gives",
        ),
        (
            merged(lambda fc1, fc2: product(fc1, fc2).T, both_biases),
            "every input gives",
        ),
        (still_in_the_graph, "weight and bias of the new layer are parameters"),
        (frozen, "the new layer can be trained"),
    ],
}
