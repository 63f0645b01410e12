"""Audio tasks of USB."""

from .task import NO_LICENSE, Task, words

AUDIO = (
    Task(
        name="gtzan",
        title="GTZAN",
        modality="audio",
        class_names=words("blues classical country disco hiphop jazz metal pop reggae rock"),
        label_settings=(100, 400),
        sizes={"train": 7_000, "validation": 1_500, "test": 1_500},
        readers=("gtzan", "usb_audio_pickles", "datasets"),
        license="unknown",
        license_note=NO_LICENSE,
        homepage="http://marsyas.info/downloads/datasets.html",
        citation=r"""@article{tzanetakis2002musical,
  title = {Musical Genre Classification of Audio Signals},
  author = {Tzanetakis, George and Cook, Perry},
  journal = {IEEE Transactions on Speech and Audio Processing},
  volume = {10},
  number = {5},
  pages = {293--302},
  year = {2002}
}""",
        source_url="http://opihi.cs.uvic.ca/sound/genres.tar.gz",
        checksum="sha256:24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
        backbone="facebook/wav2vec2-base",
        usb_backbone="wav2vec 2.0 base",
        views={"max_length_seconds": 3.0},
        notes=(
            "Tracks of 30 s are cut into ten pieces of 3 s. Of each genre, tracks 0 to 69 are train, 70 to 84 "
            "validation and 85 to 99 test: no track is in two splits. Which pieces USB put into which split is "
            "unconfirmed.",
        ),
    ),
    Task(
        name="urbansound8k",
        title="UrbanSound8K",
        modality="audio",
        class_names=words(
            """air_conditioner car_horn children_playing dog_bark drilling engine_idling gun_shot jackhammer siren
            street_music"""
        ),
        label_settings=(100, 400),
        sizes={"train": 7_079, "validation": 816, "test": 837},
        readers=("urbansound8k", "usb_audio_pickles", "datasets"),
        license="cc-by-nc-4.0",
        license_note="Its Zenodo page says CC BY-NC 4.0, its readme CC BY-NC 3.0.",
        homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
        citation=r"""@inproceedings{salamon2014dataset,
  title = {A Dataset and Taxonomy for Urban Sound Research},
  author = {Salamon, Justin and Jacoby, Christopher and Bello, Juan Pablo},
  booktitle = {22nd ACM International Conference on Multimedia},
  year = {2014}
}""",
        source_url="https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz?download=1",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 4.0},
        notes=("Folds 1 to 8 are train, fold 9 validation, fold 10 test.",),
    ),
    Task(
        name="fsdnoisy",
        title="FSDnoisy18k",
        modality="audio",
        class_names=words(
            """Acoustic_guitar Bass_guitar Clapping Coin_(dropping) Crash_cymbal Dishes_and_pots_and_pans Engine Fart
            Fire Fireworks Glass Hi-hat Piano Rain Slam Squeak Tearing Walk_or_footsteps Wind Writing"""
        ),
        label_settings=(1_773,),
        sizes={"train": 1_772, "unlabeled": 15_813, "test": 947},
        readers=("fsdnoisy18k", "usb_audio_pickles", "datasets"),
        license="cc",
        license_note="The collection is CC BY (the version of the license is unconfirmed); each clip is CC BY or "
        "CC0, as its list of clips says.",
        homepage="http://www.eduardofonseca.net/FSDnoisy18k/",
        citation=r"""@inproceedings{fonseca2019learning,
  title = {Learning Sound Event Classifiers from Web Audio with Noisy Labels},
  author = {Fonseca, Eduardo and Plakal, Manoj and Ellis, Daniel P. W. and Font, Frederic and Favory, Xavier and
            Serra, Xavier},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing},
  year = {2019}
}""",
        source_url="https://zenodo.org/record/2529934",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 5.0},
        given_labels=True,
        notes=(
            "The labeled set is the publisher's clean part of train (`manually_verified`), the pool its noisy part, "
            "whose noisy labels stay in the label column. The publisher counts 1,772 clean clips; USB calls the "
            "setting 1773.",
        ),
    ),
    Task(
        name="superbks",
        title="Keyword Spotting",
        modality="audio",
        class_names=words("yes no up down left right on off stop go"),
        label_settings=(50, 100),
        sizes={"train": 18_538, "validation": 2_577, "test": 2_567},
        readers=("speech_commands", "usb_audio_pickles", "datasets"),
        license="cc-by-4.0",
        homepage="https://arxiv.org/abs/1804.03209",
        citation=r"""@misc{warden2018speech,
  title = {Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition},
  author = {Warden, Pete},
  year = {2018},
  eprint = {1804.03209},
  archivePrefix = {arXiv}
}
@inproceedings{yang2021superb,
  title = {{SUPERB}: Speech Processing Universal {PERformance} Benchmark},
  author = {Yang, Shu-wen and Chi, Po-Han and Chuang, Yung-Sung and Lai, Cheng-I Jeff and Lakhotia, Kushal and others},
  booktitle = {Interspeech},
  year = {2021}
}""",
        source_url="http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz",
        checksum="sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        backbone="facebook/wav2vec2-base",
        usb_backbone="wav2vec 2.0 base",
        views={"max_length_seconds": 1.0},
        notes=(
            "Speech Commands v0.01 with its own validation and test lists, without SUPERB's silence and unknown "
            "classes.",
        ),
    ),
    Task(
        name="esc50",
        title="ESC-50",
        modality="audio",
        class_names=words(
            """dog rooster pig cow frog cat hen insects sheep crow rain sea_waves crackling_fire crickets
            chirping_birds water_drops wind pouring_water toilet_flush thunderstorm crying_baby sneezing clapping
            breathing coughing footsteps laughing brushing_teeth snoring drinking_sipping door_wood_knock
            mouse_click keyboard_typing door_wood_creaks can_opening washing_machine vacuum_cleaner clock_alarm
            clock_tick glass_breaking helicopter chainsaw siren car_horn engine train church_bells airplane
            fireworks hand_saw"""
        ),
        label_settings=(250, 500),
        sizes={"train": 1_200, "validation": 400, "test": 400},
        readers=("esc50", "usb_audio_pickles", "datasets"),
        license="cc-by-nc-3.0",
        license_note="The subset ESC-10 is CC BY.",
        homepage="https://github.com/karolpiczak/ESC-50",
        citation=r"""@inproceedings{piczak2015esc,
  title = {{ESC}: Dataset for Environmental Sound Classification},
  author = {Piczak, Karol J.},
  booktitle = {Proceedings of the 23rd Annual ACM Conference on Multimedia},
  year = {2015}
}""",
        source_url="https://github.com/karoldvl/ESC-50/archive/master.zip",
        backbone="facebook/hubert-base-ls960",
        usb_backbone="HuBERT base",
        views={"max_length_seconds": 5.0},
        notes=("Folds 1 to 3 are train, fold 4 validation, fold 5 test.",),
    ),
)
