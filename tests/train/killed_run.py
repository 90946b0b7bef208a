"""A training run that kills its own process; run by `test_resume.py`.

Arguments: the run's folder, the configuration as JSON, the number of steps after which the process dies; the checkpoint
to start from, if any.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from edgedet.config import parse
from edgedet.train.config import TrainConfig
from edgedet.train.loop import train
from edgedet.train.reporter import SilentReporter


class KillingReporter(SilentReporter):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, epoch: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, config, steps, *init = sys.argv[1:]
    start = Path(init[0]) if init else None
    train(parse(TrainConfig, json.loads(config)), Path(folder), init=start, reporter=KillingReporter(int(steps)))
