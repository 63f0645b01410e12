"""Images, texts and recordings: everything that differs between them and fits into a table, one row each.

Classes of transformers and datasets are named, not imported, so that commands that only need names start instantly.
Where a processor or a column suits several modalities, the order of the rows decides: images, recordings, texts.
"""

from dataclasses import dataclass
from typing import Any

# What Pillow and libsndfile open without further programs.
_IMAGES: tuple[str, ...] = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".avif")
_IMAGES += (".jp2", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi")
_RECORDINGS: tuple[str, ...] = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")
_RECORDINGS += (".au", ".snd", ".caf", ".w64", ".rf64", ".voc")


@dataclass(frozen=True)
class Modality:
    """One row of `MODALITIES`.

    Example:
        >>> MODALITIES["audio"].plural, MODALITIES["audio"].pipeline
        ('recordings', 'audio-classification')
        >>> [row.name for row in MODALITIES.values() if row.needs_files]
        ['image', 'audio']

    Args:
        name: "image", "text" or "audio".
        plural: for messages: "images", "texts", "recordings".
        model: for messages: "an image model".
        processor: what its models' processor is called: "image processor", "tokenizer", "feature extractor".
        processor_part: attribute of a processor of several modalities that holds it, and keyword of a pipeline.
        processor_sign: attribute by which such a processor is recognized.
        processor_file: file that `save_pretrained` writes for it.
        auto_processor, auto_model: names of transformers' auto classes.
        model_mapping: name of transformers' table of the classifiers, in `models.auto.modeling_auto`.
        feature: name of the class in `datasets` for a column of its files; "" if its raw data are not files.
        pipeline: the task of `transformers.pipeline`.
        main_inputs: keywords under which a model takes it.
        usual_columns: names of dataset columns that usually hold it, the most usual first.
        suffixes: file suffixes by which a path in a table is recognized as a file of this modality; reading does not
            depend on them.
        example: an input for examples of use.
        epochs_of_run: into how many equal epochs USB divides a run of any length.
    """

    name: str
    plural: str
    model: str
    processor: str
    processor_part: str
    processor_sign: str
    processor_file: str
    auto_processor: str
    auto_model: str
    model_mapping: str
    feature: str
    pipeline: str
    main_inputs: tuple[str, ...]
    usual_columns: tuple[str, ...]
    suffixes: tuple[str, ...]
    example: str
    epochs_of_run: int

    @property
    def needs_files(self) -> bool:
        """Whether its raw data are files that have to be decoded."""
        return bool(self.feature)

    def feature_class(self) -> Any:
        """The class of `datasets` for a column of its files: `datasets.Image` or `datasets.Audio`; None for texts."""
        import datasets

        return getattr(datasets, self.feature) if self.feature else None

    def model_class(self) -> Any:
        """transformers' auto class for classifiers of this modality."""
        import transformers

        return getattr(transformers, self.auto_model)

    def processor_class(self) -> Any:
        """transformers' auto class for its processors."""
        import transformers

        return getattr(transformers, self.auto_processor)

    def configurations(self) -> Any:
        """transformers' mapping from configuration classes to classifiers of this modality."""
        from transformers.models.auto import modeling_auto

        return getattr(modeling_auto, self.model_mapping)


MODALITIES: dict[str, Modality] = {
    row.name: row
    for row in (
        Modality(
            name="image",
            plural="images",
            model="an image model",
            processor="image processor",
            processor_part="image_processor",
            processor_sign="image_mean",
            processor_file="preprocessor_config.json",
            auto_processor="AutoImageProcessor",
            auto_model="AutoModelForImageClassification",
            model_mapping="MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
            feature="Image",
            pipeline="image-classification",
            main_inputs=("pixel_values",),
            usual_columns=("image", "img", "path", "file", "file_name", "filename"),
            suffixes=_IMAGES,
            example="photo.jpg",
            epochs_of_run=200,
        ),
        Modality(
            name="audio",
            plural="recordings",
            model="an audio model",
            processor="feature extractor",
            processor_part="feature_extractor",
            processor_sign="sampling_rate",
            processor_file="preprocessor_config.json",
            auto_processor="AutoFeatureExtractor",
            auto_model="AutoModelForAudioClassification",
            model_mapping="MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING",
            feature="Audio",
            pipeline="audio-classification",
            main_inputs=("input_values", "input_features"),
            usual_columns=("audio", "path", "file", "file_name", "filename"),
            suffixes=_RECORDINGS,
            example="recording.wav",
            epochs_of_run=100,
        ),
        Modality(
            name="text",
            plural="texts",
            model="a text model",
            processor="tokenizer",
            processor_part="tokenizer",
            processor_sign="model_max_length",
            processor_file="tokenizer.json",
            auto_processor="AutoTokenizer",
            auto_model="AutoModelForSequenceClassification",
            model_mapping="MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
            feature="",
            pipeline="text-classification",
            main_inputs=("input_ids",),
            usual_columns=("text", "sentence", "content", "ori"),
            suffixes=(),
            example="A text to classify.",
            epochs_of_run=100,
        ),
    )
}

# Main input of a model -> its modality.
MODEL_INPUTS = {name: row.name for row in MODALITIES.values() for name in row.main_inputs}
