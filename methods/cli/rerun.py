"""Rerun what a record states and report what differs.

    dec2vec rerun runs/results/.../record/run.json             one cell: its tasks, scored again
    dec2vec rerun runs/adapters/sgpt_nli_demo_1a2b3c4d         a training, from its training.json
    dec2vec rerun RECORD mirror=DIR model.dtype=float32        with the data here, in another dtype

The embedding cache is not used, and the record is not changed: the new run goes under --runs. Data
and weights are compared by digest, scores against the tolerance of the dtypes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

log = logging.getLogger(__name__)
NAMES = ("record/run.json", "run.json", "training.json")


def find_record(given: str) -> Path:
    """Return the record's file: itself, or the one in a cell's or an adapter's folder."""
    place = Path(given)
    candidates = [place] if place.is_file() else [place / name for name in NAMES if given]
    if found := next((file for file in candidates if file.is_file()), None):
        return found
    raise ValueError(
        f"{given or 'nothing'} is no record: give a run.json (runs/results/.../record/run.json), a "
        f"training.json, or the folder of a cell or an adapter that has one"
    )


def main() -> None:
    """Run the verb."""
    about = str(__doc__)
    parser = argparse.ArgumentParser(
        prog=sys.argv[0], description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RECORD [KEY=VALUE ...]",
        help="run.json, training.json or a folder with one; then mirror=, adapter=, model.*=, ...",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/rerun"), help="[runs/rerun]")
    parser.add_argument("--config-dir", help="where a plugin's module and YAML lie")
    arguments = parser.parse_intermixed_args()
    record, *overrides = arguments.words or [""]
    try:
        file = find_record(record)
    except ValueError as error:
        sys.exit(f"dec2vec rerun: {error}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for name in ("httpx", "mteb", "datasets"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from methods.cli.remake import rerun  # torch comes with it

    try:
        report = rerun(
            file,
            overrides=overrides,
            runs=arguments.runs,
            config_dir=arguments.config_dir,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"dec2vec rerun: {error}")
    print("\n".join(report.lines))
    sys.exit(0 if report.agrees else 1)
