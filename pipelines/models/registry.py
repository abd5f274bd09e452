"""Which backends there are, and the one way to open one: by name, from what a user says about the model.

A backend is registered with the module and the function that open it, so that naming one imports nothing else's libraries. The
function takes a `ModelChoice` and gives an `Opened`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models import metering

if TYPE_CHECKING:
    from pytest_distill.pipelines.models.backend import Backend
    from pytest_distill.pipelines.models.guards import InputGuard
    from pytest_distill.pipelines.models.loader import Dtype, Provenance

HERE: Final = "pytest_distill.pipelines.models"
# name -> module that opens it, function in it
BACKENDS: Final = {
    "transformers": (f"{HERE}.registry", "open_transformers"),
    "vllm": (f"{HERE}.vllm_backend", "open_vllm"),
    "server": (f"{HERE}.registry", "open_server"),
}
# Models that the project ships: a name, and the package whose folder `model` holds the checkpoint.
SHIPPED: Final = {"tiny": "pytest_distill.fixtures.tiny_lm"}
DEFAULT: Final = "tiny"


@dataclass(frozen=True)
class ModelChoice:
    """What a user says about the model. `device` is torch's name for one (cpu, cuda:0); `url`, `tokenizer`: the server's."""

    model: str = DEFAULT
    backend: str = "transformers"
    revision: str | None = None
    device: str = "cpu"
    dtype: Dtype = "float32"
    batch_size: int = 32
    url: str | None = None
    tokenizer: str | None = None
    key: str | None = None


class Opened(NamedTuple):
    """A model that is ready, the guard that every input passes, and which bytes it is made of."""

    backend: Backend
    guard: InputGuard
    provenance: Provenance


def open_model(choice: ModelChoice) -> Opened:
    """The model, counted where a run is under way (`metering.session`).

    Raises E-USAGE for an unknown backend, E-EXTRA-MISSING without its library, E-FRONTIER and E-COST-CLASS for a model that the
    run may not use, before anything of it is opened, and what the loader refuses.
    """
    if choice.backend not in BACKENDS:
        raise DistillError(Code.USAGE, f"there is no backend {choice.backend!r}", f"There are: {', '.join(BACKENDS)}.")
    module, function = BACKENDS[choice.backend]
    try:
        opener: Any = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise DistillError(
            Code.EXTRA, f"the backend {choice.backend} needs {error.name}", "Install it, or take --backend transformers."
        ) from error
    running = metering.current()
    if running is not None:
        running.allow(choice.model, choice.url)
    opened: Opened = opener(choice)
    if running is None:
        return opened
    meter = running.meter(opened.provenance.use())
    return opened._replace(backend=metering.MeteredBackend(opened.backend, meter))


def located(model: str) -> str:
    """The folder of a model that the project ships, any other name unchanged. Raises E-MODEL where the release has no weights."""
    if model not in SHIPPED or Path(model).is_dir():
        return model
    spec = importlib.util.find_spec(SHIPPED[model])
    folder = Path(spec.origin).with_name("model") if spec and spec.origin else None
    if folder is None or not (folder / "config.json").is_file():
        raise DistillError(
            Code.MODEL, f"this installation has no weights of the model {model!r}", "Name a model of yours: --model FOLDER."
        )
    return str(folder)


def named(provenance: Provenance, model: str) -> Provenance:
    """A shipped model goes by its name, not by its folder's."""
    return replace(provenance, model_name=model) if model in SHIPPED and not Path(model).is_dir() else provenance


def open_transformers(choice: ModelChoice) -> Opened:
    from pytest_distill.pipelines.models.loader import CleanModelLoader, require

    loader = CleanModelLoader(located(choice.model), revision=choice.revision)
    require("transformers").utils.logging.disable_progress_bar()  # a run has a progress line of its own
    backend = loader.load(device=choice.device, dtype=choice.dtype, batch_size=choice.batch_size)
    return Opened(backend, loader.guard, named(loader.provenance(), choice.model))


def open_server(choice: ModelChoice) -> Opened:
    """The model is what the server serves under that name. Its weights are the server's word: no digest stands for them."""
    from pytest_distill.pipelines.models.loader import CleanModelLoader
    from pytest_distill.pipelines.models.server import ServerBackend

    if choice.url is None or choice.tokenizer is None:
        raise DistillError(
            Code.USAGE,
            "a server needs its address and the folder of the model's tokenizer",
            "Example: --server http://localhost:8000/v1 --model NAME --tokenizer FOLDER.",
        )
    loader = CleanModelLoader(located(choice.tokenizer), tokenizer_only=True)
    backend = ServerBackend(choice.url, choice.model, loader.guard, key=choice.key, workers=choice.batch_size)
    return Opened(backend, loader.guard, loader.served(choice.model, choice.revision))
