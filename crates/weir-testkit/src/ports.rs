//! Fakes of what the guard asks of the outside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use weir_guard::{Attempt, AuditSink, Clock, Guard, KeyRing, Outcome, PortError, SnapshotFeed};
use weir_model::{Secret, SourceId};
use weir_policy::Snapshot;

use crate::oracle::Keys;

/// A snapshot that holds until it is swapped for another one or taken away.
#[derive(Debug, Default)]
pub struct FixedFeed(Mutex<Option<Arc<Snapshot>>>);

impl FixedFeed {
    pub fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Arc::new(snapshot)))))
    }

    pub fn swap(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap() = Some(Arc::new(snapshot));
    }

    /// From now on no snapshot can be had.
    pub fn lose(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl SnapshotFeed for FixedFeed {
    async fn current(&self) -> Result<Arc<Snapshot>, PortError> {
        self.0.lock().unwrap().clone().ok_or_else(|| PortError::new("snapshot feed", "lost"))
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
    pub fn new(keys: Keys) -> Arc<Self> {
        Arc::new(Self(Mutex::new(keys)))
    }

    pub fn swap(&self, keys: Keys) {
        *self.0.lock().unwrap() = keys;
    }
}

#[async_trait]
impl KeyRing for FixedKeys {
    async fn hash_key(&self, source: SourceId) -> Result<Secret, PortError> {
        let keys = self.0.lock().unwrap();
        let key = keys.get(&source).ok_or_else(|| PortError::new("key ring", "no key for the data source"))?;
        Ok(Secret::new(key.as_slice()))
    }
}

/// A clock that goes on by one millisecond whenever it is read.
#[derive(Debug)]
pub struct TickingClock(AtomicU64);

impl Default for TickingClock {
    /// Starts on 2025-01-01.
    fn default() -> Self {
        Self(AtomicU64::new(1_735_689_600_000))
    }
}

impl Clock for TickingClock {
    fn unix_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// A guard on fakes only.
pub fn guard(feed: Arc<FixedFeed>, audit: Arc<MemoryAudit>, keys: Arc<FixedKeys>) -> Guard {
    Guard::new(feed, audit, keys, Arc::new(TickingClock::default()))
}
