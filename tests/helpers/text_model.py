"""A text model of two layers."""

from torch import nn

from tests.helpers.algorithm_cases import CLASSES, DIM


class Words(nn.Module):
    """The mean of the embeddings, classified."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, DIM)
        self.classifier = nn.Linear(DIM, CLASSES)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        embedded = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        weights = attention_mask.unsqueeze(-1).to(embedded.dtype)
        return self.classifier((embedded * weights).sum(dim=1) / weights.sum(dim=1))
