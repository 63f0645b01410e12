"""What a model that writes text says of a text: how likely it goes on with the name of each class.

    prompts -- one pass --> log-probabilities of first tokens, cache --+-- copy, rest of name 1 --> score 1
                                                                       +-- copy, rest of name 2 --> score 2   ...

Not every architecture can go on from a cache behind prompts of different lengths, and some do so wrongly and say
nothing. There is no list of them here: a writer tries it once, against passes over prompt and name as a whole.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..model.limits import text_limit

# Tokens of the longer of the two prompts on which both ways are tried, and how far scores in float32 may differ:
# rounding makes 1e-5, a wrong position or a token too much makes 1e-2 and more.
_TRIED_TOKENS = 32
_TOLERANCE = 1e-3


class Writer:
    """Scores the names of classes as continuations of a prompt, by the mean log-likelihood of their tokens.

        s_c = 1 / |c| * sum_i log p(c_i | prompt(text), c_1 .. c_{i-1}),   q = softmax(s)

    The mean, and not the sum, so that names of many tokens are not at a disadvantage (length normalization: Brown et
    al., "Language Models are Few-Shot Learners", NeurIPS 2020, arXiv 2005.14165, section 2.4).

    Args:
        model: Hub id or folder of a causal language model.
        classes: their names; each follows the prompt after a space.
        template: the prompt, with the text at {}. Texts are cut so that prompt and name fit into the model.
        batch_size: prompts for each call of the model.
        device: as torch names it; None takes the fastest one.

    Attributes:
        shares: whether names go on from one pass over their prompts. If not, a prompt is read again for each name of
            several tokens, and once for all names of one token.
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
        # What is read of a name, all but its last token -> the places of the names that begin so and then end.
        self._heads: dict[tuple[int, ...], list[int]] = {}
        for place, ids in enumerate(self.names):
            self._heads.setdefault(tuple(ids[:-1]), []).append(place)
        self._takes = set(inspect.signature(self.model.forward).parameters)
        self.shares = self._can_share(" ".join([*classes] * 4))

    def __call__(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """The probabilities [C] of each text."""
        prompts = [self._prompt(text) for text in texts]
        # Prompts of similar length need little padding; the longest first, so that a lack of memory shows at once.
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        scores = np.empty((len(prompts), len(self.names)))
        way = self._shared if self.shares else self._whole
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            scores[batch] = way([prompts[place] for place in batch])
        for row in scores:
            shifted = np.exp(row - row.max())
            yield (shifted / shifted.sum()).astype(np.float32)

    def _ids(self, text: str, special: bool = True) -> list[int]:
        # Not verbose: it would warn of long texts, which are cut here.
        return self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]

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

    def _can_share(self, text: str) -> bool:
        """Whether both ways give the same scores for two prompts, one of which is mostly padding."""
        ids = self._ids(self.template.replace("{}", text))[: min(self.limit, _TRIED_TOKENS)]
        prompts = [ids, ids[: -(-len(ids) // 3)]]
        try:
            with _in_float32(self.model):
                return bool(np.abs(self._shared(prompts) - self._whole(prompts)).max() <= _TOLERANCE)
        # Whatever an architecture raises that is not made for it: the plain way has errors of its own.
        except Exception:
            return False

    @torch.inference_mode()
    def _shared(self, prompts: Sequence[list[int]]) -> np.ndarray:
        """The scores [B, C] from one pass over the prompts, and short ones over the names of several tokens."""
        # Padding comes before the prompts: names follow at once, as windows of attention and recurrent states need it,
        # and the last position of each row is that of its prompt.
        ids, mask = _padded(prompts, left=True)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        several = any(self._heads)
        answer = self._run(ids, mask, position_ids=positions, logits_to_keep=1, use_cache=several)
        first = answer.logits[:, -1:].float().log_softmax(dim=-1)
        # Newer versions of transformers call it otherwise.
        cache = "cache" if "cache" in self._takes else "past_key_values"
        scores = first.new_empty(len(prompts), len(self.names))
        for head, places in self._heads.items():
            logs = first
            if head:
                more = torch.tensor(head).expand(len(prompts), -1)
                reached = torch.cat([mask, torch.ones_like(more)], dim=1)
                positions = mask.sum(dim=1, keepdim=True) + torch.arange(len(head))
                # A pass adds to its cache. Copies can be made of every kind; cropping fails beyond a sliding window.
                given = {"use_cache": True, cache: copy.deepcopy(answer[cache])}
                logits = self._run(more, reached, position_ids=positions, **given).logits
                logs = torch.cat([first, logits.float().log_softmax(dim=-1)], dim=1)
            for place in places:
                scores[:, place] = _mean(logs, self.names[place])
        return scores.cpu().double().numpy()

    @torch.inference_mode()
    def _whole(self, prompts: Sequence[list[int]]) -> np.ndarray:
        """The scores [B, C] from passes over prompt and name together."""
        scores = np.empty((len(prompts), len(self.names)))
        rows = [(place, head) for place in range(len(prompts)) for head in self._heads]
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            # Padding comes behind: in a causal model, what follows does not change what comes before.
            ids, mask = _padded([[*prompts[place], *head] for place, head in batch], left=False)
            length = ids.shape[1]
            needed = length - min(len(prompts[place]) for place, _ in batch) + 1
            logits = self._run(ids, mask, logits_to_keep=needed).logits
            for row, (place, head) in enumerate(batch):
                # Counted from the end: not every model leaves the other positions out.
                begin = logits.shape[1] - length + len(prompts[place]) - 1
                logs = logits[row, begin : begin + len(head) + 1].float().log_softmax(dim=-1)
                for name in self._heads[head]:
                    scores[place, name] = float(_mean(logs, self.names[name]))
        return scores

    def _run(self, ids: torch.Tensor, mask: torch.Tensor, **more: Any) -> Any:
        """The model's answer to tokens [B, L], with what it takes of positions and of logits to compute."""
        given = {"input_ids": ids, "attention_mask": mask, **more}
        for name in {"position_ids", "logits_to_keep"} - self._takes:
            given.pop(name, None)
        return self.model(**{k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in given.items()})


def _padded(rows: Sequence[Sequence[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and their mask, both [B, longest], with padding to the left or to the right."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        begin = ids.shape[1] - len(row) if left else 0
        ids[place, begin : begin + len(row)], mask[place, begin : begin + len(row)] = torch.tensor(row), 1
    return ids, mask


def _mean(logs: torch.Tensor, name: Sequence[int]) -> torch.Tensor:
    """The mean [...] over the tokens of a name, of log-probabilities [..., len(name), vocabulary]."""
    tokens = torch.tensor(name, device=logs.device)
    return logs[..., torch.arange(len(name), device=logs.device), tokens].mean(dim=-1)


@contextmanager
def _in_float32(model: nn.Module) -> Iterator[None]:
    """Let a model compute in float32, whatever its weights are kept in.

    In half precision, rounding makes differences of 0.1, which hide a wrong position. The weights of a module are
    converted for as long as it runs, so that there is no second copy of a large model.
    """
    kept = {weight: weight.data for weight in model.parameters() if weight.is_floating_point()}

    def widen(module: nn.Module, *_: Any) -> None:
        for weight in module.parameters(recurse=False):
            if weight in kept:
                weight.data = kept[weight].float()

    def restore(module: nn.Module, *_: Any) -> None:
        for weight in module.parameters(recurse=False):
            if weight in kept:
                weight.data = kept[weight]

    hooks = [module.register_forward_pre_hook(widen) for module in model.modules()]
    hooks += [module.register_forward_hook(restore) for module in model.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for weight, data in kept.items():
            weight.data = data
