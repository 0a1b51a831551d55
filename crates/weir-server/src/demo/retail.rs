//! `retail.customer_purchases`: made up, the same on every machine.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// Purchases.
pub(super) const ROWS: u64 = 200_000;
/// People who buy; each does so five times on average.
const CUSTOMERS: u64 = 40_000;
const BATCH_ROWS: u64 = 8_192;
/// 2022-01-01, in days since 1970-01-01.
const FIRST_DAY: u64 = 18_993;
/// Three years, one of them a leap year.
const DAYS: u64 = 1_096;

const DEPARTMENTS: [&str; 8] =
    ["Toys", "Home Goods", "Garden", "Books", "Clothing", "Electronics", "Grocery", "Sports"];
const PRODUCTS_PER_DEPARTMENT: u64 = 120;
const COUNTRIES: [&str; 12] = [
    "United States",
    "Canada",
    "Mexico",
    "Brazil",
    "United Kingdom",
    "France",
    "Germany",
    "Spain",
    "Poland",
    "India",
    "Japan",
    "Australia",
];
const FIRST_NAMES: [&str; 40] = [
    "Ada", "Alan", "Amara", "Anton", "Beatriz", "Boris", "Carla", "Chen", "Daniel", "Dilara", "Elena", "Emil",
    "Fatima", "Felix", "Grace", "Hiro", "Ines", "Ivan", "Jana", "Joel", "Kamal", "Karin", "Leo", "Lucia", "Marco",
    "Mei", "Nadia", "Noah", "Olga", "Omar", "Paula", "Quinn", "Rosa", "Samir", "Sofia", "Tomas", "Uma", "Victor",
    "Wanda", "Yusuf",
];
const LAST_NAMES: [&str; 40] = [
    "Abbott", "Almeida", "Becker", "Bianchi", "Castro", "Cohen", "Costa", "Dubois", "Evans", "Fischer", "Garcia",
    "Gupta", "Hansen", "Hughes", "Ivanova", "Jensen", "Kaya", "Khan", "Kowalski", "Larsen", "Lopez", "Martin", "Meyer",
    "Moreau", "Nguyen", "Novak", "Okafor", "Olsen", "Patel", "Pereira", "Reyes", "Rossi", "Sato", "Schmidt", "Silva",
    "Tanaka", "Turner", "Weber", "Yilmaz", "Zhang",
];

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same for ever.
struct Random(u64);

impl Random {
    /// Uniform below `n`, near enough for made-up data.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len() as u64);
        usize::try_from(at).ok().and_then(|at| from.get(at)).copied().unwrap_or_default()
    }
}

/// Everything about a person follows from the number.
struct Customer {
    first_name: &'static str,
    last_name: &'static str,
    age: i32,
    country: &'static str,
    ssn: String,
}

impl Customer {
    fn new(number: u64) -> Self {
        let mut random = Random(number ^ 0x5eed);
        Self {
            first_name: random.pick(&FIRST_NAMES),
            last_name: random.pick(&LAST_NAMES),
            age: 18 + small(random.below(70)),
            country: random.pick(&COUNTRIES),
            ssn: ssn(number),
        }
    }
}

/// A different one for every customer. Multiplying by a prime that does not divide the count only shuffles.
fn ssn(number: u64) -> String {
    let (areas, groups, serials) = (899, 99, 9_999);
    let shuffled = (number + 1) * 104_395_301 % (areas * groups * serials);
    let (area, rest) = (shuffled % areas, shuffled / areas);
    format!("{:03}-{:02}-{:04}", area + 1, rest % groups + 1, rest / groups + 1)
}

fn small(n: u64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("first_name", DataType::Utf8, true),
        Field::new("last_name", DataType::Utf8, true),
        Field::new("age", DataType::Int32, true),
        Field::new("country", DataType::Utf8, true),
        Field::new("ssn", DataType::Utf8, true),
        Field::new("product_id", DataType::Int32, true),
        Field::new("department", DataType::Utf8, true),
        Field::new("purchase_date", DataType::Date32, true),
    ]))
}

/// The rows, in the order of their date.
pub(super) fn batches() -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    let mut random = Random(2);
    (0..ROWS.div_ceil(BATCH_ROWS)).map(move |n| batch(&mut random, n * BATCH_ROWS, ROWS.min((n + 1) * BATCH_ROWS)))
}

fn batch(random: &mut Random, from: u64, to: u64) -> Result<RecordBatch, ArrowError> {
    let (mut id, mut product_id, mut age) = (Int64Builder::new(), Int32Builder::new(), Int32Builder::new());
    let (mut first_name, mut last_name, mut country) =
        (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut ssn, mut department, mut purchase_date) =
        (StringBuilder::new(), StringBuilder::new(), Date32Builder::new());
    for row in from..to {
        let customer = Customer::new(random.below(CUSTOMERS));
        // The square makes the first departments busier than the last ones.
        let n = DEPARTMENTS.len() as u64;
        let place = random.below(n * n).isqrt();
        let bought = n - 1 - place;
        id.append_value(i64::try_from(row + 1).unwrap_or(i64::MAX));
        first_name.append_value(customer.first_name);
        last_name.append_value(customer.last_name);
        age.append_value(customer.age);
        country.append_value(customer.country);
        ssn.append_value(customer.ssn);
        product_id.append_value(small((bought + 1) * 1_000 + random.below(PRODUCTS_PER_DEPARTMENT)));
        department
            .append_value(usize::try_from(bought).ok().and_then(|at| DEPARTMENTS.get(at)).copied().unwrap_or_default());
        purchase_date.append_value(small(FIRST_DAY + row * DAYS / ROWS));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(id.finish()),
        Arc::new(first_name.finish()),
        Arc::new(last_name.finish()),
        Arc::new(age.finish()),
        Arc::new(country.finish()),
        Arc::new(ssn.finish()),
        Arc::new(product_id.finish()),
        Arc::new(department.finish()),
        Arc::new(purchase_date.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::{AsArray, RecordBatch};

    use super::*;

    fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
        let column = |b: &RecordBatch| b.column_by_name(column).unwrap().as_string::<i32>().clone();
        batches.iter().flat_map(|b| column(b).iter().map(|v| v.unwrap().to_owned()).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn purchases_are_as_promised_and_the_same_each_time() {
        let first: Vec<_> = batches().map(Result::unwrap).collect();
        let second: Vec<_> = batches().map(Result::unwrap).collect();
        assert_eq!(first, second);
        assert_eq!(first.iter().map(RecordBatch::num_rows).sum::<usize>(), 200_000);
        let departments: BTreeSet<String> = texts(&first, "department").into_iter().collect();
        assert_eq!(departments.len(), DEPARTMENTS.len());
        let ssns = texts(&first, "ssn");
        let distinct: BTreeSet<&String> = ssns.iter().collect();
        assert!(distinct.len() < ssns.len() / 4, "customers come back");
        assert!(ssns.iter().all(|ssn| ssn.len() == 11), "like 123-45-6789");
    }

    #[test]
    fn no_two_customers_share_a_number() {
        let distinct: BTreeSet<String> = (0..CUSTOMERS).map(ssn).collect();
        assert_eq!(distinct.len() as u64, CUSTOMERS);
    }
}
