"""BibTeX of the datasets."""

CIFAR = r"""@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}"""

STL10 = r"""@inproceedings{coates2011analysis,
  title = {An Analysis of Single-Layer Networks in Unsupervised Feature Learning},
  author = {Coates, Adam and Ng, Andrew and Lee, Honglak},
  booktitle = {Proceedings of the Fourteenth International Conference on Artificial Intelligence and Statistics},
  year = {2011}
}"""

EUROSAT = r"""@article{helber2019eurosat,
  title = {{EuroSAT}: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover Classification},
  author = {Helber, Patrick and Bischke, Benjamin and Dengel, Andreas and Borth, Damian},
  journal = {IEEE Journal of Selected Topics in Applied Earth Observations and Remote Sensing},
  year = {2019}
}"""

TISSUEMNIST = r"""@article{yang2023medmnist,
  title = {{MedMNIST} v2 -- A Large-Scale Lightweight Benchmark for {2D} and {3D} Biomedical Image Classification},
  author = {Yang, Jiancheng and Shi, Rui and Wei, Donglai and Liu, Zequan and Zhao, Lin and Ke, Bilian and Pfister, Hanspeter
            and Ni, Bingbing},
  journal = {Scientific Data},
  volume = {10},
  number = {1},
  pages = {41},
  year = {2023}
}"""

SEMI_AVES = r"""@misc{su2021semisupervised,
  title = {The Semi-Supervised {iNaturalist-Aves} Challenge at {FGVC7} Workshop},
  author = {Su, Jong-Chyi and Maji, Subhransu},
  year = {2021},
  eprint = {2103.06937},
  archivePrefix = {arXiv}
}"""

IMDB = r"""@inproceedings{maas2011learning,
  title = {Learning Word Vectors for Sentiment Analysis},
  author = {Maas, Andrew L. and Daly, Raymond E. and Pham, Peter T. and Huang, Dan and Ng, Andrew Y. and Potts, Christopher},
  booktitle = {Proceedings of the 49th Annual Meeting of the Association for Computational Linguistics: Human Language
               Technologies},
  year = {2011}
}"""

ZHANG = r"""@inproceedings{zhang2015character,
  title = {Character-level Convolutional Networks for Text Classification},
  author = {Zhang, Xiang and Zhao, Junbo and LeCun, Yann},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2015}
}"""

AMAZON = (
    ZHANG
    + r"""
@inproceedings{mcauley2013hidden,
  title = {Hidden Factors and Hidden Topics: Understanding Rating Dimensions with Review Text},
  author = {McAuley, Julian and Leskovec, Jure},
  booktitle = {Proceedings of the 7th ACM Conference on Recommender Systems},
  year = {2013}
}"""
)

GTZAN = r"""@article{tzanetakis2002musical,
  title = {Musical Genre Classification of Audio Signals},
  author = {Tzanetakis, George and Cook, Perry},
  journal = {IEEE Transactions on Speech and Audio Processing},
  volume = {10},
  number = {5},
  pages = {293--302},
  year = {2002}
}"""

URBANSOUND8K = r"""@inproceedings{salamon2014dataset,
  title = {A Dataset and Taxonomy for Urban Sound Research},
  author = {Salamon, Justin and Jacoby, Christopher and Bello, Juan Pablo},
  booktitle = {22nd ACM International Conference on Multimedia},
  year = {2014}
}"""

FSDNOISY18K = r"""@inproceedings{fonseca2019learning,
  title = {Learning Sound Event Classifiers from Web Audio with Noisy Labels},
  author = {Fonseca, Eduardo and Plakal, Manoj and Ellis, Daniel P. W. and Font, Frederic and Favory, Xavier and Serra, Xavier},
  booktitle = {IEEE International Conference on Acoustics, Speech and Signal Processing},
  year = {2019}
}"""

SPEECH_COMMANDS = r"""@misc{warden2018speech,
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
}"""

ESC50 = r"""@inproceedings{piczak2015esc,
  title = {{ESC}: Dataset for Environmental Sound Classification},
  author = {Piczak, Karol J.},
  booktitle = {Proceedings of the 23rd Annual ACM Conference on Multimedia},
  year = {2015}
}"""

SVHN = r"""@inproceedings{netzer2011reading,
  title = {Reading Digits in Natural Images with Unsupervised Feature Learning},
  author = {Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle = {NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year = {2011}
}"""

USB = r"""@inproceedings{wang2022usb,
  title = {{USB}: A Unified Semi-supervised Learning Benchmark for Classification},
  author = {Wang, Yidong and Chen, Hao and Fan, Yue and Sun, Wang and Tao, Ran and Hou, Wenxin and others},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year = {2022}
}"""
