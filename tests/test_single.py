"""With one parameter on each edge a layer is an affine map of one function of its inputs."""

import pytest
import torch
from torch import nn

from classical import MLP, SingleParameterKAN, SingleParameterKANLayer
from classical.single import FUNCTIONS
from tolerances import EXACT

F64 = torch.float64


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_layer_is_an_affine_map_of_its_function(name):
    layer, affine = SingleParameterKANLayer(3, 2, name, norm=None, dtype=F64), nn.Linear(3, 2, dtype=F64)
    layer.load_state_dict({"coefficients": affine.weight[..., None], "bias": affine.bias})
    x = torch.randn(5, 3, dtype=F64, generator=torch.Generator())
    torch.testing.assert_close(layer(x), affine(FUNCTIONS[name][0](x)), **EXACT)


def test_one_sine_of_the_published_form():
    layer = SingleParameterKANLayer(1, 1, norm=None, bias=False, dtype=F64)
    layer.coefficients.data.fill_(2.5)
    x = torch.linspace(-3, 3, 13, dtype=F64)[:, None]
    torch.testing.assert_close(layer(x), 2.5 * x.sin(), **EXACT)


def test_it_has_the_parameters_of_a_perceptron_of_the_same_widths():
    widths = [7, 5, 3]
    assert SingleParameterKAN(widths, norm=None).cost().parameters == MLP(widths).cost().parameters


def test_an_unknown_function_is_named():
    with pytest.raises(ValueError, match=r"`function` must be one of sine, arctan, tanh, but is 'cosine'\."):
        SingleParameterKAN([2, 1], function="cosine")
