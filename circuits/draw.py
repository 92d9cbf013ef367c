"""Circuits as text."""

from circuits.circuit import Circuit, Gate


def draw(circuit: Circuit, width: int = 100) -> str:
    """The circuit as text, one line a wire, time from left to right, broken into rows of at most `width` characters.

    Controls are shown as ●, both ends of a SWAP as ×; on the right stand the letters each Pauli string measures.

    >>> from circuits import Circuit, Gate
    >>> print(draw(Circuit((Gate("H", 0), Gate("CNOT", (0, 1))), readout="ZZ")))
    0: |0>──H──●──<Z
    1: |0>─────X──Z>
    """
    indent = len(f"{circuit.wires - 1}: ")
    rows = [[f"{wire}: ".rjust(indent) for wire in range(circuit.wires)]]
    for column in _columns(circuit):
        if len(rows[-1][0]) + len(column[0]) > width and len(rows[-1][0]) > indent:
            rows.append([" " * indent] * circuit.wires)
        rows[-1] = [line + cell for line, cell in zip(rows[-1], column, strict=True)]
    return "\n\n".join("\n".join(row) for row in rows)


def _columns(circuit: Circuit) -> list[list[str]]:
    """Cells of equal width, one list a moment: gates that do not overlap, spans of two-wire gates included."""
    moments: list[dict[int, str]] = []
    for gate in circuit.gates:
        cells = _cells(gate)
        if not moments or cells.keys() & moments[-1].keys():
            moments.append({})
        moments[-1] |= cells
    columns = [["|0>─"] * circuit.wires]
    for moment in moments:
        size = max(map(len, moment.values()))
        columns.append([f"─{moment.get(wire, '').center(size, '─')}─" for wire in range(circuit.wires)])
    letters = [", ".join(string[wire] for string in circuit.strings) for wire in range(circuit.wires)]
    letters[0], letters[-1] = "<" + letters[0], letters[-1] + ">" if len(letters) > 1 else "<" + letters[0] + ">"
    return [*columns, ["─" + text for text in letters]]


def _cells(gate: Gate) -> dict[int, str]:
    if len(gate.wires) == 1:
        return {gate.wires[0]: str(gate)}
    first, last = gate.wires
    between = dict.fromkeys(range(min(gate.wires) + 1, max(gate.wires)), "│")
    if gate.name == "SWAP":
        return between | {first: "×", last: "×"}
    return between | {first: "●", last: "X" if gate.name == "CNOT" else str(gate)[1:]}
