"""Train a model to its best validation loss: Lightning runs the epochs, nothing is left behind but the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from qkan.lightning import keyboard_interrupt, make_task, make_trainer, progress_bar, quiet, restored, seeded
from qkan.training import (
    UNITS,
    Data,
    MakeOptimizer,
    check_data,
    check_positive,
    count_batches,
    make_loader,
    make_optimizer,
    trained_parameters,
)

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class FitResult:
    """What happened in one call of `fit`: one entry per epoch that ran, counted from 0.

    `train_loss` is the mean over the samples of the epoch, each batch before its own step; `validation_loss` is the
    mean over the validation samples after the last step. `stopped` says why training ended: all `"epochs"` ran,
    `"patience"` or `"time"` was exhausted, or a loss `"diverged"` to infinity or NaN.
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    seconds: float
    stopped: Literal["epochs", "patience", "time", "diverged"]

    @property
    def epochs(self) -> int:
        """Number of epochs that ran."""
        return len(self.validation_loss)

    @cached_property
    def best_epoch(self) -> int:
        """First epoch with the smallest finite validation loss; `fit` leaves its weights in the model."""
        finite = [value if math.isfinite(value) else math.inf for value in self.validation_loss]
        return finite.index(min(finite))

    @property
    def best_validation_loss(self) -> float:
        """Validation loss of the weights that `fit` leaves in the model."""
        return self.validation_loss[self.best_epoch]

    def __repr__(self) -> str:
        names = ("epochs", "best_epoch", "best_validation_loss", "seconds", "stopped")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def fit(
    model: nn.Module,
    train: Data,
    validation: Data,
    *,
    optimizer: Literal["adam", "lbfgs"] | MakeOptimizer = "adam",
    lr: float | None = None,
    history: int | None = None,
    loss: Loss | None = None,
    epochs: int = 200,
    batch_size: int | None = None,
    patience: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> FitResult:
    """Minimise `loss(model(x), y)` over `train` and leave in `model` the weights of its best epoch on `validation`.

    However training ends, also by an error or Ctrl-C, the model has its best weights so far (the initial ones before
    the first finite validation loss), is on the device and in the training or evaluation mode where it was, and has no
    gradients.

    Args:
        model: Any module on one device, CPU or CUDA. Only parameters with `requires_grad` are trained, in training
            mode; but a submodule in evaluation mode inside a model in training mode stays as it is.
        train: A pair `(x, y)` of tensors with the same first axis and the dtype of the model, moved to its device as a
            whole; or a `DataLoader` of such pairs.
        validation: As `train`.
        optimizer: `"adam"`; `"lbfgs"` for L-BFGS with strong Wolfe line search on the full batch, where one epoch is
            one step of up to 20 inner iterations, on a multiple of the loss, so that small ones do not stall; or a
            callable from the list of trained parameters to an `Optimizer`.
        lr: Learning rate. `None`: the default of torch, 1e-3 for Adam and 1 for L-BFGS.
        history: Number of curvature pairs that L-BFGS keeps. `None`: the default of torch, 100.
        loss: From prediction and `y` to the scalar mean over the batch. `None`: the mean squared error.
        epochs: Number of passes over `train`, at most.
        batch_size: Number of samples per batch of tensor pairs; those of `train` are shuffled. `None`: the full batch.
        patience: Number of epochs in a row without a smaller validation loss after which training stops.
        max_seconds: Training stops after the first epoch that ends later than this.
        seed: Seeds the shuffling and whatever is random in the model, and leaves torch's global generators as they
            were. `None`: they are drawn from, as everywhere in torch.
        progress: Whether to show a bar over the epochs, if the standard error stream is a terminal.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has an impossible value.
        FloatingPointError: If no epoch had a finite validation loss.
        EngineUnavailable: If Lightning is not installed.
    """
    check_positive(Integral, epochs=epochs)
    check_positive(Integral, optional=True, history=history, batch_size=batch_size, patience=patience)
    check_positive(Real, optional=True, lr=lr, max_seconds=max_seconds)
    parameters = trained_parameters(model)
    device = parameters[0].device
    steps = make_optimizer(parameters, optimizer, lr=lr, history=history)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    loaders: dict[str, DataLoader[Any]] = {}
    for name, data in {"train": train, "validation": validation}.items():
        check_data(name, data, parameters, any_target=loss is not None)
        loaders[name] = make_loader(data, device, batch_size, shuffle=name == "train", generator=generator)
    if optimizer == "lbfgs" and count_batches(loaders["train"]) != 1:
        raise ValueError(
            f'Argument `train` must be one full batch for optimizer "lbfgs", but has {count_batches(loaders["train"])}'
            ' batches; leave `batch_size=None`, or use "adam".'
        )
    tqdm = progress_bar()

    with (
        tqdm(total=epochs, unit="epoch", disable=None if progress else True) as bar,
        seeded(seed, device),
        restored(model, device),
        quiet(),
        keyboard_interrupt(),
    ):
        unit = UNITS.get(optimizer, 1.0) if isinstance(optimizer, str) else 1.0
        task = make_task(model, loss or _mean_squared_error, steps, bar, unit)
        start = time.perf_counter()
        try:
            make_trainer(device, epochs, patience, max_seconds).fit(task, loaders["train"], loaders["validation"])
        finally:
            model.load_state_dict(task.best_state)
        seconds = time.perf_counter() - start

    ran = len(task.validation_loss)
    if not math.isfinite(task.best_loss):
        raise FloatingPointError(
            f"The validation loss was not finite in any of {ran} epochs, so the model has its initial weights again;"
            f" lower `lr`, which is {'the default' if lr is None else lr}, or rescale the data."
        )
    if not (math.isfinite(task.train_loss[-1]) and math.isfinite(task.validation_loss[-1])):
        stopped = "diverged"
    elif patience is not None and ran - 1 - task.best_epoch == patience:
        stopped = "patience"
    else:
        stopped = "epochs" if ran == epochs else "time"
    return FitResult(tuple(task.train_loss), tuple(task.validation_loss), seconds, stopped)


def _mean_squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    if prediction.shape != y.shape:
        raise ValueError(
            f"The mean squared error needs `y` in the shape {tuple(prediction.shape)} of the prediction, but it has"
            f" {tuple(y.shape)}; reshape it, or pass a `loss`."
        )
    return nn.functional.mse_loss(prediction, y)
