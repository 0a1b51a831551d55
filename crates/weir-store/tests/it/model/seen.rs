//! Whether the random changes came to everything that takes several of them.

use weir_model::{Origin, PolicyKey, PrincipalSet, SourceId, SourceName};
use weir_policy::Facts;
use weir_policy::ast::Policy;

use super::Model;

/// How often there was something to be seen of what takes several changes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    approved: usize,
    void: usize,
    chosen: usize,
    group_grants: usize,
    promised: usize,
    project_sources: usize,
    row_keys: usize,
    certified: usize,
    outdated: usize,
    profiles: usize,
    part_tags: usize,
    copies: usize,
    parents_gone: usize,
}

impl Seen {
    pub(super) fn has_seen_it_all(&self) -> bool {
        let Seen { approved, void, chosen, group_grants, promised, project_sources, row_keys, .. } = self;
        let Seen { certified, outdated, profiles, part_tags, copies, parents_gone, .. } = self;
        let all = [
            approved,
            void,
            chosen,
            group_grants,
            promised,
            project_sources,
            row_keys,
            certified,
            outdated,
            profiles,
            part_tags,
            copies,
            parents_gone,
        ];
        all.into_iter().all(|times| *times > 5)
    }

    pub(super) fn count(&mut self, facts: &Facts, model: &Model) {
        let projects = || facts.projects.iter();
        self.approved += usize::from(!facts.approved.is_empty());
        self.void += usize::from(model.requests.iter().any(|r| !r.filled.contains(&None) && !model.stands(r)));
        self.chosen += usize::from(!facts.chosen.is_empty());
        let groups = facts.impersonations.iter().filter(|grant| matches!(grant.target, PrincipalSet::Group(_)));
        self.group_grants += groups.count().min(1);
        self.promised +=
            projects().map(|p| model.projects[&p.name].promised.len().min(p.acknowledged.len())).sum::<usize>();
        self.project_sources += projects().map(|p| p.sources.len()).sum::<usize>();
        self.certified += model.certified.len();
        let outdated = |((key, _), (_, policy)): &(&(PolicyKey, SourceName), &(String, Policy))| {
            model.policies[key].policy != *policy
        };
        self.outdated += model.certified.iter().filter(outdated).count();
        self.profiles += facts.sources.iter().flat_map(|s| &s.columns).filter(|c| c.profile.is_some()).count();
        self.part_tags +=
            facts.sources.iter().flat_map(|s| &s.parts).filter(|part| !part.column.tags.is_empty()).count();
        let lineages = || facts.sources.iter().filter_map(|source| source.lineage.as_ref());
        let origins = lineages().flat_map(|lineage| lineage.columns.values());
        self.copies += origins.filter(|origin| matches!(origin, Origin::Copied(_))).count();
        let known = |id: &SourceId| facts.sources.iter().any(|source| source.id == *id);
        self.parents_gone += lineages().filter(|lineage| !lineage.parents.iter().all(known)).count();
        self.row_keys += facts.sources.iter().filter(|s| !s.row_key.is_empty()).count();
    }
}
