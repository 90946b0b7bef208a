"""Sweeps: many trainings, each with other settings, to find those with the highest mAP."""
