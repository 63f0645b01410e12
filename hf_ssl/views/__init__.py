"""Weak and strong views of one example.

A view maker is a picklable object with

- `modality`: "image", "text" or "audio";
- `views(kind, row, rng)`: the view of a row of the dataset; `kind` is "weak", "strong" or (images) "rotated", and every
  random draw comes from the NumPy generator `rng`, which belongs to this example, this draw and this view;
- `views.evaluation(row)`: the view that predictions are made of, as the model's own processor makes it;
- `views.collate(items)`: a list of views -> model keywords, each a tensor whose first axis is the example;
- optionally `views.stack(items)` and `views.finish(view)`, the two halves of `collate`: what a worker does, and what the
  training process does on its device;
- `views.describe()`: kind -> one sentence for people.

Those of the three modalities also have `example(row)`, the row with its file decoded, and `accept(value)`, which makes an
item of an image, a text or a waveform: what a callable of the user's own is given, and what may become of its answer. With
`shares_decoding` the views of one draw are all made of one `example(row)`.
An example that cannot be read raises `BrokenExampleError`.
"""
