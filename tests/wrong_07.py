"""Plausible wrong answers to the exercises of chapter 07.

Each has words of the property that its verdict has to name.
"""

from functools import partial

import numpy as np
import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    EndSplitter,
    ImageBlock,
    Normalize,
    PILImage,
    RandomSplitter,
    RegexLabeller,
    Resize,
    cifar_stats,
    get_image_files,
    imagenet_stats,
)
from PIL import Image, ImageOps
from torch.nn import functional as F
from torch.utils.data import default_collate

from tutorial_lib.data import image_files
from tutorial_lib.datablock import LeakAwareSplitter, breed_label

CALLS = {"get_y": 60, "item": 60, "batch": 4, "mirror": 3}


def square(
    im: PILImage,
    side=max,
    place=lambda n: n // 2,
    color=(128, 128, 128),
    wrap=PILImage.create,
):
    "A right answer to 07.b. Each argument spoils one thing."
    side = side(im.size)
    out = Image.new("RGB", (side, side), color)
    out.paste(im, (place(side - im.width), place(side - im.height)))
    return wrap(out)


def for_anything(im):
    return square(im)


def paints_over(im: PILImage):
    out = square(im)
    im.paste((0, 0, 0), (0, 0, 1, 1))
    return out


def same_if_square(im: PILImage):
    return im if im.width == im.height else square(im)


def gray(im: PILImage):
    return PILImage.create(square(im).convert("L"))


def squish(im: PILImage):
    return PILImage.create(im.resize((max(im.size), max(im.size))))


def mirrored(im: PILImage):
    return Resize(max(im.size), "pad")(im, split_idx=1)


def fitted(im: PILImage):
    return PILImage.create(ImageOps.pad(im, (64, 64), color=(128, 128, 128)))


def collated(
    items,
    size=None,
    fill=0,
    corner=lambda h, w, height, width: (0, 0),
    x_dtype=torch.uint8,
    y_dtype=torch.int64,
):
    "A right answer to 07.c. Each argument spoils one thing."
    height, width = (
        size(items) if size else [max(x.shape[i] for x, y in items) for i in (1, 2)]
    )
    xb = torch.full((len(items), 3, height, width), fill, dtype=x_dtype)
    for place, (x, _) in zip(xb, items):
        x = x[:, :height, :width]
        top, left = corner(*x.shape[1:], height, width)
        place[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return xb, torch.tensor([y for x, y in items], dtype=y_dtype)


def shapes(items, i):
    return [x.shape[i] for x, y in items]


def resized(items):
    height, width = max(shapes(items, 1)), max(shapes(items, 2))
    xb = torch.cat([F.interpolate(x[None].float(), (height, width)) for x, y in items])
    return xb.to(torch.uint8), torch.tensor([y for x, y in items])


def repeated(items):
    height, width = max(shapes(items, 1)), max(shapes(items, 2))
    xb = [
        F.pad(
            x.float(), (0, width - x.shape[2], 0, height - x.shape[1]), mode="replicate"
        )
        for x, y in items
    ]
    return torch.stack(xb).to(torch.uint8), torch.tensor([y for x, y in items])


def without_a_copy(items):
    return (
        (items[0][0][None], torch.tensor([items[0][1]]))
        if len(items) == 1
        else collated(items)
    )


def largest_first(items):
    return collated(sorted(items, key=lambda item: -item[0].numel()))


def with_lists(items):
    xb, yb = collated(items)
    return xb, yb.tolist()


def block(**changes):
    "A right answer to 07.d, but for `changes`."
    right = dict(
        blocks=(ImageBlock, CategoryBlock),
        get_items=image_files,
        get_y=breed_label,
        splitter=LeakAwareSplitter(),
        item_tfms=Resize(64),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
    )
    return DataBlock(**right | changes)


def every_fifth(items):
    return [i for i in range(len(items)) if i % 5], list(range(0, len(items), 5))


def own_generator(items):
    order = np.random.default_rng().permutation(len(items))
    return order[len(items) // 5 :].tolist(), order[: len(items) // 5].tolist()


def both_sides(items):
    train, valid = LeakAwareSplitter()(items)
    return train + valid, valid


WRONG = {
    "07.a": [
        ((60, 60, 4, 3), "`calls` is a dict"),
        (
            {"get_y": 60, "item": 60, "batch": 4},
            "its keys are get_y, item, batch, mirror",
        ),
        (CALLS | {"batch": "4"}, "its values are whole numbers"),
        (CALLS | {"get_y": 58}, "`get_y` is called as often as you say"),
        (CALLS | {"get_y": 110}, "`get_y` is called as often as you say"),
        (CALLS | {"item": 58}, "`item` is called as often as you say"),
        (CALLS | {"item": 120}, "`item` is called as often as you say"),
        (CALLS | {"batch": 3}, "`batch` is called as often as you say"),
        (CALLS | {"batch": 5}, "`batch` is called as often as you say"),
        (CALLS | {"batch": 60}, "`batch` is called as often as you say"),
        (CALLS | {"mirror": 4}, "`mirror` is called as often as you say"),
        (CALLS | {"mirror": 48}, "`mirror` is called as often as you say"),
    ],
    "07.b": [
        (None, "`pad_square` is a function"),
        (partial(square, wrap=lambda im: im), "the result is a `PILImage`"),
        (lambda im: torch.zeros(3, 40, 40), "the result is a `PILImage`"),
        (same_if_square, "the result is a new picture"),
        (paints_over, "the picture that goes in stays as it was"),
        (gray, "the result has mode RGB"),
        (partial(square, side=min), "becomes one of 40x40"),
        (fitted, "becomes one of 40x40"),
        (partial(square, side=lambda size: 224), "becomes one of 40x40"),
        (squish, "stands in the middle, pixel for pixel"),
        (partial(square, place=lambda n: 0), "stands in the middle, pixel for pixel"),
        (
            partial(square, place=lambda n: -(-n // 2)),
            "stands in the middle, pixel for pixel",
        ),
        (partial(square, color=(127, 127, 127)), "have the color (128, 128, 128)"),
        (partial(square, color=(128, 0, 0)), "have the color (128, 128, 128)"),
        (mirrored, "have the color (128, 128, 128)"),
        (for_anything, "a label passes as it is"),
    ],
    "07.c": [
        (None, "`pad_collate` is a function"),
        (default_collate, "pictures of unequal sizes are collated"),
        (lambda items: collated(items)[0], "the result is a pair of tensors"),
        (lambda items: tuple(zip(*items)), "the result is a pair of tensors"),
        (with_lists, "the result is a pair of tensors"),
        (partial(collated, x_dtype=torch.float32), "the pictures are uint8"),
        (partial(collated, y_dtype=torch.int32), "the labels are int64"),
        (
            partial(
                collated,
                size=lambda items: (min(shapes(items, 1)), min(shapes(items, 2))),
            ),
            "make a tensor of shape",
        ),
        (
            partial(collated, size=lambda items: items[0][0].shape[1:]),
            "make a tensor of shape",
        ),
        (
            partial(
                collated,
                size=lambda items: [max(shapes(items, 1) + shapes(items, 2))] * 2,
            ),
            "make a tensor of shape",
        ),
        (
            partial(
                collated,
                size=lambda items: max((x for x, y in items), key=torch.numel).shape[
                    1:
                ],
            ),
            "make a tensor of shape",
        ),
        (partial(collated, size=lambda items: (32, 32)), "make a tensor of shape"),
        (
            partial(
                collated,
                corner=lambda h, w, height, width: (
                    (height - h) // 2,
                    (width - w) // 2,
                ),
            ),
            "stands in the top left corner",
        ),
        (
            partial(
                collated, corner=lambda h, w, height, width: (height - h, width - w)
            ),
            "stands in the top left corner",
        ),
        (resized, "stands in the top left corner"),
        (largest_first, "the labels are those of the items, in their order"),
        (partial(collated, fill=255), "the rest of each place is 0"),
        (repeated, "the rest of each place is 0"),
        (without_a_copy, "share no memory with the batch"),
    ],
    "07.d": [
        (block(), "`mended_block` is a function"),
        (
            lambda: dict(get_items=image_files, get_y=breed_label),
            "the result is a `DataBlock`",
        ),
        (lambda: block(get_items=get_image_files), "a web page is no item"),
        (
            lambda: block(get_items=lambda folder: image_files(folder)[::2]),
            "every picture of the folder is an item",
        ),
        (
            lambda: block(get_y=RegexLabeller(r"^(.*)_\d+.jpg$")),
            "the vocabulary has the names of the breeds",
        ),
        (
            lambda: block(get_y=lambda path: path.name.split("_")[0]),
            "the vocabulary has the names of the breeds",
        ),
        (
            lambda: block(get_y=lambda path: path.stem),
            "the vocabulary has the names of the breeds",
        ),
        (
            lambda: block(splitter=RandomSplitter(0.2, seed=42)),
            "no global generator of random numbers is moved",
        ),
        (
            lambda: block(splitter=RandomSplitter(0.2)),
            "no global generator of random numbers is moved",
        ),
        (lambda: block(splitter=own_generator), "the split is the same each time"),
        (lambda: block(splitter=both_sides), "every item is on one of the two sides"),
        (
            lambda: block(splitter=EndSplitter(0.2)),
            "about a fifth of each breed is held out",
        ),
        (
            lambda: block(splitter=LeakAwareSplitter(valid=0.5)),
            "about a fifth of each breed is held out",
        ),
        (lambda: block(splitter=every_fifth), "twins stay on one side"),
        (lambda: block(item_tfms=None), "items of unequal sizes fit into a batch"),
        (lambda: block(item_tfms=Resize(224)), "batches hold pictures of 64x64 pixels"),
        (lambda: block(batch_tfms=None), "normalized with `imagenet_stats`"),
        (
            lambda: block(batch_tfms=Normalize.from_stats(*cifar_stats)),
            "normalized with `imagenet_stats`",
        ),
        (lambda: block(batch_tfms=Normalize()), "normalized with `imagenet_stats`"),
    ],
}
