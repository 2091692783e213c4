"""Who publishes the book.

It stands in settings.ini, and on GitHub Actions in GITHUB_REPOSITORY, so that a fork
links to itself.
"""

import os
from urllib.parse import urlsplit

from fastcore.basics import AttrDict
from fastcore.xtras import Config

COLAB = "https://colab.research.google.com/github"


def identity(root, env=os.environ):
    """The settings under `root` as a dict with attributes.

    Added are `repo_url`, `colab_url`, `prefix` (the book's path on its server) and
    `install` (what pip is told to install). Every value is a string.
    """
    me = AttrDict(Config(root, "settings.ini").d)
    user, _, repo = env.get("GITHUB_REPOSITORY", "").partition("/")
    if repo and (user, repo) != (me.user, me.repo):
        me.update(user=user, repo=repo)
        me.book_url = f"https://{user.lower()}.github.io/{repo}/"
    me.repo_url = f"https://github.com/{me.user}/{me.repo}"
    me.colab_url = f"{COLAB}/{me.user}/{me.repo}/blob/{me.branch}"
    me.prefix = urlsplit(me.book_url).path
    me.install = me.pypi_name if me.on_index == "yes" else f"git+{me.repo_url}"
    return me


def configure(app, config):
    "Give the book's configuration its title, its repository and its URLs."
    me = identity(app.confdir)
    config.project = config.html_title = config.ogp_site_name = me.title
    config.html_baseurl = config.ogp_site_url = me.book_url
    theme = config.html_theme_options
    theme.update(repository_url=me.repo_url, repository_branch=me.branch)
    theme["logo"]["text"] = me.title
    config.html_context.update(book=me)
    config.extlinks = {
        "colab": (f"{me.colab_url}/%s", None),
        "repo": (f"{me.repo_url}/%s", None),
    }


def setup(app):
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
