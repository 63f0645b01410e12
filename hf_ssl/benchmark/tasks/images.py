"""Image tasks: five of USB, and the classic CIFAR-10 and SVHN."""

from .task import NO_LICENSE, LongTail, Task, words

_CIFAR_COLORS = {"mean": (129.3 / 255, 124.1 / 255, 112.4 / 255), "std": (68.2 / 255, 65.4 / 255, 70.4 / 255)}
_STL_COLORS = {"mean": (112.4 / 255, 109.1 / 255, 98.6 / 255), "std": (68.4 / 255, 66.6 / 255, 68.5 / 255)}
_IMAGENET_COLORS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

_CIFAR_CITATION = r"""@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}"""
_CIFAR_LICENSE = "The publisher's page states none and asks to cite the report."

IMAGES = (
    Task(
        name="cifar100",
        title="CIFAR-100",
        modality="image",
        class_names=words(
            """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
            can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
            dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
            lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
            pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
            seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
            tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
            worm"""
        ),
        label_settings=(200, 400),
        long_tails=(LongTail(150, 300, 10, 10), LongTail(150, 300, 10, -10), LongTail(150, 300, 15, 15)),
        sizes={"train": 50_000, "test": 10_000},
        readers=("cifar_pickles", "datasets"),
        license="unknown",
        license_note=_CIFAR_LICENSE,
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        citation=_CIFAR_CITATION,
        source_url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
        hub_id="uoft-cs/cifar100",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/2 at 32 px",
        normalization=_CIFAR_COLORS,
        views={"size": 32, "crop_ratio": 0.875},
    ),
    Task(
        name="stl10",
        title="STL-10",
        modality="image",
        class_names=words("airplane bird car cat deer dog horse monkey ship truck"),
        label_settings=(40, 100),
        long_tails=(LongTail(150, None, 10, None), LongTail(150, None, 20, None)),
        sizes={"train": 5_000, "unlabeled": 100_000, "test": 8_000},
        readers=("stl_binaries", "datasets"),
        license="unknown",
        license_note=NO_LICENSE,
        homepage="https://cs.stanford.edu/~acoates/stl10/",
        citation=r"""@inproceedings{coates2011analysis,
  title = {An Analysis of Single-Layer Networks in Unsupervised Feature Learning},
  author = {Coates, Adam and Ng, Andrew and Lee, Honglak},
  booktitle = {Proceedings of the Fourteenth International Conference on Artificial Intelligence and Statistics},
  year = {2011}
}""",
        source_url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        checksum="md5:91f7769df0f17e558f3565bffb0c7dfb",
        backbone="google/vit-base-patch16-224-in21k",
        usb_backbone="ViT-B/16 at 96 px",
        normalization=_STL_COLORS,
        views={"size": 96, "crop_ratio": 0.875},
        deduplicate_pool=True,
        notes=(
            "USB's pool is the drawn labels, the 100,000 unlabeled and the 5,000 labeled images together, so a drawn "
            "image is in it twice.",
            "The unlabeled images contain images of the test set (arXiv 2506.03582, which counts 7,545 of 100,000). "
            "The pools of the configurations ending in `_deduplicated` leave out every image that equals a test image "
            "byte for byte.",
        ),
    ),
    Task(
        name="eurosat",
        title="EuroSAT",
        modality="image",
        class_names=words(
            """AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River
            SeaLake"""
        ),
        label_settings=(20, 40),
        sizes={"train": 21_600, "test": 5_400},
        readers=("class_folders", "datasets"),
        license="mit",
        license_note="This is the license of the publisher's repository; the pictures are made from Copernicus "
        "Sentinel-2 data.",
        homepage="https://github.com/phelber/EuroSAT",
        citation=r"""@article{helber2019eurosat,
  title = {{EuroSAT}: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover Classification},
  author = {Helber, Patrick and Bischke, Benjamin and Dengel, Andreas and Borth, Damian},
  journal = {IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing},
  year = {2019}
}""",
        source_url="https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
        "EuroSAT.zip",
        checksum="md5:c8fa014336c82ac7804f0398fcb19387",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/2 at 32 px",
        normalization=_HALF,
        views={"size": 32, "crop_ratio": 0.875, "vertical_flip": True},
        train_share=0.8,
        shuffle_first=True,
        notes=(
            "The first 80% of each class, files sorted by name as strings, are train, the rest test. There are 27,000 "
            "pictures of 64 x 64 pixels.",
        ),
    ),
    Task(
        name="tissuemnist",
        title="TissueMNIST",
        modality="image",
        class_names=(
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        label_settings=(80, 400),
        sizes={"train": 165_466, "test": 47_280},
        readers=("npz", "datasets"),
        license="cc-by-4.0",
        homepage="https://medmnist.com/",
        citation=r"""@article{yang2023medmnist,
  title = {{MedMNIST} v2 -- A Large-Scale Lightweight Benchmark for {2D} and {3D} Biomedical Image Classification},
  author = {Yang, Jiancheng and Shi, Rui and Wei, Donglai and Liu, Zequan and Zhao, Lin and Ke, Bilian and
            Pfister, Hanspeter and Ni, Bingbing},
  journal = {Scientific Data},
  volume = {10},
  number = {1},
  pages = {41},
  year = {2023}
}""",
        source_url="https://zenodo.org/record/6496656/files/tissuemnist.npz?download=1",
        checksum="md5:ebe78ee8b05294063de985d821c1c34b",
        backbone="WinKawaks/vit-tiny-patch16-224",
        usb_backbone="ViT-Ti/2 at 32 px",
        normalization=_HALF,
        views={"size": 32, "crop_ratio": 0.95, "vertical_flip": True, "color_operations": False},
        shuffle_first=True,
        notes=(
            "The pictures are gray, 28 x 28 pixels, and stored as such; convert them to RGB for a model that needs "
            "three channels.",
        ),
    ),
    Task(
        name="semi_aves",
        title="Semi-Aves",
        modality="image",
        class_names=words(
            """Charadrius_semipalmatus Tachycineta_thalassina Stelgidopteryx_serripennis Cassiculus_melanicterus
            Jacana_spinosa Haematopus_bachmani Phoenicopterus_ruber Phoenicurus_phoenicurus Pelecanus_occidentalis
            Archilochus_alexandri Pelecanus_conspicillatus Falco_tinnunculus Tachybaptus_novaehollandiae
            Petrochelidon_pyrrhonota Falco_peregrinus Oenanthe_oenanthe Calidris_pusilla Calidris_alpina
            Streptopelia_chinensis Limosa_fedoa Anthochaera_carunculata Columba_livia Phalaropus_lobatus
            Thalasseus_sandvicensis Larus_canus Motacilla_cinerea Aechmophorus_occidentalis Larus_glaucescens
            Dendrocopos_major Rissa_tridactyla Molothrus_aeneus Entomyzon_cyanotis Alopochen_aegyptiaca
            Lonchura_punctulata Anas_platyrhynchos Aythya_australis Dicrurus_macrocercus Anser_albifrons
            Buteo_regalis Haliaeetus_leucocephalus Morus_bassanus Certhia_familiaris Rostrhamus_sociabilis
            Cracticus_torquatus Passerina_amoena Aythya_fuligula Chondestes_grammacus Fulica_atra Mergus_merganser
            Egretta_thula Pyrrhula_pyrrhula Aquila_chrysaetos Setophaga_townsendi Cygnus_atratus Cygnus_buccinator
            Branta_canadensis Circus_hudsonius Anhinga_anhinga Buteo_jamaicensis Pica_pica Corvus_frugilegus
            Bonasa_umbellus Myiozetetes_similis Progne_subis Megaceryle_alcyon Molothrus_ater Piranga_rubra
            Vanellus_chilensis Cygnus_olor Passerculus_sandwichensis Chroicocephalus_philadelphia Setophaga_palmarum
            Himantopus_himantopus Setophaga_occidentalis Buteo_lineatus Zonotrichia_leucophrys Saltator_coerulescens
            Tyrannus_vociferans Junco_hyemalis Pitangus_sulphuratus Sylvia_communis Melanerpes_erythrocephalus
            Rhipidura_leucophrys Quiscalus_major Sphyrapicus_varius Sitta_europaea Cyanocorax_yncas
            Corvus_brachyrhynchos Sitta_canadensis Cyanistes_caeruleus Colaptes_auratus Baeolophus_inornatus
            Erithacus_rubecula Poecile_carolinensis Passer_domesticus Sphecotheres_vieilloti Mniotilta_varia
            Dryocopus_pileatus Prunella_modularis Megarynchus_pitangua Melospiza_georgiana Agelaius_phoeniceus
            Lanius_cristatus Catharus_ustulatus Ammodramus_savannarum Thryothorus_ludovicianus Troglodytes_aedon
            Setophaga_caerulescens Neochmia_temporalis Setophaga_citrina Myiodynastes_luteiventris
            Setophaga_discolor Pipilo_erythrophthalmus Pica_nuttalli Toxostoma_longirostre Ardea_melanocephala
            Microcarbo_africanus Charadrius_wilsonia Spizella_breweri Patagioenas_flavirostris Chlidonias_hybrida
            Sterna_paradisaea Calidris_virgata Acridotheres_cristatellus Tigrisoma_lineatum Ciconia_nigra
            Oriolus_chinensis Chloroceryle_amazona Sylvia_curruca Pernis_ptilorhynchus Charadrius_alexandrinus
            Certhia_brachydactyla Myiodynastes_maculatus Larus_pacificus Treron_vernans Urocissa_erythroryncha
            Microcarbo_pygmeus Elseyornis_melanops Mycteria_leucocephala Gerygone_igata Fulica_cristata
            Turdus_leucomelas Brotogeris_jugularis Pycnonotus_aurigaster Lagonosticta_senegala Poecile_hudsonicus
            Ploceus_velatus Ploceus_cucullatus Plocepasser_mahali Calidris_ruficollis Tringa_stagnatilis
            Empidonax_virescens Polemaetus_bellicosus Lamprotornis_superbus Jynx_torquilla Buteo_rufinus
            Cecropis_daurica Anser_fabalis Coscoroba_coscoroba Anthus_petrosus Torgos_tracheliotos
            Lamprotornis_nitens Habia_fuscicauda Calonectris_diomedea Vanellus_senegallus Polioptila_californica
            Cinnyris_asiaticus Saltator_aurantiirostris Burhinus_vermiculatus Charadrius_collaris
            Cyanocorax_beecheii Myiozetetes_cayanensis Dicrurus_leucophaeus Phoeniculus_purpureus
            Colaptes_chrysoides Lophaetus_occipitalis Ixobrychus_minutus Ardea_goliath Stercorarius_longicaudus
            Aethopyga_siparaja Prinia_subflava Fluvicola_nengeta Lophoceros_alboterminatus Vireo_atricapilla
            Halcyon_senegalensis Stelgidopteryx_ruficollis Ortalis_cinereiceps Forpus_conspicillatus Trogon_rufus
            Anthracothorax_nigricollis Rhipidura_javanica Dendrocopos_syriacus Eucometis_penicillata
            Poecile_sclateri Emberiza_rustica Colaptes_punctigula Ocreatus_underwoodii Prionops_plumatus
            Antrostomus_vociferus Spheniscus_magellanicus"""
        ),
        label_settings=(3_959,),
        sizes={"train": 5_959, "unlabeled": 26_640, "test": 4_000},
        readers=("list_files", "datasets"),
        license="other",
        license_note="Terms of the publisher: iNaturalist's terms of service, non-commercial research and education "
        "only, and the images may not be distributed.",
        redistribution_forbidden=True,
        homepage="https://github.com/cvl-umass/semi-inat-2020",
        citation=r"""@misc{su2021semisupervised,
  title = {The Semi-Supervised {iNaturalist-Aves} Challenge at {FGVC7} Workshop},
  author = {Su, Jong-Chyi and Maji, Subhransu},
  year = {2021},
  eprint = {2103.06937},
  archivePrefix = {arXiv}
}""",
        source_url="https://github.com/cvl-umass/semi-inat-2020",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="ViT-S/16 at 224 px",
        normalization=_IMAGENET_COLORS,
        views={"size": 224, "crop_ratio": 0.875},
        test_per_class=20,
        given_labels=True,
        notes=(
            "The splits follow the authors' lists: l_train_val is the labeled set, u_train_in the pool, test the test "
            "set. The lists and the names of the species are in https://github.com/cvl-umass/ssl-evaluation.",
            "USB calls the setting 3959, the authors' count of labeled training images. l_train_val adds their 2,000 "
            "validation images: 5,959, 15 to 53 per class.",
            "The list test has 8,000 images, USB counts 4,000. Here they are the first 20 of each class in the list, "
            "its first half; whether they are USB's is unconfirmed.",
            "USB's geometry differs from that of the other image tasks: resizing to size / crop_ratio and a random "
            "crop as the weak view, a random resized crop (0.08 to 1) as the strong view.",
        ),
    ),
)

CLASSIC_IMAGES = (
    Task(
        name="cifar10",
        title="CIFAR-10",
        modality="image",
        class_names=words("airplane automobile bird cat deer dog frog horse ship truck"),
        label_settings=(40, 250, 4_000),
        long_tails=(
            *(LongTail(1_500, 3_000, *gammas) for gammas in ((100, 100), (100, -100), (150, 150))),
            *(LongTail(500, 4_000, *gammas) for gammas in ((100, 100), (100, -100), (150, 150))),
        ),
        sizes={"train": 50_000, "test": 10_000},
        readers=("cifar_pickles", "datasets"),
        license="unknown",
        license_note=_CIFAR_LICENSE,
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        citation=_CIFAR_CITATION,
        source_url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        checksum="md5:c58f30108f718f92721af3b95e74349a",
        hub_id="uoft-cs/cifar10",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="none: Wide ResNet 28-2 from scratch",
        normalization=_CIFAR_COLORS,
        views={"size": 32, "crop_ratio": 0.875},
    ),
    Task(
        name="svhn",
        title="SVHN",
        modality="image",
        class_names=words("0 1 2 3 4 5 6 7 8 9"),
        label_settings=(40, 250, 1_000),
        sizes={"train": 73_257, "test": 26_032},
        readers=("svhn_mat", "datasets"),
        license="other",
        license_note="The publisher allows non-commercial use only.",
        homepage="http://ufldl.stanford.edu/housenumbers/",
        citation=r"""@inproceedings{netzer2011reading,
  title = {Reading Digits in Natural Images with Unsupervised Feature Learning},
  author = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year = {2011}
}""",
        source_url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        checksum="md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        backbone="WinKawaks/vit-small-patch16-224",
        usb_backbone="none: Wide ResNet 28-2 from scratch",
        normalization=_HALF,
        views={"size": 32, "crop_ratio": 0.875, "horizontal_flip": False},
        notes=("The extra training images are left out. USB's normalization is unconfirmed; 0.5 is this package's.",),
    ),
)
