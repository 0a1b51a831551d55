//! Passwords for the SQL door. Only what SCRAM-SHA-256 needs to check one is kept.

use sqlx::{SqliteConnection, query, query_as};
use weir_guard::ScramVerifier;
use weir_model::{PrincipalId, Secret};

use crate::error::{Failure, StoreError};
use crate::keys;
use crate::people::user_row;
use crate::vault::Vault;

/// The count that gateways announce; RFC 7677, section 4 asks for at least this many.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// The row is never used again, unlike the name.
fn what(principal: i64) -> String {
    format!("SQL password of principal {principal}")
}

/// Keeps a new salt and salted password, unless the password is already this one.
pub(crate) async fn set(
    tx: &mut SqliteConnection,
    vault: &Vault,
    user: &PrincipalId,
    password: &Secret,
) -> Result<(), Failure> {
    if password.expose().is_empty() {
        return Err(StoreError::EmptyPassword { user: user.to_string() }.into());
    }
    if let Some(known) = load(tx, vault, user).await?
        && known.iterations == ITERATIONS
        && known.verify(password)
    {
        return Ok(());
    }
    let row = user_row(tx, user).await?;
    let salt: [u8; SALT_BYTES] = keys::random()?;
    let verifier = ScramVerifier::new(password, salt.to_vec(), ITERATIONS);
    let sealed = vault.seal(&what(row), verifier.salted_password.expose())?;
    query("UPDATE principal SET scram_salt = ?, scram_iterations = ?, scram_sealed_password = ? WHERE id = ?")
        .bind(verifier.salt)
        .bind(ITERATIONS)
        .bind(sealed)
        .bind(row)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn load(
    conn: &mut SqliteConnection,
    vault: &Vault,
    user: &PrincipalId,
) -> Result<Option<ScramVerifier>, Failure> {
    let select = "SELECT id, scram_salt, scram_iterations, scram_sealed_password FROM principal
        WHERE iam = ? AND name = ? AND scram_sealed_password IS NOT NULL";
    let row: Option<(i64, Vec<u8>, u32, Vec<u8>)> =
        query_as(select).bind(user.iam().as_str()).bind(user.name()).fetch_optional(conn).await?;
    let Some((row, salt, iterations, sealed)) = row else { return Ok(None) };
    Ok(Some(ScramVerifier { salt, iterations, salted_password: vault.unseal(&what(row), &sealed)? }))
}

/// Encrypts the salted passwords of a directory from before there was a master key.
pub(crate) async fn seal_all(tx: &mut SqliteConnection, vault: &Vault) -> Result<(), Failure> {
    let select = "SELECT id, scram_sealed_password FROM principal WHERE scram_sealed_password IS NOT NULL";
    let plain: Vec<(i64, Vec<u8>)> = query_as(select).fetch_all(&mut *tx).await?;
    for (row, salted) in plain {
        let sealed = vault.seal(&what(row), Secret::new(salted).expose())?;
        let update = query("UPDATE principal SET scram_sealed_password = ? WHERE id = ?").bind(sealed).bind(row);
        update.execute(&mut *tx).await?;
    }
    Ok(())
}
