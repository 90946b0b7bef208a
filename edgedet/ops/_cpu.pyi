import numpy as np
from numpy.typing import NDArray

def diou_nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    score_threshold: float,
    iou_threshold: float,
    beta: float,
    pre_nms_top_k: int,
    max_detections: int,
    class_agnostic: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]: ...
def mish(values: NDArray[np.float32]) -> NDArray[np.float32]: ...
