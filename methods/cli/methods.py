"""`dec2vec methods`: every method there is, one line each, with its paper."""

import argparse
import inspect
import sys
from pathlib import Path

from hydra.utils import get_class
from omegaconf import OmegaConf

from methods.evaluation.config import CONF, choices
from methods.evaluation.plugins import make_importable


def main() -> None:
    """Entry point of the verb."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description=__doc__)
    parser.add_argument("--config-dir", help="a folder with more method/*.yaml")
    folder = parser.parse_args().config_dir
    if folder is not None:
        try:
            make_importable(folder)
        except ValueError as error:
            parser.error(str(error))
    for name in choices("method", config_dir=folder):
        file = next(
            path
            for root in (folder, CONF)
            if root and (path := Path(root) / "method" / f"{name}.yaml").is_file()
        )
        method = get_class(OmegaConf.select(OmegaConf.load(file), "_target_"))
        print(f"{name:18} {(inspect.getdoc(method) or '').splitlines()[0]}")
