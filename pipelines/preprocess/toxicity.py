"""Toxicity by a classifier of the user's: a Hugging Face sequence classifier by path, or a Detoxify checkpoint. Both offline.

Nothing is downloaded, no code of a model repository runs, and weights are read as tensors only: safetensors, or what torch's
restricted reader accepts. Detoxify's own loader is not used: it unpickles a checkpoint, and with it whatever code that holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.loader import build_classifier, load_classifier, read_checkpoint
from pytest_distill.pipelines.preprocess.config import Toxicity

BATCH = 32
MAX_TOKENS = 512
CHECKPOINT = ".ckpt"
# Labels that say a text is fine, as classifiers on the hub name them. Toxicity is what is left.
_HARMLESS = frozenset(("neutral", "non-toxic", "non_toxic", "nontoxic", "not_toxic", "neither", "clean", "safe", "label_0"))
# What Detoxify calls the labels of its checkpoints, whichever challenge they were trained for.
_RENAMED = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}


def files(table: Toxicity) -> list[Path]:
    """The files whose bytes decide about the scores. Raises E-MODEL where there is no model."""
    assert table.model is not None
    path = Path(table.model)
    if path.suffix == CHECKPOINT and path.is_file():
        config = _config(table)
        if not config.is_dir():
            raise DistillError(
                Code.MODEL, f"{path}: no configuration in {config}", "Set diagnostics.toxicity.config to its folder."
            )
        return [path, *sorted(file for file in config.iterdir() if file.is_file())]
    if not (path / "config.json").is_file():
        raise DistillError(Code.MODEL, f"{path} is no classifier", "A folder with config.json and model.safetensors, or a .ckpt.")
    if not list(path.glob("*.safetensors")):
        raise DistillError(Code.MODEL, f"{path} holds no weights as safetensors", "Save it with `safe_serialization=True`.")
    return sorted(file for file in path.iterdir() if file.is_file())


def digest(table: Toxicity) -> str:
    """One digest over the names and bytes of the model's files."""
    return storage.sha256_bytes("".join(f"{storage.sha256_file(f)}  {f.name}\n" for f in files(table)).encode())


class Classifier:
    """Loads once. A score is the probability that a harmful label holds: of several that may hold together, the likeliest."""

    def __init__(self, table: Toxicity) -> None:
        files(table)
        assert table.model is not None
        try:
            import torch
        except ImportError as error:
            raise _missing(error) from error
        if Path(table.model).suffix == CHECKPOINT:
            self._model, self._tokenizer, labels = _detoxify(table)
            self._independent = True
        else:
            self._model, self._tokenizer = load_classifier(Path(table.model))
            labels = [str(self._model.config.id2label[at]) for at in range(self._model.config.num_labels)]
            self._independent = self._model.config.problem_type == "multi_label_classification" or len(labels) == 1
        self._harmful = _harmful(labels, table)
        self._model.eval()
        self._torch = torch

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """One score a text, whatever stands beside it: texts of one length go together, so nothing is padded but to it."""
        torch, found = self._torch, np.zeros(len(texts))
        encoded = [self._tokenizer(text, truncation=True, max_length=self._room())["input_ids"] for text in texts]
        by_length: dict[int, list[int]] = {}
        for at, ids in enumerate(encoded):
            if ids:  # what has no tokens says nothing, so nothing toxic
                by_length.setdefault(len(ids), []).append(at)
        with torch.inference_mode():
            for _, places in sorted(by_length.items()):
                for first in range(0, len(places), BATCH):
                    group = places[first : first + BATCH]
                    logits = self._model(input_ids=torch.tensor([encoded[at] for at in group])).logits.double()
                    if self._independent:
                        found[group] = logits.sigmoid()[:, self._harmful].max(-1).values.numpy()
                    else:
                        found[group] = logits.softmax(-1)[:, self._harmful].sum(-1).numpy()
        return np.round(found, 4)  # what is left of a batch's size in the last digits goes here

    def _room(self) -> int:
        """Tokens the model has positions for. RoBERTa's kind keeps two of them for itself."""
        positions = int(getattr(self._model.config, "max_position_embeddings", MAX_TOKENS))
        return min(MAX_TOKENS, positions - 2)


def _harmful(labels: Sequence[str], table: Toxicity) -> list[int]:
    if table.labels is not None:
        if unknown := set(table.labels) - set(labels):
            raise DistillError(Code.MODEL, f"the classifier has no label {sorted(unknown)[0]!r}", f"It has {', '.join(labels)}.")
        return [at for at, label in enumerate(labels) if label in table.labels]
    harmful = [at for at, label in enumerate(labels) if label.lower() not in _HARMLESS]
    if not harmful or (len(labels) > 1 and all(label.startswith("LABEL_") for label in labels)):
        hint = "Name the harmful ones: diagnostics.toxicity.labels."
        raise DistillError(Code.MODEL, f"which of the labels {', '.join(labels)} are harmful cannot be told", hint)
    return harmful


def _detoxify(table: Toxicity) -> tuple[Any, Any, list[str]]:
    """The model of a checkpoint as Detoxify saves it (`config` and `state_dict`), its tokenizer, and what its outputs are called.

    `arch.args.model_name` is the class of transformers, `dataset.args.classes` the labels. Raises E-MODEL.
    """
    path, config = Path(str(table.model)), _config(table)
    saved = read_checkpoint(path)
    try:
        arch, classes = saved["config"]["arch"]["args"], saved["config"]["dataset"]["args"]["classes"]
        kind, outputs, weights = str(arch["model_name"]), int(arch["num_classes"]), dict(saved["state_dict"])
        labels = [_RENAMED.get(str(name), str(name)) for name in classes]
    except (KeyError, TypeError, ValueError) as error:
        what = f"{path} is no Detoxify checkpoint: it lacks what Detoxify saves ({error})"
        raise DistillError(Code.MODEL, what, "Take one of its releases.") from error
    model, tokenizer = build_classifier(config, outputs)
    if type(model).__name__ != kind or len(labels) != outputs:
        what = f"{path} is a {kind} with {len(labels)} labels, and {config} describes a {type(model).__name__} with {outputs}"
        raise DistillError(Code.MODEL, what, "Give the configuration that it was trained with.")
    # Releases hold a buffer that transformers no longer saves: the numbers from 0 on.
    kept = {name: value for name, value in weights.items() if not name.endswith(".position_ids")}
    try:
        model.load_state_dict(kept)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DistillError(Code.MODEL, f"{path} does not fit {config}: {error}", "Give its own configuration.") from error
    return model, tokenizer, labels


def _config(table: Toxicity) -> Path:
    return Path(table.config) if table.config else Path(str(table.model)).parent / "config"


def _missing(error: ImportError) -> DistillError:
    return DistillError(Code.EXTRA, f"toxicity needs {error.name}", "pip install 'pytest-distill[toxicity]'")
