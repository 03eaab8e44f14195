//! What rules, macros and lists are made of: `-L` and `-l`.
