"""What a supervisor shows of an environment."""

from __future__ import annotations

from akashic.delivery.local.model import Environment, Instance
from akashic.delivery.local.processes import alive
from akashic.delivery.local.supervisor import Supervisor
from akashic.delivery.targets import InstanceStatus, TargetStatus


def status_of(supervisor: Supervisor, name: str) -> TargetStatus:
    """The environment as it is now."""
    environment = supervisor.state.environments.get(name)
    if environment is None:
        return TargetStatus(reachable=True)
    slot = environment.slots.get(environment.serving)
    return TargetStatus(
        reachable=True,
        url=f"http://127.0.0.1:{environment.port}" if environment.port else "",
        serving=environment.serving,
        standby=environment.standby,
        instances=tuple(_instance(i) for i in slot.instances) if slot else (),
        services={
            service_name: f"{service.image} on port {service.port}"
            for service_name, service in environment.services.items()
        },
        problems=tuple(_problems(environment)),
    )


def _instance(instance: Instance) -> InstanceStatus:
    running = alive(instance.process)
    return InstanceStatus(
        name=str(instance.index),
        state="running" if running else "waiting",
        pid=instance.process.pid if instance.process and running else 0,
        port=instance.port,
        restarts=instance.restarts,
        last_exit=instance.last_exit,
    )


def _problems(environment: Environment) -> list[str]:
    if environment.stopped:
        return ["stopped"]
    problems = []
    if environment.serving and not alive(environment.proxy):
        problems.append("the proxy is not running")
    slot = environment.slots.get(environment.serving)
    for instance in slot.instances if slot else ():
        if not alive(instance.process):
            problems.append(f"instance {instance.index} is not running: {instance.last_exit}")
    for name, service in environment.services.items():
        if not alive(service.process):
            problems.append(f"service {name} is not running")
    return problems
