"""What a job's `container:` and `services:` ask for, evaluated.

Source: GitHub's "Workflow syntax": `jobs.<job_id>.container`, `jobs.<job_id>.services`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError
from akashic.executors.protocol import ContainerSpec, SandboxSpec, ServiceSpec
from akashic.runner.parts import RunnerParts
from akashic.source.position import Position
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string


def build_spec(request: JobRequest, parts: RunnerParts, scope: Scope) -> SandboxSpec:
    """The place that the job needs. Raises AkashicError for a value of the wrong kind, ExpressionError."""
    return SandboxSpec(
        run_id=request.run_id,
        job_key=request.key,
        attempt=request.attempt,
        repository=parts.repository,
        tree=parts.tree,
        labels=request.labels,
        container=_container(request, scope),
        services=_services(request, scope),
        mode=parts.sandbox_mode,
        # What a fork's job writes there, others would read; it deploys nothing anyway.
        shared_paths=() if request.trust == "fork" else (str(parts.state_dir),),
        trust=request.trust,
        memory_bytes_max=parts.memory_bytes_max,
        processes_max=parts.processes_max,
        resumes=request.resumption.attempt if request.resumption is not None else 0,
    )


def _container(request: JobRequest, scope: Scope) -> ContainerSpec | None:
    template = request.job.container
    if template is None:
        return None
    value = interpolate(template.value, scope, template.position)
    if isinstance(value, str):
        value = {"image": value}
    if value is None:
        return None
    where = "container"
    fields = _mapping(value, where, template.position)
    image = to_string(fields.get("image"))
    if not image:
        # GitHub: an image that evaluates to nothing means no container.
        return None
    return ContainerSpec(
        image=image.removeprefix("docker://"),
        env=_strings(fields.get("env"), f"{where}.env", template.position),
        ports=_list(fields.get("ports"), f"{where}.ports", template.position),
        volumes=_list(fields.get("volumes"), f"{where}.volumes", template.position),
        options=to_string(fields.get("options")),
        credentials=_strings(fields.get("credentials"), f"{where}.credentials", template.position),
    )


def _services(request: JobRequest, scope: Scope) -> tuple[ServiceSpec, ...]:
    template = request.job.services
    if template is None:
        return ()
    value = interpolate(template.value, scope, template.position)
    if value is None:
        return ()
    specs: list[ServiceSpec] = []
    for name, service in _mapping(value, "services", template.position).items():
        where = f"services.{name}"
        fields = (
            {"image": service} if isinstance(service, str) else _mapping(service, where, template.position)
        )
        image = to_string(fields.get("image"))
        if not image:
            continue
        specs.append(
            ServiceSpec(
                name=str(name),
                image=image.removeprefix("docker://"),
                env=_strings(fields.get("env"), f"{where}.env", template.position),
                ports=_list(fields.get("ports"), f"{where}.ports", template.position),
                volumes=_list(fields.get("volumes"), f"{where}.volumes", template.position),
                options=to_string(fields.get("options")),
                credentials=_strings(fields.get("credentials"), f"{where}.credentials", template.position),
                command=to_string(fields.get("command")),
                entrypoint=to_string(fields.get("entrypoint")),
            )
        )
    return tuple(specs)


def _mapping(value: Any, where: str, position: Position) -> dict[Any, Any]:
    if not isinstance(value, dict):
        _wrong(where, "a mapping", value, position)
    return value


def _strings(value: Any, where: str, position: Position) -> dict[str, str]:
    if value is None:
        return {}
    return {str(name): to_string(item) for name, item in _mapping(value, where, position).items()}


def _list(value: Any, where: str, position: Position) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        _wrong(where, "a list", value, position)
    return tuple(to_string(item) for item in value)


def _wrong(where: str, expected: str, value: Any, position: Position) -> NoReturn:
    raise AkashicError(f"{position}: {where}: expected {expected}, got {type(value).__name__}")
