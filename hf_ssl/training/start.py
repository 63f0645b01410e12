"""What is checked when a training starts."""

from ..data.duplicates import Duplicates, find_duplicates, warn_of_duplicates


def check_run(trainer) -> Duplicates | None:
    """What is looked at when a training starts, on the main process: duplicates."""
    evaluation, seconds = trainer.eval_dataset, trainer.args.duplicate_check_seconds
    if seconds == 0:
        return None
    if not isinstance(evaluation, dict):
        evaluation = {} if evaluation is None else {"evaluation": evaluation}
    else:
        evaluation = {f"evaluation {name}": dataset for name, dataset in evaluation.items()}
    # An algorithm without unlabeled views never reads the pool.
    uses_pool = any(name != "labeled_strong" for name in trainer.algorithm.views)
    pool = trainer.unlabeled_dataset if uses_pool else None
    data = trainer.data
    columns = data.input_columns or data.model_inputs[:1]
    if not data.input_columns and getattr(trainer.train_dataset, "transformed", False):
        return None  # what a transform returns may be random, and says nothing of the example
    duplicates = find_duplicates(trainer.train_dataset, pool, evaluation, columns, seconds)
    warn_of_duplicates(duplicates, seconds)
    return duplicates if duplicates.overlaps or duplicates.streams else None
