"""Two well-kept trainers, and what both lack here.

Adapters as checkpoints, a schedule that is longer than the training, validation on an mteb task, a
stop at the first loss that is no number, and a word when the disk is full. sentence-transformers'
trainer takes contrastive losses, transformers' own the masked next tokens. A checkpoint whose
`trainer_state.json` is missing was not finished; it is removed, and training goes on from the one
before it.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from methods.backbone.trained_pooling import FILE as POOLER
from methods.backbone.trained_pooling import TrainedPooling, save_trained_pooling
from methods.training.recipe import Recipe

log = logging.getLogger(__name__)
WEIGHTS, STATE = "adapter_model.safetensors", "trainer_state.json"
LOSS, SPENT = "loss.safetensors", "spent.json"


class NotFinite(ValueError):
    """The loss of a step is not a number."""


class Recipes:
    """What both trainers do the same way.

    trained: the PeftModel, or the model itself where all of it is trained. pooler: what is trained
    beside it. validate: the score of the model as it stands, higher is better.
    """

    def __init__(
        self,
        *,
        trained: Any,
        recipe: Recipe,
        schedule_steps: int,
        pooler: TrainedPooling | None = None,
        validate: Callable[[], float] | None = None,
        **options: Any,
    ) -> None:
        self.trained, self.recipe, self.pooler = trained, recipe, pooler
        self.schedule_steps, self.validate = schedule_steps, validate
        super().__init__(**options)

    def train(self: Any, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        self.before, self.start = {"seconds": 0.0, "tokens": 0}, time.perf_counter()
        if resume_from_checkpoint is not None:
            checkpoint = Path(resume_from_checkpoint)
            self.before = json.loads((checkpoint / SPENT).read_text())
            state = TrainerState.load_from_json(str(checkpoint / STATE))
            if state.global_step >= self.args.max_steps:  # transformers would take one step more
                self.state = state
                self._load_from_checkpoint(resume_from_checkpoint)
                if self.args.load_best_model_at_end:
                    self._load_best_model()
                return None
        parent: Any = super()
        return parent.train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def spent(self: Any) -> dict[str, float]:
        """Seconds and tokens so far, those before a resumption among them; asked by all processes
        together, whose tokens are summed."""
        seconds = self.before["seconds"] + time.perf_counter() - self.start
        tokens = torch.tensor(self.data_collator.tokens, device=self.args.device)
        tokens = int(self.accelerator.reduce(tokens, "sum")) + self.before["tokens"]
        return {"seconds": round(seconds, 1), "tokens": tokens}

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        parent: Any = super()
        return parent.create_scheduler(max(num_training_steps, self.schedule_steps), optimizer)

    def training_step(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        parent: Any = super()
        # Autocast rounds what LoRA reads to its own dtype; PEFT would widen it to float32 first.
        with _unwidened(self.trained if self.args.bf16 or self.args.fp16 else None):
            loss = parent.training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            kept = last_checkpoint(Path(self.args.output_dir), clean=False)
            raise NotFinite(
                f"the loss of step {self.state.global_step + 1} is {loss.item()}; nothing of it "
                f"was taken over. {kept.name if kept else 'No checkpoint'} is kept. "
                f"Lower recipe.learning_rate (now {self.recipe.learning_rate:g}), add "
                f"recipe.warmup, or use model.dtype=float32"
            )
        return loss

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.validate is not None
        self.model.eval()
        # mteb seeds torch for its classifiers; dropout goes on as if nothing had been validated.
        with torch.random.fork_rng():
            score = self.validate()
        metrics = {"eval_score": score, "epoch": self.state.epoch}
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        """state_dict: of the whole model, where it is sharded and had to be gathered."""
        folder, parts = Path(output_dir or self.args.output_dir), {}
        for part in (self.trained, self.pooler):
            if part is not None and state_dict is not None:
                name = next(name for name, one in self.model.named_modules() if one is part)
                own = {n.removeprefix(f"{name}."): t for n, t in state_dict.items()}
                parts[part] = {n: own[n] for n in part.state_dict()}
        save_trained(self.trained, folder, parts.get(self.trained))
        if self.pooler is not None:
            save_trained_pooling(self.pooler, folder, parts.get(self.pooler))

    def _load_from_checkpoint(self: Any, checkpoint: str, model: Any = None) -> None:
        state = load_file(Path(checkpoint) / WEIGHTS)
        if isinstance(self.trained, PeftModel):
            set_peft_model_state_dict(self.trained, state)
        else:
            self.trained.load_state_dict(state, strict=False)
        if self.pooler is not None:
            self.pooler.load_state_dict(load_file(Path(checkpoint) / POOLER))
        if own := loss_state(self):
            saved = load_file(Path(checkpoint) / LOSS)
            for name, value in own.items():
                value.copy_(saved[name])

    def _load_best_model(self: Any) -> None:
        log.info("best: %s, %.4f", self.state.best_model_checkpoint, self.state.best_metric)
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _save_checkpoint(self: Any, *args: Any, **kwargs: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        spent = self.spent()
        try:
            if self.is_world_process_zero():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / SPENT).write_text(json.dumps(spent))
                if own := loss_state(self):
                    save_file(own, folder / LOSS)
            parent: Any = super()
            parent._save_checkpoint(*args, **kwargs)
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            kept = last_checkpoint(Path(self.args.output_dir), clean=False)
            raise OSError(
                f"{folder.name} cannot be written to {folder.parent}: {error}. Free some space; "
                f"the same command resumes from {kept.name if kept else 'the start'}"
            ) from error


@contextmanager
def _unwidened(model: torch.nn.Module | None) -> Iterator[None]:
    layers = [part for part in model.modules() if isinstance(part, LoraLayer)] if model else []
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.cast_input_dtype_enabled = True


def loss_state(trainer: Any) -> dict[str, torch.Tensor]:
    """What a loss itself learns (a temperature)."""
    loss = getattr(trainer, "loss", None)
    named = loss.named_parameters() if isinstance(loss, torch.nn.Module) else ()
    return {name: p.data for name, p in named if name == "log_scale"}


def save_trained(trained: Any, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """An adapter folder in PEFT's layout; of a model trained in full, its weights.

    state: all weights, if they are not the model's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(trained, PeftModel):
        own: Any = get_peft_model_state_dict(trained, state_dict=state)
        save_file({name: part.contiguous() for name, part in own.items()}, folder / WEIGHTS)
        config = trained.peft_config["default"]
        before, config.inference_mode = config.inference_mode, True
        config.save_pretrained(str(folder))
        config.inference_mode = before
    else:
        whole: Any = trained.state_dict() if state is None else state
        save_file({name: part.contiguous() for name, part in whole.items()}, folder / WEIGHTS)


def last_checkpoint(folder: Path, *, clean: bool = True) -> Path | None:
    """The last whole checkpoint; unfinished ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in reversed(found):
        if (checkpoint / STATE).is_file() and _readable(checkpoint / WEIGHTS):
            return checkpoint
        if clean:
            log.warning("%s was not finished and is removed", checkpoint)
            shutil.rmtree(checkpoint)
    return None


def _readable(file: Path) -> bool:
    try:
        load_file(file)
    except (OSError, SafetensorError):
        return False
    return True


def steps_of(recipe: Recipe, rows: int) -> tuple[int, int]:
    """Steps to take, and steps that the schedule is laid out for."""
    each = max(rows // recipe.batch_size, 1)
    steps = recipe.steps or math.ceil(recipe.epochs * each)  # pyright: ignore[reportOptionalOperand]
    whole = math.ceil(recipe.schedule_epochs * each) if recipe.schedule_epochs else steps
    return steps, max(steps, whole)
