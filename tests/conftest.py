"""Fixtures are in plugins, one for each topic."""

pytest_plugins = [
    "tests.fix_signals",
    "tests.fix_anyio",
    "tests.fix_apps",
    "tests.fix_postgres",
    "tests.fix_schema",
    "tests.fix_item",
    "tests.fix_images",
    "tests.fix_broker",
    "tests.fix_proxy",
    "tests.fix_bridge",
    "tests.fix_worker",
    "tests.fix_pooler",
    "tests.fix_hostile",
    "tests.fix_operations",
    "tests.fix_package",
    "tests.django.fix_sending",
]
