"""Export a method on a model, with its adapters merged, as a sentence-transformers folder.

Stock modules are written where all texts of equality.py agree after the folder was loaded again;
else the method itself with its code. The folder is written aside and renamed, so that no partial
one is left. The weights are in the dtype asked for, else in the checkpoint's own.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from methods.backbone.layers import resolve_layer
from methods.backbone.loader import (
    Backbone,
    BackboneSpec,
    build_backbone,
    identify_backbone,
    load_config,
)
from methods.backbone.weights import hide_progress_bar
from methods.base import Method
from methods.encoding.encoder import Encoder
from methods.encoding.instructions import Instructions
from methods.encoding.mteb_interface import describe_method
from methods.identity import digest, digest_class, digest_engine, digest_files
from methods.interop.card import Card, write_card
from methods.interop.equality import (
    Equality,
    Expected,
    compare_folder,
    compute_expected,
    list_texts,
)
from methods.interop.folder import write_custom, write_stock, write_weights
from methods.interop.prompts import Prompt
from methods.interop.scores import find_scores
from methods.interop.stock import StockLayout, propose_layout, write_json
from methods.pooling_names import identify_pooling
from methods.records import check_writable, read_json

log = logging.getLogger(__name__)
EXPORT = "dec2vec.json"
Modules = Literal["auto", "stock", "custom"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported, and where to. records: runs folders whose scores the README shows."""

    name: str
    method: Method
    spec: BackboneSpec
    prompts: Sequence[Prompt]
    instructions: Instructions
    out: Path
    modules: Modules = "auto"
    records: Sequence[str] = ()
    command: str = ""


@dataclass
class Written:
    """What was written: which modules, why no stock ones, how they compare, files of code."""

    kind: Literal["stock", "custom"]
    equality: Equality
    reason: str | None = None
    layout: StockLayout | None = None
    code: list[str] = field(default_factory=list)


def run_export(job: Export) -> Written | None:
    """Write the folder; None where it is there already.

    Raises ValueError for what cannot be exported, and for a folder that holds something else.
    """
    if job.method.sites:
        raise ValueError(
            f"{job.name} changes states within the pass, which an exported folder does not do; "
            f"export another method"
        )
    spec, config = _prepare_spec(job.spec)
    settings = _describe(job, spec)
    if is_there(job.out, settings):
        return None
    layers = config.get_text_config().num_hidden_layers
    cell = replace(job.method, layer=resolve_layer(job.method.layer, layers))
    scores = find_scores(job.records, cell, name=job.name, spec=spec, about=job.instructions)
    backbone = build_backbone(spec)
    if type(backbone.model).__module__.startswith("transformers_modules"):
        raise ValueError(
            f"{spec.name} runs code of its own repository, which is not copied; only architectures "
            f"that transformers has are exported"
        )
    with write_aside(job.out) as folder, hide_progress_bar():
        written = _Writer(job, backbone, folder).write()
        write_json(folder / EXPORT, {**settings, "modules": written.kind})
        write_card(Card(job, spec, config, written, scores), folder)
    return written


def _prepare_spec(spec: BackboneSpec) -> tuple[BackboneSpec, Any]:
    """Return the spec that is loaded for export, and transformers' config of its checkpoint."""
    config = load_config(spec)[1]
    quantized = getattr(config, "quantization_config", None)
    if spec.four_bit or quantized:
        kind = "in 4 bits" if spec.four_bit else f"quantised ({_name_quantization(quantized)})"
        raise ValueError(
            f"the weights of {spec.name} are {kind}: adapters cannot be merged into them exactly, "
            f"and a folder of them is not read everywhere; give the full-precision model"
        )
    dtype = spec.dtype
    if dtype == "auto":
        own = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
        dtype = own if own in ("float32", "bfloat16", "float16") else "float32"
    return replace(spec, dtype=dtype, linears="torch"), config  # pyright: ignore[reportArgumentType]


def _name_quantization(config: Any) -> str:
    found = config.get("quant_method") if isinstance(config, dict) else config.quant_method
    return str(getattr(found, "value", found))


def _describe(job: Export, spec: BackboneSpec) -> dict[str, Any]:
    """Return what makes two exports the same, for the folder's dec2vec.json."""
    method = {**describe_method(job.method), "pooling": identify_pooling(job.method.pooling)}
    code = [digest_class(type(job.method)), digest_engine()]
    code.append(digest_files(*sorted(Path(__file__).parent.glob("*.py")))[:16])
    about = {
        "format": "sentence_transformers",
        "method": method,
        "model": identify_backbone(spec),
        "prompts": {one.name: [one.side, one.instruction] for one in job.prompts},
        "wish": job.modules,
        "code": code,
    }
    return {"export": digest(about, 16), **about}


def is_there(out: Path, settings: dict[str, Any]) -> bool:
    """Return whether the folder holds this very export.

    Raises ValueError for one that holds anything else, or that cannot be written.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        check_writable(out.absolute().parent, key="out")
        return False
    about = read_json(out / EXPORT) if (out / EXPORT).is_file() else {}
    if about.get("export") == settings["export"]:
        log.info("%s is this export already; remove it to write it anew", out)
        return True
    held = "another export" if about else "something that is no export"
    raise ValueError(f"{out} holds {held}; give another out=DIR, or remove it")


@contextmanager
def write_aside(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to write to, and rename it to `out` when all went well."""
    aside = out.absolute().with_name(f".{out.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.is_dir():
            out.rmdir()  # it is empty
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Writer:
    """Writes one folder: weights, then stock modules or the method itself, each compared."""

    def __init__(self, job: Export, backbone: Backbone, folder: Path) -> None:
        self.job, self.folder, self.backbone = job, folder, backbone
        self.device = backbone.choices["device"]
        self.dtype = backbone.identity["dtype"]

    def write(self) -> Written:
        """Write the folder. Raises ValueError where even the method's own code deviates."""
        write_weights(self.backbone, self.job.method.attention, self.folder)
        if self.device == "cpu":  # exact, whatever the weights are stored in
            self.backbone.model.float()
            self.dtype = "float32"
        encoder = Encoder(self.backbone, self.job.method)
        method = encoder.shared.cells[0]  # its layer resolved
        texts = list_texts(self.backbone.tokenizer, method.max_length)
        expected = compute_expected(encoder, texts, self.job.prompts)
        dimension = next(iter(expected.values())).vectors_ND.shape[1]
        trained = self.backbone.trained_pooling
        layout = propose_layout(
            method, self.backbone.tokenizer, prompts=self.job.prompts, trained=trained
        )
        del encoder
        self._free_weights()
        stock = self._try_stock(layout, texts, expected, dimension)
        if isinstance(stock, Written):
            return stock
        code = write_custom(
            method, self.backbone, self.job.prompts, self.folder, dimension=dimension
        )
        equality = compare_folder(
            self.folder, texts, expected, device=self.device, dtype=self.dtype
        )
        if equality.deviations:
            shown = "; ".join(map(str, equality.deviations[:3]))
            raise ValueError(
                f"the exported folder does not give the vectors of {self.job.name}: {shown}. "
                f"Nothing was written. Does prepare_inputs depend on more than its arguments?"
            )
        return Written("custom", equality, reason=stock, code=code)

    def _free_weights(self) -> None:
        """Give the model's memory back: the folder is loaded in its place."""
        self.backbone.model = None
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def _try_stock(
        self,
        layout: StockLayout | str,
        texts: Sequence[str],
        expected: dict[str, Expected],
        dimension: int,
    ) -> Written | str:
        """Return what was written of stock modules, or why none are."""
        wish = self.job.modules
        if wish == "custom":
            return "modules=custom was asked for"
        if isinstance(layout, str):
            if wish == "stock":
                raise ValueError(
                    f"modules=stock cannot be written for {self.job.name}: {layout}; leave modules "
                    f"out"
                )
            return layout
        write_stock(layout, self.backbone, self.folder, dimension=dimension)
        options = {"device": self.device, "dtype": self.dtype}
        equality = compare_folder(self.folder, texts, expected, **options)
        if equality.deviations and wish == "auto":
            clear(self.folder)
            first, number = equality.deviations[0], len(equality.deviations)
            return f"stock modules deviate on {number} of {equality.texts} texts; {first}"
        for deviation in equality.deviations:
            log.warning("stock modules deviate: %s", deviation)
        return Written("stock", equality, layout=layout)


def clear(folder: Path) -> None:
    """Remove all but the weights and config.json."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "config.json" and not path.name.startswith("model"):
            path.unlink()
