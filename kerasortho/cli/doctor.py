"""``kerasortho doctor``: what is installed, whether a GPU is seen and, if not, why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kerasortho.doctor import examine

_LABEL_WIDTH = 24


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor_command(context: click.Context, as_json: bool) -> None:
    """Tell what is installed, whether a GPU is seen and, if not, why that is and what to do.

    The exit code is 0 if kerasortho can work here, 1 if something that it needs is missing or broken.
    """
    findings = examine(Path())
    click.echo(json.dumps(findings, indent=2) if as_json else "\n".join(_report(findings)))
    context.exit(0 if findings["usable"] else 1)


def _report(findings: Mapping[str, Any]) -> list[str]:
    lines = [
        _row("kerasortho", findings["kerasortho"]),
        _row("Python", f"{findings['python']['version']}  {findings['python']['executable']}"),
        _row("system", findings["platform"]),
        *_machine_rows(findings["machine"], findings["tensorflow"]),
        "",
        *(_package_row(package) for package in findings["packages"]),
        "",
        *_gpu_rows(findings["gpu"], findings["tensorflow"]),
        "",
        *_dicom_rows(findings["dicom"]),
        "",
    ]
    if findings["usable"]:
        return [*lines, "kerasortho can work here."]
    return [*lines, "kerasortho cannot work here:", *(f"  {problem}" for problem in findings["problems"])]


def _machine_rows(machine: Mapping[str, Any], tensorflow: Mapping[str, Any]) -> list[str]:
    threads = [f"{name}={value}" for name, value in machine["threads"].items()]
    for kind in ("intra", "inter"):
        if tensorflow.get(f"{kind}_op_threads"):
            threads.append(f"TensorFlow {kind}-op {tensorflow[f'{kind}_op_threads']}")
    return [
        _row("processors", f"{machine['processors']}, threads: {', '.join(threads) or 'not limited'}"),
        _row("memory available", f"{machine['memory_available'] / 1e9:.1f} GB"),
        _row(
            "disk space here",
            machine["disk_problem"] or f"{machine['disk_free'] / 1e9:.1f} GB free in {machine['folder']}",
        ),
    ]


def _package_row(package: Mapping[str, Any]) -> str:
    need = "" if package["required"] else ", optional"
    return _row(package["name"], f"{package['problem'] or package['version']}  ({package['purpose']}{need})")


def _gpu_rows(gpu: Mapping[str, Any], tensorflow: Mapping[str, Any]) -> list[str]:
    if "version" not in tensorflow:
        return [_row("GPU", "unknown, because TensorFlow does not start")]
    if not gpu["gpus"]:
        return [_row("GPU", "none"), _row("  why", gpu["reason"]), _row("  what to do", gpu["advice"])]
    built = _row("CUDA", f"{tensorflow['cuda_version']}, cuDNN {tensorflow['cudnn_version']} (TensorFlow's build)")
    return [*(_row("GPU", _gpu_name(one)) for one in gpu["gpus"]), built]


def _gpu_name(gpu: Mapping[str, Any]) -> str:
    capability = gpu["compute_capability"]
    return gpu["name"] + (f", compute capability {'.'.join(map(str, capability))}" if capability else "")


def _dicom_rows(syntaxes: Sequence[Mapping[str, Any]]) -> list[str]:
    if not syntaxes:
        return [_row("DICOM", "cannot be read. pip install 'kerasortho[dicom]'")]
    rows = [_row("DICOM", "transfer syntaxes and what decodes them")]
    for syntax in syntaxes:
        by = ", ".join(syntax["by"]) if syntax["available"] else "nothing. pip install 'kerasortho[dicom]'"
        rows.append(f"  {syntax['uid']:<24} {syntax['name']}: {by}")
    return rows


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}} {text}"
