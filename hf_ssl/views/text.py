"""Weak and strong views of texts.

Weak is the text itself. Strong is, as in USB, one of the texts in the augmentation columns (back-translations, say) if
a row has them; otherwise words are deleted, neighbors swapped and tokens masked, which needs no second model. Medium,
which SequenceMatch wants, is half of the latter.

    text --delete--> words --swap--> words --tokenizer--> ids --mask--> item {"input_ids": [n], ...}
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase
from transformers.data.data_collator import pad_without_fast_tokenizer_warning

from ..errors import BrokenExampleError
from .base import ModelKeywords, Row, Views

# `model_max_length` of a tokenizer that does not know its model's limit is about 1e30.
_LONGEST_BELIEVED = 1_000_000
_DEFAULT_MAX_LENGTH = 512
# A word, or the position of one.
Word = TypeVar("Word")


def usual_max_length(tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens at which texts are cut by default: the tokenizer's limit, or 512 if it has no believable one."""
    limit = tokenizer.model_max_length
    return limit if 0 < limit <= _LONGEST_BELIEVED else _DEFAULT_MAX_LENGTH


def draw_count(ratio: float, size: int, rng: np.random.Generator) -> int:
    """`ratio * size` as a whole number, at most `size - 1` so that something is always left.

    A fractional part is rounded up with its own probability, so that short texts are changed as much as long ones on
    average.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> [draw_count(0.5, 5, rng) for _ in range(6)]
        [3, 2, 2, 2, 3, 3]
    """
    count = int(ratio * size + rng.random())
    return max(0, min(count, size - 1))


def delete_words(words: Sequence[Word], ratio: float, rng: np.random.Generator) -> list[Word]:
    """The words without a random share `ratio` of them, in their order; at least one is kept."""
    count = draw_count(ratio, len(words), rng)
    gone = set(rng.choice(len(words), count, replace=False).tolist()) if count else ()
    return [word for position, word in enumerate(words) if position not in gone]


def swap_neighbors(words: Sequence[Word], ratio: float, rng: np.random.Generator) -> list[Word]:
    """The words after `ratio * len(words)` exchanges of two neighbors, at different places, one after another."""
    words = list(words)
    count = draw_count(ratio, len(words), rng)
    for left in rng.choice(len(words) - 1, count, replace=False).tolist() if count else ():
        words[left], words[left + 1] = words[left + 1], words[left]
    return words


class TextViews(Views):
    """Makes the views of a row with one text column, or with two whose texts are a pair (premise and hypothesis).

    An item is what the tokenizer returns for one text: name -> list of n integers, n <= `max_length`.

    Args:
        tokenizer: that of the model; it must have a padding token.
        columns: one column of texts, or two for pairs.
        max_length: tokens of an item at most, special ones included; None takes the tokenizer's `model_max_length`, or
            512 if it has no believable one.
        token_delete_ratio: share of the words, separated by white space, that the fallback leaves out, in [0, 1).
        token_swap_ratio: exchanges of neighboring words per word in the fallback, in [0, 1).
        token_mask_ratio: share of the tokens that the fallback hides, in [0, 1): the mask token takes their place, and
            "attention_mask" is 0 there. A tokenizer without a mask token uses the unknown token, or drops the tokens
            if that is missing, too, or has another role (in GPT-2 it also ends a text). Special tokens are never
            touched.
        augmentation_columns: columns with ready strong texts, used if a row has one that is not empty; for pairs a
            value is a list of two texts. Empty: always the fallback.
        pad_to_max_length: pad batches to `max_length` and not to their longest item, which keeps shapes fixed for
            `torch.compile`. A tokenizer that gives no attention mask (FNet's) always does: its model reads padding,
            and an answer must not depend on the other texts of its batch.

    Raises:
        ValueError: for settings out of their range, and for rows without a text.

    Note:
        Masked tokens are also hidden from attention because a model that never trained on mask tokens would see little
        else: with 15 % of them the texts of AG News look alike to all-MiniLM-L6-v2 (cosines of 0.63 instead of 0.07
        between the means of their tokens), and a classifier of these falls from 89 to 73 %, but only to 85 % if the
        tokens are hidden.

        Two strong views of one example draw independently. USB's two-view algorithms take both back-translations in
        random order; here every view has its own random numbers, so that both may pick the same one (half of the
        time).

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> ids = {"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "a": 3, "rose": 4, "is": 5}
        >>> words = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
        >>> views = TextViews(PreTrainedTokenizerFast(tokenizer_object=words, **special), token_mask_ratio=0.3)
        >>> rng = np.random.default_rng(0)
        >>> [views(kind, {"text": "a rose is a rose"}, rng)["input_ids"] for kind in ("weak", "strong")]
        [[3, 4, 5, 3, 4], [3, 2, 3, 4]]
    """

    modality = "text"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        columns: Sequence[str] = ("text",),
        *,
        max_length: int | None = None,
        token_delete_ratio: float = 0.1,
        token_swap_ratio: float = 0.1,
        token_mask_ratio: float = 0.15,
        augmentation_columns: Sequence[str] = ("aug_0", "aug_1"),
        pad_to_max_length: bool = False,
    ):
        # A single name is what people type first; tuple("text") would be four columns.
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)
        if len(self.columns) not in (1, 2):
            raise ValueError(f"columns must name one column of texts, or two for pairs, got {self.columns!r}")
        for name, ratio in (
            ("token_delete_ratio", token_delete_ratio),
            ("token_swap_ratio", token_swap_ratio),
            ("token_mask_ratio", token_mask_ratio),
        ):
            if not 0 <= ratio < 1:
                raise ValueError(f"{name} must be in [0, 1), got {ratio}")
        max_length = usual_max_length(tokenizer) if max_length is None else max_length
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        special = tokenizer.num_special_tokens_to_add(pair=len(self.columns) == 2)
        if max_length <= special:
            raise ValueError(
                f"max_length must be above {special}, the special tokens around a text, got {max_length}; set a "
                "larger one"
            )
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise ValueError(
                f"the {type(tokenizer).__name__} knows no word: its files are missing; load that of the model"
            )
        if tokenizer.pad_token is None:
            raise ValueError(
                "the tokenizer has no padding token; set tokenizer.pad_token = tokenizer.eos_token "
                "and model.config.pad_token_id = tokenizer.pad_token_id"
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.token_delete_ratio, self.token_swap_ratio, self.token_mask_ratio = (
            token_delete_ratio,
            token_swap_ratio,
            token_mask_ratio,
        )
        names = augmentation_columns
        self.augmentation_columns = (names,) if isinstance(names, str) else tuple(names)
        self.pad_to_max_length = pad_to_max_length or "attention_mask" not in tokenizer.model_input_names
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._mask_id = _mask_id(tokenizer)

    def __call__(self, kind: str, row: Row, rng: np.random.Generator) -> dict[str, list[int]]:
        """One view of a row. `kind` is "weak" (no random numbers are drawn), "medium" or "strong".

        A medium view is the fallback of a strong one with half of each ratio, also if a row has ready strong texts.
        """
        if kind == "weak":
            return self.evaluation(row)
        if kind == "medium":
            half = self.halved()
            return half._mask([half._perturb(text, rng) for text in half._texts(row)], rng)
        if kind != "strong":
            raise ValueError(f'kind must be "weak", "medium" or "strong" for a text, got {kind!r}')
        ready = [column for column in self.augmentation_columns if _is_filled(row.get(column))]
        if ready:
            column = ready[rng.integers(len(ready))]
            return self._tokenize(self._ready_texts(column, row[column]))
        return self._mask([self._perturb(text, rng) for text in self._texts(row)], rng)

    def halved(self) -> "TextViews":
        """The same views with half of each ratio."""
        other = copy.copy(self)
        other.token_delete_ratio = self.token_delete_ratio / 2
        other.token_swap_ratio = self.token_swap_ratio / 2
        other.token_mask_ratio = self.token_mask_ratio / 2
        return other

    def evaluation(self, row: Row) -> dict[str, list[int]]:
        """The text itself, tokenized and cut to `max_length`."""
        return self._tokenize(self._texts(row))

    def content_free(self, row: Row) -> dict[str, list[int]]:
        """A mask token between the special tokens of a text; of a pair one for each text.

        Without a mask token it is what hides a token otherwise (see `token_mask_ratio`), or the padding token.
        """
        item = self._tokenize(["a"] * len(self.columns), return_special_tokens_mask=True)
        special = item.pop("special_tokens_mask")
        kept = [i for i, fixed in enumerate(special) if fixed or i == 0 or special[i - 1]]
        token = self.tokenizer.pad_token_id if self._mask_id is None else self._mask_id
        found = {name: [values[i] for i in kept] for name, values in item.items()}
        ids = found["input_ids"]
        found["input_ids"] = [own if special[i] else token for own, i in zip(ids, kept, strict=True)]
        return found

    def accept(self, value: Any) -> dict[str, list[int]]:
        """An item from a text, or from two for pairs."""
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple | list) else []
        if len(texts) != len(self.columns) or not all(isinstance(text, str) for text in texts):
            wanted = "a text" if len(self.columns) == 1 else "two texts"
            raise TypeError(f"expected {wanted}, or a dict with input_ids")
        return self._tokenize(texts)

    def check(self, row: Row) -> None:
        """Compare one example with the tokenizer's own call on it, which is what `transformers.pipeline` makes.

        Raises:
            ValueError: if they differ: a subclass makes other tokens, or the tokenizer draws random numbers.
        """
        texts, made = self._texts(row), self.collate([self.evaluation(row)])
        own = self.tokenizer(*texts, truncation=True, max_length=self.max_length, return_tensors="pt")
        if self.pad_to_max_length:
            own = self.tokenizer.pad(own, padding="max_length", max_length=self.max_length)
        if any(name not in made or not torch.equal(made[name], value) for name, value in own.items()):
            raise ValueError(
                f"{', '.join(own)} must be what the tokenizer makes of a text, got other values from "
                f"{type(self).__name__}; it must call the tokenizer as it is, without random numbers"
            )

    def perturb_tokens(self, item: Mapping[str, Any], rng: np.random.Generator) -> dict[str, list[int]]:
        """A strong view of token ids alone: tokens deleted, swapped with a neighbor, masked; special ones stay.

        Args:
            item: "input_ids" [n] and what goes with it ("attention_mask", "token_type_ids"), as lists, arrays or
                tensors; padding is left out of the result.
        """
        columns = {name: np.asarray(values).tolist() for name, values in item.items()}
        ids = columns["input_ids"]
        attended = columns.get("attention_mask", [1] * len(ids))
        free = self._free_positions(ids, [not value for value in attended])
        gone = {position for position, value in enumerate(attended) if not value}
        gone |= set(free) - set(delete_words(free, self.token_delete_ratio, rng))
        columns = {name: [v for i, v in enumerate(values) if i not in gone] for name, values in columns.items()}
        ids, old = columns["input_ids"], list(columns["input_ids"])
        for run in _runs(self._free_positions(ids)):
            for place, source in zip(run, swap_neighbors(run, self.token_swap_ratio, rng), strict=True):
                ids[place] = old[source]
        return self._masked(columns, self._free_positions(ids), rng)

    def collate(self, items: Sequence[Mapping[str, list[int]]]) -> ModelKeywords:
        """Pad items to one length n and stack them: model keywords, each an int64 tensor [len(items), n]."""
        padding = "max_length" if self.pad_to_max_length else "longest"
        batch = pad_without_fast_tokenizer_warning(
            self.tokenizer,
            list(items),
            padding=padding,
            max_length=self.max_length if self.pad_to_max_length else None,
            return_tensors="pt",
        )
        return dict(batch)

    def describe(self) -> dict[str, str]:
        """View kind -> one sentence on what it does, for the log and the model card."""
        text = "the text itself" if len(self.columns) == 1 else "the pair of texts itself"
        fallback = (
            f"{self.token_delete_ratio:.0%} of the words are deleted, {self.token_swap_ratio:.0%} swapped with a "
            f"neighbor and {self.token_mask_ratio:.0%} of the tokens "
            f"{'masked' if self._mask_id is not None else 'dropped'} (needs no download, and is not comparable with "
            "USB's back-translation)"
        )
        if self.augmentation_columns:
            names = ", ".join(self.augmentation_columns)
            strong = f"One of the columns {names} at random, in rows that have them; in other rows {fallback}."
        else:
            strong = f"In every row {fallback}."
        medium = "Half of each share of words and tokens that a strong view changes, without ready texts."
        return {"weak": f"{text}, cut to {self.max_length} tokens", "medium": medium, "strong": strong}

    def _texts(self, row: Row) -> list[str]:
        texts = []
        for column in self.columns:
            if column not in row:
                raise ValueError(f"there is no text column {column!r}; the row has {', '.join(map(repr, row))}")
            if not isinstance(row[column], str):
                raise BrokenExampleError(f"column {column!r} must hold a text, got {row[column]!r:.80}")
            texts.append(row[column])
        return texts

    def _ready_texts(self, column: str, value: Any) -> list[str]:
        texts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if len(texts) != len(self.columns) or not all(isinstance(text, str) for text in texts):
            wanted = "a text" if len(self.columns) == 1 else "a list of two texts"
            raise ValueError(f"augmentation column {column!r} must hold {wanted}, got {value!r:.80}")
        return texts

    def _perturb(self, text: str, rng: np.random.Generator) -> str:
        words = text.split()
        changed = swap_neighbors(delete_words(words, self.token_delete_ratio, rng), self.token_swap_ratio, rng)
        # Joining would turn line breaks and runs of spaces into single spaces: an unchanged text stays as it is.
        return text if changed == words else " ".join(changed)

    def _tokenize(self, texts: list[str], **options: Any) -> dict[str, list[int]]:
        item = dict(self.tokenizer(*texts, truncation=True, max_length=self.max_length, **options))
        if not item["input_ids"]:
            raise BrokenExampleError(f"the tokenizer finds no token in the text {texts[0]!r:.80}; leave such rows out")
        return item

    def _mask(self, texts: list[str], rng: np.random.Generator) -> dict[str, list[int]]:
        item = self._tokenize(texts, return_special_tokens_mask=True)
        ids = item["input_ids"]
        # The tokenizer's own mask marks only what its template added, not "[SEP]" typed by the author of the text.
        special = item.pop("special_tokens_mask")
        return self._masked(item, self._free_positions(ids, special), rng)

    def _free_positions(self, ids: list[int], special: Sequence[Any] | None = None) -> list[int]:
        """Positions of what the author of the text wrote."""
        special = [False] * len(ids) if special is None else special
        return [i for i, token in enumerate(ids) if not special[i] and token not in self._special_ids]

    def _masked(self, item: dict[str, list[int]], free: list[int], rng: np.random.Generator) -> dict[str, list[int]]:
        ids = item["input_ids"]
        count = draw_count(self.token_mask_ratio, len(free), rng)
        if not count:
            return item
        chosen = [free[i] for i in rng.choice(len(free), count, replace=False)]
        if self._mask_id is None:
            gone = set(chosen)
            return {name: [v for i, v in enumerate(values) if i not in gone] for name, values in item.items()}
        for position in chosen:
            ids[position] = self._mask_id
            # Hidden from the model as well (token cutoff, arXiv 2009.13818).
            if "attention_mask" in item:
                item["attention_mask"][position] = 0
        return item


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """Ascending positions cut where they jump: [1, 2, 3, 7, 8] -> [[1, 2, 3], [7, 8]]."""
    runs: list[list[int]] = []
    for position in positions:
        if not runs or position != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(position)
    return runs


def _is_filled(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    # Tables made with pandas hold NaN if there is no text.
    return value is not None and value != [] and not (isinstance(value, float) and np.isnan(value))


def _mask_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What hides a token: the mask token, or else the unknown token unless it has another role, or else nothing."""
    if tokenizer.mask_token_id is not None:
        return tokenizer.mask_token_id
    others = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    unknown = tokenizer.unk_token_id
    return None if unknown in [getattr(tokenizer, name, None) for name in others] else unknown
