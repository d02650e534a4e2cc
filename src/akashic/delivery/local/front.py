"""What people reach an environment by: its port, the proxy there, and whom that sends requests to.

An environment has a proxy of its own, or, when it has a host name, shares one with others: then the proxy
finds it by the host name of a request.
"""

from __future__ import annotations

import time
from pathlib import Path

from akashic.delivery.local import proxy
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.model import Environment, SharedFront, Slot
from akashic.delivery.local.ports import LOOPBACK, free_port, holder, is_free
from akashic.delivery.local.processes import MARK, ProcessId, alive, spawn, stop, tail
from akashic.errors import AkashicError

PROXY_START_TIMEOUT_S = 15.0
STOP_GRACE_S = 10.0


class Front:
    """The proxies of all environments."""

    def __init__(self, ledger: Ledger, mark: str) -> None:
        self.ledger = ledger
        self.paths = ledger.paths
        self.mark = mark

    def claim(
        self, environment: Environment, wanted: int, *, host: str = "", front: str = "", url: str = ""
    ) -> None:
        """The environment's port: the wanted one, or the one it always had. Raises AkashicError when somebody
        else has it, or when all places of a shared proxy are taken."""
        if host:
            self._claim_place(environment, wanted, host, front)
            environment.public_url = url
            return
        port = wanted or environment.port or free_port()
        if port == environment.port and alive(environment.proxy):
            return
        if not is_free(port):
            raise _taken(environment.name, port)
        with self.ledger.lock:
            moved, environment.port = environment.port != port, port
            self.ledger.save()
        if moved and environment.proxy is not None:
            stop(environment.proxy, grace_s=STOP_GRACE_S)

    def ensure(self, environment: Environment) -> None:
        """The environment's proxy listens. Raises AkashicError with the end of its log."""
        if alive(self.process(environment)):
            return
        name = environment.front if environment.host else environment.name
        folder = self.paths.front(name) if environment.host else self.paths.environment(name)
        if environment.host:
            config = proxy.write_shared_config(folder, environment.port, name)
        else:
            config = proxy.write_config(folder, environment.port, name)
        if not is_free(environment.port):
            raise _taken(name, environment.port)
        process = self._start(environment, name, folder, config)
        with self.ledger.lock:
            if environment.host:
                self.ledger.state.fronts[name].proxy = process
            else:
                environment.proxy = process
            self.ledger.save()
        log = folder / "logs" / "proxy.log"
        deadline = time.monotonic() + PROXY_START_TIMEOUT_S
        while is_free(environment.port):
            if not alive(process) or time.monotonic() > deadline:
                raise AkashicError(f"the proxy of {name} did not start:\n{tail(log)}")
            time.sleep(0.02)

    def route(self, environment: Environment) -> None:
        """Send requests to the instances that are to get them, in one step."""
        ports = [
            instance.port
            for slot in (
                environment.slots.get(environment.serving),
                environment.slots.get(environment.rolling),
            )
            if slot is not None
            for instance in slot.instances
            if not instance.idle
        ]
        with self.ledger.lock:
            environment.revision += 1
            self.ledger.save()
        proxy.switch(self.paths.environment(environment.name), environment.revision, ports)

    def close(self, environment: Environment) -> None:
        """Nobody answers for the environment any more; the proxy ends unless others share it."""
        proxy.switch(self.paths.environment(environment.name), 0, [])
        with self.ledger.lock:
            process, environment.proxy = environment.proxy, None
            if environment.host:
                proxy.leave(self.paths.front(environment.front), environment.place)
                environment.place = -1
                others = (e for e in self.ledger.state.environments.values() if e.front == environment.front)
                if not any(one.place >= 0 for one in others):
                    process = self.ledger.state.fronts[environment.front].proxy
                    self.ledger.state.fronts[environment.front].proxy = None
            self.ledger.save()
        if process is not None:
            stop(process, grace_s=STOP_GRACE_S)

    def url(self, environment: Environment) -> str:
        """Where people reach it; empty while it has no port."""
        if environment.host:
            return environment.public_url
        return f"http://{LOOPBACK}:{environment.port}" if environment.port else ""

    def process(self, environment: Environment) -> ProcessId | None:
        """The proxy that listens for an environment."""
        if not environment.host:
            return environment.proxy
        shared = self.ledger.state.fronts.get(environment.front)
        return shared.proxy if shared is not None else None

    def processes(self) -> list[ProcessId | None]:
        state = self.ledger.state
        return [*(f.proxy for f in state.fronts.values()), *(e.proxy for e in state.environments.values())]

    def _claim_place(self, environment: Environment, wanted: int, host: str, front: str) -> None:
        with self.ledger.lock:
            state = self.ledger.state
            shared = state.fronts.get(front)
            if shared is None:
                shared = state.fronts[front] = SharedFront(port=wanted or free_port())
            if wanted and wanted != shared.port:
                old, shared.port, shared.proxy = shared.proxy, wanted, None
                if old is not None:
                    stop(old, grace_s=STOP_GRACE_S)
                for other in state.environments.values():
                    if other.front == front:
                        other.port = wanted
            if not alive(shared.proxy) and not is_free(shared.port):
                raise _taken(front, shared.port)
            taken = {
                e.place for e in state.environments.values() if e.front == front and e is not environment
            }
            if environment.place < 0 or environment.place in taken:
                free = [place for place in range(proxy.PLACES_MAX) if place not in taken]
                if not free:
                    raise AkashicError(
                        f"{front} has {proxy.PLACES_MAX} environments already, which is the limit",
                        hint="akashic preview list shows them, akashic preview rm NAME removes one",
                    )
                environment.place = free[0]
            environment.port, environment.host, environment.front = shared.port, host, front
            folder = self.paths.environment(environment.name)
            proxy.join(self.paths.front(front), environment.place, folder, host)
            self.ledger.save()

    def _start(self, environment: Environment, name: str, folder: Path, config: Path) -> ProcessId:
        env = {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            MARK: f"{self.mark}/{name}/proxy",
        }
        argv = (proxy.find_caddy(), "run", "--config", str(config))
        process, _ = spawn(argv, env=env, cwd=str(folder), log=folder / "logs" / "proxy.log")
        return process


def shown(slot: Slot) -> int:
    """How many instances of a slot get traffic."""
    return sum(not instance.idle for instance in slot.instances)


def _taken(name: str, port: int) -> AkashicError:
    return AkashicError(
        f"port {port} of the environment {name} is taken by {holder(port)}",
        hint=f"stop it, or set environments.{name}.target.port to another port",
    )
