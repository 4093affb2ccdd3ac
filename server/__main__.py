"""The `machineavatars` command: serve | doctor | migrate | openapi | wire | demo | models list, pull, verify."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

import uvloop
from pydantic import ValidationError

from pipelines.models.fetch import FetchFailed
from pipelines.models.store import ModelMissing, Progress, UnknownModel
from server.app import CannotStart, print_line, serve
from server.compose import demo_chatbot, model_store
from server.doctor.findings import Finding, document, failed, healthy, line, summary
from server.doctor.report import findings
from server.gateway import openapi
from server.infra.clock import SystemClock
from server.infra.db import NotDurable, Unreachable, migrate
from server.infra.secrets import NoSecretKey
from server.settings import Settings, unknown_variables
from server.shape import shape
from server.telemetry import configure_logs
from server.wire import json_schema


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What a person can mend is said in one line on standard error."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        run: Callable[..., int] = chosen.run
        if run is _doctor:
            return run(chosen)
        settings = Settings()
        configure_logs(settings.log_level, settings.log_format)
        return run(settings, chosen)
    except ValidationError as error:
        for problem in _problems(error):
            _complain(problem)
        return 2
    except (
        CannotStart,
        ModelMissing,
        UnknownModel,
        FetchFailed,
        NoSecretKey,
        NotDurable,
        Unreachable,
        ValueError,
    ) as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="machineavatars", description="Open realtime avatar chat server.")
    parser.add_argument("--version", action="version", version=version("machineavatars"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int], what: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what)
        sub.set_defaults(run=run)
        return sub

    serving = command("serve", _serve, "migrate the database and run the server with everything embedded")
    serving.add_argument(
        "--only", default="", metavar="ROWS", help="serve these rows of the catalogue behind a gateway"
    )
    serving.add_argument("--port", type=int, help="instead of MA_PORT, or of the row's own port")
    doctor = command("doctor", _doctor, "look at everything that a server needs here, and say how to mend it")
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument("--quick", action="store_true", help="start no process and ask no model")
    migrating = command("migrate", _migrate, "bring the database to the newest schema")
    migrating.add_argument(
        "--down", metavar="REVISION", help="back to an older schema; what only newer ones hold is lost"
    )
    command("demo", _demo, "make sure that the published demo chatbot exists, and print its id")
    command("wire", _wire, "print the JSON Schema of the websocket events")
    described = command("openapi", _openapi, "print the OpenAPI document")
    described.add_argument("--dialect", choices=["3.0", "3.1"], default="3.0")
    models = commands.add_parser("models", help="list, pull or verify the models").add_subparsers(required=True)
    listing = models.add_parser("list", help="what there is and what is installed")
    listing.set_defaults(run=_models_list)
    pull = models.add_parser("pull", help="fetch models; without names, those that the default configuration needs")
    pull.add_argument("names", nargs="*", metavar="NAME")
    pull.set_defaults(run=_models_pull)
    verify = models.add_parser("verify", help="read every installed model and compare its checksum")
    verify.set_defaults(run=_models_verify)
    return parser


def _serve(settings: Settings, chosen: argparse.Namespace) -> int:
    form = shape(settings, [name for name in chosen.only.split(",") if name])
    if chosen.port is not None and not form.alone:
        settings = settings.model_copy(update={"port": chosen.port})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, print_line, form, chosen.port))
    return 0


def _doctor(chosen: argparse.Namespace) -> int:
    """Reads the settings itself: a wrong one is a finding."""
    found = asyncio.run(_examined(chosen))
    print_line(document(found) if chosen.json else f"\n{summary(found)}")
    return 0 if healthy(found) else 1


async def _examined(chosen: argparse.Namespace) -> list[Finding]:
    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not chosen.json:
            print_line(line(finding))

    try:
        settings = Settings()
    except ValidationError as error:
        for problem in _problems(error):
            tell(failed("settings", problem, "correct this variable; README.md lists all settings"))
        return found
    configure_logs("error", settings.log_format)
    async for finding in findings(settings, SystemClock(), unknown=unknown_variables(), quick=chosen.quick):
        tell(finding)
    return found


def _problems(error: ValidationError) -> list[str]:
    return [
        f"MA_{'__'.join(str(part).upper() for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    ]


def _migrate(settings: Settings, chosen: argparse.Namespace) -> int:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(migrate(settings.database, chosen.down or "head", down=chosen.down is not None))
    print_line(f"The database is at {chosen.down}." if chosen.down else "The database is up to date.")
    return 0


def _demo(settings: Settings, _: argparse.Namespace) -> int:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    print_line(asyncio.run(demo_chatbot(settings)))
    return 0


def _wire(_: Settings, __: argparse.Namespace) -> int:
    print_line(json.dumps(json_schema(), indent=2))
    return 0


def _openapi(settings: Settings, chosen: argparse.Namespace) -> int:
    document = openapi(version=version("machineavatars"), origin=settings.origin, dialect=chosen.dialect)
    print_line(json.dumps(document, indent=2))
    return 0


def _models_list(settings: Settings, _: argparse.Namespace) -> int:
    store = model_store(settings)
    for entry in store.entries():
        state = "installed" if store.present(entry.name) else "default" if entry.default else ""
        print_line(f"{entry.name:28} {entry.size / 1e6:7.0f} MB  {state:10} {entry.purpose} ({entry.licence})")
    return 0


def _models_pull(settings: Settings, chosen: argparse.Namespace) -> int:
    last: dict[str, str] = {}

    def show(progress: Progress) -> None:
        line = f"{progress.name}: {progress.stage}"
        if progress.total:
            line += f" {progress.done * 10 // progress.total * 10} %"
        if last.get(progress.name) != line and progress.stage != "present":
            last[progress.name] = line
            print_line(f"  {line}")

    model_store(settings).pull(chosen.names or None, show)
    return 0


def _models_verify(settings: Settings, _: argparse.Namespace) -> int:
    checks = list(model_store(settings).verify())
    for check in checks:
        print_line(f"{check.name:28} {check.state} {check.detail}".rstrip())
    return 1 if any(check.state == "damaged" for check in checks) else 0


def _complain(text: str) -> None:
    sys.stderr.write(f"machineavatars: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
