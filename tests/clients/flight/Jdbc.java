import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** The Flight SQL JDBC driver against a running demonstration: {@code Jdbc HOST:PORT}. */
public class Jdbc {
    static final String DEPARTMENTS = "select distinct department from retail.customer_purchases order by 1";

    interface Act {
        void run() throws SQLException;
    }

    static Connection connect(String address, String user, String password, String... more) throws SQLException {
        Properties properties = new Properties();
        for (int i = 0; i < more.length; i += 2) {
            properties.put(more[i], more[i + 1]);
        }
        properties.put("user", user);
        properties.put("password", password);
        properties.put("useEncryption", "false");
        return DriverManager.getConnection("jdbc:arrow-flight-sql://" + address + "/", properties);
    }

    static List<String> first(ResultSet rows) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) {
            values.add(rows.getString(1));
        }
        return values;
    }

    static List<String> read(Connection connection, String sql) throws SQLException {
        try (var statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            return first(rows);
        }
    }

    static List<String> tables(Connection connection) throws SQLException {
        List<String> names = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getTables(null, null, "%", null)) {
            while (rows.next()) {
                names.add(rows.getString("TABLE_SCHEM") + "." + rows.getString("TABLE_NAME"));
            }
        }
        return names;
    }

    static void check(boolean holds, Object seen) {
        if (!holds) {
            throw new AssertionError(String.valueOf(seen));
        }
    }

    static void refused(String said, Act act) {
        try {
            act.run();
        } catch (SQLException | RuntimeException error) {
            StringBuilder all = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                all.append(cause.getMessage()).append('\n');
            }
            check(all.toString().contains(said), all);
            return;
        }
        throw new AssertionError("not refused: " + said);
    }

    public static void main(String[] args) throws SQLException {
        String address = args[0];
        try (Connection tara = connect(address, "tara", "demo");
                Connection oona = connect(address, "oona", "demo");
                Connection nora = connect(address, "nora", "demo")) {
            check(read(tara, DEPARTMENTS).equals(List.of("Home Goods", "Toys")), read(tara, DEPARTMENTS));
            check(read(oona, DEPARTMENTS).size() == 8, read(oona, DEPARTMENTS));
            refused("table `retail.customer_purchases` does not exist", () -> read(nora, DEPARTMENTS));

            String ssn = "select ssn from retail.customer_purchases order by id limit 20";
            check(read(tara, ssn).stream().allMatch(value -> value.length() == 64), read(tara, ssn));
            check(read(oona, ssn).stream().allMatch(value -> value.length() == 11), read(oona, ssn));

            String of = "select count(*) from retail.customer_purchases where department = ? and id < ?";
            for (Connection connection : List.of(tara, oona)) {
                try (PreparedStatement statement = connection.prepareStatement(of)) {
                    check(statement.getParameterMetaData().getParameterCount() == 2, "parameters");
                    statement.setString(1, "Garden");
                    statement.setLong(2, 100_000);
                    long count = Long.parseLong(first(statement.executeQuery()).get(0));
                    check((count == 0) == (connection == tara), count);
                }
            }

            check(tables(tara).contains("retail.customer_purchases"), tables(tara));
            check(!tables(tara).contains("tpch.lineitem"), tables(tara));
            check(tables(nora).isEmpty(), tables(nora));
            List<String> columns = new ArrayList<>();
            try (ResultSet rows = tara.getMetaData().getColumns(null, "retail", "customer_purchases", "%")) {
                while (rows.next()) {
                    columns.add(rows.getString("COLUMN_NAME"));
                }
            }
            check(columns.contains("ssn"), columns);
            check(tara.getMetaData().getDatabaseProductName().equals("Weir"), "product");
            check(tara.getMetaData().isReadOnly(), "read-only");
            try (ResultSet keys = tara.getMetaData().getPrimaryKeys(null, "retail", "customer_purchases")) {
                check(!keys.next(), "keys");
            }

            refused("DROP TABLE is not supported", () -> oona.createStatement().executeUpdate("drop table retail.x"));
            refused("division by zero", () -> read(tara, "select 1 / 0"));
        }
        refused("password authentication failed", () -> read(connect(address, "tara", "wrong"), "select 1"));
        refused("password authentication failed", () -> read(connect(address, "nobody", "demo"), "select 1"));
        refused("there is no project `nothing`",
                () -> read(connect(address, "tara", "demo", "weir.project", "nothing"), "select 1"));
        System.out.println("as it should be");
    }
}
