"""What a person reads of a run: the block at its start, the table, the results file and the curves."""

import numpy as np


def run_facts(trainer) -> dict[str, str]:
    """What a run is made of, in words: algorithm, sizes, batches, steps, learning rate, moving average, views."""
    # Tables are drawn without torch.
    from ..training.optimization import describe_learning_rate

    args, data = trainer.args, trainer.data
    steps, processes = trainer.state.max_steps, args.world_size
    labeled = args.per_device_train_batch_size
    unlabeled = labeled * args.unlabeled_batch_ratio
    accumulated = args.gradient_accumulation_steps
    settings = ", ".join(f"{name}={value}" for name, value in trainer.algorithm.current_settings().items())
    counts = np.bincount(data.labels, minlength=len(data.label_names))
    per_class = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    evaluation = trainer.eval_dataset
    test = (
        "none"
        if evaluation is None
        else f"{len(evaluation):,} examples"
        if hasattr(evaluation, "__len__")
        else "a stream"
    )
    if isinstance(evaluation, dict):
        test = "several: " + ", ".join(evaluation)
    hidden = data.label_column in (getattr(trainer.unlabeled_dataset, "column_names", None) or ())
    passes = steps * unlabeled * accumulated * processes / len(trainer.unlabeled_dataset)
    ema = f"decay {args.ema_decay}, for {args.ema_role}" if args.ema_role != "none" else "none"
    if trainer.algorithm.uses_teacher and args.ema_role in ("none", "evaluation"):
        ema = f"decay {args.ema_decay}, for teacher" + (" and evaluation" if args.ema_role == "evaluation" else "")
    inputs = ", ".join(map(repr, data.model_inputs or data.input_columns))
    rows = {
        "algorithm": trainer.algorithm_name + (f" ({settings})" if settings else ""),
        "columns": f"{data.modality} in {inputs}, classes in {data.label_column!r}",
        "labeled": f"{len(trainer.train_dataset):,} examples, {len(data.label_names)} classes, {per_class} a class",
        "unlabeled": f"{len(trainer.unlabeled_dataset):,} examples"
        + (", with hidden labels (used for the accuracy of pseudo-labels only)" if hidden else ""),
        "evaluation": test,
        "batch": f"{labeled} labeled + {unlabeled} unlabeled a device and pass; x {accumulated} accumulated x {processes} "
        f"processes = {labeled * accumulated * processes} + {unlabeled * accumulated * processes} a step",
        "steps": f"{steps:,}, {passes:.1f} passes over the pool",
        "learning rate": describe_learning_rate(args, steps),
        "moving average": ema,
    }
    if trainer.duplicates is not None:
        rows["duplicates"] = trainer.duplicates.describe()
    described = trainer.views.describe()
    kinds = dict.fromkeys(["weak", *trainer.algorithm.views.values()])
    rows.update({f"{kind} view": described[kind] for kind in kinds if kind in described})
    return rows


def describe_run(trainer) -> str:
    """The block at the start of a training."""
    facts = run_facts(trainer)
    width = max(map(len, facts))
    return "\n".join(["Semi-supervised training", *(f"  {name:<{width}}  {text}" for name, text in facts.items())])
