"""Extensions shared by the trainers of all objectives, and their checkpoints.

Adapters as checkpoints, a schedule that is longer than the training, validation on mteb tasks, a
stop at the first loss that is not finite, and an error that names the folder when the disk is full.
A checkpoint without its `trainer_state.json` is incomplete: it is removed, and training resumes
from the one before it.
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

from methods.backbone.structure import is_out_of_memory
from methods.backbone.trained_pooling import FILE as POOLER
from methods.backbone.trained_pooling import TrainedPooling, save_trained_pooling
from methods.training.recipe import Recipe

log = logging.getLogger(__name__)
WEIGHTS, STATE = "adapter_model.safetensors", "trainer_state.json"
LOSS, SPENT = "loss.safetensors", "spent.json"


class NotFinite(ValueError):
    """The loss of a step is NaN or infinite."""


class OutOfMemory(ValueError):
    """A step takes more memory than there is."""


class TrainerExtensions:
    """A mixin for transformers' Trainer and those derived from it: class T(TrainerExtensions, ...).

    trained: the PeftModel, or the model itself if all weights are trained. pooler: a pooling that
    is trained with it. schedule_steps: steps until the learning rate reaches its end. validate:
    returns the score of the model as it is, higher is better.
    The data collator counts the tokens it hands out in `tokens`.
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
        """Train to the last step; from a checkpoint with the time and tokens that it states."""
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

    def count_spent(self: Any) -> dict[str, float]:
        """Return seconds and tokens so far, those before a resumption included. All processes call
        it together; their tokens are summed."""
        seconds = self.before["seconds"] + time.perf_counter() - self.start
        tokens = torch.tensor(self.data_collator.tokens, device=self.args.device)
        tokens = int(self.accelerator.reduce(tokens, "sum")) + self.before["tokens"]
        return {"seconds": round(seconds, 1), "tokens": tokens}

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create a schedule over `schedule_steps` where they are more than those taken."""
        parent: Any = super()
        return parent.create_scheduler(max(num_training_steps, self.schedule_steps), optimizer)

    def training_step(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Take a step. Raises NotFinite for a loss that is none, OutOfMemory naming what helps."""
        parent: Any = super()
        try:
            # Autocast rounds LoRA's inputs to its own dtype; PEFT would widen them to float32.
            with _disable_input_cast(self.trained if self.args.bf16 or self.args.fp16 else None):
                loss = parent.training_step(*args, **kwargs)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"step {self.state.global_step + 1} ran out of memory: {str(error)[:200]}. It "
                f"takes less with run.mini_batch_tokens=2048 (tokens in memory at a time) and "
                f"run.gradient_checkpointing=true, and the same is learnt"
            ) from error
        if not torch.isfinite(loss):
            kept = find_last_checkpoint(Path(self.args.output_dir), clean=False)
            raise NotFinite(
                f"the loss of step {self.state.global_step + 1} is {loss.item()}; no weight was "
                f"changed by it. {kept.name if kept else 'No checkpoint'} is kept. "
                f"Lower recipe.learning_rate (now {self.recipe.learning_rate:g}), add "
                f"recipe.warmup, or use model.dtype=float32"
            )
        return loss

    def evaluate(self: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the model by `validate` and `measure`, without an effect on what is trained
        afterwards."""
        self.model.eval()
        # mteb seeds torch for its classifiers; dropout must continue as without validation.
        with torch.random.fork_rng():
            metrics = self.measure()
            if self.validate is not None:
                metrics["eval_score"] = self.validate()
        metrics["epoch"] = self.state.epoch
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def measure(self) -> dict[str, float]:
        """Return what an objective measures of the model as it is, beside tasks: `eval_NAME`."""
        return {}

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save what is trained. state_dict: of the whole model, where its shards were gathered."""
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
        """Load what is trained: adapter or weights, pooler, and the loss's own parameters."""
        state = load_file(Path(checkpoint) / WEIGHTS)
        if isinstance(self.trained, PeftModel):
            set_peft_model_state_dict(self.trained, state)
        else:
            self.trained.load_state_dict(state, strict=False)
        if self.pooler is not None:
            self.pooler.load_state_dict(load_file(Path(checkpoint) / POOLER))
        if own := find_loss_state(self):
            saved = load_file(Path(checkpoint) / LOSS)
            for name, value in own.items():
                value.copy_(saved[name])

    def _load_best_model(self: Any) -> None:
        log.info("best: %s, %.4f", self.state.best_model_checkpoint, self.state.best_metric)
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _save_checkpoint(self: Any, *args: Any, **kwargs: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        spent = self.count_spent()
        try:
            if self.is_world_process_zero():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / SPENT).write_text(json.dumps(spent))
                if own := find_loss_state(self):
                    save_file(own, folder / LOSS)
            parent: Any = super()
            parent._save_checkpoint(*args, **kwargs)
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            kept = find_last_checkpoint(Path(self.args.output_dir), clean=False)
            raise OSError(
                f"{folder.name} cannot be written to {folder.parent}: {error}. Free some space; "
                f"the same command resumes from {kept.name if kept else 'the start'}"
            ) from error


@contextmanager
def _disable_input_cast(model: torch.nn.Module | None) -> Iterator[None]:
    layers = [part for part in model.modules() if isinstance(part, LoraLayer)] if model else []
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.cast_input_dtype_enabled = True


def find_loss_state(trainer: Any) -> dict[str, torch.Tensor]:
    """Return the parameters of the loss itself (a learned temperature), not those of its model."""
    loss = getattr(trainer, "loss", None)
    named = loss.named_parameters() if isinstance(loss, torch.nn.Module) else ()
    return {name: p.data for name, p in named if "model" not in name.split(".")}


def save_trained(trained: Any, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write an adapter folder in PEFT's layout; of a model trained in full, its weights.

    state: all weights, if they are not the model's own (gathered from shards).
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
        full: Any = trained.state_dict() if state is None else state
        save_file({name: part.contiguous() for name, part in full.items()}, folder / WEIGHTS)


def find_last_checkpoint(folder: Path, *, clean: bool = True) -> Path | None:
    """Return the last complete checkpoint. clean: remove incomplete ones after it."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for checkpoint in reversed(found):
        if (checkpoint / STATE).is_file() and _is_readable(checkpoint / WEIGHTS):
            return checkpoint
        if clean:
            log.warning("%s is incomplete and is removed", checkpoint)
            shutil.rmtree(checkpoint)
    return None


def _is_readable(file: Path) -> bool:
    try:
        load_file(file)
    except (OSError, SafetensorError):
        return False
    return True


def count_steps(recipe: Recipe, num_rows: int) -> tuple[int, int]:
    """Return the steps to take, and the steps that the schedule lasts."""
    per_epoch = max(num_rows // (recipe.batch_size * recipe.accumulation), 1)
    steps = recipe.steps or math.ceil(recipe.epochs * per_epoch)  # pyright: ignore[reportOptionalOperand]
    scheduled = math.ceil(recipe.schedule_epochs * per_epoch) if recipe.schedule_epochs else steps
    return steps, max(steps, scheduled)
