"""Docker actions: an image that is pulled or built, and a container of it for `pre`, `main` and `post` each.

Source: GitHub's "Metadata syntax" (`runs` for Docker container actions), "Workflow syntax"
(`steps[*].with.args`, `with.entrypoint`, `uses: docker://`), "Dockerfile support for GitHub Actions"; where
they are silent, GitHub's runner: the container sees the workspace, HOME, the event and the environment files
below `/github`, and of the job's environment what the workflow and the runner set, not what the machine has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from akashic.engine.requests import Conclusion
from akashic.errors import AkashicError
from akashic.executors.protocol import Capabilities, ExitStatus, Sandbox, Unsupported
from akashic.executors.without_images import CONTAINER_EXECUTORS
from akashic.runner.actions.arguments import split_arguments
from akashic.runner.actions.inputs import action_inputs, input_variables, with_inputs
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.actions.stages import condition_text, saved_state, state_variables, title
from akashic.runner.calls import Body, Call
from akashic.runner.services import action_variables
from akashic.runner.state import JobState, LaterStep
from akashic.source.position import Position
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Step, Template

DOCKER = "docker://"
_STOPPED = ExitStatus(code=130, cancelled=True)
"""How the making of an image ends when the step's time is over, or somebody ends the run."""
_NOT_IN_IMAGES = ("AKASHIC_STATE", "AKASHIC_ROOT")
"""Folders of this machine, which no action's container sees."""


def refuse_docker(actions: Iterable[ResolvedAction], capabilities: Capabilities) -> None:
    """Say before anything starts that an action needs a container where none can run. Raises Unsupported."""
    if capabilities.docker_actions:
        return
    for action in actions:
        if action.metadata is not None and action.metadata.runs.using == "docker":
            raise _no_docker(action.uses, capabilities.name)


def _no_docker(uses: str, executor: str) -> Unsupported:
    return Unsupported(
        f"uses: '{uses}' runs in a container, which the executor '{executor}' cannot do",
        hint=f"Executors that can: {CONTAINER_EXECUTORS}. For example: akashic run --executor docker",
    )


def image_steps(state: JobState) -> Iterator[tuple[Step, Body]]:
    """The steps that pull and build what the job's actions need, each image once, in the order of use."""
    done: set[str] = set()
    for action in list(state.actions.values()):
        if action.metadata is None or action.metadata.runs.using != "docker":
            continue
        image = action.metadata.runs.image
        pulled = image.startswith(DOCKER)
        key = image if pulled else f"{action.folder}/{image}"
        if key in done:
            continue
        done.add(key)
        name = f"Pull {image.removeprefix(DOCKER)}" if pulled else f"Build {action.uses}"
        here = Position(state.request.workflow_path)
        # With an id of its own: the names of the user's steps are counted without it.
        step = Step(index=-1, position=here, id="__image", name=Template(name, here))
        yield step, _obtaining(action)


def _obtaining(action: ResolvedAction) -> Body:
    def body(call: Call) -> Conclusion:
        return "success" if _image(call, action) else call.conclude(_STOPPED)

    return body


def run_docker(call: Call, action: ResolvedAction, given: Mapping[str, str]) -> Conclusion:
    """Run the main part, and leave the post part for the end of the job. Raises AkashicError."""
    assert action.metadata is not None
    runs = action.metadata.runs
    inputs = action_inputs(call, action.metadata, given, strict=bool(action.name))
    saved = saved_state(call.state, call.frame, call.step)
    if runs.post_entrypoint:
        body = docker_part(action, runs.post_entrypoint, inputs, saved)
        later = LaterStep(
            call.step, title(call.step, call.name), condition_text(runs.post_if), call.frame, body
        )
        with call.state.lock:
            call.state.posts.append(later)
    # The metadata's entrypoint wins: the input is for actions that say nothing themselves.
    return _run(call, action, runs.entrypoint or inputs.get("entrypoint", ""), inputs, saved)


def docker_part(
    action: ResolvedAction, entrypoint: str, inputs: Mapping[str, str] | None, saved: dict[str, str]
) -> Body:
    """The body of a pre or post step; see `with_inputs`."""
    return with_inputs(action, inputs, lambda call, values: _run(call, action, entrypoint, values, saved))


def _run(
    call: Call, action: ResolvedAction, entrypoint: str, inputs: Mapping[str, str], saved: dict[str, str]
) -> Conclusion:
    image = _image(call, action)
    if not image:
        return call.conclude(_STOPPED)
    sandbox = call.state.sandbox
    call.job_path = lambda path: job_path(sandbox, path)
    call.github = {
        **call.github,
        "action_repository": "/".join(action.name.split("/")[:2]) if action.ref else "",
        "action_ref": action.ref,
    }
    scope = Scope(contexts={**call.scope.contexts, "inputs": inputs}, hash_files=call.scope.hash_files)
    args = _arguments(action, inputs, scope)
    env = _environment(call, action, inputs, saved, scope)
    status = call.follow(
        lambda on_output: sandbox.run_image(
            image,
            entrypoint=entrypoint or None,
            args=args,
            env=env,
            on_output=on_output,
            cancellation=call.cancellation,
            timeout_s=call.timeout_s,
        )
    )
    saved.update(call.effects.state)
    return call.conclude(status)


def _arguments(action: ResolvedAction, inputs: Mapping[str, str], scope: Scope) -> list[str]:
    assert action.metadata is not None
    template = action.metadata.runs.args
    if template is None:
        return split_arguments(inputs.get("args", ""))
    values = interpolate(template.value, scope, template.position)
    if not isinstance(values, list):
        raise AkashicError(f"{template.position}: args: expected a list")
    return [to_string(value) for value in values]


def _environment(
    call: Call, action: ResolvedAction, inputs: Mapping[str, str], saved: Mapping[str, str], scope: Scope
) -> dict[str, str]:
    """What the container gets on top of its image's variables. The action's own `env` yields to the
    step's."""
    assert action.metadata is not None
    state = call.state
    own = _evaluated(action.metadata.runs.env, scope)
    variables = call.process_env(
        input_variables(inputs)
        | state_variables(saved)
        | action_variables(call)
        | {"HOME": state.sandbox.home},
        base={"CI": "true", **state.parts.extra_env, **own},
    )
    for name in (*_NOT_IN_IMAGES, "GITHUB_ACTION_PATH"):
        variables.pop(name, None)
    return {name: state.sandbox.image_path(value) for name, value in variables.items()}


def _evaluated(template: Template | None, scope: Scope) -> dict[str, str]:
    if template is None:
        return {}
    values = interpolate(template.value, scope, template.position)
    if not isinstance(values, Mapping):
        raise AkashicError(f"{template.position}: env: expected a mapping")
    return {str(name): to_string(value) for name, value in values.items()}


def _image(call: Call, action: ResolvedAction) -> str:
    """The action's image on the engine; pulled or built now when that has not been done before the job's
    first step, as for a local action. Empty when the step was ended in the middle of that."""
    assert action.metadata is not None
    state = call.state
    wanted = action.metadata.runs.image
    key = wanted if wanted.startswith(DOCKER) else f"{action.folder}/{wanted}"
    known = state.images.get(key)
    if known is not None:
        return known
    try:
        image = _obtain(call, action)
    except AkashicError:
        if call.cancellation.is_set():
            return ""
        raise
    call.output.finish()
    call.say("##[endgroup]")
    state.images[key] = image
    return image


def _obtain(call: Call, action: ResolvedAction) -> str:
    assert action.metadata is not None
    state = call.state
    wanted = action.metadata.runs.image
    if wanted.startswith(DOCKER):
        image = state.parts.actions.pinned_image(wanted.removeprefix(DOCKER))
        call.say(f"##[group]Pull {image}")
        state.sandbox.pull_image(image, on_output=call.output.feed, cancellation=call.cancellation)
    else:
        dockerfile = _dockerfile(action, wanted)
        call.say(f"##[group]Building docker image\nDockerfile for action: '{action.uses}/{wanted}'.")
        image = state.sandbox.build_image(
            str(dockerfile.parent),
            dockerfile.name,
            on_output=call.output.feed,
            cancellation=call.cancellation,
        )
    return image


def _dockerfile(action: ResolvedAction, wanted: str) -> Path:
    """The action's Dockerfile on this machine; the folder that it lies in is what the build sees."""
    assert action.folder is not None
    name = wanted.rpartition("/")[2].lower()
    if not (name.endswith("dockerfile") or name.startswith("dockerfile.")):
        raise AkashicError(
            f"{action.uses}: image: '{wanted}' should be either '[path]/Dockerfile' or 'docker://image[:tag]'"
        )
    path = action.folder / wanted
    root = action.repository_folder or action.workspace_folder or action.folder
    if not path.is_file():
        raise AkashicError(f"{action.uses}: there is no '{wanted}', which `runs.image` names")
    # What is looked at is what is built: a step that runs beside this one may change links.
    path = path.resolve()
    if not path.is_relative_to(root.resolve()):
        raise AkashicError(f"{action.uses}: '{wanted}' leaves the action's repository")
    return path


def job_path(sandbox: Sandbox, path: str) -> str:
    """The job's path of a file that a process of `run_image` sees at `path`."""
    for folder in (sandbox.workspace, sandbox.home, sandbox.temp):
        inside = sandbox.image_path(folder)
        if path == inside or path.startswith(f"{inside}/"):
            return folder + path[len(inside) :]
    return path
