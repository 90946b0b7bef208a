"""The CUDA kernels as nvcc builds them. Without a GPU they do not run; how the library answers then is looked at."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import cuda_on_host
import numpy as np
import pytest
from gated_layers import layer_of

from edgedet.errors import EdgedetError
from edgedet.ops.cuda import CudaKernels, NMSProblem
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.gated_conv.cuda import CudaGatedConv
from edgedet.ops.gated_conv.definition import GatedConv

LIBRARY = Path(__file__).resolve().parents[2] / "build" / "cuda" / "libedgedet_cuda.so"
PROBLEM = NMSProblem(2, 8400, 80, DIoUNMS())

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY.name} is not built: make cuda")


def test_it_opens_and_reports_its_workspace() -> None:
    assert CudaKernels(LIBRARY).workspace_bytes(PROBLEM) == cuda_on_host.kernels().workspace_bytes(PROBLEM)


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="there is a driver of CUDA")
def test_without_a_driver_it_says_so() -> None:
    kernels = CudaKernels(LIBRARY)
    with pytest.raises(EdgedetError, match=r"CUDA driver version is insufficient|no CUDA-capable device"):
        kernels.diou_nms(PROBLEM, 0, 0, (0, 0, 0, 0), 0, 0)
    with pytest.raises(EdgedetError, match=r"CUDA driver version is insufficient|no CUDA-capable device"):
        kernels.mish("float16", 256, 256, 8, 0)
    layer = layer_of(GatedConv(granularity="pixel"), 8, 16, 0.0)
    with pytest.raises(EdgedetError, match=r"CUDA driver version is insufficient|no CUDA-capable device"):
        CudaGatedConv(LIBRARY).run_of_host(layer, np.zeros((1, 16, 4, 4), np.float32))
