"""asyncpg, which speaks the extended protocol in binary only."""

import asyncio
import datetime as dt
import uuid
from decimal import Decimal

import asyncpg

from checks import *


def run(check):
    return lambda: asyncio.run(asyncio.wait_for(check(), 60))


@feature("each user sees her own rows")
@run
async def rows():
    for user, expected in DEPARTMENTS.items():
        connection = await asyncpg.connect(uri(user))
        listed = await connection.fetch(f"select distinct department from {UNSEEN} order by 1")
        equal([row["department"] for row in listed], expected)
        await connection.close()
    nora = await asyncpg.connect(uri("nora"))
    heard = []
    for table in (UNSEEN, MISSING):
        try:
            await nora.fetch(f"select * from {table}")
        except asyncpg.UndefinedTableError as error:
            heard.append(error.message.replace(table, "T"))
    assert len(heard) == 2 and heard[0] == heard[1], heard
    await nora.close()


VALUES = [
    ("boolean", True), ("smallint", -7), ("int", 70000), ("bigint", 2**40), ("real", 1.5), ("double precision", 0.1),
    ("numeric(12, 4)", Decimal("12345.6789")), ("text", "größe"), ("bytea", b"\x00\xff"), ("date", dt.date(2024, 2, 29)),
    ("time", dt.time(1, 2, 3, 500000)), ("timestamp", dt.datetime(2024, 2, 29, 1, 2, 3)),
    ("timestamptz", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone.utc)), ("interval", dt.timedelta(days=1, hours=2)),
    ("bigint[]", [1, 2, 3]), ("text[]", ["a", "b c", None]),
]


@feature("every type as parameter and result, in binary")
@run
async def types():
    connection = await asyncpg.connect(uri("tara"))
    for kind, value in VALUES:
        got = await connection.fetchval(f"select $1::{kind}", value)
        assert got == value, f"{kind}: {got!r}"
        equal(await connection.fetchval(f"select $1::{kind}", None), None)
    equal(await connection.fetchval("select named_struct('a', 1)"), '{"a":1}')
    statement = await connection.prepare(f"select count(*) from {UNSEEN} where department = $1 and id > $2")
    equal([p.name for p in statement.get_parameters()], ["text", "int8"])
    equal(statement.get_attributes()[0].name, "count")
    assert await statement.fetchval("Toys", 0) > 0
    equal(await connection.fetch(f"select distinct department from {UNSEEN} where department = any($1::text[])", ["Toys", "Books"]),
          await connection.fetch("select 'Toys' as department"))
    await connection.close()


@feature("cursors, transactions, pools, errors, timeouts")
@run
async def sessions():
    async with asyncpg.create_pool(uri("tara"), min_size=2, max_size=4) as pool:
        async with pool.acquire() as connection, connection.transaction():
            got = [row[0] async for row in connection.cursor("select value from generate_series(1, 1000)", prefetch=100)]
            equal(len(got), 1000)
        async with pool.acquire() as connection:
            try:
                await connection.fetch("select nothing from retail.customer_purchases")
                raise AssertionError("no error")
            except asyncpg.UndefinedColumnError:
                pass
            try:
                await connection.fetch(
                    "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b", timeout=1)
                raise AssertionError("no timeout")
            except asyncio.TimeoutError:
                pass
            equal(await connection.fetchval("select 1"), 1)
            equal(connection.get_server_version()[:2], (15, 0))
    equal(await (await asyncpg.connect(uri("tara"), server_settings={"application_name": "x"})).fetchval("show application_name"), "x")


@feature("introspection of types")
@run
async def introspection():
    connection = await asyncpg.connect(uri("tara"))
    await connection.set_type_codec("json", encoder=str, decoder=lambda text: ("decoded", text), schema="pg_catalog")
    equal(await connection.fetchval("select named_struct('a', 1)"), ("decoded", '{"a":1}'))
    await connection.reset_type_codec("json", schema="pg_catalog")
    await connection.reload_schema_state()
    await connection.close()


main()
