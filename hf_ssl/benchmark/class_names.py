"""The classes of each task, in the order of their indices, spelled as the publisher spells them."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DIGITS = tuple("0123456789")

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR100 = _words(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
    forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
    mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
    wolf woman worm"""
)

STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

EUROSAT = _words(
    "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
)

TISSUEMNIST = (
    "Collecting Duct, Connecting Tubule",
    "Distal Convoluted Tubule",
    "Glomerular endothelial cells",
    "Interstitial endothelial cells",
    "Leukocytes",
    "Podocytes",
    "Proximal Tubule Segments",
    "Thick Ascending Limb",
)

SEMI_AVES = _words(
    """Charadrius_semipalmatus Tachycineta_thalassina Stelgidopteryx_serripennis Cassiculus_melanicterus Jacana_spinosa
    Haematopus_bachmani Phoenicopterus_ruber Phoenicurus_phoenicurus Pelecanus_occidentalis Archilochus_alexandri
    Pelecanus_conspicillatus Falco_tinnunculus Tachybaptus_novaehollandiae Petrochelidon_pyrrhonota Falco_peregrinus
    Oenanthe_oenanthe Calidris_pusilla Calidris_alpina Streptopelia_chinensis Limosa_fedoa Anthochaera_carunculata
    Columba_livia Phalaropus_lobatus Thalasseus_sandvicensis Larus_canus Motacilla_cinerea Aechmophorus_occidentalis
    Larus_glaucescens Dendrocopos_major Rissa_tridactyla Molothrus_aeneus Entomyzon_cyanotis Alopochen_aegyptiaca
    Lonchura_punctulata Anas_platyrhynchos Aythya_australis Dicrurus_macrocercus Anser_albifrons Buteo_regalis
    Haliaeetus_leucocephalus Morus_bassanus Certhia_familiaris Rostrhamus_sociabilis Cracticus_torquatus Passerina_amoena
    Aythya_fuligula Chondestes_grammacus Fulica_atra Mergus_merganser Egretta_thula Pyrrhula_pyrrhula Aquila_chrysaetos
    Setophaga_townsendi Cygnus_atratus Cygnus_buccinator Branta_canadensis Circus_hudsonius Anhinga_anhinga
    Buteo_jamaicensis Pica_pica Corvus_frugilegus Bonasa_umbellus Myiozetetes_similis Progne_subis Megaceryle_alcyon
    Molothrus_ater Piranga_rubra Vanellus_chilensis Cygnus_olor Passerculus_sandwichensis Chroicocephalus_philadelphia
    Setophaga_palmarum Himantopus_himantopus Setophaga_occidentalis Buteo_lineatus Zonotrichia_leucophrys
    Saltator_coerulescens Tyrannus_vociferans Junco_hyemalis Pitangus_sulphuratus Sylvia_communis Melanerpes_erythrocephalus
    Rhipidura_leucophrys Quiscalus_major Sphyrapicus_varius Sitta_europaea Cyanocorax_yncas Corvus_brachyrhynchos
    Sitta_canadensis Cyanistes_caeruleus Colaptes_auratus Baeolophus_inornatus Erithacus_rubecula Poecile_carolinensis
    Passer_domesticus Sphecotheres_vieilloti Mniotilta_varia Dryocopus_pileatus Prunella_modularis Megarynchus_pitangua
    Melospiza_georgiana Agelaius_phoeniceus Lanius_cristatus Catharus_ustulatus Ammodramus_savannarum
    Thryothorus_ludovicianus Troglodytes_aedon Setophaga_caerulescens Neochmia_temporalis Setophaga_citrina
    Myiodynastes_luteiventris Setophaga_discolor Pipilo_erythrophthalmus Pica_nuttalli Toxostoma_longirostre
    Ardea_melanocephala Microcarbo_africanus Charadrius_wilsonia Spizella_breweri Patagioenas_flavirostris
    Chlidonias_hybrida Sterna_paradisaea Calidris_virgata Acridotheres_cristatellus Tigrisoma_lineatum Ciconia_nigra
    Oriolus_chinensis Chloroceryle_amazona Sylvia_curruca Pernis_ptilorhynchus Charadrius_alexandrinus Certhia_brachydactyla
    Myiodynastes_maculatus Larus_pacificus Treron_vernans Urocissa_erythroryncha Microcarbo_pygmeus Elseyornis_melanops
    Mycteria_leucocephala Gerygone_igata Fulica_cristata Turdus_leucomelas Brotogeris_jugularis Pycnonotus_aurigaster
    Lagonosticta_senegala Poecile_hudsonicus Ploceus_velatus Ploceus_cucullatus Plocepasser_mahali Calidris_ruficollis
    Tringa_stagnatilis Empidonax_virescens Polemaetus_bellicosus Lamprotornis_superbus Jynx_torquilla Buteo_rufinus
    Cecropis_daurica Anser_fabalis Coscoroba_coscoroba Anthus_petrosus Torgos_tracheliotos Lamprotornis_nitens
    Habia_fuscicauda Calonectris_diomedea Vanellus_senegallus Polioptila_californica Cinnyris_asiaticus
    Saltator_aurantiirostris Burhinus_vermiculatus Charadrius_collaris Cyanocorax_beecheii Myiozetetes_cayanensis
    Dicrurus_leucophaeus Phoeniculus_purpureus Colaptes_chrysoides Lophaetus_occipitalis Ixobrychus_minutus Ardea_goliath
    Stercorarius_longicaudus Aethopyga_siparaja Prinia_subflava Fluvicola_nengeta Lophoceros_alboterminatus
    Vireo_atricapilla Halcyon_senegalensis Stelgidopteryx_ruficollis Ortalis_cinereiceps Forpus_conspicillatus Trogon_rufus
    Anthracothorax_nigricollis Rhipidura_javanica Dendrocopos_syriacus Eucometis_penicillata Poecile_sclateri
    Emberiza_rustica Colaptes_punctigula Ocreatus_underwoodii Prionops_plumatus Antrostomus_vociferus
    Spheniscus_magellanicus"""
)

IMDB = ("neg", "pos")

AG_NEWS = ("World", "Sports", "Business", "Sci/Tech")

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")

YAHOO_ANSWERS = (
    "Society & Culture",
    "Science & Mathematics",
    "Health",
    "Education & Reference",
    "Computers & Internet",
    "Sports",
    "Business & Finance",
    "Entertainment & Music",
    "Family & Relationships",
    "Politics & Government",
)

GTZAN = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

URBANSOUND8K = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)

FSDNOISY18K = _words(
    """Acoustic_guitar Bass_guitar Clapping Coin_(dropping) Crash_cymbal Dishes_and_pots_and_pans Engine Fart Fire Fireworks
    Glass Hi-hat Piano Rain Slam Squeak Tearing Walk_or_footsteps Wind Writing"""
)

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

ESC50 = _words(
    """dog rooster pig cow frog cat hen insects sheep crow rain sea_waves crackling_fire crickets chirping_birds water_drops
    wind pouring_water toilet_flush thunderstorm crying_baby sneezing clapping breathing coughing footsteps laughing
    brushing_teeth snoring drinking_sipping door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening
    washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking helicopter chainsaw siren car_horn engine train
    church_bells airplane fireworks hand_saw"""
)
