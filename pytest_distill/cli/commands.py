"""Every command and the line that `distill --help` says of it, so that the list is shown without importing forty modules."""

from __future__ import annotations

COMMANDS = {
    "init": "make a workspace with a policy, a gate to copy and a batch that passes",
    "doctor": "environment, extras, permissions, with what to do",
    "ingest": "files to a batch",
    "run": "a pipeline to a batch",
    "check": "judge a batch",
    "show": "a batch and its newest verdict; -v quotes rejected rows",
    "list": "the batches of the workspace",
    "stats": "what the columns and measures hold",
    "sample": "some rows of a batch",
    "inspect": "look at a sample of the rows",
    "agreement": "how far an automated verifier agrees with people",
    "diff": "rows and measures that differ",
    "report": "a run as one HTML page, or as Markdown",
    "score": "have a judge score every row of a batch",
    "calibrate": "weights and thresholds of a scorer, from labelled rows",
    "compare-scorers": "how far scorers agree on the same rows",
    "fidelity": "whether rephrased texts keep what the originals say",
    "tokenize": "texts to shards of token ids",
    "shards": "check, show, mend and join shards",
    "export": "leave, if sealed",
    "verify": "check an export",
    "gates": "what is checked, how, with which limit",
    "ci": "judge the dataset files of a change",
    "policy": "freeze the policy, record its changes",
    "ledger": "the audit trail",
    "incidents": "violations: review, close",
    "gold": "the reference set that bulk has to match",
    "domain": "domains of rows, by a trained head",
    "diversity": "how densely rows lie by meaning",
    "escalation": "output below gold: diagnose, revise, return",
    "reproduce": "make a batch again and compare",
    "prune": "remove what need not be kept any more",
    "evidence": "streams to scored evidence",
    "export-rag": "accepted and partially accepted runs as documents to retrieve",
    "export-sft": "accepted runs as instructions and responses",
    "export-preference": "pairs of a better and a worse answer to one task",
    "run-all": "streams to evidence, scores and all three batches",
    "acceptance": "does this installation keep its invariants?",
    "runs": "runs of stages, newest first",
    "drift": "how one run of stages differs from another",
    "replay": "a task, with what worked before, to a local model",
    "audit": "the whole chain from streams to replay",
    "completion": "a script that completes commands in a shell",
}
_HOMES = {  # where the module is not called as the command
    "list": "listing",
    "export-rag": "exporters",
    "export-sft": "exporters",
    "export-preference": "exporters",
    "run-all": "exporters",
}


def module_of(command: str) -> str:
    """The module of this package whose `add_parser` adds the command."""
    return _HOMES.get(command, command.replace("-", "_"))
