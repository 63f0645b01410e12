"""Corrections for long tails: `IMBALANCE` is the table, in the order in which to read them.

Each is put around an algorithm: `get_algorithm("fixmatch", imbalance="abc", class_counts=..., ...)` or
`SSLConfig(imbalance="abc")`. What they may change in a step is in `algorithms/correction.py`.
"""

from ..correction import Correction
from .abc import ABC
from .adsh import Adsh
from .balanced_sampling import BalancedSampling
from .cdmad import CDMAD
from .cossl import CoSSL
from .crest import CReST, CReSTPlus
from .darp import DARP
from .daso import DASO
from .debiaspl import DebiasPL
from .logit_adjustment import LogitAdjustment
from .saw import SAW
from .simis import SimiS
from .tras import TRAS

__all__ = ["IMBALANCE"]

IMBALANCE: dict[str, type[Correction]] = {
    "balanced_sampling": BalancedSampling,
    "logit_adjustment": LogitAdjustment,
    "abc": ABC,
    "cdmad": CDMAD,
    "saw": SAW,
    "debiaspl": DebiasPL,
    "cossl": CoSSL,
    "crest": CReST,
    "crest_plus": CReSTPlus,
    "darp": DARP,
    "daso": DASO,
    "simis": SimiS,
    "adsh": Adsh,
    "tras": TRAS,
}
