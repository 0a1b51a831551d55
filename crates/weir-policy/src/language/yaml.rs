//! Policies as YAML: snake_case keys, kebab-case choices, unknown keys refused.
//!
//! One document is one policy or a list of them:
//!
//! ```yaml
//! policy: mask-ssn                   # absent: a key made from the sentence
//! title: Mask the SSN                # optional
//! staged: false                      # optional
//! mask:                              # or `rows`, or `subscribe`
//!   columns: [ssn]                   # {tagged: t} | {named_like: re, case_insensitive: true} | any-tag | no-tags | all
//!   using: hash                      # null | {constant: 5} | {round: 100} | {round: month} | {regex: {pattern: …, replacement: …}}
//!   where: "country = 'US'"          # optional
//! for: everyone                      # {except: condition} | {who: condition}
//! otherwise: [{mask: …, for: …}]     # optional, after `who`: a rule or a list of them
//! on: all-data-sources               # {data_sources: [s.t]} | {any: [circumstance]} | {all: [circumstance]}
//! ```
//!
//! - `rows` is `{match: group, column: department}`, with `{attribute: key}` for a group and `{tagged: t}` for a column,
//!   or `{where: predicate}`.
//! - `subscribe` is `anyone`, `selected` or `{when: condition}`, with `merge: require` beside it for one that is always
//!   required.
//! - A condition is `{group: g}`, `{attribute: {key: k, value: v}}`, `owner`, `{purpose: p}`, `{any: […]}` or `{all: […]}`.
//! - A circumstance is `{source_tagged: t}`, `{column_tagged: t}` or `{column_named_like: re}`.
//! - A constant in quotes is text; one without is a number, `true`, `false`, `null` or text; `{date: 2024-12-31}` and
//!   `{timestamp: 2024-12-31 23:59:59}` are those.

mod node;
mod read;
mod write;

pub(super) use read::policies;
pub(super) use write::policy as write;
