"""Pictures of a page: each has a caption and an alternative text, or the build fails.

A cell says both in its directives, `fig-cap` and `fig-alt`. Plots are ink on paper,
which the dark page inverts; photographs keep their colors.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from book.photographs import is_photograph

logger = logging.getLogger(__name__)


def options(directives, outputs):
    """MyST-NB's options for the pictures among the outputs of a cell.

    The directive `picture` says whether it is a plot or a photograph where its colors
    tell the wrong thing.
    """
    data = [output.get("data", {}) for output in outputs]
    if not any(kind.startswith("image/") for d in data for kind in d):
        return {}
    guess = "photograph" if any(map(is_photograph, data)) else "plot"
    image = {"classes": directives.get("picture", guess)}
    if alt := directives.get("fig-alt"):
        image["alt"] = alt
    if caption := directives.get("fig-cap"):
        return {"image": image, "figure": {"caption": caption}}
    return {"image": image}


class Figures(SphinxTransform):
    """Keep the figure around pictures alone, and the caption at the last of a cell.

    MyST-NB puts every output of a cell with a caption into a figure.
    """

    default_priority = 4

    def apply(self):
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code":
                arrange(cell)


def arrange(cell):
    "The figures of one cell."
    figures = list(cell.findall(nodes.figure))
    with_picture = [figure for figure in figures if figure.next_node(nodes.image)]
    for figure in figures:
        if figure not in with_picture[-1:]:
            for caption in list(figure.findall(nodes.caption)):
                figure.remove(caption)
        if figure not in with_picture:
            figure.replace_self(figure.children)


def demand_words(app, doctree):
    "On `doctree-read`: name each picture that lacks words."
    for image in doctree.findall(nodes.image):
        if not image.get("alt"):
            logger.warning(
                "a picture has no alternative text: "
                "give it one, in a cell's directive fig-alt or between ![ and ]",
                location=image,
            )
    for cell in doctree.findall(nodes.container):
        is_code = cell.get("nb_element") == "cell_code"
        if is_code and cell.next_node(nodes.image) and not has_caption(cell):
            logger.warning(
                "the picture of a cell has no caption: "
                "give it one, in the cell's directive fig-cap",
                location=cell,
            )


def has_caption(cell):
    return any(figure.next_node(nodes.caption) for figure in cell.findall(nodes.figure))


def leave_out_numbers(app, config):
    "On `config-inited`, after Jupyter Book: a caption says what it shows, unnumbered."
    config.numfig = False


def setup(app):
    app.connect("config-inited", leave_out_numbers, priority=900)
    app.add_transform(Figures)
    app.connect("doctree-read", demand_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
