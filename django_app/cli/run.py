"""The command `manage.py bridge run`."""

from typing import Any

import click

from bridge.cli.run import run as serve
from django_app.cli.develop import develop
from django_app.project import why_no_app


@click.command(
    "run",
    help=serve.help,
    params=[
        *serve.params,
        click.Option(
            ["--worker"],
            is_flag=True,
            help="For development: also run a Celery worker, and start both again when code changes.",
        ),
    ],
)
@click.pass_context
def run(context: click.Context, /, worker: bool, **options: Any) -> None:
    """Runs the bridge with the project's settings."""
    app = options["celery_app"]
    if worker and not app:
        raise click.ClickException(f"a worker needs the app: {why_no_app()}")
    if not app and not options["broker_url"]:
        raise click.ClickException(f"no broker: {why_no_app()}, or give --broker-url")
    if worker:
        develop(app)
    else:
        context.invoke(serve, **options)
