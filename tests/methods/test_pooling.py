"""Pooling against numbers worked out by hand."""

import ast
from pathlib import Path

import pytest
import torch

from methods import pooling
from methods.pooling import last, mean, weighted_mean
from methods.pooling_names import list_built_in, pool_by_name

HIDDEN_BLD = torch.tensor([[[1.0], [2.0], [4.0], [8.0]], [[1.0], [3.0], [5.0], [7.0]]])
MASK_BL = torch.tensor([[True, True, True, False], [False, True, False, True]])


def test_last_takes_the_last_true_position():
    assert last(HIDDEN_BLD, MASK_BL).tolist() == [[4.0], [7.0]]


def test_mean_averages_true_positions_only():
    assert mean(HIDDEN_BLD, MASK_BL)[:, 0].tolist() == pytest.approx([7 / 3, 5.0])


def test_weighted_mean_weighs_by_rank_inside_the_mask():
    expected = [(1 * 1 + 2 * 2 + 3 * 4) / 6, (1 * 3 + 2 * 7) / 3]
    assert weighted_mean(HIDDEN_BLD, MASK_BL)[:, 0].tolist() == pytest.approx(expected)


def test_every_public_function_of_the_file_is_a_pooling_and_nothing_else_is():
    tree = ast.parse(Path(pooling.__file__).read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert list(list_built_in()) == [name for name in names if not name.startswith("_")]
    assert list(list_built_in())[:3] == ["last", "mean", "weighted_mean"]


@pytest.mark.parametrize("name", list_built_in())
def test_what_is_masked_cannot_reach_the_result_even_if_it_is_not_a_number(name):
    spoilt = HIDDEN_BLD.masked_fill(~MASK_BL[:, :, None], float("nan"))
    found = pool_by_name(spoilt, MASK_BL, name)
    assert torch.equal(found, pool_by_name(HIDDEN_BLD, MASK_BL, name))


@pytest.mark.parametrize("name", list_built_in())
def test_half_precision_states_are_pooled_in_float32(name):
    states = torch.randn(2, 4, 3).bfloat16()
    assert pool_by_name(states, MASK_BL, name).dtype == torch.float32
