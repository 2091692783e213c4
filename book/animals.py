"""Draw the picture of the first page again: `python book/animals.py`."""

from pathlib import Path

from PIL import Image, ImageDraw

from tutorial_lib.sample import draw

ROWS = [  # breed -> seed
    {
        "striped_pointy": 32,
        "masked_round": 30,
        "spotted_floppy": 21,
        "striped_long": 19,
        "patched_pointy": 24,
        "spotted_round": 22,
    },
    {
        "masked_long": 15,
        "patched_round": 10,
        "spotted_pointy": 20,
        "striped_floppy": 17,
        "patched_long": 11,
        "masked_pointy": 12,
    },
]
SIDE, GAP = 232, 20


def rounded(picture):
    "A picture with round corners on a transparent ground."
    side = 4 * SIDE  # drawn large and shrunk, so that its edge is soft
    mask = Image.new("L", (side, side))
    box = 0, 0, side - 1, side - 1
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=4 * 28, fill=255)
    picture.putalpha(mask.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return picture


def main():
    step = SIDE + GAP
    sheet = Image.new("RGBA", (step * len(ROWS[0]) - GAP, step * len(ROWS) - GAP))
    for y, row in enumerate(ROWS):
        for x, (breed, seed) in enumerate(row.items()):
            sheet.paste(rounded(draw(breed, SIDE, seed)), (x * step, y * step))
    sheet.save(Path(__file__).parent / "assets" / "animals.webp", quality=84, method=6)


if __name__ == "__main__":
    main()
