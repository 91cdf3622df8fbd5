"""Encode texts with a method on a backbone, from Python or for mteb."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np

from methods.backbone.loader import Backbone
from methods.backbone.locks import get_lock
from methods.base import Inputs, Method, PromptType
from methods.encoding.call import Usage
from methods.encoding.chunks import Chunk, cut_texts, find_chunk_size
from methods.encoding.embedder import Embedder
from methods.encoding.instructions import Instructions
from methods.encoding.mteb_interface import MtebInterface, Variant, describe_variant
from methods.encoding.post import NO_POST, Post, fit_ranges
from methods.tokens import check_text, check_texts

log = logging.getLogger(__name__)
SPEED_ONLY = {"batch_size", "show_progress_bar"}  # other libraries' options that change no vector


class Encoder(MtebInterface):
    """A method on a backbone: `encode` texts, or pass the encoder itself to mteb.

    backbone: `.model`, `.tokenizer`. method: its fields. Both are public; other fields need another
        encoder, which shares the model. Threads may share an encoder, and a backbone.
    variant: how mteb's results name it; described here where none is given.
    shared, cell_index: the embedder of several cells, and which of them this encoder is.
    recorder: called with the vectors of every task, with split and subset (geometry.py).
    post: what is done to vectors after pooling (post.py). `encode` then returns its codes, whose
        vectors `restore` gives; mteb gets these.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        *,
        instructions: Instructions | None = None,
        variant: Variant | None = None,
        shared: Embedder | None = None,
        cell_index: int = 0,
        recorder: Callable[[np.ndarray, str | None, str | None], None] | None = None,
        post: Post = NO_POST,
    ) -> None:
        backbone.require_attention(method.attention)
        self.backbone, self._method = backbone, method
        self.instructions = instructions or Instructions()
        self.model = backbone.model
        self.shared, self.cell_index = shared or Embedder(backbone, [method]), cell_index
        self.variant = variant or describe_variant(
            self.shared.cells[cell_index],
            method=type(method).__module__.rpartition(".")[2],
            identity=backbone.identity,
            instructions=self.instructions,
            post=post,
        )
        self.recorder, self.post = recorder, post
        self._ranges: dict[bool, np.ndarray] = {}  # by whether vectors have unit length

    @property
    def method(self) -> Method:
        """Return the method, as it was given."""
        return self._method

    def encode(
        self,
        inputs: Any,
        *,
        prompt_type: PromptType | None = None,
        instruction: str | None = None,
        task_metadata: Any = None,
        hf_split: str | None = None,
        hf_subset: str | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Return float32 vectors [N, D] in the given order; unit length if the method normalises.
        With a quantising post, its codes: int8 [N, D], or uint8 [N, D / 8] of packed bits.

        inputs: texts, in a list or any other ordered iterable; or, called by mteb with
            `task_metadata`, its batches, and then the instruction is the task's.
        prompt_type: the side: `query`, `document`, or None for symmetric texts.
        Raises ValueError, naming the text, for an input that is no text, and for a vector that is
        not finite or, where it should have unit length, zero.
        """
        if task_metadata is not None:
            vectors_ND = self._encode_task(inputs, task_metadata, prompt_type, instruction)
            if self.recorder:
                self.recorder(vectors_ND, hf_split, hf_subset)
            return vectors_ND
        if unknown := sorted(set(options) - SPEED_ONLY):
            raise ValueError(
                f"encode has no option {', '.join(unknown)}; valid: prompt_type, instruction. "
                f"Fields of the method (pooling, normalize, ...) are set in load_encoder(...)"
            )
        title = type(self.method).__name__
        if instruction is not None and not self.method.uses_instructions:
            log.warning("%s uses no instruction; the one given has no effect", title)
        unit = self.method.normalize
        vectors_ND = self._encode(
            check_texts(inputs), prompt_type, instruction, unit=unit, title=title
        )
        return self.post.quantize(vectors_ND, self._find_ranges(unit))

    def restore(self, codes: np.ndarray) -> np.ndarray:
        """Return the float32 vectors [N, D] that codes of `encode` stand for."""
        return self.post.restore(codes, self._find_ranges(self.method.normalize))

    @property
    def ranges(self) -> np.ndarray | None:
        """What int8 codes stand for, [2, D], measured when it is first needed; None where the post
        needs none. It may be set, to the ranges of vectors that were encoded before."""
        return self._find_ranges(self.method.normalize)

    @ranges.setter
    def ranges(self, ranges_2D: np.ndarray) -> None:
        self._ranges[self.method.normalize] = ranges_2D

    def measure_ranges(self, *, unit: bool | None = None) -> np.ndarray:
        """Return the smallest and largest value of each dimension over the post's corpus, encoded
        as documents: [2, D]. unit: whether vectors have unit length; None: as the method says."""
        assert self.post.corpus is not None
        unit = self.method.normalize if unit is None else unit
        title = f"{type(self.method).__name__} {self.post.corpus.name}"
        usage, self.shared.usage = self.shared.usage, Usage()  # no cost of the texts asked for
        try:
            texts = self.post.corpus.texts
            return fit_ranges(self._encode(texts, "document", None, unit=unit, title=title))
        finally:
            self.shared.usage = usage

    def _find_ranges(self, unit: bool) -> np.ndarray | None:
        if self.post.is_fitted and unit not in self._ranges:
            self._ranges[unit] = self.measure_ranges(unit=unit)
        return self._ranges.get(unit)

    def _encode_task(
        self, batches: Any, metadata: Any, side: Any, instruction: str | None
    ) -> np.ndarray:
        """Return the vectors of mteb's batches, encoded as its task asks; codes are restored."""
        texts = check_texts(text for batch in batches for text in batch["text"])
        side = getattr(side, "value", side)  # mteb's is an enum
        if metadata.type in self.method.queries_only:
            side = None
        if self.method.uses_instructions and side != "document":
            instruction = self.method.phrase_instruction(self.instructions.find(metadata))
        unit = self.method.normalize and metadata.type not in self.method.unnormalized
        title = f"{type(self.method).__name__} {metadata.name}"
        vectors_ND = self._encode(texts, side, instruction, unit=unit, title=title)
        return self._quantize_and_restore(vectors_ND, unit)

    def _quantize_and_restore(self, vectors_ND: np.ndarray, unit: bool) -> np.ndarray:
        """Return what the codes of vectors stand for; the size of a code is noted."""
        ranges_2D = self._find_ranges(unit)
        codes = self.post.quantize(vectors_ND, ranges_2D)
        self.shared.usage.vector_bytes = codes.itemsize * codes.shape[1]
        return self.post.restore(codes, ranges_2D)

    def _encode(
        self,
        texts: Sequence[str],
        side: PromptType | None,
        instruction: str | None,
        *,
        unit: bool,
        title: str,
    ) -> np.ndarray:
        """Return the vectors of texts before they are quantised."""
        if side not in (None, *get_args(PromptType)):
            raise ValueError(f"prompt_type {side!r} is unknown; valid: query, document, None")
        if instruction is not None:
            instruction = check_text(instruction, name="the instruction")
        if not texts:  # one vector shows the number of dimensions
            return self._encode(["a"], side, instruction, unit=False, title=title)[:0]
        chunks = self._prepare_chunks(texts, side, instruction)
        whole_ND = np.empty((len(texts), 0), np.float32)
        for chunk, vectors_ND in self.shared.stream(chunks, self.cell_index, title=title):
            vectors_ND = self.post.transform(vectors_ND)
            if unit:
                vectors_ND = _unit_vectors(vectors_ND, chunk)
            if len(chunk.places) == len(texts):
                whole_ND = vectors_ND
            else:
                if not whole_ND.size:
                    whole_ND = np.empty((len(texts), vectors_ND.shape[1]), np.float32)
                whole_ND[chunk.places] = vectors_ND
        return whole_ND

    def _prepare_chunks(
        self, texts: Sequence[str], side: PromptType | None, instruction: str | None
    ) -> Iterator[Chunk]:
        """Yield the rows of the texts, some texts at a time."""
        total = sum(map(len, texts)) + len(texts)
        for places in cut_texts(texts, find_chunk_size(self.backbone)):
            part = texts if len(places) == len(texts) else [texts[place] for place in places]
            inputs = self._prepare_inputs(part, side, instruction)
            yield Chunk(places, inputs, share=(sum(map(len, part)) + len(part)) / total)

    def _prepare_inputs(
        self, texts: Sequence[str], side: PromptType | None, instruction: str | None
    ) -> Inputs:
        """Return the rows of texts. Raises ValueError unless the method gives as many for each as
        it says."""
        with get_lock(self.backbone.tokenizer):  # its Rust part refuses two threads at once
            inputs: Any = self.method.prepare_inputs(
                texts,
                tokenizer=self.backbone.tokenizer,
                prompt_type=side,
                instruction=instruction,
            )
        each = self.method.rows_per_text
        if not isinstance(inputs, Inputs) or len(inputs) != each * len(texts):
            got = f"{len(inputs)} rows" if isinstance(inputs, Inputs) else type(inputs).__name__
            wanted = "one row" if each == 1 else f"{each} rows (rows_per_text)"
            raise ValueError(
                f"{type(self.method).__name__}.prepare_inputs returned {got} for {len(texts)} "
                f"texts; it returns Inputs with {wanted} for each text, in their order"
            )
        return inputs


def _unit_vectors(vectors_ND: np.ndarray, chunk: Chunk) -> np.ndarray:
    """Return vectors scaled to unit length. Raises ValueError, naming the text, for a zero one."""
    with np.errstate(over="ignore"):
        norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    lost = ~np.isfinite(norms_N1[:, 0]) | (norms_N1[:, 0] < 1e-18)  # squares leave float32's range
    if lost.any():
        largest_N1 = np.abs(vectors_ND).max(axis=1, keepdims=True)
        each = len(chunk.inputs) // len(chunk.places)
        for row in np.flatnonzero(largest_N1 == 0).tolist():
            ids = chunk.inputs.ids[row * each : (row + 1) * each]
            raise ValueError(
                f"text {chunk.places[row]} gives a vector of zeros "
                f"({sum(map(len, ids))} tokens), which has no direction and cannot be "
                f"brought to unit length; use normalize=false, another pooling or layer, or leave "
                f"the text out"
            )
        scale_N1 = np.where(lost[:, None], largest_N1, np.float32(1))
        vectors_ND = vectors_ND / scale_N1
        norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / norms_N1
