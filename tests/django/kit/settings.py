"""Settings of the sample project that tries the testing kit: the shop with more watches."""

import os
from pathlib import Path

from shop.settings import *  # noqa: F403 - as settings of one project for several occasions are usually written
from shop.settings import DATABASES, database

_SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
if other := os.environ.get("KIT_OTHER"):
    DATABASES["other"] = database(os.environ["SHOP_DATABASE_URL"]) | {"TEST": {"NAME": other}}
DATABASES["file"] = _SQLITE

if os.environ.get("KIT_SQLITE"):
    DATABASES["default"] = _SQLITE
    BRIDGE_TEST_SQLITE = os.environ["KIT_SQLITE"]

BRIDGE_TEST_TRIGGERS = os.environ.get("KIT_TRIGGERS", "1") == "1"
CELERY_IMPORTS = ["tests.django.kit.tasks"]
FIXTURE_DIRS = [Path(__file__).parent / "fixtures"]
BRIDGE_WATCHES = [
    {
        "name": "offer.stock",
        "table": "catalog_offer",
        "task": "kit.restock",
        "on": ["update"],
        "columns": ["stock"],
        "data": ["stock", "price"],
        "call": "event",
    },
    {"name": "product.named", "table": "catalog_product", "task": "kit.note", "on": ["insert"], "stream": "notes"},
    {
        "name": "legacy.loop",
        "table": "catalog_legacyproduct",
        "task": "kit.loop",
        "on": ["update"],
        "columns": ["price"],
    },
    {
        "name": "legacy.ping",
        "table": "catalog_legacyproduct",
        "task": "kit.ping",
        "on": ["update"],
        "columns": ["name"],
    },
    {
        "name": "legacy.pong",
        "table": "catalog_legacyoffer",
        "task": "kit.pong",
        "on": ["update"],
        "key": ["product_id"],
    },
    {
        "name": "offer.index",
        "table": "catalog_offer",
        "task": "kit.index",
        "on": ["update"],
        "columns": ["channel"],
        "coalesce": True,
    },
    {
        "name": "run.failed",
        "table": "catalog_taskrun",
        "task": "kit.fail",
        "on": ["insert"],
        "key": ["task"],
        "when": "new.task like 'fail%'",
    },
    {"name": "run.priced", "table": "catalog_taskrun", "task": "kit.price", "on": ["delete"], "key": ["price_seen"]},
    {"name": "run.typo", "table": "catalog_taskrun", "task": "kit.nots", "on": ["update"]},
    {"name": "nowhere", "table": "catalog_nowhere", "task": "kit.nowhere"},
]
