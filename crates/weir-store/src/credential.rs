//! Passwords for the SQL door. Only what SCRAM-SHA-256 needs to check one is kept.

use sha2::Sha256;
use sqlx::{SqliteConnection, query, query_as};
use weir_guard::ScramVerifier;
use weir_model::{PrincipalId, Secret};

use crate::change::user_row;
use crate::error::{Failure, StoreError};
use crate::keys;
use crate::vault::Vault;

/// The count that gateways announce; RFC 7677, section 4 asks for at least this many.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// RFC 5802, section 2.2: `Hi(Normalize(str), salt, i)`, which is PBKDF2 with HMAC. Like PostgreSQL, a password that
/// SASLprep cannot take is used as it is.
fn salted(password: &Secret, salt: &[u8], iterations: u32) -> Secret {
    let raw = password.expose();
    let prepared = std::str::from_utf8(raw).ok().and_then(|text| stringprep::saslprep(text).ok());
    let prepared = Secret::new(prepared.as_deref().map_or(raw, str::as_bytes));
    Secret::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(prepared.expose(), salt, iterations))
}

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
        && salted(password, &known.salt, known.iterations).expose() == known.salted_password.expose()
    {
        return Ok(());
    }
    let row = user_row(tx, user).await?;
    let salt: [u8; SALT_BYTES] = keys::random()?;
    let sealed = vault.seal(&what(row), salted(password, &salt, ITERATIONS).expose())?;
    query("UPDATE principal SET scram_salt = ?, scram_iterations = ?, scram_sealed_password = ? WHERE id = ?")
        .bind(salt.as_slice())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: the password `pencil` and the client proof of the example exchange.
    #[test]
    fn the_salted_password_is_that_of_the_standard() {
        let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        let hex: String =
            salted(&Secret::new("pencil"), &salt, 4096).expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
    }

    #[test]
    fn passwords_are_normalized_where_they_can_be() {
        let of = |password: &[u8]| salted(&Secret::new(password), b"salt", 1).expose().to_vec();
        // RFC 4013, section 3: SOFT HYPHEN maps to nothing.
        assert_eq!(of("I\u{ad}X".as_bytes()), of(b"IX"));
        assert_ne!(of(b"ix"), of(b"IX"));
        assert_ne!(of(&[0xff, 1]), of(&[0xff, 2]));
    }
}
