"""TensorRT's own Python modules without TensorRT: what the tests of engines run with."""
