"""Draw the pictures of the first page and of cards again: `python book/animals.py`.

animals.webp is for the README, learn.webp for the door to the lessons, and card.png is
what other sites show beside a link to the book.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from book.identity import identity
from tutorial_lib.core.diagrams import INK, PAPER
from tutorial_lib.sample import draw

ROOT = Path(__file__).resolve().parents[1]
ANIMALS = [  # breed, seed
    ("striped_pointy", 32),
    ("masked_round", 30),
    ("spotted_floppy", 21),
    ("striped_long", 19),
    ("patched_pointy", 24),
    ("spotted_round", 22),
    ("masked_long", 15),
    ("patched_round", 10),
    ("spotted_pointy", 20),
    ("striped_floppy", 17),
    ("patched_long", 11),
    ("masked_pointy", 12),
    ("striped_round", 14),
    ("masked_floppy", 15),
    ("spotted_long", 17),
]
SIDE, GAP = 232, 20
CARD = 1200, 630  # what readers of cards expect
SOFT_INK = "#5a6069"


def rounded(picture):
    "A picture with round corners on a transparent ground."
    side = 4 * SIDE  # drawn large and shrunk, so that its edge is soft
    mask = Image.new("L", (side, side))
    box = 0, 0, side - 1, side - 1
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=4 * 28, fill=255)
    picture.putalpha(mask.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return picture


def sheet(animals, columns):
    "Animals in rows, on a transparent ground."
    step, rows = SIDE + GAP, len(animals) // columns
    made = Image.new("RGBA", (step * columns - GAP, step * rows - GAP))
    for i, (breed, seed) in enumerate(animals):
        row, column = divmod(i, columns)
        made.paste(rounded(draw(breed, SIDE, seed)), (column * step, row * step))
    return made


def card(title, words):
    "The title of the book, over a row of animals."
    made = Image.new("RGB", CARD, PAPER)
    pen = ImageDraw.Draw(made)
    pen.text((70, 62), title, INK, ImageFont.load_default(84), stroke_width=1)
    for i, line in enumerate(words):
        pen.text((72, 192 + 50 * i), line, SOFT_INK, ImageFont.load_default(36))
    row = sheet(ANIMALS[:5], 5)
    row.thumbnail((CARD[0] - 140, CARD[1]), Image.Resampling.LANCZOS)
    made.paste(row, (70, CARD[1] - row.height - 62), row)
    return made


def main():
    assets, title = ROOT / "book" / "assets", identity(ROOT, env={}).title
    sheet(ANIMALS[:12], 6).save(assets / "animals.webp", quality=84, method=6)
    learn = sheet(ANIMALS, 5)
    learn.thumbnail((1000, 1000), Image.Resampling.LANCZOS)
    learn.save(assets / "learn.webp", quality=84, method=6)
    words = (
        "PyTorch and fastai on images: a book of notebooks that were run,",
        "a library, and a trainer for your own photographs.",
    )
    about = PngInfo()
    about.add_text("Title", title)
    small = card(title, words).quantize(256, method=Image.Quantize.MEDIANCUT)
    small.save(assets / "card.png", pnginfo=about, optimize=True)


if __name__ == "__main__":
    main()
