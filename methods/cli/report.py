"""`dec2vec report [RUNS ...] [--out DIR]`: what analysis makes of what runs left behind."""

from analysis.__main__ import main

__all__ = ["main"]
