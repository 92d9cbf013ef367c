"""Our own contestants, built in a worker process: `python -m benchmarks.speed.worker`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import classical
from benchmarks.peers.serve import Work, serve, training
from benchmarks.speed.basis_form import BasisForm, loaded
from benchmarks.speed.cases import KINDS, CellCase, LayerCase, RationalCase, SplineCase, VectorCase
from circuits import engines
from circuits.engines import Engine
from circuits.engines.spectral import Spectral
from classical.rational_function import plain_rational, rational
from qkan import QKANLSTM, QKANLayer


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """`options` has the name of the model, and what that takes."""
    return MODELS[options["model"]](KINDS[case["kind"]](case), options, arrays)


def qkan_layer(case: LayerCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Our layer with a SiLU base and, like its peer, without a bias."""
    engine, x = _engine(options), arrays["x"]
    layer = QKANLayer(
        case.in_features, case.out_features, case.circuit, base="silu", bias=False, engine=engine, dtype=x.dtype
    )
    leaves = {name.removeprefix("activation."): leaf for name, leaf in layer.named_parameters()}
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(arrays[name])
    return training(layer, leaves | {"x": x}, partial(_ran, layer.activation.engine))


def state_vector(case: VectorCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """The expectation of one circuit of many wires for every row."""
    engine, circuit, slots = _engine(options), case.circuit, {"theta": arrays["theta"]}
    return training(lambda x: engine(circuit, x, slots), arrays, partial(_ran, engine))


def cell(case: CellCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Our recurrent network, from zero states to the outputs of all steps."""
    engine, x = _engine(options), arrays["x"]
    network = QKANLSTM(
        case.in_features, case.hidden, bias=False, batch_first=True, circuit=case.circuit, engine=engine, dtype=x.dtype
    )
    leaves = {
        name.removeprefix("cells.0.gates.").replace("activation.", "").replace(".", "_"): leaf
        for name, leaf in network.named_parameters()
    }
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(arrays[name])
    return training(lambda x: network(x)[0], leaves | {"x": x}, partial(repr, network.cells))


def torch_lstm(case: CellCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """The recurrent network that everybody knows."""
    network = nn.LSTM(case.in_features, case.hidden, batch_first=True)
    leaves = dict(network.named_parameters()) | {"x": arrays["x"]}
    return training(lambda x: network(x)[0], leaves, f"torch {torch.__version__}")


def rational_activation(case: RationalCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Our rational function or its plain twin; compiled before the first step, whose memory is then its own."""
    function = {"fast": rational, "plain": plain_rational}[options["path"]]
    ran = f"torch {torch.__version__}, {function.__name__}"
    if not options["compile"]:
        return training(lambda x: function(x, arrays["numerator"], arrays["denominator"]), arrays, ran)
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    work = training(lambda x: compiled(x, arrays["numerator"], arrays["denominator"]), arrays, f"{ran}, compiled")
    work.step()
    return work


def spline_layer(case: LayerCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """B-splines of degree 3 on 5 intervals of [-1, 1], freshly initialised."""
    layer = classical.BSplineKANLayer(case.in_features, case.out_features, grid_size=5, degree=3, scaler=False)
    return _module(layer, arrays["x"])


def uniform_splines(case: SplineCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Our layer, by the fraction of a cell."""
    return _splines(_our_splines(case, arrays), arrays)


def moved_splines(case: SplineCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Our layer with knots of its own for every input, as after an update of the grid."""
    layer = _our_splines(case, arrays)
    layer.basis = layer.basis.moved(_knots(case, arrays))
    return _splines(layer, arrays)


def all_splines(case: SplineCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """The form that computes all functions."""
    return _splines(BasisForm(_knots(case, arrays), case.degree, case.out_features), arrays)


def linear(case: LayerCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """The layer that everybody knows."""
    return _module(nn.Linear(case.in_features, case.out_features), arrays["x"])


def products(case: LayerCase, options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """The matrix products of a spectral layer and nothing else: no layer of this kind can be faster."""
    count = features(case, arrays)
    width = case.in_features * count
    feature, coefficient = torch.randn(case.batch, width), torch.randn(width, case.out_features)
    pull = torch.randn(case.batch, case.out_features)

    def step() -> Tensor:
        output = feature @ coefficient
        _ = pull @ coefficient.T, feature.T @ pull
        return output

    return Work(lambda: feature @ coefficient, step, {}, lambda: f"torch, {count} features an input")


def features(case: LayerCase, arrays: Mapping[str, Tensor]) -> int:
    """Features of an input that a spectral layer multiplies: all but the constant, which it adds as a bias."""
    slots = {name: arrays[name] for name in case.circuit.slots}
    return Spectral().layer(case.circuit, arrays["x"], slots).basis.size - 1


MODELS: Mapping[str, Callable[[Any, dict[str, Any], dict[str, Tensor]], Work]] = {
    "qkan": qkan_layer,
    "vector": state_vector,
    "spline": spline_layer,
    "uniform splines": uniform_splines,
    "moved splines": moved_splines,
    "all splines": all_splines,
    "linear": linear,
    "cell": cell,
    "lstm": torch_lstm,
    "products": products,
    "rational": rational_activation,
}
"""What can be asked for; a new one is a function above and an entry here."""


def _engine(options: Mapping[str, Any]) -> Engine:
    return engines.get(options["engine"], **options.get("engine_options", {}))


def _ran(engine: Engine) -> str:
    """The engine, and for "auto" what that took and why."""
    return f"{engine!r} -> {engine.last}" if isinstance(engine, engines.Auto) else repr(engine)


def _our_splines(case: SplineCase, arrays: Mapping[str, Tensor]) -> classical.BSplineKANLayer:
    return classical.BSplineKANLayer(
        case.in_features, case.out_features, case.grid_size, case.degree, dtype=arrays["x"].dtype
    )


def _knots(case: SplineCase, arrays: Mapping[str, Tensor]) -> Tensor:
    return torch.from_numpy(case.knots).to(arrays["x"]).repeat(case.in_features, 1)


def _splines(layer: nn.Module, arrays: dict[str, Tensor]) -> Work:
    return training(layer, loaded(layer, arrays) | {"x": arrays["x"]}, f"torch {torch.__version__}")


def _module(module: nn.Module, x: Tensor) -> Work:
    return training(module, dict(module.named_parameters()) | {"x": x}, f"torch {torch.__version__}")


if __name__ == "__main__":
    serve(build)
