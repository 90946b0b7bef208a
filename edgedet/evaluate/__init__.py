"""COCO metrics of detectors, model files and results files."""
