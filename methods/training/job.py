"""Run one training: from a resolved config to an adapter folder.

    FOLDER/adapter_config.json, adapter_model.safetensors     PEFT's layout
    FOLDER/pooler.safetensors                                 a trained pooling, if there is one
    FOLDER/training.json                                      what it was trained on, with and from
    FOLDER/asked.json                                         its settings; others are refused
    FOLDER/below/N_NAME/                                      its parent adapters, in order
    FOLDER/loss.csv, loss.png                                 loss, learning rate, validation
    FOLDER/model.safetensors, config.json, tokenizer.json     instead, where all weights are trained
    FOLDER/checkpoints/                                       to resume from; removed at the end

The same command resumes from the last complete checkpoint, and does nothing once all is done.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import datasets
from accelerate import PartialState
from datasets import DatasetDict
from safetensors import SafetensorError

from methods.backbone.adapters import stack_adapters
from methods.backbone.attention import attention_mode
from methods.backbone.hardware import resolve_device
from methods.backbone.loader import BackboneSpec
from methods.base import Method
from methods.encoding.instructions import Instructions
from methods.records import check_writable, write_atomically
from methods.training import data, validation
from methods.training.arguments import build_arguments
from methods.training.curve import Curve
from methods.training.objective import Objective, Setup
from methods.training.prepare import Prepared, prepare_model
from methods.training.recipe import Recipe, RunOptions
from methods.training.record import build_record
from methods.training.stored_settings import (
    describe_settings,
    refuse_other_settings,
    write_settings,
)
from methods.training.trainable import supports_four_bit
from methods.training.trainer import count_steps, find_last_checkpoint

log = logging.getLogger(__name__)


@dataclass
class TrainJob:
    """A resolved training; `run` returns the adapter folder.

    chosen: what trials chose its learning rate by, for records to state; None: it was given.
    """

    method: Method
    spec: BackboneSpec
    recipe: Recipe
    objective: Objective
    data: data.Data
    run_options: RunOptions
    folder: Path
    name: str = ""
    title: str = ""
    mirror: str | None = None
    instructions: Instructions = field(default_factory=Instructions)
    overrides: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_dir: str | None = None
    chosen: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if (rows := self.method.rows_per_text) > 1:
            raise ValueError(
                f"{type(self.method).__name__} makes {rows} rows of a text, and only methods of "
                f"one row are trained; train with another method"
            )
        if self.method.sites:
            raise ValueError(
                f"{type(self.method).__name__} changes states within the pass, which training does "
                f"not do; train with another method"
            )

    def run(self) -> Path:
        """Train, resume, or find that all is done; return the folder.

        Raises ValueError for an unusable setting, and for a folder of another training.
        """
        check_writable(self.folder, key="out" if self.config.get("out") else "runs")
        datasets.disable_progress_bars()
        settings = describe_settings(self)
        refuse_other_settings(self.folder, settings)
        if (self.folder / "training.json").is_file():
            log.info("%s is trained already, with these settings", self.folder)
            return self.folder
        rows, about = self.load_rows()
        held = about["sources"].items()
        settings["decides"]["rows"] = {name: source["sha256"] for name, source in held}
        prepared = self.prepare()
        with attention_mode(prepared.backbone.model, prepared.method.attention):
            trainer = self.build_trainer(prepared, rows)
            with self.processes.main_process_first():  # which removes incomplete checkpoints
                refuse_other_settings(self.folder, settings)
                if self.processes.is_main_process:
                    write_settings(self.folder, settings)
                done = find_last_checkpoint(self.folder / "checkpoints")
            trainer.train(resume_from_checkpoint=str(done) if done else None)
        self._finish(prepared, trainer, about)
        self.processes.wait_for_everyone()
        return self.folder

    @property
    def four_bit(self) -> bool:
        """Whether the frozen weights are in 4 bits."""
        return self.recipe.trainable.quantized == "auto" and supports_four_bit(self.spec.device)

    @property
    def trains_all_weights(self) -> bool:
        """Whether all weights are trained: then the folder holds a model, not an adapter."""
        return self.recipe.trainable.kind == "full"

    @property
    def packed(self) -> bool:
        """Whether sequences are packed, which attention dropout rules out."""
        return self.run_options.packed and not self.recipe.attention_dropout

    @cached_property
    def processes(self) -> PartialState:
        """The processes that train together (torchrun, accelerate launch), often one."""
        return PartialState(cpu=resolve_device(self.spec.device) == "cpu")

    def load_rows(self) -> tuple[DatasetDict, dict[str, Any]]:
        """Return checked rows by source, and what the record states about them."""
        loaded = data.load(
            self.data,
            texts_only=self.objective.reads == "texts",
            negatives=self.recipe.negatives,
            seed=self.run_options.seed,
        )
        about: dict[str, Any] = {"sources": loaded.about}
        if self.data.compare_with:
            texts = validation.load_texts(self.data.compare_with, self.mirror)
            about["overlap"] = data.find_overlap(loaded.rows, texts)
            for task, found in about["overlap"].items():
                log.warning(
                    "%s: %d of %d texts are in the data", task, found["shared"], found["texts"]
                )
        return loaded.rows, about

    def prepare(self) -> Prepared:
        """Load the model with frozen, unpacked weights, and attach what is trained."""
        if self.recipe.trainable.quantized == "auto":
            log.info("weights %s", "in 4 bits" if self.four_bit else "not in 4 bits: no CUDA")
        spec = dataclasses.replace(self.spec, linears="torch", four_bit=self.four_bit)
        device = str(self.processes.device)
        if self.processes.num_processes > 1 and device.startswith("cuda"):
            spec = dataclasses.replace(spec, device=device)
        return prepare_model(
            spec,
            self.method,
            self.recipe,
            objective=self.objective,
            run_options=self.run_options,
        )

    def build_trainer(self, prepared: Prepared, rows: DatasetDict) -> Any:
        """Return the objective's trainer."""
        setup = Setup(
            backbone=prepared.backbone,
            method=prepared.method,
            recipe=self.recipe,
            spec=self.spec,
            trained=prepared.trained,
            packed=self.packed,
            mini_batch_tokens=self.run_options.mini_batch_tokens,
            num_processes=self.processes.num_processes,
            seed=self.run_options.seed,
            validates=self.run_options.validate is not None,
            trainer_options=partial(self._build_trainer_options, prepared),
        )
        return self.objective.build_trainer(setup, rows)

    def _build_trainer_options(
        self,
        prepared: Prepared,
        kind: Any,
        *,
        num_rows: int,
        mini_batch: int | None = None,
        evaluates: bool = False,
    ) -> dict[str, Any]:
        """Return what every trainer is given (Setup.trainer_options)."""
        steps, schedule_steps = count_steps(self.recipe, num_rows)
        validate = None
        if (tasks := self.run_options.validate) is not None:
            validate = validation.Validation(
                prepared.backbone, prepared.method, tasks, self.instructions
            )
        return {
            "trained": prepared.trained,
            "recipe": self.recipe,
            "schedule_steps": schedule_steps,
            "pooler": prepared.backbone.trained_pooling,
            "validate": validate,
            "args": build_arguments(
                kind,
                self.recipe,
                self.run_options,
                prepared=prepared,
                folder=self.folder,
                steps=steps,
                mini_batch=mini_batch,
                evaluates=evaluates,
                processes=self.processes.num_processes,
            ),
            "callbacks": [Curve(self.folder)],
        }

    def _finish(self, prepared: Prepared, trainer: Any, about: dict[str, Any]) -> None:
        """Write what was trained. Raises ValueError if it was not trained to its last step."""
        if trainer.state.global_step < trainer.args.max_steps:
            raise ValueError(
                f"training ended after {trainer.state.global_step} of {trainer.args.max_steps} "
                f"steps: the data made no more batches of {self.recipe.batch_size}; lower "
                f"recipe.batch_size"
            )
        Curve(self.folder).write(trainer.state)
        try:
            if not self.trains_all_weights:
                trainer.save_model(str(self.folder))
            spent = trainer.count_spent()
            if trainer.is_world_process_zero():
                self._write_folder(prepared)
                record = build_record(self, prepared, trainer, about=about, spent=spent)
                text = json.dumps(record.to_json(), indent=2, default=str) + "\n"
                write_atomically(self.folder / "training.json", text)
                shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"{self.folder} cannot be written: {error}. Free some space; the same command "
                f"resumes from the last checkpoint"
            ) from error

    def _write_folder(self, prepared: Prepared) -> None:
        """Write parent adapters, all weights and the tokenizer, where there are any to write."""
        for place, adapter in enumerate(stack_adapters(self.spec.adapters)):
            target = self.folder / "below" / f"{place}_{Path(adapter).name}"
            shutil.copytree(
                adapter, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("below")
            )
        if self.trains_all_weights:
            prepared.trained.save_pretrained(str(self.folder))
        if prepared.tokens_added or self.trains_all_weights:
            prepared.backbone.tokenizer.save_pretrained(str(self.folder))
