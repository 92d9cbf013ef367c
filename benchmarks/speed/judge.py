"""The truth of a case in float64, and how far a contestant is from it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.cases import Case
from circuits import engines

CHUNK = 2**18
"""Numbers in a part of the batch: what of an engine's tape stays in a cache is fastest."""

CHECKED = 10**5
"""Numbers on which the judge is itself judged by the reference, at least one row."""

WITH_GRADIENTS = 2**11
"""Numbers in a row up to which the reference, whose matrices are the square of a state, can also be differentiated."""

DENSE = 2**10
"""Numbers in a row of a state vector above which the reference takes minutes: there the judge, which it confirms for
fewer wires, is confirmed by the peers, all of which have to agree with it."""

TOLERANCES = {"float32": (1e-5, 1e-4), "float64": (1e-10, 1e-10)}
"""Errors of output and gradients that a contestant may have in its dtype; the judge has to keep those of float64."""


class WrongJudge(Exception):
    """The judge and the reference disagree, so nobody can be judged."""


@dataclass(frozen=True)
class Answers:
    """The output of a training step, and the gradients it leaves, by the names of the case's arrays."""

    output: np.ndarray
    gradients: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Answers":
        """What a worker has saved."""
        prefix = "gradient_"
        gradients = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        return cls(arrays["output"], gradients)


@dataclass(frozen=True)
class Errors:
    """Relative l2 errors of the output and of the worst of the gradients, which is that of `worst`."""

    output: float
    gradient: float
    worst: str

    def row(self) -> dict[str, float | str | None]:
        """For a file; None is what is not a number."""
        output, gradient = (error if np.isfinite(error) else None for error in (self.output, self.gradient))
        return {"output_error": output, "gradient_error": gradient, "worst": self.worst}

    def failure(self, dtype: str) -> str | None:
        """Why the answers are wrong; None if they are right."""
        for what, error, most in zip(
            ("output", f"gradient of {self.worst}"), (self.output, self.gradient), TOLERANCES[dtype], strict=True
        ):
            if not error <= most:  # NaN is no pass
                return f"fails: error {error:.1e} of the {what} is above {most:.0e}"
        return None


def truth(case: Case, arrays: Mapping[str, np.ndarray]) -> Answers:
    """What is right, from the case's judge, part by part of the batch.

    Raises:
        WrongJudge: if the judge does not agree with the reference on the first rows.
    """
    if case.judge is None or (case.kind == "vector" and case.size > DENSE):
        return _solve(case, case.judge, arrays)
    few = dict(arrays) | {"x": arrays["x"][: max(1, CHECKED // case.size)]}
    if case.kind == "vector":
        few["x"] = few["x"][:1]
    gradients = case.kind == "layer" or case.size <= WITH_GRADIENTS
    judged = compare(_solve(case, case.judge, few, gradients), _solve(case, "reference", few, gradients))
    if (failure := judged.failure("float64")) is not None:
        raise WrongJudge(f"judge {case.judge!r} {failure}")
    return _solve(case, case.judge, arrays)


def compare(answers: Answers, right: Answers) -> Errors:
    """The errors of `answers`; a gradient that is missing is infinitely wrong."""
    errors = {
        name: _error(answers.gradients[name], gradient) if name in answers.gradients else np.inf
        for name, gradient in right.gradients.items()
    }
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf), default="nothing")
    return Errors(_error(answers.output, right.output), errors.get(worst, 0.0), worst)


def _error(values: np.ndarray, right: np.ndarray) -> float:
    if values.size != right.size:
        return np.inf
    difference = values.astype(np.float64).reshape(right.shape) - right
    return float(np.linalg.norm(difference) / np.linalg.norm(right))


def _solve(case: Case, name: str | None, arrays: Mapping[str, np.ndarray], gradients: bool = True) -> Answers:
    engine = None if name is None else engines.get(name)
    tensors: dict[str, Tensor] = {key: torch.from_numpy(array).double() for key, array in arrays.items()}
    for tensor in tensors.values():
        tensor.requires_grad_(gradients)
    x, rows = tensors["x"], max(1, CHUNK // case.size)
    outputs = []
    for start in range(0, len(x), rows):
        output = case.output(engine, tensors | {"x": x[start : start + rows]})
        if gradients:
            # The mean of squares over the whole batch is the sum of these parts.
            (output.square().sum() * (len(output) / len(x) / output.numel())).backward()
        outputs.append(output.detach())
    found = {key: tensor.grad.numpy() for key, tensor in tensors.items() if tensor.grad is not None}
    return Answers(torch.cat(outputs).numpy(), found)
