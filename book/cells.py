"""A code cell of a notebook: its directives, and its code."""

import re

DIRECTIVE = re.compile(r"#\s*\|\s{0,2}(\w[\w-]*):?\s*(.*)")
FURTHER = re.compile(r"#\|\s{3,}(.*)")


def read_cell(source):
    "The directives that a cell begins with, as {name: value}, and the code after them."
    found, lines, name = {}, source.splitlines(keepends=True), ""
    while lines:
        if m := DIRECTIVE.match(lines[0]):
            name = m[1]
            found[name] = m[2].strip()
        elif (m := FURTHER.match(lines[0])) and name:
            found[name] = f"{found[name]} {m[1].strip()}".strip()
        else:
            break
        lines.pop(0)
    found = {name: text.strip("\"'") for name, text in found.items()}
    return found, "".join(lines).lstrip("\n")
