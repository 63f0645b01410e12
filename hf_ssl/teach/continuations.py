"""What a model that writes text says of a text: how likely it goes on with the name of each class."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..model.limits import text_limit


class Writer:
    """Scores the names of classes as continuations of a prompt, by the mean log-likelihood of their tokens.

        s_c = 1 / |c| * sum_i log p(c_i | prompt(text), c_1 .. c_{i-1}),   q = softmax(s)

    The mean, and not the sum, so that names of many tokens are not at a disadvantage (length normalization: Brown et
    al., "Language Models are Few-Shot Learners", NeurIPS 2020, arXiv 2005.14165, section 2.4).

    Args:
        model: Hub id or folder of a causal language model.
        classes: their names; each follows the prompt after a space.
        template: the prompt, with the text at {}. Texts are cut so that prompt and name fit into the model.
        batch_size: prompts with a name for each call of the model.
        device: as torch names it; None takes the fastest one.
    """

    def __init__(self, model: str, classes: Sequence[str], template: str, batch_size: int, device: str | None = None):
        fastest = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        self.device = torch.device(device or fastest or "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, trust_remote_code=False)
        self.model = loaded.to(self.device).eval()
        self.template, self.batch_size = template, batch_size
        space = "" if template[-1:].isspace() else " "
        self.names = [self._ids(space + name, special=False) for name in classes]
        for name, ids in zip(classes, self.names, strict=True):
            if not ids:
                raise ValueError(
                    f"--classes must have names with tokens of the model, got {name!r}; call it otherwise"
                )
        self.limit = text_limit(self.model, self.tokenizer) - max(map(len, self.names))

    def __call__(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """The probabilities [C] of each text."""
        prompts = [self._prompt(text) for text in texts]
        rows = [(prompt, name) for prompt in prompts for name in self.names]
        scores: list[float] = []
        for start in range(0, len(rows), self.batch_size):
            scores += self._scores(rows[start : start + self.batch_size])
        for row in np.asarray(scores, dtype=np.float64).reshape(len(prompts), len(self.names)):
            shifted = np.exp(row - row.max())
            yield (shifted / shifted.sum()).astype(np.float32)

    def _ids(self, text: str, special: bool = True) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def _prompt(self, text: str) -> list[int]:
        """The tokens of the prompt, with as much of the text as fits."""
        ids = self._ids(self.template.replace("{}", text))
        if len(ids) <= self.limit:
            return ids
        room = self.limit - len(self._ids(self.template.replace("{}", "")))
        while room > 0:
            kept = str(self.tokenizer.decode(self._ids(text, special=False)[:room]))
            if len(ids := self._ids(self.template.replace("{}", kept))) <= self.limit:
                return ids
            room -= 1
        raise ValueError("the template leaves no room for a text")

    @torch.inference_mode()
    def _scores(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        longest = max(len(prompt) + len(name) for prompt, name in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for place, (prompt, name) in enumerate(rows):
            length = len(prompt) + len(name)
            # Behind the name: what follows does not change what comes before.
            ids[place, :length], mask[place, :length] = torch.tensor([*prompt, *name]), 1
        given = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        logs = self.model(**given).logits.float().log_softmax(dim=-1).cpu()
        means = []
        for place, (prompt, name) in enumerate(rows):
            before = torch.arange(len(prompt) - 1, len(prompt) + len(name) - 1)
            means.append(float(logs[place, before, torch.tensor(name)].mean()))
        return means
