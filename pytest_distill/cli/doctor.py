"""`distill doctor`: is everything here that is needed, and what to do where it is not."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

EXTRAS = {
    "sign": "seals that anyone can verify with a public key",
    "generate": "stage 1 with a model in this process (transformers)",
    "vllm": "stage 1 with vLLM's offline engine",
    "tiktoken": "tokenizers of the tiktoken family, for distill tokenize",
    "embed": "texts compared by meaning: hold-outs, rephrased benchmark items, fidelity, density",
    "ann": "density by meaning of more than 100,000 rows",
    "toxicity": "toxicity scores",
    "ray": "runs on several machines",
    "inspect": "the screen of distill inspect",
}
# What the libraries read that generate and train: where models lie, whether the network may be asked, which devices are used.
PLACES = ("HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME",
          "DISTILL_MODELS")  # fmt: skip
SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class Finding(NamedTuple):
    what: str
    state: Literal["ok", "note", "bad"]
    found: str
    do: str = ""


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option

    parser = subparsers.add_parser(
        "doctor", parents=[common], help="environment, extras, permissions, with what to do", description=__doc__
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pytest_distill.cli.common import print_json, print_table

    found = [*_interpreter(), *_packages(), *_pytest(), *_environment(), *_workspace(args.workspace)]
    if args.json:
        print_json([finding._asdict() for finding in found])
    else:
        print_table(("what", "state", "found", "what to do"), found)
    return int(any(finding.state == "bad" for finding in found))


def _interpreter() -> Iterator[Finding]:
    import platform

    version = platform.python_version()
    yield Finding(
        "Python",
        "ok" if sys.version_info >= (3, 11) else "bad",
        version,
        "" if sys.version_info >= (3, 11) else "use 3.11 or later",
    )
    yield Finding("platform", "ok", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    optimised = bool(sys.flags.optimize)
    if optimised:
        yield Finding("python -O", "bad", "asserts are off", "unset PYTHONOPTIMIZE: gates with bare asserts would pass")


def _packages() -> Iterator[Finding]:
    """Every requirement our own metadata names, so that this list cannot differ from what pip installs."""
    from importlib import metadata

    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in metadata.requires("pytest-distill") or ()]
    for extra in ("", *EXTRAS):
        named = [
            r for r in wanted if (not extra and r.marker is None) or (r.marker and extra and r.marker.evaluate({"extra": extra}))
        ]
        states = [(r, _version(r.name)) for r in named]
        missing = [
            f"{r.name}{r.specifier}"
            for r, version in states
            if version is None or not r.specifier.contains(version, prereleases=True)
        ]
        present = ", ".join(f"{r.name} {version}" for r, version in states if version)
        if extra and not named:
            yield Finding(
                f"extra [{extra}]", "note", f"unknown to what is installed: {EXTRAS[extra]}", "install pytest-distill again"
            )
        elif extra:
            do = f"pip install 'pytest-distill[{extra}]', if you need {EXTRAS[extra]}" if missing else ""
            some = f"{present}; without {', '.join(missing)}" if present and missing else present or "not installed"
            yield Finding(f"extra [{extra}]", "note" if missing else "ok", f"{some}: {EXTRAS[extra]}", do)
        else:
            yield Finding("packages", "bad" if missing else "ok", present, f"pip install {' '.join(missing)}" if missing else "")


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pytest() -> Iterator[Finding]:
    from importlib import metadata

    registered = any(point.name == "distill" for point in metadata.entry_points(group="pytest11"))
    yield Finding(
        "pytest plugin",
        "ok" if registered else "bad",
        "registered" if registered else "missing",
        "" if registered else "install again",
    )
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        yield Finding("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "bad", "set: pytest loads no plugin, so nothing is judged", "unset it")
    if options := os.environ.get("PYTEST_ADDOPTS"):
        yield Finding("PYTEST_ADDOPTS", "note", options, "options that leave gates out make every verdict FAILED")
    import shutil

    openssl = shutil.which("openssl")
    yield Finding(
        "openssl",
        "ok" if openssl else "note",
        openssl or "not found",
        "" if openssl else "only to make keys, and to check seals by hand",
    )


def _environment() -> Iterator[Finding]:
    """The variables that libraries read which load models; a value that names a secret is not shown."""
    for name in PLACES:
        value = os.environ.get(name)
        if value is None:
            yield Finding(
                name, "note" if name == "HOME" else "ok", "not set", "set it: caches lie there" if name == "HOME" else ""
            )
            continue
        folder = Path(value)
        if name == "TRANSFORMERS_CACHE":
            do = "transformers 5 does not read it any more: HF_HUB_CACHE names the folder of models"
            yield Finding(name, "note", value, do)
        elif not folder.is_dir():
            yield Finding(name, "note", f"{value} (no such folder)", f"mkdir -p {value!r}, or correct the variable")
        else:
            writable = os.access(folder, os.W_OK | os.X_OK)
            offline = name == "DISTILL_MODELS" or writable
            yield Finding(
                name,
                "ok" if offline else "note",
                value if writable else f"{value} (read only)",
                "" if offline else "nothing can be cached",
            )
    others = sorted(name for name in os.environ if name.startswith("VLLM_"))
    for name in (*SWITCHES, *others):
        value = os.environ.get(name)
        hidden = value and any(word in name for word in SECRET)
        yield Finding(name, "ok", "not set" if value is None else "set, not shown" if hidden else value or "set, empty")


def _leftovers(batches: Path) -> Iterator[Finding]:
    """Folders that a killed writer left: hidden, never a batch, and safe to remove once nothing writes any more."""
    for folder in sorted(batches.glob(".*.tmp")) if batches.is_dir() else ():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield Finding(
            f"left over: {folder.name}",
            "note",
            f"{size / (1 << 20):.1f} MiB of a batch that was never finished",
            f"when no distill command is at work: rm -r {str(folder)!r}",
        )


def _workspace(folder: Path | None) -> Iterator[Finding]:
    from pytest_distill import ledger
    from pytest_distill.errors import DistillError
    from pytest_distill.policy import workspace as workspaces
    from pytest_distill.suite.declared import check_policy, declared_gates

    try:
        workspace = workspaces.load(folder)
    except DistillError as error:
        state: Literal["note", "bad"] = "bad" if folder else "note"
        yield Finding("workspace", state, error.message, error.hint)
        return
    yield Finding("workspace", "ok", str(workspace.root))
    try:
        gates = declared_gates(workspace)
        check_policy(gates, workspace.policy)
        yield Finding("gates and policy", "ok", f"{len(gates)} gates declared, {len(workspace.policy.waivers)} waivers")
    except DistillError as error:
        yield Finding("gates and policy", "bad", error.message, error.hint)
    for place in (workspace.batches, workspace.state):
        # What is not there yet is made inside the nearest folder that is.
        nearest = next(path for path in (place, *place.parents) if path.exists())
        writable = os.access(nearest, os.W_OK | os.X_OK)
        yield Finding(
            f"writing to {place.name}", "ok" if writable else "bad", str(nearest), "" if writable else f"chmod u+wx {nearest}"
        )
    yield from _leftovers(workspace.batches)
    import shutil

    free = shutil.disk_usage(workspace.root).free
    yield Finding(
        "disk", "ok" if free > 1 << 30 else "note", f"{free / (1 << 30):.1f} GiB free", "" if free > 1 << 30 else "make room"
    )
    try:
        yield Finding("ledger", "ok", f"{ledger.verify(workspace.ledger).seq} entries, chain whole")
    except DistillError as error:
        yield Finding("ledger", "bad", error.message, error.hint)
