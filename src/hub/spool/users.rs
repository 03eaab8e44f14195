//! Who may look at alerts, and who may change them.
//!
//! Passwords are kept as argon2id's hashes. Hashing takes a good part of a second and 19 MiB, both on purpose: callers do
//! it outside of the runtime's threads, few at a time.

use super::{Spool, SpoolError};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use rusqlite::OptionalExtension;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Acknowledges, deletes and tests as well.
    Operator,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }

    pub fn from_name(name: &str) -> Option<Role> {
        [Role::Viewer, Role::Operator].into_iter().find(|role| role.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub role: Role,
    /// In PHC's form.
    pub hash: String,
}

/// The shortest password that is taken.
pub const PASSWORD_MIN: usize = 10;
/// The longest: hashing must not be made to take longer.
pub const PASSWORD_MAX: usize = 1024;

impl User {
    /// A user with a password; says what is wrong with the name or the password.
    pub fn new(name: &str, role: Role, password: &str) -> Result<User, String> {
        // A colon ends the name in HTTP's Basic authentication.
        if name.is_empty() || name.len() > 64 || name.contains(|c: char| c == ':' || c.is_control()) {
            return Err(format!("'{name}' cannot be a user's name: 1 to 64 bytes, no colon, no control characters"));
        }
        if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.len()) {
            return Err(format!("a password has {PASSWORD_MIN} to {PASSWORD_MAX} bytes"));
        }
        let hash: PasswordHash = Argon2::default()
            .hash_password(password.as_bytes())
            .map_err(|error| format!("the password cannot be hashed: {error}"))?;
        Ok(User { name: name.to_owned(), role, hash: hash.to_string() })
    }

    /// A password nobody chose: 120 random bits.
    pub fn generated_password() -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        // Version and variant of a UUID are no random bits: bytes 6 and 8 are left out.
        let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        let bytes = random.iter().flat_map(|uuid| uuid.as_bytes().iter().enumerate());
        let bytes = bytes.filter(|(at, _)| *at != 6 && *at != 8).take(24);
        bytes.map(|(_, byte)| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    pub fn has_password(&self, password: &str) -> bool {
        matches(&self.hash, password)
    }
}

/// Takes as long as a comparison with a real hash, so that the time does not tell which users exist.
pub fn nobody_has_password(password: &str) {
    const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRub2JvZHk$\
                          3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8";
    matches(NOBODY, password);
}

fn matches(hash: &str, password: &str) -> bool {
    let parsed = PasswordHash::new(hash);
    password.len() <= PASSWORD_MAX
        && parsed.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

impl Spool {
    pub async fn users(self: &Arc<Self>) -> Result<Vec<User>, SpoolError> {
        self.with_reader(|connection| {
            let mut statement = connection.prepare_cached("SELECT name, role, hash FROM users ORDER BY name")?;
            let rows = statement.query_map([], user)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    pub async fn user(self: &Arc<Self>, name: &str) -> Result<Option<User>, SpoolError> {
        let name = name.to_owned();
        self.with_reader(move |connection| {
            let sql = "SELECT name, role, hash FROM users WHERE name = ?1";
            Ok(connection.query_row(sql, [name], user).optional()?)
        })
        .await
    }

    pub async fn set_user(&self, user: User) -> Result<(), SpoolError> {
        self.write(move |connection| {
            let sql = "INSERT OR REPLACE INTO users (name, role, hash) VALUES (?1, ?2, ?3)";
            connection.execute(sql, (user.name, user.role.name(), user.hash))
        })
        .await
        .map(drop)
    }

    /// True when there was one.
    pub async fn remove_user(&self, name: &str) -> Result<bool, SpoolError> {
        let name = name.to_owned();
        let removed = self.write(move |connection| connection.execute("DELETE FROM users WHERE name = ?1", [name]));
        Ok(removed.await? > 0)
    }
}

fn user(row: &rusqlite::Row) -> rusqlite::Result<User> {
    let role: String = row.get(1)?;
    // What is not known may least.
    Ok(User { name: row.get(0)?, role: Role::from_name(&role).unwrap_or(Role::Viewer), hash: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords() {
        let password = User::generated_password();
        assert_eq!(password.len(), 24);
        assert_ne!(password, User::generated_password());
        let user = User::new("a", Role::Viewer, &password).expect("valid");
        assert!(user.hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", user.hash);
        assert!(user.has_password(&password) && !user.has_password(&password[1..]) && !user.has_password(""));
        for (name, password) in [("", "long enough"), ("a:b", "long enough"), ("a", "too short")] {
            assert!(User::new(name, Role::Viewer, password).is_err(), "{name} {password}");
        }
    }
}
