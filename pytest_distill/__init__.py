"""pytest-distill: a dataset leaves only if every required gate ran on exactly these bytes, said yes, and left evidence.

The public API, for authors of gates and stages. Names load on first use, because this package is imported at every pytest
start: importing it costs under a millisecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pytest_distill.batch.batch import Batch, open_batch
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.gating.declare import gate
    from pytest_distill.measuring.measure import measure
    from pytest_distill.notebook import Evaluation, evaluate

_HOMES = {
    "Batch": "pytest_distill.batch.batch",
    "Code": "pytest_distill.errors",
    "DistillError": "pytest_distill.errors",
    "Evaluation": "pytest_distill.notebook",
    "evaluate": "pytest_distill.notebook",
    "gate": "pytest_distill.gating.declare",
    "measure": "pytest_distill.measuring.measure",
    "open_batch": "pytest_distill.batch.batch",
}

__all__ = ["Batch", "Code", "DistillError", "Evaluation", "__version__", "evaluate", "gate", "measure", "open_batch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pytest_distill' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
