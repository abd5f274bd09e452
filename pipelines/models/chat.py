"""The one way from a judge's prompt to token ids: the checkpoint's own chat template around one user message, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.guards import TEMPLATE_TOKENS

# Some templates (Llama 3, gpt-oss) write today's date into the prompt. The same rows have to give the same prompt on any day, so
# their clock stands still, on the day that Llama's own template names.
_PARTS: Final = {
    "%Y": "2024",
    "%m": "07",
    "%d": "26",
    "%b": "Jul",
    "%B": "July",
    "%a": "Fri",
    "%A": "Friday",
    "%H": "00",
    "%M": "00",
}
_CLOCK: Final = (
    "{%- macro strftime_now(form) -%}{{ form"
    + "".join(f"|replace({part!r}, {value!r})" for part, value in _PARTS.items())
    + " }}{%- endmacro -%}"
)


class ChatInput:
    """Renders and tokenizes prompts for a checkpoint. One without a chat template gets the plain prompt.

    `tokenizer` is a transformers tokenizer. Templates are rendered by transformers in Jinja's sandbox; thinking is switched off
    where a template knows how, because a reply is one JSON value.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        template = tokenizer.chat_template
        self._template = _CLOCK + template if isinstance(template, str) else None
        self.template_sha256 = storage.sha256_bytes(template.encode()) if isinstance(template, str) else None
        if template is not None and not isinstance(template, str):
            raise DistillError(Code.TEMPLATE, "the checkpoint has several chat templates", "Keep the one that judges should use.")
        self._texts = tuple(dict.fromkeys([*TEMPLATE_TOKENS, *tokenizer.all_special_tokens]))

    def foreign(self, prompt: str) -> str | None:
        """The first token of a chat template, or special token, that the prompt holds as text; the tokenizer would obey it."""
        return foreign_token(prompt, self._texts)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt in its template. What the template says is not added to."""
        rendered = [self._render(prompt) for prompt in prompts]
        ids: list[list[int]] = self.tokenizer(rendered, add_special_tokens=False)["input_ids"] if rendered else []
        return ids

    def _render(self, prompt: str) -> str:
        if self._template is None:
            return prompt
        message = [{"role": "user", "content": prompt}]
        return str(
            self.tokenizer.apply_chat_template(
                message, chat_template=self._template, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )


def foreign_token(prompt: str, texts: Sequence[str] = TEMPLATE_TOKENS) -> str | None:
    """The first of `texts` that the prompt holds."""
    return next((text for text in texts if text in prompt), None)
