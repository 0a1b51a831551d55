//! Types by their SQL names.

use weir_model::{DataType, Field};

/// The type that is displayed as `name`; spaces around parts do not matter.
pub(super) fn type_named(name: &str) -> Option<DataType> {
    let name = name.trim();
    if let Some(inner) = within(name, "list<", ">") {
        return Some(DataType::List(Box::new(type_named(inner)?)));
    }
    if let Some(inner) = within(name, "map<", ">") {
        let [key, value] = parts(inner)?.try_into().ok()?;
        return Some(DataType::Map { key: Box::new(type_named(key)?), value: Box::new(type_named(value)?) });
    }
    if let Some(inner) = within(name, "struct<", ">") {
        let field = |part: &str| {
            let (name, data_type) = part.trim().split_once(' ')?;
            Some(Field { name: name.to_owned(), data_type: type_named(data_type)? })
        };
        return parts(inner)?.into_iter().map(field).collect::<Option<_>>().map(DataType::Struct);
    }
    if let Some(inner) = within(name, "decimal(", ")") {
        let (precision, scale) = inner.split_once(',')?;
        let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        return Some(DataType::Decimal { precision, scale });
    }
    Some(match name {
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "tinyint unsigned" => DataType::UInt8,
        "smallint unsigned" => DataType::UInt16,
        "int unsigned" => DataType::UInt32,
        "bigint unsigned" => DataType::UInt64,
        "real" => DataType::Float32,
        "double" => DataType::Float64,
        "text" => DataType::Text,
        "binary" => DataType::Binary,
        "date" => DataType::Date,
        "time" => DataType::Time,
        "timestamp" => DataType::Timestamp { zoned: false },
        "timestamp with time zone" => DataType::Timestamp { zoned: true },
        _ => return None,
    })
}

fn within<'a>(name: &'a str, start: &str, end: &str) -> Option<&'a str> {
    name.strip_prefix(start)?.strip_suffix(end)
}

/// Between commas that are in no brackets.
fn parts(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_from_its_name() {
        let field = |name: &str, data_type| Field { name: name.to_owned(), data_type };
        let decimal = DataType::Decimal { precision: 6, scale: -2 };
        let mut types = vec![
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            decimal.clone(),
            DataType::Text,
            DataType::Binary,
            DataType::Date,
            DataType::Time,
            DataType::Timestamp { zoned: false },
            DataType::Timestamp { zoned: true },
            DataType::Struct(vec![
                field("a", decimal.clone()),
                field(
                    "b",
                    DataType::Map { key: Box::new(DataType::Text), value: Box::new(DataType::List(Box::new(decimal))) },
                ),
            ]),
        ];
        types.extend(types.clone().into_iter().map(|item| DataType::List(Box::new(item))));
        for data_type in types {
            assert_eq!(type_named(&data_type.to_string()), Some(data_type.clone()), "{data_type}");
        }
        for wrong in ["", "string", "decimal(6)", "list<text", "map<text>", "struct<a>", "list<nothing>"] {
            assert_eq!(type_named(wrong), None, "{wrong}");
        }
    }
}
