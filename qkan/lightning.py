"""The Lightning side of `fit`: the task, the trainer, and what they must not leave behind."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from circuits.errors import third_party

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}  # torch's name of a device type -> Lightning's


def progress_bar() -> Any:
    """The class of the progress bar that Lightning depends on; an error with the remedy if Lightning is missing."""
    third_party("lightning.pytorch", "train")
    return third_party("tqdm", "train").tqdm


def make_task(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], optimizer: Optimizer, bar: Any, unit: float = 1.0
) -> Any:
    """What Lightning trains: it takes the losses of `model`, times `unit`, and remembers its best weights."""
    from lightning.pytorch import LightningModule

    class Task(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # so that Lightning moves it
            self.train_loss: list[float] = []
            self.validation_loss: list[float] = []
            self.best_loss = math.inf
            self.best_epoch = 0
            # In memory: `ModelCheckpoint` adds 1.1 ms to the 1.4 ms of a small network's epoch, this adds 0.1 ms.
            self.best_state = deepcopy(model.state_dict())

        def configure_optimizers(self) -> Optimizer:
            return optimizer

        def on_train_epoch_start(self) -> None:
            self.train_terms: dict[int, tuple[Tensor, int]] = {}
            self.validation_terms: dict[int, tuple[Tensor, int]] = {}

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            value = loss(model(x), y)
            self.train_terms.setdefault(batch_idx, (value.detach(), len(y)))  # L-BFGS comes back with other weights
            return unit * value

        def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            x, y = batch
            self.validation_terms[batch_idx] = loss(model(x), y), len(y)

        def on_train_epoch_end(self) -> None:
            train, validation = _mean("train", self.train_terms), _mean("validation", self.validation_terms)
            if validation < self.best_loss:
                self.best_loss, self.best_epoch = validation, len(self.validation_loss)
                self.best_state = deepcopy(model.state_dict())
            self.train_loss.append(train)
            self.validation_loss.append(validation)
            # As a tensor, because Lightning logs floats in single precision, and `EarlyStopping` compares those.
            self.log("validation_loss", torch.tensor(validation, dtype=torch.float64))
            if not (math.isfinite(train) and math.isfinite(validation)):
                self.trainer.should_stop = True
            bar.set_postfix(train=train, validation=validation, refresh=False)
            bar.update()

    return Task()


def make_trainer(device: torch.device, epochs: int, patience: int | None, max_seconds: float | None) -> Trainer:
    """Lightning's trainer in this process on one device, which prints nothing and writes nothing."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer

    callbacks: list[Callback] = []
    if patience is not None:
        callbacks.append(EarlyStopping("validation_loss", patience=patience))
    if max_seconds is not None:
        callbacks.append(Timer(timedelta(seconds=max_seconds), interval="epoch", verbose=False))
    return Trainer(
        accelerator=ACCELERATORS[device.type],
        devices=1 if device.index is None else [device.index],
        max_epochs=epochs,
        callbacks=callbacks,
        plugins=LightningEnvironment(),  # inside a SLURM job too, this is one process
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@contextmanager
def restored(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put `model` in training mode; afterwards restore its modes and its device, and drop its gradients."""
    modes = [(module, module.training) for module in model.modules()]
    if not model.training:
        model.train()
    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    finally:
        model.to(device)  # Lightning leaves it on the CPU
        model.zero_grad()
        for module, training in modes:
            module.training = training


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed torch's generators on the CPU and on `device`, and restore them afterwards; nothing if `seed` is `None`."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            for cuda in devices:
                with torch.cuda.device(cuda):
                    torch.cuda.manual_seed(seed)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Mute Lightning's banners, its advice, and what torch deprecates in its code; other warnings come through."""
    from lightning.fabric.utilities.warnings import PossibleUserWarning

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"lightning\.")
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def keyboard_interrupt() -> Iterator[None]:
    """Pass on Ctrl-C, where Lightning exits with `SystemExit` and may leave SIGINT ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as exit:
        if isinstance(exit.__context__, KeyboardInterrupt):
            raise exit.__context__ from None
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def _mean(name: str, terms: dict[int, tuple[Tensor, int]]) -> float:
    """Mean over the samples of all batches, in double precision and with one device synchronisation."""
    samples = sum(size for _, size in terms.values())
    if samples == 0:
        raise ValueError(f"Argument `{name}` must have samples, but its `DataLoader` has none.")
    return float(sum(value.double() * size for value, size in terms.values())) / samples
