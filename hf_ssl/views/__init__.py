"""Weak and strong views of one example.

    row of a dataset --evaluation--> what predictions are made from  \
                     --weak-------->  items of the training views     > --collate--> keywords of the model
                     --strong------>                                 /

Every random draw of a view comes from the generator of this example, this draw and this view. Which file does what, in
the order in which an example travels:

    base.py           `Views`, the contract: what a view maker must have, and what it inherits
    make.py           from the data and the settings to the view maker
    image_decoding.py files, bytes and arrays of any kind -> RGB pictures of 8 bits
    image.py          images: cropped and flipped, with the RandAugment and cutout of image_operations.py;
                      image_processor.py follows the model's own preprocessing, image_size.py gives it another size
    text.py           texts: ready augmentations, or words deleted and swapped and tokens masked
    audio.py          recordings: read by audio_files.py and cropped at random, with the effects of audio_effects.py
    tensor_rows.py    rows that already hold tensors for the model
    custom.py         callables of the user that make the weak or the strong view
    seeds.py          the global generators seeded, for transforms and callables that draw from them
"""

from .base import Views

__all__ = ["Views"]
