"""Which nodes ONNX Runtime really runs as integer kernels."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto

from edgedet.graph.integer_kernels import INTEGER_KERNELS
from edgedet.runtime.backends.onnxruntime import DTYPES, cannot_run

MARK = "edgedet-node-"


def ran_in_integer(model: ModelProto) -> set[int]:
    """The places of the nodes that ran as integer kernels, by ONNX Runtime's profile of one run on zeros.

    ONNX Runtime lengthens the names of what it fuses, so each node is given a name that can be found in them.

    Raises:
        EdgedetError: ONNX Runtime cannot run the model.
    """
    marked = ModelProto()
    marked.CopyFrom(model)
    for place, node in enumerate(marked.graph.node):
        node.name = f"{MARK}{place}-"
    with tempfile.TemporaryDirectory() as folder:
        try:
            events = json.loads(_profile(marked, folder).read_text())
        except Exception as error:  # ONNX Runtime's exceptions share no base class below Exception
            raise cannot_run(error) from error
    names = [event["name"] for event in events if event.get("args", {}).get("op_name") in INTEGER_KERNELS]
    return {int(found[1]) for name in names if (found := re.match(rf"{MARK}(\d+)-", name))}


def _profile(model: ModelProto, folder: str) -> Path:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        tensor.name: np.zeros(
            [size if isinstance(size, int) and size > 0 else 1 for size in tensor.shape],
            DTYPES.get(tensor.type, np.float32),
        )
        for tensor in session.get_inputs()
    }
    session.run(None, feeds)
    return Path(session.end_profiling())
