"""What one step is made of.

    sampler.py     which examples: `JointBatchSampler` -> batches of `ExampleKey`s, B labeled and mu*B unlabeled ones
    lengths.py     how long texts are, for batches with little padding
    dataset.py     their views, each from its own seed: `ViewDataset`
    collators.py   views stacked: `SSLCollator` for a step, `EvaluationCollator` for evaluation
    streams.py     the first and the last of these for pools that are streams: `StreamReader`, `StreamBatchSampler`
    packing.py     the way of a batch from the worker to the training process, as one block of memory
    batch.py       `SSLBatch`, what the algorithm gets

The first four run in workers, if there are any. Nothing that they do depends on the number of workers, on prefetching
or on resuming: order and views follow from (seed, epoch, position) alone.
"""
