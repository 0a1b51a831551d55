"""Runs statements in DuckDB, over the Parquet files of a folder and with two threads, and says what they took.

One JSON object a line. {"sql": ...} comes in and {"ms": ...} goes out: milliseconds of processors to the last row, which
goes nowhere. With "rows": true, {"rows": [[...], ...]} goes out: values as text.
"""

import json
import os
import sys
import time

import duckdb


def main(folder):
    connection = duckdb.connect(config={"threads": 2})
    for name in sorted(os.listdir(folder)):
        if name.endswith(".parquet"):
            path = os.path.join(folder, name).replace("'", "''")
            connection.execute(f"CREATE VIEW {name.removesuffix('.parquet')} AS SELECT * FROM read_parquet('{path}')")
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            before = time.process_time()
            # Nothing where there is no result. It is computed when it is fetched, and handed over without a copy.
            result = connection.sql(asked["sql"])
            table = result.to_arrow_table() if result is not None else None
            answer = {"ms": (time.process_time() - before) * 1e3}
            if asked.get("rows"):
                columns = [[None if v is None else str(v) for v in c.to_pylist()] for c in table.columns]
                answer = {"rows": list(zip(*columns))}
        except Exception as error:  # For the benchmark, which stops.
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main(sys.argv[1])
