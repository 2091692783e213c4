"""Photographs among the outputs of a notebook: which they are, and stored lightly.

A plot is ink on paper: it stays a PNG, and the dark page inverts it. A photograph keeps
its colors, and becomes a JPEG where that is smaller.
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


def as_jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def has_many_colors(image):
    coarse = image.point(lambda value: value >> 3)
    return coarse.getcolors(MANY_COLORS - 1) is None


def is_photograph(data):
    "Whether the data of an output, by media type, hold a photograph."
    if "image/jpeg" in data or "image/webp" in data:
        return True
    if "image/png" not in data:
        return False
    return has_many_colors(opened(data["image/png"]))


def lighten(outputs):
    "Store the photographs among a cell's outputs as JPEG; these are changed in place."
    for output in outputs:
        data, sizes = output.get("data", {}), output.get("metadata", {})
        if "image/png" not in data:
            continue
        image = opened(data["image/png"])
        if has_many_colors(image) and len(jpeg := as_jpeg(image)) < len(
            data["image/png"]
        ):
            del data["image/png"]
            data["image/jpeg"] = jpeg
            if "image/png" in sizes:
                sizes["image/jpeg"] = sizes.pop("image/png")
