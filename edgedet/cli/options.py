"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OperatorsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="LIB",
        help="Library of edgedet's operators, for ONNX Runtime or as TensorRT plugins; it is run.",
        show_default="none; for an engine that needs one, where libraries are installed",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Load an engine though it was built for another machine, or was changed.")
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Run the code that a version-compatible engine carries.")
]
