"""Opinions of a larger model on a pool, for `SSLConfig(teacher_column=...)`; `hf-ssl teach` is built on it.

models         which models can be teachers, and what they say of images, texts and recordings
continuations  what a model that writes text says: how likely it goes on with the name of each class
journal        the opinions that there are so far, on disk, so that a killed run goes on behind them
"""
