"""What the user's datasets are, up to the row that a view is made from.

In the order in which an example travels:

    sources.py     the name of a file, a folder or a Hub dataset -> `datasets.Dataset`
    columns.py     which modality, which columns: `inspect_data` -> `DataSummary`; the same rules for `hf-ssl predict`
    labels.py      which classes the labeled dataset has; the labels of other datasets matched with them by name
    doubts.py      labels that a person may not have meant: classes alike, texts with two classes
    cells.py       what all cells of a column share: mode, range of numbers, place of the channels, loudest sample
    prepare.py     the labeled, the unlabeled and the evaluation datasets made alike
    rows.py        `Rows`: undecoded files, tensors for the model, labels as indices; broken files of the pool
    streams.py     `StreamedPool`: pools without a length, read from where they were left
    duplicates.py  examples that are in more than one of the datasets, searched when a training starts
"""
