//! Users, groups, containers: names for what the kernel gives as numbers.
