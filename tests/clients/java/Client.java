// pgjdbc, and what Metabase, DBeaver and Grafana ask over it or by themselves.

import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;

public class Client {
    static final String UNSEEN = "retail.customer_purchases", MISSING = "retail.customer_purchazes";
    static final List<String> COLUMNS = List.of(
        "id", "first_name", "last_name", "age", "country", "ssn", "product_id", "department", "purchase_date");

    interface Check { void run() throws Exception; }

    static Connection connect(String user, String... more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", "demo");
        for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
        String port = System.getenv("WEIR_PORT");
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/weir", properties);
    }

    static void same(Object got, Object expected) {
        if (!Objects.equals(got, expected)) throw new AssertionError("got " + got + ", expected " + expected);
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) values.add(rows.getString(name));
        return values;
    }

    static List<String> ask(Connection connection, String sql, String column, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            return column(statement.executeQuery(), column);
        }
    }

    static String[] refused(Connection connection, String sql) {
        try {
            connection.createStatement().executeQuery(sql);
        } catch (SQLException error) {
            return new String[] {error.getSQLState(), error.getMessage().split("\n")[0]};
        }
        throw new AssertionError("not refused: " + sql);
    }

    static void rows() throws Exception {
        String sql = "select distinct department from " + UNSEEN + " order by 1";
        try (Connection tara = connect("tara"); Connection oona = connect("oona"); Connection nora = connect("nora")) {
            same(ask(tara, sql, "department"), List.of("Home Goods", "Toys"));
            same(ask(oona, sql, "department").size(), 8);
            String[] unseen = refused(nora, "select * from " + UNSEEN), missing = refused(nora, "select * from " + MISSING);
            same(unseen[0], "42P01");
            same(missing[0], "42P01");
            same(missing[1], unseen[1].replace(UNSEEN, MISSING));
        }
    }

    static void types() throws Exception {
        String sql = "select true, cast(-7 as smallint), cast(70000 as int), 9007199254740993, cast(1.5 as real), "
            + "cast(0.1 as double precision), cast('12345.6789' as numeric(12, 4)), 'größe', decode('00ff', 'hex'), "
            + "date '2024-02-29', cast('01:02:03' as time), timestamp '2024-02-29 01:02:03.25', "
            + "cast('2024-02-29 01:02:03+00' as timestamptz), array[1, 2], null";
        for (String binary : List.of("false", "true")) {
            // A threshold of -1 asks for binary from the first execution on.
            String threshold = binary.equals("true") ? "-1" : "5";
            try (Connection tara = connect("tara", "prepareThreshold", threshold, "binaryTransfer", binary);
                 PreparedStatement statement = tara.prepareStatement(sql)) {
                ResultSet row = statement.executeQuery();
                row.next();
                same(row.getBoolean(1), true);
                same(row.getShort(2), (short) -7);
                same(row.getInt(3), 70000);
                same(row.getLong(4), 9007199254740993L);
                same(row.getFloat(5), 1.5f);
                same(row.getDouble(6), 0.1);
                same(row.getBigDecimal(7), new BigDecimal("12345.6789"));
                same(row.getString(8), "größe");
                same(Arrays.toString(row.getBytes(9)), "[0, -1]");
                same(row.getObject(10, LocalDate.class), LocalDate.of(2024, 2, 29));
                same(row.getObject(11, LocalTime.class), LocalTime.of(1, 2, 3));
                same(row.getObject(12, LocalDateTime.class), LocalDateTime.of(2024, 2, 29, 1, 2, 3, 250_000_000));
                same(row.getObject(13, OffsetDateTime.class).toInstant(), Instant.parse("2024-02-29T01:02:03Z"));
                same(Arrays.toString((Object[]) row.getArray(14).getArray()), "[1, 2]");
                same(row.getObject(15), null);
                same(row.getMetaData().getColumnTypeName(7), "numeric");
                same(row.getMetaData().getScale(7), 4);
            }
        }
    }

    static void parameters() throws Exception {
        try (Connection tara = connect("tara")) {
            String sql = "select count(*) from " + UNSEEN + " where department = ? and id > ? and purchase_date > ?";
            try (PreparedStatement statement = tara.prepareStatement(sql)) {
                statement.setString(1, "Toys");
                statement.setLong(2, 0);
                statement.setObject(3, LocalDate.of(1990, 1, 1));
                for (int i = 0; i < 8; i++) {
                    ResultSet row = statement.executeQuery();
                    row.next();
                    if (row.getLong("count") <= 0) throw new AssertionError("nothing");
                }
                same(statement.getParameterMetaData().getParameterCount(), 3);
            }
            try (PreparedStatement statement = tara.prepareStatement(
                    "select ?::int, ?::bigint, ?::float8, ?::numeric(10, 2), ?::text, ?::bytea, ?::timestamp, ?::boolean, ?::text[]")) {
                statement.setInt(1, 1);
                statement.setLong(2, 2);
                statement.setDouble(3, 1.5);
                statement.setBigDecimal(4, new BigDecimal("2.50"));
                statement.setNull(5, Types.VARCHAR);
                statement.setBytes(6, new byte[] {1, 2});
                statement.setTimestamp(7, Timestamp.valueOf("2024-02-29 01:02:03"));
                statement.setBoolean(8, true);
                statement.setArray(9, tara.createArrayOf("text", new String[] {"a", "b"}));
                for (int i = 0; i < 7; i++) {
                    ResultSet row = statement.executeQuery();
                    row.next();
                    same(row.getInt(1) + row.getLong(2), 3L);
                    same(row.getDouble(3), 1.5);
                    same(row.getBigDecimal(4), new BigDecimal("2.50"));
                    same(row.getString(5), null);
                    same(row.getBytes(6).length, 2);
                    same(row.getTimestamp(7), Timestamp.valueOf("2024-02-29 01:02:03"));
                    same(row.getBoolean(8), true);
                    same(Arrays.toString((Object[]) row.getArray(9).getArray()), "[a, b]");
                }
            }
        }
    }

    static void sessions() throws Exception {
        try (Connection tara = connect("tara", "ApplicationName", "check")) {
            tara.setReadOnly(true);
            tara.setAutoCommit(false);
            Statement statement = tara.createStatement();
            statement.setFetchSize(100);
            ResultSet rows = statement.executeQuery("select value from generate_series(1, 1000)");
            int count = 0;
            while (rows.next()) count++;
            same(count, 1000);
            Savepoint savepoint = tara.setSavepoint();
            same(refused(tara, "select 1 / 0")[0], "22012");
            tara.rollback(savepoint);
            same(ask(tara, "show application_name", "application_name"), List.of("check"));
            tara.commit();
            tara.setAutoCommit(true);
            same(refused(tara, "select nothing from " + UNSEEN)[0], "42703");
            same(refused(tara, "select nothing(1)")[0], "42883");
            same(tara.isValid(5), true);
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b");
                throw new AssertionError("no timeout");
            } catch (SQLException error) {
                same(error.getSQLState(), "57014");
            }
        }
    }

    static void metadata() throws Exception {
        try (Connection tara = connect("tara"); Connection nora = connect("nora")) {
            DatabaseMetaData data = tara.getMetaData();
            same(data.getDatabaseMajorVersion(), 15);
            same(column(data.getCatalogs(), "TABLE_CAT"), List.of("weir"));
            List<String> schemas = column(data.getSchemas(), "TABLE_SCHEM");
            if (!schemas.contains("retail") || schemas.contains("tpch")) throw new AssertionError(schemas);
            same(column(data.getTables(null, "retail", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME"), List.of("customer_purchases"));
            same(column(nora.getMetaData().getTables(null, null, "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME"), List.of());
            same(column(data.getColumns(null, "retail", "customer_purchases", "%"), "COLUMN_NAME"), COLUMNS);
            same(column(data.getColumns(null, "retail", "customer_purchases", "purchase_date"), "TYPE_NAME"), List.of("date"));
            same(column(data.getPrimaryKeys(null, "retail", "customer_purchases"), "COLUMN_NAME"), List.of());
            same(column(data.getIndexInfo(null, "retail", "customer_purchases", false, false), "INDEX_NAME"), List.of());
            same(column(data.getImportedKeys(null, "retail", "customer_purchases"), "FKCOLUMN_NAME"), List.of());
            same(column(data.getExportedKeys(null, "retail", "customer_purchases"), "FKCOLUMN_NAME"), List.of());
            same(column(data.getCrossReference(null, null, null, null, "retail", "customer_purchases"), "FKCOLUMN_NAME"), List.of());
            same(column(data.getTablePrivileges(null, "retail", "%"), "PRIVILEGE").contains("SELECT"), true);
            column(data.getColumnPrivileges(null, "retail", "customer_purchases", "%"), "PRIVILEGE");
            column(data.getTypeInfo(), "TYPE_NAME");
            column(data.getTableTypes(), "TABLE_TYPE");
            column(data.getFunctions(null, null, "now"), "FUNCTION_NAME");
            column(data.getProcedures(null, null, "%"), "PROCEDURE_NAME");
            column(data.getBestRowIdentifier(null, "retail", "customer_purchases", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME");
            column(data.getUDTs(null, null, "%", null), "TYPE_NAME");
            column(data.getFunctionColumns(null, null, "now", "%"), "COLUMN_NAME");
            column(data.getClientInfoProperties(), "NAME");
            same(data.getSQLKeywords().isEmpty(), false);
            same(data.getMaxColumnNameLength() > 0, true);
        }
    }

    // What the driver of Metabase for PostgreSQL sends when it syncs a database, beside the calls above.
    static void metabase() throws Exception {
        try (Connection tara = connect("tara", "ApplicationName", "Metabase v0.50"); Connection nora = connect("nora")) {
            same(ask(tara, "SELECT 1 AS one", "one"), List.of("1"));
            ask(tara, "SHOW TIMEZONE", "TimeZone");
            String tables = "SELECT \"n\".\"nspname\" AS \"schema\", \"c\".\"relname\" AS \"name\", CASE \"c\".\"relkind\" "
                + "WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' "
                + "WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS \"type\", \"d\".\"description\" AS \"description\", "
                + "NULLIF(\"stat\".\"n_live_tup\", 0) AS \"estimated_row_count\" FROM \"pg_catalog\".\"pg_class\" AS \"c\" "
                + "INNER JOIN \"pg_catalog\".\"pg_namespace\" AS \"n\" ON \"c\".\"relnamespace\" = \"n\".\"oid\" "
                + "LEFT JOIN \"pg_catalog\".\"pg_description\" AS \"d\" ON (\"c\".\"oid\" = \"d\".\"objoid\") AND (\"d\".\"objsubid\" = 0) "
                + "AND (\"d\".\"classoid\" = 'pg_class'::regclass) "
                + "LEFT JOIN \"pg_stat_user_tables\" AS \"stat\" ON (\"n\".\"nspname\" = \"stat\".\"schemaname\") AND (\"c\".\"relname\" = \"stat\".\"relname\") "
                + "WHERE (\"c\".\"relnamespace\" = \"n\".\"oid\") AND (\"n\".\"nspname\" !~ '^pg_') AND (\"n\".\"nspname\" <> 'information_schema') "
                + "AND (\"c\".\"relkind\" IN ('r', 'p', 'v', 'f', 'm')) AND (\"n\".\"nspname\" IN ('retail', 'tpch')) "
                + "ORDER BY \"type\" ASC, \"schema\" ASC, \"name\" ASC";
            same(ask(tara, tables, "name"), List.of("customer_purchases"));
            same(ask(nora, tables, "name"), List.of());
            String fields = "SELECT \"c\".\"column_name\" AS \"name\", CASE WHEN \"c\".\"udt_schema\" IN ('public', 'pg_catalog') "
                + "THEN FORMAT('%s', \"c\".\"udt_name\") ELSE FORMAT('\"%s\".\"%s\"', \"c\".\"udt_schema\", \"c\".\"udt_name\") END AS \"database-type\", "
                + "\"c\".\"ordinal_position\" - 1 AS \"database-position\", \"c\".\"table_schema\" AS \"table-schema\", "
                + "\"c\".\"table_name\" AS \"table-name\", \"pk\".\"column_name\" IS NOT NULL AS \"pk?\", "
                + "COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(\"c\".\"table_schema\" AS TEXT), CAST(\"c\".\"table_name\" AS TEXT)) AS REGCLASS) AS OID), "
                + "\"c\".\"ordinal_position\") AS \"field-comment\", "
                + "((\"column_default\" IS NULL) OR (LOWER(\"column_default\") = 'null')) AND (\"is_nullable\" = 'NO') AS \"database-required\" "
                + "FROM \"information_schema\".\"columns\" AS \"c\" LEFT JOIN (SELECT \"tc\".\"table_schema\", \"tc\".\"table_name\", \"kc\".\"column_name\" "
                + "FROM \"information_schema\".\"table_constraints\" AS \"tc\" INNER JOIN \"information_schema\".\"key_column_usage\" AS \"kc\" "
                + "ON (\"tc\".\"constraint_name\" = \"kc\".\"constraint_name\") AND (\"tc\".\"table_schema\" = \"kc\".\"table_schema\") "
                + "WHERE \"tc\".\"constraint_type\" = 'PRIMARY KEY') AS \"pk\" ON (\"c\".\"table_schema\" = \"pk\".\"table_schema\") "
                + "AND (\"c\".\"table_name\" = \"pk\".\"table_name\") AND (\"c\".\"column_name\" = \"pk\".\"column_name\") "
                + "WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND (\"c\".\"table_schema\" IN ('retail')) "
                + "ORDER BY \"table-schema\" ASC, \"table-name\" ASC, \"database-position\" ASC";
            same(ask(tara, fields, "name"), COLUMNS);
            same(ask(nora, fields, "name"), List.of());
            String keys = "SELECT \"fk_ns\".\"nspname\" AS \"fk-table-schema\", \"fk_table\".\"relname\" AS \"fk-table-name\", "
                + "\"fk_column\".\"attname\" AS \"fk-column-name\" FROM \"pg_constraint\" AS \"c\" "
                + "INNER JOIN \"pg_class\" AS \"fk_table\" ON \"c\".\"conrelid\" = \"fk_table\".\"oid\" "
                + "INNER JOIN \"pg_namespace\" AS \"fk_ns\" ON \"c\".\"connamespace\" = \"fk_ns\".\"oid\" "
                + "INNER JOIN \"pg_attribute\" AS \"fk_column\" ON \"c\".\"conrelid\" = \"fk_column\".\"attrelid\" "
                + "WHERE (\"c\".\"contype\" = 'f'::char) AND (\"fk_column\".\"attnum\" = ANY(\"c\".\"conkey\")) AND fk_ns.nspname !~ '^information_schema|catalog_history|pg_'";
            same(ask(tara, keys, "fk-table-name"), List.of());
            String enums = "SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_enum)";
            same(ask(tara, enums, "typname"), List.of());
            String privileges = "with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table, "
                + "pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'update') as update, "
                + "pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'select') as select, "
                + "pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'insert') as insert, "
                + "pg_catalog.has_table_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'delete') as delete "
                + "from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from pg_catalog.pg_views "
                + "union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' "
                + "and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')) select t.* from table_privileges t";
            same(ask(tara, privileges, "table"), List.of("customer_purchases"));
            same(ask(tara, privileges, "select"), List.of("t"));
            same(ask(tara, privileges, "update"), List.of("f"));
            same(ask(nora, privileges, "table"), List.of());
            ask(tara, "SELECT substring(\"retail\".\"customer_purchases\".\"last_name\", 1, 1234) AS \"s\" FROM \"retail\".\"customer_purchases\" LIMIT 10", "s");
            ask(tara, "SELECT CAST(DATE_TRUNC('month', \"retail\".\"customer_purchases\".\"purchase_date\") AS date) AS \"m\", COUNT(*) AS \"count\" "
                + "FROM \"retail\".\"customer_purchases\" WHERE \"retail\".\"customer_purchases\".\"department\" = ? "
                + "GROUP BY CAST(DATE_TRUNC('month', \"retail\".\"customer_purchases\".\"purchase_date\") AS date) ORDER BY 1 ASC", "count", "Toys");
        }
    }

    // What DBeaver sends when it connects, opens a schema, and opens a table.
    static void dbeaver() throws Exception {
        try (Connection tara = connect("tara", "ApplicationName", "DBeaver"); Connection nora = connect("nora")) {
            tara.createStatement().execute("SET extra_float_digits = 3");
            tara.createStatement().execute("SET search_path = public,\"$user\"");
            tara.createStatement().execute("SET application_name = 'DBeaver 24.1.0 - Main <weir>'");
            ask(tara, "SELECT version()", "version");
            ask(tara, "SHOW search_path", "search_path");
            same(ask(tara, "SELECT current_schema(),session_user", "session_user"), List.of("tara"));
            same(ask(tara, "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname=?", "datname", "weir"), List.of("weir"));
            same(ask(tara, "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate ORDER BY db.datname", "datname"), List.of("weir"));
            ask(tara, "SELECT * FROM pg_catalog.pg_enum WHERE 1<>1 LIMIT 1", "enumlabel");
            ask(tara, "SELECT reltype FROM pg_catalog.pg_class WHERE 1<>1 LIMIT 1", "reltype");
            ask(tara, "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description "
                + "FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid "
                + "LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL "
                + "AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')", "typname");
            List<String> schemas = ask(tara, "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d "
                + "ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname", "nspname");
            if (!schemas.contains("retail") || schemas.contains("tpch")) throw new AssertionError(schemas);
            String schema = ask(tara, "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname='retail'", "oid").get(0);
            String tables = "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, "
                + "pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d "
                + "ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE c.relnamespace=? AND c.relkind not in ('i','I','c')";
            same(ask(tara, tables, "relname", Long.valueOf(schema)), List.of("customer_purchases"));
            same(ask(nora, tables, "relname", Long.valueOf(schema)), List.of());
            String table = ask(tara, tables, "oid", Long.valueOf(schema)).get(0);
            ask(tara, "select c.oid,pg_catalog.pg_total_relation_size(c.oid) as total_rel_size,pg_catalog.pg_relation_size(c.oid) as rel_size "
                + "FROM pg_class c WHERE c.relnamespace=?", "total_rel_size", Long.valueOf(schema));
            String columns = "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid "
                + "FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) "
                + "LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) "
                + "LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) "
                + "LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid "
                + "WHERE NOT a.attisdropped AND c.oid=? ORDER BY a.attnum";
            same(ask(tara, columns, "attname", Long.valueOf(table)), COLUMNS);
            same(ask(nora, columns, "attname", Long.valueOf(table)), List.of());
            ask(tara, "SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, null as consrc_copy "
                + "FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid "
                + "LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass "
                + "WHERE c.conrelid=? ORDER BY c.oid", "conname", Long.valueOf(table));
            ask(tara, "SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,c.relam,c.reltablespace,tc.relname as tabrelname,dsc.description, "
                + "pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr, "
                + "pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size, pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans "
                + "FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid "
                + "LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid WHERE i.indrelid=? ORDER BY tabrelname, c.relname", "indexrelid", Long.valueOf(table));
            ask(tara, "SELECT DISTINCT x.* FROM pg_catalog.pg_trigger x WHERE x.tgrelid=? AND NOT tgisinternal", "tgname", Long.valueOf(table));
            ask(tara, "SELECT i.*,c.relnamespace FROM pg_catalog.pg_inherits i,pg_catalog.pg_class c WHERE i.inhrelid=? AND c.oid=i.inhparent ORDER BY i.inhseqno", "inhparent", Long.valueOf(table));
            ask(tara, "SELECT DISTINCT dep.deptype, dep.classid, dep.objid, cl.relkind FROM pg_depend dep LEFT JOIN pg_class cl ON dep.objid = cl.oid WHERE dep.refobjid = ?", "objid", Long.valueOf(table));
            ask(tara, "SELECT a.oid,a.* FROM pg_catalog.pg_roles a ORDER BY a.rolname", "rolname");
            ask(tara, "SELECT s.*, coalesce(s.setting, '') FROM pg_catalog.pg_settings s", "name");
            ask(tara, "SELECT x.oid,x.* FROM pg_catalog.pg_language x ORDER BY x.oid", "lanname");
            ask(tara, "SELECT e.oid,e.*,cl.relnamespace FROM pg_catalog.pg_event_trigger e, pg_catalog.pg_class cl WHERE 1<>1", "evtname");
            ask(tara, "SELECT sa.* FROM pg_catalog.pg_stat_activity sa", "pid");
            ask(tara, "SELECT x.* FROM retail.customer_purchases x LIMIT 200", "ssn");
        }
    }

    // What the PostgreSQL data source of Grafana sends: its test, its query editor, and the macros of its panels.
    static void grafana() throws Exception {
        try (Connection tara = connect("tara"); Connection nora = connect("nora")) {
            ask(tara, "SELECT 1 AS \"1\"", "1");
            same(ask(tara, "SELECT current_setting('server_version_num')::int/100 as version", "version"), List.of("1500"));
            ask(tara, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", "extversion");
            String tables = "select quote_ident(table_schema) || '.' || quote_ident(table_name) as \"table\" from information_schema.tables "
                + "where quote_ident(table_schema) not in ('information_schema', 'pg_catalog', '_timescaledb_cache') and table_type = 'BASE TABLE' order by 1";
            same(ask(tara, tables, "table"), List.of("retail.customer_purchases"));
            same(ask(nora, tables, "table"), List.of());
            String path = "quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM "
                + "generate_series(array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1)) as i, "
                + "string_to_array(current_setting('search_path'),',') s)";
            String onPath = "SELECT CASE WHEN " + path + " THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\" "
                + "FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache') "
                + "ORDER BY CASE WHEN " + path + " THEN 0 ELSE 1 END, 1";
            same(ask(tara, onPath, "table"), List.of("retail.customer_purchases"));
            String columns = "select quote_ident(column_name) as \"column\", data_type as \"type\" from information_schema.columns "
                + "where quote_ident(table_schema) || '.' || quote_ident(table_name) = 'retail.customer_purchases'";
            same(ask(tara, columns, "column"), COLUMNS);
            same(ask(tara, columns, "type").get(0), "bigint");
            ask(tara, "SELECT floor(extract(epoch from purchase_date)/86400)*86400 AS \"time\", count(*) AS value FROM retail.customer_purchases "
                + "WHERE purchase_date BETWEEN '1990-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1", "time");
        }
    }

    public static void main(String[] args) {
        Map<String, Map<String, Check>> clients = Map.of(
            "pgjdbc", new TreeMap<>(Map.of(
                "each user sees her own rows", Client::rows,
                "every type, text and binary", Client::types,
                "parameters of every type", Client::parameters,
                "fetch size, savepoints, read-only connections, timeouts, errors with their SQLSTATE", Client::sessions,
                "`DatabaseMetaData`", Client::metadata)),
            "metabase", Map.of("sync of tables, columns, keys and rights; sampling; questions", Client::metabase),
            "dbeaver", Map.of("connecting, browsing schemas, opening tables", Client::dbeaver),
            "grafana", Map.of("test of the data source, query editor, time series", Client::grafana));
        int failed = 0;
        for (Map.Entry<String, Check> feature : clients.get(args[0]).entrySet()) {
            try {
                feature.getValue().run();
                System.out.println("ok " + feature.getKey());
            } catch (Throwable error) {
                failed++;
                System.out.println("failed " + feature.getKey());
                error.printStackTrace(System.out);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
