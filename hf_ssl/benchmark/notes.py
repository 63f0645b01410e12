"""What a reader of a task's card should know of it, in full sentences."""

_TEXT_SPLIT = (
    "USB's own shuffle of the raw rows into train and validation is unconfirmed: built from the raw files, the counts are "
    "USB's and the rows are this package's choice (per class, `numpy.random.RandomState(0)`). USB's own JSON files are taken "
    "as they are."
)
_CSV_COPY = (
    "The publisher's own download is unconfirmed; public code commonly takes the copy at "
    "https://s3.amazonaws.com/fast-ai-nlp/{}_csv.tgz."
)

STL10 = (
    "USB's pool is the drawn labels, the 100,000 unlabeled and the 5,000 labeled images together, so a drawn "
    "image stands in it twice.",
    "The unlabeled images contain images of the test set (arXiv 2506.03582, which counts 7,545 of 100,000). "
    "The configurations ending in `_deduplicated` have a pool without every image that equals a test image "
    "byte for byte.",
)

EUROSAT = (
    "The first 80% of each class, files sorted by name as strings, are train, the rest test. There are 27,000 "
    "pictures of 64 x 64 pixels.",
)

TISSUEMNIST = (
    "Grey pictures of 28 x 28 pixels, stored as such; convert them to RGB for a model that needs three channels.",
)

SEMI_AVES = (
    "The authors' lists decide: l_train_val is the labeled set, u_train_in the pool, test the test set. They stand, with "
    "the names of the species, in https://github.com/cvl-umass/ssl-evaluation.",
    "USB calls the setting 3959, the authors' count of labeled training images. l_train_val adds their 2,000 validation "
    "images: 5,959, 15 to 53 a class.",
    "The list test has 8,000 images, USB counts 4,000. Here they are the first 20 of each class in the list, its first "
    "half; whether they are USB's is unconfirmed.",
    "USB's geometry differs from that of the other image tasks: resize to size / crop_ratio and random crop as "
    "weak, random resized crop (0.08 to 1) as strong view.",
)

IMDB = (_TEXT_SPLIT,)

AG_NEWS = (
    _TEXT_SPLIT,
    _CSV_COPY.format("ag_news"),
)

AMAZON_REVIEW = (
    _TEXT_SPLIT,
    "USB tests on 65,000 of the 650,000 raw test rows; which ones is unconfirmed. Here they are the first 13,000 "
    "of each class.",
    _CSV_COPY.format("amazon_review_full"),
)

YELP_REVIEW = (
    _TEXT_SPLIT,
    _CSV_COPY.format("yelp_review_full"),
)

YAHOO_ANSWERS = (
    _TEXT_SPLIT,
    _CSV_COPY.format("yahoo_answers"),
)

GTZAN = (
    "Tracks of 30 s are cut into ten pieces of 3 s. Of each genre, tracks 0 to 69 are train, 70 to 84 validation and "
    "85 to 99 test: no track is in two splits. Which pieces USB put into which split is unconfirmed.",
)

URBANSOUND8K = ("Folds 1 to 8 are train, fold 9 validation, fold 10 test.",)

FSDNOISY18K = (
    "The labeled set is the publisher's clean part of train (`manually_verified`), the pool its noisy part, "
    "whose noisy labels stay in the label column. The publisher counts 1,772 clean clips; USB calls the setting 1773.",
)

KEYWORDS = (
    "Speech Commands v0.01 with its own validation and test lists, without the silence and unknown classes of SUPERB.",
)

ESC50 = ("Folds 1 to 3 are train, fold 4 validation, fold 5 test.",)

SVHN = ("The extra training images are left out. USB's normalisation is unconfirmed; 0.5 is this package's.",)
