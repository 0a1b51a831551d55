//! A small fixed world for tests that people read: the purchases of the seed, orders by nation, and the employees of
//! the attack catalogue.

use std::collections::BTreeSet;
use std::path::PathBuf;

use weir_model::{
    AttributeKey, Column, ColumnId, ColumnName, DataSource, DataType, Epoch, FileFormat, GroupName, Location, PolicyId,
    PolicyKey, Principal, PrincipalId, SourceId, Value,
};
use weir_policy::ast::{
    Action, Body, CalendarUnit, Cascade, Circumstances, ColumnRef, Columns, Condition, LookupQuery, MaskAction, Match,
    MatchColumn, Merge, Method, Policy, Predicate, RoundTo, RowCondition, Rule, Scope, Statement, Subscribe,
    Subscribers, Test, UserCall,
};
use weir_policy::{Compare, Facts, StoredPolicy};

use crate::cell::{Cell, Row, Tables};
use crate::generate::World;
use crate::oracle::Keys;

const MONEY: DataType = DataType::Decimal { precision: 10, scale: 2 };
const TIMESTAMP: DataType = DataType::Timestamp { zoned: false };

/// The sources: `retail.customer_purchases`, `retail.products`, `sales.orders`, `hr.emp`, `hr.payroll`, `hr.secret`, `gov.entitlements`.
///
/// * `tara` is of the groups Toys and Home Goods, `garth` of Garden, `oona` owns the retail sources, `nora` is subscribed to nothing.
/// * `fin` is of the groups analysts and finance with the nations FRANCE and GERMANY, `ana` of analysts with JAPAN.
/// * `alice` sees of `hr.emp` the department A, social security numbers hashed and salaries NULL; `bob` sees it all.
pub fn world() -> World {
    let facts = Facts { epoch: Some(Epoch(1)), principals: people(), ..Facts::default() };
    let mut world = World::of(facts, Tables::new(), Keys::default());
    add_purchases(&mut world);
    add_orders(&mut world);
    add_employees(&mut world);
    for statement in retail_policies().into_iter().chain(order_policies()).chain(employee_policies()) {
        let id = PolicyId(u32::try_from(world.facts.policies.len() + 1).unwrap());
        let key = PolicyKey::new(format!("policy-{id}")).unwrap();
        let policy = Policy::new(key, statement);
        world.facts.policies.push(StoredPolicy { id, policy });
    }
    world
}

fn people() -> Vec<Principal> {
    let person = |name: &str, groups: &[&str], nations: &[&str]| {
        let mut person = Principal::bare(id(name));
        person.groups = groups.iter().map(|g| GroupName::new(*g).unwrap()).collect();
        if !nations.is_empty() {
            let values = nations.iter().map(|n| (*n).to_owned()).collect();
            person.attributes.insert(AttributeKey::new("nation").unwrap(), values);
        }
        person
    };
    vec![
        person("tara", &["Toys", "Home Goods"], &[]),
        person("garth", &["Garden"], &[]),
        person("oona", &[], &[]),
        person("nora", &[], &[]),
        person("fin", &["analysts", "finance"], &["FRANCE", "GERMANY"]),
        person("ana", &["analysts"], &["JAPAN"]),
        person("alice", &["staff"], &[]),
        person("bob", &["staff", "admins"], &[]),
    ]
}

fn id(name: &str) -> PrincipalId {
    PrincipalId::builtin(name).unwrap()
}

fn add(world: &mut World, name: &str, owners: &[&str], columns: &[(&str, DataType)], rows: Vec<Row>) {
    let number = u32::try_from(world.facts.sources.len() + 1).unwrap();
    let columns = columns.iter().enumerate().map(|(i, (name, data_type))| Column {
        id: ColumnId(u32::try_from(50 - i).unwrap()),
        name: ColumnName::new(*name).unwrap(),
        data_type: data_type.clone(),
        nullable: true,
        tags: BTreeSet::new(),
        profile: None,
    });
    world.facts.sources.push(DataSource {
        id: SourceId(number),
        name: name.parse().unwrap(),
        tags: BTreeSet::new(),
        owners: owners.iter().map(|o| id(o)).collect(),
        columns: columns.collect(),
        parts: Vec::new(),
        row_key: Vec::new(),
        event_time: None,
        lineage: None,
        workspace: None,
        location: Location::Files { format: FileFormat::Parquet, path: PathBuf::new(), partitions: Vec::new() },
    });
    world.tables.insert(SourceId(number), rows);
    world.keys.sources.insert(SourceId(number), [u8::try_from(number).unwrap(); 32]);
}

fn text(text: &str) -> Cell {
    if text == "NULL" { Cell::Null } else { Cell::Text(text.to_owned()) }
}

fn add_purchases(world: &mut World) {
    // Two people share a social security number, so that equal values can be seen to have equal hashes.
    let people = [
        ("Ada", "Byron", 36, "GB", "101-11-1001"),
        ("Bela", "Nagy", 51, "HU", "102-22-1002"),
        ("Chen", "Wei", 28, "CN", "103-33-1003"),
        ("Dana", "O'Neil", 19, "IE", "101-11-1001"),
        ("Emil", "Krüger", 64, "DE", "NULL"),
    ];
    let departments = ["Toys", "Garden", "Home Goods", "Books", "NULL", "Sports"];
    let rows = (0..20_i64).map(|i| {
        let place = usize::try_from(i).unwrap();
        let (first, last, age, country, ssn) = people[place % people.len()];
        vec![
            Cell::Int(i + 1),
            text(first),
            text(last),
            Cell::Int(age + i % 3),
            text(country),
            text(ssn),
            Cell::Int(1 + i % 4),
            text(departments[place % departments.len()]),
            Cell::Date(19_723 + i32::try_from(i).unwrap() * 9),
        ]
    });
    let columns = [
        ("id", DataType::Int64),
        ("first_name", DataType::Text),
        ("last_name", DataType::Text),
        ("age", DataType::Int32),
        ("country", DataType::Text),
        ("ssn", DataType::Text),
        ("product_id", DataType::Int64),
        ("department", DataType::Text),
        ("purchase_date", DataType::Date),
    ];
    add(world, "retail.customer_purchases", &["oona"], &columns, rows.collect());
    let products = [(1, "kite"), (2, "rake"), (3, "lamp"), (4, "novel")];
    let rows = products.map(|(id, name)| vec![Cell::Int(id), text(name)]).to_vec();
    add(world, "retail.products", &["oona"], &[("id", DataType::Int64), ("name", DataType::Text)], rows);
}

fn add_orders(world: &mut World) {
    let order = |id: i64, nation: &str, cents: i128, contact: &str, day: i64| {
        vec![
            Cell::Int(id),
            text(nation),
            Cell::Decimal { unscaled: cents, scale: 2 },
            text(contact),
            text("clerk-9"),
            Cell::Timestamp((19_750 + day) * 86_400_000_000 + 45_296_000_000),
        ]
    };
    let rows = vec![
        order(1, "FRANCE", 12_345, "lea@example.org", 0),
        order(2, "GERMANY", 99_999, "max@example.org", 20),
        order(3, "JAPAN", 5_000, "yui@example.org", 40),
        order(4, "JAPAN", -150, "NULL", 60),
        order(5, "PERU", 777_700, "eva@example.org", 80),
        order(6, "NULL", 100, "who@example.org", 100),
    ];
    let columns = [
        ("id", DataType::Int64),
        ("nation", DataType::Text),
        ("amount", MONEY),
        ("contact", DataType::Text),
        ("clerk", DataType::Text),
        ("ordered_at", TIMESTAMP),
    ];
    add(world, "sales.orders", &[], &columns, rows);
}

fn add_employees(world: &mut World) {
    let emp = |id: i64, name: &str, dept: &str, salary: i64, ssn: &str| {
        vec![Cell::Int(id), text(name), text(dept), Cell::Int(salary), text(ssn)]
    };
    // The salaries and names that the attacks ask for are in the hidden department.
    let rows = vec![
        emp(1, "11", "A", 200, "123-45-6789"),
        emp(2, "12", "A", 300, "223-45-6789"),
        emp(3, "13", "A", 100, "123-45-6789"),
        emp(4, "HIDDEN_BOB", "B", 100, "323-45-6789"),
        emp(5, "HIDDEN_EVE", "B", 900, "423-45-6789"),
        emp(6, "HIDDEN_NED", "NULL", 100, "NULL"),
    ];
    let columns = [
        ("id", DataType::Int32),
        ("name", DataType::Text),
        ("dept", DataType::Text),
        ("salary", DataType::Int64),
        ("ssn", DataType::Text),
    ];
    add(world, "hr.emp", &[], &columns, rows);
    let pay = |id: i64, dept: &str, bonus: i64| vec![Cell::Int(id), text(dept), Cell::Int(bonus)];
    let rows = vec![pay(1, "A", 10), pay(2, "B", 20), pay(3, "C", 30), pay(4, "NULL", 40)];
    add(
        world,
        "hr.payroll",
        &[],
        &[("id", DataType::Int32), ("dept", DataType::Text), ("bonus", DataType::Int64)],
        rows,
    );
    add(
        world,
        "hr.secret",
        &[],
        &[("id", DataType::Int32), ("word", DataType::Text)],
        vec![vec![Cell::Int(1), text("HIDDEN_WORD")]],
    );
    let rows = [("alice", "A"), ("alice", "C"), ("bob", "B"), ("NULL", "A"), ("bob", "NULL")];
    let rows = rows.map(|(user, dept)| vec![text(user), text(dept)]).to_vec();
    add(world, "gov.entitlements", &[], &[("username", DataType::Text), ("dept", DataType::Text)], rows);
}

fn on(sources: &[&str]) -> Circumstances {
    Circumstances::Named(sources.iter().map(|s| s.parse::<weir_model::SourceName>().unwrap().into()).collect())
}

fn member(group: &str) -> Condition {
    Condition::Test(Test::MemberOf(GroupName::new(group).unwrap().into()))
}

fn subscribe(who: Subscribers, sources: &[&str]) -> Statement {
    Statement { body: Body::Subscribe(Subscribe { who, merge: Merge::Share }), on: on(sources) }
}

fn data(action: Action, scope: Scope, source: &str) -> Statement {
    Statement { body: Body::Data(Cascade { rules: vec![Rule { action, scope }] }), on: on(&[source]) }
}

fn name(column: &str) -> ColumnName {
    ColumnName::new(column).unwrap()
}

fn mask(column: &str, method: Method) -> MaskAction {
    MaskAction {
        columns: Columns::Named(vec![name(column).into()]),
        method: method.into(),
        or_else: Vec::new(),
        when: None,
    }
}

fn column(column: &str) -> Box<Predicate> {
    Box::new(Predicate::Column(ColumnRef { qualifier: None, name: name(column) }.into()))
}

fn equal(left: Box<Predicate>, right: Predicate) -> Predicate {
    Predicate::Compare { op: Compare::Equal, left, right: Box::new(right) }
}

fn literal(text: &str) -> Predicate {
    Predicate::Literal(Value::Text(text.to_owned()))
}

fn retail_policies() -> Vec<Statement> {
    let groups = ["Toys", "Garden", "Home Goods"].map(member).to_vec();
    let except_owner = || Scope::EveryoneExcept(Condition::Test(Test::Owner));
    let matching = RowCondition::Match { user: Match::Group, column: MatchColumn::Named(name("department").into()) };
    vec![
        subscribe(Subscribers::When(Condition::Any(groups)), &["retail.customer_purchases", "retail.products"]),
        data(Action::Mask(mask("ssn", Method::Hash)), except_owner(), "retail.customer_purchases"),
        data(Action::ShowRows(matching), except_owner(), "retail.customer_purchases"),
    ]
}

fn order_policies() -> Vec<Statement> {
    let nation = AttributeKey::new("nation").unwrap();
    let matching = RowCondition::Match {
        user: Match::Attribute(nation.into()),
        column: MatchColumn::Named(name("nation").into()),
    };
    let contact = Method::Regex {
        pattern: "^[a-z]+@".to_owned(),
        replacement: "***@".to_owned(),
        case_insensitive: false,
        global: false,
    };
    let in_france = MaskAction { when: Some(equal(column("nation"), literal("FRANCE"))), ..mask("contact", contact) };
    let hundred = Method::Round(RoundTo::Number("100".to_owned()));
    let month = Method::Round(RoundTo::Calendar(CalendarUnit::Month));
    let clerk = Method::Constant(Value::Text("somebody".to_owned()));
    let order = "sales.orders";
    vec![
        subscribe(Subscribers::When(member("analysts")), &[order]),
        data(Action::ShowRows(matching), Scope::Everyone, order),
        data(Action::Mask(mask("amount", hundred)), Scope::EveryoneExcept(member("finance")), order),
        data(Action::Mask(mask("ordered_at", month)), Scope::Everyone, order),
        data(Action::Mask(mask("clerk", clerk)), Scope::Everyone, order),
        data(Action::Mask(in_france), Scope::Everyone, order),
    ]
}

fn employee_policies() -> Vec<Statement> {
    let except_admins = || Scope::EveryoneExcept(member("admins"));
    let dept_a = RowCondition::Where(equal(column("dept"), literal("A")));
    let entitled = LookupQuery {
        source: "gov.entitlements".parse::<weir_model::SourceName>().unwrap().into(),
        alias: None,
        key: Some(*column("dept")),
        filter: Some(equal(column("username"), Predicate::User(UserCall::Username.into()))),
    };
    let entitled =
        RowCondition::Where(Predicate::InLookup { value: column("dept"), lookup: Box::new(entitled), negated: false });
    // The row filter of the payroll looks at the departments that this mask hides.
    let department = Value::Text("a department".to_owned());
    vec![
        subscribe(Subscribers::When(member("staff")), &["hr.emp", "hr.payroll"]),
        subscribe(Subscribers::When(member("admins")), &["hr.secret"]),
        data(Action::ShowRows(dept_a), except_admins(), "hr.emp"),
        data(Action::Mask(mask("ssn", Method::Hash)), except_admins(), "hr.emp"),
        data(Action::Mask(mask("salary", Method::Null)), except_admins(), "hr.emp"),
        data(Action::ShowRows(entitled), Scope::Everyone, "hr.payroll"),
        data(Action::Mask(mask("dept", Method::Constant(department))), Scope::Everyone, "hr.payroll"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Speaker;

    /// How many rows of each source the person sees.
    fn seen(person: &str) -> Vec<(u32, usize)> {
        world()
            .visible(&Speaker::itself(&id(person)))
            .into_iter()
            .map(|(source, rows)| (source.0, rows.len()))
            .collect()
    }

    #[test]
    fn people_see_what_the_world_says() {
        assert_eq!(seen("tara"), [(1, 7), (2, 4)]);
        assert_eq!(seen("garth"), [(1, 4), (2, 4)]);
        assert_eq!(seen("oona"), [(1, 20), (2, 4)]);
        assert_eq!(seen("nora"), []);
        assert_eq!(seen("fin"), [(3, 2)]);
        assert_eq!(seen("ana"), [(3, 2)]);
        assert_eq!(seen("alice"), [(4, 3), (5, 2)]);
        assert_eq!(seen("bob"), [(4, 6), (5, 1), (6, 1)]);
    }
}
