"""Pages that arrive soon, also over a slow line.

Pictures wait until they are near, in a place that has their size; code is marked up
only where it has a color; a file that an output offers stands beside the page.
"""

import re
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from PIL import Image

# Names, punctuation and spaces: the theme of the code gives them the text's own color.
PLAIN = re.compile(r'<span class="(?:n|nn|p|pm|w)">([^<]*)</span>')
PICTURE = re.compile(r'<img\b[^>]*\bsrc="[^"]*?([^"/]+)"[^>]*>')
OFFER = re.compile(r'<a download="([\w.-]+)" href="data:[\w/]+;base64,([^"]+)"')
SIDES = "width", "height"
PIXELS = {"pt": 4 / 3, "px": 1, "": 1}


def svg_size(path):
    "Width and height of a drawing in pixels, or nothing if it does not say."
    root = ElementTree.parse(path).getroot()
    sides = [re.fullmatch(r"([\d.]+)(pt|px|)", root.get(side, "")) for side in SIDES]
    if all(sides):
        return [round(float(side[1]) * PIXELS[side[2]]) for side in sides]
    return None


def size(path):
    "Width and height of a picture in pixels, or nothing if it does not say."
    if path.suffix == ".svg":
        return svg_size(path)
    with Image.open(path) as image:
        return image.size


def with_sizes(body, files):
    """The pictures of an article, whose place on the page is known before they come.

    All but the first wait until they are near. `files` has a path for each name.
    """
    n_seen = 0

    def mended(match):
        nonlocal n_seen
        n_seen += 1
        more = ['decoding="async"']
        if n_seen > 1:
            more.append('loading="lazy"')
        path = files.get(unquote(match[1]))
        sides = size(path) if path else None
        if sides and ' width="' not in match[0]:
            more += [f'{side}="{n}"' for side, n in zip(SIDES, sides)]
        return match[0].replace("<img", f"<img {' '.join(more)}", 1)

    return PICTURE.sub(mended, body)


def with_files(body, folder, address):
    """An article whose downloads are files in `folder`, and not part of the page.

    `address` gives a file's address, seen from the page.
    """

    def stored(match):
        content = b64decode(match[2])
        path = folder / sha256(content).hexdigest()[:16] / match[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f'<a download="{path.name}" href="{address(path)}"'

    return OFFER.sub(stored, body)


def lighten(app, pagename, templatename, context, doctree):
    "On `html-page-context`: an article without what it can do without."
    body = context.get("body")
    if not body:
        return
    out = Path(app.outdir)
    images = app.builder.images.items()
    files = {name: Path(app.srcdir, source) for source, name in images}

    def address(path):
        return context["pathto"](path.relative_to(out).as_posix(), 1)

    body = PLAIN.sub(r"\1", body)
    body = with_files(body, out / "_downloads", address)
    context["body"] = with_sizes(body, files)


def setup(app):
    app.connect("html-page-context", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
