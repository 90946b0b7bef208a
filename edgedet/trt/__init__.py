"""What edgedet knows of TensorRT and of the machines that it runs on. Needs neither onnx nor torch."""
