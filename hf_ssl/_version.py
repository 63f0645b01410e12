"""The version, which nothing heavier needs to be imported for."""

__version__ = "0.1.0"
