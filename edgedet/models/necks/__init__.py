"""Necks: a backbone's feature maps in, fused ones out."""
