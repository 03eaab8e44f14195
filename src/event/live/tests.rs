//! Every field is answered.

use super::*;

#[test]
fn every_field_of_the_catalogue_is_answered_by_its_class() {
    for def in fields::FIELDS {
        let names = match def.class {
            "evt" | "util" => evt::NAMES,
            "process" => process::NAMES,
            "user" | "group" => identity::NAMES,
            "container" => container::NAMES,
            "fd" => fd::NAMES,
            "fs.path" => fs_path::NAMES,
            _ => fdlist::NAMES,
        };
        assert!(names.contains(&def.name), "{} has no value", def.name);
    }
}
