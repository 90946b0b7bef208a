"""Train, verify and deploy compact object detectors on small devices."""

__version__ = "0.1.0"
