"""Plausible wrong answers to the exercises of chapter 15.

Each has words of the property that its verdict has to name.
"""

import copy
import json
import pickle
import random
from functools import partial

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tutorial_lib.modules import read_weights, save_weights


def batches(
    n,
    bs,
    seed,
    start,
    total,
    key=lambda seed, epoch: [seed, epoch],
    order=None,
    low=0,
    high=0,
    shift=0,
    cut=None,
    kind=lambda batch: batch,
):
    "A right answer to 15.a. Each argument spoils one thing."
    order = order or (
        lambda seed, epoch, n: np.random.default_rng(key(seed, epoch)).permutation(n)
    )
    for step in range(start + low, total + high):
        first = step * bs + shift
        row = np.concatenate(
            [
                order(seed, epoch, n)
                for epoch in range(first // n, (first + bs - 1) // n + 1)
            ]
        )
        yield kind(row[first % n : first % n + bs][:cut])


def of_start(n, bs, seed, start, total):
    return batches(
        n, bs, seed, start, total, key=lambda seed, epoch: [seed, epoch, start]
    )


def of_total(n, bs, seed, start, total):
    return batches(
        n, bs, seed, start, total, key=lambda seed, epoch: [seed, epoch, total]
    )


def of_batch_size(n, bs, seed, start, total):
    return batches(n, bs, seed, start, total, key=lambda s, epoch: [s, epoch, bs])


def as_if_begun(n, bs, seed, start, total):
    return batches(n, bs, seed, 0, total - start)


def from_the_beginning(n, bs, seed, start, total):
    return batches(n, bs, seed, 0, total)


def whole_epochs(n, bs, seed, start, total):
    return batches(n, bs, seed, start * bs // n * n // bs, total)


def waits(n, bs, seed, start, total, short=False):
    "The trainer's rule, or a short batch at the end of each epoch."
    per_epoch = -(-n // bs) if short else max(n // bs, 1)
    for step in range(start, total):
        at = step % per_epoch * bs
        yield np.random.default_rng([seed, step // per_epoch]).permutation(n)[
            at : at + bs
        ]


def wraps(n, bs, seed, start, total):
    "Fills the last batch of an epoch from its own beginning."
    per_epoch = -(-n // bs)
    for step in range(start, total):
        at = step % per_epoch * bs
        yield np.resize(
            np.random.default_rng([seed, step // per_epoch]).permutation(n),
            per_epoch * bs,
        )[at : at + bs]


def one_generator(n, bs, seed, start, total):
    rng, row = np.random.default_rng(seed), np.empty(0, int)
    for _ in range(start, total):
        while len(row) < bs:
            row = np.concatenate([row, rng.permutation(n)])
        yield row[:bs]
        row = row[bs:]


def draws_each(n, bs, seed, start, total):
    for step in range(start, total):
        yield np.random.default_rng([seed, step]).integers(0, n, bs)


def seeds_numpy(n, bs, seed, start, total):
    def order(seed, epoch, n):
        np.random.seed(seed * 1000 + epoch)
        return np.random.permutation(n)

    return list(batches(n, bs, seed, start, total, order=order))


def seeds_at_last(n, bs, seed, start, total):
    "Puts the random numbers back when it ends, and not between two steps."
    before = random.getstate()

    def order(seed, epoch, n):
        random.seed(f"{seed} {epoch}")
        return random.sample(range(n), n)

    yield from batches(n, bs, seed, start, total, order=order)
    random.setstate(before)


def torch_global(seed, epoch, n):
    torch.manual_seed(seed * 1000 + epoch)
    return torch.randperm(n).numpy()


def not_seeded(n, bs, seed, start, total):
    "Draws a seed of its own, and moves nothing."
    return batches(n, bs, np.random.default_rng().integers(1 << 30), start, total)


def mixes_batches(seed, epoch, n, bs=4):
    "Mixes the batches of an epoch, and each of them: the same pictures stay together."
    rng, row = np.random.default_rng([seed, epoch]), np.arange(n)
    if n % bs:
        return rng.permutation(n)
    return np.concatenate(
        [rng.permutation(part) for part in rng.permutation(row.reshape(-1, bs))]
    )


def first_not_mixed(seed, epoch, n):
    return (
        np.arange(n)
        if epoch == 0
        else np.random.default_rng([seed, epoch]).permutation(n)
    )


def fold(
    norm,
    head,
    eps=None,
    root=True,
    mean=True,
    norm_bias=True,
    factor=True,
    head_bias=True,
    both=False,
    bias=True,
    refuse=True,
    through=False,
    dtype=None,
    place=False,
    rows=False,
    before=None,
    after=None,
):
    "A right answer to 15.b. Each argument spoils one thing."
    if before:
        before(norm, head)
    if norm.running_mean is None:
        if refuse:
            raise ValueError(
                "a norm that keeps no statistics takes them from each batch"
            )
        return copy.deepcopy(head)
    with torch.no_grad():
        var = norm.running_var + (norm.eps if eps is None else eps)
        scale = 1 / (var.sqrt() if root else var)
        if norm.affine and factor:
            scale = norm.weight * scale
        shift = -norm.running_mean * scale if mean else 0 * scale
        if norm.affine and norm_bias:
            shift = shift + norm.bias
        wide = bias and (head.bias is not None or not both)
        new = nn.Linear(
            head.in_features,
            head.out_features,
            bias=wide,
            dtype=dtype or head.weight.dtype,
        )
        new.weight.copy_(head.weight * (scale[:, None] if rows else scale))
        if wide:
            new.bias.copy_(
                (new.weight if through else head.weight) @ shift
                + (head.bias if head.bias is not None and head_bias else 0)
            )
    if place:
        with torch.no_grad():
            head.weight.copy_(new.weight)
            if head.bias is not None:
                head.bias.copy_(new.bias)
    if after:
        after(norm, head)
    return new


def shares_head(norm, head):
    "Gives the head itself the new numbers."
    new = fold(norm, head)
    head.weight, head.bias = new.weight, new.bias
    return head


def shares_bias(norm, head):
    "Uses the bias of the head itself where nothing has to be added to it."
    new = fold(norm, head)
    if head.bias is not None and torch.equal(new.bias, head.bias):
        new.bias = head.bias
    return new


def as_sequential(norm, head):
    return nn.Sequential(copy.deepcopy(norm), copy.deepcopy(head)).eval()


def asks_with_batch(norm, head):
    "Lets numbers pass through both, in the mode that they are in."
    with torch.no_grad():
        d = head.in_features
        bias = head(norm(torch.zeros(2, d, dtype=head.weight.dtype)))[0]
        new = nn.Linear(d, head.out_features, dtype=head.weight.dtype)
        new.weight.copy_((head(norm(torch.eye(d, dtype=head.weight.dtype))) - bias).T)
        new.bias.copy_(bias)
    return new


def lies_about_its_size(norm, head):
    new, right = nn.Linear(1, 1), fold(norm, head)
    new.weight, new.bias = right.weight, right.bias
    return new


def kept_bias(norm, head):
    "Uses the bias of the head where the norm shifts nothing; else it writes into it."
    new = fold(norm, head)
    if head.bias is None:
        return new
    with torch.no_grad():
        head.bias.copy_(new.bias)
    new.bias = head.bias
    return new


def load_all(model, weights):
    return model.load_state_dict(weights)


def load_some(model, weights):
    return model.load_state_dict(weights, strict=False)


def assigns(model, weights):
    return model.load_state_dict(weights, assign=True)


def save_state(
    path,
    model,
    opt,
    step,
    weights=nn.Module.state_dict,
    values=lambda name, v: v,
    some=lambda state: state,
    groups=lambda groups: groups,
    prefix="model.",
    write=save_weights,
    before=None,
    after=None,
    number=lambda i: i,
    told=lambda step: step,
):
    "The first half of a right answer to 15.c. Each argument spoils one thing."
    if before:
        before(path, model, opt)
    tensors, state = (
        {f"{prefix}{k}": v for k, v in weights(model).items()},
        opt.state_dict(),
    )
    for at, (i, of_one) in enumerate(some(state["state"]).items()):
        tensors |= {
            f"opt.{number(i) if number else at}.{k}": values(k, v)
            for k, v in of_one.items()
        }
    write(
        tensors,
        path,
        groups=json.dumps(groups(state["param_groups"])),
        step=str(told(step)),
    )
    if after:
        after(path, model, opt)


def load_state(
    path,
    model,
    opt,
    key=int,
    step=int,
    load=load_all,
    cut=lambda name: name.removeprefix("model."),
    rates=True,
    momenta=True,
    kind="model.",
    read=read_weights,
    after=None,
):
    "The second half."
    tensors, text = read(path)
    weights, state = {}, {}
    for name, v in tensors.items():
        if name.startswith(kind) and not name.startswith("opt."):
            weights[cut(name)] = v
        else:
            _, i, k = name.split(".")
            state.setdefault(key(i), {})[k] = v
    load(model, weights)
    groups = json.loads(text["groups"]) if rates else opt.state_dict()["param_groups"]
    opt.load_state_dict({"state": state if momenta else {}, "param_groups": groups})
    if after:
        after(model, opt)
    return step(text["step"])


def without(name, state):
    return {
        i: {k: v for k, v in of_one.items() if k != name} for i, of_one in state.items()
    }


def pair(save=None, load=None):
    return partial(save_state, **(save or {})), partial(load_state, **(load or {}))


def saves(save):
    return save, load_state


def writes_in_place(tensors, path, **text):
    'Fills the old file, as `open(path, "wb")` does.'
    part = path.with_suffix(".tmp")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, part, text)
    data = part.read_bytes()
    part.unlink()
    with path.open("wb") as f:
        f.write(data)


def removes_first(tensors, path, **text):
    "Takes the old file's numbers away before the new ones are there."
    if path.exists():
        path.write_bytes(b"")
    save_weights(tensors, path, **text)


def beside(tensors, path, **text):
    save_weights(tensors, path)
    path.with_suffix(".json").write_text(json.dumps(text))


def read_beside(path):
    return read_weights(path)[0], json.loads(path.with_suffix(".json").read_text())


def other_name(tensors, path, **text):
    save_weights(tensors, path.with_name(f"{path.name}.safetensors"), **text)


def with_torch(path, model, opt, step):
    torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), step=step), path)


def load_torch(path, model, opt):
    held = torch.load(path, weights_only=True)
    model.load_state_dict(held["model"])
    opt.load_state_dict(held["opt"])
    return held["step"]


def pickle_in_tensor(path, model, opt, step):
    data = torch.frombuffer(
        bytearray(pickle.dumps(opt.state_dict(), 4)), dtype=torch.uint8
    )
    save_weights({**model.state_dict(), "optimizer": data}, path, step=step)


def load_from_tensor(path, model, opt):
    tensors, text = read_weights(path)
    opt.load_state_dict(pickle.loads(bytes(tensors.pop("optimizer").tolist())))
    model.load_state_dict(tensors)
    return int(text["step"])


def falls_back(path, model, opt):
    "Reads an old kind of file too."
    try:
        with safe_open(path, framework="pt"):
            pass
    except Exception:
        held = torch.load(path, weights_only=False)
        return held["step"]
    return load_state(path, model, opt)


def begins_anew(path, model, opt):
    "Takes a file that it cannot read for none."
    try:
        return load_state(path, model, opt)
    except ValueError:
        return 0


def takes_out(path, model, opt, step):
    "Takes the tensors out of the optimizer's own dictionaries."
    tensors, state = (
        {f"model.{k}": v for k, v in model.state_dict().items()},
        opt.state_dict(),
    )
    for i, of_one in state["state"].items():
        for k in list(of_one):
            tensors[f"opt.{i}.{k}"] = of_one.pop(k)
    save_weights(tensors, path, groups=json.dumps(state["param_groups"]), step=step)


def half(name, v):
    return v.half()


def parameters(model):
    return dict(model.named_parameters())


def new_optimizer(path, model, opt):
    "Gives another optimizer the state, and forgets it."
    return load_state(
        path,
        model,
        copy.copy(opt).__class__(
            model.parameters(),
            lr=0.1,
            **({"momentum": 0.9} if isinstance(opt, torch.optim.SGD) else {}),
        ),
    )


def copy_of_model(path, model, opt):
    return load_state(path, copy.deepcopy(model), opt)


def no_shapes(tensors, path, **text):
    save_weights({k: v.flatten() for k, v in tensors.items()}, path, **text)


def rounded(groups):
    return [g | {"lr": round(g["lr"], 3)} for g in groups]


def never_twice(tensors, path, **text):
    if not path.exists():
        save_weights(tensors, path, **text)


WRONG = {
    "15.a": [
        (None, "`batches` is a function"),
        (
            lambda n, bs, seed, start, total: print(
                *batches(n, bs, seed, start, total)
            ),
            "the result is a list of batches, or a generator of them",
        ),
        (
            lambda n, bs, seed, start, total: list(
                np.concatenate(list(batches(n, bs, seed, 0, total)))
            ),
            "a batch is a sequence of whole numbers",
        ),
        (
            partial(batches, kind=lambda batch: batch.astype(float)),
            "a batch is a sequence of whole numbers",
        ),
        (partial(batches, kind=lambda batch: batch + 1), "positions are from 0 to 9"),
        (waits, "each epoch has every picture once"),
        (partial(waits, short=True), "each batch has 8 positions"),
        (wraps, "each epoch has every picture once"),
        (draws_each, "each epoch has every picture once"),
        (partial(batches, shift=1), "each epoch has every picture once"),
        (partial(batches, cut=-1), "each batch has 8 positions"),
        (partial(batches, low=1), "there is a batch for each step from `start`"),
        (partial(batches, high=1), "there is a batch for each step from `start`"),
        (from_the_beginning, "there is a batch for each step from `start`"),
        (as_if_begun, "sees what one without a stop would have seen"),
        (whole_epochs, "there is a batch for each step from `start`"),
        (one_generator, "sees what one without a stop would have seen"),
        (of_start, "sees what one without a stop would have seen"),
        (
            of_batch_size,
            "the order of an epoch is the same with batches of another size",
        ),
        (
            of_total,
            "the steps of a shorter training are the first ones of a longer one",
        ),
        (
            partial(batches, order=lambda seed, epoch, n: np.arange(n)),
            "the order of an epoch is mixed",
        ),
        (partial(batches, order=first_not_mixed), "the order of an epoch is mixed"),
        (
            partial(batches, key=lambda seed, epoch: seed),
            "another epoch has another order",
        ),
        (
            partial(batches, key=lambda seed, epoch: epoch),
            "another seed has another order",
        ),
        (
            partial(batches, key=lambda seed, epoch: seed * epoch),
            "another epoch has another order",
        ),
        (
            partial(batches, key=lambda seed, epoch: seed + epoch),
            "an order does not come again in another epoch of another seed",
        ),
        (
            partial(batches, key=lambda seed, epoch: 3 * seed + epoch),
            "an order does not come again in another epoch of another seed",
        ),
        (
            partial(batches, order=mixes_batches),
            "other pictures come together in another epoch",
        ),
        (
            partial(batches, order=lambda seed, epoch, n: np.random.permutation(n)),
            "the random numbers of the program are not touched",
        ),
        (
            partial(batches, order=torch_global),
            "the random numbers of the program are not touched",
        ),
        (seeds_numpy, "the random numbers of the program are not touched by the call"),
        (
            seeds_at_last,
            "the random numbers of the program are not touched between two steps",
        ),
        (not_seeded, "a second call gives the same again"),
        (
            lambda n, bs, seed, start, total: list(batches(n, bs, seed, start, total))[
                :-1
            ],
            "there is a batch for each step from `start`",
        ),
    ],
    "15.b": [
        (None, "`fold` is a function"),
        (lambda norm, head: print(fold(norm, head)), "the result is an nn.Linear"),
        (lambda norm, head: (head.weight, head.bias), "the result is an nn.Linear"),
        (as_sequential, "the result is an nn.Linear"),
        (lambda norm, head: head, "the result is a new layer"),
        (
            lambda norm, head: copy.deepcopy(head),
            "each weight of the new layer is what a feature gains",
        ),
        (
            lambda norm, head: nn.Linear(head.out_features, head.in_features),
            "the new layer makes 3 numbers of 4",
        ),
        (partial(fold, eps=0), "each weight of the new layer is what a feature gains"),
        (
            partial(fold, eps=1e-5),
            "each weight of the new layer is what a feature gains",
        ),
        (
            partial(fold, root=False),
            "each weight of the new layer is what a feature gains",
        ),
        (
            partial(fold, factor=False),
            "each weight of the new layer is what a feature gains",
        ),
        (partial(fold, rows=True), "Your code raised an error"),
        (
            partial(fold, mean=False),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, norm_bias=False),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, head_bias=False),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, through=True),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, bias=False),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, both=True),
            "the new layer gives what both give where all features are 0",
        ),
        (
            partial(fold, dtype=torch.float32),
            "the dtype of the new layer is that of `head`",
        ),
        (partial(fold, place=True), "`norm` and `head` stay as they were"),
        (
            partial(fold, before=lambda norm, head: (norm.eval(), head.eval())),
            "`norm` and `head` stay as they were",
        ),
        (
            partial(fold, after=lambda norm, head: (norm.train(), head.train())),
            "`norm` and `head` stay as they were",
        ),
        (
            partial(fold, after=lambda norm, head: head.requires_grad_(False)),
            "`norm` and `head` stay as they were",
        ),
        (shares_head, "`norm` and `head` stay as they were"),
        (shares_bias, "`norm` and `head` do not change when the new layer does"),
        (kept_bias, "`norm` and `head` stay as they were"),
        (asks_with_batch, "`norm` and `head` stay as they were"),
        (
            lies_about_its_size,
            "`in_features` and `out_features` of the new layer are true",
        ),
        (
            partial(fold, refuse=False),
            "a norm that keeps no statistics is a ValueError",
        ),
        (
            lambda norm, head: nn.utils.fuse_linear_bn_eval(head, norm),
            "Your code raised an error",
        ),
        (
            lambda norm, head: fold(norm, head) if norm.affine else head,
            "the result is a new layer",
        ),
    ],
    "15.c": [
        (None, "`save_state` and `load_state` are two functions"),
        (save_state, "`save_state` and `load_state` are two functions"),
        (
            saves(lambda path, model, opt, step: print(opt.state_dict())),
            "all is in one file",
        ),
        (pair(dict(write=beside), dict(read=read_beside)), "all is in one file"),
        (pair(dict(write=other_name)), "all is in one file"),
        ((with_torch, load_torch), "the file is in the format safetensors"),
        ((pickle_in_tensor, load_from_tensor), "there is no pickle in the file"),
        (pair(dict(write=writes_in_place)), "the file of an earlier step stays whole"),
        (pair(dict(write=removes_first)), "the file of an earlier step stays whole"),
        (
            pair(dict(before=lambda path, model, opt: model.eval())),
            "`save_state` leaves the network in its mode",
        ),
        (
            saves(takes_out),
            "a training that goes on after `save_state` does not notice",
        ),
        (
            pair(dict(after=lambda path, model, opt: opt.state.clear())),
            "a training that goes on after `save_state` does not notice",
        ),
        (
            pair(load=dict(step=str)),
            "`load_state` gives back the number of steps that are done",
        ),
        (
            pair(load=dict(step=lambda step: None)),
            "`load_state` gives back the number of steps that are done",
        ),
        (
            pair(load=dict(step=lambda step: int(step) + 1)),
            "`load_state` gives back the number of steps that are done",
        ),
        (
            pair(dict(told=lambda step: 0)),
            "`load_state` gives back the number of steps that are done",
        ),
        (
            pair(dict(write=never_twice)),
            "`load_state` gives back the number of steps that are done",
        ),
        (
            pair(load=dict(load=lambda model, weights: None)),
            "`load_state` gives the network the weights and buffers that were saved",
        ),
        (
            pair(dict(weights=parameters), dict(load=load_some)),
            "`load_state` gives the network the weights and buffers that were saved",
        ),
        (
            pair(load=dict(cut=lambda name: name.lstrip("model."))),
            "Your code raised an error",
        ),
        (
            pair(load=dict(cut=lambda name: name.replace("model.", ""))),
            "Your code raised an error",
        ),
        (
            pair(
                load=dict(cut=lambda name: name.replace("model.", ""), load=load_some)
            ),
            "the weights and buffers that were saved",
        ),
        (pair(dict(prefix=""), dict(kind="")), "Your code raised an error"),
        (
            (save_state, copy_of_model),
            "`load_state` gives the network the weights and buffers that were saved",
        ),
        (
            pair(load=dict(load=assigns)),
            "the optimizer trains the parameters that the network has",
        ),
        (
            pair(load=dict(after=lambda model, opt: model.eval())),
            "`load_state` leaves the network in its mode",
        ),
        (
            pair(load=dict(rates=False)),
            "each group of the optimizer has the learning rate",
        ),
        (
            pair(dict(groups=rounded)),
            "each group of the optimizer has the learning rate",
        ),
        (
            pair(
                load=dict(
                    after=lambda model, opt: [
                        g.update(lr=0.03) for g in opt.param_groups
                    ]
                )
            ),
            "each group of the optimizer has the learning rate",
        ),
        (
            (save_state, new_optimizer),
            "each group of the optimizer has the learning rate",
        ),
        (
            pair(load=dict(momenta=False)),
            "the optimizer remembers for each parameter what it knew",
        ),
        (
            pair(load=dict(key=str)),
            "the optimizer remembers for each parameter what it knew",
        ),
        (pair(dict(some=partial(without, "step"))), "Your code raised an error"),
        (
            pair(dict(some=partial(without, "max_exp_avg_sq"))),
            "the optimizer remembers for each parameter what it knew",
        ),
        (
            pair(dict(values=lambda k, v: torch.zeros_like(v) if k == "step" else v)),
            "the optimizer remembers for each parameter what it knew",
        ),
        (
            pair(dict(some=lambda state: {i: s for i, s in state.items() if i < 4})),
            "the optimizer remembers for each parameter what it knew",
        ),
        (
            pair(dict(number=None)),
            "the optimizer remembers for each parameter what it knew",
        ),
        (
            pair(dict(values=half)),
            "the optimizer remembers for each parameter what it knew",
        ),
        (pair(dict(write=no_shapes)), "Your code raised an error"),
        ((save_state, falls_back), "no code runs that somebody put into the file"),
        ((save_state, begins_anew), "`load_state` refuses a pickle"),
    ],
}
