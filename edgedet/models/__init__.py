"""Detectors in PyTorch: backbones, neck, head, the zoo, checkpoints."""
