"""The kinds of fault that readers and the check report, with what each means."""

from __future__ import annotations

MISSING_IMAGE = "missing-image"
BROKEN_IMAGE = "broken-image"
BROKEN_ANNOTATION = "broken-annotation"
MALFORMED_BOX = "malformed-box"
NON_FINITE = "non-finite"
ZERO_AREA = "zero-area"
OUTSIDE_IMAGE = "outside-image"
DUPLICATE_BOX = "duplicate-box"
UNKNOWN_CLASS = "unknown-class"
UNTRAINED_CLASS = "untrained-class"
CLASS_CONFLICT = "class-conflict"
IMAGE_WITHOUT_LABELS = "image-without-labels"
LABEL_WITHOUT_IMAGE = "label-without-image"
DUPLICATE_IMAGE = "duplicate-image"
SPLIT_OVERLAP = "split-overlap"
EMPTY_SPLIT = "empty-split"
SIZE_MISMATCH = "size-mismatch"
UNSAFE_PATH = "unsafe-path"

MEANINGS = {
    MISSING_IMAGE: "the image is listed, but the file is not there",
    BROKEN_IMAGE: "the image file is truncated, damaged, or of an unknown format",
    BROKEN_ANNOTATION: "the annotation file, or a part of it, cannot be understood",
    MALFORMED_BOX: "the object has no readable class or no four numbers as its box",
    NON_FINITE: "a coordinate is infinite or not a number",
    ZERO_AREA: "the box has no area, or its corners are swapped",
    OUTSIDE_IMAGE: "the box reaches out of the image by more than a pixel",
    DUPLICATE_BOX: "the same box of the same class is there more than once",
    UNKNOWN_CLASS: "the class is not among the dataset's classes, or its number is out of range",
    UNTRAINED_CLASS: "the class is in another split but never in the training split: often a typing error",
    CLASS_CONFLICT: "two annotation files, or two entries, disagree about a class",
    IMAGE_WITHOUT_LABELS: "no annotation file names the image (an empty annotation would mark it as background)",
    LABEL_WITHOUT_IMAGE: "the annotation belongs to no image",
    DUPLICATE_IMAGE: "the split holds the same image more than once",
    SPLIT_OVERLAP: "the image is in two splits, so that a score on one is no measure of the other",
    EMPTY_SPLIT: "the split holds no image",
    SIZE_MISMATCH: "the annotation states another size than the image file has",
    UNSAFE_PATH: "the file name leads out of the dataset's folder",
}
