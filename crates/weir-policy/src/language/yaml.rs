//! Policies as YAML: snake_case keys, kebab-case choices, unknown keys refused.
//!
//! One document is one policy or a list of them:
//!
//! ```yaml
//! policy: mask-ssn                   # absent: a key made from the sentence
//! title: Mask the SSN                # optional
//! priority: 5                        # optional, 0 when absent
//! staged: false                      # optional
//! template: false                    # optional
//! certification: {text: looked at, label: ok, tags: [Certified]}  # optional, of which `text` is not
//! mask:                              # or `rows`, `limit_to_purposes` or `subscribe`
//!   columns: [ssn]                   # {tagged: t} | {named_like: re, case_insensitive: true} | any-tag | no-tags | all
//!   using: hash                      # see below
//!   where: "country = 'US'"          # optional
//! for: everyone                      # {except: condition} | {who: condition}
//! otherwise: [{mask: …, for: …}]     # optional, after `who`: a rule or a list of them
//! on: all-data-sources               # {data_sources: [s.t]} | {any: [circumstance]} | {all: [circumstance]}
//! ```
//!
//! - `using` is `hash`, `null`, `reversible`, `format-preserving`, `{constant: 5}`, `{round: 100}`, `{round: month}`,
//!   `{round: profile}`,
//!   `{regex: {pattern: …, replacement: …}}`, `{k_anonymous: 5}`, `{randomized: {replace: 20, by: [a, b]}}`,
//!   `{randomized: {within: 5}}`, `{randomized: {within_days: 7}}` or `{custom: "left(@column, 3)"}`.
//! - `rows` is `{match: group, column: department}`, with `purpose` or `{attribute: key}` for a group and `{tagged: t}`
//!   for a column, or `{where: predicate}`, `{newer_than: {days: 30}}`, `{older_than: {years: 1}}` or `{sample: 25}`.
//! - `limit_to_purposes` is a list of purposes, and is `for` everyone or everyone except some.
//! - `subscribe` is `anyone`, `selected`, `{when: condition}` or `{asking: [owner, {permission: p}, {user: u}]}`, with
//!   `merge: require` beside it for one that is always required.
//! - A condition is `{group: g}`, `{attribute: {key: k, value: v}}`, `owner`, `{purpose: p}`, `{permission: p}`,
//!   `{any: […]}` or `{all: […]}`.
//! - A circumstance is `{source_tagged: t}`, `{column_tagged: t}`, `{column_named_like: re}`, `no-tags`, `any-tag`,
//!   `{in_schema: s}`, `{owned_by: {user: u}}`, `{owned_by: {group: g}}` or `chosen-by-owner`.
//! - A constant in quotes is text; one without is a number, `true`, `false`, `null` or text; `{date: 2024-12-31}` and
//!   `{timestamp: 2024-12-31 23:59:59}` are those.

mod node;
mod read;
mod write;

pub(super) use read::policies;
pub(super) use write::policy as write;
