-- Remote databases. address: JSON. sealed: the password.
CREATE TABLE connection (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
