"""Weak and strong views of one example.

A view maker is a picklable object with

- `modality`: "image", "text" or "audio";
- `views(kind, row, rng)`: the view of a row of the dataset; `kind` is "weak", "strong" or (images) "rotated", and every
  random draw comes from the NumPy generator `rng`, which belongs to this example, this draw and this view;
- `views.evaluation(row)`: the view that predictions are made of, as the model's own processor makes it;
- `views.collate(items)`: a list of views -> model keywords, each a tensor whose first axis is the example;
- `views.describe()`: kind -> one sentence for people.
"""
