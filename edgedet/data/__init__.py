"""Datasets: readers and writers, checks, augmentation, generated images, pictures of them."""
