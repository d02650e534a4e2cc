"""What a supervisor shows of an environment."""

from __future__ import annotations

from akashic.containers.errors import EngineError
from akashic.delivery.local.model import Environment, Instance, Slot
from akashic.delivery.local.processes import alive
from akashic.delivery.local.supervisor import Supervisor
from akashic.delivery.targets import InstanceStatus, TargetStatus


def status_of(supervisor: Supervisor, name: str) -> TargetStatus:
    """The environment as it is now."""
    environment = supervisor.state.environments.get(name)
    if environment is None:
        return TargetStatus(reachable=True)
    try:
        return _status(supervisor, environment)
    except EngineError as error:
        # What serves may well serve: nobody can say.
        url = supervisor.front.url(environment)
        return TargetStatus(reachable=False, url=url, serving=environment.serving, problems=(error.message,))


def _status(supervisor: Supervisor, environment: Environment) -> TargetStatus:
    slot = environment.slots.get(environment.serving)
    return TargetStatus(
        reachable=True,
        url=supervisor.front.url(environment),
        address=f"127.0.0.1:{environment.port}" if environment.host else "",
        serving=environment.serving,
        standby=environment.standby,
        instances=tuple(_instance(supervisor, slot, i) for i in slot.instances) if slot else (),
        services={
            service_name: f"{service.image} on port {service.port}"
            for service_name, service in environment.services.items()
        },
        problems=tuple(_problems(supervisor, environment)),
    )


def _instance(supervisor: Supervisor, slot: Slot, instance: Instance) -> InstanceStatus:
    running = supervisor.runner.alive(slot, instance)
    return InstanceStatus(
        name=str(instance.index),
        state="running" if running else "stopped" if instance.idle else "waiting",
        pid=instance.process.pid if instance.process and running else 0,
        port=instance.port,
        restarts=instance.restarts,
        last_exit=instance.last_exit,
    )


def _problems(supervisor: Supervisor, environment: Environment) -> list[str]:
    if environment.stopped:
        return ["stopped"]
    if not environment.serving:
        # Nobody asks whose environment never served: the record knows.
        return [f"down: akashic start {environment.name}"]
    slot = environment.slots.get(environment.serving)
    busy = [instance for instance in slot.instances if not instance.idle] if slot else []
    if slot and not supervisor.runner.recall(slot):
        # Nothing of it lives, so nobody knows any more what it was started with.
        return [f"down: akashic start {environment.name}"]
    problems = []
    if environment.serving and not alive(supervisor.front.process(environment)):
        problems.append("the proxy is not running")
    for instance in busy:
        if slot and not supervisor.runner.alive(slot, instance):
            problems.append(f"instance {instance.index} is not running: {instance.last_exit}")
    for name, service in environment.services.items():
        if not alive(service.process):
            problems.append(f"service {name} is not running")
    return problems
