"""Write and draw loss, learning rate and validation score by step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from transformers import TrainerCallback

log = logging.getLogger(__name__)
COLUMNS = ["step", "loss", "learning_rate", "grad_norm", "eval_score"]
HELD_OUT = "eval_loss"  # a column where an objective measures it


class Curve(TrainerCallback):
    """Write loss.csv and loss.png at every checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.write(state)

    def write(self, state: Any) -> None:
        """Write both files from the trainer's log."""
        if not state.is_world_process_zero or not state.log_history:
            return
        logged = pd.DataFrame(state.log_history)
        rows = logged.reindex(columns=[*COLUMNS, *({HELD_OUT} & set(logged.columns))])
        rows = rows.groupby("step", as_index=False).last()
        try:
            rows.to_csv(self.folder / "loss.csv", index=False)
            self._draw(rows)
        except OSError as error:  # a checkpoint that does not fit is an error, a missing curve not
            log.warning("no curve in %s: %s", self.folder, error)

    def _draw(self, rows: pd.DataFrame) -> None:
        figure = Figure(figsize=(6.9, 2.7), layout="constrained")
        axes = figure.subplots()
        loss = rows.dropna(subset=["loss"])
        axes.plot(loss["step"], loss["loss"], color="0.75", linewidth=0.8)
        smooth = loss["loss"].ewm(halflife=max(len(loss) / 30, 1)).mean()
        axes.plot(loss["step"], smooth, color="#0072B2", linewidth=1.4, label="loss, smoothed")
        if HELD_OUT in rows:
            held = rows.dropna(subset=[HELD_OUT])
            axes.plot(held["step"], held[HELD_OUT], "o-", color="#009E73", label="loss, held out")
        axes.set(xlabel="step", ylabel="loss")
        other = axes.twinx()
        other.plot(
            loss["step"], loss["learning_rate"], "--", color="#D55E00", label="learning rate"
        )
        other.ticklabel_format(axis="y", scilimits=(0, 0))
        other.set(ylabel="learning rate", ylim=(0, None))
        scores = rows.dropna(subset=["eval_score"])
        for step, score in zip(scores["step"], scores["eval_score"], strict=True):
            axes.axvline(step, color="0.9", zorder=0)
            axes.annotate(f"{score:.3f}", (step, 1), xycoords=("data", "axes fraction"), size=6)
        figure.legend(loc="outside upper right", ncols=3, frameon=False)
        figure.savefig(self.folder / "loss.png", dpi=150)
