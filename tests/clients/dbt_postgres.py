"""dbt-postgres: a project of ephemeral models, its sources and its tests."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from checks import *

PROJECT = pathlib.Path(__file__).parent / "dbt"


def dbt(user, *args, succeeds=True):
    with tempfile.TemporaryDirectory() as target:
        environment = {
            **os.environ, "WEIR_USER": user, "DBT_PROFILES_DIR": str(PROJECT), "DBT_TARGET_PATH": target,
            "DBT_LOG_PATH": target, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        program = pathlib.Path(sys.executable).parent / "dbt"
        ran = subprocess.run(
            [program, "--no-use-colors", *args, "--project-dir", PROJECT], capture_output=True, text=True, env=environment
        )
        assert (ran.returncode == 0) == succeeds, ran
        return ran.stdout


def shown(user, select):
    out = dbt(user, "--quiet", "show", "--select", select, "--output", "json", "--limit", "50")
    return json.loads(out[out.index("{"):])["show"]


@feature("`dbt debug`, `dbt compile`")
def debug():
    contains(dbt("tara", "debug"), "All checks passed!")
    contains(dbt("tara", "compile", "--select", "by_department"), "from __dbt__cte__purchases")


@feature("`dbt show` of models, each user with her own rows")
def show():
    equal(sorted(row["department"] for row in shown("tara", "by_department")), DEPARTMENTS["tara"])
    contains(dbt("nora", "show", "--select", "by_department", succeeds=False), "does not exist")


@feature("`dbt test` of sources")
def test():
    contains(dbt("tara", "test", "--select", "source:retail"), "PASS=2")


@feature("`dbt docs generate`")
def docs():
    contains(dbt("tara", "docs", "generate"), "Catalog written")


main()
