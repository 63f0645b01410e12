"""Corrections for long tails: `IMBALANCE` is the table, in the order in which to read them.

Each is put around an algorithm: `get_algorithm("fixmatch", imbalance="abc", class_counts=..., ...)` or
`SSLConfig(imbalance="abc")`. What they may change in a step is in `algorithms/correction.py`.
"""

from ..correction import Correction
from .balanced_sampling import BalancedSampling
from .cossl import CoSSL
from .crest import CReST, CReSTPlus
from .darp import DARP
from .logit_adjustment import LogitAdjustment
from .simis import SimiS

__all__ = ["IMBALANCE"]

IMBALANCE: dict[str, type[Correction]] = {
    "balanced_sampling": BalancedSampling,
    "logit_adjustment": LogitAdjustment,
    "darp": DARP,
    "cossl": CoSSL,
    "crest": CReST,
    "crest_plus": CReSTPlus,
    "simis": SimiS,
}
