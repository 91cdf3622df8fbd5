"""The geometry of spaces whose shape is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from methods.evaluation import whitening
from methods.evaluation.geometry import (
    SAMPLE,
    EmbeddingRecorder,
    measure_geometry,
    measure_pairs,
    measure_shape,
)
from methods.evaluation.per_example import STATISTICS
from tests.evaluation.toys import ToySTS


def cloud(number=400, size=16, *, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(number, size)) + shift


def test_a_round_cloud_is_isotropic_and_a_shifted_one_a_cone():
    around, cone = measure_shape(cloud()), measure_shape(cloud(shift=3.0))
    assert around["mean_cosine"] == pytest.approx(0, abs=0.01)
    assert cone["mean_cosine"] == pytest.approx(9 / 10, abs=0.01)  # shift^2 / (shift^2 + 1)
    assert around["effective_rank"] == pytest.approx(16, abs=0.3)
    assert around["uniformity"] < cone["uniformity"] < 0
    # on the sphere, squared distances of independent points are near 2: log E exp(-2 * 2)
    assert around["uniformity"] == pytest.approx(-4 + 2 * 4 / 16, abs=0.1)


def test_a_rogue_dimension_is_seen():
    vectors = cloud()
    vectors[:, 3] *= 20
    found = measure_shape(vectors)
    assert found["top_dimension"] > 0.8 and found["effective_rank"] < 12
    assert found["top_components"] == pytest.approx(1, abs=0.1)
    flat = measure_shape(np.concatenate([cloud(size=2), np.zeros((400, 14))], axis=1))
    assert flat["effective_rank"] == pytest.approx(2, abs=0.01)


def test_a_rotation_and_a_scale_change_nothing_but_the_dimensions():
    vectors = cloud(shift=0.5)
    turned = 7 * vectors @ np.linalg.qr(cloud(16, 16, seed=1))[0]
    one, other = measure_shape(vectors), measure_shape(turned)
    for name in ("mean_cosine", "uniformity", "effective_rank", "top_components"):
        assert one[name] == pytest.approx(other[name])


def test_alignment_is_of_the_pairs_rated_high():
    first = cloud(4)
    second = np.stack([first[0], -first[1], first[2], first[3]])
    found = measure_pairs(first, second, np.array([1.0, 0.9, 0.1, 0.0]), None)
    assert found == {"alignment": pytest.approx(2.0)}  # squared distances 0 and 4


def test_whitening_and_centring_undo_what_was_done_to_a_space():
    """Pairs whose cosines tell their score, in a space then stretched and shifted."""
    first, second = cloud(600, seed=1), cloud(600, seed=2)
    gold = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    stretch = np.diag(np.r_[6.0, np.ones(15)])
    bent = [side @ stretch + 1 for side in (first, second)]
    spearman = STATISTICS["spearman"]
    found = measure_pairs(*bent, gold, spearman)
    cosine = (bent[0] * bent[1]).sum(1) / np.prod([np.linalg.norm(s, axis=1) for s in bent], axis=0)
    plain = stats.spearmanr(cosine, gold)[0]
    assert found["whitened"] > 0.85 and found["whitened"] > found["centred"] + 0.1
    assert found["centred"] > plain


def test_a_dimension_that_never_moves_is_no_obstacle():
    first, second = cloud(300, seed=1), cloud(300, seed=2)
    gold = (first * second).sum(1)
    still = [np.concatenate([side, np.zeros((300, 1))], axis=1) for side in (first, second)]
    plain = measure_pairs(first, second, gold, STATISTICS["spearman"])
    assert measure_pairs(*still, gold, STATISTICS["spearman"]) == pytest.approx(plain)


def whiten_by_eigenvectors(first, second):
    """Cosines of pairs, each side times the eigenvectors over the roots of their variances."""
    both = np.concatenate([first, second])
    variance, axes = np.linalg.eigh(np.cov(both, rowvar=False))
    wide = variance > variance[-1] * 1e-10
    first, second = (
        (side - both.mean(0)) @ axes[:, wide] / np.sqrt(variance[wide]) for side in (first, second)
    )
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / norms


@pytest.mark.parametrize("still", [0, 1, 5])
def test_whitened_cosines_are_those_by_eigenvectors_which_full_rank_does_not_need(
    still, monkeypatch
):
    stretch = np.geomspace(1, 1e-3, 16)
    sides = [cloud(300, seed=seed, shift=0.5) * stretch for seed in (1, 2)]
    sides = [np.concatenate([side, np.ones((300, still))], axis=1) for side in sides]
    expected, plain, asked = whiten_by_eigenvectors(*sides), torch.linalg.eigh, []
    monkeypatch.setattr(torch.linalg, "eigh", lambda one: asked.append(one) or plain(one))
    found = whitening.compute_whitened_cosines(*sides)
    assert np.allclose(found, expected, rtol=0, atol=1e-9)
    assert len(asked) == (1 if still else 0)


def test_vectors_are_whitened_on_the_models_device_or_where_memory_suffices(pairs, monkeypatch):
    plain, devices = whitening._compute_cosines, []

    def compute(both, device):
        devices.append(device)
        if device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(both, device)

    monkeypatch.setattr(whitening, "_compute_cosines", compute)
    calls = cloud(20, 8, seed=1), cloud(20, 8, seed=2)
    found = measure_geometry(pairs, record(*calls), device="cuda:1")["test"]["default"]
    assert devices == ["cuda:1", "cpu"]
    assert found == measure_geometry(pairs, record(*calls))["test"]["default"]


def test_too_few_texts_are_not_whitened(monkeypatch):
    monkeypatch.delattr("methods.evaluation.geometry.compute_whitened_cosines")
    found = measure_pairs(cloud(5), cloud(5, seed=1), np.linspace(0, 1, 5), STATISTICS["pearson"])
    assert found["whitened"] is None and found["centred"] is not None


def test_a_recorder_stores_the_scored_splits_and_samples_large_ones():
    recorder = EmbeddingRecorder(["test"], pairs=False)
    recorder(cloud(10), "train", "default")
    recorder(cloud(SAMPLE + 500), "test", "default")
    recorder(cloud(0), "test", "default")
    assert [len(part) for part in recorder.calls["test", "default"]] == [SAMPLE]
    whole = EmbeddingRecorder(["test"], pairs=True)
    whole(cloud(SAMPLE + 500), "test", "default")
    assert len(whole.calls["test", "default"][0]) == SAMPLE + 500


def test_one_vector_has_no_shape():
    assert measure_shape(cloud(1)) == {}


@pytest.fixture
def pairs():
    task = ToySTS()
    task.load_data()
    return task


def record(*calls):
    recorder = EmbeddingRecorder(["test"], pairs=True)
    for vectors in calls:
        recorder(vectors, "test", "default")
    return recorder


def test_the_sides_of_pairs_are_known_by_their_size_in_either_order(pairs):
    first, second, documents = cloud(20, seed=1), cloud(20, seed=2), cloud(5, seed=3)
    found = [
        measure_geometry(pairs, record(*calls))["test"]["default"]
        for calls in ((first, second, documents), (second, documents, first))
    ]
    for name in ("alignment", "centred"):
        assert found[0][name] == pytest.approx(found[1][name])


@pytest.mark.parametrize("sizes", [(20,), (40,), (20, 19), (20, 20, 20)])
def test_sides_that_cannot_be_identified_are_reported_not_guessed(sizes, pairs, caplog):
    recorder = record(*(cloud(size, seed=size + i) for i, size in enumerate(sizes)))
    faults = []
    measures = measure_geometry(pairs, recorder, faults=faults)["test"]["default"]
    assert "mean_cosine" in measures and "alignment" not in measures
    (message,) = faults
    assert "ToySTS, default/test: the two sides of 20 pairs" in message and not caplog.records
    measure_geometry(pairs, recorder)
    assert "the geometry is measured in part: ToySTS" in caplog.text
