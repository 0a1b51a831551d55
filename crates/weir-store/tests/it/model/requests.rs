//! Requests for subscriptions, and who may approve them.

use weir_model::{PolicyKey, PrincipalId, SourceName};
use weir_policy::StoredPolicy;
use weir_policy::ast::{Approver, Body, Circumstances, Subscribe, Subscribers};

use super::{Model, No};

/// A request; what is gone is absent.
#[derive(Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) source: Option<SourceName>,
    pub(super) user: Option<PrincipalId>,
    pub(super) policy: Option<PolicyKey>,
    pub(super) who: PrincipalId,
    pub(super) approvers: Vec<Approver>,
    pub(super) filled: Vec<Option<PrincipalId>>,
    pub(super) ended: bool,
}

impl Model {
    pub(super) fn asked(&mut self, id: u64) -> Result<&mut Asked, No> {
        let at = usize::try_from(id).unwrap().checked_sub(1).ok_or("request")?;
        self.requests.get_mut(at).ok_or("request")
    }

    /// What has to be promised for the purpose.
    /// Whom the policy asks now.
    pub(super) fn asks(&self, policy: &PolicyKey) -> Option<&Vec<Approver>> {
        let policy = &self.policies.get(policy)?.policy;
        match &policy.statement.body {
            Body::Subscribe(Subscribe { who: Subscribers::Asking(approvers), .. })
                if !policy.staged && !policy.template =>
            {
                Some(approvers)
            }
            _ => None,
        }
    }

    pub(super) fn stands(&self, asked: &Asked) -> bool {
        let there = asked.source.is_some() && asked.user.is_some() && !asked.ended;
        there && asked.policy.as_ref().and_then(|policy| self.asks(policy)) == Some(&asked.approvers)
    }

    pub(super) fn ask(&mut self, source: &SourceName, user: &PrincipalId, named: Option<&PolicyKey>) -> Result<(), No> {
        self.source(source)?;
        self.user(user)?;
        let open = |r: &&Asked| self.stands(r) && r.filled.iter().any(Option::is_none);
        if self.requests.iter().filter(open).any(|r| r.source.as_ref() == Some(source) && r.who == *user) {
            return Err("refused");
        }
        let asks_here = |stored: &&StoredPolicy| {
            let here = Circumstances::Named(vec![source.clone().into()]);
            self.asks(&stored.policy.key).is_some() && stored.policy.statement.on == here
        };
        let policy = match named {
            Some(key) => self.policies.get(key).filter(asks_here),
            None => self.policies.values().filter(asks_here).min_by_key(|stored| stored.id),
        };
        let key = policy.ok_or("refused")?.policy.key.clone();
        let approvers = self.asks(&key).unwrap().clone();
        self.requests.push(Asked {
            source: Some(source.clone()),
            user: Some(user.clone()),
            policy: Some(key),
            who: user.clone(),
            filled: vec![None; approvers.len()],
            approvers,
            ended: false,
        });
        Ok(())
    }

    pub(super) fn places(&self, asked: &Asked, by: &PrincipalId) -> Vec<usize> {
        let owns = asked.source.as_ref().is_some_and(|source| self.sources[source].owners.contains(by));
        let can = |approver: &Approver| match approver {
            Approver::Owner => owns,
            Approver::Holder(permission) => self.principals[by].permissions.contains(permission),
            Approver::Person(person) => person == by,
        };
        (0..asked.approvers.len()).filter(|slot| can(&asked.approvers[*slot])).collect()
    }

    pub(super) fn approve(&mut self, request: u64, by: &PrincipalId) -> Result<(), No> {
        let mut asked = self.asked(request)?.clone();
        self.user(by)?;
        let open = self.stands(&asked) && asked.filled.contains(&None);
        if !open || asked.who == *by || asked.filled.contains(&Some(by.clone())) {
            return Err("refused");
        }
        let slot = self.places(&asked, by).into_iter().find(|slot| asked.filled[*slot].is_none()).ok_or("refused")?;
        asked.filled[slot] = Some(by.clone());
        *self.asked(request)? = asked;
        Ok(())
    }
}
