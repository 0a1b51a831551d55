"""SQLAlchemy 2 over psycopg, with reflection, as Superset's engine for PostgreSQL uses it."""

import sqlalchemy as sa

from checks import *


def engine(user):
    return sa.create_engine(uri(user, "postgresql+psycopg"))


@feature("each user sees her own rows")
def rows():
    for user, expected in DEPARTMENTS.items():
        with engine(user).connect() as connection:
            table = sa.Table("customer_purchases", sa.MetaData(), schema="retail", autoload_with=connection)
            listed = connection.scalars(sa.select(table.c.department).distinct().order_by(table.c.department))
            equal(list(listed), expected)
    heard = []
    for name in ("customer_purchases", "customer_purchazes"):
        try:
            sa.Table(name, sa.MetaData(), schema="retail", autoload_with=engine("nora"))
        except sa.exc.NoSuchTableError as error:
            heard.append(str(error).replace(name, "T"))
    assert len(heard) == 2 and heard[0] == heard[1], heard


@feature("reflection")
def reflection():
    inspector = sa.inspect(engine("tara"))
    contains(inspector.get_schema_names(), "retail")
    lacks(inspector.get_schema_names(), "tpch")
    equal(inspector.get_table_names(schema="retail"), ["customer_purchases"])
    equal(inspector.get_view_names(schema="retail"), [])
    equal(inspector.get_materialized_view_names(schema="retail"), [])
    columns = inspector.get_columns("customer_purchases", schema="retail")
    equal([c["name"] for c in columns], COLUMNS)
    kinds = {c["name"]: str(c["type"]) for c in columns}
    equal((kinds["id"], kinds["ssn"], kinds["purchase_date"]), ("BIGINT", "TEXT", "DATE"))
    equal(inspector.get_pk_constraint("customer_purchases", schema="retail")["constrained_columns"], [])
    for method in ("get_foreign_keys", "get_indexes", "get_unique_constraints", "get_check_constraints"):
        equal(getattr(inspector, method)("customer_purchases", schema="retail"), [])
    equal(inspector.get_table_comment("customer_purchases", schema="retail"), {"text": None})
    equal(inspector.has_table("customer_purchases", schema="retail"), True)
    equal(sa.inspect(engine("nora")).has_table("customer_purchases", schema="retail"), False)
    equal(inspector.get_sequence_names(schema="retail"), [])
    equal(inspector.get_enums(), [])
    inspector.get_domains()
    everything = sa.MetaData()
    everything.reflect(engine("ana"), schema="tpch")
    equal(len(everything.tables), 8)
    scale = everything.tables["tpch.lineitem"].c.l_extendedprice.type
    equal((scale.precision, scale.scale), (15, 2))


@feature("expressions with parameters, ORM")
def expressions():
    from sqlalchemy.orm import Session, declarative_base

    with engine("tara").connect() as connection:
        table = sa.Table("customer_purchases", sa.MetaData(), schema="retail", autoload_with=connection)
        counted = connection.execute(
            sa.select(table.c.department, sa.func.count().label("n"))
            .where(table.c.department.in_(["Toys", "Books"]), table.c.age > 0)
            .group_by(table.c.department)
        ).all()
        equal([row.department for row in counted], ["Toys"])
        streamed = connection.execution_options(stream_results=True, max_row_buffer=50).execute(sa.select(table.c.id))
        assert len(streamed.all()) > 0

        class Purchase(declarative_base()):
            __table__ = table
            __mapper_args__ = {"primary_key": [table.c.id]}

        with Session(connection) as session:
            first = session.scalars(sa.select(Purchase).order_by(Purchase.id).limit(3)).all()
            equal(len(first), 3)


@feature("what Superset asks at the start and of a table")
def superset():
    # Superset itself is not installed here: its engine for PostgreSQL uses SQLAlchemy's inspector, checked above, and
    # these statements.
    with engine("tara").connect() as connection:
        ask = lambda text, **values: connection.execute(sa.text(text), values).all()
        equal(ask("SELECT 1"), [(1,)])
        equal(ask("select current_schema()"), [("public",)])
        ask("show search_path")
        lists = ask("SELECT datname FROM pg_database WHERE datistemplate = false")
        equal(lists, [("weir",)])
        names = ask(
            "SELECT table_name FROM information_schema.views WHERE table_schema = :schema", schema="retail")
        equal(names, [])
        ask("SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LIMIT 5")
        ask("EXPLAIN SELECT department FROM retail.customer_purchases")
        sample = ask(
            "SELECT DATE_TRUNC('month', purchase_date) AS __timestamp, COUNT(*) AS count FROM retail.customer_purchases "
            "WHERE purchase_date >= TO_DATE('1990-01-01', 'YYYY-MM-DD') GROUP BY DATE_TRUNC('month', purchase_date) "
            "ORDER BY count DESC LIMIT 10000")
        assert sample


main()
