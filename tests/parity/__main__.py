"""Write the table of parity with the official codes: `python -m tests.parity`.

Some six minutes of one core's time. `runs/reference/parity.md` is the committed one.
"""

import argparse
import time
from pathlib import Path

import torch
import transformers
from tqdm import tqdm

from methods.provenance import find_commit, find_processor
from tests.parity.compare import HEADER, compare, groups
from tests.parity.texts import texts

ABOUT = """# Parity with the official codes

Token ids and vectors of every method against a plain re-implementation of its official code,
written from what that code does (`tests/parity/official/`): padded batches on plain transformers,
no code of ours. Ours runs packed, as always. Cosine and difference are of the worst text; the
difference is of one dimension, relative to the vector's largest.
"""


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/reference/parity.md"))
    parser.add_argument("--model", default="smollm2_135m", help="a name in conf/model")
    parser.add_argument("--texts", type=int, default=None, help="only the first ones")
    options = parser.parse_args()
    start, drawn = time.process_time(), texts()[: options.texts]
    results = [compare(*one, drawn, model=options.model) for one in tqdm(groups(), desc="parity")]
    made = find_commit()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    changed = " with changes" if made["dirty"] else ""
    foot = (
        f"`python -m tests.parity`, {time.strftime('%Y-%m-%d')}, commit {made['commit']}{changed}, "
        f"{options.model}, float32, {find_processor()}, {versions}, "
        f"{time.process_time() - start:.0f} CPU seconds."
    )
    lines = [HEADER, "|---|---|---:|---:|---:|---:|---|", *(result.line() for result in results)]
    options.out.write_text("\n".join([ABOUT, *lines, "", foot, ""]), encoding="utf-8")
    print("\n".join([*lines, foot]))


if __name__ == "__main__":
    main()
