"""Writes tables of Delta Lake that hold the same people as a folder of Parquet files.

python delta.py PEOPLE TABLES     makes tables below TABLES
python delta.py --append TABLE    adds a row of department A
python delta.py --delete TABLE    deletes it again, and what is not needed any more
"""

import base64
import decimal
import json
import os
import struct
import sys
import uuid
import zlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyroaring import BitMap

NEW = {"id": 5000, "dept": "A", "name": "secret-new", "pay": decimal.Decimal("1.00")}


def plain(people, path):
    """By departments, in several commits before and after a checkpoint, with rows that came and went."""
    for dept in ["A", "B", "C"]:
        part = people.filter(pc.equal(people["dept"], dept))
        write_deltalake(path, part, mode="append", partition_by=["dept"])
    extra = people.slice(0, 10).set_column(0, "id", pa.array(range(9000, 9010), pa.int64()))
    write_deltalake(path, extra, mode="append")
    DeltaTable(path).create_checkpoint()
    DeltaTable(path).delete("id >= 9000")
    DeltaTable(path).optimize.compact()


def log(path, version, *actions):
    os.makedirs(f"{path}/_delta_log", exist_ok=True)
    with open(f"{path}/_delta_log/{version:020}.json", "w") as file:
        file.writelines(json.dumps(action) + "\n" for action in actions)


TYPES = {"id": "long", "dept": "string", "name": "string", "pay": "decimal(12,2)", "more": {
    "type": "struct", "fields": [{"name": "city", "type": "string", "nullable": True, "metadata": {}}]}}


def metadata(columns, configuration, partitions=(), extra=lambda column: {}):
    fields = [{"name": c, "type": TYPES[c], "nullable": True, "metadata": extra(c)} for c in columns]
    return {"metaData": {
        "id": str(uuid.uuid4()), "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}), "partitionColumns": list(partitions),
        "configuration": configuration, "createdTime": 0,
    }}


def add(path, name, rows, partitions=None, **more):
    size = os.path.getsize(f"{path}/{name}")
    return {"add": {
        "path": name, "partitionValues": partitions or {}, "size": size, "modificationTime": 0, "dataChange": True,
        "stats": json.dumps({"numRecords": rows}), **more,
    }}


def vector(path, rows):
    """A deletion vector in a file of its own."""
    bitmap = BitMap(rows).serialize()
    data = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    name = uuid.uuid4()
    with open(f"{path}/deletion_vector_{name}.bin", "wb") as file:
        file.write(b"\x01" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data)))
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    encoded = ""
    for at in range(0, 16, 4):
        value, = struct.unpack(">I", name.bytes[at:at + 4])
        digits = [value // 85 ** power % 85 for power in (4, 3, 2, 1, 0)]
        encoded += "".join(alphabet[digit] for digit in digits)
    return {"storageType": "u", "pathOrInlineDv": encoded, "offset": 1, "sizeInBytes": len(data), "cardinality": len(rows)}


def deleted(people, path):
    """Every second row of one file is another one, and deleted."""
    os.makedirs(path)
    twice = people.take(pa.array([row for row in range(people.num_rows) for _ in range(2)], pa.int64()))
    pq.write_table(twice, f"{path}/twice.parquet", row_group_size=700)
    gone = vector(path, range(1, twice.num_rows, 2))
    protocol = {"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }}
    columns = metadata(people.column_names, {"delta.enableDeletionVectors": "true"})
    log(path, 0, protocol, columns, add(path, "twice.parquet", twice.num_rows))
    remove = {"remove": {"path": "twice.parquet", "deletionTimestamp": 0, "dataChange": True}}
    log(path, 1, remove, add(path, "twice.parquet", twice.num_rows, deletionVector=gone))


def mapped(people, path, mode):
    """Columns that are called otherwise in the files, one of them like another one of the table."""
    os.makedirs(path)
    inside = {"id": "pay", "dept": "col-dept", "name": "id", "pay": "col-pay", "more": "col-more", "city": "col-city"}
    numbers = {name: str(number) for number, name in enumerate(inside, 1)}
    protocol = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    configuration = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "6"}
    extra = lambda column: {"delta.columnMapping.id": int(numbers[column]), "delta.columnMapping.physicalName": inside[column]}
    TYPES["more"]["fields"][0]["metadata"] = extra("city")
    columns = [*people.column_names, "more"]
    actions = [protocol, metadata(columns, configuration, ["dept"], extra)]
    for dept in ["A", "B", "C"]:
        part = people.filter(pc.equal(people["dept"], dept)).drop_columns(["dept"])
        # One file is older than the column `more`.
        if dept != "B":
            city = pa.StructArray.from_arrays([pc.cast(part["id"], pa.string()).combine_chunks()], ["city"])
            part = part.append_column("more", city)

        def named(field):
            # By number, the names in the files are of no matter.
            name = inside[field.name] if mode == "name" else f"{inside[field.name]}-{dept}"
            kind = pa.struct([named(inner) for inner in field.type]) if pa.types.is_struct(field.type) else field.type
            return pa.field(name, kind, metadata={"PARQUET:field_id": numbers[field.name]})

        schema = pa.schema([named(field) for field in part.schema])
        columns = [column.combine_chunks().cast(field.type) if not pa.types.is_struct(field.type)
                   else pa.StructArray.from_arrays([column.combine_chunks().field(0)], fields=list(field.type))
                   for column, field in zip(part.columns, schema)]
        pq.write_table(pa.table(columns, schema=schema), f"{path}/{dept}.parquet")
        actions.append(add(path, f"{dept}.parquet", part.num_rows, {inside["dept"]: dept}))
    log(path, 0, *actions)


def refused(people, tables):
    """What must not be read."""
    pq.write_table(people, f"{tables}/outside.parquet")
    os.makedirs(f"{tables}/strange")
    pq.write_table(people, f"{tables}/strange/all.parquet")
    columns = metadata(people.column_names, {})
    features = ["someFutureFeature"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    log(f"{tables}/strange", 0, {"protocol": protocol}, columns, add(f"{tables}/strange", "all.parquet", people.num_rows))
    old = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
    for number, way in enumerate(["../outside.parquet", f"file://{os.path.abspath(tables)}/outside.parquet"]):
        path = f"{tables}/astray{number}"
        action = add(tables, "outside.parquet", people.num_rows)
        action["add"]["path"] = way
        log(path, 0, old, columns, action)


if sys.argv[1] == "--append":
    like = DeltaTable(sys.argv[2]).schema().to_arrow()
    write_deltalake(sys.argv[2], pa.Table.from_pylist([NEW], schema=pa.schema(like)), mode="append")
elif sys.argv[1] == "--delete":
    DeltaTable(sys.argv[2]).delete("id >= 5000")
    DeltaTable(sys.argv[2]).vacuum(0, dry_run=False, enforce_retention_duration=False)
else:
    people = pq.read_table(sys.argv[1]).sort_by([("dept", "ascending"), ("id", "ascending")])
    people = people.select(["id", "dept", "name", "pay"])
    tables = sys.argv[2]
    os.makedirs(tables)
    plain(people, f"{tables}/plain")
    deleted(people, f"{tables}/deleted")
    mapped(people, f"{tables}/by-name", "name")
    mapped(people, f"{tables}/by-id", "id")
    refused(people, tables)
    # That they are what another reader takes them for; it does not go by numbers.
    for name in ["plain", "deleted", "by-name"]:
        sums = "select count(*) as rows, sum(id) as ids, sum(pay) as pay from t"
        read = QueryBuilder().register("t", DeltaTable(f"{tables}/{name}")).execute(sums)
        whole = {"rows": people.num_rows, "ids": pc.sum(people["id"]).as_py(), "pay": pc.sum(people["pay"]).as_py()}
        assert pa.table(read).to_pylist() == [whole], name
