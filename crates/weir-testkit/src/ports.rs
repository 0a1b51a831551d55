//! Fakes of what the guard asks of the outside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;
use weir_guard::{
    Attempt, AuditSink, Clock, Connections, Guard, KeyRing, MaskKey, Outcome, PortError, SnapshotFeed, Workspaces,
    WriteError, WrittenTable,
};
use weir_model::{Connection, ConnectionName, DataSource, Lineage, Location, PrincipalId, Secret, StoreConnection};
use weir_policy::{KeyScope, Snapshot};

use crate::oracle::{KEY_ID, Keys};

/// A snapshot that holds until it is swapped for another one or taken away.
#[derive(Debug, Default)]
pub struct FixedFeed(watch::Sender<Option<Arc<Snapshot>>>);

impl FixedFeed {
    pub fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Some(Arc::new(snapshot)))))
    }

    pub fn swap(&self, snapshot: Snapshot) {
        self.0.send_replace(Some(Arc::new(snapshot)));
    }

    /// From now on no snapshot can be had.
    pub fn lose(&self) {
        self.0.send_replace(None);
    }
}

#[async_trait]
impl SnapshotFeed for FixedFeed {
    async fn current(&self) -> Result<Arc<Snapshot>, PortError> {
        self.0.borrow().clone().ok_or_else(|| PortError::new("snapshot feed", "lost"))
    }

    async fn after(&self, known: &Arc<Snapshot>) -> Result<Arc<Snapshot>, PortError> {
        let mut swapped = self.0.subscribe();
        let is_other = |now: &Option<Arc<Snapshot>>| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, known));
        swapped.wait_for(is_other).await.map_err(|e| PortError::new("snapshot feed", e))?;
        self.current().await
    }
}

/// Records in memory; can be told to fail.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    attempts: Mutex<Vec<Attempt>>,
    outcomes: Mutex<Vec<Outcome>>,
    fails: AtomicBool,
}

impl MemoryAudit {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether records are refused from now on.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap().clone()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.attempts.lock().unwrap().clear();
        self.outcomes.lock().unwrap().clear();
    }

    fn check(&self) -> Result<(), PortError> {
        if self.fails.load(Ordering::SeqCst) { Err(PortError::new("audit log", "told to fail")) } else { Ok(()) }
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn attempt(&self, record: &Attempt) -> Result<(), PortError> {
        self.check()?;
        self.attempts.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn outcome(&self, record: &Outcome) -> Result<(), PortError> {
        self.check()?;
        self.outcomes.lock().unwrap().push(record.clone());
        Ok(())
    }

    fn outcome_later(&self, record: Outcome) {
        self.outcomes.lock().unwrap().push(record);
    }
}

/// The keys that the oracle has as well.
#[derive(Debug, Default)]
pub struct FixedKeys(Mutex<Keys>);

impl FixedKeys {
    pub fn new(keys: impl Into<Keys>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(keys.into())))
    }

    pub fn swap(&self, keys: Keys) {
        *self.0.lock().unwrap() = keys;
    }

    fn get(&self, scope: &KeyScope) -> Option<Secret> {
        self.0.lock().unwrap().get(scope)
    }
}

#[async_trait]
impl KeyRing for FixedKeys {
    async fn mask_key(&self, scope: &KeyScope) -> Result<MaskKey, PortError> {
        let secret = self.get(scope).ok_or_else(|| PortError::new("key ring", "no key for the scope"))?;
        Ok(MaskKey { id: KEY_ID, secret })
    }

    async fn mask_key_by_id(&self, scope: &KeyScope, id: u32) -> Result<Option<Secret>, PortError> {
        Ok(self.get(scope).filter(|_| id == KEY_ID))
    }
}

/// Leads to one database, by whatever name.
#[derive(Debug)]
pub struct OneConnection(pub Connection);

#[async_trait]
impl Connections for OneConnection {
    async fn connection(&self, name: &ConnectionName) -> Result<Connection, PortError> {
        Ok(Connection { name: name.clone(), ..self.0.clone() })
    }

    async fn store(&self, name: &ConnectionName) -> Result<StoreConnection, PortError> {
        Err(PortError::new("connections", format_args!("`{name}` does not lead to files")))
    }
}

/// Keeps what was registered, and makes no source of it.
#[derive(Debug, Default)]
pub struct MemoryWorkspaces(Mutex<Vec<WrittenTable>>);

impl MemoryWorkspaces {
    /// What was registered since this was asked the last time.
    pub fn take(&self) -> Vec<WrittenTable> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Workspaces for MemoryWorkspaces {
    async fn write(&self, _: &PrincipalId, table: WrittenTable) -> Result<(), WriteError> {
        self.0.lock().unwrap().push(table);
        Ok(())
    }

    async fn rewrite(
        &self,
        _: &PrincipalId,
        was: &DataSource,
        _: Location,
        _: Option<Lineage>,
    ) -> Result<(), WriteError> {
        Err(WriteError::Refused(format!("`{}` was not registered here", was.name)))
    }

    async fn drop_table(&self, _: &PrincipalId, was: &DataSource) -> Result<(), WriteError> {
        Err(WriteError::Refused(format!("`{}` was not registered here", was.name)))
    }
}

/// A clock that stands until it is set.
#[derive(Debug)]
pub struct FixedClock(AtomicU64);

impl FixedClock {
    pub fn new(unix_ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(unix_ms)))
    }

    pub fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A guard on fakes only, at the moment [`AT_UNIX_MS`](crate::generate::AT_UNIX_MS).
pub fn guard(feed: Arc<FixedFeed>, audit: Arc<MemoryAudit>, keys: Arc<FixedKeys>) -> Guard {
    guard_at(feed, audit, keys, FixedClock::new(crate::generate::AT_UNIX_MS))
}

/// As [`guard`], by a clock that can be set.
pub fn guard_at(feed: Arc<FixedFeed>, audit: Arc<MemoryAudit>, keys: Arc<FixedKeys>, clock: Arc<FixedClock>) -> Guard {
    Guard::new(feed, audit, keys, clock)
}
