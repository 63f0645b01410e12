"""What `hf-ssl inspect` shows of a run: a record that training leaves, what is gathered with it, and the page.

record.py        what a run leaves in its folder: where its data are, what its stages said
subject.py       a run as it was found
parts.py         labels, pool and test set with features and probabilities: recorded, or in a pass of the model
projection.py    features as a map
media.py         thumbnails, texts and clips of examples
examples.py      the numbers of single examples
shown.py         which examples are shown, with all that is known of them
gather.py        all of it as one JSON document
page.py          the document as one HTML page (page.html, page.css; tables: page_tables.py, page_pictures.py)
page_data.py     what its scripts know (examples.js, colors.js, map.js, cards.js, matrix.js, page.js)
"""
