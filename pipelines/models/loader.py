"""Checkpoints: local paths first, safetensors only, no code of theirs. CleanModelLoader opens base models, without template."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_distill import storage
from pytest_distill.contracts.manifest import ModelUse
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.guards import InputGuard

if TYPE_CHECKING:
    from pytest_distill.pipelines.models.torch_backend import TorchBackend

MODELS_VARIABLE: Final = "DISTILL_MODELS"
_WANTED: Final = ("*.safetensors", "*.json", "tokenizer.model", "merges.txt", "vocab.txt")
_REVISION = re.compile(r"[0-9a-f]{40}")
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Provenance:
    """Which bytes a model is made of. `loader_version` is the digest of the source of this folder."""

    model_name: str
    model_revision: str
    weights_sha256: str | None  # None for a model that a server holds
    tokenizer_name: str
    tokenizer_hash: str
    loader_version: str
    quantization: str | None = None
    template_disabled: bool = True
    add_special_tokens: bool = False

    def use(self) -> ModelUse:
        return ModelUse(name=self.model_name, revision=self.model_revision, weights_sha256=self.weights_sha256)


class Checkpoint:
    """A checkpoint that holds data and no code: safetensors, a tokenizer, and which bytes they are.

    `name` is a folder, a folder under $DISTILL_MODELS, or a name of the Hugging Face cache; nothing is downloaded unless
    `download` says so. With `tokenizer_only` it need hold no weights: those are a server's. Raises E-MODEL when there is none or
    it is not in safetensors, E-EXTRA-MISSING without transformers.
    """

    def __init__(self, name: str, *, revision: str | None = None, download: bool = False, tokenizer_only: bool = False) -> None:
        self.name = name
        self.folder = find(name, revision, download=download)
        _refuse_code(self.folder, tokenizer_only=tokenizer_only)
        self.tokenizer = _tokenizer(self.folder)

    def provenance(self) -> Provenance:
        """Hashes every weight file, which takes a second for each gigabyte or so."""
        weights = _weights(self.folder)
        lines = "".join(f"{storage.sha256_file(path)}  {path.name}\n" for path in weights)
        digest = storage.sha256_bytes(lines.encode())
        snapshot = self.folder.resolve().name
        config = _json(self.folder / "config.json")
        quantization = config.get("quantization_config")
        return Provenance(
            model_name=self.folder.name if Path(self.name).is_dir() else self.name,
            model_revision=snapshot if _REVISION.fullmatch(snapshot) else f"sha256:{digest}",
            weights_sha256=digest,
            tokenizer_name=type(self.tokenizer).__name__,
            tokenizer_hash=storage.sha256_file(self.folder / "tokenizer.json"),
            loader_version=loader_version(),
            quantization=str(quantization.get("quant_method", "unknown")) if isinstance(quantization, dict) else None,
        )

    def model(self, *, device: str = "cpu", dtype: Dtype = "float32") -> Any:
        """The model itself, in evaluation mode: for what decodes or judges in another way than base models do.

        On a CPU, torch has one thread in this process from then on: with more, the last bits of a log-probability, and so the
        bytes of a run, would hang on how many cores there are.
        """
        torch, transformers = require("torch"), require("transformers")
        if torch.device(device).type == "cpu":
            torch.set_num_threads(1)
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise DistillError(
                Code.MODEL, f"{self.name} does not load: {error}", "Name a causal language model in safetensors."
            ) from error
        return model.to(device).eval()


class CleanModelLoader(Checkpoint):
    """The only door to a base model: a checkpoint whose every input passes the guard, its chat template cleared."""

    def __init__(self, name: str, *, revision: str | None = None, download: bool = False, tokenizer_only: bool = False) -> None:
        super().__init__(name, revision=revision, download=download, tokenizer_only=tokenizer_only)
        self.guard = InputGuard(self.tokenizer)

    def served(self, model: str, revision: str | None) -> Provenance:
        """Of a model that a server holds under the name `model`, with this tokenizer; the revision is what the user says."""
        return Provenance(
            model_name=model,
            model_revision=revision or "served",
            weights_sha256=None,
            tokenizer_name=type(self.tokenizer).__name__,
            tokenizer_hash=storage.sha256_file(self.folder / "tokenizer.json"),
            loader_version=loader_version(),
        )

    def load(self, *, device: str = "cpu", dtype: Dtype = "float32", batch_size: int = 32) -> TorchBackend:
        """The model in this process, behind the protocol of backends. float32 keeps results free of the batch's make-up."""
        from pytest_distill.pipelines.models.torch_backend import TorchBackend

        return TorchBackend(self.model(device=device, dtype=dtype), self.guard, batch_size=batch_size)


def loader_version() -> str:
    """SHA-256 over the source files of this folder, names and bytes: any change of the loader is another version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name}\0{storage.sha256_file(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def require(module: str) -> Any:
    """The optional library, or E-EXTRA-MISSING."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = "vllm" if module.startswith("vllm") else "generate"
        raise DistillError(
            Code.EXTRA,
            f"{module} is not installed",
            f"pip install 'pytest-distill[{extra}]' (torch first, in the build for your machine).",
        ) from error


def find(name: str, revision: str | None = None, *, download: bool = False) -> Path:
    """The folder of a checkpoint: a folder, one under $DISTILL_MODELS, or one of the Hugging Face cache. Raises E-MODEL."""
    if Path(name).is_dir():
        return Path(name)
    staged = os.environ.get(MODELS_VARIABLE)
    if staged and (Path(staged) / name).is_dir():
        return Path(staged) / name
    hub = require("huggingface_hub")
    try:
        found = hub.snapshot_download(name, revision=revision, local_files_only=not download, allow_patterns=list(_WANTED))
    except (OSError, ValueError) as error:
        raise DistillError(
            Code.MODEL,
            f"no model {name!r}: it is no folder, not under ${MODELS_VARIABLE} and not in the local cache",
            "Name a folder with config.json, tokenizer.json and *.safetensors, or allow the download.",
        ) from error
    return Path(found)


def _refuse_code(folder: Path, *, tokenizer_only: bool) -> None:
    """E-MODEL unless the folder holds what can be loaded as data."""
    wanted = ("tokenizer.json",) if tokenizer_only else ("config.json", "tokenizer.json")
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise DistillError(
            Code.MODEL, f"{folder.name} has no {' and no '.join(missing)}", "Save the model in the Hugging Face layout."
        )
    if not tokenizer_only and not _weights(folder):
        raise DistillError(
            Code.MODEL,
            f"{folder.name} has no weights in safetensors",
            "Pickled weights can run code and are not loaded; convert them.",
        )
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in _json(folder / name):
            raise DistillError(
                Code.MODEL,
                f"{folder.name}/{name} asks for code of its own (auto_map)",
                "Only architectures of transformers are loaded.",
            )


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise DistillError(Code.MODEL, f"{path.name} is not JSON", "The checkpoint is damaged; fetch it again.") from error
    if not isinstance(value, dict):
        raise DistillError(Code.MODEL, f"{path.name} is no JSON object", "The checkpoint is damaged; fetch it again.")
    return value


def load_classifier(folder: Path) -> tuple[Any, Any]:
    """A sequence classifier and its tokenizer, for measures of text: local files, safetensors, no code. Raises E-MODEL."""
    transformers = require("transformers")
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise DistillError(Code.MODEL, f"{folder}: {error}", "Is it a sequence classifier?") from error
    return model, _tokenizer(folder)


def build_classifier(folder: Path, outputs: int) -> tuple[Any, Any]:
    """The sequence classifier that a folder's config.json describes, without weights, and its tokenizer. Raises E-MODEL."""
    transformers = require("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, num_labels=outputs, trust_remote_code=False, local_files_only=True
        )
        model = transformers.AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise DistillError(Code.MODEL, f"{folder}: {error}", "Is it the configuration of a sequence classifier?") from error
    return model, _tokenizer(folder)


def read_checkpoint(path: Path) -> Any:
    """What `torch.save` wrote, as tensors and plain containers only. Raises E-MODEL for anything else.

    torch's restricted reader is the only one: before torch 2.6 it could be made to run code (CVE-2025-32434).
    """
    torch = require("torch")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        hint = "Older ones run code that a checkpoint may hold."
        raise DistillError(Code.MODEL, f"{path.name} needs torch 2.6 or newer", hint)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its reader raises whatever comes up in a foreign file, with advice that nobody should follow
        what = f"{path} does not read as tensors only ({type(error).__name__})"
        raise DistillError(Code.MODEL, what, "Save its state dict again, or convert it to safetensors.") from error


def load_encoder(folder: Path) -> tuple[Any, Any]:
    """An encoder and its tokenizer (of `tokenizers`), for hidden states: local files, safetensors, no code. Raises E-MODEL."""
    torch, transformers = require("torch"), require("transformers")
    from tokenizers import Tokenizer

    _refuse_code(folder, tokenizer_only=False)
    try:
        model = transformers.AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the libraries raise whatever they like for a damaged file
        raise DistillError(Code.MODEL, f"{folder.name} does not load as an encoder: {error}", "Fetch it again.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(model.config.max_position_embeddings))
    return model.eval(), tokenizer


def _tokenizer(folder: Path) -> Any:
    transformers = require("transformers")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DistillError(
            Code.MODEL, f"the tokenizer of {folder.name} does not load: {error}", "Fetch the checkpoint again."
        ) from error
