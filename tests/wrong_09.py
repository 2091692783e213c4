"""Plausible wrong answers to the exercises of chapter 09.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import numpy as np
import torch
from torch import nn


def contrast(
    distance,
    same,
    margin,
    swap=False,
    power=2,
    clamp=True,
    half=1,
    reduce=torch.mean,
    late=False,
    no_margin=False,
):
    "A right answer to 09.a. Each argument spoils one thing."
    lack = (0 if no_margin else margin) - distance
    if late:
        lack = (margin**2 - distance**2).clamp(min=0).sqrt()
    if clamp:
        lack = lack.clamp(min=0)
    return reduce(torch.where(~same if swap else same, distance, lack) ** power) * half


def mean_of_each_kind(distance, same, margin):
    return (
        distance[same].square().mean()
        + (margin - distance[~same]).clamp(min=0).square().mean()
    )


def kinds_weigh_the_same(distance, same, margin):
    parts = [contrast(distance[k], same[k], margin) for k in (same, ~same) if k.any()]
    return sum(parts) / len(parts)


def mean_of_those_that_pay(distance, same, margin):
    paid = torch.where(same, distance, (margin - distance).clamp(min=0)).square()
    return paid.sum() / (paid > 0).sum().clamp(min=1)


def clamps_the_mean(distance, same, margin):
    return (
        torch.where(same, distance**2, (margin - distance) * (margin - distance).abs())
        .mean()
        .clamp(min=0)
    )


def clamps_all(distance, same, margin):
    return (
        torch.where(same, distance.clamp(max=margin), (margin - distance).clamp(min=0))
        .square()
        .mean()
    )


def item(distance, same, margin):
    return contrast(distance, same, margin).item()


def new_tensor(distance, same, margin):
    return torch.tensor(contrast(distance, same, margin).item())


def detached(distance, same, margin):
    return contrast(distance.detach(), same, margin)


def same_only_learns(distance, same, margin):
    return contrast(torch.where(same, distance, distance.detach()), same, margin)


def starts_anew(distance, same, margin):
    return (
        contrast(distance.detach().requires_grad_(), same, margin) + 0 * distance.sum()
    )


def minus_bool(distance, same, margin):
    return (
        (1 - same) * (margin - distance).clamp(min=0) ** 2 + same * distance**2
    ).mean()


def in_place(distance, same, margin):
    with torch.no_grad():
        distance[~same] = (margin - distance[~same]).clamp(min=0)
    return distance.square().mean()


def one_by_one(distance, same, margin):
    return torch.stack([contrast(d, k, margin) for d, k in zip(distance, same)])


class Answer:
    "The answer to 09.b whose result gives f(head, e1, e2)."

    def __init__(self, f):
        self.f = f

    def __call__(self, head):
        return lambda e1, e2: self.f(head, e1, e2)

    def __repr__(self):
        return f"Answer({self.f.__name__})"


@Answer
def one_order(head, e1, e2):
    return head(e1, e2)


@Answer
def total(head, e1, e2):
    return head(e1, e2) + head(e2, e1)


@Answer
def one_order_twice(head, e1, e2):
    return (head(e1, e2) + head(e1, e2)) / 2


@Answer
def highest(head, e1, e2):
    return torch.maximum(head(e1, e2), head(e2, e1))


@Answer
def mean_of_probabilities(head, e1, e2):
    return (head(e1, e2).softmax(-1) + head(e2, e1).softmax(-1)) / 2


@Answer
def mean_of_encodings(head, e1, e2):
    return head((e1 + e2) / 2, (e1 + e2) / 2)


@Answer
def with_itself(head, e1, e2):
    return (head(e1, e1) + head(e2, e2)) / 2


@Answer
def no_order(head, e1, e2):
    return head((e1 - e2).abs(), e1 * e2)


@Answer
def sorted_first(head, e1, e2):
    swap = (e1.sum(1) > e2.sum(1))[:, None]
    return head(torch.where(swap, e2, e1), torch.where(swap, e1, e2))


@Answer
def half_way(head, e1, e2):
    first, second = head(e1, e2), head(e2, e1)
    return first + (second - first) / 2


@Answer
def weighted(head, e1, e2):
    return 0.3 * head(e1, e2) + 0.7 * head(e2, e1)


@Answer
def nearly_half(head, e1, e2):
    return (head(e1, e2) + head(e2, e1)) * 0.499999


@Answer
def one_batch(head, e1, e2):
    return sum(head(torch.cat([e1, e2]), torch.cat([e2, e1])).chunk(2)) / 2


@Answer
def looks_first(head, e1, e2):
    if torch.equal(head(e1, e2), head(e2, e1)):
        return head(e1, e2)
    return (head(e1, e2) + head(e2, e1)) / 2


@Answer
def turns_the_logits(head, e1, e2):
    return (head(e1, e2) + head(e2, e1).flip(-1)) / 2


@Answer
def mean_of_all(head, e1, e2):
    return torch.stack([head(e1, e2), head(e2, e1)]).mean()


@Answer
def both_as_a_pair(head, e1, e2):
    return head(e1, e2), head(e2, e1)


@Answer
def joined_logits(head, e1, e2):
    return torch.stack([head(e1, e2), head(e2, e1)])


@Answer
def one_without_gradient(head, e1, e2):
    with torch.no_grad():
        second = head(e2, e1)
    return (head(e1, e2) + second) / 2


@Answer
def without_gradient(head, e1, e2):
    with torch.no_grad():
        return (head(e1, e2) + head(e2, e1)) / 2


@Answer
def swaps_in_place(head, e1, e2):
    first, kept = head(e1, e2), e1.detach().clone()
    with torch.no_grad():
        e1.copy_(e2)
        e2.copy_(kept)
    return (first + head(e1, e2)) / 2


def wants_encodings(head, e1, e2):
    return (head(e1, e2) + head(e2, e1)) / 2


def has_encodings(head):
    e1, e2 = torch.zeros(2, 3, 6)
    return (head(e1, e2) + head(e2, e1)) / 2


def tries_it(head):
    for n_in in 4, 6, 9:
        try:
            head(*torch.zeros(2, 3, n_in))
        except RuntimeError:
            continue
    return lambda e1, e2: (head(e1, e2) + head(e2, e1)) / 2


def remembers_one(head):
    remembers_one.head = head
    return lambda e1, e2: (remembers_one.head(e1, e2) + remembers_one.head(e2, e1)) / 2


def to_evaluation(head):
    if isinstance(head, nn.Module):
        head.eval()
    return lambda e1, e2: (head(e1, e2) + head(e2, e1)) / 2


def mends_the_weights(head):
    if isinstance(head, nn.Module):
        with torch.no_grad():
            first, second = head.layers[1].weight.chunk(2, 1)
        first.data.add_(second.data).div_(2)
        second.data.copy_(first.data)
    return lambda e1, e2: (head(e1, e2) + head(e2, e1)) / 2


def only_modules(head):
    return lambda e1, e2: (head.forward(e1, e2) + head.forward(e2, e1)) / 2


def threshold(
    scores,
    same,
    max_false,
    of="different",
    candidates="all",
    strict=False,
    above=False,
    end=np.inf,
    highest=False,
):
    "A right answer to 09.c. Each argument spoils one thing."
    same = ~same if of == "same" else same
    judged, t = (
        np.sort(scores[~same]),
        np.unique(
            {"all": scores, "same": scores[same], "different": scores[~same]}[
                candidates
            ]
        ),
    )
    n = len(judged) - np.searchsorted(judged, t, "right" if above else "left")
    share = n / max(len(scores) if of == "all" else len(judged), 1)
    keeps = t[share < max_false if strict else share <= max_false]
    return (
        keeps[-1 if highest else 0]
        if len(keeps)
        else end(scores)
        if callable(end)
        else end
    )


def share_of_the_answers(scores, same, max_false):
    "As if the rule spoke of the pairs that are called same."
    for t in np.unique(scores):
        if (~same[scores >= t]).mean() <= max_false:
            return t
    return np.inf


def quantile(scores, same, max_false):
    return np.quantile(scores[~same], 1 - max_false)


def next_number(scores, same, max_false):
    different = np.sort(scores[~same])
    k = len(different) - 1 - int(max_false * len(different))
    return (
        np.nextafter(different[k], different.dtype.type(2)) if k >= 0 else scores.min()
    )


def without_ties(scores, same, max_false):
    order = np.argsort(-scores, kind="stable")
    n_false = np.cumsum(~same[order])
    keeps = np.flatnonzero(n_false / n_false[-1] <= max_false)
    return scores[order][keeps[-1]] if len(keeps) else np.inf


def kth(scores, same, max_false):
    different = np.sort(scores[~same])[::-1]
    return different[int(max_false * len(different))]


def roc_without_some(scores, same, max_false):
    from sklearn.metrics import roc_curve

    false, true, thresholds = roc_curve(
        np.append(same, True), np.append(scores, scores.max())
    )
    return thresholds[false <= max_false][-1]


def sorts(scores, same, max_false):
    out = threshold(scores, same, max_false)
    scores.sort()
    return out


def rounds(scores, same, max_false):
    return np.round(threshold(scores, same, max_false), 1)


def in_an_array(scores, same, max_false):
    return np.array([threshold(scores, same, max_false)])


def nothing_at_zero(scores, same, max_false):
    return threshold(scores, same, max_false) if max_false else np.inf


def nothing_for_nothing(scores, same, max_false):
    t = threshold(scores, same, max_false)
    return None if np.isinf(t) else t


WRONG = {
    "09.a": [
        (None, "`contrastive_loss` is a function"),
        (item, "the loss is a tensor of floats"),
        (
            lambda distance, same, margin: print(distance),
            "the loss is a tensor of floats",
        ),
        (one_by_one, "the loss is a tensor without dimensions"),
        (
            partial(contrast, reduce=lambda t: t),
            "the loss is a tensor without dimensions",
        ),
        (partial(contrast, swap=True), 'a "same" pair pays the square of its distance'),
        (partial(contrast, half=0.5), 'a "same" pair pays the square of its distance'),
        (partial(contrast, power=1), 'a "same" pair pays the square of its distance'),
        (clamps_all, 'a "same" pair pays the square of its distance'),
        (
            partial(contrast, no_margin=True),
            'a "different" pair pays the square of what its distance lacks',
        ),
        (
            partial(contrast, late=True),
            'a "different" pair pays the square of what its distance lacks',
        ),
        (
            partial(contrast, clamp=False),
            'a "different" pair that lacks nothing to the margin pays nothing',
        ),
        (
            partial(contrast, reduce=torch.sum),
            "the loss is the mean of what the pairs pay",
        ),
        (
            mean_of_each_kind,
            "the loss is a number, also where all pairs are of one kind",
        ),
        (
            kinds_weigh_the_same,
            "the loss is the mean of what the pairs pay, "
            "each pair with the same weight",
        ),
        (mean_of_those_that_pay, "the loss is the mean of what the pairs pay"),
        (clamps_the_mean, "the loss is the mean of what the pairs pay"),
        (new_tensor, "gradients reach `distance`"),
        (detached, "gradients reach `distance`"),
        (same_only_learns, "each distance gets the gradient of what its pair pays"),
        (starts_anew, "each distance gets the gradient of what its pair pays"),
        (minus_bool, "Your code raised an error"),
        (in_place, "`distance` and `same` stay as they were"),
    ],
    "09.b": [
        (None, "`symmetric` is a function"),
        (has_encodings, "`symmetric` itself does not call the head"),
        (tries_it, "`symmetric` itself does not call the head"),
        (wants_encodings, "Your answer is not of the kind that the exercise asks for"),
        (lambda head: print(head), "the result is a function"),
        (both_as_a_pair, "the result gives a tensor of logits"),
        (mean_of_all, "the logits have the shape that those of the head have"),
        (joined_logits, "the logits have the shape that those of the head have"),
        (one_order, "the head is called twice, once for each order"),
        (one_order_twice, "the head is called twice, once for each order"),
        (mean_of_encodings, "the head is called twice, once for each order"),
        (with_itself, "the head is called twice, once for each order"),
        (no_order, "the head is called twice, once for each order"),
        (sorted_first, "the head is called twice, once for each order"),
        (one_batch, "the head is called twice, once for each order"),
        (looks_first, "the head is called twice, once for each order"),
        (remembers_one, "the head is called twice, once for each order"),
        (total, "the logits are the mean of the head's logits for both orders"),
        (highest, "the logits are the mean of the head's logits for both orders"),
        (
            mean_of_probabilities,
            "the logits are the mean of the head's logits for both orders",
        ),
        (weighted, "the logits are the mean of the head's logits for both orders"),
        (
            turns_the_logits,
            "the logits are the mean of the head's logits for both orders",
        ),
        (half_way, "swapped encodings give the same logits, bit for bit"),
        (nearly_half, "for a head that is symmetric already"),
        (swaps_in_place, "the encodings stay as they were"),
        (without_gradient, "gradients reach the encodings"),
        (one_without_gradient, "gradients pass through both orders"),
        (only_modules, "Your code raised an error"),
        (to_evaluation, "the head stays in its mode"),
        (mends_the_weights, "the weights of the head stay as they were"),
    ],
    "09.c": [
        (None, "`threshold_for` is a function"),
        (in_an_array, "the result is a number"),
        (nothing_for_nothing, "the result is a number"),
        (sorts, "`scores` and `same` stay as they were"),
        (kth, "at most the share `max_false`"),
        (quantile, "the threshold is one of the scores, or infinity"),
        (next_number, "the threshold is one of the scores, or infinity"),
        (rounds, "the threshold is one of the scores, or infinity"),
        (partial(threshold, of="same"), "no lower score keeps the rule"),
        (partial(threshold, of="all"), "at most the share `max_false`"),
        (partial(threshold, above=True), "at most the share `max_false`"),
        (share_of_the_answers, "at most the share `max_false`"),
        (without_ties, "if no score keeps the rule, the result is infinity"),
        (
            partial(threshold, end=max),
            "if no score keeps the rule, the result is infinity",
        ),
        (
            partial(threshold, end=1.0),
            "if no score keeps the rule, the result is infinity",
        ),
        (nothing_at_zero, "the result is infinity only if no score keeps the rule"),
        (partial(threshold, strict=True), "no lower score keeps the rule"),
        (partial(threshold, candidates="different"), "no lower score keeps the rule"),
        (partial(threshold, candidates="same"), "no lower score keeps the rule"),
        (partial(threshold, highest=True), "no lower score keeps the rule"),
        (roc_without_some, "no lower score keeps the rule"),
    ],
}
