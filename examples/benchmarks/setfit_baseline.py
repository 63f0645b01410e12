"""SetFit (arXiv 2209.11055) with the encoder and labels of the other routes; it needs the package of that name."""

import numpy as np
import torch


def setfit(labeled, test, encoder: str, max_length: int, seed: int) -> float:
    """The test accuracy in 0..1 of SetFit with its own defaults.

    They are one epoch over the oversampled pairs, batches of 16 pairs and a learning rate of 2e-5. All pairs of 100
    labels or more would take hours on a processor: from there on, 20 positive and 20 negative pairs are drawn for each
    label, the R of its paper.
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
