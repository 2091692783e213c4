"""Make the pictures of a report again: `python book/shots.py`.

`tutorial-lib train` learns breeds from photographs of pets, Chromium opens the report
that it wrote, and what is seen goes to book/assets.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

from tutorial_lib.data import image_files, load

ASSETS = Path(__file__).parent / "assets"
BREEDS = "beagle", "birman", "pug", "ragdoll", "siamese"
PHOTOGRAPHS = 60  # of a breed
WINDOW = {"width": 1080, "height": 800}
WIDTH = 1200  # of a picture
SHOTS = {  # name of a picture -> theme, and the elements between which it is
    "report": ("light", "body", "#confusion"),
    "report-dark": ("dark", "body", "#confusion"),
    "report-errors": ("light", "#errors", "#calibration"),
    "report-errors-dark": ("dark", "#errors", "#calibration"),
}


def make_folder(folder):
    "Photographs of pets, one sub-folder a breed."
    files = sorted(image_files(load("pets")))
    for breed in BREEDS:
        (folder / breed).mkdir(parents=True)
        of_breed = [f for f in files if f.stem.rpartition("_")[0].lower() == breed]
        for file in of_breed[:PHOTOGRAPHS]:
            shutil.copy(file, folder / breed / file.name.lower())


def train(folder):
    "The page of the report that a training on `folder` wrote."
    program = Path(sys.executable).with_name("tutorial-lib")
    command = [program, "train", folder.name, "data.test=0.2"]
    subprocess.run(command, cwd=folder.parent, check=True)
    return folder.parent / "runs" / folder.name / "report" / "report.html"


def shoot(page, name, first, after):
    "Write the part of a page between the tops of two elements as a picture."
    first, after = (page.locator(h).bounding_box()["y"] for h in (first, after))
    y = first + 2  # below the line between two sections
    part = {"x": 0, "y": y, "width": WINDOW["width"], "height": after - 16 - y}
    png = page.screenshot(full_page=True, clip=part)
    Image.open(io.BytesIO(png)).save(ASSETS / f"{name}.webp", quality=82, method=6)


def shoot_all(report):
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport=WINDOW, device_scale_factor=WIDTH / WINDOW["width"]
        )
        page.goto(report.as_uri())
        for name, (theme, first, after) in SHOTS.items():
            page.emulate_media(color_scheme=theme)
            shoot(page, name, first, after)
        browser.close()


def main():
    with TemporaryDirectory() as place:
        folder = Path(place, "my_photos")
        make_folder(folder)
        shoot_all(train(folder))


if __name__ == "__main__":
    main()
