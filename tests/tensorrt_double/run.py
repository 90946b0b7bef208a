"""A process with TensorRT's double in the place of TensorRT.

`python run.py FOLDER SCRIPT ARGUMENT...` runs a script. `python run.py FOLDER` runs `edgedet` again and again: each
line of standard input is JSON with `arguments`, `cwd` and `settings` (variables of the environment), and each line of
output JSON with `returncode`, `stdout` and `stderr`. FOLDER holds `tensorrt_bindings` of the version that is wanted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path[:0] = [sys.argv[1], str(Path(__file__).resolve().parents[1])]
tensorrt = import_module("tensorrt_bindings")
double = import_module("tensorrt_double.double")
VERSION = tensorrt.__version__


@contextlib.contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Variables for the time of the block, in C's environment too."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    tensorrt.__version__ = os.environ.get("DOUBLE_VERSION", VERSION)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        tensorrt.__version__ = VERSION


def run_edgedet(arguments: list[str], cwd: str, settings: Mapping[str, str]) -> dict[str, Any]:
    from edgedet.cli.app import main

    output, errors = io.StringIO(), io.StringIO()
    sys.argv = ["edgedet", *arguments]
    os.chdir(cwd)
    double.install(tensorrt)
    code: Any = 0
    with environment(settings), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return {"returncode": code, "stdout": output.getvalue(), "stderr": errors.getvalue()}


sys.modules["tensorrt"] = tensorrt
if len(sys.argv) == 2:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no reply
    for line in sys.stdin:
        print(json.dumps(run_edgedet(**json.loads(line))), file=replies, flush=True)
else:
    with environment({}):
        double.install(tensorrt)
        sys.argv = sys.argv[2:]
        runpy.run_path(sys.argv[0], run_name="__main__")
