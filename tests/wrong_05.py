"""Plausible wrong answers to the exercises of chapter 05.

Each has words of the property that its verdict has to name.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F

from tutorial_lib.classifier import evaluating

RIGHT = {
    "A": "gradients never cleared",
    "B": "dropout on while judging",
    "C": "softmax before the loss",
    "D": "no mistake",
}


def named(*names):
    return dict(zip("ABCD", names, strict=True))


def judge(
    model, batches, mean=False, percent=False, error_rate=False, skip=0, swap=False
):
    "A right answer to 05.b. Each argument spoils one thing."
    loss = right = n = 0
    batches = list(batches)
    with evaluating(model):
        for xb, yb in batches[: len(batches) - skip]:
            logits = model(xb)
            loss += F.cross_entropy(
                logits, yb, reduction="mean" if mean else "sum"
            ).item()
            hits = (logits.argmax(1) == yb).float()
            right += (hits.mean() if mean else hits.sum()).item()
            n += 1 if mean else len(yb)
    accuracy = 1 - right / n if error_rate else right / n * (100 if percent else 1)
    return (accuracy, loss / n) if swap else (loss / n, accuracy)


def sums_are_not_means(model, batches):
    loss = right = n = 0
    with evaluating(model):
        for xb, yb in batches:
            logits = model(xb)
            loss += F.cross_entropy(logits, yb).item()
            right += (logits.argmax(1) == yb).sum().item()
            n += len(yb)
    return loss / n, right / n


def size_of_the_first(model, batches):
    loss = right = n = 0
    bs = None
    with evaluating(model):
        for xb, yb in batches:
            bs = bs or len(xb)
            logits = model(xb)
            loss += F.cross_entropy(logits, yb).item() * bs
            right += (logits.argmax(1) == yb).sum().item()
            n += bs
    return loss / n, right / n


def keeps_logits(model, batches):
    with evaluating(model):
        logits, y = zip(*((model(xb), yb) for xb, yb in batches))
    logits, y = torch.cat(logits), torch.cat(y)
    return F.cross_entropy(logits, y).item(), (
        logits.argmax(1) == y
    ).float().mean().item()


def keeps_hits(model, batches):
    hits, loss = [], 0
    with evaluating(model):
        for xb, yb in batches:
            logits = model(xb)
            loss += F.cross_entropy(logits, yb, reduction="sum").item()
            hits.append(logits.argmax(1) == yb)
    hits = torch.cat(hits)
    return loss / len(hits), hits.float().mean().item()


def all_at_once(model, batches):
    xs, ys = zip(*batches)
    x, y = torch.cat(xs), torch.cat(ys)
    with evaluating(model):
        logits = model(x)
    return F.cross_entropy(logits, y).item(), (
        logits.argmax(1) == y
    ).float().mean().item()


def counts_first(model, batches):
    n = sum(len(yb) for _, yb in batches)
    loss = right = 0
    with evaluating(model):
        for xb, yb in batches:
            logits = model(xb)
            loss += F.cross_entropy(logits, yb, reduction="sum").item()
            right += (logits.argmax(1) == yb).sum().item()
    return loss / n, right / n


def asks_twice(model, batches):
    loss = right = n = 0
    with evaluating(model):
        for xb, yb in batches:
            loss += F.cross_entropy(model(xb), yb, reduction="sum").item()
            right += (model(xb).argmax(1) == yb).sum().item()
            n += len(yb)
    return loss / n, right / n


def plain(model, batches):
    "Neither switches anything nor switches it back."
    loss = right = n = 0
    for xb, yb in batches:
        logits = model(xb)
        loss += F.cross_entropy(logits, yb, reduction="sum").item()
        right += (logits.argmax(1) == yb).sum().item()
        n += len(yb)
    return loss / n, right / n


def only_eval(model, batches):
    model.eval()
    return plain(model, batches)


def only_no_grad(model, batches):
    with torch.no_grad():
        return plain(model, batches)


def stays_in_eval(model, batches):
    model.eval()
    return only_no_grad(model, batches)


def back_to_train(model, batches):
    result = stays_in_eval(model, batches)
    model.train()
    return result


def back_to_one_mode(model, batches):
    mode = model.training
    result = stays_in_eval(model, batches)
    model.train(mode)
    return result


def back_on_success(model, batches):
    modes = [(m, m.training) for m in model.modules()]
    result = stays_in_eval(model, batches)
    for m, mode in modes:
        m.training = mode
    return result


def switches_for_all(model, batches):
    torch.set_grad_enabled(False)
    with evaluating(model):
        pass
    modes = [(m, m.training) for m in model.modules()]
    result = only_eval(model, batches)
    for m, mode in modes:
        m.training = mode
    return result


def freezes(model, batches):
    model.requires_grad_(False)
    result = judge(model, batches)
    model.requires_grad_(True)
    return result


def clears(model, batches):
    model.zero_grad()
    return judge(model, batches)


def old_fit(model, batches, opt, n_epoch):
    losses = []
    for _ in range(n_epoch):
        for xb, yb in batches:
            probs = model(xb).softmax(1)
            loss = F.cross_entropy(probs, yb)
            loss.backward()
            opt.step()
        losses.append(loss.item())
    return losses


def fit(
    model,
    batches,
    opt,
    n_epoch,
    train=True,
    prepare=lambda z: z,
    reduction="mean",
    clear="after",
    report="mean",
    number=float,
):
    "A right answer to 05.c. Each argument spoils one thing."
    losses = []
    if train:
        model.train()
    for _ in range(n_epoch):
        total = 0
        if clear == "epoch":
            opt.zero_grad()
        for xb, yb in batches:
            loss = F.cross_entropy(prepare(model(xb)), yb, reduction=reduction)
            loss.backward()
            if clear == "before the step":
                opt.zero_grad()
            opt.step()
            if clear == "after":
                opt.zero_grad()
            total += loss if number is not float else loss.item()
        losses.append(
            {
                "mean": total / len(batches),
                "sum": total,
                "last": number(loss),
                "per image": total / sum(len(yb) for _, yb in batches),
            }[report]
        )
        if train == "once":
            model.eval()
    return losses


def nll(model, batches, opt, n_epoch):
    model.train()
    losses = []
    for _ in range(n_epoch):
        total = 0
        for xb, yb in batches:
            opt.zero_grad()
            loss = F.nll_loss(model(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        losses.append(total / len(batches))
    return losses


def one_step_an_epoch(model, batches, opt, n_epoch):
    model.train()
    losses = []
    for _ in range(n_epoch):
        opt.zero_grad()
        each = [F.cross_entropy(model(xb), yb) for xb, yb in batches]
        loss = torch.stack(each).mean()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


def one_list_for_all(model, batches, opt, n_epoch):
    return [
        loss
        for _ in range(n_epoch)
        for xb, yb in batches
        for loss in fit(model, [(xb, yb)], opt, 1)
    ]


def after_the_step(model, batches, opt, n_epoch):
    losses = []
    for _ in range(n_epoch):
        total = 0
        for xb, yb in batches:
            fit(model, [(xb, yb)], opt, 1)
            with torch.no_grad():
                total += F.cross_entropy(
                    F.linear(xb, model.weight, model.bias), yb
                ).item()
        losses.append(total / len(batches))
    return losses


def scales_in_place(model, batches, opt, n_epoch):
    for xb, _ in batches:
        xb.sub_(xb.mean()).div_(xb.std())
    return fit(model, batches, opt, n_epoch)


def spoils_afterwards(model, batches, opt, n_epoch):
    losses = fit(model, batches, opt, n_epoch)
    for xb, _ in batches:
        xb.zero_()
    return losses


def silent(model, batches, opt, n_epoch):
    print(fit(model, batches, opt, n_epoch))


WINNER = {0.02: "constant", 0.5: "cycle"}


def one_cycle(step, n_step, top, peak=0.3, power=1, low=0, factor=1):
    "A right answer to 05.d, with `WINNER`. Each argument spoils one thing."
    share = (step + 0.5) / n_step
    height = min(share / peak, (1 - share) / (1 - peak))
    return factor * top * (low + (1 - low) * height**power)


def cosine(step, n_step, top):
    share = (step + 0.5) / n_step
    height = min(share / 0.3, (1 - share) / 0.7)
    return top * (1 - math.cos(math.pi * height)) / 2


WRONG = {
    "05.a": [
        (None, "`mistakes` is a dict"),
        (list(RIGHT.values()), "`mistakes` is a dict"),
        ({k: v for k, v in RIGHT.items() if k != "D"}, "its keys are the four loops"),
        ({k.lower(): v for k, v in RIGHT.items()}, "its keys are the four loops"),
        ({v: k for k, v in RIGHT.items()}, "its keys are the four loops"),
        (RIGHT | {"D": "none"}, "names from the table"),
        (RIGHT | {"D": None}, "names from the table"),
        (RIGHT | {"A": ["labels shuffled"]}, "names from the table"),
        (RIGHT | {"A": "no mistake"}, "no two loops have the same name"),
        (RIGHT | {"A": "labels shuffled"}, "What accuracy is left, in every epoch?"),
        (RIGHT | {"B": RIGHT["D"], "D": RIGHT["B"]}, "fits its curves"),
        (RIGHT | {"A": RIGHT["C"], "C": RIGHT["A"]}, "fits its curves"),
        (RIGHT | {"C": RIGHT["D"], "D": RIGHT["C"]}, "fits its curves"),
        (RIGHT | {"C": "labels shuffled"}, "fits its curves"),
        (named(*reversed(RIGHT.values())), "fits its curves"),
    ],
    "05.b": [
        (None, "`evaluate` is a function"),
        (
            lambda model, batches: print(judge(model, batches)),
            "the result is a pair of numbers",
        ),
        (
            lambda model, batches: judge(model, batches)[1],
            "the result is a pair of numbers",
        ),
        (all_at_once, "the model is called once for each batch"),
        (partial(judge, skip=1), "Your code raised an error"),
        (
            lambda model, batches: judge(
                model, [b for b in batches if len(b[0]) >= 30]
            ),
            "also for the smaller last one",
        ),
        (asks_twice, "the model is called once for each batch"),
        (counts_first, "the model is called once for each batch"),
        (plain, "in each call the whole model is in evaluation mode"),
        (only_no_grad, "in each call the whole model is in evaluation mode"),
        (only_eval, "no gradients are recorded"),
        (partial(judge, swap=True), "the loss of a single batch"),
        (sums_are_not_means, "the loss of a single batch"),
        (partial(judge, percent=True), "the accuracy is the share"),
        (partial(judge, error_rate=True), "the accuracy is the share"),
        (partial(judge, mean=True), "each picture counts the same"),
        (size_of_the_first, "each picture counts the same"),
        (stays_in_eval, "every module is in the mode that it was in"),
        (back_to_train, "every module is in the mode that it was in"),
        (back_to_one_mode, "every module is in the mode that it was in"),
        (back_on_success, "also after an error"),
        (freezes, "what was frozen is frozen"),
        (switches_for_all, "gradients are recorded again for everybody else"),
        (clears, "the gradients that the parameters held"),
        (keeps_logits, "does not grow with the number of batches"),
        (keeps_hits, "does not grow with the number of batches"),
        (judge, "does not grow with the number of batches"),
    ],
    "05.c": [
        (None, "`fit` is a function"),
        (silent, "the result is a list of 2 losses"),
        (one_list_for_all, "the result is a list of 2 losses"),
        (partial(fit, number=lambda v: v), "the losses are plain numbers"),
        (one_step_an_epoch, "there is one step for each batch"),
        (
            lambda model, batches, opt, n_epoch: fit(
                model, batches[:-1] or batches, opt, n_epoch
            ),
            "with each batch once, in order",
        ),
        (
            lambda model, batches, opt, n_epoch: fit(
                model, batches[::-1], opt, n_epoch
            ),
            "with each batch once, in order",
        ),
        (scales_in_place, "with each batch once, in order"),
        (old_fit, "the model is in training mode in each call"),
        (partial(fit, train=False), "the model is in training mode in each call"),
        (partial(fit, train="once"), "the model is in training mode in each call"),
        (partial(fit, prepare=lambda z: z.softmax(1)), "which was given logits"),
        (
            partial(fit, prepare=lambda z: z.argmax(1).float()),
            "Your code raised an error",
        ),
        (partial(fit, reduction="sum"), "the mean cross entropy"),
        (nll, "which was given logits"),
        (
            partial(fit, clear="before the step"),
            "when the optimizer steps, there are gradients",
        ),
        (partial(fit, clear="never"), "of no batch before"),
        (partial(fit, clear="epoch"), "of no batch before"),
        (
            partial(fit, report="last"),
            "each loss is the mean over the batches of its epoch",
        ),
        (
            partial(fit, report="sum"),
            "each loss is the mean over the batches of its epoch",
        ),
        (
            partial(fit, report="per image"),
            "each loss is the mean over the batches of its epoch",
        ),
        (after_the_step, "each loss is the mean over the batches of its epoch"),
        (spoils_afterwards, "the batches stay as they were"),
    ],
    "05.d": [
        (None, "`one_cycle` is a function"),
        ((None, WINNER), "`one_cycle` is a function"),
        ((one_cycle, "cycle"), "`winner` is a dict"),
        ((one_cycle, {0.02: 0.96, 0.5: 0.97}), "its values are"),
        ((lambda step, n_step, top: str(top), WINNER), "each rate is a number"),
        ((lambda step, n_step, top: top, WINNER), "at 30 % of the steps"),
        ((partial(one_cycle, peak=0.5), WINNER), "at 30 % of the steps"),
        ((partial(one_cycle, factor=2), WINNER), "from 0 to `top`"),
        ((partial(one_cycle, factor=0.5), WINNER), "is close to `top`"),
        ((partial(one_cycle, low=0.1), WINNER), "both ends of the cycle are near 0"),
        ((partial(one_cycle, power=2), WINNER), "both sides of the cycle are straight"),
        ((cosine, WINNER), "both sides of the cycle are straight"),
        ((one_cycle, {0.02: "cycle", 0.5: "cycle"}), "the winner at each rate"),
    ],
}
