"""Examples joined to their nearest neighbors, and labels spread over that graph: for frozen features and for training.

normalization  features made comparable
neighbors      the most similar rows of each row
spreading      the graph, and class probabilities from the labels of a few rows
"""
