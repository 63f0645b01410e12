"""Three small tasks, one of each modality, whose data come with packages or are computed: nothing is downloaded.

digits.py    images: scikit-learn's handwritten digits
manual.py    texts: paragraphs of SciPy's documentation
tones.py     recordings: synthetic notes of six instruments
table.py     what a grid needs to know of them
models.py    a small model for each, trained from scratch
"""
