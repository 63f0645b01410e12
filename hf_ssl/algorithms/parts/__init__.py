"""What several algorithms are built from.

thresholds  which pseudo-labels count, and how much
alignment   predictions rescaled towards a wanted class distribution
memory      embeddings of past batches
projection  the embedding that is remembered
mixup       convex combinations of examples
rotation    predicting how an image was turned
one_vs_all  one binary classifier for each class, which can all say no
"""
