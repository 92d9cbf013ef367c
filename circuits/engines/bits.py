"""Raw bits of a job to sums of what its shots say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuits.engines.jobs import Job
from circuits.engines.packing import Program
from circuits.journal import Bits
from circuits.mitigation import SUMS, summed

Array = NDArray[Any]


def sums_of(program: Program, bits: Array, job: Job, everything: Bits) -> Array:
    """What `circuits.mitigation.summed` says of the circuits of a part, row after row, `(SUMS, circuits)`.

    Args:
        program: that ran.
        bits: of its part, `(rows, shots, bytes)`.
        job: whose part it is.
        everything: the bits of all parts, calibrations last.
    """
    found = np.empty((SUMS, len(bits), program.width))
    wires = [wire for wire, letter in enumerate(program.string) if letter != "I"]
    zero, one = everything[-2 * job.calibrations : -job.calibrations], everything[-job.calibrations :]
    for copy in range(program.width):
        # One copy at a time: the signs of a hundred of them would be a gigabyte.
        places = [copy * program.wires + wire for wire in wires]
        known = [job.qubits.index(program.qubits[place]) for place in places] if job.qubits else []
        calibration = [np.concatenate([_signs(each, known)[0] for each in part]) for part in (zero, one) if known]
        found[:, :, copy] = summed(_signs(bits, places), *calibration)
    return found.reshape(SUMS, -1)


def _signs(bits: Array, places: Sequence[int]) -> Array:
    """The signs of some bits, `(rows, shots, places)`. Bit 0 is the rightmost one of the last byte."""
    found = [bits[..., -1 - place // 8] >> (place % 8) & 1 for place in places]
    return 1.0 - 2.0 * np.stack(found, axis=-1)
