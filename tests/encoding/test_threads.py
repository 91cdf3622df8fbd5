"""Threads that share a model, an encoder or a store get the vectors that each gets alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import mteb
import numpy as np
import pytest
import torch
from mteb.mocks.mock_tasks import MockSTSTask

from methods import load_encoder
from methods.backbone.forward import forward
from methods.encoding.embedder import Embedder
from methods.encoding.encoder import Encoder
from methods.encoding.store import EmbeddingCache, MemoryStore
from tests.backbone.architectures import SMALL

CELLS = [
    ("sgpt", {}),
    ("sgpt", {"attention": "bidirectional", "layer": 1}),
    ("echo", {}),
    ("llm2vec", {}),
    ("llm2vec", {"attention": "causal", "layer": 2, "pooling": "last"}),
    ("prompteol", {"layer": 0}),
]
TEXTS = [f"text {number} " * (number % 5 + 1) for number in range(12)]


def in_threads(*works):
    """Run functions at once, started together; their results. An error is raised."""
    start = threading.Barrier(len(works))

    def run(work):
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


def repeated(encoder, times=8):
    return lambda: [encoder.encode(TEXTS) for _ in range(times)]


@pytest.mark.parametrize("packed", ["auto", False])
def test_encoders_of_one_model_in_many_threads_give_what_each_gives_alone(encoder, packed):
    encoders = [encoder(name, packed=packed, **fields) for name, fields in CELLS]
    assert len({id(one.backbone.model) for one in encoders}) == 1
    alone = [one.encode(TEXTS) for one in encoders]
    threads = in_threads(*(repeated(one) for one in encoders))
    for expected, found in zip(alone, threads, strict=True):
        assert all(np.array_equal(vectors, expected) for vectors in found)
    assert all(
        np.array_equal(one.encode(TEXTS), expected)
        for one, expected in zip(encoders, alone, strict=True)
    )


def test_what_the_caller_computes_in_changes_no_vector(encoder):
    alone = encoder("sgpt").encode(TEXTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(encoder("sgpt").encode(TEXTS), alone)
    try:
        torch.set_default_dtype(torch.float64)  # as a load in another thread sets it for a while
        assert np.array_equal(encoder("sgpt").encode(TEXTS), alone)
    finally:
        torch.set_default_dtype(torch.float32)


def test_one_encoder_shared_by_threads_gives_what_it_gives_alone_and_counts_all(encoder):
    shared = encoder("sgpt")
    alone = shared.encode(TEXTS)
    shared.shared.usage.texts = 0
    for found in in_threads(*[repeated(shared)] * 4):
        assert all(np.array_equal(vectors, alone) for vectors in found)
    assert shared.shared.usage.texts == 4 * 8 * len(TEXTS)


def test_mteb_in_one_thread_and_encoding_in_another_do_not_disturb_each_other(encoder):
    scored, other = encoder("sgpt"), encoder("llm2vec")

    def score():
        task = MockSTSTask()
        options = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
        return mteb.evaluate(scored, task, **options).task_results[0].get_score()

    expected, alone = score(), other.encode(TEXTS)
    found, vectors = in_threads(score, repeated(other, 40))
    assert found == expected
    assert all(np.array_equal(one, alone) for one in vectors)


def test_a_suspended_pass_leaves_the_model_as_it_is_for_others(encoder):
    causal, open_ = encoder("sgpt"), encoder("sgpt", attention="bidirectional")
    backbone = causal.backbone
    inputs = causal.method.prepare_inputs(TEXTS, tokenizer=backbone.tokenizer)
    alone = open_.encode(TEXTS)
    before, backbone.batch_tokens = backbone.batch_tokens, 40

    def states(passes):
        return {row: s[-1][at] for batch, s in passes for at, row in enumerate(batch)}

    try:
        one = forward(backbone, inputs, attention="causal", layers=[-1])
        other = forward(backbone, inputs, attention="bidirectional", layers=[1, -1])
        expected = states(forward(backbone, inputs, attention="causal", layers=[-1]))
        found = states([next(one)])
        next(other)
        assert in_threads(lambda: open_.encode(TEXTS))[0] == pytest.approx(alone, abs=1e-6)
        found |= states(one)
        next(other)
        other.close()
    finally:
        backbone.batch_tokens = before
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[row], expected[row]) for row in expected)


def test_models_loaded_in_many_threads_are_those_loaded_alone():
    def load(seed, **fields):
        source = {"_target_": "methods.backbone.sources.Random", "config": SMALL, "seed": seed}
        loaded = load_encoder("sgpt", model="tiny", cache=None, source=source, **fields)
        return loaded.encode(TEXTS)

    cells = [(seed, dtype) for seed in (1, 2) for dtype in ("float32", "bfloat16")]
    works = [lambda seed=seed, dtype=dtype: load(seed, dtype=dtype) for seed, dtype in cells]
    alone = [work() for work in works]
    for expected, found in zip(alone, in_threads(*works), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_threads_may_share_a_store_that_is_too_small(encoder, kind, tmp_path):
    loaded = encoder("sgpt")
    alone = {layer: encoder("sgpt", layer=layer).encode(TEXTS) for layer in (1, 2, -1)}
    store = MemoryStore(900) if kind == "memory" else EmbeddingCache(tmp_path, max_bytes=4_000)

    def work(layer):
        method = replace(loaded.method, layer=layer)
        shared = Embedder(loaded.backbone, [method], store)
        return repeated(Encoder(loaded.backbone, method, shared=shared), 20)

    for layer, found in zip(alone, in_threads(*map(work, alone)), strict=True):
        assert all(np.allclose(vectors, alone[layer], atol=1e-6) for vectors in found)
