//! The order of a read, in types: a [`Request`] pins a snapshot, [`Request::decide`] answers for all sources at
//! once, [`Request::admit`] makes the record durable and hands out the [`Admitted`] without which nothing executes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_model::{Actor, Epoch, Principal, ProjectName, RequestId, SourceId, SourceName, Surroundings};
use weir_policy::{Decision, Snapshot, SourceDecision};

use crate::audit::{Attempt, Door, Ended, Outcome, RefusalRecord, SourceRecord, VERSION};
use crate::basis::Basis;
use crate::ports::{AuditSink, Clock, Connections, KeyRing, NoConnections, PortError, SnapshotFeed};
use crate::refusal::{Outside, Refusal, Truth};

/// Who asks, for whom, where and by which door.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From a verified credential.
    pub actor: Actor,
    /// In which the actor works at present.
    pub project: Option<ProjectName>,
    pub door: Door,
    /// What the client says of itself; kept as a hint in the audit log, never identity.
    pub client_hint: Option<String>,
}

/// Begins requests. One per process; cheap to clone.
#[derive(Clone)]
pub struct Guard {
    feed: Arc<dyn SnapshotFeed>,
    audit: Arc<dyn AuditSink>,
    keys: Arc<dyn KeyRing>,
    clock: Arc<dyn Clock>,
    connections: Arc<dyn Connections>,
}

impl Guard {
    pub fn new(
        feed: Arc<dyn SnapshotFeed>,
        audit: Arc<dyn AuditSink>,
        keys: Arc<dyn KeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { feed, audit, keys, clock, connections: Arc::new(NoConnections) }
    }

    /// With remote databases.
    #[must_use]
    pub fn with_connections(self, connections: Arc<dyn Connections>) -> Self {
        Self { connections, ..self }
    }

    /// Pins the snapshot that holds now for one statement of one caller. Whom the actor acts as is checked here, so
    /// that a grant that is taken back bites at the next statement. Refusals here are recorded too.
    pub async fn begin(&self, caller: Caller, statement: &str) -> Result<Request, Refusal> {
        let Caller { actor, project, door, client_hint } = caller;
        let now = self.clock.unix_ms();
        let mut record = Attempt {
            version: VERSION,
            request: RequestId::new_at(now),
            at_unix_ms: now,
            actor,
            door,
            client_hint,
            statement: statement.to_owned(),
            epoch: None,
            project,
            purposes: Vec::new(),
            writes: None,
            sources: Vec::new(),
            refusal: None,
        };
        let snapshot = match self.feed.current().await {
            Ok(snapshot) => snapshot,
            Err(e) => return Err(self.record_refusal(record, Refusal::unavailable(e)).await),
        };
        record.epoch = Some(snapshot.epoch());
        let forbidden = |text: &str, detail: &str| {
            Refusal::new(Outside::Forbidden { text: text.to_owned() }, Truth::Denied, detail)
        };
        let Actor { authenticated, effective } = &record.actor;
        let impersonated = authenticated != effective;
        // Whether there is somebody of that name is not told to who may not act as them.
        if impersonated
            && snapshot.principal(authenticated).is_some()
            && !snapshot.may_impersonate(authenticated, effective)
        {
            let refusal = forbidden("permission to impersonate this user is missing", "no grant covers the pair");
            return Err(self.record_refusal(record, refusal).await);
        }
        let known = snapshot.principal(authenticated).and_then(|_| snapshot.principal(effective)).cloned();
        let Some(principal) = known else {
            let refusal = forbidden("this account is not active", "the principal is not known under this snapshot");
            return Err(self.record_refusal(record, refusal).await);
        };
        let surroundings = Surroundings { project: record.project.clone(), impersonated, at_unix_ms: now };
        record.purposes = snapshot.purposes(&principal.id, &surroundings);
        Ok(Request { guard: self.clone(), snapshot, principal, surroundings, record })
    }

    /// The one that holds now, for what concerns no statement.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, PortError> {
        self.feed.current().await
    }

    pub fn keys(&self) -> &Arc<dyn KeyRing> {
        &self.keys
    }

    pub fn connections(&self) -> &Arc<dyn Connections> {
        &self.connections
    }

    async fn record_refusal(&self, mut record: Attempt, refusal: Refusal) -> Refusal {
        let inside = refusal.inside();
        record.refusal = Some(RefusalRecord {
            told: refusal.outside().text().to_owned(),
            truth: inside.truth,
            detail: inside.detail.clone(),
        });
        let request = record.request;
        match self.audit.attempt(&record).await {
            Ok(()) => refusal.of_request(request),
            // Nothing was read; the client still hears no more than that there is no record.
            Err(e) => Refusal::unavailable(e).of_request(request),
        }
    }
}

/// One statement of one verified actor under one pinned snapshot.
pub struct Request {
    guard: Guard,
    snapshot: Arc<Snapshot>,
    principal: Principal,
    surroundings: Surroundings,
    record: Attempt,
}

impl Request {
    pub fn id(&self) -> RequestId {
        self.record.request
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub fn epoch(&self) -> Epoch {
        self.snapshot.epoch()
    }

    /// Whose rights hold.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    pub fn actor(&self) -> &Actor {
        &self.record.actor
    }

    /// What besides the principal the decision depends on.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    pub fn keys(&self) -> &Arc<dyn KeyRing> {
        &self.guard.keys
    }

    /// What the statement is to write, for the record.
    pub fn writes(&mut self, table: SourceName) {
        self.record.writes = Some(table);
    }

    /// One answer for every source that the statement reads.
    pub fn decide(&self, sources: &[SourceId]) -> Decision {
        self.snapshot.decide(&self.principal.id, &self.surroundings, sources)
    }

    /// What a read under this decision rests on.
    pub fn basis(&self, decision: &Decision) -> Basis {
        Basis {
            snapshot: Arc::clone(&self.snapshot),
            actor: self.record.actor.clone(),
            surroundings: self.surroundings.clone(),
            decided: decision.sources.clone(),
        }
    }

    /// The refusal when this decision is not the one that `before` rests on.
    pub fn changed_since(&self, before: &Basis, decision: &Decision) -> Option<Refusal> {
        before.refusal(&self.basis(decision))
    }

    /// Makes the record of the attempt durable. After this, and only after this, the statement may run.
    pub async fn admit(mut self, decision: &Decision) -> Result<Admitted, Refusal> {
        self.record.sources = self.describe(decision);
        if decision.sources.iter().any(|(_, d)| matches!(d, SourceDecision::Deny(..))) {
            return Err(self.refuse(Refusal::bug("a denied source reached admission")).await);
        }
        match self.guard.audit.attempt(&self.record).await {
            Ok(()) => {
                let started_at = self.record.at_unix_ms;
                let basis = Arc::new(self.basis(decision));
                Ok(Admitted {
                    guard: self.guard,
                    basis,
                    request: self.record.request,
                    started_at,
                    rows: AtomicU64::new(0),
                    bytes: AtomicU64::new(0),
                    ended: false,
                })
            }
            Err(e) => Err(Refusal::unavailable(e).of_request(self.record.request)),
        }
    }

    /// Records why the statement is not done and gives the refusal to tell.
    pub async fn refuse(self, refusal: Refusal) -> Refusal {
        let Self { guard, record, .. } = self;
        guard.record_refusal(record, refusal).await
    }

    /// As [`Self::refuse`], when a decision was already made.
    pub async fn refuse_decided(mut self, decision: &Decision, refusal: Refusal) -> Refusal {
        self.record.sources = self.describe(decision);
        self.refuse(refusal).await
    }

    fn describe(&self, decision: &Decision) -> Vec<SourceRecord> {
        let mut records = Vec::with_capacity(decision.sources.len());
        for (id, decided) in &decision.sources {
            let Some(source) = self.snapshot.source(*id) else { continue };
            let (word, fingerprint) = match decided {
                SourceDecision::Deny(..) => ("deny", None),
                SourceDecision::Clear(_) => ("clear", None),
                SourceDecision::Obliged(obligations, _) => ("obliged", Some(obligations.fingerprint.to_string())),
            };
            records.push(SourceRecord {
                source: source.name.clone(),
                decision: word.to_owned(),
                fingerprint,
                factors: decided.factors().to_vec(),
            });
        }
        records
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.record.request)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// Proof that the attempt is on record. Ends with exactly one outcome; dropped without one, the read is recorded as
/// abandoned.
#[must_use = "an admitted read has to be run or ended"]
pub struct Admitted {
    guard: Guard,
    basis: Arc<Basis>,
    request: RequestId,
    started_at: u64,
    rows: AtomicU64,
    bytes: AtomicU64,
    ended: bool,
}

impl Admitted {
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Ends when the read is no longer let through as it was, with the refusal to tell. Changes that leave its decision
    /// as it is are none of its business.
    pub fn watch(&self) -> impl Future<Output = Refusal> + Send + use<> {
        let (feed, basis, request) = (Arc::clone(&self.guard.feed), Arc::clone(&self.basis), self.request);
        async move { basis.withdrawn(feed.as_ref()).await.of_request(request) }
    }

    /// Whether the read would be let through as it was, and the principal still writes in the schema of the project.
    pub async fn still_writes(&self, project: &ProjectName, schema: &str) -> Result<(), Refusal> {
        let now = self.guard.feed.current().await.map_err(Refusal::unavailable)?;
        let Basis { actor, surroundings, .. } = &*self.basis;
        let elsewhere = || {
            let writes = now.workspace(&actor.effective, surroundings) == Some((project, schema));
            (!writes).then(|| format!("`{schema}` is no workspace of hers any more"))
        };
        match self.basis.broken_by(&now).or_else(elsewhere) {
            None => Ok(()),
            Some(why) => {
                let detail = format!("epoch {}: {why}", now.epoch().0);
                Err(Refusal::new(Outside::Revoked, Truth::Revoked, detail))
            }
        }
    }

    /// Counts what is handed to the client.
    pub fn count(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns when the outcome is durable.
    pub async fn end(mut self, ended: Ended, detail: Option<String>) -> Result<(), Refusal> {
        let outcome = self.outcome(ended, detail);
        let audit = Arc::clone(&self.guard.audit);
        self.ended = true;
        let request = self.request;
        audit.outcome(&outcome).await.map_err(|e| Refusal::unavailable(e).of_request(request))
    }

    fn outcome(&self, ended: Ended, detail: Option<String>) -> Outcome {
        let now = self.guard.clock.unix_ms();
        Outcome {
            version: VERSION,
            request: self.request,
            at_unix_ms: now,
            ended,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            elapsed_ms: now.saturating_sub(self.started_at),
            detail,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.ended {
            self.guard.audit.outcome_later(self.outcome(Ended::Abandoned, None));
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("request", &self.request).finish_non_exhaustive()
    }
}
