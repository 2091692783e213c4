"""The reference of the command: tables of its options, statuses and keys.

The options are those of `tutorial_lib.core.commands`, from which the parser is made.
The keys are the fields of `tutorial_lib.config`. So nothing is said twice.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from book.folds import fold, words


def code(text):
    return f"`{text}`"


def option_rows(command):
    "A row for each option of a command: name, what it takes, default, what it does."
    rows = []
    for option in command.options:
        takes = option.takes
        if option.choices:
            takes = re.sub(r"(?<!\S)(?!or\b)[^\s,]+", r"`\g<0>`", takes)
        elif takes == option.metavar:
            takes = code(takes)
        usually = option.usually
        if option.default is not None:
            usually = code(usually)
        name = option.name if option.is_option else option.metavar or option.name
        rows.append([code(name), takes, usually, option.what_it_does])
    return rows


def status_rows():
    from tutorial_lib.core.commands import STATUSES

    return [[code(status), what] for status, what in STATUSES.items()]


def key_rows(keys, names):
    "A row for each key: its name, default, unit, what it may hold, and the reason."
    from tutorial_lib.core.keys import reason_of_key, unit_of_key
    from tutorial_lib.core.layers import shown

    rows = []
    for name in names:
        field = keys.fields[name]
        default = code(shown(field.default))
        about = [unit_of_key(field), keys.allowed(name), reason_of_key(field)]
        rows.append([code(name), default, *about])
    return rows


def table(heads, rows):
    """A table whose rows become blocks on a phone.

    So each cell knows its column's name, which is hidden where the column has a head.
    Code links to the reference in the last column alone: before it stand values.
    """
    widths = [nodes.colspec(colwidth=1) for _ in heads]
    head = nodes.row("", *[nodes.entry("", nodes.paragraph("", h)) for h in heads])
    body = []
    for row in rows:
        entries = []
        for name, text in zip(heads, row, strict=True):
            label = nodes.inline("", name, classes=["cell-label"])
            cell = nodes.paragraph("", "", label, *words(text))
            for literal in cell.findall(nodes.literal):
                literal["classes"] += ["no-link"] * (name != heads[-1])
            empty = [] if text else ["empty"]
            entries.append(nodes.entry("", cell, classes=empty))
        body.append(nodes.row("", *entries))
    group = nodes.tgroup("", *widths, nodes.thead("", head), nodes.tbody("", *body))
    group["cols"] = len(heads)
    return nodes.table("", group, classes=["blocks", f"of-{len(heads)}"])


class Tables(SphinxDirective):
    """What the directives below share: parts, and a page that is built anew in time.

    With the option `folded` a part is a bar to open, else it is a section.
    """

    option_spec = {"folded": directives.flag}

    def part(self, name, title, summary, *content):
        if "folded" in self.options:
            near = nodes.paragraph()
            self.set_source_info(near)
            text = " ".join(f"{title}: {summary}".split()).rstrip(".: ")
            made = fold(content, text, "table", near)
            made["ids"].append(nodes.make_id(name))
            return made
        content = nodes.paragraph("", "", *words(summary)), *content
        return self.section(name, title, *content)

    def section(self, name, title, *content):
        made = nodes.section("", nodes.title("", "", *words(title)), *content)
        made["ids"].append(nodes.make_id(name))
        made["names"].append(nodes.fully_normalize_name(name))
        self.state.document.note_explicit_target(made, made)
        return made

    def depends_on(self, *modules):
        for module in modules:
            file = module.replace(".", "/") + ".py"
            self.env.note_dependency(str(Path(self.env.srcdir, "tutorial_lib", file)))


class CommandOptions(Tables):
    "`{command-options}`: a section with a table for each command."

    def run(self):
        from tutorial_lib.core.commands import COMMANDS

        self.depends_on("core.commands", "core.options")
        heads = "Option", "Takes", "Default", "What it does"
        sections = []
        for command in COMMANDS:
            examples = "\n".join(command.examples)
            more = nodes.paragraph("", "", *words(" ".join(command.more.split())))
            shell = nodes.literal_block(examples, examples, language="text")
            shell = nodes.container("", shell, classes=["command-lines"])
            name = f"tutorial-lib {command.name}"
            rows = option_rows(command)
            content = more, table(heads, rows), shell
            sections.append(self.part(name, code(name), command.summary, *content))
        return sections


class ExitStatuses(Tables):
    "`{exit-statuses}`: what each number says to a script."

    def run(self):
        self.depends_on("core.commands")
        return [table(("Status", "What happened"), status_rows())]


class ConfigurationKeys(Tables):
    "`{configuration-keys}`: a table for each section of a configuration."

    def run(self):
        from tutorial_lib.config import KEYS
        from tutorial_lib.core.keys import summary_of

        self.depends_on("config", "core.keys")
        heads = "Key", "Default", "Unit", "May hold", "Reason"
        top = [name for name in KEYS.fields if "." not in name]
        rows = table(heads, key_rows(KEYS, top))
        what = "Says what is left out of a configuration."
        sections = [self.part("recipe", "`recipe`", what, rows)]
        for name, kind in KEYS.sections.items():
            inside = [f"{name}.{key}" for key in kind.model_fields]
            rows = table(heads, key_rows(KEYS, inside))
            title = f"keys of {name}", code(name)
            sections.append(self.part(*title, summary_of(kind), rows))
        return sections


def setup(app):
    app.add_directive("command-options", CommandOptions)
    app.add_directive("exit-statuses", ExitStatuses)
    app.add_directive("configuration-keys", ConfigurationKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
