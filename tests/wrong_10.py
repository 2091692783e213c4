"""Plausible wrong answers to the exercises of chapter 10.

Each has words of the property that its verdict has to name.
"""

import copy
from functools import partial

import torch
from torch import nn

from tutorial_lib.transfer import find_head, replace_head


def keep(model, classes, bias=True, copied=True, order=None, rows=True, train=False):
    "A right answer to 10.a. Each argument spoils one thing."
    classes = list(classes)
    if order:
        classes = order(classes)
    name, old = find_head(model), model.get_submodule(find_head(model))
    new = copy.deepcopy(model) if copied else model
    replace_head(new, len(classes))
    head = new.get_submodule(name)
    with torch.no_grad():
        if rows:
            head.weight.copy_(old.weight[classes])
        if bias and old.bias is not None:
            head.bias.copy_(old.bias[classes])
    return new.train() if train else new


def shares_the_body(model, classes):
    new = copy.copy(model)
    new._modules = dict(model._modules)
    name = find_head(model)
    if "." in name:
        return keep(model, classes, bias=False)
    replace_head(new, len(classes))
    return new


class Chooses(nn.Module):
    def __init__(self, model, classes):
        super().__init__()
        self.model, self.classes = copy.deepcopy(model), classes

    def forward(self, x):
        return self.model(x)[:, self.classes]


class ChoosesInside(nn.Module):
    "Keeps the names of the network, and chooses at the end."

    def __init__(self, model, classes):
        super().__init__()
        self.classes = classes
        self.__dict__["whole"] = copy.deepcopy(model)
        for name, m in self.whole.named_children():
            self.add_module(name, m)
        self.eval()

    def forward(self, x):
        return self.whole(x)[:, self.classes]


def only_linear(model, classes):
    new, name = copy.deepcopy(model), find_head(model)
    old = new.get_submodule(name)
    head = nn.Linear(old.in_features, len(classes)).train(old.training)
    head.weight.data, head.bias.data = old.weight.data[classes], old.bias.data[classes]
    parent, _, child = name.rpartition(".")
    setattr(new.get_submodule(parent), child, head)
    return new


def moves(
    model,
    params=True,
    frozen=False,
    stats=True,
    any_mode=False,
    counts=True,
    learned_only=False,
    all_norms=False,
    container=set,
):
    "A right answer to 10.b. Each argument spoils one thing."
    names = (
        {name for name, p in model.named_parameters() if p.requires_grad or frozen}
        if params
        else set()
    )
    for name, m in model.named_modules():
        norm = isinstance(m, nn.modules.batchnorm._BatchNorm)
        if not (stats and norm and (m.training or any_mode)):
            continue
        if learned_only and not any(p.requires_grad for p in m.parameters()):
            continue
        kinds = (
            ["running_mean", "running_var", "num_batches_tracked"]
            if all_norms
            else [k for k, _ in m.named_buffers()]
        )
        names |= {
            f"{name}.{kind}"
            for kind in kinds
            if counts or kind != "num_batches_tracked"
        }
    return container(names)


def tries_it(model):
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(4, 3, 9, 9))
    return {
        k for k, v in model.state_dict().items() if not torch.equal(v, before[k])
    } | moves(model)


def puts_it_into_training(model):
    return moves(model.train())


def fold(
    linear,
    mean,
    std,
    weight=lambda w, std: w / std,
    bias=lambda b, w, mean, std: b - (w / std) @ mean,
    inside=False,
    dtype=None,
):
    "A right answer to 10.c. Each argument spoils one thing."
    new = linear if inside else copy.deepcopy(linear)
    w, b = linear.weight.detach().clone(), linear.bias.detach().clone()
    with torch.no_grad():
        new.weight.copy_(weight(w, std))
        new.bias.copy_(bias(b, w, mean, std))
    return new.to(dtype) if dtype else new


def scales_in_place(linear, mean, std):
    new = fold(linear, mean, std)
    std.reciprocal_()
    return new


class Scaled(nn.Module):
    def __init__(self, linear, mean, std):
        super().__init__()
        self.linear, self.mean, self.std = copy.deepcopy(linear), mean, std

    def forward(self, x):
        return self.linear((x - self.mean) / self.std)


WRONG = {
    "10.a": [
        (None, "`keep_classes` is a function"),
        (lambda model, classes: print(len(classes)), "the result is a network"),
        (lambda model, classes: model, "the result is a new network"),
        (partial(keep, copied=False), "the result is a new network"),
        (Chooses, "its head is where that of `model` is"),
        (ChoosesInside, "the head has 3 outputs"),
        (lambda model, classes: copy.deepcopy(model), "the logits have the shape"),
        (partial(keep, rows=False), "the logits are those of the classes"),
        (partial(keep, bias=False), "the logits are those of the classes"),
        (partial(keep, order=sorted), "the logits are those of the classes"),
        (
            partial(keep, order=lambda c: list(range(len(c)))),
            "the logits are those of the classes",
        ),
        (
            partial(keep, train=True),
            "a network in evaluation mode gives one in evaluation mode",
        ),
        (only_linear, "Your code raised an error"),
        (shares_the_body, "the logits are those of the classes"),
    ],
    "10.b": [
        (None, "`moves` is a function"),
        (partial(moves, container=sorted), "the result is a set of names"),
        (tries_it, "the model is not called"),
        (puts_it_into_training, "the model stays as it was"),
        (partial(moves, params=False), "all parameters that learn are in the set"),
        (partial(moves, frozen=True), "the set holds only what moves"),
        (partial(moves, stats=False), "all statistics that move are in the set"),
        (partial(moves, counts=False), "all statistics that move are in the set"),
        (partial(moves, any_mode=True), "the set holds only what moves"),
        (partial(moves, learned_only=True), "all statistics that move are in the set"),
        (partial(moves, all_norms=True), "all names are names of the state dict"),
        (lambda model: set(), "all parameters that learn are in the set"),
        (lambda model: set(model.state_dict()), "the set holds only what moves"),
    ],
    "10.c": [
        (None, "`fold` is a function"),
        (Scaled, "the result is an `nn.Linear`"),
        (
            lambda linear, mean, std: linear,
            "the layer that you were given stays as it was",
        ),
        (partial(fold, inside=True), "the layer that you were given stays as it was"),
        (scales_in_place, "mean and std stay as they were"),
        (partial(fold, dtype=torch.float32), "it has the dtype of `linear`"),
        (partial(fold, weight=lambda w, std: w), "the weights are right"),
        (partial(fold, weight=lambda w, std: w * std), "the weights are right"),
        (
            partial(fold, bias=lambda b, w, mean, std: b),
            "with its bias the logits are those",
        ),
        (
            partial(fold, bias=lambda b, w, mean, std: b - w @ mean),
            "with its bias the logits are those",
        ),
        (
            partial(fold, bias=lambda b, w, mean, std: b + (w / std) @ mean),
            "with its bias the logits are those",
        ),
        (lambda linear, mean, std: linear.weight / std, "the result is an `nn.Linear`"),
    ],
}
