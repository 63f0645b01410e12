"""From a name to logits.

loading   a Hub id, a path or an object -> a classifier with a head for the data's classes, and its processor
classes   which output is which class: heads kept, put in order or renewed by names
head      the layer of a classifier that makes the logits: alone, under adapters of PEFT, or two of them
adapters  what of a PEFT model is trained and saved, and what would be lost
quantized models with quantized weights: what of them can be saved, and must not change
pooling   what that layer reads of each example, also in models that score every token before they pool
padding   views of different lengths in one call, padded on the side that changes no answer
micro_batches one call in pieces, of which one at a time is held for the gradient
embedding texts perturbed in their word embeddings
forward   views -> logits and features, in as few calls of the model as possible
ema       the moving average of the weights: the teacher, and what is evaluated
wrapping  models inside DistributedDataParallel, torch.compile and PEFT
"""
