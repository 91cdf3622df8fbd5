"""Collect what is wrong with rows, and say it in one message."""

from __future__ import annotations

from collections.abc import Mapping

SHOWN = 3  # faults that a message lists


def raise_faults(
    source: str, faults: Mapping[str, str], *, number: int, what: str = "rows"
) -> None:
    """Raise ValueError, naming the first places, if there are faults.

    faults: where a row stands -> what is wrong with it. number: of all rows.
    """
    if faults:
        shown = "; ".join(f"{place}: {fault}" for place, fault in list(faults.items())[:SHOWN])
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ValueError(
            f"{source}: {len(faults)} of {number:,} {what} cannot be evaluated ({shown}{more}). "
            f"Mend them, or take them out"
        )
