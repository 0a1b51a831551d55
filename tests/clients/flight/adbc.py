"""Python ADBC against a running demonstration: `adbc.py URI`, or, for mutual TLS, `adbc.py URI CA` followed by
certificate and key of oona and of tara.

Ends with an error at the first thing that is not as it should be.
"""

import sys
import warnings

import adbc_driver_manager
from adbc_driver_flightsql import DatabaseOptions, dbapi
from pyarrow import flight

# The door has no transactions, and the DB-API wants them.
warnings.filterwarnings("ignore", message="Cannot disable autocommit")

DEPARTMENTS = "select distinct department from retail.customer_purchases order by 1"


def connect(uri, user, password="demo", **more):
    return dbapi.connect(uri, db_kwargs={"username": user, "password": password, **more})


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def refused(act, said, kind=adbc_driver_manager.Error):
    try:
        act()
    except kind as error:
        assert said in str(error), error
        return
    raise AssertionError(f"not refused: {said}")


def tables(connection):
    found = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    return {
        f"{schema['db_schema_name']}.{table['table_name']}": [c["column_name"] for c in table["table_columns"]]
        for catalog in found
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }


def plain(uri):
    with connect(uri, "tara") as tara, connect(uri, "oona") as oona, connect(uri, "nora") as nora:
        assert rows(tara, DEPARTMENTS) == [("Home Goods",), ("Toys",)]
        assert len(rows(oona, DEPARTMENTS)) == 8
        refused(lambda: rows(nora, DEPARTMENTS), "table `retail.customer_purchases` does not exist")

        ssn = "select ssn from retail.customer_purchases order by id limit 20"
        assert {len(ssn) for (ssn,) in rows(tara, ssn)} == {64}
        assert {len(ssn) for (ssn,) in rows(oona, ssn)} == {11}

        of = "select count(*) from retail.customer_purchases where department = ? and id < ?"
        assert rows(oona, of, ("Garden", 100_000)) > [(0,)]
        assert rows(tara, of, ("Garden", 100_000)) == [(0,)]
        with tara.cursor() as cursor:
            cursor.execute("select * from retail.customer_purchases")
            read = cursor.fetch_arrow_table()
        assert set(read["department"].to_pylist()) == {"Home Goods", "Toys"}

        assert "department" in tables(tara)["retail.customer_purchases"], tables(tara)
        assert "tpch.lineitem" not in tables(tara) and tables(nora) == {}
        assert tara.adbc_get_table_types() == ["TABLE", "VIEW"]
        assert "ssn" in tara.adbc_get_table_schema("customer_purchases", db_schema_filter="retail").names
        refused(lambda: nora.adbc_get_table_schema("customer_purchases", db_schema_filter="retail"), "")
        assert tara.adbc_get_info()["vendor_name"] == "Weir"

        refused(lambda: rows(oona, "drop table retail.customer_purchases"), "DROP TABLE is not supported")
        refused(lambda: rows(tara, "select 1 / 0"), "division by zero")
    project = {DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "weir.project": "nothing"}
    refused(lambda: connect(uri, "tara", **project), "there is no project `nothing`")
    for user, password in [("tara", "wrong"), ("nobody", "demo")]:
        refused(lambda: rows(connect(uri, user, password), "select 1"), "password authentication failed")


def mutual(uri, ca, certificate, key, other_certificate, other_key):
    def read(path):
        with open(path) as file:
            return file.read()

    encrypted = {DatabaseOptions.TLS_ROOT_CERTS.value: read(ca)}
    shown = {
        DatabaseOptions.MTLS_CERT_CHAIN.value: read(certificate),
        DatabaseOptions.MTLS_PRIVATE_KEY.value: read(key),
    }
    with connect(uri, "oona", **encrypted, **shown) as oona:
        assert len(rows(oona, DEPARTMENTS)) == 8
    # The certificate of somebody else, a wrong password, and no certificate.
    refused(lambda: rows(connect(uri, "tara", **encrypted, **shown), "select 1"), "password authentication failed")
    refused(lambda: rows(connect(uri, "oona", "wrong", **encrypted, **shown), "select 1"), "authentication failed")
    refused(lambda: rows(connect(uri, "oona", **encrypted), "select 1"), "")

    # A token is worth nothing on a connection of somebody else.
    def client(certificate, key):
        return flight.FlightClient(uri, tls_root_certs=read(ca), cert_chain=read(certificate), private_key=read(key))

    mine, other = client(certificate, key), client(other_certificate, other_key)
    token = flight.FlightCallOptions(headers=[mine.authenticate_basic_token("oona", "demo")])
    assert list(mine.list_actions(token))
    refused(lambda: list(other.list_actions(token)), "log in again", flight.FlightUnauthenticatedError)


if len(sys.argv) == 2:
    plain(sys.argv[1])
else:
    mutual(*sys.argv[1:])
print("as it should be")
