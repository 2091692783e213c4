"""Image models in PyTorch and fastai: the library that the book's notebooks export."""

from importlib import import_module

__version__ = "0.1.0"

# The face of the library: each name with its module, imported when it is asked for.
_MODULE_OF = {
    "train": "trainer",
    "load_model": "core.models",
    "evaluate": "trainer",
    "advise": "scenarios",
    "Config": "config",
}
__all__ = list(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
