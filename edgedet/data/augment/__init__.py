"""Augmentation: one file per family. Every random choice is drawn from the generator that is passed in."""
