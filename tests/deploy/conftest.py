"""The models and TensorRTs of `tests/engine`."""

from engine.conftest import _fresh_records, images, models, pictures, trt10  # noqa: F401
