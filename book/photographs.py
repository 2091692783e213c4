"""Photographs among the outputs of a notebook: which they are, and stored lightly.

A plot is ink on paper: it stays a PNG, and the dark page inverts it. A photograph keeps
its colors, and becomes a JPEG where that is smaller.
"""

import base64
import io

import numpy as np
from PIL import Image

PAPER = "#fffdf9"  # of the book's light page, and of its figures
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


def is_photograph(data):
    "Whether the data of an output, by media type, hold a photograph."
    if "image/jpeg" in data or "image/webp" in data:
        return True
    if "image/png" not in data:
        return False
    colors = np.asarray(opened(data["image/png"])) >> 3
    n_color = len(np.unique(colors.reshape(-1, 3) @ [1, 1 << 5, 1 << 10]))
    return n_color >= MANY_COLORS


def lighten(outputs):
    "Store the photographs among a cell's outputs as JPEG; these are changed in place."
    for output in outputs:
        data, sizes = output.get("data", {}), output.get("metadata", {})
        if "image/png" not in data or not is_photograph(data):
            continue
        jpeg = as_jpeg(opened(data["image/png"]))
        if len(jpeg) < len(data["image/png"]):
            del data["image/png"]
            data["image/jpeg"] = jpeg
            if "image/png" in sizes:
                sizes["image/jpeg"] = sizes.pop("image/png")
