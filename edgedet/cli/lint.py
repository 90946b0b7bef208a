"""`edgedet lint`: what keeps a quantized ONNX file from being fast, or right on every CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.errors import CheckFailedError


def command(
    model: Annotated[Path, typer.Argument(help="Quantized ONNX file, of anyone's making.", show_default=False)],
    runtime: Annotated[str, typer.Option(help="What runs it: onnxruntime (it is run) or tensorrt.")] = "onnxruntime",
    limit: Annotated[int, typer.Option(min=1, help="Lines shown for each rule.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every finding.")] = False,
) -> None:
    """List quantizers that cost more than they gain or harm; exit 1 if a convolution would be faster without."""
    from edgedet.graph.lint.finding import ERROR
    from edgedet.graph.lint.run import lint_file

    findings = lint_file(model, runtime=runtime)
    errors = sum(finding.rule.severity == ERROR for finding in findings)
    result = {
        "path": model,
        "runtime": runtime,
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [finding.to_dict() for finding in findings],
    }
    output.emit(result, as_json, lambda shown: render_findings(shown["findings"], limit))
    if errors:
        raise CheckFailedError(f"{errors} of its quantized convolutions and products ran in float", where=model)


def render_findings(findings: list[dict[str, Any]], limit: int) -> None:
    """Prints findings, rule by rule."""
    if not findings:
        print("no findings")
    for name in dict.fromkeys(finding["name"] for finding in findings):
        of_rule = [finding for finding in findings if finding["name"] == name]
        rule = of_rule[0]
        rows = [(finding["nodes"][0], finding["what"]) for finding in of_rule[:limit]]
        output.table(["node", "what"], rows, title=f"{rule['severity']}: {name}, {len(of_rule)}")
        if len(of_rule) > limit:
            print(f"  and {len(of_rule) - limit} more (--limit {len(of_rule)} shows them)")
        print(f"  why: {rule['why']}\n  fix: {rule['fix']}\n")
