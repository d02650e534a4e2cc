"""The supervisor's process: `python -m akashic.delivery.local.daemon STATE_FOLDER`, started by `client`.

It holds a lock for as long as it lives, so there is one for a state folder. It ends when it is asked to, or
on SIGTERM; then what it supervises goes on and is adopted by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from akashic.delivery.local import wire
from akashic.delivery.local.model import PrepareRequest
from akashic.delivery.local.processes import rotate
from akashic.delivery.local.supervisor import LOG_BYTES_MAX, WATCH_INTERVAL_S, Supervisor
from akashic.delivery.local.view import status_of
from akashic.errors import AkashicError

LOCK_NAME = "lock"


class Daemon:
    """Answers requests, each in a thread of its own, and watches in between."""

    def __init__(self, state_dir: Path) -> None:
        self.supervisor = Supervisor(state_dir)
        self.folder = self.supervisor.paths.supervisor
        self.ended = threading.Event()

    def serve(self) -> None:
        server = wire.listen(self.folder, self.supervisor.paths.socket_name)
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()
        while not self.ended.wait(WATCH_INTERVAL_S):
            try:
                self.supervisor.watch()
                rotate(self.supervisor.paths.log, LOG_BYTES_MAX)
            except Exception:
                # One bad look must not end the supervision of everything else.
                traceback.print_exc()
            if not self.folder.is_dir():
                # Nobody can ask for anything any more, so nobody could ever stop what runs.
                self.supervisor.abandon()
                return
        server.close()

    def _accept(self, server: socket.socket) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        def say(message: dict[str, Any]) -> None:
            # Who asked may be gone; what was asked for is carried out all the same.
            with contextlib.suppress(OSError):
                connection.sendall(msgspec.json.encode(message) + b"\n")

        with connection, connection.makefile("rb") as lines:
            if not wire.peer_allowed(connection):
                say({"error": "this supervisor belongs to another user"})
                return
            try:
                request = msgspec.json.decode(lines.readline(wire.LINE_BYTES_MAX), type=dict[str, Any])
                result = self._do(request, lambda text: say({"progress": text}))
                say({"result": msgspec.to_builtins(result)})
                if request.get("op") == "down":
                    # Only now: the process ends at once, and the answer must be out.
                    self.ended.set()
            except AkashicError as error:
                say({"error": error.message, "hint": error.hint})
            except msgspec.MsgspecError as error:
                say({"error": f"the request cannot be read: {error}"})
            except Exception as error:
                traceback.print_exc()
                say({"error": f"the supervisor failed: {type(error).__name__}: {error}"})

    def _do(self, request: dict[str, Any], progress: Any) -> Any:
        supervisor = self.supervisor
        match request:
            case {"op": "ping"}:
                return os.getpid()
            case {"op": "prepare", "key": str(key), "plan": plan}:
                return supervisor.prepare(msgspec.convert(plan, PrepareRequest), key, progress)
            case {"op": "apply", "key": str(key), "environment": str(name), "deployment": str(id_)}:
                return supervisor.apply(name, id_, key, progress)
            case {"op": "promote", "key": str(key), "environment": str(name), "deployment": str(id_)}:
                return supervisor.promote(name, id_, key, progress)
            case {
                "op": "rollback",
                "key": str(key),
                "environment": str(name),
                "deployment": str(id_),
                "previous": str(previous),
            }:
                return supervisor.rollback(name, id_, previous, key, progress)
            case {"op": "look_up", "key": str(key)}:
                return supervisor.look_up(key)
            case {"op": "cancel", "key": str(key)}:
                return supervisor.cancel(key)
            case {"op": "trouble", "environment": str(name), "deployment": str(id_)}:
                return supervisor.trouble(name, id_)
            case {"op": "status", "environment": str(name)}:
                return status_of(supervisor, name)
            case {"op": "stop", "environment": str(name)}:
                return supervisor.stop_environment(name, progress)
            case {"op": "remove", "environment": str(name)}:
                return supervisor.remove_environment(name, progress)
            case {"op": "down"}:
                supervisor.stop_all(progress)
                return None
        raise AkashicError(f"the supervisor does not know the request {request.get('op')!r}")


def main(state_dir: Path) -> int:
    """Serve until asked to end; 0 at once when another supervisor has the lock."""
    folder = state_dir / "supervisor"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0
    daemon = Daemon(state_dir)
    signal.signal(signal.SIGTERM, lambda *_: daemon.ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} supervising {state_dir}", flush=True)
    daemon.serve()
    return 0


if __name__ == "__main__":
    # What is left of the threads must not keep the process: their work is noted.
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)
