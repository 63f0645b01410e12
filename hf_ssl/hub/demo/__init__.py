"""A Gradio Space to try a model in, which also shows what the model has learned from.

labeled, pool -- hf_ssl.features --> Index --+-- index.safetensors   features and classes, which are compared
                                             +-- examples.parquet    the examples themselves, if they may be shown
                                             +-- examples/           a few of them to try
app.py.jinja ------------------------------> app.py                  the Space itself: no package of ours

index.py    what the Space knows of examples
space.py    its files
"""
