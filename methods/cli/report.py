"""`dec2vec report [RUNS ...] [--out DIR]`: tables, figures and a page from records."""

from analysis.__main__ import main

__all__ = ["main"]
