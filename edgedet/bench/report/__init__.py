"""Measurements as one HTML page that needs no network: what `edgedet report` writes."""
