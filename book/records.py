"""The fields of a record, such as a dataclass, as one table of the reference.

A record is a class that is no more than its fields: one of pydantic, a dataclass or a
named tuple.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import import_module
from io import StringIO
from tokenize import COMMENT, generate_tokens
from typing import Literal, get_args, get_origin

from docutils import nodes
from fastcore.docments import docments

from book.command import Tables, code, table


def is_record(obj):
    marks = "model_fields", "__dataclass_fields__", "_field_defaults"
    return isinstance(obj, type) and any(hasattr(obj, mark) for mark in marks)


def written(default):
    "A default as Python writes it: a function by its name, a lambda as three dots."
    name = getattr(default, "__qualname__", repr(default))
    return "..." if "<" in name else name


def type_text(annotation):
    "A type as people write it: `Path | None`, `'crop' | 'pad'`."
    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, get_args(annotation)))
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(annotation))


def comments_in(code):
    "The comments in code, but for those that begin a line: number of it -> text."
    tokens = generate_tokens(StringIO(code).readline)
    comments = [token for token in tokens if token.type == COMMENT]
    return {t.start[0]: t.string.strip("# ") for t in comments if t.line[: t.start[1]]}


def comments_beside(record):
    "What stands beside, or above, each field of a class: name -> text."
    source = textwrap.dedent(inspect.getsource(record))
    lines, comments, found = source.splitlines(), comments_in(source), {}
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        is_above = lines[node.lineno - 2].lstrip().startswith("#")
        above = comments[node.lineno - 1] if is_above else ""
        found[node.target.id] = comments.get(node.end_lineno, above)
    return found


def fields_of_tuple(record):
    docs, defaults = comments_beside(record), record._field_defaults
    for name, kind in record.__annotations__.items():
        yield (
            name,
            kind,
            written(defaults[name]) if name in defaults else "",
            docs[name],
        )


def fields_of_dataclass(record):
    docs = docments(record)
    for field in dataclasses.fields(record):
        default = ""
        if field.default_factory is not dataclasses.MISSING:
            default = f"{written(field.default_factory)}()"
        elif field.default is not dataclasses.MISSING:
            default = written(field.default)
        if not field.name.startswith("_"):
            yield field.name, field.type, default, docs[field.name] or ""


def fields_of_section(record):
    for name, field in record.model_fields.items():
        kind, default, text = field.annotation, written(field.default), ""
        if is_record(kind):  # a section in it
            default, text = "", kind.__doc__.partition("\n")[0]
        yield name, kind, default, field.description or text


def fields_of(record):
    "The fields of a record, each as (name, type, default, what it says)."
    if hasattr(record, "model_fields"):
        return list(fields_of_section(record))
    if dataclasses.is_dataclass(record):
        return list(fields_of_dataclass(record))
    return list(fields_of_tuple(record))


class RecordFields(Tables):
    """`.. record-fields:: NAME`: a table of the fields of a class.

    Each field has its place in it, so that a link and a search find it.
    """

    required_arguments = 1

    def run(self):
        record_name = self.arguments[0]
        module, _, name = record_name.rpartition(".")
        fields = fields_of(getattr(import_module(module), name))
        rows = [
            [code(field), code(type_text(kind)), default and code(default), text]
            for field, kind, default, text in fields
        ]
        heads = ["Field", "Type", "Default", "What it says"]
        if not any(default for _, _, default, _ in rows):
            heads.remove("Default")
            rows = [[name, kind, text] for name, kind, _, text in rows]
        made = table(heads, rows)
        made["classes"].append("fields")
        domain = self.env.get_domain("py")
        body = next(made.findall(nodes.tbody))
        for row, (field, *_) in zip(body, fields, strict=True):
            place = f"{record_name}.{field}"
            row["ids"].append(place)
            row.next_node(nodes.literal)["classes"].append("no-link")
            domain.note_object(place, "attribute", place, location=row)
        return [made]


def setup(app):
    app.add_directive("record-fields", RecordFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
