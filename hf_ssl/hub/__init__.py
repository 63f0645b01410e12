"""What leaves the machine: model cards and uploads.

A card is made in the order of the files: `card_facts` (what is said of a model), `provenance` (where data, base model
and
labels come from), `evaluations` (what was measured), `model_card` (the values for model_card_template.md). `upload`
says which files are published and commits them, `errors` explains the Hub's errors, and `pushing` is the trainer's
part.
"""
