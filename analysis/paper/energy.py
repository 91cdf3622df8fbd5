"""Estimate the energy of runs from their time: no record holds a measurement.

Source: Green Algorithms (Lannelongue et al., arXiv 2007.07610): time x power of the cores in use,
here without memory, cooling and idle machines. Only runs on a CPU are estimated: a record names
the kind of device and not its power.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.paper.evidence import Evidence


@dataclass(frozen=True)
class Energy:
    """joules: of all runs that could be estimated. missing: tasks of cells that could not be."""

    joules: float
    missing: int


def estimate_energy(evidence: Evidence, watts_per_core: float) -> tuple[Energy, pd.Series]:
    """Return the energy of all evaluations, and of each cell by its folder."""
    runs = evidence.done.drop_duplicates(["folder", "task"])
    seconds, threads = pd.to_numeric(runs["seconds"]), pd.to_numeric(runs["threads"])
    joules = (seconds * threads * watts_per_core).where(runs["device"].eq("cpu"))
    by_folder = joules.groupby(runs["folder"]).sum(min_count=1)
    return Energy(float(joules.sum()), int(joules.isna().sum())), by_folder
