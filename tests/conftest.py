import os

import pytest
from hypothesis import settings
from wheelhouse import build_wheel, link_dependencies

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")

if "PYTEST_XDIST_WORKER" in os.environ:     # one core a worker, and a core for what it starts
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    "The wheel of the working tree, or the one that the variable WHEEL names."
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def links(tmp_path_factory):
    "A folder through which an environment sees all that is installed here, but for `tutorial_lib`."
    return link_dependencies(tmp_path_factory.mktemp("links")/"site")
