"""The two models of the evidence that transformers has no class for."""

import torch
from torch import nn
from transformers import BertModel, BertPreTrainedModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledClassifier(BertPreTrainedModel):
    """BERT with a linear head on the mean of its tokens: what sentence encoders such as all-MiniLM-L6-v2 were trained for.

    `BertForSequenceClassification` would read the first token through a pooler that such encoders never trained.
    """

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def freeze(self, layers: int) -> None:
        """Leave the embeddings and the lowest `layers` blocks as they are; 0 trains everything."""
        for part in [self.bert.embeddings, *self.bert.encoder.layer[:layers]] if layers else []:
            part.requires_grad_(False)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        hidden = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = mask.unsqueeze(-1).to(hidden)
        logits = self.classifier(self.dropout((hidden * mask).sum(dim=1) / mask.sum(dim=1)))
        return _output(logits, labels)


class LogMelConfig(PretrainedConfig):
    model_type = "log_mel_classifier"

    def __init__(self, num_mel_bins: int = 40, widths: tuple[int, ...] = (16, 32, 48), dropout: float = 0.0, **kwargs):
        self.num_mel_bins, self.widths, self.dropout = num_mel_bins, list(widths), dropout
        super().__init__(**kwargs)


class LogMelClassifier(PreTrainedModel):
    """A small residual network on log-mel spectra [N, mel bins, frames], random weights; about 150,000 parameters."""

    config_class = LogMelConfig
    main_input_name = "input_features"

    def __init__(self, config: LogMelConfig):
        super().__init__(config)
        first, *widths = config.widths
        self.stem = _convolution(1, first, stride=2)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in zip([first, *widths], [*widths, widths[-1]], strict=False))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(widths[-1], config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def forward(self, input_features, labels=None):
        hidden = self.stem(input_features.unsqueeze(1)).relu()
        for block in self.blocks:
            hidden = block(hidden)
        return _output(self.classifier(self.dropout(hidden.mean(dim=(2, 3)))), labels)


class _Block(nn.Module):
    def __init__(self, ins: int, outs: int):
        super().__init__()
        stride = 1 if ins == outs else 2
        self.first, self.second = _convolution(ins, outs, stride), _convolution(outs, outs)
        self.shortcut = nn.Identity() if ins == outs else _convolution(ins, outs, stride, size=1)

    def forward(self, hidden):
        return (self.shortcut(hidden) + self.second(self.first(hidden).relu())).relu()


def _convolution(ins: int, outs: int, stride: int = 1, size: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(ins, outs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outs))


def _output(logits, labels):
    loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
    return SequenceClassifierOutput(loss=loss, logits=logits)
