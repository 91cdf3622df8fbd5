"""One training: from a resolved config to an adapter folder.

    FOLDER/adapter_config.json, adapter_model.safetensors     PEFT's layout
    FOLDER/pooler.safetensors                                 a pooling that was trained along
    FOLDER/training.json                                      what it was trained on, with and from
    FOLDER/asked.json                                         its settings; others are refused
    FOLDER/below/N_NAME/                                      its parent adapters, in order
    FOLDER/loss.csv, loss.png                                 loss, learning rate, validation
    FOLDER/model.safetensors, config.json, tokenizer.json     instead, where all weights are trained
    FOLDER/checkpoints/                                       to go on from; removed when it is done

The same command resumes from the last whole checkpoint, and does nothing once all is done.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import PartialState
from safetensors import SafetensorError

from methods.backbone.adapters import stack_adapters
from methods.backbone.attention import attention_mode, list_configs
from methods.backbone.forward import resolve_layer
from methods.backbone.hardware import resolve_device
from methods.backbone.loader import BackboneSpec, build_backbone
from methods.backbone.trained_pooling import TrainedPooling
from methods.base import Method
from methods.encoding.instructions import Instructions
from methods.records import check_writable, write_whole
from methods.training import data, validation
from methods.training.asked import describe_asked, refuse_other, write_asked
from methods.training.contrastive import contrastive_trainer
from methods.training.curve import Curve
from methods.training.mntp import mask_token, masked_trainer
from methods.training.recipe import Recipe, Run
from methods.training.record import training_record
from methods.training.trainable import add_tokens, attach, count, quantizes, rows_of
from methods.training.trainer import last_checkpoint, steps_of

log = logging.getLogger(__name__)


@dataclass
class TrainJob:
    """A resolved training; `run` gives the adapter folder."""

    method: Method
    spec: BackboneSpec
    recipe: Recipe
    data: data.Data
    run_as: Run
    folder: Path
    name: str = ""
    title: str = ""
    mirror: str | None = None
    instructions: Instructions = field(default_factory=Instructions)
    overrides: list[str] = field(default_factory=list)
    config: Mapping[str, Any] = field(default_factory=dict)
    config_dir: str | None = None

    def run(self) -> Path:
        """Train, or go on, or find that all is done.

        Raises ValueError for what cannot be, and for a folder of a training with other settings.
        """
        check_writable(self.folder, key="out" if self.config.get("out") else "runs")
        datasets.disable_progress_bars()
        asked = describe_asked(self)
        refuse_other(self.folder, asked)
        if (self.folder / "training.json").is_file():
            log.info("%s is trained already, with these settings", self.folder)
            return self.folder
        loaded, about = self._data()
        asked["decides"]["rows"] = {name: one["sha256"] for name, one in loaded.about.items()}
        layer = resolve_layer(self.method.layer, self.backbone.num_layers)
        self.method = dataclasses.replace(self.method, layer=layer)
        with attention_mode(self.backbone.model, self.method.attention):
            trainer = self._trainer(loaded)
            with self.processes.main_process_first():  # which removes what was not finished
                refuse_other(self.folder, asked)
                if self.processes.is_main_process:
                    write_asked(self.folder, asked)
                done = last_checkpoint(self.folder / "checkpoints")
            trainer.train(resume_from_checkpoint=str(done) if done else None)
        self._finish(trainer, about)
        self.processes.wait_for_everyone()
        return self.folder

    @property
    def four_bit(self) -> bool:
        """Whether the frozen weights are in 4 bits."""
        return self.recipe.trainable.quantized == "auto" and quantizes(self.spec.device)

    def _data(self) -> tuple[data.Loaded, dict[str, Any]]:
        """The rows, and what a record says of them."""
        loaded = data.load(
            self.data,
            texts_only=self.recipe.objective == "mntp",
            negatives=self.recipe.negatives,
            seed=self.run_as.seed,
        )
        about: dict[str, Any] = {"sources": loaded.about}
        if self.data.compare_with:
            texts = validation.texts_of(self.data.compare_with, self.mirror)
            about["overlap"] = data.overlap(loaded.rows, texts)
            for task, found in about["overlap"].items():
                log.warning(
                    "%s: %d of %d texts are in the data", task, found["shared"], found["texts"]
                )
        return loaded, about

    def _finish(self, trainer: Any, about: dict[str, Any]) -> None:
        """Write what was trained. Raises ValueError if it was not trained to its last step."""
        if trainer.state.global_step < trainer.args.max_steps:
            raise ValueError(
                f"training ended after {trainer.state.global_step} of {trainer.args.max_steps} "
                f"steps: the data made no more batches of {self.recipe.batch_size}; lower "
                f"recipe.batch_size"
            )
        Curve(self.folder).write(trainer.state)
        try:
            if not self.whole:
                trainer.save_model(str(self.folder))
            spent = trainer.spent()
            if trainer.is_world_process_zero():
                self._keep(trainer, about, spent)
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"{self.folder} cannot be written: {error}. Free some space; the same command "
                f"resumes from the last checkpoint"
            ) from error

    @cached_property
    def backbone(self) -> Any:
        """The model, its weights frozen and unpacked."""
        if self.recipe.trainable.quantized == "auto":
            log.info("weights %s", "in 4 bits" if self.four_bit else "not in 4 bits: no CUDA")
        spec = dataclasses.replace(self.spec, linears="torch", four_bit=self.four_bit)
        device = str(self.processes.device)
        if self.processes.num_processes > 1 and device.startswith("cuda"):
            spec = dataclasses.replace(spec, device=device)
        backbone = build_backbone(spec)
        backbone.require_attention(self.method.attention)
        if backbone.trained_pooling is not None:
            raise ValueError(
                f"{self.spec.adapters[-1]} has a {backbone.trained_pooling.spec.kind} pooler, "
                f"which reads what it was trained on; train on what lies below it instead"
            )
        tokens = tuple(self.method.new_tokens)
        if self.recipe.objective == "mntp":
            tokens += (mask_token(self.recipe.masking, backbone.tokenizer),)
        self.tokens_added = add_tokens(backbone.model, backbone.tokenizer, tokens)
        for holder in [*list_configs(backbone.model), *backbone.model.modules()]:
            if hasattr(holder, "attention_dropout"):
                holder.attention_dropout = self.recipe.attention_dropout
        if self.run_as.gradient_checkpointing:
            backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
            backbone.model.enable_input_require_grads()
        return backbone

    @property
    def whole(self) -> bool:
        """Whether all weights are trained: then the folder holds a model, not an adapter."""
        return self.recipe.trainable.kind == "full"

    def release(self) -> None:
        """Let go of the model."""
        self.__dict__.pop("backbone", None)

    @cached_property
    def processes(self) -> PartialState:
        """The processes that train together (torchrun, accelerate launch), often one."""
        return PartialState(cpu=resolve_device(self.spec.device) == "cpu")

    @cached_property
    def packed(self) -> bool:
        """Whether sequences are packed: not with what the packed kernels do not have."""
        return (
            self.run_as.packed
            and not self.run_as.gradient_checkpointing
            and not self.recipe.attention_dropout
        )

    def _trainer(self, loaded: data.Loaded) -> Any:
        backbone, recipe = self.backbone, self.recipe
        if recipe.objective == "contrastive":
            for name, part in loaded.rows.items():
                if len(part) < recipe.batch_size:
                    raise ValueError(
                        f"data {name} has {len(part)} rows, too few for one batch of "
                        f"{recipe.batch_size}; lower recipe.batch_size"
                    )
        rows = rows_of(self.method, recipe.trainable, backbone.tokenizer)
        if recipe.objective == "mntp":
            mask = mask_token(recipe.masking, backbone.tokenizer)
            if mask in self.tokens_added:
                rows.append(backbone.tokenizer.convert_tokens_to_ids(mask))
        torch.manual_seed(self.run_as.seed)
        trained = attach(backbone.model, recipe.trainable, rows=rows)
        if recipe.trainable.pooler is not None:
            text_config = backbone.model.config.get_text_config()
            backbone.trained_pooling = TrainedPooling(
                recipe.trainable.pooler,
                hidden_size=text_config.hidden_size,
                num_layers=backbone.num_layers,
            ).to(backbone.choices["device"])
        log.info("trained: %d of %d numbers", *count(trained, backbone.trained_pooling))
        if recipe.objective == "mntp":
            return masked_trainer(self, loaded, trained)
        return contrastive_trainer(self, loaded, trained)

    def options(self, kind: Any, trained: Any, *, rows: int) -> dict[str, Any]:
        """What every trainer is given. kind: its class of arguments. rows: of the data."""
        steps, schedule_steps = steps_of(self.recipe, rows)
        return {
            "trained": trained,
            "recipe": self.recipe,
            "schedule_steps": schedule_steps,
            "pooler": self.backbone.trained_pooling,
            "validate": self._validation(),
            "args": self._arguments(kind, steps),
            "callbacks": [Curve(self.folder)],
        }

    def _arguments(self, kind: Any, steps: int) -> Any:
        recipe, run, device = self.recipe, self.run_as, self.backbone.choices["device"]
        processes = self.processes.num_processes
        if recipe.batch_size % processes:
            raise ValueError(
                f"batch_size {recipe.batch_size} does not divide by {processes} processes"
            )
        if run.fsdp and device == "cpu":
            raise ValueError(
                "run.fsdp shards over GPUs; on a CPU accelerate would leave every process a whole "
                "model and say nothing. Leave it out: processes then train as one all the same"
            )
        validated = run.validate is not None
        return kind(
            output_dir=str(self.folder / "checkpoints"),
            per_device_train_batch_size=recipe.batch_size // processes,
            max_steps=steps,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.schedule,
            warmup_steps=recipe.warmup,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_steps=run.every,
            save_total_limit=run.keep,
            eval_strategy="steps" if validated else "no",
            eval_steps=run.every if validated else None,
            load_best_model_at_end=validated,
            metric_for_best_model="eval_score" if validated else None,
            greater_is_better=True if validated else None,
            seed=run.seed,
            use_cpu=device == "cpu",
            bf16="bfloat16" in self.backbone.identity["dtype"],
            fp16=self.backbone.identity["dtype"].removeprefix("nf4_") == "float16",
            ddp_broadcast_buffers=False if processes > 1 else None,
            ddp_backend="gloo" if device == "cpu" and processes > 1 else None,
            ddp_find_unused_parameters=self.method.layer != -1 if processes > 1 else None,
            dataloader_drop_last=True,
            remove_unused_columns=False,
            report_to="none",
            deepspeed=run.deepspeed,
            fsdp=run.fsdp or "",
        )

    def _validation(self) -> Any:
        if self.run_as.validate is None:
            return None
        return validation.Validation(
            self.backbone, self.method, self.run_as.validate, self.instructions
        )

    def _keep(self, trainer: Any, about: dict[str, Any], spent: dict[str, float]) -> None:
        below = stack_adapters(self.spec.adapters)
        for place, adapter in enumerate(below):
            target = self.folder / "below" / f"{place}_{Path(adapter).name}"
            shutil.copytree(
                adapter, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("below")
            )
        if self.whole:
            trainer.trained.save_pretrained(str(self.folder))
        if self.tokens_added or self.whole:
            self.backbone.tokenizer.save_pretrained(str(self.folder))
        record = training_record(self, trainer, about, spent)
        text = json.dumps(record.to_json(), indent=2, default=str) + "\n"
        write_whole(self.folder / "training.json", text)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
