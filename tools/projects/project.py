"""Project: one real project, how its own tests run, and the tables that are watched meanwhile."""

from typing import NamedTuple


class Project(NamedTuple):
    """A Django project or app in the package registry whose source distribution has its tests."""

    name: str
    version: str
    needs: tuple[str, ...]
    """Packages that its tests need."""
    settings: str
    """The module of its own settings for tests."""
    folder: str
    """The folder in which its tests are started."""
    command: tuple[str, ...]
    """The command that runs its tests, after `python`. "{settings}" is the module of the settings."""
    aliases: tuple[str, ...]
    """The databases that its tests use."""
    has_mirrors: bool
    """Whether the other databases are mirrors of the first in the tests. If not, each is a database of its own."""
    tables: tuple[str, ...]
    """The watched tables: five watches, each on a table and an operation or more."""
    task: str = "tasks.touch"
    """The task of the watches. Where the project has Celery, it is one of its own: a check warns of an unknown one."""
    extras: str = ""
    """Its extras that its tests need, in brackets."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables that its tests need."""

    @property
    def watches(self) -> list[dict[str, object]]:
        """The watches, as the setting BRIDGE_WATCHES has them."""
        return [
            {"name": f"watch{number}", "table": table, "task": self.task, "call": "event"}
            for number, table in enumerate(self.tables)
        ]


PROJECTS = (
    Project(
        name="django-ca",
        version="3.2.0",
        needs=(
            "python-pkcs11",
            "django-webtest",
            "freezegun",
            "gitpython",
            "jinja2",
            "pyopenssl",
            "pyrfc3339",
            "pytest",
            "pytest-cov",
            "pytest-django",
            "pytest-env",
            "pytest-freezer",
            "pytest-random-order",
            "pyvirtualdisplay",
            "requests-mock",
            "selenium",
            "semantic-version",
            "tabulate",
            "termcolor",
            "rich",
        ),
        extras="[api,celery,redis,yaml]",
        settings="ca.test_settings",
        folder="ca",
        # Its tests need the plugin for coverage, but not the coverage. They skip what needs hardware or a browser.
        command=(
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            "-o",
            "env=COLUMNS=80",
            "--cov",
            "--no-cov",
            "--no-hsm",
            "--no-selenium",
            "--ds={settings}",
            "django_ca/tests",
        ),
        aliases=("default",),
        has_mirrors=False,
        tables=(
            "django_ca_certificateauthority",
            "django_ca_certificate",
            "django_ca_acmeaccount",
            "django_ca_acmeorder",
            "auth_user",
        ),
        task="django_ca.tasks.generate_crl",
    ),
    Project(
        name="django-celery-results",
        version="2.6.0",
        needs=("pytest<8", "pytest-django", "pytest-benchmark", "pytz", "setuptools"),
        settings="t.proj.settings",
        folder=".",
        command=("-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds={settings}", "--benchmark-skip", "t"),
        aliases=("default", "secondary", "read-only"),
        has_mirrors=True,
        tables=(
            "django_celery_results_taskresult",
            "django_celery_results_chordcounter",
            "django_celery_results_groupresult",
            "auth_user",
            "django_session",
        ),
    ),
    Project(
        name="django-guardian",
        version="3.5.2",
        needs=("django-environ",),
        settings="guardian.testapp.testsettings",
        folder=".",
        command=("manage.py", "test", "--settings={settings}", "--noinput", "guardian"),
        aliases=("default",),
        has_mirrors=False,
        tables=(
            "guardian_userobjectpermission",
            "guardian_groupobjectpermission",
            "auth_group",
            "auth_permission",
            "testapp_project",
        ),
    ),
    Project(
        name="django-treebeard",
        version="7.0.3",
        needs=("pytest", "pytest-django", "setuptools"),
        settings="tests.settings",
        folder=".",
        # -c: its pyproject.toml has no section for pytest, so pytest would look above for one, and find ours.
        command=("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--ds={settings}", "tests"),
        aliases=("default",),
        has_mirrors=False,
        tables=(
            "tests_mp_testnode",
            "tests_ns_testnode",
            "tests_al_testnode",
            "tests_mp_testnodesorted",
            "auth_user",
        ),
        variables=(("DATABASE_ENGINE", "psql"),),
    ),
    Project(
        name="django-reversion",
        version="6.4.0",
        needs=(),
        settings="test_project.settings",
        folder="tests",
        command=("manage.py", "test", "--settings={settings}", "--noinput"),
        aliases=("default", "postgres", "mysql"),
        has_mirrors=False,
        tables=(
            "reversion_revision",
            "reversion_version",
            "test_app_testmodel",
            "auth_user",
            "test_app_testmodelrelated",
        ),
    ),
)
