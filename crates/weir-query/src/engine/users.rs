//! What each user may take up at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::Result;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use weir_guard::{Outside, Refusal, Truth};
use weir_model::PrincipalId;

use super::lanes::{Lane, Lanes};
use crate::fault::refusal;

/// Limits of one user, all her connections together.
#[derive(Clone, Debug)]
pub struct UserLimits {
    /// Statements and open cursors at once.
    pub statements_max: usize,
    /// Working memory; beyond it statements spill or are refused.
    pub memory_bytes_max: usize,
    /// On disk.
    pub spill_bytes_max: u64,
    /// Work on one statement; waiting for its client does not count.
    pub statement_time_max: Duration,
}

/// No tighter than what the engine has.
impl Default for UserLimits {
    fn default() -> Self {
        Self {
            statements_max: usize::MAX,
            memory_bytes_max: usize::MAX,
            spill_bytes_max: 100 << 30,
            statement_time_max: Duration::MAX,
        }
    }
}

pub(super) struct Users {
    limits: UserLimits,
    /// Has the pool of all users.
    shared: Arc<RuntimeEnv>,
    present: Arc<Mutex<HashMap<PrincipalId, User>>>,
}

/// Somebody who has statements.
struct User {
    statements: usize,
    lane: Lane,
    runtime: Arc<RuntimeEnv>,
}

/// The place of one statement; given back when dropped.
pub(super) struct Seat {
    user: PrincipalId,
    present: Arc<Mutex<HashMap<PrincipalId, User>>>,
    pub(super) lane: Lane,
    /// Memory and disk of the user.
    pub(super) runtime: Arc<RuntimeEnv>,
}

impl Users {
    pub(super) fn new(limits: UserLimits, shared: Arc<RuntimeEnv>) -> Self {
        Self { limits, shared, present: Arc::default() }
    }

    pub(super) fn limits(&self) -> &UserLimits {
        &self.limits
    }

    pub(super) fn seat(&self, user: &PrincipalId) -> Result<Seat, Refusal> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if !present.contains_key(user) {
            let lane = Lanes::emptiest(present.values().map(|user| user.lane));
            let runtime = Arc::new(self.runtime().map_err(|e| refusal(&e))?);
            present.insert(user.clone(), User { statements: 0, lane, runtime });
        }
        let Some(mine) = present.get_mut(user) else { return Err(Refusal::bug("a user who came is not there")) };
        if mine.statements >= self.limits.statements_max {
            let text = format!("more than {} statements and cursors of one user at once", self.limits.statements_max);
            return Err(Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text));
        }
        mine.statements += 1;
        let (lane, runtime) = (mine.lane, Arc::clone(&mine.runtime));
        Ok(Seat { user: user.clone(), present: Arc::clone(&self.present), lane, runtime })
    }

    fn runtime(&self) -> Result<RuntimeEnv> {
        let pool = UserPool {
            own: FairSpillPool::new(self.limits.memory_bytes_max),
            shared: Arc::clone(&self.shared.memory_pool),
        };
        let disk = DiskManager::builder().with_max_temp_directory_size(self.limits.spill_bytes_max).build()?;
        Ok(RuntimeEnv {
            memory_pool: Arc::new(pool),
            disk_manager: Arc::new(disk),
            cache_manager: Arc::clone(&self.shared.cache_manager),
            object_store_registry: Arc::clone(&self.shared.object_store_registry),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = present.get_mut(&self.user) {
            mine.statements -= 1;
            if mine.statements == 0 {
                present.remove(&self.user);
            }
        }
    }
}

/// Shares a user's memory fairly among her statements, as far as there is any in the pool of all users.
#[derive(Debug)]
struct UserPool {
    own: FairSpillPool,
    shared: Arc<dyn MemoryPool>,
}

impl fmt::Display for UserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.own)
    }
}

impl MemoryPool for UserPool {
    fn name(&self) -> &'static str {
        "user"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.shared.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}
