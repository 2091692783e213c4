"""Write the cell that installs the library on Colab: `python book/install.py`.

What pip is told to install stands in settings.ini alone. This writes it into the
notebooks anew, and leaves everything else in them as it is.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from book.identity import identity

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted([*ROOT.glob("nbs/*.ipynb"), *ROOT.glob("practice/*.ipynb")])
# The cell; what it installs beside the library comes last, or on a line of its own.
SET_UP = re.compile(
    r'import sys\n+if "google\.colab" in sys\.modules:\n'
    r"    %pip install -q (?P<library>\S+)( [\w-]+)*(\n    %pip install -q( [\w-]+)+)?"
)
LIBRARY = re.compile(r'(?<=    %pip install -q )[^\s"\\]+')  # in a notebook's text


def is_set_up(source):
    "Whether the source of a cell is the one that installs the library on Colab."
    return bool(SET_UP.fullmatch(source))


def written_anew(text, me):
    "The text of a notebook whose first cell installs what the settings say."
    return LIBRARY.sub(me.install, text, count=1)


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    me = identity(ROOT, env={})
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        new = written_anew(text, me)
        if new != text:
            path.write_text(new, encoding="utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
