"""Load a checkpoint's config, tokenizer and weights, and verify the weights (verify.py)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from methods.backbone.checkpoint import Checkpoint
from methods.backbone.hardware import make_four_bit_options, resolve_device
from methods.backbone.structure import is_out_of_memory
from methods.backbone.tiny import make_byte_tokenizer
from methods.backbone.verify import check_loaded
from methods.fields import nearest

if TYPE_CHECKING:
    from methods.backbone.loader import BackboneSpec

log = logging.getLogger(__name__)
ROPE = ("rope_theta", "rope_scaling", "partial_rotary_factor")  # taken into rope_parameters


def read_model_config(checkpoint: Checkpoint, remote_code: bool) -> Any:
    """Return transformers' config of a checkpoint. Raises ValueError where it is not valid."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        if checkpoint.weights is not None:
            weights = checkpoint.weights
            settings = {k: v for k, v in weights.items() if k not in ("model_type", "seed")}
            return AutoConfig.for_model(weights["model_type"], **settings)
        return AutoConfig.from_pretrained(
            checkpoint.location, revision=checkpoint.revision, trust_remote_code=remote_code
        )
    except StrictDataclassError as error:
        fault = " ".join(str(error).split())
        raise ValueError(f"the config of {checkpoint.location} is not valid: {fault}") from error


def check_random(architecture: str, settings: Iterable[str]) -> None:
    """Raise ValueError for settings of a random model that its architecture does not have.

    transformers stores any setting, used or not. A Llama's are accepted for every architecture,
    since model=tiny has them.
    """
    from transformers import CONFIG_MAPPING

    if architecture not in CONFIG_MAPPING:
        raise ValueError(
            f"model.source.architecture {architecture!r} is unknown to transformers"
            f"{nearest(architecture, CONFIG_MAPPING.keys())}"
        )
    usual, llama = CONFIG_MAPPING[architecture](), CONFIG_MAPPING["llama"]()
    for name in settings:
        if not hasattr(usual, name) and not hasattr(llama, name) and name not in ROPE:
            raise ValueError(
                f"model.source.config.{name} is no setting of a {architecture} model"
                f"{nearest(name, usual.to_dict())}"
            )


def load_tokenizer(checkpoint: Checkpoint, spec: BackboneSpec) -> Any:
    """Return a checkpoint's fast tokenizer, named as the spec. Raises ValueError if it has none."""
    from transformers import AutoTokenizer

    if checkpoint.weights is not None:
        return make_byte_tokenizer()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint.location, revision=checkpoint.revision, trust_remote_code=spec.remote_code
        )
    except Exception as error:  # a broken tokenizer.json raises anything
        raise ValueError(
            f"the tokenizer of {spec.name} cannot be read from {checkpoint.location} "
            f"({type(error).__name__}: {error}); fetch or save it again"
        ) from error
    one, two = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("one", "two"))
    if not one or one == two:  # transformers makes an empty one of a folder without its files
        raise ValueError(
            f"{checkpoint.location} has no tokenizer that tells two words apart; it needs "
            f"tokenizer.json, or tokenizer.model: copy it from the model that this one was made of"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{spec.name} has no fast tokenizer; offsets are needed to cut texts. Convert it with "
            f"transformers' convert_slow_tokenizer and save it beside the weights."
        )
    tokenizer.name_or_path = spec.name  # methods' messages show this name, not a cache folder
    tokenizer.model_max_length = int(1e30)  # methods cut texts themselves
    return tokenizer


def load_weights(
    checkpoint: Checkpoint, config: Any, spec: BackboneSpec, dtype: str, kernels: Sequence[str]
) -> tuple[Any, str, tuple[str, ...]]:
    """Return the model under the first kernel that its architecture has, that kernel, and the names
    of tensors that it does not use (a head's). Raises ValueError for weights that do not fill it.
    """
    for kernel in kernels:
        try:
            model, left = _load_under(checkpoint, config, spec, dtype, kernel)
            return model, kernel, left
        except Exception as error:
            if (
                kernel == kernels[-1]
                or is_out_of_memory(error)
                or _can_build(config, kernel, spec.remote_code)
            ):
                raise
            reason = " ".join(str(error).split())[:300]
            log.warning("%s is not loaded with %s attention: %s", config.model_type, kernel, reason)
    raise AssertionError("kernels is never empty")


def _load_under(
    checkpoint: Checkpoint, config: Any, spec: BackboneSpec, dtype: str, kernel: str
) -> tuple[Any, tuple[str, ...]]:
    from transformers import AutoModel

    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": kernel}
    device = resolve_device(spec.device)
    if spec.four_bit:
        options |= make_four_bit_options(device, dtype)
    if checkpoint.weights is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(checkpoint.weights["seed"])
            return AutoModel.from_config(config, **options), ()
    if device != "cpu" and not spec.adapters:  # PEFT merges in float32 on a CPU alone
        options |= {"device_map": {"": device}}
    return load_verified(
        AutoModel,
        checkpoint.location,
        where=spec.name,
        revision=checkpoint.revision,
        config=config,
        use_safetensors=True,
        trust_remote_code=spec.remote_code,
        **options,
    )


def _can_build(config: Any, kernel: str, remote_code: bool) -> bool:
    """Return whether a model without weights can be built under a kernel. If so, an error in
    loading it is not the kernel's."""
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            AutoModel.from_config(
                copy.deepcopy(config), attn_implementation=kernel, trust_remote_code=remote_code
            )
    except Exception:
        return False
    return True


def load_verified(
    kind: Any, location: Any, *, where: str, **options: Any
) -> tuple[Any, tuple[str, ...]]:
    """Return `kind.from_pretrained`, verified that the weights filled it, and the unused names.

    where: the checkpoint's name for messages. Raises ValueError for weights that do not fit.
    """
    from safetensors import SafetensorError

    try:
        with hide_progress_bar():
            # Shapes that differ are reported, not accepted: check_loaded names them.
            model, found = kind.from_pretrained(
                location, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"the weights of {where} cannot be loaded from {location}: {error}"
        ) from error
    except RuntimeError as error:
        if "conversion of the weights" not in str(error):
            raise
        raise ValueError(
            f"the weights of {where} cannot be converted to what transformers now expects: {error}"
        ) from error
    return model, check_loaded(model, found, where)


@contextmanager
def hide_progress_bar() -> Iterator[None]:
    """Hide transformers' progress bars for this block, and leave them as they were."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as bars

    shown, hub_hidden = bars.is_progress_bar_enabled(), are_progress_bars_disabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()  # also of downloads from the Hub
            if hub_hidden:
                disable_progress_bars()
