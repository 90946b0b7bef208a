"""With this folder in PYTHONPATH `import tensorrt` gives the double, over the module in the folder TENSORRT_MODULE."""

import os
import sys
from importlib import import_module
from pathlib import Path

sys.path[:0] = [os.environ["TENSORRT_MODULE"], str(Path(__file__).resolve().parents[2])]
sys.modules["tensorrt"] = import_module("tensorrt_bindings")
import_module("tensorrt_double.double").install(sys.modules["tensorrt"])
