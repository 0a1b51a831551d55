//! The settings of a session that change what its statements see: its project, and as whom it acts. Doors ask the guard
//! before they take them over.

use std::fmt;

use weir_guard::{Caller, Door};
use weir_model::{Actor, PrincipalId, ProjectName};

/// Name of the setting for the project.
pub const PROJECT: &str = "weir.project";
/// Name of the setting for as whom the session acts.
pub const IMPERSONATE_USER: &str = "weir.impersonate_user";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    project: Option<ProjectName>,
    impersonated: Option<PrincipalId>,
}

/// Why a setting does not take a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// There is no such setting of access.
    Unknown,
    Invalid,
    /// The session acts as this user to its end: who shares it later must not get the rights of the one before.
    Locked(PrincipalId),
}

impl Access {
    /// Whether a setting of this name changes what statements see.
    pub fn has(name: &str) -> bool {
        [PROJECT, IMPERSONATE_USER].iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// An empty value is none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), AccessError> {
        let value = value.trim();
        if PROJECT.eq_ignore_ascii_case(name) {
            self.project = optional(value, |name| ProjectName::new(name).ok())?;
            return Ok(());
        }
        if !IMPERSONATE_USER.eq_ignore_ascii_case(name) {
            return Err(AccessError::Unknown);
        }
        let wanted: Option<PrincipalId> = optional(value, |name| name.parse().ok())?;
        match &self.impersonated {
            Some(locked) if wanted.as_ref() != Some(locked) => Err(AccessError::Locked(locked.clone())),
            Some(_) | None => {
                self.impersonated = wanted;
                Ok(())
            }
        }
    }

    /// The value of a setting, empty for none; `None` when there is no such setting.
    pub fn get(&self, name: &str) -> Option<String> {
        let shown = |value: Option<&dyn fmt::Display>| value.map(ToString::to_string).unwrap_or_default();
        if PROJECT.eq_ignore_ascii_case(name) {
            return Some(shown(self.project.as_ref().map(|project| project as &dyn fmt::Display)));
        }
        let impersonated = IMPERSONATE_USER.eq_ignore_ascii_case(name);
        impersonated.then(|| shown(self.impersonated.as_ref().map(|user| user as &dyn fmt::Display)))
    }

    /// Who asks in the session, whose credential is that of `authenticated`.
    pub fn caller(&self, authenticated: PrincipalId, door: Door, client_hint: Option<String>) -> Caller {
        let effective = self.impersonated.clone().unwrap_or_else(|| authenticated.clone());
        Caller { actor: Actor { authenticated, effective }, project: self.project.clone(), door, client_hint }
    }
}

fn optional<T>(value: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, AccessError> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some).ok_or(AccessError::Invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(access: &Access) -> Caller {
        access.caller(PrincipalId::builtin("tara").unwrap(), Door::Local, None)
    }

    #[test]
    fn a_session_acts_as_itself_outside_of_projects_until_it_is_told() {
        let mut access = Access::default();
        assert_eq!(caller(&access).actor, Actor::itself(PrincipalId::builtin("tara").unwrap()));
        assert_eq!((access.get(PROJECT), access.get("role")), (Some(String::new()), None));
        access.set("Weir.Project", " study ").unwrap();
        access.set(IMPERSONATE_USER, "oona").unwrap();
        let caller = caller(&access);
        assert_eq!(caller.project, Some(ProjectName::new("study").unwrap()));
        assert_eq!((caller.actor.authenticated.name(), caller.actor.effective.name()), ("tara", "oona"));
        assert_eq!(access.get(IMPERSONATE_USER).as_deref(), Some("oona"));
        access.set(PROJECT, "").unwrap();
        assert_eq!(access.get(PROJECT).as_deref(), Some(""));
    }

    #[test]
    fn who_acts_as_somebody_else_does_so_to_the_end() {
        let mut access = Access::default();
        access.set(IMPERSONATE_USER, "").unwrap();
        access.set(IMPERSONATE_USER, "oona").unwrap();
        access.set(IMPERSONATE_USER, "oona").unwrap();
        for other in ["", "tara", "bob"] {
            let locked = AccessError::Locked(PrincipalId::builtin("oona").unwrap());
            assert_eq!(access.set(IMPERSONATE_USER, other), Err(locked), "{other}");
        }
    }

    #[test]
    fn other_settings_and_wrong_values_are_refused() {
        let mut access = Access::default();
        assert_eq!(access.set("role", "oona"), Err(AccessError::Unknown));
        assert_eq!(access.set(IMPERSONATE_USER, "a\u{1}b"), Err(AccessError::Invalid));
        assert_eq!(access.set(PROJECT, "a\u{1}b"), Err(AccessError::Invalid));
        assert_eq!(access, Access::default());
    }
}
