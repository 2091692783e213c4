import os

from hypothesis import settings

settings.register_profile("book", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("book")

if "PYTEST_XDIST_WORKER" in os.environ:     # one core a worker, and a core for what it starts
    os.environ["OMP_NUM_THREADS"] = "1"
