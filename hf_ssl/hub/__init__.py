"""What leaves the machine: model cards and uploads.

A card is made in the order of the files: `card_facts` (what is said of a model), `provenance` (where data, base model
and labels come from), `evaluations` (what was measured), `model_card` (the values for model_card_template.md).
`upload` says which files are published and commits them, `errors` explains the Hub's errors, and `mixin` is the
trainer's part. `spaces` pushes pages and apps, of which `demo` writes one to try a model in.
"""
