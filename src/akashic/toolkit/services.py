"""All services of a run behind one origin, and what a job is told of them.

The server starts when the first job asks, in threads of this process, and ends with the run. Which requests
need what stands in one table below; what is not in it is not there.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from akashic.actions.scopes import cache_scopes
from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.caches import CacheStore
from akashic.toolkit import artifacts, caches
from akashic.toolkit.artifacts_rest import ArtifactRest
from akashic.toolkit.blobs import Blobs, error_response
from akashic.toolkit.fields import Fields, json_response
from akashic.toolkit.http import HttpError, Request, Response
from akashic.toolkit.keys import SigningKey, load_or_make
from akashic.toolkit.oidc import discovery, id_token, job_claims, wants_tokens
from akashic.toolkit.server import HttpServer
from akashic.toolkit.tokens import JobGrant, Tokens

LOOPBACK = "127.0.0.1"
TOKEN_MARGIN_S = 3600.0


class JobServices:
    """What one job was given: variables for its steps, good until `close`."""

    def __init__(self, services: Services, grant: JobGrant, origin: str) -> None:
        self._services = services
        self._grant = grant
        runtime = services.tokens.issue(grant, "results")
        self._script: dict[str, str] = {}
        if grant.claims is not None:
            self._script = {
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{origin}/idtoken/{grant.id}?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": services.tokens.issue(grant, "id-token"),
            }
        self._action = {
            "ACTIONS_RUNTIME_URL": f"{origin}/",
            "ACTIONS_RUNTIME_TOKEN": runtime,
            "ACTIONS_RESULTS_URL": f"{origin}/",
            "ACTIONS_CACHE_URL": f"{origin}/",
            "ACTIONS_CACHE_SERVICE_V2": "True",
            **self._script,
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens, to be masked."""
        return tuple(value for name, value in self._action.items() if name.endswith("_TOKEN"))

    def action_variables(self) -> dict[str, str]:
        """For the process of a JavaScript or Docker action, as GitHub's runner sets them."""
        return dict(self._action)

    def script_variables(self) -> dict[str, str]:
        """For a `run:` step: how to get an ID token, where the job may."""
        return dict(self._script)

    def close(self) -> None:
        """The job has ended: its tokens are worth nothing, and what it did not finish is gone."""
        self._services.close_job(self._grant)


class Services:
    """The services of one run. `issuer` is what ID tokens say made them; empty is the origin itself, which
    only relying parties on this machine can reach. Thread-safe."""

    def __init__(
        self,
        *,
        artifact_store: ArtifactStore,
        cache_store: CacheStore,
        key_path: Path,
        now: Callable[[], float],
        issuer: str = "",
    ) -> None:
        self.tokens = Tokens(now=now)
        self._now = now
        self._key_path = key_path
        self._issuer = issuer.rstrip("/")
        self._key: SigningKey | None = None
        self._key_lock = threading.Lock()
        self._blobs = Blobs(self.tokens)
        self._artifacts = artifacts.ArtifactService(artifact_store, self._blobs)
        self._rest = ArtifactRest(artifact_store)
        self._caches = caches.CacheService(cache_store, self._blobs)
        self._server = HttpServer(self._answer, self._error)

    def open_job(self, request: JobRequest, address: str = LOOPBACK) -> JobServices:
        """Let a job in. `address` is the address of this machine that its processes reach it by: a container
        reaches the gateway of its network, never loopback. Raises AkashicError."""
        claims, refusal = None, ""
        if wants_tokens(request):
            try:
                claims = job_claims(request)
            except AkashicError as error:
                claims, refusal = {}, error.message
        origin = self._server.listen(address)
        grant = JobGrant(
            id=_backend_id(f"{request.run_id}\n{request.attempt}\n{request.key}"),
            run_backend_id=_backend_id(request.run_id),
            run_id=request.run_id,
            workflow_run_id=str(request.github.get("run_id") or request.run_id),
            run_attempt=request.run_attempt,
            job_key=request.key,
            scopes=cache_scopes(request.github, request.trust, request.base_ref_scope),
            expires_at=self._now() + request.timeout_s + TOKEN_MARGIN_S,
            claims=claims,
            refusal=refusal,
        )
        self.tokens.open(grant)
        return JobServices(self, grant, origin)

    def close_job(self, grant: JobGrant) -> None:
        """See `JobServices.close`."""
        self.tokens.close(grant)
        for part in (self._artifacts, self._rest, self._caches, self._blobs):
            part.close(grant)

    def close(self) -> None:
        """The run has ended."""
        self._server.close()

    def _answer(self, request: Request) -> Response:
        try:
            return self._handle(request)
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            raise HttpError(507, f"the content cannot be kept: {error.strerror}", "internal") from error
        except HttpError:
            raise
        except AkashicError as error:
            raise HttpError(400, f"{error.message}\n{error.hint}".strip(), "invalid_argument") from error

    def _handle(self, request: Request) -> Response:
        match request.method, request.parts:
            case _, ("blob", _, _):
                return self._blobs.handle(request)
            case "POST", ("twirp", service, method):
                return self._twirp(request, service, method)
            case _, ("_apis", "pipelines", "workflows", _, "artifacts"):
                return self._rest.artifacts(request, self._grant(request))
            case _, ("_apis", "resources", "containers", _):
                return self._rest.containers(request, self._grant(request))
            case _, ("_apis", "artifactcache", *_):
                return self._caches.handle(request, self._grant(request))
            case "GET", ("idtoken", grant_id):
                return self._id_token(request, grant_id)
            case "GET", (".well-known", "openid-configuration"):
                return json_response(discovery(self._issuer or request.origin))
            case "GET", (".well-known", "jwks"):
                return json_response(self._signing_key().jwks())
        raise HttpError(404, "there is nothing at this path", "bad_route")

    def _grant(self, request: Request) -> JobGrant:
        return self.tokens.grant_of(request.headers, "results")

    def _twirp(self, request: Request, service: str, method: str) -> Response:
        grant = self._grant(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HttpError(404, f"unexpected Content-Type: {kind[:80]!r}", "bad_route")
        fields = Fields.of(request)
        if service == artifacts.SERVICE:
            return json_response(self._artifacts.call(method, fields, grant, request.origin))
        if service == caches.SERVICE:
            return json_response(self._caches.call(method, fields, grant, request.origin))
        raise HttpError(404, "there is no such service", "bad_route")

    def _id_token(self, request: Request, grant_id: str) -> Response:
        grant = self.tokens.grant_of(request.headers, "id-token")
        if grant.claims is None or grant.id != grant_id or grant.refusal:
            raise HttpError(403, grant.refusal or "this job may not have ID tokens", "permission_denied")
        value = id_token(
            self._signing_key(),
            grant.claims,
            issuer=self._issuer or request.origin,
            audience=request.query.get("audience", ""),
            now=self._now(),
        )
        return json_response({"count": len(value), "value": value})

    def _signing_key(self) -> SigningKey:
        with self._key_lock:
            if self._key is None:
                self._key = load_or_make(self._key_path)
            return self._key

    def _error(self, request: Request | None, error: HttpError) -> Response:
        if request is not None and request.parts[0] == "blob":
            return error_response(request, error)
        body = {"code": error.code or "internal", "msg": error.message, "message": error.message}
        if error.code == "already_exists":
            # BuildKit's cache knows by this that somebody else was faster, which is no error to it.
            body["typeKey"] = "ArtifactCacheItemAlreadyExistsException"
        return json_response(body, error.status)


def _backend_id(text: str) -> str:
    """A name in the shape of GitHub's: no space and no colon, which would end it inside of a token."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
