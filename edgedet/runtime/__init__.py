"""Running a detector: backends, preprocessing, detections, and the sources of images. Needs no torch."""
