// node-postgres.

import { createRequire } from "node:module";
import { deepStrictEqual as same, ok, rejects } from "node:assert";

const load = createRequire(process.env.WEIR_NODE_MODULES + "/");
const pg = load("pg");
const Cursor = load("pg-cursor");

const departments = {
  tara: ["Home Goods", "Toys"],
  oona: ["Books", "Clothing", "Electronics", "Garden", "Grocery", "Home Goods", "Sports", "Toys"],
};
const [unseen, missing] = ["retail.customer_purchases", "retail.customer_purchazes"];

const config = (user) => ({ host: "127.0.0.1", port: +process.env.WEIR_PORT, database: "weir", user, password: "demo" });

async function connected(user, work) {
  const client = new pg.Client(config(user));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const features = {
  "each user sees her own rows": async () => {
    for (const [user, expected] of Object.entries(departments)) {
      const { rows } = await connected(user, (c) => c.query(`select distinct department from ${unseen} order by 1`));
      same(rows.map((row) => row.department), expected);
    }
    await connected("nora", async (client) => {
      const heard = [];
      for (const table of [unseen, missing]) {
        await client.query(`select * from ${table}`).catch((e) => heard.push([e.code, e.message.replace(table, "T")]));
      }
      same(heard.length, 2);
      same(heard[0], heard[1]);
      same(heard[0][0], "42P01");
    });
  },

  "every type, text and binary": () =>
    connected("tara", async (client) => {
      const text = `select true, cast(-7 as smallint), cast(70000 as int), 9007199254740993, cast(0.1 as double precision),
        cast('12.50' as numeric(10, 2)), 'größe', decode('00ff', 'hex'), cast('2024-02-29 01:02:03' as timestamp),
        array[1, 2], named_struct('a', 1), null`;
      const { rows } = await client.query({ text, rowMode: "array" });
      const [row] = rows;
      same(row.slice(0, 7), [true, -7, 70000, "9007199254740993", 0.1, "12.50", "größe"]);
      same(row[7], Buffer.from([0, 255]));
      same(row[8].getTime(), new Date(2024, 1, 29, 1, 2, 3).getTime());
      same(row.slice(9), [["1", "2"], { a: 1 }, null]);
      const binary = await client.query({ text: "select cast(7 as int) as i, 1.5::float8 as f, true as b, 'x' as t", binary: true });
      same({ ...binary.rows[0] }, { i: 7, f: 1.5, b: true, t: "x" });
    }),

  "parameters, named statements": () =>
    connected("tara", async (client) => {
      const text = `select count(*) from ${unseen} where department = $1 and id > $2 and age < $3`;
      for (let n = 0; n < 3; n++) {
        const { rows, fields } = await client.query({ name: "counted", text, values: ["Toys", 0, 200] });
        same(fields[0].name, "count");
        ok(+rows[0].count > 0);
      }
      const values = [7, true, 1.5, new Date(Date.UTC(2024, 1, 29)), Buffer.from([1, 2]), ["a", null], null, { a: 1 }];
      const { rows } = await client.query(
        "select $1::int as i, $2::boolean as b, $3::float8 as f, $4::timestamptz as t, $5::bytea as y, $6::text[] as a, $7::text as n, $8::text as j",
        values,
      );
      same({ ...rows[0] }, { i: 7, b: true, f: 1.5, t: values[3], y: values[4], a: ["a", null], n: null, j: '{"a":1}' });
      const any = await client.query(`select distinct department from ${unseen} where department = any($1)`, [["Toys", "Books"]]);
      same(any.rows.map((row) => row.department), ["Toys"]);
    }),

  "cursors, pools, transactions": async () => {
    await connected("tara", async (client) => {
      const cursor = client.query(new Cursor("select value from generate_series(1, 1000)"));
      let count = 0;
      for (let rows = await cursor.read(300); rows.length; rows = await cursor.read(300)) count += rows.length;
      same(count, 1000);
      await cursor.close();
      await client.query("begin");
      await rejects(client.query("select 1 / 0"), { code: "22012" });
      await rejects(client.query("select 1"), { code: "25P02" });
      await client.query("rollback");
      await rejects(client.query("select nothing from retail.customer_purchases"), { code: "42703" });
      await rejects(client.query("insert into retail.customer_purchases values (1)"), { code: "42501" });
    });
    const pool = new pg.Pool({ ...config("tara"), max: 4 });
    const all = await Promise.all(Array.from({ length: 12 }, (_, n) => pool.query("select $1::int as n", [n])));
    same(all.map(({ rows }) => rows[0].n), Array.from({ length: 12 }, (_, n) => n));
    await pool.end();
  },
};

let failed = 0;
for (const [name, check] of Object.entries(features)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`failed ${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);
