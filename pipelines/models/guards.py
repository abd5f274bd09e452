"""The one way from text to token ids. Every input of every backend passes here, and a violation ends the run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from pytest_distill.contracts.stage1 import Guards
from pytest_distill.errors import Code, DistillError

# What the chat templates of common model families are made of. Added to them are the special tokens that the checkpoint's own
# template names, so a family that is missing here is still known by its template.
TEMPLATE_TOKENS: Final = (
    "<|im_start|>", "<|im_end|>", "<|im_sep|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>",
    "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|turn|>", "<|message|>", "<|channel|>", "<｜User｜>", "<｜Assistant｜>",
)  # fmt: skip


class InputGuard:
    """Tokenizes without special tokens, and refuses what would make a base model answer as an assistant.

    `tokenizer` is a transformers tokenizer. Its chat template is cleared here, and what it was is remembered: `template_found`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        template = tokenizer.chat_template
        self.template_found = bool(template)
        tokenizer.chat_template = None
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        named = [text for text in tokenizer.all_special_tokens if text in str(template or "") and text != tokenizer.eos_token]
        self._texts = tuple(dict.fromkeys([*TEMPLATE_TOKENS, *named]))
        self._ids = {vocabulary[text]: text for text in self._texts if text in vocabulary}
        self._checked = 0
        self._lock = threading.Lock()
        self.encode(["Water freezes at"])  # a tokenizer that adds tokens is refused before a model is loaded

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, exactly its own.

        Raises E-TEMPLATE when a chat template was set again or a template's token is in a text, E-SPECIAL-TOKENS when the
        tokenizer would add tokens of its own (the delta check).
        """
        if self.tokenizer.chat_template is not None:
            raise DistillError(
                Code.TEMPLATE,
                "the tokenizer has a chat template again",
                "Something set it after loading; base models get plain text.",
            )
        if not texts:
            return []
        plain: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        special: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True)["input_ids"]
        for text, ids, with_special in zip(texts, plain, special, strict=True):
            if len(ids) != len(with_special):
                raise DistillError(
                    Code.SPECIAL_TOKENS,
                    f"the tokenizer adds {len(with_special) - len(ids)} special tokens to a prompt of {len(ids)}",
                    "Use the base model's own tokenizer, with no post-processor that adds a beginning or an end.",
                )
            self._refuse_template(text, ids)
        with self._lock:
            self._checked += len(texts)
        return plain

    def holds_template(self, text: str) -> bool:
        """Is a token of a chat template in a text that a model wrote? As an input it would end the run."""
        return any(token in text for token in self._texts)

    def _refuse_template(self, text: str, ids: Sequence[int]) -> None:
        seen = next((self._ids[i] for i in ids if i in self._ids), None) or next((t for t in self._texts if t in text), None)
        if seen is not None:
            raise DistillError(
                Code.TEMPLATE, f"an input holds {seen!r}, a token of a chat template", "Remove the text it came from."
            )

    def single_tokens(self, texts: Sequence[str]) -> list[int]:
        """The id of each text, which has to be one token. Raises E-LABEL."""
        encoded = self.encode(texts)
        for text, ids in zip(texts, encoded, strict=True):
            if len(ids) != 1:
                raise DistillError(
                    Code.LABEL,
                    f"{text!r} is {len(ids)} tokens for this tokenizer",
                    "A label has to be a single token to be read from one.",
                )
        return [ids[0] for ids in encoded]

    def report(self) -> Guards:
        """What the guard saw so far. Deltas and template ids are 0, or the run would have ended."""
        cleared = self.tokenizer.chat_template is None
        return Guards(
            template_found=self.template_found,
            template_cleared=cleared,
            delta_check=0,
            template_ids_seen=0,
            inputs_checked=self._checked,
        )
