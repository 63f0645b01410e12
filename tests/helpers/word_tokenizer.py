"""A tokenizer of whole words, whose token ids can be counted by hand."""

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = [f"w{i}" for i in range(40)]
CLS, SEP, MASK, UNK = 1, 2, 3, 4


def make_tokenizer(template=True, **special):
    """ids 0..4 are special, w0, w1, ... follow. [CLS] text [SEP] pair [SEP] with types 0 and 1, as in BERT."""
    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names + WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if template:
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
        )
    special = special or {
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
        "unk_token": "[UNK]",
    }
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_input_names=names, **special)
