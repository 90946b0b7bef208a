"""Heads: feature maps in, logits out; each with its decoding."""
