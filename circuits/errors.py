"""The errors a caller can act on; everything else is a plain TypeError or ValueError."""

from importlib import import_module
from typing import Any


class UnsupportedCircuit(ValueError):
    """An engine cannot evaluate this circuit; the message names the gate and an engine that can."""


class EngineUnavailable(ImportError):
    """A third-party package that an engine stands on is not installed; the message has the pip line."""


class DeviceError(RuntimeError):
    """A device or its provider failed for good; the message names the job, and says what is kept."""


def third_party(module: str, extra: str) -> Any:
    """Import `module` of an optional package; only its absence becomes `EngineUnavailable`, other errors surface."""
    package = module.partition(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise EngineUnavailable(f"Package {package!r} is not installed: run `pip install 'daruan[{extra}]'`.") from None
