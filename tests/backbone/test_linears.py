"""Prepacked linear layers give what torch's give, and only where they can."""

import pytest
import torch
from torch import nn

from methods.backbone import linears
from methods.backbone.linears import PrepackedLinear, prepack
from methods.backbone.loader import load_backbone
from tests.backbone.architectures import SMALL, spec
from tests.backbone.machine import needs_onednn, why_no_onednn


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_auto_prepacks_where_the_machine_can_and_falls_back_where_it_cannot(dtype):
    expected = "torch" if why_no_onednn(dtype) else "onednn"
    model = nn.Sequential(nn.Linear(48, 40, dtype=dtype))
    assert prepack(model, "auto") == expected
    assert isinstance(model[0], PrepackedLinear) is (expected == "onednn")
    rows = torch.randn(3, 48, dtype=dtype)
    assert model(rows).isfinite().all()
    if expected == "torch":
        with pytest.raises(
            ValueError, match="kernel.linears=onednn: torch .* does not support it on this CPU"
        ):
            prepack(model, "onednn")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_prepacked_layer_is_the_layer(dtype, bias):
    needs_onednn(dtype)
    linear = nn.Linear(48, 40, bias=bias, dtype=dtype)
    packed = PrepackedLinear(linear)
    near = {"atol": 1e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 1e-2}
    for shape in ((1, 1, 48), (3, 7, 48), (5, 48)):
        rows = torch.randn(shape, dtype=dtype)
        assert torch.allclose(packed(rows), linear(rows), **near)
    strided = torch.randn(7, 3, 48, dtype=dtype).transpose(0, 1)
    assert torch.allclose(packed(strided), linear(strided), **near)
    assert torch.equal(packed.weight, linear.weight)


def test_weights_go_in_and_out_as_before():
    needs_onednn()
    one, other = (nn.Sequential(nn.Linear(48, 40)) for _ in range(2))
    state = {key: value.clone() for key, value in other.state_dict().items()}
    prepack(one, "onednn")
    assert isinstance(one[0], PrepackedLinear)
    assert one.state_dict().keys() == state.keys()
    one.load_state_dict(state)
    assert torch.equal(one.state_dict()["0.weight"], state["0.weight"])
    rows = torch.randn(3, 48)
    assert torch.allclose(one(rows), other(rows), atol=1e-6)


def test_linear_layers_can_stay_torchs_own():
    backbone = load_backbone(spec("llama", SMALL, linears="torch"))
    assert backbone.choices["linears"] == "torch"
    assert not any(isinstance(m, PrepackedLinear) for m in backbone.model.modules())


def test_without_the_private_operators_layers_stay_torchs_own(monkeypatch):
    def absent(_weight):
        raise AttributeError("no such operator")

    monkeypatch.setattr(linears, "_prepack_weight", absent)
    assert prepack(nn.Sequential(nn.Linear(48, 40)), "auto") == "torch"
    with pytest.raises(ValueError, match="kernel.linears=onednn: torch .* does not support it"):
        prepack(nn.Sequential(nn.Linear(48, 40)), "onednn")


def test_a_layer_that_is_more_than_a_linear_layer_is_left_alone():
    needs_onednn()

    class Scaled(nn.Linear):
        pass

    model = nn.Sequential(Scaled(4, 4))
    prepack(model, "onednn")
    assert type(model[0]) is Scaled
