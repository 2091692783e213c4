"""Image models in PyTorch and fastai: the library that the book's notebooks export."""
__version__ = "0.1.0"
