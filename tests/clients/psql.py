"""psql: its backslash commands, output formats, variables, cursors."""

import subprocess

from checks import *


def psql(user, *commands, status=0, args=()):
    conninfo = f"host={HOST} port={PORT} dbname={DATABASE} user={user} password={PASSWORD}"
    lines = [part for command in commands for part in ("-c", command)]
    ran = subprocess.run(
        ["psql", conninfo, "--no-psqlrc", "--no-align", "--tuples-only", "-v", "ON_ERROR_STOP=1", *args, *lines],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "PAGER": "", "LC_ALL": "C.UTF-8"},
    )
    assert ran.returncode == status and (status or "ERROR" not in ran.stderr), f"{commands}: {ran}"
    return ran.stdout if status == 0 else ran.stderr


SAME_FOR_ALL = [
    r"\conninfo", r"\encoding", r"\da", r"\dA", r"\dAc", r"\dAf", r"\dAo", r"\dAp", r"\db", r"\dc", r"\dconfig",
    r"\dC", r"\dd", r"\dD", r"\ddp", r"\des", r"\deu", r"\dew", r"\dF", r"\dFd", r"\dFp", r"\dFt", r"\dL", r"\do",
    r"\dO", r"\drds", r"\dRp", r"\dRs", r"\dT", r"\dT+", r"\dx", r"\dX", r"\dy", r"\l", r"\l+", r"\dl", r"\df+ now",
    r"\sf now", r"\dt pg_catalog.*",
]
LISTINGS = [
    r"\d *.*", r"\d+ *.*", r"\dt *.*", r"\dt+ *.*", r"\dtvmsE *.*", r"\dn", r"\dn+", r"\dp *.*", r"\z *.*", r"\d", r"\dt",
    r"\dv *.*", r"\dm *.*", r"\di *.*", r"\ds *.*", r"\dE *.*", r"\det *.*", r"\dP *.*", r"\du", r"\du+", r"\dg",
]


@feature("listings by backslash commands")
def listings():
    for user in ["tara", "nora", "ana"]:
        for command in SAME_FOR_ALL + LISTINGS:
            # psql fails when it finds nothing.
            nothing = user == "nora" and command in (r"\d *.*", r"\d+ *.*")
            out = psql(user, command, status=1 if nothing else 0)
            if user != "tara":
                lacks(out, "customer_purchases")
            if user != "ana":
                lacks(out, "lineitem")
    for command in LISTINGS[2:5] + [r"\dp *.*", r"\z *.*"]:
        contains(psql("tara", command), "customer_purchases")
        contains(psql("ana", command), "lineitem")
    contains(psql("tara", r"\dn"), "retail|")
    contains(psql("tara", r"\du"), "tara|")
    lacks(psql("tara", r"\du"), "oona")
    contains(psql("tara", r"\l"), "weir|")
    contains(psql("tara", r"\df now"), "now")


@feature("a table in detail by `\\d` and `\\d+`")
def described():
    for command in [r"\d retail.customer_purchases", r"\d+ retail.customer_purchases"]:
        lines = psql("tara", command).splitlines()
        equal([line.split("|")[0] for line in lines][: len(COLUMNS)], COLUMNS)
        contains(lines[0], "id|bigint|")
    unseen = psql("nora", rf"\d {UNSEEN}", status=1)
    equal(psql("nora", rf"\d {MISSING}", status=1), unseen.replace(UNSEEN, MISSING))


@feature("each user sees her own rows")
def rows():
    for user, departments in DEPARTMENTS.items():
        equal(psql(user, f"select distinct department from {UNSEEN} order by 1").splitlines(), departments)
    unseen = psql("nora", f"select 1 from {UNSEEN}", status=1, args=["-v", "VERBOSITY=sqlstate"])
    contains(unseen, "42P01")
    equal(psql("nora", f"select 1 from {MISSING}", status=1, args=["-v", "VERBOSITY=sqlstate"]), unseen)


@feature("`\\gset`, `\\gdesc`, `\\gexec`, `\\crosstabview`")
def scripts():
    out = subprocess.run(
        ["psql", uri("tara"), "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"], text=True, capture_output=True,
        input=r"""
select 40 + 2 as n \gset
\echo :n
select 1 as a, 'x' as b \gdesc
select 'select ' || g.value from generate_series(1, 2) g \gexec
select 'a' as r, 'b' as c, 1 as v \crosstabview
""",
    )
    equal(out.stderr, "")
    contains(out.stdout, "42\n")
    contains(out.stdout, "a|bigint\nb|text\n")


@feature("cursors by `FETCH_COUNT`, transactions")
def cursors():
    sql = "select value from generate_series(1, 2500)"
    equal(len(psql("tara", sql, args=["-v", "FETCH_COUNT=1000"]).splitlines()), 2500)
    equal(psql("tara", "begin", "select 1", "commit"), "BEGIN\n1\nCOMMIT\n")


@feature("`pg_dump` is refused")
def dump():
    ran = subprocess.run(["pg_dump", "--schema-only", uri("oona")], capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stdout == "", ran
    contains(ran.stderr, "`pg_dump` is not supported")


main()
