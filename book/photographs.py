"""Photographs among the outputs of a notebook: which they are, and stored lightly.

A plot is ink on paper: it becomes a PNG with a palette of 256 colors, and the dark page
inverts it. A photograph keeps its colors, and becomes a JPEG where that is smaller.
"""

import base64
import io

from PIL import Image

from tutorial_lib.core.diagrams import PAPER

MANY_COLORS = 400  # of 15 bits each: more than ink, its edges and a map of colors have


def opened(data):
    "A picture in Base64, on paper where it is transparent."
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        image = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, PAPER)
    paper.alpha_composite(image)
    return paper.convert("RGB")


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, optimize=True, **options)
    return base64.b64encode(file.getvalue()).decode()


def as_jpeg(image):
    return encoded(image, "JPEG", quality=85)


def as_png(image):
    "With a palette: of 256 colors, each a mean of those that it stands for."
    palette = dict(method=Image.Quantize.MEDIANCUT, kmeans=1)
    return encoded(image.quantize(256, dither=Image.Dither.NONE, **palette), "PNG")


def guess(image):
    coarse = image.point(lambda value: value >> 3)
    few = coarse.getcolors(MANY_COLORS - 1)
    return "plot" if few else "photograph"


def is_photograph(data):
    "Whether the data of an output, by media type, hold a photograph."
    if "image/jpeg" in data or "image/webp" in data:
        return True
    if "image/png" not in data:
        return False
    return guess(opened(data["image/png"])) == "photograph"


def lighten(outputs, kind=None):
    """Store the pictures among a cell's outputs lightly; these are changed in place.

    kind: "plot" or "photograph", where the colors tell the wrong thing.
    """
    for output in outputs:
        data, sizes = output.get("data", {}), output.get("metadata", {})
        if "image/png" not in data:
            continue
        image = opened(data["image/png"])
        looks_like = guess(image)
        if (kind or looks_like) == "plot":
            store(data, sizes, "image/png", as_png(image))
        elif looks_like == "photograph":
            store(data, sizes, "image/jpeg", as_jpeg(image))


def store(data, sizes, media, picture):
    "Keep `picture` in place of a PNG, if it is the smaller one."
    if len(picture) < len(data["image/png"]):
        del data["image/png"]
        data[media] = picture
        if "image/png" in sizes:
            sizes[media] = sizes.pop("image/png")
