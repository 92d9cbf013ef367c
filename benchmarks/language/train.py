"""One model, trained on equally many tokens as every other, by the same loop."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import mean, median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.language.data import Text
from benchmarks.language.families import FAMILIES, count
from benchmarks.provenance import ran_on
from benchmarks.report import Results
from qkan import GPT, GPTConfig, next_token_loss, set_engine

RATES = (2e-3, 4e-3, 8e-3)
TUNING_SEED = 1000
"""Not among the seeds that are reported."""

WARMUP, FLOOR, CLIP, DECAY, BETAS = 0.05, 0.1, 1.0, 0.1, (0.9, 0.99)
"""Part of the steps in which the rate rises, part of it that is left at the end, norm of gradients, AdamW's own."""


@dataclass(frozen=True)
class Budget:
    """What every model gets.

    Args:
        steps: of training.
        tuning: steps of a trial of a learning rate.
        batch: windows a step.
        context: tokens of a window.
        width: of the model.
        layers: of the model.
        points: of a loss curve.
        windows: of the validation part that a point of a curve looks at, evenly spread; what is compared saw all.
    """

    steps: int = 1200
    tuning: int = 400
    batch: int = 16
    context: int = 64
    width: int = 128
    layers: int = 4
    points: int = 15
    windows: int = 128


QUICK = Budget(steps=6, tuning=2, batch=4, context=16, width=16, layers=2, points=2, windows=8)


def setting(text: Text, budget: Budget) -> dict[str, Any]:
    """What rows must agree in to be of one run."""
    return {"text": text.name, **asdict(budget)}


def tune(family: str, text: Text, budget: Budget, results: Results, advance: Callable[[], None]) -> float:
    """The learning rate of the smallest validation loss after a short training."""
    losses = {}
    for rate in RATES:
        row = measure("tuning", family, rate, TUNING_SEED, text, budget, results)
        losses[rate] = row["validation"]
        advance()
    return min(losses, key=losses.__getitem__)


def measure(
    stage: str, family: str, rate: float, seed: int, text: Text, budget: Budget, results: Results
) -> Mapping[str, Any]:
    """The row of one training, from an earlier run if it is there; only stage "final" looks at the test part."""
    origin = {"stage": stage, "model": family, "lr": rate, "seed": seed, **setting(text, budget)}
    if found := results.where(**origin):
        return found[0]
    sizes = GPTConfig(len(text.alphabet), budget.context, budget.width, budget.layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT(sizes, FAMILIES[family])
    steps = budget.steps if stage == "final" else budget.tuning
    curve, seconds = train(model, rate, seed, text, replace(budget, steps=steps))
    whole, feed_forward = count(model)
    results.add(
        **origin,
        engine=ran_on(model),
        parameters=whole,
        feed_forward=feed_forward,
        tokens=steps * budget.batch * budget.context,
        curve=curve,
        validation=evaluate(model, text.validation, budget),
        **(final(model, text, budget) if stage == "final" else {}),
        training_rate=budget.batch * budget.context / median(seconds),
        seconds=sum(seconds),
    )
    return results.rows[-1]


def train(model: GPT, rate: float, seed: int, text: Text, budget: Budget) -> tuple[list[list[float]], list[float]]:
    """Train; the points `[tokens, training loss since the last, validation loss]`, and the seconds of every step."""
    optimizer = make_optimizer(model, rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: part_of_rate(step, budget.steps))
    generator = torch.Generator().manual_seed(seed)
    curve, losses, seconds = [], [], []
    for step in range(1, budget.steps + 1):
        start = perf_counter()
        losses.append(_step(model, batch(text.train, budget, generator), optimizer))
        schedule.step()
        seconds.append(perf_counter() - start)
        if step * budget.points % budget.steps < budget.points:
            validation = evaluate(model, text.validation, budget, budget.windows)
            curve.append([step * budget.batch * budget.context, mean(losses), validation])
            losses.clear()
    return curve, seconds


def _step(model: GPT, tokens: Tensor, optimizer: torch.optim.Optimizer) -> float:
    loss = next_token_loss(model(tokens), tokens)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.item()


def make_optimizer(model: GPT, rate: float) -> torch.optim.Optimizer:
    """AdamW, which decays matrices and the embedding, not biases, gains, and what is an angle or a coefficient."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS)


def part_of_rate(step: int, steps: int) -> float:
    """Up in a straight line, then down along a cosine."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * done)) / 2


def batch(tokens: Tensor, budget: Budget, generator: torch.Generator) -> Tensor:
    """Windows `(batch, context)` from anywhere in the training part, the same for every model of a seed."""
    starts = torch.randint(len(tokens) - budget.context + 1, (budget.batch, 1), generator=generator)
    return tokens[starts + torch.arange(budget.context)]


@torch.no_grad()
def evaluate(model: GPT, tokens: Tensor, budget: Budget, most: int | None = None) -> float:
    """Nats a character; windows overlap by one token, so that every token but the first is predicted once.

    What does not fill a window is left out.
    """
    windows = tokens.unfold(0, budget.context, budget.context - 1)
    windows = windows[:: max(1, len(windows) // (most or len(windows)))]
    model.eval()
    losses = [next_token_loss(model(part), part).item() * len(part) for part in windows.split(64)]
    model.train()
    return sum(losses) / len(windows)


def final(model: GPT, text: Text, budget: Budget) -> dict[str, Any]:
    """The test loss, tokens a second of cached generation from one prompt, and what was written."""
    prompt, steps = text.test[:1], budget.context - 1
    test = evaluate(model, text.test, budget)
    set_engine(model, "auto")  # one token at a time is another shape than what a family chose its engine for
    seconds, written = [], prompt
    for _ in range(3):
        start = perf_counter()
        written = model.generate(prompt, steps, temperature=0.8, generator=torch.Generator().manual_seed(0))
        seconds.append(perf_counter() - start)
    return {
        "test": test,
        "generation_rate": steps / median(seconds),
        "generation_engine": ran_on(model),
        "written": text.characters(written),
    }
