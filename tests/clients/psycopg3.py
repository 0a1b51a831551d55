"""psycopg 3."""

import datetime as dt
import threading
import uuid
from decimal import Decimal

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from checks import *


def connect(user, **more):
    return psycopg.connect(uri(user), **more)


def departments(connection):
    return [d for (d,) in connection.execute(f"select distinct department from {UNSEEN} order by 1")]


@feature("each user sees her own rows")
def rows():
    for user, expected in DEPARTMENTS.items():
        with connect(user) as connection:
            equal(departments(connection), expected)
    with connect("nora", autocommit=True) as nora:
        heard = []
        for table in (UNSEEN, MISSING):
            try:
                nora.execute(f"select * from {table}")
            except psycopg.errors.UndefinedTable as error:
                heard.append(error.diag.message_primary.replace(table, "T"))
        assert len(heard) == 2 and heard[0] == heard[1], heard


VALUES = [
    ("true", True), ("cast(-7 as smallint)", -7), ("cast(70000 as int)", 70000), ("9007199254740993", 9007199254740993),
    ("cast(1.5 as real)", 1.5), ("cast(0.1 as double precision)", 0.1),
    ("cast('12345.6789' as numeric(12, 4))", Decimal("12345.6789")), ("cast('-0.01' as numeric(38, 10))", Decimal("-0.0100000000")),
    ("'größe'", "größe"), ("decode('00ff10', 'hex')", b"\x00\xff\x10"), ("date '2024-02-29'", dt.date(2024, 2, 29)),
    ("cast('23:59:59.5' as time)", dt.time(23, 59, 59, 500000)),
    ("timestamp '2024-02-29 01:02:03.25'", dt.datetime(2024, 2, 29, 1, 2, 3, 250000)),
    ("cast('2024-02-29 01:02:03+00' as timestamptz)", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone.utc)),
    ("interval '3 days 4 hours'", dt.timedelta(days=3, hours=4)),
    ("array[1, 2, null]", [1, 2, None]), ("array['a', 'b c', 'NULL', '\"']", ["a", "b c", "NULL", '"']),
    ("array[cast('1.50' as numeric(5, 2))]", [Decimal("1.50")]), ("array[date '2024-02-29']", [dt.date(2024, 2, 29)]),
    ("named_struct('a', 1, 'b', 'x')", {"a": 1, "b": "x"}), ("null", None), ("cast(null as int)", None),
]


@feature("every type, text and binary")
def types():
    with connect("tara") as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                for expression, expected in VALUES:
                    got = cursor.execute(f"select {expression}").fetchone()[0]
                    assert got == expected and type(got) is type(expected), f"{expression}, {binary=}: {got!r}"


PARAMETERS = [
    True, -7, 70000, 2**40, 1.5, Decimal("12.50"), "größe", b"\x00\xff", dt.date(2024, 2, 29), dt.time(1, 2, 3),
    dt.datetime(2024, 2, 29, 1, 2, 3), dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone.utc),
    dt.timedelta(days=1, hours=2), uuid.UUID(int=7),
]
CASTS = {
    bool: "boolean", int: "bigint", float: "double precision", Decimal: "numeric(10, 2)", str: "text", bytes: "bytea",
    dt.date: "date", dt.time: "time", dt.datetime: "timestamp", dt.timedelta: "interval", uuid.UUID: "text",
}


@feature("parameters of every type, text and binary")
def parameters():
    with connect("tara") as connection:
        for value in PARAMETERS:
            for form in ("s", "b", "t"):
                aware = isinstance(value, dt.datetime) and value.tzinfo
                cast = "timestamptz" if aware else CASTS[type(value)]
                got = connection.execute(f"select %{form}::{cast}", [value]).fetchone()[0]
                expected = str(value) if isinstance(value, uuid.UUID) else value
                assert got == expected, f"%{form} {value!r}: {got!r}"
        equal(connection.execute("select %s::int", [None]).fetchone(), (None,))
        found = connection.execute(
            f"select count(*) from {UNSEEN} where department = %s and id > %s and purchase_date > %s",
            ["Toys", 0, dt.date(1990, 1, 1)],
        ).fetchone()[0]
        assert found > 0
        listed = connection.execute(f"select distinct department from {UNSEEN} where department = any(%s)", [["Toys", "Books"]])
        equal(listed.fetchall(), [("Toys",)])
        query = sql.SQL("select {} from {} limit 1").format(sql.Identifier("id"), sql.Identifier("retail", "customer_purchases"))
        equal(len(connection.execute(query).fetchall()), 1)


@feature("prepared statements, pipelines, `executemany`")
def prepared():
    with connect("tara", prepare_threshold=1) as connection:
        for n in range(5):
            equal(connection.execute("select %s::int8 + 1", [n], prepare=True).fetchone(), (n + 1,))
        with connection.pipeline():
            cursors = [connection.execute("select %s::int8", [n]) for n in range(3)]
        equal([c.fetchone()[0] for c in cursors], [0, 1, 2])
        with connection.cursor() as cursor:
            cursor.executemany("select %s::int8", [(1,), (2,)], returning=True)
            equal(cursor.fetchone(), (1,))


@feature("server-side cursors, transactions, settings")
def cursors():
    with connect("tara") as connection:
        with connection.cursor("c") as cursor:
            cursor.itersize = 100
            cursor.execute("select value from generate_series(1, 1000)")
            equal(sum(v for (v,) in cursor), 500500)
        connection.rollback()
        with connection.transaction():
            equal(connection.execute("select 1").fetchone(), (1,))
        equal(connection.execute("show server_version").fetchone()[0].split()[0], "15.0")
        connection.execute("set timezone to 'Europe/Berlin'")
        equal(connection.info.timezone.key, "Europe/Berlin")
        connection.commit()
    assert connect("tara", options="-c statement_timeout=5000 -c application_name=x").execute("show statement_timeout").fetchone()


@feature("errors with their SQLSTATE")
def errors():
    expected = {
        "select nothing from retail.customer_purchases": psycopg.errors.UndefinedColumn,
        "select no_such_function(1)": psycopg.errors.UndefinedFunction,
        "select pg_catalog.no_such_function(1)": psycopg.errors.UndefinedFunction,
        "selec 1": psycopg.errors.SyntaxError,
        "select 1 / 0": psycopg.errors.DivisionByZero,
        "select cast('x' as int)": psycopg.errors.InvalidTextRepresentation,
        "select id, count(*) from retail.customer_purchases": psycopg.errors.GroupingError,
        "select id from retail.customer_purchases a, retail.customer_purchases b": psycopg.errors.AmbiguousColumn,
        "delete from retail.customer_purchases": psycopg.errors.FeatureNotSupported,
        "show no_such_setting": psycopg.errors.UndefinedObject,
        "set role oona": psycopg.errors.FeatureNotSupported,
        "select 'x'::no_such_type": psycopg.errors.UndefinedObject,
    }
    with connect("tara", autocommit=True) as connection:
        for statement, error in expected.items():
            try:
                connection.execute(statement)
            except error:
                continue
            except psycopg.Error as other:
                raise AssertionError(f"{statement}: {other.sqlstate} {other}")
            raise AssertionError(f"{statement}: no error")
        equal(connection.execute("select count(*) from retail.customer_purchases").description[0].name, "count")


@feature("`copy` into and out of a table of a workspace, a view over it")
def workspace():
    rows = [(1, "a\tb\\N", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone.utc)), (2, None, None), (3, "", None)]
    with connect("tara", autocommit=True) as connection:
        connection.execute("set weir.project = 'study'")
        connection.execute("create table study_ws.copied (id int8, name text, at timestamptz)")
        with connection.cursor() as cursor:
            with cursor.copy("copy study_ws.copied (id, name, at) from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
            equal(cursor.rowcount, 3)
            equal(cursor.execute("select * from study_ws.copied order by id").fetchall(), rows)
            with cursor.copy("copy study_ws.copied to stdout") as copy:
                copy.set_types(["int8", "text", "timestamptz"])
                equal(sorted(copy.rows(), key=lambda row: row[0]), rows)
            for wrong, error in [("x", psycopg.errors.InvalidTextRepresentation), (ValueError(), ValueError)]:
                try:
                    with cursor.copy("copy study_ws.copied (id) from stdin") as copy:
                        copy.write_row((4,))
                        if isinstance(wrong, Exception):
                            raise wrong
                        copy.write_row((wrong,))
                except error:
                    continue
                raise AssertionError(f"{wrong}: no error")
        connection.execute("create view study_ws.named as select id, name from study_ws.copied where name is not null")
        equal(connection.execute("select count(*) from study_ws.named").fetchone(), (2,))
        equal(connection.execute("select viewname from pg_views").fetchall(), [("named",)])
    with connect("oona", autocommit=True) as connection:
        try:
            connection.execute("select 1 from study_ws.named")
            raise AssertionError("seen outside of the project")
        except psycopg.errors.UndefinedTable:
            pass


@feature("cancel")
def cancel():
    with connect("tara", autocommit=True) as connection:
        timer = threading.Timer(0.5, connection.cancel_safe)
        timer.start()
        try:
            connection.execute("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b")
            raise AssertionError("was not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        equal(connection.execute("select 1").fetchone(), (1,))


main()
