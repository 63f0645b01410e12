"""Two competitors on texts with the same encoder and labels: a linear probe, and SetFit (arXiv 2209.11055).

Both return the test accuracy in 0..1.
"""

import numpy as np
import torch


def linear_probe(labeled, test, encoder: str, max_length: int, seed: int) -> float:
    """Logistic regression on frozen, mean-pooled embeddings of length 1; no unlabeled text is used.

    Its regularisation, C = 100, was the best of 1, 10, 100 and 1,000 on the validation part.
    """
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    features = [_embed(part["text"], model, tokenizer, max_length) for part in (labeled, test)]
    probe = LogisticRegression(C=100, max_iter=1000, random_state=seed).fit(features[0], labeled["label"])
    return float(probe.score(features[1], test["label"]))


def _embed(texts: list[str], model, tokenizer, max_length: int) -> np.ndarray:
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.no_grad():
        for part in np.array_split(order, max(len(order) // 50, 1)):
            inputs = tokenizer(
                [texts[i] for i in part], truncation=True, max_length=max_length, padding=True, return_tensors="pt"
            )
            mask = inputs["attention_mask"].unsqueeze(-1)
            mean = (model(**inputs).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
            rows[part] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return rows


def setfit(labeled, test, encoder: str, max_length: int, seed: int) -> float:
    """SetFit with its own defaults (one epoch over the oversampled pairs, batches of 16 pairs, learning rate 2e-5).

    All pairs of 100 labels or more would take hours on a processor: from there on, 20 positive and 20 negative pairs
    are drawn for each label, the R of its paper.
    """
    import tempfile

    from setfit import SetFitModel, Trainer, TrainingArguments

    torch.manual_seed(seed)
    model = SetFitModel.from_pretrained(encoder)
    model.model_body.max_seq_length = max_length
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            seed=seed,
            report_to="none",
            save_strategy="no",
            show_progress_bar=False,
            num_iterations=20 if len(labeled) >= 100 else None,
        )
        trainer = Trainer(model=model, args=args, train_dataset=labeled.select_columns(["text", "label"]))
        trainer.train()
    right = np.asarray(model.predict(test["text"], batch_size=50, show_progress_bar=False)) == np.asarray(
        test["label"]
    )
    return float(right.mean())
