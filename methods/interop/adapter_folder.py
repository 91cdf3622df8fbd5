"""Write an adapter as a folder that PEFT's own loaders take: base model and task type filled in.

`dec2vec train` states neither, since its own loader needs neither. The written folder is loaded by
PEFT and its hidden states are compared with the merged model's before it gets its name.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from methods.backbone.adapters import stack_adapters
from methods.backbone.files import check_safetensors
from methods.backbone.loader import BackboneSpec, build_backbone
from methods.backbone.lora_folder import read_lora_config
from methods.backbone.merge import PEFT_PREFIX, quiet_peft
from methods.backbone.sources import Hub
from methods.backbone.trained_pooling import FILE as POOLER
from methods.backbone.weights import hide_progress_bar
from methods.identity import digest, digest_adapter
from methods.interop.equality import NEAR, TEXTS
from methods.interop.export import EXPORT, is_there, write_aside
from methods.interop.stock import write_json
from methods.provenance import find_commit

log = logging.getLogger(__name__)
COPIED = ("adapter_model.safetensors", "*token*.json", "*.model", "vocab*", "merges*")
COPIED += ("chat_template.jinja", POOLER, "training.json")
CLASSES = {"FEATURE_EXTRACTION": "AutoModel", "CAUSAL_LM": "AutoModelForCausalLM"}


@dataclass(frozen=True, kw_only=True)
class AdapterExport:
    """Which adapter of which model, and where to. base_model: its name in the written folder."""

    spec: BackboneSpec
    out: Path
    base_model: str | None = None
    command: str = ""


def run_adapter_export(job: AdapterExport) -> float | None:
    """Write the folder; return the smallest cosine of PEFT's states with the merged model's.

    None where it is there already. Raises ValueError for an adapter that PEFT's loaders cannot
    give back, and for a folder that holds something else.
    """
    source = _find_adapter(job.spec)
    base, revision = _find_base(job)
    task = _find_task(source)
    about = {"format": "adapter", "adapter": digest_adapter(source), "base": [base, revision, task]}
    if is_there(job.out, {"export": digest(about, 16)}):
        return None
    with write_aside(job.out) as folder, hide_progress_bar():
        for file in {file for pattern in COPIED for file in source.glob(pattern)}:
            shutil.copyfile(file, folder / file.name)
        settings = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
        settings |= {"base_model_name_or_path": base, "revision": revision, "task_type": task}
        write_json(folder / "adapter_config.json", {**settings, "inference_mode": True})
        cosine = _compare_with_merged(job.spec, folder, task)
        if cosine < NEAR["float32"]:
            raise ValueError(
                f"{source} is not what PEFT's own loaders make of it: hidden states agree to "
                f"cosine {cosine:.5f} only. Export the merged model instead "
                f"(format=sentence_transformers)"
            )
        write_json(folder / EXPORT, {"export": digest(about, 16), **about})
        (folder / "README.md").write_text(_describe(job, base, task, folder), encoding="utf-8")
    return cosine


def _find_adapter(spec: BackboneSpec) -> Path:
    """Return the one adapter folder. Raises ValueError for none, and for several."""
    if not spec.adapters:
        raise ValueError("format=adapter writes an adapter, and none is given; give adapter=DIR")
    stacked = stack_adapters(spec.adapters)
    if len(stacked) > 1:
        names = ", ".join(Path(folder).name for folder in stacked)
        raise ValueError(
            f"{names} are merged one after the other, which PEFT's loaders do not do; export the "
            f"merged model (format=sentence_transformers), or train one adapter"
        )
    source = Path(stacked[0])
    read_lora_config(source)
    check_safetensors(source / "adapter_model.safetensors")
    return source


def _find_base(job: AdapterExport) -> tuple[str, str | None]:
    """Return how adapter_config.json names the base model, and its revision."""
    if job.base_model is not None:
        return job.base_model, None
    checkpoint, source = job.spec.source.fetch(), job.spec.source
    if checkpoint.weights is not None:
        raise ValueError(
            f"{job.spec.name} has random weights and no files that PEFT could load; give "
            f"base_model=DIR, a folder of the same weights"
        )
    if isinstance(source, Hub):
        return source.id, checkpoint.revision
    return str(Path(checkpoint.location).resolve()), None


def _find_task(source: Path) -> str:
    """Return the adapter's task type: its own, else the one that its tensors' names fit."""
    from safetensors import safe_open

    own = json.loads((source / "adapter_config.json").read_text(encoding="utf-8")).get("task_type")
    if own in CLASSES:
        return own
    with safe_open(source / "adapter_model.safetensors", framework="pt") as opened:
        names = [name.removeprefix(PEFT_PREFIX) for name in opened.keys()]
    inside = all(name.startswith(("model.", "transformer.", "gpt_neox.")) for name in names)
    return "CAUSAL_LM" if inside else "FEATURE_EXTRACTION"


@torch.inference_mode()
def _compare_with_merged(spec: BackboneSpec, folder: Path, task: str) -> float:
    """Return the smallest cosine of last hidden states, position by position, in float32."""
    spec = replace(spec, dtype="float32", device="cpu", linears="torch", kernel="eager")
    merged = build_backbone(spec)
    rows = merged.tokenizer(list(TEXTS), add_special_tokens=False)["input_ids"]
    rows = [torch.tensor([row[:128]]) for row in rows if row]
    wanted = [_read_states(merged.model, row) for row in rows]
    tokenizer, merged.model = merged.tokenizer, None
    whole: Any = _load_base(spec, task)
    if len(tokenizer) > whole.get_input_embeddings().num_embeddings:
        whole.resize_token_embeddings(len(tokenizer))  # as PEFT's Auto classes do
    from peft import PeftModel

    with quiet_peft():
        loaded = PeftModel.from_pretrained(whole, str(folder)).eval()
    made = [_read_states(loaded, row) for row in rows]
    pairs = zip(made, wanted, strict=True)
    return min(float(torch.cosine_similarity(one, two, dim=-1).min()) for one, two in pairs)


def _load_base(spec: BackboneSpec, task: str) -> Any:
    import transformers

    checkpoint = spec.source.fetch()
    if checkpoint.weights is not None:
        return build_backbone(replace(spec, adapters=())).model
    kind = getattr(transformers, CLASSES[task])
    where = {"revision": checkpoint.revision} if checkpoint.revision else {}
    return kind.from_pretrained(checkpoint.location, dtype=torch.float32, **where)


def _read_states(model: Any, ids_1L: Tensor) -> Tensor:
    found = model(input_ids=ids_1L, output_hidden_states=True, use_cache=False)
    return found.hidden_states[-1][0].double()


def _describe(job: AdapterExport, base: str, task: str, folder: Path) -> str:
    auto = f"AutoPeftModelFor{'FeatureExtraction' if task == 'FEATURE_EXTRACTION' else 'CausalLM'}"
    hub = isinstance(job.spec.source, Hub) or job.base_model is not None
    where = "" if hub else " It is a folder of the machine that this was written on: change it."
    pooler = ""
    if (folder / POOLER).is_file():
        pooler = (
            f" {POOLER}, the pooling that was trained with it, is not read by PEFT: export the "
            f"merged model to have it applied."
        )
    header = ["---", "library_name: peft", "tags:", "- dec2vec"]
    header += [f"base_model: {base}"] if hub else []
    return "\n".join(
        [
            *header,
            "---",
            "",
            f"# An adapter for {job.spec.name}",
            "",
            f"`adapter_config.json` names the base model, `{base}`, and the task type, {task}."
            f"{where}",
            "",
            "```python",
            f"from peft import {auto}",
            "",
            f'model = {auto}.from_pretrained("DIR", dtype="bfloat16")',
            "```",
            "",
            "What PEFT loads gives hidden states. Template, attention and pooling of the method it "
            f"was trained with are in training.json, if dec2vec trained it.{pooler}",
            "",
            "```bash",
            job.command,
            "```",
            "",
            f"dec2vec {find_commit()['commit'] or ''}",
            "",
        ]
    )
