//! On what a policy of Ranger holds.

use std::collections::BTreeMap;

use weir_model::{SourceName, Tag};
use weir_policy::ast::{At, Circumstance, Circumstances};

use crate::error::short;
use crate::make;

/// Most tables that one policy names.
const NAMES_MAX: usize = 1_000;

/// The names on one level, as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resource {
    pub(super) values: Vec<String>,
    pub(super) excludes: bool,
}

/// What a policy speaks of.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Tables(Tables),
    Tags(Names),
    /// Something that is no table, such as a function or a path.
    Elsewhere(String),
}

#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) catalogs: Option<Names>,
    pub(super) schemas: Names,
    pub(super) tables: Option<Names>,
    pub(super) columns: Option<Names>,
    /// Levels that are not known.
    unknown: Vec<String>,
}

/// Names with wildcards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Names {
    /// All names.
    pub(super) any: bool,
    pub(super) literal: Vec<String>,
    /// With `*`, `?` or something that Ranger replaces.
    pub(super) patterns: Vec<String>,
    /// All but these.
    pub(super) excludes: bool,
}

impl Names {
    pub(super) fn new(resource: &Resource, small_letters: bool) -> Self {
        let mut names = Names { any: false, literal: Vec::new(), patterns: Vec::new(), excludes: resource.excludes };
        if resource.values.is_empty() {
            // For Ranger no name is every name.
            names.patterns.push(String::new());
        }
        for value in &resource.values {
            let value = if small_letters { value.to_lowercase() } else { value.clone() };
            if value == "*" {
                names.any = true;
            } else if value.is_empty() || value.contains(['*', '?', '{', '}', '$']) {
                names.patterns.push(value);
            } else if !names.literal.contains(&value) {
                names.literal.push(value);
            }
        }
        names
    }

    /// All names and nothing but.
    pub(super) fn is_all(&self) -> bool {
        self.any && !self.excludes
    }

    /// A list of names, without wildcards and exclusion.
    pub(super) fn only_literal(&self) -> bool {
        !self.any && !self.excludes && self.patterns.is_empty() && !self.literal.is_empty()
    }

    pub(super) fn said(&self) -> String {
        let mut all: Vec<&str> = self.literal.iter().chain(&self.patterns).map(String::as_str).collect();
        if self.any {
            all.push("*");
        }
        let list = all.iter().map(|name| format!("`{}`", short(name))).collect::<Vec<_>>().join(", ");
        if self.excludes { format!("all but {list}") } else { list }
    }

    /// Whether a name may be among them. Never wrong with `false`.
    fn may_hold(&self, name: &str) -> bool {
        let found = self.any || self.literal.iter().any(|one| one.eq_ignore_ascii_case(name));
        self.excludes || found || self.patterns.iter().any(|pattern| may_match(pattern, name))
    }

    /// The names as a regular expression for the whole name.
    pub(super) fn regex(&self) -> String {
        if self.any || self.excludes || self.patterns.iter().any(|p| p.is_empty() || p.contains(['{', '}', '$'])) {
            return ".".to_owned();
        }
        let pattern = |pattern: &String| -> String {
            let part = |c: char| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                c => regex::escape(c.encode_utf8(&mut [0; 4])),
            };
            pattern.chars().map(part).collect()
        };
        let all: Vec<String> =
            self.literal.iter().map(|name| regex::escape(name)).chain(self.patterns.iter().map(pattern)).collect();
        match all.as_slice() {
            [only] => format!("^{only}$"),
            several => format!("^({})$", several.join("|")),
        }
    }
}

fn may_match(pattern: &str, name: &str) -> bool {
    // Only the beginning is compared, which is enough to tell most apart.
    let start = pattern.split(['*', '?', '{', '$']).next().unwrap_or_default();
    name.to_lowercase().starts_with(&start.to_lowercase())
}

impl Place {
    pub(super) fn new(resources: &BTreeMap<String, Resource>, small_letters: bool) -> Self {
        let names = |key: &str| resources.get(key).map(|resource| Names::new(resource, small_letters));
        if let (Some(tag), 1) = (resources.get("tag"), resources.len()) {
            return Place::Tags(Names::new(tag, false));
        }
        let Some(schemas) = names("database").or_else(|| names("schema")) else {
            let levels: Vec<&str> = resources.keys().map(String::as_str).collect();
            return Place::Elsewhere(short(&levels.join(", ")));
        };
        let known = ["catalog", "database", "schema", "table", "column"];
        let unknown: Vec<String> =
            resources.keys().filter(|key| !known.contains(&key.as_str())).map(|key| short(key)).collect();
        if unknown.iter().any(|key| key == "udf" || key == "procedure" || key == "function") {
            return Place::Elsewhere(unknown.join(", "));
        }
        let (catalogs, tables, columns) = (names("catalog"), names("table"), names("column"));
        Place::Tables(Tables { catalogs, schemas, tables, columns, unknown })
    }
}

impl Tables {
    /// The data sources, neither more nor fewer; or why Weir cannot say it.
    pub(super) fn exactly(&self) -> Result<Vec<Circumstances>, String> {
        if let Some(level) = self.unknown.first() {
            return Err(format!("the level `{level}` of its resources is not known"));
        }
        let Some(tables) = &self.tables else {
            return Err("it speaks of schemas, not of tables".to_owned());
        };
        if self.schemas.is_all() && tables.is_all() {
            return Ok(vec![Circumstances::AllSources]);
        }
        if !self.schemas.only_literal() {
            return Err(format!("Weir has no wildcards for schemas ({})", self.schemas.said()));
        }
        if tables.is_all() {
            let schemas = self.schemas.literal.iter().map(|schema| make::in_schema(schema));
            return Ok(vec![Circumstances::Any(schemas.collect::<Result<_, _>>()?)]);
        }
        if !tables.only_literal() {
            return Err(format!("Weir has no wildcards for tables ({})", tables.said()));
        }
        let count = self.schemas.literal.len().saturating_mul(tables.literal.len());
        if count > NAMES_MAX {
            return Err(format!("it names {count} tables; Weir reads at most {NAMES_MAX} here"));
        }
        let mut names = Vec::with_capacity(count);
        for schema in &self.schemas.literal {
            for table in &tables.literal {
                let name = SourceName::new(schema.as_str(), table.as_str()).map_err(|error| error.to_string())?;
                names.push(At::from(name));
            }
        }
        Ok(vec![Circumstances::Named(names)])
    }

    /// The data sources and perhaps more of them, for what only takes away.
    pub(super) fn at_least(&self) -> Vec<Circumstances> {
        if let Ok(exactly) = self.exactly() {
            return exactly;
        }
        if self.schemas.only_literal()
            && let Ok(schemas) = self.schemas.literal.iter().map(|schema| make::in_schema(schema)).collect()
        {
            return vec![Circumstances::Any(schemas)];
        }
        vec![Circumstances::AllSources]
    }

    /// Whether it names every table that it speaks of.
    pub(super) fn names_tables(&self) -> bool {
        self.exactly().is_ok_and(|on| on.iter().all(|on| matches!(on, Circumstances::Named(_))))
    }

    /// Whether both may speak of one table. Never wrong with `false`.
    pub(super) fn may_meet(&self, other: &Tables) -> bool {
        let meet = |mine: Option<&Names>, theirs: Option<&Names>| match (mine, theirs) {
            (Some(mine), Some(theirs)) if mine.only_literal() => mine.literal.iter().any(|name| theirs.may_hold(name)),
            (Some(mine), Some(theirs)) if theirs.only_literal() => {
                theirs.literal.iter().any(|name| mine.may_hold(name))
            }
            (_, _) => true,
        };
        meet(Some(&self.schemas), Some(&other.schemas)) && meet(self.tables.as_ref(), other.tables.as_ref())
    }
}

/// The tags of a tag policy; an error where wildcards stand.
pub(super) fn tags(names: &Names) -> Result<Vec<Tag>, String> {
    if !names.only_literal() {
        return Err(format!("Weir has no wildcards for tags ({})", names.said()));
    }
    names.literal.iter().map(|name| make::tag(name)).collect()
}

/// Sources with the tags, or with any tag where it is not known which.
pub(super) fn tagged(names: &Names) -> Vec<Circumstances> {
    match tags(names) {
        Ok(tags) => tags.iter().map(make::tagged_anywhere).collect(),
        Err(_) => vec![Circumstances::Any(vec![Circumstance::AnyTag])],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &[&str], excludes: bool) -> Names {
        Names::new(&Resource { values: values.iter().map(|&v| v.to_owned()).collect(), excludes }, true)
    }

    #[test]
    fn wildcards_become_regular_expressions() {
        assert_eq!(names(&["SSN"], false).regex(), "^ssn$");
        assert_eq!(names(&["a.b", "c*", "d?"], false).regex(), "^(a\\.b|c.*|d.)$");
        assert_eq!(names(&["*"], false).regex(), ".");
        assert_eq!(names(&["a"], true).regex(), ".");
        assert_eq!(names(&["{USER}_x"], false).regex(), ".");
    }

    #[test]
    fn places_that_may_meet_are_told_from_others() {
        let place = |schema: &str, table: &str| Tables {
            catalogs: None,
            schemas: names(&[schema], false),
            tables: Some(names(&[table], false)),
            columns: None,
            unknown: Vec::new(),
        };
        assert!(place("a", "b").may_meet(&place("a", "*")));
        assert!(place("a", "b*").may_meet(&place("a", "bc")));
        assert!(!place("a", "b*").may_meet(&place("a", "cb")));
        assert!(!place("a", "b").may_meet(&place("c", "*")));
        assert!(place("a*", "b*").may_meet(&place("b*", "c*")), "unknown is taken for yes");
    }
}
