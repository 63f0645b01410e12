"""The text model of the evidence, which transformers has no class for until this file is imported."""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledConfig(BertConfig):
    """BERT's, and how many of the lowest layers do not learn; see `MeanPooledClassifier.freeze`."""

    model_type = "mean_pooled_bert"
    frozen_layers: int = 0


class MeanPooledClassifier(BertPreTrainedModel):
    """BERT with a linear head on the mean of its tokens, which is what sentence encoders are trained for.

    `BertForSequenceClassification` would read the first token through a pooler that such encoders never trained.
    """

    config_class = MeanPooledConfig

    def __init__(self, config):
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args, **keywords):
        """As usual; then `config.frozen_layers` is heeded, which loading would undo."""
        return frozen_again(super().from_pretrained(*args, **keywords), "frozen_layers")

    def freeze(self, layers: int) -> None:
        """Leave the embeddings and the lowest `layers` blocks as they are; 0 trains everything."""
        for part in [self.bert.embeddings, *self.bert.encoder.layer[:layers]] if layers else []:
            part.requires_grad_(False)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
        hidden = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mask = mask.unsqueeze(-1).to(hidden)
        logits = self.classifier(self.dropout((hidden * mask).sum(dim=1) / mask.sum(dim=1)))
        return classified(logits, labels)


AutoConfig.register(MeanPooledConfig.model_type, MeanPooledConfig, exist_ok=True)
AutoModelForSequenceClassification.register(MeanPooledConfig, MeanPooledClassifier, exist_ok=True)


def frozen_again(loaded, setting: str):
    """What `from_pretrained` returned, a model or a tuple with one, once the layers are frozen that `setting` counts.

    While weights are loaded, parameters are replaced by others that learn.
    """
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    model.freeze(getattr(model.config, setting))
    return loaded


def classified(logits, labels) -> SequenceClassifierOutput:
    """What a classifier of transformers returns: the logits, and the loss where there are labels."""
    loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
    return SequenceClassifierOutput(loss=loss, logits=logits)
