"""pgcli: its queries for completion, and its own backslash commands."""

import subprocess
import pathlib
import sys

from pgcli.pgexecute import PGExecute

from checks import *


def executor(user):
    return PGExecute("weir", user, "demo", HOST, PORT, None)


@feature("completion: schemas, tables, columns, functions, types")
def completion():
    tara, nora = executor("tara"), executor("nora")
    contains(list(tara.schemata()), "retail")
    lacks(list(tara.schemata()), "tpch")
    equal(list(tara.tables()), [("retail", "customer_purchases")])
    equal(list(nora.tables()), [])
    equal([column[2] for column in tara.table_columns() if column[0] == "retail"], COLUMNS)
    equal(list(nora.table_columns()), [])
    for listing in ("views", "view_columns", "databases", "foreignkeys", "functions", "datatypes"):
        list(getattr(tara, listing)())
    equal(list(tara.databases()), ["weir"])
    tara.search_path()
    tara.full_databases()


@feature("backslash commands and statements, each user with her own rows")
def commands():
    for user, expected in DEPARTMENTS.items():
        results = list(executor(user).run(f"select distinct department from {UNSEEN} order by 1"))
        equal([department for (department,) in results[0][1]], expected)
    from pgspecial.main import PGSpecial

    for command in [r"\d", r"\dt *.*", r"\dn", r"\du", r"\l", r"\df", r"\dv", r"\d retail.customer_purchases", r"\dT", r"\dx", r"\di"]:
        for title, rows, headers, status, *_ in executor("tara").run(command, PGSpecial()):
            list(rows or [])


@feature("the program itself")
def program():
    sql = f"select count(distinct department) as departments from {UNSEEN}"
    for user, expected in DEPARTMENTS.items():
        ran = subprocess.run(
            [pathlib.Path(sys.executable).parent / "pgcli", "--less-chatty", uri(user), "-c", sql],
            capture_output=True, text=True, env={**os.environ, "TERM": "dumb", "PAGER": "cat", "HOME": "/nonexistent"},
        )
        contains(ran.stdout, f"| {len(expected)} ")


main()
